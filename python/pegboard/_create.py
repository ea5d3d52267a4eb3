"""Plugins made from Python: of functions, or of code and fields. Manifest and code are written, and nothing of them runs here.

The one place that writes manifests; `_export` uses it, too.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shutil
import sys
import tempfile
import textwrap
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import _core
from ._errors import InvalidManifest, PegboardError

# What YAML does not take as it is, although JSON does.
_UNWRITABLE = re.compile("[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_MOST_DEFINITIONS = 200


def manifest_text(fields: Mapping[str, Any]) -> str:
    """plugin.yaml with these fields, checked.

    Raises:
        InvalidManifest: There are errors; nothing is written.
    """
    # JSON is YAML: every value is written so that nothing in it can be read as anything else.
    lines = [f"{key}: {_UNWRITABLE.sub(_escape, json.dumps(value, ensure_ascii=False))}\n" for key, value in fields.items()]
    text = "".join(lines)
    problems = _core.check_manifest(text)
    if problems:
        raise InvalidManifest(f"the manifest would have errors: {problems[0]['message']}", problems)
    return text


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def plugin_files(
    name: str,
    functions: Sequence[Callable[..., Any]],
    code: str | None,
    tools: Sequence[Mapping[str, Any]] | None,
    more: Mapping[str, Any],
) -> dict[str, str]:
    """The text of plugin.yaml and of main.py."""
    if bool(functions) == bool(code):
        raise PegboardError("expected functions or `code`, one of the two")
    if functions:
        if tools:
            raise PegboardError("expected `tools` with `code` only: functions say themselves what they are")
        code = source_of(functions)
        tools = [{"name": function.__name__, "description": _about(function), "function": function.__name__} for function in functions]
    if not tools:
        raise PegboardError("expected `tools`: a name, a description and a function of the code for each")
    description = more.get("description") or str(tools[0].get("description") or name)
    fields = {"name": name, "version": "0.1.0", **more, "description": description, "mcps": [dict(tool) for tool in tools]}
    return {"plugin.yaml": manifest_text(fields), "main.py": str(code)}


def write_plugin(shelf: str, name: str, files: Mapping[str, str]) -> Path:
    """The plugin's folder on the shelf: there at once, whole, or not at all."""
    folder = Path(shelf, name)
    if folder.exists():
        raise PegboardError(f"`{folder}` exists already", hint="take another name, or remove the folder", code="exists")
    # Not on the shelf, where half a plugin would be looked at; beside it, so that it is one rename away.
    staging = Path(tempfile.mkdtemp(prefix=".pegboard-", dir=shelf))
    try:
        for file, text in files.items():
            (staging / file).write_text(text, encoding="utf-8")
        staging.chmod(0o755)
        os.rename(staging, folder)
    except OSError as error:
        raise PegboardError(f"`{folder}` can't be written: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def _about(function: Callable[..., Any]) -> str:
    text = (inspect.getdoc(function) or "").strip()
    if not text:
        raise PegboardError(f"`{function.__name__}` has no docstring, and a tool is found by what it says about itself")
    return text


def source_of(functions: Sequence[Callable[..., Any]]) -> str:
    """The code of a module with these functions, and with what they use of their own modules."""
    parts = _Parts()
    for function in functions:
        parts.add(function)
    return "\n".join(["from __future__ import annotations\n", *sorted(parts.imports), "", *parts.values, *parts.definitions.values()])


class _Parts:
    """What a module needs, collected from functions and the names they use."""

    def __init__(self) -> None:
        self.imports: set[str] = set()
        self.values: list[str] = []
        self.definitions: dict[str, str] = {}
        self._homes: dict[str, object] = {}

    def add(self, made: Callable[..., Any] | type) -> None:
        name = getattr(made, "__name__", type(made).__name__)
        if self._is_known(name, made):
            return
        if len(self._homes) > _MOST_DEFINITIONS:
            raise PegboardError(f"`{name}` uses more than {_MOST_DEFINITIONS} other definitions", hint="make a plugin of the module by hand")
        if not inspect.isclass(made) and (not inspect.isfunction(made) or name == "<lambda>" or made.__closure__):
            raise PegboardError(f"`{name}` is no function that stands by itself", hint="define it at the top of a module")
        try:
            text = textwrap.dedent(inspect.getsource(made))
        except (OSError, TypeError):
            raise PegboardError(f"the source of `{name}` was not found", hint="give it as `code`") from None
        scope = vars(sys.modules[made.__module__]) if inspect.isclass(made) else made.__globals__
        for used in sorted(_names(text) - {name}):
            if used in scope:
                self._bring(used, scope[used], made)
        # After what it uses, so that decorators and defaults find theirs.
        self.definitions[name] = text

    def _is_known(self, name: str, thing: object) -> bool:
        if name in self._homes and self._homes[name] is not thing:
            raise PegboardError(f"`{name}` is two different things in the modules of these functions")
        known = name in self._homes
        self._homes[name] = thing
        return known

    def _bring(self, name: str, thing: Any, user: Callable[..., Any] | type) -> None:
        if isinstance(thing, types.ModuleType):
            if not self._is_known(name, thing):
                self.imports.add(f"import {thing.__name__}" + ("" if thing.__name__ == name else f" as {name}"))
            return
        home, own = getattr(thing, "__module__", None), getattr(thing, "__name__", None)
        if isinstance(home, str) and isinstance(own, str) and home != user.__module__ and getattr(sys.modules.get(home), own, None) is thing:
            if not self._is_known(name, thing):
                self.imports.add(f"from {home} import {own}" + ("" if own == name else f" as {name}"))
        elif inspect.isfunction(thing) or inspect.isclass(thing):
            if own != name:
                raise PegboardError(f"`{user.__name__}` uses `{name}`, which is `{own}` by another name", hint="use its own name")
            self.add(thing)
        elif not self._is_known(name, thing):
            self.values.append(f"{name} = {_written(name, thing, user)}")


def _written(name: str, value: Any, user: Callable[..., Any] | type) -> str:
    text = repr(value)
    try:
        if len(text) <= 65_536 and ast.literal_eval(text) == value:
            return text
    except (ValueError, SyntaxError, RecursionError):
        pass
    kind = type(value).__name__
    raise PegboardError(f"`{user.__name__}` uses `{name}`, a {kind} of its module that can't be written down", hint="make it inside the function")


def _names(text: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
