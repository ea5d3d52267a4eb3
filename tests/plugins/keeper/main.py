"""A fixture: says what it was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def look(inputs: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """The file's text, and what came with the call."""
    text = Path(inputs["path"]["value"]).read_text(encoding="utf-8")
    secret = context["secrets"].get("KEEPER_KEY", "")
    # Turned around: a secret that a tool hands back is its own affair, one that a log shows is not.
    return {"success": True, "outputs": {"text": text, "key": secret[::-1], "greeting": context["config"].get("greeting", "")}}
