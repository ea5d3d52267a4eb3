"""Which tools a model sees at a step: the best of the search, those in use, the pinned ones, within a budget. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ._results import Tool, ToolList

_CHARACTERS_A_TOKEN = 4
_MOST = 50


def tokens(tool: Tool) -> int:
    """About how many tokens a tool costs a prompt.

    >>> tokens(Tool("a__b", "Does b"))
    15
    """
    return (len(tool.name) + len(tool.description) + len(json.dumps(tool.input_schema))) // _CHARACTERS_A_TOKEN + 4


@dataclass(frozen=True)
class Selection:
    """The rule: at most `k` tools beside the pinned and the called ones.

    `margin` is added to the score of a tool that was shown at the step before, so that two tools of nearly the same score do not take turns.
    `token_budget` bounds what all of them cost together; pinned ones are never left out, called ones before found ones.
    """

    k: int = 8
    pinned: tuple[str, ...] = ()
    margin: float = 0.1
    token_budget: int | None = 4_000

    @property
    def wide(self) -> int:
        """How many a search returns for it: more than are shown, so that those shown before can stay."""
        return max(1, min(_MOST, self.k * 2))

    def choose(self, every: ToolList, found: Iterable[Tool], before: Sequence[str], called: Sequence[str]) -> list[str]:
        """The names for the next step, pinned first, then called, then found; what is not served any more is left out.

        >>> a, b = Tool("a", score=0.50), Tool("b", score=0.55)
        >>> Selection(k=1).choose(ToolList([a, b]), [b, a], before=["a"], called=[])
        ['a']
        """
        served = {tool.name: tool for tool in every}
        scores = {tool.name: (tool.score or 0.0) for tool in found if tool.name in served}
        if not scores:
            # Nothing is asked for now: what was shown stays.
            scores = {name: 0.0 for name in before if name in served}
        ranked = sorted(scores, key=lambda name: -(scores[name] + (self.margin if name in before else 0.0)))
        wanted = dict.fromkeys([*self.pinned, *called, *ranked[: self.k]])
        chosen: list[str] = []
        spent = 0
        for name in wanted:
            if name not in served:
                continue
            cost = tokens(served[name])
            if name not in self.pinned and self.token_budget is not None and spent + cost > self.token_budget:
                continue
            spent += cost
            chosen.append(name)
        return chosen
