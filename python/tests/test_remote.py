"""A remote engine, as `pegboard serve --http` serves it: with a token and without, in threads and tasks, and cancelled on its side, too."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import pegboard
from pegboard import Toolbox, _engine


class Remote:
    """A server, and what its operator sees of it."""

    def __init__(self, home: Path, plugins: Path, *flags: str) -> None:
        shelf = ["--plugins", str(plugins), "--no-bundled", "--home", str(home), "--log", "info"]
        command = [_engine.program(), "serve", "--http", "0", *shelf, *flags]
        environment = {**os.environ, "NO_COLOR": "1"}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stderr is not None
        line = next(line for line in self.process.stderr if "listening" in line)
        self.address = line.split("address=")[1].strip()
        self.url = f"http://{self.address}/mcp"
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def running(self) -> int:
        """Calls that run or wait."""
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=10) as answer:
            lines: list[str] = answer.read().decode().splitlines()
        return int(float(next(line.split()[-1] for line in lines if line.startswith("pegboard_calls_running "))))

    def comes_to(self, count: int) -> bool:
        """Whether so many calls run before long."""
        until = time.monotonic() + 20
        while self.running() != count:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture(scope="module")
def remote(home: Path, plugins: Path) -> Iterator[Remote]:
    server = Remote(home, plugins)
    yield server
    server.stop()


def test_a_remote_engine_is_like_any_other(remote: Remote) -> None:
    with Toolbox.connect(remote.url) as box:
        assert box.search("add two numbers").names[0] == "bench_desk__total"
        assert box.call("bench_desk__total", a=1, b=2).value == 3
        assert asyncio.run(box.acall("bench_desk__total", a=2, b=2)).value == 4
        assert box.tool("bench_desk__echo").version == "1.2.0"
        for tool, arguments, expected in (
            ("bench_desk__nothing", {}, pegboard.UnknownTool),
            ("bench_desk__nöthing\r\n", {}, pegboard.UnknownTool),
            ("bench_desk__total", {"a": "x", "b": 1}, pegboard.BadArguments),
            ("bench_desk__fail", {}, pegboard.ToolFailed),
            ("bench_desk__die", {}, pegboard.ToolCrashed),
        ):
            with pytest.raises(pegboard.CallError) as caught:
                box.call(tool, arguments)
            assert type(caught.value) is expected
        for method in (box.create, box.install):
            with pytest.raises(pegboard.UnsupportedError):
                method("weather")


def test_cancelling_a_task_ends_its_call_on_the_engine(remote: Remote) -> None:
    async def cancel() -> None:
        tasks = [asyncio.create_task(box.acall("bench_desk__wait", seconds=60)) for _ in range(2)]
        assert await asyncio.to_thread(remote.comes_to, 2)
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        # That one alone: the other goes on.
        assert await asyncio.to_thread(remote.comes_to, 1)
        tasks[1].cancel()
        assert await asyncio.to_thread(remote.comes_to, 0)

    with Toolbox.connect(remote.url) as box:
        asyncio.run(cancel())
        assert box.call("bench_desk__total", a=1, b=1).value == 2


def test_a_time_limit_and_an_end_of_the_toolbox_end_calls_on_the_engine(remote: Remote) -> None:
    box = Toolbox.connect(remote.url)
    with pytest.raises(pegboard.ToolTimedOut):
        box.call("bench_desk__wait", seconds=60, timeout=0.5)
    assert remote.comes_to(0)
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            box.call("bench_desk__wait", seconds=60)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is looked at
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert remote.comes_to(1)
    box.close()
    thread.join(10)
    assert [type(error) for error in caught] == [pegboard.ToolboxClosed] and remote.comes_to(0)


SCRIPT = """
import asyncio, sys, threading
from pegboard import Toolbox
box = Toolbox.connect(sys.argv[1])
"""
INTERRUPTED = """
try:
    box.call("bench_desk__wait", seconds=60)
except KeyboardInterrupt:
    print("interrupted", box.call("bench_desk__total", a=1, b=1).value)
"""
LOOP_INTERRUPTED = """
try:
    asyncio.run(box.acall("bench_desk__wait", seconds=60))
except KeyboardInterrupt:
    print("interrupted", box.call("bench_desk__total", a=1, b=1).value)
"""


@pytest.mark.parametrize("rest", [INTERRUPTED, LOOP_INTERRUPTED], ids=["in a call", "in a loop"])
def test_ctrl_c_ends_the_call_on_the_engine(remote: Remote, rest: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", SCRIPT + rest, remote.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert remote.comes_to(1)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (out.strip(), child.returncode) == ("interrupted 2", 0), err
    assert remote.comes_to(0)


def test_an_interpreter_that_ends_takes_its_calls_along(remote: Remote) -> None:
    rest = """
async def calls():
    await asyncio.gather(*(box.acall("bench_desk__wait", seconds=60) for _ in range(3)))
threading.Thread(target=lambda: asyncio.run(calls()), daemon=True).start()
for _ in range(3):
    threading.Thread(target=lambda: box.call("bench_desk__wait", seconds=60), daemon=True).start()
sys.stdin.read()
"""
    pipe = subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-c", SCRIPT + rest, remote.url], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert remote.comes_to(6)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 0 and "Fatal" not in err, err
    assert remote.comes_to(0)


def test_an_engine_that_is_killed_is_told_to_every_waiter(home: Path, plugins: Path) -> None:
    server = Remote(home, plugins)
    box = Toolbox.connect(server.url)
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            box.call("bench_desk__wait", seconds=60)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is looked at
            caught.append(error)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert server.comes_to(3)
    server.process.kill()
    for thread in threads:
        thread.join(20)
    server.process.wait()
    assert [type(error) for error in caught] == [pegboard.EngineGone] * 3
    with pytest.raises(pegboard.EngineGone):
        box.call("bench_desk__total", a=1, b=1)
    box.close()


def test_a_token_opens_its_tools_and_no_others(home: Path, plugins: Path, tmp_path: Path) -> None:
    file = str(tmp_path / "tokens.yaml")
    code, made = _engine.run(["token", "create", "reader", "--tools", "bench_desk__t*", "--token-file", file, "--home", str(home)])
    assert code == 0
    server = Remote(home, plugins, "--token-file", file)
    try:
        for token in (None, "wrong", made["token"][:-1]):
            with pytest.raises(pegboard.EngineError) as caught:
                Toolbox.connect(server.url, token=token)
            assert caught.value.code == "refused" and caught.value.hint
            assert str(token) not in str(caught.value)
        with Toolbox.connect(server.url, token=made["token"]) as box:
            assert box.tools().names == ["bench_desk__total"]
            assert box.call("bench_desk__total", a=1, b=2).value == 3
            assert set(box.search("return a text, add two numbers, wait for some seconds").names) <= {"bench_desk__total"}
            with pytest.raises(pegboard.Denied):
                box.call("bench_desk__echo", text="a")
    finally:
        server.stop()
