"""Search, list and call, in threads, in event loops, in forked processes; over the socket and over HTTP."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pegboard import Toolbox, ToolboxClosed, UnknownTool, _engine


def test_a_tool_is_found_and_called(box: Toolbox) -> None:
    found = box.search("add two numbers", limit=3)
    assert found.names[0] == "bench_desk__total"
    assert found[0].score == pytest.approx(1.0)
    assert box.call("bench_desk__total", a=1, b=2).value == 3
    assert box.call("bench_desk__echo", {"text": "ab"}, times=2).structured == {"text": "abab", "style": None}


def test_json_of_every_kind_arrives_as_it_was(box: Toolbox) -> None:
    style = {"casing": "none", "marks": [{"at": 1, "x": [None, True, 1.5, -(2**63), 2**64 - 1, "é\u2028🎈", {}]}]}
    assert box.call("bench_desk__echo", text="a", style=style).structured["style"] == style


@pytest.mark.parametrize("bad", [float("nan"), 2**70, {1: 2}, {"a", "b"}, object()])
def test_what_json_cannot_hold_is_said_before_it_is_sent(box: Toolbox, bad: object) -> None:
    with pytest.raises((TypeError, ValueError), match="style"):
        box.call("bench_desk__echo", text="a", style={"casing": "none", "x": bad})
    assert box.call("bench_desk__total", a=1, b=1).value == 2


def test_the_list_has_schemas_and_where_each_comes_from(box: Toolbox) -> None:
    tool = box.tool("bench_desk__echo")
    assert tool.input_schema["properties"]["style"]["properties"]["casing"]["enum"] == ["upper", "lower", "none"]
    assert (tool.plugin, tool.version, tool.category, tool.title, tool.read_only) == ("bench_desk", "1.2.0", "testing", "Echo", True)
    assert "search_tools" not in box.tools().names
    with pytest.raises(UnknownTool) as caught:
        box.tool("bench_desk__ecko")
    assert "bench_desk__echo" in caught.value.nearest


async def test_calls_of_one_loop_run_at_the_same_time(box: Toolbox) -> None:
    began = time.monotonic()
    results = await asyncio.gather(*(box.acall("bench_desk__wait", seconds=0.5) for _ in range(4)))
    assert [result.value for result in results] == ["awake"] * 4
    assert time.monotonic() - began < 1.9
    assert (await box.asearch("add two numbers")).names[0] == "bench_desk__total"
    assert len(await box.atools()) == 7


async def test_sync_calls_work_inside_a_running_loop(box: Toolbox) -> None:
    assert box.call("bench_desk__total", a=2, b=2).value == 4


def test_many_loops_and_threads_share_a_toolbox(box: Toolbox) -> None:
    def one(number: int) -> int:
        if number % 2:
            return asyncio.run(box.acall("bench_desk__total", a=number, b=0)).value
        return box.call("bench_desk__total", a=number, b=0).value

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, range(64))) == list(range(64))


def test_a_forked_process_has_a_connection_of_its_own(box: Toolbox) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, str(box.call("bench_desk__total", a=40, b=2).value).encode())
            box.close()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert pipe.read() == "42"
    assert os.waitpid(child, 0)[1] == 0
    # The child's end was not the parent's.
    assert box.call("bench_desk__total", a=1, b=1).value == 2


def test_closing_leaves_no_process_and_no_thread(make: Callable[..., Toolbox]) -> None:
    threads = {thread.name for thread in threading.enumerate()}
    native = len(os.listdir("/proc/self/task"))
    box = make()
    assert box._owned is not None
    pid = box._owned._process.pid
    socket = box._owned.socket
    box.call("bench_desk__total", a=1, b=1)
    box.close()
    box.close()
    assert not Path(f"/proc/{pid}").exists() and not Path(socket).exists()
    assert {thread.name for thread in threading.enumerate()} <= threads
    until = time.monotonic() + 5
    while len(os.listdir("/proc/self/task")) > native and time.monotonic() < until:
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/task")) <= native
    with pytest.raises(ToolboxClosed):
        box.call("bench_desk__total", a=1, b=1)


def test_the_user_s_engine_is_joined_by_all(home: Path) -> None:
    with Toolbox(home=home, bundled=False) as one, Toolbox(home=home, bundled=False) as other:
        assert len(one.tools()) == len(other.tools()) == 0
        _, status = _engine.run(["engine", "status", "--home", str(home)])
        assert [engine["engine"]["connections"] for engine in status["engines"]] == [2]
    assert _engine.run(["engine", "stop", "--home", str(home)])[0] == 0


def test_importing_is_quick_and_brings_no_langchain() -> None:
    code = "import sys, pegboard; print([m for m in ('asyncio', 'ssl', 'pydantic', 'langchain_core') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
