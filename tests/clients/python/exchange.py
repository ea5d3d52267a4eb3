"""The order that the driver gives a client script, and the report that goes back: what was asked and what a client saw.

Nothing is judged here. `tests/src/bin/clients.rs` knows what a right answer is; a script only tells what happened.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

TEXT = "Pegboard hangs tools on a wall. Every tool has its place. Take one down and use it."
STATISTICS = "text_analysis__text_statistics"


class Order:
    """What to connect to, and which folder to grow for `list_changed`."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.transport: str = raw["transport"]
        self.command: str = raw.get("command", "")
        self.args: list[str] = raw.get("args", [])
        self.env: dict[str, str] = raw.get("env", {})
        self.url: str = raw.get("url", "")
        self.mode: str = raw.get("mode", "")
        self.grow_from = Path(raw["grow_from"]) if "grow_from" in raw else None
        self.grow_to = Path(raw["grow_to"]) if "grow_to" in raw else None

    def grow(self) -> None:
        """Hangs one more plugin on the running server. Moved in whole: a watcher must not need to see it half copied."""
        if self.grow_from is None or self.grow_to is None:
            raise ValueError("the order names no plugin to add")
        staging = self.grow_to.parent.parent / (self.grow_to.name + ".staging")
        shutil.copytree(self.grow_from, staging)
        staging.rename(self.grow_to)


class Report:
    """What the client saw, step by step."""

    def __init__(self) -> None:
        self.steps: dict[str, Any] = {}

    async def step(self, name: str, act: Callable[[], Awaitable[Any]]) -> None:
        """Runs one step; an exception is what the client saw, so it is recorded and the next step runs."""
        try:
            self.steps[name] = await act()
        except Exception as error:  # the driver judges: nothing may be lost here
            self.steps[name] = {"exception": type(error).__name__, "message": str(error), "code": code_of(error)}

    def cannot(self, name: str, why: str) -> None:
        """A step that this client has no way to take."""
        self.steps[name] = {"cannot": why}

    def print(self) -> None:
        """Writes the report as one JSON document."""
        json.dump(self.steps, sys.stdout)
        sys.stdout.write("\n")


def read_order() -> Order:
    """The order is the one argument."""
    return Order(json.loads(sys.argv[1]))


def code_of(error: BaseException) -> int | None:
    """The JSON-RPC code of an error, wherever the client keeps it."""
    inner = getattr(error, "error", error)
    code = getattr(inner, "code", None)
    return code if isinstance(code, int) else None


def picture(data: str, mime: str) -> dict[str, Any]:
    """An image as facts that can be compared."""
    raw = base64.b64decode(data)
    return {"mime": mime, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest(), "png": raw.startswith(b"\x89PNG\r\n")}
