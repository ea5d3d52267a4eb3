"""Each way to go wrong has its exception; none hangs, leaves a process behind, or ends the interpreter."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import pegboard
from pegboard import Toolbox


@pytest.mark.parametrize(
    ("tool", "arguments", "expected", "code"),
    [
        ("bench_desk__nothing", {}, pegboard.UnknownTool, "unknown_tool"),
        ("bench_desk__total", {"a": "x", "b": 1}, pegboard.BadArguments, "bad_arguments"),
        ("bench_desk__echo", {"text": "a", "style": {"casing": "loud"}}, pegboard.BadArguments, "bad_arguments"),
        ("bench_desk__fail", {}, pegboard.ToolFailed, "raised"),
        ("bench_desk__die", {}, pegboard.ToolCrashed, "crashed"),
    ],
)
def test_each_failure_is_a_class(box: Toolbox, tool: str, arguments: dict[str, object], expected: type, code: str) -> None:
    with pytest.raises(pegboard.CallError) as caught:
        box.call(tool, arguments)
    assert type(caught.value) is expected
    assert (caught.value.code, caught.value.tool) == (code, tool)
    with pytest.raises(expected):
        asyncio.run(box.acall(tool, arguments))
    assert box.call("bench_desk__total", a=1, b=1).value == 2


def test_a_missing_key_is_denied(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "needy"
    folder.mkdir()
    (folder / "plugin.yaml").write_text(
        "name: needy\nversion: 1.0.0\ndescription: Needs the network\npermissions: [network_access]\n"
        "requires_network: true\nmcps:\n  - {name: look, description: Looks, class_name: Look, args_schema: {type: object}}\n"
    )
    (folder / "main.py").write_text("class Look:\n    def _run(self):\n        return 1\n")
    with Toolbox(plugins=folder, home=home, bundled=False) as box, pytest.raises(pegboard.Denied) as caught:
        box.call("needy__look")
    assert "network" in str(caught.value)


def test_a_time_limit_cancels_the_call(box: Toolbox) -> None:
    began = time.monotonic()
    with pytest.raises(pegboard.ToolTimedOut):
        box.call("bench_desk__wait", seconds=30, timeout=0.3)
    with pytest.raises(pegboard.ToolTimedOut):
        asyncio.run(box.acall("bench_desk__wait", seconds=30, timeout=0.3))
    assert time.monotonic() - began < 5


def runs(path: str, calls: int) -> bool:
    """Whether so many calls run before long on the engine of a socket."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(path)
            asking.sendall(json.dumps({"pegboard": 1, "want": "status", "version": pegboard.__version__}).encode() + b"\n")
            with asking.makefile() as answer:
                if json.loads(answer.readline())["engine"]["running"] == calls:
                    return True
        time.sleep(0.02)
    return False


