"""A fixture: one tool for each kind of answer that a client can get. Does nothing useful."""

from __future__ import annotations

import base64
import time
from typing import Any

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def echo(inputs: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """Structured content that fits an output schema."""
    text, times = inputs["text"]["value"], inputs.get("times", {"value": 1})["value"]
    return {"success": True, "outputs": {"echo": text * times, "length": len(text) * times}}


def count(inputs: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """Progress. The pause is for a client that forgets progress which arrives in one read with the result (TypeScript SDK v1)."""
    steps = inputs["steps"]["value"]
    for step in range(1, steps + 1):
        context["progress"](step, steps, f"step {step}")
        time.sleep(0.05)
    return {"success": True, "outputs": {"counted": steps}}


def fail(inputs: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """A failure that the tool reports itself."""
    return {"success": False, "error": inputs["message"]["value"]}


class Picture:
    """An image, as bytes with a media type."""

    def _run(self) -> tuple[bytes, str]:
        return PIXEL, "image/png"
