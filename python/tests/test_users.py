"""Another user's engine is refused from both sides, whatever the modes of files say. Needs root, who alone can be somebody else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pegboard
from pegboard import _core, _engine
from pegboard._links import SocketLink

NOBODY = 65534

# Imports as root, then is nobody: the interpreter's own files may be root's alone.
CONNECT = """
import os, sys
from pegboard import PegboardError, _engine
from pegboard._links import SocketLink
opening = _engine.opening()
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    link = SocketLink(sys.argv[1], opening)
    print("joined", link.request("tools/list", {}, 20)[0])
except PegboardError as error:
    print(type(error).__name__, error.code, error.message)
"""


def as_nobody(socket: Path) -> str:
    done = subprocess.run([sys.executable, "-c", CONNECT, str(socket)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A place that both can enter."""
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == 0 and path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(path.stat().st_mode | 0o055)
    return tmp_path


def test_the_door_is_closed_to_others(box: pegboard.Toolbox) -> None:
    assert box._owned is not None
    assert as_nobody(Path(box._owned.socket)).startswith("EngineError engine.peer could not connect")
    # The control: its own user comes in.
    assert SocketLink(box._owned.socket, _engine.opening()).request("tools/list", {}, 20)[0] == "result"


def test_behind_an_open_door_each_side_refuses_the_other(box: pegboard.Toolbox, open_folder: Path) -> None:
    assert box._owned is not None
    door = open_folder / "door.sock"
    os.link(box._owned.socket, door)
    door.chmod(0o777)
    try:
        # The client's side: it asks the kernel whose engine that is before it says a word.
        assert as_nobody(door).startswith("EngineError engine.peer the engine at")
        # The engine's side: a client that does not ask hears nothing.
        code = (
            "import os, socket, sys\n"
            "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "peer = socket.socket(socket.AF_UNIX); peer.settimeout(20); peer.connect(sys.argv[1])\n"
            "try:\n"
            "    peer.sendall(sys.argv[2].encode() + b'\\n')\n"
            "    print(peer.recv(100))\n"
            "except (BrokenPipeError, ConnectionResetError):\n"
            "    print(b'')\n"
        )
        done = subprocess.run([sys.executable, "-c", code, str(door), _engine.opening()], capture_output=True, text=True, timeout=60)
        assert done.stdout.strip() == "b''", done.stderr
        # The control: through the same door, the same user.
        assert SocketLink(str(door), _engine.opening()).request("tools/list", {}, 20)[0] == "result"
    finally:
        door.unlink()


def test_an_engine_that_somebody_else_put_there_is_not_spoken_to(open_folder: Path) -> None:
    code = (
        "import os, socket, sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "door = socket.socket(socket.AF_UNIX); door.bind(sys.argv[1]); door.listen()\n"
        "print('there', flush=True)\n"
        "peer, _ = door.accept()\n"
        "print(peer.recv(1000), flush=True)\n"
    )
    place = open_folder / "trap"
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    trap = subprocess.Popen([sys.executable, "-c", code, str(place / "x.sock")], stdout=subprocess.PIPE, text=True)
    assert trap.stdout is not None and trap.stdout.readline() == "there\n"
    with pytest.raises(pegboard.EngineError) as caught:
        SocketLink(str(place / "x.sock"), _engine.opening())
    assert caught.value.code == "engine.peer"
    assert trap.communicate(timeout=20)[0].strip() == "b''"
    shutil.rmtree(place)


def test_the_exception_is_the_module_s_own() -> None:
    assert issubclass(_core.Stranger, Exception) and not issubclass(_core.Stranger, _core.Gone)