async def test_cancelling_a_task_cancels_the_call(box: Toolbox) -> None:
    assert box._owned is not None
    task = asyncio.create_task(box.acall("bench_desk__wait", seconds=30))
    assert await asyncio.to_thread(runs, box._owned.socket, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(runs, box._owned.socket, 0)
    assert (await box.acall("bench_desk__total", a=1, b=1)).value == 2


def test_an_engine_that_vanishes_is_told_to_every_waiter(make: Callable[..., Toolbox]) -> None:
    box = make()
    assert box._owned is not None
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            box.call("bench_desk__wait", seconds=60)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is looked at
            caught.append(error)

    async def awaited() -> None:
        task = asyncio.create_task(box.acall("bench_desk__wait", seconds=60))
        assert await asyncio.to_thread(runs, box._owned.socket, 4)
        os.kill(box._owned._process.pid, signal.SIGKILL)
        with pytest.raises(pegboard.EngineGone):
            await task

    box.call("bench_desk__total", a=1, b=1)
    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    asyncio.run(awaited())
    for thread in threads:
        thread.join(10)
    assert [type(error) for error in caught] == [pegboard.EngineGone] * 3
    with pytest.raises(pegboard.EngineGone):
        box.call("bench_desk__total", a=1, b=1)
    box.close()


def test_closing_ends_calls_that_run(make: Callable[..., Toolbox]) -> None:
    box = make()
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            box.call("bench_desk__wait", seconds=60)
        except pegboard.PegboardError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    box.call("bench_desk__total", a=1, b=1)
    thread.start()
    assert box._owned is not None and runs(box._owned.socket, 1)
    box.close()
    thread.join(10)
    assert [type(error) for error in caught] == [pegboard.ToolboxClosed]


PRELUDE = """
import asyncio, sys, threading, time, os
from pegboard import Toolbox
box = Toolbox(plugins={plugins!r}, home={home!r}, bundled=False)
box.call("bench_desk__total", a=1, b=1)
print(box._owned._process.pid, box._owned.socket, flush=True)
"""


class Child:
    """An interpreter with a toolbox, and its engine as seen from outside."""

    def __init__(self, home: Path, plugins: Path, rest: str) -> None:
        code = PRELUDE.format(plugins=str(plugins), home=str(home)) + rest
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert self.process.stdout is not None
        pid, self.socket = self.process.stdout.readline().split()
        self.engine = int(pid)

    def runs(self, calls: int) -> bool:
        """Whether so many calls run before long."""
        return runs(self.socket, calls)


def gone(pid: int, limit: float = 20) -> bool:
    until = time.monotonic() + limit
    while time.monotonic() < until:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


WAITS = {
    "a thread": 'box.call("bench_desk__wait", seconds=60)',
    "a loop": 'asyncio.run(box.acall("bench_desk__wait", seconds=60))',
}


@pytest.mark.parametrize("place", WAITS)
def test_ctrl_c_ends_a_call_and_nothing_more(home: Path, plugins: Path, place: str) -> None:
    rest = f"""
try:
    {WAITS[place]}
except KeyboardInterrupt:
    print("interrupted", box.call("bench_desk__total", a=1, b=1).value, flush=True)
    sys.stdin.read()
"""
    child = Child(home, plugins, rest)
    assert child.runs(1)
    child.process.send_signal(signal.SIGINT)
    # Also on the engine, which goes on.
    assert child.runs(0)
    out, err = child.process.communicate(timeout=30)
    assert (out.strip(), child.process.returncode) == ("interrupted 2", 0), err
    assert gone(child.engine)


@pytest.mark.parametrize("place", WAITS)
def test_the_interpreter_ends_with_calls_running(home: Path, plugins: Path, place: str) -> None:
    rest = f"""
for _ in range(8):
    threading.Thread(target=lambda: {WAITS[place]}, daemon=True).start()
sys.stdin.read()
"""
    child = Child(home, plugins, rest)
    assert child.runs(8)
    _, err = child.process.communicate(timeout=30)
    assert child.process.returncode == 0 and "Fatal" not in err, err
    assert gone(child.engine)


def test_a_killed_owner_takes_its_engine_along(home: Path, plugins: Path) -> None:
    child = Child(home, plugins, "sys.stdin.read()\n")
    assert Path(f"/proc/{child.engine}").exists()
    child.process.kill()
    child.process.communicate()
    assert gone(child.engine)


def test_a_missing_folder_and_a_missing_program_are_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(pegboard.EngineError, match="no/such/folder"):
        Toolbox(plugins="/no/such/folder", home=home)
    monkeypatch.setenv("PEGBOARD_BIN", "/no/such/program")
    with pytest.raises((pegboard.EngineError, FileNotFoundError)):
        Toolbox(home=home)


def test_nobody_at_an_address_is_said() -> None:
    with pytest.raises(pegboard.EngineGone):
        Toolbox.connect("http://127.0.0.1:9/mcp", timeout=2)
    with pytest.raises(pegboard.EngineError):
        Toolbox.connect("ftp://example.org")


def test_a_bad_manifest_says_where(tmp_path: Path, box: Toolbox) -> None:
    (tmp_path / "plugin.yaml").write_text("name: Bad Name\nversion: 1\n")
    with pytest.raises(pegboard.InvalidManifest) as caught:
        box.validate(tmp_path)
    assert any(problem["line"] == 1 for problem in caught.value.diagnostics)
    assert pegboard.check_manifest("name: Bad Name\n")[0]["code"].startswith("manifest.")
