"""The texts that the table is fitted to: tools and requests of public benchmarks, and WordNet's definitions.

Reads folders of `tools.jsonl` and `queries.jsonl`, and WordNet's `data.*` files. Writes nothing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_TEXT = 1500
# Sets of one origin: leaving one out leaves out all of its line.
ORIGINS = [["metatool", "metatool_multi"], ["toolalpaca"], ["restbench"], ["bfcl"], ["mcpm_server_dev"]]
NOISE = "distractors"


@dataclass
class ToolSet:
    """One folder."""

    name: str
    ids: list[str]
    texts: list[str]
    queries: list[dict[str, Any]] = field(default_factory=list)

    def requests(self) -> list[str]:
        """What is asked for, in words."""
        return [query["query"][:MAX_TEXT] for query in self.queries]


def split_name(name: str) -> str:
    """An identifier as words; the same as `analysis::split_name` of the program."""
    words = []
    for run in re.findall(r"[^\W_]+", name):
        words += re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", run).split()
    return " ".join(words)


def tool_text(tool: dict[str, Any]) -> str:
    """What the program embeds of a tool."""
    names = f"{split_name(tool.get('server') or '')} {split_name(tool['name'])}".lstrip()
    return clean(f"{names}: {tool.get('description') or ''}")


def clean(text: str) -> str:
    """Control characters as spaces, cut."""
    return "".join(c if c.isprintable() else " " for c in text[:MAX_TEXT])


def read_set(folder: Path) -> ToolSet:
    """Tools and, where there are any, requests."""
    tools = _lines(folder / "tools.jsonl")
    queries = _lines(folder / "queries.jsonl") if (folder / "queries.jsonl").exists() else []
    return ToolSet(folder.name, [tool["id"] for tool in tools], [tool_text(tool) for tool in tools], queries)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


@dataclass
class Synset:
    """A meaning: its words, its definition, sentences that use it."""

    words: list[str]
    definition: str
    examples: list[str]

    def text(self) -> str:
        """Shaped as a tool is: name, colon, description."""
        return f"{', '.join(self.words[:4])}: {self.definition}"


def read_wordnet(folder: Path) -> list[Synset]:
    """Every synset of the `data.*` files, in their order."""
    synsets = []
    for part in ("verb", "noun", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):
                continue
            head, _, gloss = line.partition(" | ")
            fields = head.split()
            count = int(fields[3], 16)
            words = [re.sub(r"\(.*\)", "", word).replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]]
            examples = re.findall(r'"([^"]+)"', gloss)
            definition = re.sub(r'"[^"]*"', "", gloss).strip(" ;")
            synsets.append(Synset(words, definition, examples))
    return synsets
