"""A fixture: ends badly in every way that a plugin can. Used by the soak and by tests of the server's survival."""

from __future__ import annotations

import faulthandler
import os
import signal
import struct
import sys
import time
from typing import Any


def every_channel(data: bytes) -> None:
    """Writes to every descriptor there is: one of them is the way back to the host."""
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, data)
        except OSError:
            continue


def hang() -> None:
    """Ignores every signal that can be ignored, and burns."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGXCPU, signal.SIGALRM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        pass


def memory() -> None:
    """Takes memory until it may not."""
    taken = []
    while True:
        taken.append(bytearray(16 << 20))


def flood() -> None:
    """Prints without an end."""
    while True:
        sys.stdout.write("x" * 65536)


def half_written() -> None:
    """Promises a frame and dies in the middle of it."""
    every_channel(struct.pack("<I", 4096) + b'{"t": "result", "content": [')
    os._exit(0)


def garbage() -> None:
    """A whole frame of nonsense."""
    every_channel(struct.pack("<I", 8) + b"\xff\xfe\x00not{")
    os._exit(0)


def closed() -> None:
    """Closes every descriptor and stays."""
    os.closerange(0, 256)
    time.sleep(30)


MODES = {
    "segfault": faulthandler._sigsegv,
    "abort": os.abort,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(7),
    "raise": lambda: 1 / 0,
    "system_exit": lambda: sys.exit(3),
    "hang": hang,
    "half_written": half_written,
    "garbage": garbage,
    "closed": closed,
    "memory": memory,
    "flood": flood,
}


def now(inputs: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """Never returns well."""
    MODES[inputs["mode"]["value"]]()
    return {"success": True, "outputs": {"survived": inputs["mode"]["value"]}}


def fine(inputs: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """Returns well: the server serves on."""
    return {"success": True, "outputs": {"fine": True}}
