"""The tools of the plugin: plain functions from inputs to outputs. What a client sees of them is in plugin.yaml."""

from __future__ import annotations

from typing import Any


def count_words(inputs: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """Words, lines and characters of `text`."""
    text: str = inputs["text"]
    return {"words": len(text.split()), "lines": len(text.splitlines()), "characters": len(text)}


TOOLS = {"count_words": count_words}
