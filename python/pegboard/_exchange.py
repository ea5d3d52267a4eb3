"""One request over HTTP and its answer: how long it may take, how much may come, what it must look like.

Whoever is at the other end may be hostile: time and bytes are metered under everything that `http.client` reads, heads included, and what is no
answer is a typed error. Which connection is used, and how many there are, is `_http`.
"""

from __future__ import annotations

import io
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected
from typing import Any

from . import _core
from ._errors import EngineError, EngineGone, PegboardError, ProtocolError, ToolboxClosed, ToolTimedOut, readable

# Bytes that one answer may have, the events before it included; and its head, with all that says `go on` before it.
_MAX_ANSWER = 64 << 20
_MAX_HEAD = 512 << 10
_LIMITS = f"{_MAX_ANSWER >> 20} MiB, {_MAX_HEAD >> 10} KiB for its head"
_MAX_LINES = 100_000
_PIECE = 256 << 10
_CONNECT_SECONDS = 30.0
# How long the end of a stream is waited for, so that its connection can be used again.
_ENDING_SECONDS = 0.05


@dataclass
class _Meter:
    """What is left of an exchange's time and bytes."""

    until: float
    left: int = _MAX_HEAD

    def seconds(self) -> float:
        """The time that is left; `TimeoutError` when there is none."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _TooMuch(Exception):
    """More bytes than an answer may have."""


class _Metered(io.RawIOBase):
    """A socket's bytes, until the meter says no. A time limit of the socket's own begins anew with each byte, and a slow other end lives for ever."""

    def __init__(self, sock: socket.socket, meter: _Meter) -> None:
        self._socket, self._meter = sock, meter
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._meter.left <= 0:
            raise _TooMuch
        self._socket.settimeout(self._meter.seconds())
        read = self._raw.readinto(buffer)
        self._meter.left -= read or 0
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, meter: _Meter, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp.close()
        self.fp = io.BufferedReader(_Metered(sock, meter), 64 << 10)


class Exchange:
    """A request that is sent and read by one thread, and given up by any."""

    def __init__(self, connection: HTTPConnection, place: str, number: int, seconds: float) -> None:
        self.connection, self.number = connection, number
        self._place, self._seconds = place, seconds
        self._meter = _Meter(time.monotonic() + seconds)
        self._lock = threading.Lock()
        self._given_up = False
        self._over = False

    def give_up(self) -> None:
        """Ends the connection under whoever waits for its answer. The engine takes that as a cancellation."""
        with self._lock:
            # Afterwards the connection is another exchange's.
            if not self._over:
                self._given_up = True
                _shut(self.connection)

    def run(self, target: str, body: bytes, headers: dict[str, str]) -> _core.Outcome:
        """Sends the request and returns the answer to it. Whatever goes wrong, the connection is closed: none is used again half-read."""
        fine = False
        try:
            self._connect()
            kind, value, fine = self._ask(target, body, headers)
            return kind, value
        except PegboardError as error:
            raise self._ended(error) from None
        except TimeoutError:
            raise self._ended(ToolTimedOut(f"no answer within {self._seconds:g} s")) from None
        except _TooMuch:
            raise self._ended(ProtocolError(f"the answer of {self._place} is longer than it may be: {_LIMITS}")) from None
        except ssl.SSLError as error:
            raise self._ended(EngineError(f"no safe connection to {self._place}: {_words(error)}")) from None
        except (OSError, RemoteDisconnected, IncompleteRead) as error:
            raise self._ended(EngineGone(f"the engine at {self._place} can't be reached: {_words(error)}")) from None
        except (HTTPException, ValueError) as error:
            raise self._ended(ProtocolError(f"what answers at {self._place} is no engine: {_words(error)}")) from None
        finally:
            with self._lock:
                self._over = True
                if not fine:
                    # Others may hold the descriptor, too: what the engine sees is the end, not that it was let go of.
                    _shut(self.connection)
            if not fine:
                self.connection.close()

    def _ended(self, error: PegboardError) -> PegboardError:
        return ToolboxClosed("the toolbox is closed") if self._given_up else error

    def _connect(self) -> None:
        """In a thread of its own: neither a name that is not resolved nor a handshake that does not end can hold the caller, and Ctrl-C ends both."""
        if self.connection.sock is not None:
            return
        failed: list[Exception] = []
        done = threading.Event()
        left = min(self._meter.seconds(), _CONNECT_SECONDS)
        self.connection.timeout = left

        def connect() -> None:
            try:
                self.connection.connect()
            except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
                failed.append(error)
            done.set()

        threading.Thread(target=connect, name="pegboard-connect", daemon=True).start()
        try:
            if not done.wait(left):
                raise TimeoutError
        except BaseException:
            _shut(self.connection)
            raise
        if failed:
            raise failed[0]

    def _ask(self, target: str, body: bytes, headers: dict[str, str]) -> tuple[Any, Any, bool]:
        connection = self.connection
        with self._lock:
            if self._given_up or connection.sock is None:
                raise ConnectionAbortedError("the connection was closed")
            connection.sock.settimeout(self._meter.seconds())
        connection.response_class = partial(_Response, self._meter)  # pyright: ignore[reportAttributeAccessIssue]
        connection.request("POST", target, body, headers)
        response = connection.getresponse()
        self._meter.left = _MAX_ANSWER
        self._judge(response)
        streams = (response.headers.get_content_type() or "") == "text/event-stream"
        kind, value = self._of_stream(response) if streams else self._of_body(response)
        return kind, value, _is_over(response, self._meter)

    def _judge(self, response: HTTPResponse) -> None:
        if response.status in (401, 403):
            message = f"the engine at {self._place} refused: HTTP {response.status}"
            raise EngineError(message, hint="check the token and the address", code="refused")
        if 300 <= response.status < 400:
            where = readable(response.headers.get("Location") or "elsewhere", 200)
            message = f"{self._place} sends this client on to {where}, and it does not follow: a token is for one place"
            raise ProtocolError(message, hint="connect to that address, if you trust it")

    def _of_body(self, response: HTTPResponse) -> tuple[str, Any]:
        pieces: list[bytes] = []
        # Piece by piece: a length that was only claimed is never made room for.
        while piece := response.read(_PIECE):
            pieces.append(piece)
        if response.length:
            raise IncompleteRead(b"", response.length)
        answer = self._answer(b"".join(pieces), alone=True)
        if answer is None:
            raise ProtocolError(f"{self._place} answered HTTP {response.status} and no message", hint="is it the address of `/mcp`?")
        return answer

    def _of_stream(self, response: HTTPResponse) -> tuple[str, Any]:
        for event in _events(response):
            answer = self._answer(event, alone=False)
            if answer is not None:
                return answer
        raise ProtocolError(f"{self._place} answered with a stream that has no answer in it")

    def _answer(self, text: bytes, *, alone: bool) -> tuple[str, Any] | None:
        """The answer to this request, when that is what the text is. In a stream others may come before it."""
        try:
            message = json.loads(text.decode(), parse_constant=_no_constant)
        except (ValueError, RecursionError):
            if not alone:
                raise ProtocolError(f"{self._place} sent an event that is no message") from None
            return None
        if not isinstance(message, dict) or "method" in message:
            return None
        theirs = message.get("id")
        # What was not understood as a request has no number to answer to.
        if not (type(theirs) is int and theirs == self.number) and not (theirs is None and "error" in message):
            if alone:
                raise ProtocolError(f"{self._place} answered another request than was asked")
            return None
        if ("result" in message) == ("error" in message):
            raise ProtocolError(f"{self._place} sent an answer without a result, or with an error beside it")
        return ("result", message["result"]) if "result" in message else ("error", message["error"])


def _events(response: HTTPResponse) -> Iterator[bytes]:
    """The data of each event. Lines are counted: a million empty ones fit into the bytes that are allowed."""
    data: list[bytes] = []
    for _ in range(_MAX_LINES):
        line = response.readline(_MAX_ANSWER + 1)
        if not line:
            return
        line = line.rstrip(b"\r\n")
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line and data:
            yield b"\n".join(data)
            data.clear()
    raise _TooMuch


def _is_over(response: HTTPResponse, meter: _Meter) -> bool:
    """Whether the connection can take another request: nothing of this answer is left in it."""
    if not response.isclosed():
        meter.until = min(meter.until, time.monotonic() + _ENDING_SECONDS)
        try:
            if response.read(1):
                return False
        except (OSError, HTTPException, ValueError, _TooMuch):
            return False
    return response.isclosed() and not response.will_close


def _shut(connection: HTTPConnection) -> None:
    sock = connection.sock
    if sock is not None:
        try:
            # The plain method also for TLS: its own takes the session away from the thread that reads.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        except OSError:
            pass


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _words(error: BaseException) -> str:
    return readable(error, 200) or type(error).__name__
