"""Stands between Pegboard and a function that was written for another host: it takes its arguments as that host gives them, and gives its
results back as Pegboard takes them.

Written by `pegboard import`. What it calls, and how, is in `pegboard_adapter.json` beside it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
HOW = json.loads((ROOT / "pegboard_adapter.json").read_text(encoding="utf-8"))


def load() -> Any:
    """The function, from its file, with the file's folder first on the path as its host has it."""
    file = ROOT / HOW["file"]
    for folder in (str(ROOT), str(file.parent)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{HOW['file']} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(file.stem, module)
    spec.loader.exec_module(module)
    return getattr(module, HOW["function"])


class Keyed:
    """Reads like an envelope: `given.value`, `given["value"]`, `given.get("value")`, and like the value itself."""

    @property
    def value(self) -> Any:
        """The value without its envelope."""
        return plain(self)

    @property
    def args(self) -> dict[str, Any]:
        """What some hosts put beside the value."""
        return {}

    def get(self, key: Any, default: Any = None) -> Any:
        """As of an envelope."""
        try:
            return self[key]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return default

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str) and not (isinstance(self, dict) and dict.__contains__(self, key)):
            if key == "value":
                return plain(self)
            if key == "args":
                return {}
        return super().__getitem__(key)  # type: ignore[misc]


class Text(Keyed, str):
    """A text."""


class Whole(Keyed, int):
    """A whole number."""


class Real(Keyed, float):
    """A number."""


class Many(Keyed, list):
    """A list."""


class Record(Keyed, dict):
    """An object."""


class Flag(Keyed):
    """True, false or nothing, which no class can be made of."""

    def __init__(self, value: bool | None) -> None:
        self.held = value

    def __bool__(self) -> bool:
        return bool(self.held)

    def __eq__(self, other: object) -> bool:
        return self.held == plain(other)

    def __hash__(self) -> int:
        return hash(self.held)

    def __repr__(self) -> str:
        return repr(self.held)

    def __getitem__(self, key: Any) -> Any:
        if key == "value":
            return self.held
        raise KeyError(key)


KINDS: dict[type, type] = {str: Text, int: Whole, float: Real, list: Many, dict: Record}


def plain(value: Any) -> Any:
    """The value in its own type."""
    if isinstance(value, Flag):
        return value.held
    for kind, keyed in KINDS.items():
        if isinstance(value, keyed):
            return kind(value)
    return value


def boxed(value: Any) -> Any:
    """The value so that it reads like an envelope too."""
    if value is None or isinstance(value, bool):
        return Flag(value)
    kind = KINDS.get(type(value))
    return value if kind is None else kind(value)


def outcome(result: Any) -> Any:
    """What hosts of this kind return, as an envelope of ours: a list of reports, pairs, or anything else as it is."""
    if not (isinstance(result, list) and result):
        return result
    reports = [item if isinstance(item, dict) else getattr(item, "__dict__", None) for item in result]
    if all(isinstance(report, dict) and "success" in report and ("name" in report or "result" in report) for report in reports):
        for report in reports:
            if not report["success"]:
                return {"success": False, "error": report.get("error") or report.get("message") or report.get("result")}
        named = {str(report.get("name") or f"result_{number}"): report.get("result") for number, report in enumerate(reports)}
        return {"success": True, "outputs": named}
    if all(isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str) for item in result):
        return {"success": True, "outputs": dict(result)}
    return result


FUNCTION = load()
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
WITH_CONTEXT = len([p for p in inspect.signature(FUNCTION).parameters.values() if p.kind in POSITIONAL]) >= 2


def execute_plugin(inputs: dict[str, Any], context: dict[str, Any]) -> Any:
    """One call."""
    aliases = HOW["aliases"]
    given = {aliases[name]: item["value"] for name, item in inputs.items() if name in aliases}
    given.update({name: item["value"] for name, item in inputs.items() if name not in aliases})
    missing = [name for name in HOW["required"] if name not in given]
    if missing:
        return {"success": False, "error": f"the argument {missing[0]!r} is missing"}
    if HOW["boxed"]:
        given = {name: boxed(value) for name, value in given.items()}
    result = FUNCTION(given, context) if WITH_CONTEXT else FUNCTION(given)
    if inspect.iscoroutine(result):
        result = asyncio.run(result)
    return outcome(result)
