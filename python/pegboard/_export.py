"""From a LangChain tool to a plugin's folder: manifest from its schema and docstring, its source, its requirements.

What is written is an ordinary plugin: it runs in the sandbox, and its powers are the operator's to grant. The tool's module is imported here,
so it is run with the caller's own rights: export what you trust.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from ._create import manifest_text
from ._errors import PegboardError

_MAX_FILES = 500
_MAX_BYTES = 20 << 20


def export(target: str, output: str | os.PathLike[str], *, name: str | None = None) -> Path:
    """Writes the plugin of `package.module:tool` and returns its folder.

    Raises:
        PegboardError: There is no such tool, the folder holds something, or the tool can't be a plugin.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise PegboardError(f"expected package.module:name, found `{target}`")
    folder = Path(output)
    if folder.exists() and any(folder.iterdir()):
        raise PegboardError(f"`{folder}` is not empty")
    tool = _load(module_name, attribute)
    schema = _schema(tool)
    plugin = _identifier(name or module_name.rpartition(".")[2] or attribute)
    served = _identifier(str(getattr(tool, "name", attribute)), longest=32)
    description = (getattr(tool, "description", "") or inspect.getdoc(tool) or served).strip()
    folder.mkdir(parents=True, exist_ok=True)
    dependencies = _bring(module_name, folder)
    manifest = _manifest(plugin, served, description, schema, dependencies)
    (folder / "plugin.yaml").write_text(manifest, encoding="utf-8")
    (folder / "main.py").write_text(_code(module_name, attribute), encoding="utf-8")
    return folder


def _load(module_name: str, attribute: str) -> Any:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise PegboardError(f"`{module_name}` can't be imported: {error}") from error
    tool = getattr(module, attribute, None)
    if inspect.isclass(tool):
        tool = tool()
    if tool is None or not (hasattr(tool, "invoke") and hasattr(tool, "args_schema")):
        raise PegboardError(f"`{module_name}:{attribute}` is no LangChain tool")
    return tool


def _schema(tool: Any) -> dict[str, Any]:
    schema = getattr(tool, "tool_call_schema", None) or tool.args_schema
    made = schema if isinstance(schema, dict) else schema.model_json_schema()
    return {key: value for key, value in made.items() if key not in ("title", "description")}


def _identifier(text: str, longest: int = 30) -> str:
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()
    word = re.sub(r"[^a-z0-9]+", "_", word).strip("_")
    word = word if word[:1].isalpha() else f"tool_{word}"
    return word[:longest].strip("_")


def _bring(module_name: str, folder: Path) -> list[tuple[str, str]]:
    """Copies the tool's own source, and names the packages that it needs from elsewhere."""
    top = module_name.partition(".")[0]
    installed = importlib.metadata.packages_distributions()
    needs: set[str] = {"langchain-core"}
    if top in installed:
        # An installed package is a requirement, not something to copy.
        needs.add(installed[top][0])
    else:
        found = Path(inspect.getfile(sys.modules[top])) if getattr(sys.modules[top], "__file__", None) else None
        if found is None:
            paths = list(getattr(sys.modules[top], "__path__", ()))
            if not paths:
                raise PegboardError(f"the source of `{top}` was not found")
            _copy_package(Path(paths[0]), folder / top)
        elif found.name == "__init__.py":
            _copy_package(found.parent, folder / top)
        else:
            shutil.copyfile(found, folder / found.name)
        for source in folder.rglob("*.py"):
            for imported in _imports(source):
                if imported in installed and imported != "pegboard":
                    needs.add(installed[imported][0])
    return sorted((name, importlib.metadata.version(name)) for name in needs)


def _copy_package(source: Path, target: Path) -> None:
    files = [path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    if len(files) > _MAX_FILES or sum(path.stat().st_size for path in files) > _MAX_BYTES:
        raise PegboardError(f"`{source}` is too large to copy: at most {_MAX_FILES} files and {_MAX_BYTES >> 20} MiB")
    for path in files:
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def _imports(source: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names)


def _manifest(plugin: str, tool: str, description: str, schema: dict[str, Any], needs: list[tuple[str, str]]) -> str:
    fields = {
        "name": plugin,
        "version": "0.1.0",
        "description": description.splitlines()[0][:200],
        "mcps": [
            {
                "name": tool,
                "description": description[:2000],
                "module_path": "main",
                "class_name": "Exported",
                "args_schema": schema,
            }
        ],
        "dependencies": [{"name": name, "version": f"=={version}", "source": "pypi"} for name, version in needs],
        "python_requires": ">=3.10",
    }
    return manifest_text(fields)


def _code(module: str, attribute: str) -> str:
    return (
        f'"""The tool {module}:{attribute}, exported. What it does is in {module.partition(".")[0]}."""\n\n'
        f"import inspect\n\nfrom {module} import {attribute} as _exported\n\n\n"
        "class Exported:\n"
        '    """One call of the tool."""\n\n'
        "    def _run(self, **arguments):\n"
        "        tool = _exported() if inspect.isclass(_exported) else _exported\n"
        "        return tool.invoke(arguments)\n"
    )
