"""The agent middleware: at each step the model sees the tools that fit the conversation, out of however many there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain.agents.middleware import AgentMiddleware, AgentState
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.tools import BaseTool
from typing_extensions import NotRequired

from ._results import ToolList
from ._selection import Selection
from ._toolbox import Toolbox
from .langchain import called_names, conversation_query, to_langchain

_KEY = "pegboard_tools"


class PegboardState(AgentState[Any]):
    """What the middleware keeps in the agent's state, so that threads and checkpoints have their own."""

    pegboard_tools: NotRequired[list[str]]


class PegboardMiddleware(AgentMiddleware[PegboardState, Any]):
    """Swaps the model's tools for those that fit the conversation, before each step. Other tools of the agent stay.

    Args:
        box: The toolbox; its tools are known to the agent, and only the chosen ones are shown to the model.
        k: The most found tools at a step.
        pinned: Names that are always shown.
        margin: Added to the score of a tool that was shown before, so that near equals do not take turns.
        token_budget: About how many tokens the tools may cost together; `None`: no bound.
    """

    state_schema = PegboardState

    def __init__(
        self,
        box: Toolbox,
        k: int = 8,
        *,
        pinned: Sequence[str] = (),
        margin: float = 0.1,
        token_budget: int | None = 4_000,
    ) -> None:
        super().__init__()
        self._box = box
        self._selection = Selection(k=k, pinned=tuple(pinned), margin=margin, token_budget=token_budget)
        self._every: ToolList = box.tools()
        self._mine = {tool.name: to_langchain(box, tool) for tool in self._every}
        self.tools: Sequence[BaseTool] = list(self._mine.values())

    def before_model(self, state: PegboardState, runtime: Any) -> dict[str, Any]:
        """Chooses."""
        query = conversation_query(state["messages"])
        found = self._box.search(query, self._selection.wide) if query else ToolList(())
        return self._update(state, found)

    async def abefore_model(self, state: PegboardState, runtime: Any) -> dict[str, Any]:
        """Chooses."""
        query = conversation_query(state["messages"])
        found = await self._box.asearch(query, self._selection.wide) if query else ToolList(())
        return self._update(state, found)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Shows what was chosen."""
        return handler(self._shown(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Shows what was chosen."""
        return await handler(self._shown(request))

    def _update(self, state: PegboardState, found: ToolList) -> dict[str, Any]:
        before = state.get("pegboard_tools") or []
        return {_KEY: self._selection.choose(self._every, found, before, called_names(state["messages"]))}

    def _shown(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        chosen: list[str] = dict(request.state).get(_KEY) or []  # type: ignore[assignment]
        others = [tool for tool in request.tools if isinstance(tool, dict) or tool.name not in self._mine]
        return request.override(tools=[*others, *(self._mine[name] for name in chosen if name in self._mine)])
