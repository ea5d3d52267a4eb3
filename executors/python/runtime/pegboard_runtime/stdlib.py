"""The standard library as it is, also when the plugin has modules of the same names.

Our runtime imports rarely needed modules late, when the plugin's folder already stands first on `sys.path`. Nothing
here
protects from a plugin that patches a module on purpose: it lives in the same process and harms only itself.
"""

import sys


def stdlib(name: str, root: str) -> object:
    """Imports a standard module; the plugin's folder and its modules of standard names are out of sight meanwhile."""
    prefix = root.rstrip("/") + "/"
    present = sys.modules.get(name)
    if present is not None and not _is_plugins(present, prefix):
        return present
    hidden = {
        key: module
        for key, module in list(sys.modules.items())
        if key.partition(".")[0] in sys.stdlib_module_names and _is_plugins(module, prefix)
    }
    path = sys.path[:]
    for key in hidden:
        del sys.modules[key]
    sys.path[:] = [entry for entry in path if entry and entry != root and not entry.startswith(prefix)]
    try:
        __import__(name)
        return sys.modules[name]
    finally:
        sys.path[:] = path
        sys.modules.update(hidden)


def _is_plugins(module: object, prefix: str) -> bool:
    file = getattr(module, "__file__", None)
    return type(file) is str and file.startswith(prefix)
