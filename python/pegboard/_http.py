"""A remote engine over Streamable HTTP: where it is, what each request says about itself, and the connections that are kept for it.

Knows JSON-RPC's envelope and nothing of tools. One request on one connection is `_exchange`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import select
import ssl
import threading
import time
import weakref
from http.client import HTTPConnection, HTTPSConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from . import _core
from ._errors import EngineError, ToolboxClosed, ToolTimedOut
from ._exchange import Exchange

_PROTOCOL = "2026-07-28"
# A request that has no time limit of its own: longer than any tool may run.
_LONGEST_SECONDS = 3_600.0
# What is served is asked for anew when it was last heard so long ago.
_BELIEVED_SECONDS = 2.0
_KEPT = 16
_IN_FLIGHT = 64
_END_SECONDS = 2.0


class _Address(NamedTuple):
    host: str
    port: int | None
    target: str
    secure: bool

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host


class HttpLink:
    """A remote engine over Streamable HTTP: stateless requests, each on a connection that nobody else uses meanwhile."""

    def __init__(self, url: str, token: str | None, context: ssl.SSLContext | None = None) -> None:
        self._address = _address(url)
        if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
            raise EngineError("expected a token of printable ASCII", hint="`pegboard token create` prints one")
        self._token, self._context = token, context
        self._closed = False
        self._numbers = 0
        self.after_fork()

    def after_fork(self) -> None:
        """Connections are the parent's alone: two processes would read each other's answers."""
        self._lock = threading.Lock()
        self._left = threading.Condition(self._lock)
        self._idle: list[HTTPConnection] = []
        self._running: set[Exchange] = set()
        self._places: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = weakref.WeakKeyDictionary()

    @property
    def changes(self) -> int:
        return int(time.monotonic() / _BELIEVED_SECONDS)

    def request(self, method: str, params: dict[str, Any], timeout: float | None) -> _core.Outcome:
        return self._run(self._begin(timeout), method, params)

    async def arequest(self, method: str, params: dict[str, Any], timeout: float | None) -> _core.Outcome:
        loop = asyncio.get_running_loop()
        async with self._places.setdefault(loop, asyncio.Semaphore(_IN_FLIGHT)):
            answered: asyncio.Future[_core.Outcome] = loop.create_future()
            exchange = self._begin(timeout)

            def run() -> None:
                try:
                    outcome = self._run(exchange, method, params)
                except Exception as error:  # noqa: BLE001 - it is raised where it is awaited
                    _tell(loop, answered, None, error)
                else:
                    _tell(loop, answered, outcome, None)

            # Not the loop's own threads: the interpreter waits for those before it lets anybody end what they wait for.
            threading.Thread(target=run, name="pegboard-http", daemon=True).start()
            try:
                return await answered
            except asyncio.CancelledError:
                exchange.give_up()
                raise

    def close(self) -> None:
        with self._left:
            self._closed = True
            for exchange in self._running:
                exchange.give_up()
            idle, self._idle = self._idle, []
            self._left.wait_for(lambda: not self._running, _END_SECONDS)
        for connection in idle:
            connection.close()

    def _begin(self, timeout: float | None) -> Exchange:
        if timeout is not None and not timeout > 0:
            raise ToolTimedOut(f"no answer within {timeout:g} s")
        seconds = min(_LONGEST_SECONDS if timeout is None else timeout, _LONGEST_SECONDS)
        with self._lock:
            if self._closed:
                raise ToolboxClosed("the toolbox is closed")
            connection = self._idle.pop() if self._idle else self._connection()
            self._numbers += 1
            exchange = Exchange(connection, str(self._address), self._numbers, seconds)
            self._running.add(exchange)
        return exchange

    def _run(self, exchange: Exchange, method: str, params: dict[str, Any]) -> _core.Outcome:
        connection = exchange.connection
        try:
            if connection.sock is not None and _was_touched(connection):
                # Closed by the other end. Found out before anything is sent, because a call is never sent twice.
                connection.close()
            body = {"jsonrpc": "2.0", "id": exchange.number, "method": method, "params": {**params, "_meta": _meta()}}
            return exchange.run(self._address.target, json.dumps(body, allow_nan=False).encode(), self._headers(method, params))
        finally:
            with self._left:
                self._running.discard(exchange)
                self._left.notify_all()
                keep = connection.sock is not None and not self._closed and len(self._idle) < _KEPT
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    def _connection(self) -> HTTPConnection:
        host, port, _, secure = self._address
        if not secure:
            return HTTPConnection(host, port)
        self._context = self._context or ssl.create_default_context()
        return HTTPSConnection(host, port, context=self._context)

    def _headers(self, method: str, params: dict[str, Any]) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": _PROTOCOL,
            "Mcp-Method": method,
        }
        if method == "tools/call":
            headers["Mcp-Name"] = _header(str(params.get("name", "")))
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers


def _address(url: str) -> _Address:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = None, None, None
    if parts is None or parts.scheme not in ("http", "https") or not host:
        raise EngineError(f"expected an address such as http://127.0.0.1:7337/mcp, found `{url.rpartition('@')[2]}`")
    if parts.username is not None or parts.password is not None:
        raise EngineError("expected an address without a user and a password", hint="give what is secret as `token=`")
    target = (parts.path or "/mcp") + (f"?{parts.query}" if parts.query else "")
    if not (target.isascii() and target.isprintable()) or " " in target:
        raise EngineError("expected an address whose path is of printable ASCII", hint="quote other letters as %XX")
    return _Address(host, port, target, parts.scheme == "https")


def _meta() -> dict[str, Any]:
    return {
        "io.modelcontextprotocol/protocolVersion": _PROTOCOL,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "pegboard-python", "version": _core.__version__},
    }


def _header(value: str) -> str:
    """A header's value as the protocol writes it: what is no visible ASCII is packed, so that no name can add a header."""
    if value.isascii() and value.isprintable() and value == value.strip():
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def _was_touched(connection: HTTPConnection) -> bool:
    """Whether something came while nothing was asked. Not `select`, which takes no descriptor above 1,023."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def _tell(
    loop: asyncio.AbstractEventLoop, answered: asyncio.Future[_core.Outcome], outcome: _core.Outcome | None, error: Exception | None
) -> None:
    def tell() -> None:
        if answered.done():
            return
        if error is not None:
            answered.set_exception(error)
        elif outcome is not None:
            answered.set_result(outcome)

    try:
        loop.call_soon_threadsafe(tell)
    except RuntimeError:
        # The loop is over, and so is everybody who waited in it.
        pass
