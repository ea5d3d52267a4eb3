"""A fixture: calls that last. A second call starts only when the first one is over or was killed, which is how cancellation is seen."""

from __future__ import annotations

import time
from typing import Any


def wait(inputs: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """Sleeps."""
    time.sleep(inputs["seconds"]["value"])
    return {"success": True, "outputs": {"waited": inputs["seconds"]["value"]}}


def ready(inputs: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """Answers at once."""
    return {"success": True, "outputs": {"ready": True}}
