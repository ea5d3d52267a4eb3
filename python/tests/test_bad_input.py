"""Each way to go wrong has its exception; none hangs, leaves a process behind, or ends the interpreter."""

from __future__ import annotations

import asyncio
import os
import signal
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


async def test_cancelling_a_task_cancels_the_call(box: Toolbox) -> None:
    task = asyncio.create_task(box.acall("bench_desk__wait", seconds=30))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
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
        await asyncio.sleep(0.5)
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
    time.sleep(0.3)
    box.close()
    thread.join(10)
    assert [type(error) for error in caught] == [pegboard.ToolboxClosed]


PRELUDE = """
import sys, threading, time, os
from pegboard import Toolbox
box = Toolbox(plugins={plugins!r}, home={home!r}, bundled=False)
box.call("bench_desk__total", a=1, b=1)
print(box._owned._process.pid, flush=True)
"""


def script(home: Path, plugins: Path, rest: str) -> subprocess.Popen[str]:
    code = PRELUDE.format(plugins=str(plugins), home=str(home)) + rest
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


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


def test_ctrl_c_ends_a_call_and_nothing_more(home: Path, plugins: Path) -> None:
    rest = """
try:
    box.call("bench_desk__wait", seconds=60)
except KeyboardInterrupt:
    print("interrupted", box.call("bench_desk__total", a=1, b=1).value, flush=True)
"""
    child = script(home, plugins, rest)
    assert child.stdout is not None
    pid = int(child.stdout.readline())
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (out.strip(), child.returncode) == ("interrupted 2", 0), err
    assert gone(pid)


def test_the_interpreter_ends_with_calls_running(home: Path, plugins: Path) -> None:
    rest = """
for _ in range(8):
    threading.Thread(target=lambda: box.call("bench_desk__wait", seconds=60), daemon=True).start()
time.sleep(0.5)
"""
    child = script(home, plugins, rest)
    out, _ = child.communicate(timeout=30)
    assert child.returncode == 0
    assert gone(int(out.split()[0]))


def test_a_killed_owner_takes_its_engine_along(home: Path, plugins: Path) -> None:
    child = script(home, plugins, "time.sleep(60)\n")
    assert child.stdout is not None
    pid = int(child.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    child.kill()
    child.communicate()
    assert gone(pid)


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
