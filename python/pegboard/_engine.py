"""Finding the program, beginning a private engine, joining the user's. What is said on the connection is `_core.Connection`.

The only place, beside `__main__`, that reads the environment or starts a process. What takes long to import is imported when it is used.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from typing import Any

from . import _core
from ._errors import EngineError, readable

_START_SECONDS = 90.0
_END_SECONDS = 15.0


def program() -> str:
    """The path of the `pegboard` program: `PEGBOARD_BIN`, that of this package's environment, or one on the path."""
    import shutil
    import sysconfig
    from pathlib import Path

    given = os.environ.get("PEGBOARD_BIN")
    if given:
        return given
    places = [sysconfig.get_path("scripts"), os.path.dirname(sys.executable)]
    # `pip install --user` and `--target` put it elsewhere than the interpreter's own.
    package = Path(__file__).resolve().parent
    places += [str(package.parent / "bin"), str(package.parents[3] / "bin") if len(package.parents) > 3 else ""]
    for place in filter(None, places):
        candidate = os.path.join(place, "pegboard")
        if os.access(candidate, os.X_OK) and _is_program(candidate):
            return candidate
    found = shutil.which("pegboard")
    if found is None:
        raise EngineError("the `pegboard` program was not found", hint="install the wheel, or set PEGBOARD_BIN")
    return found


def _is_program(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def shelf_flags(plugins: Sequence[str | os.PathLike[str]], home: str | os.PathLike[str] | None, bundled: bool) -> list[str]:
    """The flags that say which plugins and which home."""
    flags: list[str] = []
    for folder in plugins:
        flags += ["--plugins", os.path.abspath(os.path.expanduser(os.fspath(folder)))]
    if home is not None:
        flags += ["--home", os.path.abspath(os.path.expanduser(os.fspath(home)))]
    return flags if bundled else [*flags, "--no-bundled"]


def run(arguments: Sequence[str], timeout: float | None = None) -> tuple[int, dict[str, Any]]:
    """One command of the program with `--json`: its exit code and its document."""
    import json
    import subprocess

    flags = [] if "--json" in arguments else ["--json"]
    done = subprocess.run([program(), *arguments, *flags], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
    try:
        document = json.loads(done.stdout)
    except ValueError:
        text = done.stderr.decode(errors="replace").strip()
        raise EngineError(f"`pegboard {arguments[0]}` said nothing readable: {readable(text[-500:])}") from None
    return done.returncode, document


def standing(name: str, flags: Sequence[str]) -> str:
    """What the program says of a plugin: its state, and what is missing."""
    _, document = run(["list", *flags], timeout=_START_SECONDS)
    for plugin in document.get("plugins", []):
        if plugin.get("name") == name:
            reasons = "; ".join(str(reason.get("message", reason) if isinstance(reason, dict) else reason) for reason in plugin["reasons"])
            return readable(f"it is {plugin.get('state')}" + (f": {reasons}" if reasons else ""), 2_000)
    return "the engine does not see it"


def failure(document: dict[str, Any]) -> EngineError:
    """The exception of a command's error document."""
    error = document.get("error") or {}
    return EngineError(str(error.get("message", "the engine did not start")), hint=error.get("hint"), code=error.get("code"))


def opening() -> str:
    """The first line of a connection to an engine."""
    import json

    return json.dumps({"pegboard": 1, "want": "join", "version": _core.__version__, "view": "all"})


def join_shared(flags: Sequence[str]) -> str:
    """The socket of the user's engine, which is begun when there is none."""
    code, document = run(["engine", "start", *flags], timeout=_START_SECONDS)
    if code != 0:
        raise failure(document)
    return str(document["socket"])


class PrivateEngine:
    """An engine that is this process's own: it ends when this process does, however that ends."""

    def __init__(self, flags: Sequence[str]) -> None:
        import json
        import subprocess

        # Standard input is the leash: only this process holds the other end (children that run a program do not inherit it).
        self._process = subprocess.Popen(
            [program(), "engine", "run", "--owned", "--json", "--log", os.environ.get("PEGBOARD_LOG", "error"), *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._pid = os.getpid()
        said: list[bytes] = []
        reader = threading.Thread(target=self._listen, args=(said,), name="pegboard-start", daemon=True)
        reader.start()
        reader.join(_START_SECONDS)
        text = b"".join(said).decode(errors="replace")
        try:
            document: dict[str, Any] = json.loads(text)
        except ValueError:
            document = {}
        if "socket" not in document:
            self._process.kill()
            self._process.wait()
            self._close_pipes()
            raise failure(document)
        self.socket = str(document["socket"])

    def _listen(self, said: list[bytes]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said.append(line)
            if b'"socket"' in line:
                return

    def stop(self) -> None:
        """Ends it and waits for its end. In a forked process this only lets go of it."""
        from subprocess import TimeoutExpired

        if os.getpid() != self._pid:
            self._close_pipes()
            self._process.returncode = 0
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close_pipes()

    def let_go(self) -> None:
        """After a fork, in the child: the leash is the parent's alone."""
        self._close_pipes()
        # Not ours to wait for; without this the interpreter would warn about it.
        self._process.returncode = 0

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass
