"""A remote engine that is none: whatever answers, the client is bounded in time, bytes and lines, gives nothing away, and says what was wrong."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import pegboard
from pegboard import Toolbox
from pegboard._http import HttpLink

Answer = Callable[[socket.socket, dict[str, Any]], None]


class Stranger:
    """A server of one answer for every request; remembers what it was sent."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.heads: list[str] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        try:
            with peer, peer.makefile("rb") as reader:
                while True:
                    head = b""
                    while not head.endswith(b"\r\n\r\n"):
                        line = reader.readline()
                        if not line:
                            return
                        head += line
                    self.heads.append(head.decode())
                    length = re.search(r"content-length: (\d+)", head.decode().lower())
                    self._answer(peer, json.loads(reader.read(int(length[1]) if length else 0)))
        except OSError:
            pass

    def close(self) -> None:
        self._listener.close()


@contextmanager
def stranger(answer: Answer) -> Iterator[Stranger]:
    server = Stranger(answer)
    try:
        yield server
    finally:
        server.close()


def send(text: bytes, kind: str = "application/json", status: str = "200 OK", more: str = "") -> Answer:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\n{more}\r\n"
    return lambda peer, _: peer.sendall(head.encode() + text)


def result(request: dict[str, Any], value: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": value}).encode()


def good(peer: socket.socket, request: dict[str, Any]) -> None:
    send(result(request, {"content": [{"type": "text", "text": "fine"}], "tools": []}))(peer, request)


def endless(first: bytes, again: bytes) -> Answer:
    def answer(peer: socket.socket, _: dict[str, Any]) -> None:
        peer.sendall(first)
        while True:
            peer.sendall(again)

    return answer


def trickle(first: bytes, each: bytes) -> Answer:
    """A byte now and then: a time limit that begins anew with each would never end."""

    def answer(peer: socket.socket, _: dict[str, Any]) -> None:
        peer.sendall(first)
        while True:
            peer.sendall(each)
            time.sleep(0.05)

    return answer


OK = b"HTTP/1.1 200 OK\r\n"
JSON = OK + b"Content-Type: application/json\r\n"
STREAM = OK + b"Content-Type: text/event-stream\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
NESTED = b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
EVENTS = b"data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n" * 100
CHUNK = b"x" * 65_536
BAD: dict[str, tuple[Answer, type[pegboard.PegboardError], str]] = {
    "is no HTTP": (lambda peer, _: peer.sendall(b"SSH-2.0-OpenSSH_9\r\n\r\n"), pegboard.ProtocolError, "is no engine"),
    "is no JSON": (send(b"<html>hello</html>", "text/html"), pegboard.ProtocolError, "no message"),
    "is no UTF-8": (send(b'{"jsonrpc":"2.0","id":1,"result":"\xff\xfe"}'), pegboard.ProtocolError, "no message"),
    "is nested without end": (send(NESTED), pegboard.ProtocolError, "no message"),
    "has numbers that are none": (send(b'{"jsonrpc":"2.0","id":1,"result":NaN}'), pegboard.ProtocolError, "no message"),
    "answers another request": (send(b'{"jsonrpc":"2.0","id":77,"result":{}}'), pegboard.ProtocolError, "another request"),
    "answers with true for one": (send(b'{"jsonrpc":"2.0","id":true,"result":{}}'), pegboard.ProtocolError, "another request"),
    "has a result and an error": (send(b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}'), pegboard.ProtocolError, "beside it"),
    "has neither": (send(b'{"jsonrpc":"2.0","id":1}'), pegboard.ProtocolError, "without a result"),
    "is a list": (send(b"[]"), pegboard.ProtocolError, "no message"),
    "refuses": (send(b"", status="401 Unauthorized"), pegboard.EngineError, "HTTP 401"),
    "is an error page": (send(b"oops", status="502 Bad Gateway"), pegboard.ProtocolError, "HTTP 502"),
    "is cut off": (
        lambda peer, _: (peer.sendall(JSON + b"Content-Length: 99\r\n\r\n{"), peer.shutdown(socket.SHUT_RDWR))[0],
        pegboard.EngineGone,
        "can't be reached",
    ),
    "claims a length of petabytes": (
        lambda peer, _: (peer.sendall(JSON + b"Content-Length: 9999999999999999\r\n\r\n{"), peer.shutdown(socket.SHUT_RDWR))[0],
        pegboard.EngineGone,
        "can't be reached",
    ),
    "has a chunk of petabytes": (
        lambda peer, _: (peer.sendall(JSON + CHUNKED + b"FFFFFFFFFFFFF\r\n{"), peer.shutdown(socket.SHUT_RDWR))[0],
        pegboard.EngineGone,
        "can't be reached",
    ),
    "never stops": (endless(JSON + b"\r\n", CHUNK), pegboard.ProtocolError, "longer than it may be"),
    "never stops, in chunks": (endless(JSON + CHUNKED, b"10000\r\n" + CHUNK + b"\r\n"), pegboard.ProtocolError, "longer than it may be"),
    "never ends a header": (endless(OK + b"X: ", CHUNK), pegboard.ProtocolError, "is no engine"),
    "has headers without end": (endless(OK, b"A: b\r\n" * 5000), pegboard.ProtocolError, "is no engine"),
    "says `go on` for ever": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), pegboard.ProtocolError, "longer than it may be"),
    "streams comments for ever": (endless(STREAM + b"\r\n", b":\n" * 20_000), pegboard.ProtocolError, "longer than it may be"),
    "streams events for ever": (endless(STREAM + b"\r\n", EVENTS), pegboard.ProtocolError, "longer than it may be"),
    "streams one line for ever": (endless(STREAM + b"\r\ndata: ", CHUNK), pegboard.ProtocolError, "longer than it may be"),
    "streams what is no message": (send(b"data: hello\n\n", "text/event-stream"), pegboard.ProtocolError, "no message"),
    "streams nothing": (send(b": hello\n\n", "text/event-stream"), pegboard.ProtocolError, "no answer in it"),
    "trickles its head": (trickle(OK + b"X: ", b"x"), pegboard.ToolTimedOut, "within 1.5 s"),
    "trickles its body": (trickle(JSON + b"\r\n", b" "), pegboard.ToolTimedOut, "within 1.5 s"),
    "trickles comments": (trickle(STREAM + b"\r\n", b":\n\n"), pegboard.ToolTimedOut, "within 1.5 s"),
    "says nothing": (lambda peer, _: time.sleep(60), pegboard.ToolTimedOut, "within 1.5 s"),
}
# Those read to the last byte that is allowed, which takes as long as it takes.
LONG = 60.0


