"""A fixture of the benches: a plugin whose imports take a while."""

from __future__ import annotations

from typing import Any

import bs4
import pydantic
import requests


def versions(inputs: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """Says what was imported."""
    found = {"requests": requests.__version__, "bs4": bs4.__version__, "pydantic": pydantic.VERSION}
    return {"success": True, "outputs": found}
