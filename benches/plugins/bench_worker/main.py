"""A fixture of the benches: as little work as a tool can do."""

from __future__ import annotations

from typing import Any


def echo(inputs: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """The same work as the peer's tool."""
    text = inputs["text"]["value"]
    return {"success": True, "outputs": {"echo": text, "length": len(text)}}
