"""Checks of plugins: a manifest's text in this process, a folder by the program. Nothing of a plugin runs."""

from __future__ import annotations

import os
from typing import Any

from . import _core, _engine
from ._errors import InvalidManifest


def check_manifest(text: str, file: str = "plugin.yaml") -> list[dict[str, Any]]:
    """Every problem of a manifest's text, with code, line, column, path, what was expected and what was found.

    >>> check_manifest("name: Hello\\n")[0]["line"]
    1
    """
    return _core.check_manifest(text, file)


def manifest_schema() -> dict[str, Any]:
    """The JSON Schema of plugin.yaml.

    >>> manifest_schema()["type"]
    'object'
    """
    import json

    return json.loads(_core.manifest_schema_json())


def validate(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Checks a plugin's folder, its plugin.yaml, or a folder of plugins: files, schemas and examples besides the manifest.

    Raises:
        InvalidManifest: There are errors; `diagnostics` has them.
        EngineError: There is no plugin.
    """
    _, report = _engine.run(["validate", os.fspath(path)])
    if "plugins" not in report or report.get("not_plugins"):
        raise _engine.failure(report) if "error" in report else _engine.failure({"error": {"message": f"no plugin in `{path}`"}})
    if not report.get("valid"):
        found = [problem for plugin in report["plugins"] for problem in _problems(plugin)]
        raise InvalidManifest(f"`{path}` has errors", found)
    return report


def _problems(plugin: dict[str, Any]) -> list[dict[str, Any]]:
    lists = [value for value in plugin.values() if isinstance(value, list)]
    return [entry for entries in lists for entry in entries if isinstance(entry, dict) and "message" in entry]
