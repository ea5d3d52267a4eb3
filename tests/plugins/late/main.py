"""A fixture: a plugin that comes while the server runs."""

from __future__ import annotations

from typing import Any


def here(inputs: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """Says so."""
    return {"success": True, "outputs": {"here": True}}