@pytest.mark.parametrize("kind", BAD)
def test_what_answers(kind: str) -> None:
    answer, expected, said = BAD[kind]
    with stranger(answer) as server:
        link = HttpLink(server.url, "secret-token")
        began = time.monotonic()
        with pytest.raises(pegboard.PegboardError) as caught:
            link.request("tools/call", {"name": "a", "arguments": {}}, 1.5 if expected is pegboard.ToolTimedOut else LONG)
        assert time.monotonic() - began < (5 if expected is pegboard.ToolTimedOut else LONG)
        assert type(caught.value) is expected and said in str(caught.value)
        assert "secret-token" not in str(caught.value)
        # A connection that ended badly is never asked again.
        assert not link._idle and not link._running
        link.close()
    # The control: the same request to the same kind of server, which answers as it should.
    with stranger(good) as server:
        link = HttpLink(server.url, "secret-token")
        for _ in range(3):
            assert link.request("tools/call", {"name": "a", "arguments": {}}, LONG)[0] == "result"
        assert server.connections == 1
        link.close()


def test_the_answer_in_a_stream_is_found_and_the_connection_kept() -> None:
    def answer(peer: socket.socket, request: dict[str, Any]) -> None:
        progress = b'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\n'
        split = result(request, {"content": []}).replace(b',"', b',\ndata: "').replace(b", ", b",\ndata: ")
        text = b": hello\r\n\r\n" + progress + b"event: message\r\nid: 4\r\ndata: " + split + b"\r\n\r\n"
        peer.sendall(STREAM + CHUNKED + f"{len(text):x}\r\n".encode() + text + b"\r\n0\r\n\r\n")

    with stranger(answer) as server:
        link = HttpLink(server.url, None)
        for _ in range(3):
            assert link.request("tools/call", {"name": "a"}, LONG) == ("result", {"content": []})
        assert server.connections == 1
        link.close()


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_a_redirect_is_not_followed_and_the_token_stays(status: str) -> None:
    with stranger(good) as other, stranger(send(b"", status=status, more=f"Location: {other.url}\r\n")) as server:
        with pytest.raises(pegboard.ProtocolError, match="a token is for one place") as caught:
            Toolbox.connect(server.url, token="secret-token")
        assert other.url in str(caught.value) and caught.value.hint
        assert other.heads == []
        # The control: asked directly, the other one gets both.
        Toolbox.connect(other.url, token="secret-token").close()
        assert "Authorization: Bearer secret-token" in other.heads[0]


def test_a_location_cannot_write_to_a_terminal() -> None:
    with stranger(send(b"", status="302 Found", more="Location: http://x/\x1b[2J\r\n")) as server:
        with pytest.raises(pegboard.ProtocolError) as caught:
            Toolbox.connect(server.url)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("token", ["", " ", "a\r\nX-Evil: 1", "a\nb", "é"])
def test_a_token_cannot_carry_a_header(token: str) -> None:
    with stranger(good) as server:
        with pytest.raises(pegboard.EngineError, match="printable ASCII"):
            Toolbox.connect(server.url, token=token)
        assert server.heads == []


@pytest.mark.parametrize("name", ["a\r\nX-Evil: 1", "é🎈", " a ", ""])
def test_a_name_cannot_carry_a_header(name: str) -> None:
    with stranger(good) as server:
        link = HttpLink(server.url, None)
        assert link.request("tools/call", {"name": name}, LONG)[0] == "result"
        lines = server.heads[0].split("\r\n")
        assert not any(line.startswith("X-Evil") for line in lines)
        link.close()


@pytest.mark.parametrize(
    "url", ["ftp://a/mcp", "http://", "http://a:port/mcp", "http://[::1/mcp", "http://me:hunter2@a/mcp", "http://a/m cp", "http://a/é"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(pegboard.EngineError, match="expected an address") as caught:
        Toolbox.connect(url)
    assert "hunter2" not in str(caught.value)


LISTS: dict[str, tuple[object, str]] = {
    "a list for an object": ([], "tools/list"),
    "a word for tools": ({"tools": "none"}, "tools/list"),
    "a tool without a name": ({"tools": [{}]}, "tools/list"),
    "a tool that is a word": ({"tools": ["a"]}, "tools/list"),
    "a schema that is a word": ({"tools": [{"name": "a", "inputSchema": "b"}]}, "tools/list"),
    "a cursor that comes again": ({"tools": [], "nextCursor": "a"}, "again"),
    "a cursor that is a number": ({"tools": [], "nextCursor": 3}, "tools/list"),
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_that_is_none(kind: str) -> None:
    page, said = LISTS[kind]

    def answer(peer: socket.socket, request: dict[str, Any]) -> None:
        send(result(request, page))(peer, request)

    with stranger(answer) as server, pytest.raises(pegboard.ProtocolError, match=said):
        Toolbox.connect(server.url).tools()


def test_pages_without_end_are_bounded() -> None:
    pages = iter(range(10_000_000))

    def answer(peer: socket.socket, request: dict[str, Any]) -> None:
        number = next(pages)
        tools = [{"name": f"t{number}_{index}"} for index in range(500)]
        send(result(request, {"tools": tools, "nextCursor": str(number)}))(peer, request)

    with stranger(answer) as server, pytest.raises(pegboard.ProtocolError, match="100,000"):
        Toolbox.connect(server.url).tools()


CALLS: dict[str, tuple[object, type[pegboard.PegboardError]]] = {
    "a word": ("done", pegboard.ProtocolError),
    "no content": ({"content": "done"}, pegboard.ProtocolError),
    "blocks that are none": ({"content": ["done"]}, pegboard.ProtocolError),
    "a question": ({"resultType": "input_required", "inputRequests": {}}, pegboard.Unsupported),
    "a task": ({"resultType": "task", "task": {}}, pegboard.Unsupported),
    "a failure": ({"isError": True, "content": [{"type": "text", "text": "raised: it\x1b[2J broke"}]}, pegboard.ToolFailed),
}


@pytest.mark.parametrize("kind", CALLS)
def test_a_result_that_is_none(kind: str) -> None:
    value, expected = CALLS[kind]

    def answer(peer: socket.socket, request: dict[str, Any]) -> None:
        send(result(request, {"tools": []} if request["method"] == "tools/list" else value))(peer, request)

    with stranger(answer) as server, Toolbox.connect(server.url) as box, pytest.raises(pegboard.PegboardError) as caught:
        box.call("a")
    assert type(caught.value) is expected and "\x1b" not in str(caught.value)


def silent(begun: threading.Event) -> Answer:
    """Lists its tools, and never answers a call."""

    def answer(peer: socket.socket, request: dict[str, Any]) -> None:
        if request["method"] == "tools/list":
            return send(result(request, {"tools": []}))(peer, request)
        begun.set()
        # Returns when the client ends the connection.
        peer.recv(1)
        raise OSError

    return answer


def test_closing_ends_what_waits() -> None:
    begun = threading.Event()
    with stranger(silent(begun)) as server:
        box = Toolbox.connect(server.url)
        caught: list[BaseException] = []

        def wait() -> None:
            try:
                box.call("a")
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is looked at
                caught.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        assert begun.wait(10)
        box.close()
        thread.join(10)
        assert [type(error) for error in caught] == [pegboard.ToolboxClosed]
        with pytest.raises(pegboard.ToolboxClosed):
            box.call("a")


async def test_many_tasks_wait_at_once_and_each_can_be_cancelled() -> None:
    begun = threading.Event()
    with stranger(silent(begun)) as server:
        box = await asyncio.to_thread(Toolbox.connect, server.url)
        tasks = [asyncio.create_task(box.acall("a")) for _ in range(40)]
        while sum("tools/call" in head for head in server.heads) < 40:
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(error) for error in ended} == {asyncio.CancelledError}
        with pytest.raises(pegboard.ToolTimedOut):
            await box.acall("a", timeout=0.2)
        await box.aclose()


def test_a_handshake_that_does_not_end_is_given_up() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    began = time.monotonic()
    with listener, pytest.raises(pegboard.ToolTimedOut):
        HttpLink(f"https://127.0.0.1:{listener.getsockname()[1]}/mcp", None, ssl.create_default_context()).request("ping", {}, 0.5)
    assert time.monotonic() - began < 5


SCRIPT = """
import sys, threading
from pegboard import Toolbox, ToolboxClosed
box = Toolbox.connect(sys.argv[1])
"""


def run_beside(server: Stranger, rest: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT + rest, server.url]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_ends_a_remote_call_and_nothing_more() -> None:
    rest = """
try:
    box.call("a")
except KeyboardInterrupt:
    print("interrupted", len(box.tools()))
"""
    begun = threading.Event()
    with stranger(silent(begun)) as server:
        child = run_beside(server, rest)
        assert begun.wait(30)
        child.send_signal(2)
        out, err = child.communicate(timeout=30)
    assert (out.strip(), child.returncode) == ("interrupted 0", 0), err


@pytest.mark.parametrize("way", ["daemon threads", "tasks of a loop in a thread"])
def test_the_interpreter_ends_with_remote_calls_running(way: str) -> None:
    rest = """
for _ in range(8):
    threading.Thread(target=lambda: box.call("a"), daemon=True).start()
"""
    if way != "daemon threads":
        rest = """
import asyncio
async def calls():
    await asyncio.gather(*(box.acall("a") for _ in range(8)))
threading.Thread(target=lambda: asyncio.run(calls()), daemon=True).start()
"""
    begun = threading.Event()
    with stranger(silent(begun)) as server:
        # It ends with its standard input, which is when all of its calls run.
        child = run_beside(server, rest + "sys.stdin.read()\n")
        until = time.monotonic() + 30
        while sum("tools/call" in head for head in server.heads) < 8 and time.monotonic() < until:
            time.sleep(0.01)
        out, err = child.communicate(timeout=30)
    assert child.returncode == 0 and "Fatal" not in err, err


def test_a_forked_process_has_connections_of_its_own() -> None:
    with stranger(good) as server:
        box = Toolbox.connect(server.url)
        assert box.call("a").text == "fine"
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if box.call("a").text == "fine" else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert box.call("a").text == "fine"
        assert server.connections == 2
        box.close()


def test_no_descriptor_is_left_behind() -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    with stranger(send(b"oops", status="502 Bad Gateway")) as server:
        link = HttpLink(server.url, None)
        for _ in range(3):
            with pytest.raises(pegboard.ProtocolError):
                link.request("ping", {}, 5)
        before = count()
        for _ in range(50):
            with pytest.raises(pegboard.ProtocolError):
                link.request("ping", {}, 5)
        # What the server's threads hold goes a moment later.
        until = time.monotonic() + 5
        while count() > before + 4 and time.monotonic() < until:
            time.sleep(0.01)
        assert count() <= before + 4


def test_the_folder_of_the_package_reads_the_network_in_two_files_only() -> None:
    package = Path(pegboard.__file__).parent
    using = {path.name for path in package.glob("*.py") if re.search(r"^\s*(import|from) (socket|http|urllib|ssl)\b", path.read_text(), re.M)}
    assert using <= {"_http.py", "_exchange.py", "_toolbox.py"}
