"""A small MCP server for tests, over standard input and output or HTTP: it offers what a JSON file says, and reads it anew, and says so, when a call has the argument
`announce`.

Standard library only; the era of `initialize`. It has no protections of its own: what it offers may be hostile.
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any


class Server:
    """Answers one request after the other."""

    def __init__(self, offered: dict[str, Any]) -> None:
        self.offered = offered
        self.changed = False

    def answer(self, method: str, params: dict[str, Any]) -> dict[str, Any] | None:
        """The result of a request; nothing for a method it does not have."""
        if method == "initialize":
            return {
                "protocolVersion": "2025-06-18",
                "capabilities": {kind: {} for kind in ("tools", "prompts", "resources") if kind in self.offered},
                "serverInfo": {"name": self.offered.get("name", "fixture"), "version": "1.2.3"},
            }
        if method == "ping":
            return {}
        kind, _, verb = method.partition("/")
        if verb == "list" and kind in self.offered:
            return {kind: self.offered[kind]}
        if method == "tools/call":
            wanted = params.get("name")
            arguments = params.get("arguments") or {}
            if "announce" in arguments:
                self.offered = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
                self.changed = True
                return self.text("announced")
            if wanted == "environment":
                return self.text(os.environ.get(arguments["name"], "not set"))
            if wanted == "read":
                return self.text(Path(arguments["path"]).read_text(encoding="utf-8"))
            return self.text(json.dumps({"tool": wanted, "arguments": arguments, "argv": sys.argv[2:]}))
        return None

    @staticmethod
    def text(text: str) -> dict[str, Any]:
        """A result of one block of text."""
        return {"content": [{"type": "text", "text": text}]}


    def reply(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The message that answers one; nothing for a notification."""
        if "id" not in request:
            return None
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        result = self.answer(request.get("method", ""), request.get("params") or {})
        if result is None:
            reply["error"] = {"code": -32601, "message": "no such method"}
        else:
            reply["result"] = result
        return reply


class Handler(BaseHTTPRequestHandler):
    """Streamable HTTP, as far as a client that only asks needs it. Who comes without the key is turned away."""

    def do_POST(self) -> None:  # noqa: N802
        """One message, one answer."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.headers.get("X-Api-Key") != "the-right-key":
            self.send(401, b"")
            return
        reply = UPSTREAM.reply(json.loads(body))
        self.send(202 if reply is None else 200, b"" if reply is None else json.dumps(reply).encode())

    def do_GET(self) -> None:  # noqa: N802
        """No stream of its own."""
        self.send(405, b"")

    do_DELETE = do_GET

    def send(self, status: int, body: bytes) -> None:
        """A whole answer."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silent."""


UPSTREAM = Server(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))


def main() -> int:
    """Serve until the input ends; with `--http`, at a free port that is printed first."""
    if sys.argv[2:3] == ["--http"]:
        listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        print(listener.server_address[1], flush=True)
        Thread(target=listener.serve_forever, daemon=True).start()
        sys.stdin.read()
        return 0
    for line in sys.stdin:
        reply = UPSTREAM.reply(json.loads(line))
        if UPSTREAM.changed:
            UPSTREAM.changed = False
            print('{"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}', flush=True)
        if reply is not None:
            print(json.dumps(reply), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
