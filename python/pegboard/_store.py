"""Installing packages: `pegboard install`, run by the program, which judges and verifies them. Nothing of a package runs.

The engine of the same home serves what was installed; how it hears of that is the engine's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from . import _engine
from ._errors import NotInstalled, UnsupportedError, readable


def install(
    what: str | os.PathLike[str],
    home: str | os.PathLike[str] | None,
    allow: Sequence[str],
    index: str | os.PathLike[str] | None,
    channel: str | None,
    digest: str | None,
) -> dict[str, Any]:
    """What `Toolbox.install` says."""
    # A path needs a `/`, a word without one is a name.
    word = os.path.abspath(os.path.expanduser(what)) if isinstance(what, os.PathLike) else what
    arguments = ["install", "--yes", "--json", *_engine.shelf_flags([], home, True)]
    arguments += [flag for power in allow for flag in ("--allow", power)]
    named = {"--index": index, "--channel": channel, "--digest": digest}
    arguments += [part for flag, value in named.items() if value is not None for part in (flag, os.fspath(value))]
    code, document = _engine.run([*arguments, "--", word])
    if code == 0:
        return document["installed"][0]
    error = document.get("error") or {}
    message, hint = readable(error.get("message", "nothing was installed")), error.get("hint")
    if error.get("code") == "usage" and "unrecognized subcommand" in message:
        raise UnsupportedError("this program can't install plugins", hint="give the plugin's folder to Toolbox(plugins=…)")
    raise NotInstalled(
        message,
        hint=readable(hint) if hint else None,
        code=str(error.get("code", NotInstalled.code)),
        differences=[entry for entry in document.get("differences", []) if isinstance(entry, dict)],
    )
