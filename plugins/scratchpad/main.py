"""The tools: classes with initialize, execute, cleanup, get_status and handle_event, over one memory."""

from __future__ import annotations

from typing import Any

from arithmetic import Number, Unfit, reckon
from memory import MAX_LISTED, MEMORY

# Beyond it a JSON number loses digits in many clients.
SAFE_INTEGER = 2**53


class _SessionTool:
    """What all tools share: their life is that of the memory."""

    def initialize(self, config: dict[str, Any], context: dict[str, Any]) -> None:
        """Nothing to prepare: every session begins empty."""

    def execute(self, input: dict[str, Any]) -> dict[str, Any]:
        """One call."""
        raise NotImplementedError

    def cleanup(self) -> None:
        """The session ends."""
        MEMORY.clear()

    def get_status(self) -> dict[str, Any]:
        """How much is remembered."""
        return {"status": "healthy", "remembered": len(MEMORY)}

    def handle_event(self, event: dict[str, Any]) -> dict[str, Any]:
        """Starts afresh on `session_reset`; ignores other events."""
        if isinstance(event, dict) and event.get("type") == "session_reset":
            MEMORY.clear()
            return {"handled": True}
        return {"handled": False}


class Calculate(_SessionTool):
    """`calculate`."""

    def execute(self, input: dict[str, Any]) -> dict[str, Any]:
        value = reckon(input.get("expression"), MEMORY.numbers())
        name = input.get("save_as")
        if name is not None:
            MEMORY.set(name, value)
        MEMORY.set("ans", value)
        text = str(value) if isinstance(value, int) else f"{value:.15g}"
        shown = {"value": _shown(value), "text": text}
        return {**shown, "saved_as": name} if name is not None else shown


def _shown(value: Number) -> Number | None:
    """The number without the noise of binary fractions (0.3, not 0.30000000000000004); `None` for one that JSON would
    bend.
    """
    if isinstance(value, int):
        return value if abs(value) <= SAFE_INTEGER else None
    return float(f"{value:.15g}") + 0.0


class Remember(_SessionTool):
    """`remember`."""

    def execute(self, input: dict[str, Any]) -> dict[str, Any]:
        if "value" not in input:
            raise Unfit("`value` is missing")
        new = MEMORY.set(input.get("key", ""), input["value"])
        return {"key": input["key"], "replaced": not new}


class Recall(_SessionTool):
    """`recall`."""

    def execute(self, input: dict[str, Any]) -> dict[str, Any]:
        key, prefix = input.get("key"), input.get("prefix")
        if key is not None and prefix is not None:
            raise Unfit("give either `key` or `prefix`")
        if key is not None:
            found = key in MEMORY.keys()
            return {"key": key, "found": found, "value": MEMORY.get(key) if found else None}
        return {"keys": MEMORY.keys(prefix or "")[:MAX_LISTED]}


class Forget(_SessionTool):
    """`forget`."""

    def execute(self, input: dict[str, Any]) -> dict[str, Any]:
        named = [name for name in ("key", "prefix", "everything") if input.get(name)]
        if len(named) != 1:
            raise Unfit("give one of `key`, `prefix`, or `everything: true`")
        if named[0] == "key":
            return {"forgotten": int(MEMORY.drop(input["key"]))}
        return {"forgotten": MEMORY.forget(input["prefix"] if named[0] == "prefix" else "")}
