"""Finds and imports a plugin's module by the path its manifest gives."""

import sys

from .faults import ToolFault
from .stdlib import stdlib


def import_module(path: str, root: str) -> object:
    """Imports `main`, `pkg.mod` or `pkg/mod.py`. A module of a standard name is the plugin's own where it has one."""
    name = module_name(path)
    prefix = root.rstrip("/") + "/"
    base = prefix + name.replace(".", "/")
    file = next((candidate for candidate in (f"{base}.py", f"{base}/__init__.py") if _is_file(candidate)), None)
    loaded = sys.modules.get(name)
    if file is not None and loaded is not None and getattr(loaded, "__file__", None) != file:
        return _import_file(name, file, root)
    __import__(name)
    return sys.modules[name]


def module_name(path: str) -> str:
    """The dotted name. Raises `ToolFault` for paths that leave the plugin."""
    dotted = path.removeprefix("./")
    if "/" in dotted or (dotted.endswith(".py") and dotted.count(".") == 1):
        dotted = dotted.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    if not dotted or any(not part for part in dotted.split(".")):
        raise ToolFault(
            "load_failed", f"`{path}` is not a module path", "write `main`, `package.module` or `package/module.py`"
        )
    return dotted


def _is_file(path: str) -> bool:
    try:
        with open(path, "rb"):
            return True
    except OSError:
        return False


def _import_file(name: str, file: str, root: str) -> object:
    """A module whose name the interpreter has already given away (`json.py`): under another name, so that both live."""
    util = stdlib("importlib.util", root)
    own = f"plugin_{name}"
    spec = util.spec_from_file_location(own, file)
    module = util.module_from_spec(spec)
    sys.modules[own] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[own]
        raise
    return module
