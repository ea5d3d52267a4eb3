"""Runs one program in a process of its own: fresh folder, no environment, limited time, output cut. The walls are the container's."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from typing import Any

# Characters of each output that are returned.
OUTPUT = 60_000
# Bytes that a program may write to one file, its output included: what is longer ends it.
FILE = 16 << 20


def confine() -> None:
    """In the child, before the program: one that runs away ends by itself."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))


def text(file: Any) -> tuple[str, bool]:
    """The beginning of an output, and whether there was more."""
    file.seek(0)
    raw = file.read(OUTPUT * 4 + 1)
    decoded = raw.decode("utf-8", "replace")
    return decoded[:OUTPUT], len(decoded) > OUTPUT or len(raw) > OUTPUT * 4


def run_python(inputs: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """Runs `code` with `stdin` for at most `seconds`."""
    seconds = float(inputs.get("seconds", 10))
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        program = os.path.join(folder, "program.py")
        with open(program, "w", encoding="utf-8") as file:
            file.write(inputs["code"])
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", program],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            cwd=folder,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": folder, "LANG": "C.UTF-8"},
            start_new_session=True,
            preexec_fn=confine,
        )
        timed_out = False
        try:
            process.communicate(inputs.get("stdin", "").encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            # Whatever it started goes with it.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        (stdout, cut_out), (stderr, cut_err) = text(out), text(err)
    return {
        "stdout": stdout,
        "stderr": stderr.replace(program, "program.py"),
        "exit_code": None if timed_out else process.returncode,
        "timed_out": timed_out,
        "truncated": cut_out or cut_err,
    }


TOOLS = {"run_python": run_python}
