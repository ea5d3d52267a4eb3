"""Serves the tools of box.py by the container contract, with nothing but the standard library.

Listens on the unix socket that PEGBOARD_SOCKET names, so that the container needs no network; without it on port PEGBOARD_PORT (8080), for
trying it by hand. Standard output is the container's log.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from box import TOOLS

COUNTS = {"calls": 0, "failures": 0}
LOCK = threading.Lock()


def execute(request: dict[str, Any]) -> dict[str, Any]:
    """One call: `{"inputs": {"p": {"value": …}}, "context": {…}}` to `{"success": true, "outputs": {…}}`."""
    context = request["context"]
    inputs = {name: item["value"] for name, item in request["inputs"].items()}
    with LOCK:
        COUNTS["calls"] += 1
    try:
        return {"success": True, "outputs": TOOLS[context["tool"]](inputs, context)}
    except Exception as error:
        with LOCK:
            COUNTS["failures"] += 1
        return {"success": False, "error": f"{type(error).__name__}: {error}"}


class Handler(BaseHTTPRequestHandler):
    """`POST /execute`, `GET /health`, `GET /metrics`; connections are kept open."""

    protocol_version = "HTTP/1.1"
    # A head and a body in two small packets would wait for each other.
    wbufsize = -1
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """A unix socket has no Nagle to disable."""
        self.disable_nagle_algorithm = self.request.family == socket.AF_INET
        super().setup()

    def do_GET(self) -> None:
        """Health and metrics."""
        if self.path == "/health":
            self.answer(200, {"status": "healthy"})
        elif self.path == "/metrics":
            self.answer(200, dict(COUNTS))
        else:
            self.answer(404, {"success": False, "error": "no such path"})

    def do_POST(self) -> None:
        """A call."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/execute":
            self.answer(404, {"success": False, "error": "no such path"})
            return
        self.answer(200, execute(json.loads(body)))

    def answer(self, status: int, document: dict[str, Any]) -> None:
        """One JSON document."""
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *arguments: Any) -> None:
        """A line for each call would only fill the log."""


class UnixServer(ThreadingHTTPServer):
    """The same over a unix socket."""

    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        """Lets whoever may open the socket's folder connect."""
        self.socket.bind(self.server_address)
        os.chmod(str(self.server_address), 0o666)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Whoever connects has no address."""
        connection, _ = self.socket.accept()
        return connection, ("pegboard", 0)


def main() -> None:
    """Serves until it is ended."""
    path = os.environ.get("PEGBOARD_SOCKET")
    port = int(os.environ.get("PEGBOARD_PORT", "8080"))
    server = UnixServer(path, Handler) if path else ThreadingHTTPServer(("", port), Handler)
    server.daemon_threads = True
    print(f"listening on {path or port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
