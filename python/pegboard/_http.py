"""A remote engine over Streamable HTTP. Knows JSON-RPC's envelope and nothing of tools."""

from __future__ import annotations

import asyncio
import json
import os
import select
import ssl
import threading
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from . import _core
from ._errors import EngineError, EngineGone, ToolboxClosed, ToolTimedOut

_MAX_ANSWER = 64 << 20


class HttpLink:
    """A remote engine over Streamable HTTP: stateless requests, one kept connection a thread."""

    def __init__(self, url: str, token: str | None, context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EngineError(f"expected an address such as http://127.0.0.1:7337/mcp, found `{url}`")
        self._parts, self._token, self._context = parts, token, context
        self._local = threading.local()
        self._closed = False
        self._next = 0
        self._lock = threading.Lock()

    @property
    def changes(self) -> int:
        return -1

    def _connection(self, timeout: float | None) -> HTTPConnection:
        kept: HTTPConnection | None = getattr(self._local, "kept", None)
        if kept is not None and getattr(self._local, "pid", None) == os.getpid():
            kept.timeout = timeout
            if kept.sock is not None:
                # Readable while nothing was asked: the server closed it. Found out before anything is sent, because a call is never sent twice.
                if select.select([kept.sock], [], [], 0)[0]:
                    kept.close()
                else:
                    kept.sock.settimeout(timeout)
            return kept
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            context = self._context or ssl.create_default_context()
            kept = HTTPSConnection(host, port, timeout=timeout, context=context)
        else:
            kept = HTTPConnection(host, port, timeout=timeout)
        self._local.kept, self._local.pid = kept, os.getpid()
        return kept

    def request(self, method: str, params: dict[str, Any], timeout: float | None) -> _core.Outcome:
        if self._closed:
            raise ToolboxClosed("the toolbox is closed")
        with self._lock:
            self._next += 1
            number = self._next
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "pegboard-python", "version": _core.__version__},
        }
        body = {"jsonrpc": "2.0", "id": number, "method": method, "params": {**params, "_meta": meta}}
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": method,
        }
        if method == "tools/call":
            headers["Mcp-Name"] = str(params.get("name", ""))
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        return self._answer(json.dumps(body, allow_nan=False).encode(), headers, timeout)

    def _answer(self, body: bytes, headers: dict[str, str], timeout: float | None) -> _core.Outcome:
        path = self._parts.path or "/mcp"
        target = f"{path}?{self._parts.query}" if self._parts.query else path
        connection = self._connection(timeout)
        try:
            connection.request("POST", target, body, headers)
            response = connection.getresponse()
            status, text = response.status, response.read(_MAX_ANSWER)
        except TimeoutError:
            connection.close()
            raise ToolTimedOut(f"no answer within {timeout} s") from None
        except (OSError, HTTPException) as error:
            connection.close()
            raise EngineGone(f"the engine at {self._parts.netloc} can't be reached: {error}") from None
        return _message(text, status)

    async def arequest(self, method: str, params: dict[str, Any], timeout: float | None) -> _core.Outcome:
        return await asyncio.to_thread(self.request, method, params, timeout)

    def close(self) -> None:
        self._closed = True
        kept: HTTPConnection | None = getattr(self._local, "kept", None)
        if kept is not None:
            kept.close()


def _message(text: bytes, status: int) -> _core.Outcome:
    body = text.decode(errors="replace")
    if body.startswith(("data:", "event:", "id:", ":")):
        lines = [line[5:].strip() for line in body.splitlines() if line.startswith("data:")]
        body = next((line for line in reversed(lines) if line.startswith("{")), "")
    try:
        message = json.loads(body)
    except ValueError:
        message = None
    if isinstance(message, dict):
        if "result" in message:
            return "result", message["result"]
        if "error" in message:
            return "error", message["error"]
    if status in (401, 403):
        raise EngineError(f"the engine refused: HTTP {status}", hint="check the token and the address", code="refused")
    raise EngineError(f"the engine answered HTTP {status} and no message", code="protocol")
