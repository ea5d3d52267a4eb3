"""Makes the base images of the container tests from nothing but this machine, for engines that reach no registry.

`python_image.py SOCKET` packs this interpreter with its standard library and the shared libraries that it needs into one layer, and hands it to
the engine that listens at SOCKET as `localhost/pegboard-base/python:1`. It knows nothing of Pegboard; an image that is there is kept.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import socket
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

NAME = "localhost/pegboard-base/python"
TAG = "1"
LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "site-packages", "dist-packages", "__pycache__", "lib2to3"}
PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=300)
        self._path = path

    def connect(self) -> None:
        """Connects to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def libraries(file: Path) -> set[Path]:
    """The shared libraries that a program or a library needs, the loader included."""
    said = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=False).stdout
    return {Path(found) for found in re.findall(r"(/[^ ]+) \(0x", said)}


def rootfs() -> bytes:
    """One layer: the interpreter as /usr/bin/python3, its standard library, what both need."""
    program = Path(os.path.realpath(sys.executable))
    library = Path(sysconfig.get_path("stdlib", vars={}))
    needed = libraries(program)
    for module in (library / "lib-dynload").glob("*.so"):
        needed |= libraries(module)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:

        def keep(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
            name = Path(entry.name).name
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            return None if name in LEFT_OUT or name.startswith("config-") else entry

        def folder(name: str, mode: int = 0o755) -> None:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)

        folder("tmp", 0o1777)
        for name in ("etc", "run", "run/pegboard", "data", "proc", "sys", "dev"):
            folder(name)
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(PASSWD)
        tar.addfile(entry, io.BytesIO(PASSWD.encode()))
        tar.add(program, str(program).lstrip("/"), filter=keep)
        if str(program) != "/usr/bin/python3":
            link = tarfile.TarInfo("usr/bin/python3")
            link.type, link.linkname = tarfile.SYMTYPE, str(program)
            tar.addfile(link)
        tar.add(library, str(library).lstrip("/"), filter=keep)
        for path in sorted(needed):
            # By the name that it is asked for, with the bytes behind the link.
            entry = tar.gettarinfo(os.path.realpath(path), str(path).lstrip("/"))
            entry.uid = entry.gid = 0
            with open(os.path.realpath(path), "rb") as file:
                tar.addfile(entry, file)
    return buffer.getvalue()


def ask(path: str, method: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
    """One request to the engine."""
    connection = UnixConnection(path)
    connection.request(method, url, body, {"Content-Type": "application/x-tar"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def main() -> int:
    """Makes what is missing."""
    if len(sys.argv) != 2:
        print("usage: python_image.py SOCKET", file=sys.stderr)
        return 2
    path = sys.argv[1].removeprefix("unix://")
    if ask(path, "GET", f"/v1.41/images/{NAME}:{TAG}/json")[0] == 200:
        return 0
    changes = "&changes=" + "ENV%20PATH%3D/usr/local/bin%3A/usr/bin%3A/bin"
    status, said = ask(path, "POST", f"/v1.41/images/create?fromSrc=-&repo={NAME}:{TAG}{changes}", rootfs())
    problems = [line for line in said.decode().splitlines() if "error" in (json.loads(line) if line.startswith("{") else {})]
    if status != 200 or problems:
        print(f"the engine refused the image (HTTP {status}): {said.decode()[:2000]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
