"""The server of the container tests: the contract, and every way to break it, chosen by the tool's name.

Speaks HTTP by hand, so that it can also speak it badly. `run` executes Python that the test sends: attacks on the walls are written in the test.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

STATE: dict[str, Any] = {"healthy": True, "health": None, "calls": 0}


def answer(body: bytes, status: str = "200 OK", media: str = "application/json") -> bytes:
    """A whole answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def good(outputs: Any) -> bytes:
    """What the contract calls success."""
    return answer(json.dumps({"success": True, "outputs": outputs}).encode())


def run(code: str) -> bytes:
    """Python's value of `result` after the code, or the exception."""
    scope: dict[str, Any] = {}
    try:
        exec(code, scope)
        return good({"result": scope.get("result")})
    except BaseException as error:
        return good({"raised": type(error).__name__, "text": str(error), "errno": getattr(error, "errno", None)})


def execute(request: dict[str, Any], connection: socket.socket) -> bytes:
    """One call."""
    context = request["context"]
    inputs = {name: item["value"] for name, item in request["inputs"].items()}
    tool = context["tool"]
    STATE["calls"] += 1
    if tool == "echo":
        return good({"inputs": inputs, "context": context, "host": socket.gethostname(), "calls": STATE["calls"]})
    if tool == "run":
        return run(inputs["code"])
    if tool == "sleep":
        time.sleep(inputs["seconds"])
        return good({"slept": inputs["seconds"], "host": socket.gethostname()})
    if tool == "eat":
        kept = bytearray(inputs["mb"] << 20)
        kept[:: 4096] = b"x" * len(kept[:: 4096])
        return good({"ate": len(kept)})
    if tool == "crash":
        print("last words", flush=True)
        os._exit(inputs.get("code", 7))
    if tool == "fail":
        return answer(json.dumps({"success": False, "error": "it is Monday"}).encode(), "422 Unprocessable Content")
    if tool == "html":
        return answer(b"<html><body>It works!</body></html>", media="text/html")
    if tool == "half":
        connection.sendall(answer(b"x" * 1000)[:200])
        connection.shutdown(socket.SHUT_RDWR)
        return b""
    if tool == "huge":
        size = 1 << 30
        told = f"Content-Length: {size}\r\n" if inputs.get("told") else "Transfer-Encoding: chunked\r\n"
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{told}\r\n".encode())
        block = b"x" * (1 << 16)
        for _ in range(size // len(block)):
            connection.sendall(block if inputs.get("told") else b"10000\r\n" + block + b"\r\n")
        return b""
    if tool == "never":
        time.sleep(3600)
    if tool == "ill":
        STATE["healthy"] = False
        return good({})
    return answer(b'{"success": false, "error": "no such tool"}', "404 Not Found")


def serve(connection: socket.socket) -> None:
    """One connection, one request after the other."""
    file = connection.makefile("rb")
    try:
        while line := file.readline():
            path = line.split()[1].decode()
            length = 0
            while (header := file.readline().strip()) != b"":
                if header.lower().startswith(b"content-length:"):
                    length = int(header.split(b":")[1])
            body = file.read(length)
            if path == "/health":
                status = "healthy" if STATE["healthy"] else "broken"
                connection.sendall(answer(json.dumps({"status": os.environ.get("HEALTH", status)}).encode()))
            elif path == "/metrics":
                text = f'# TYPE calls counter\ncalls{{plugin="forged"}} {STATE["calls"]}\n'
                connection.sendall(answer(text.encode(), media="text/plain"))
            else:
                connection.sendall(execute(json.loads(body), connection))
    except OSError:
        pass
    finally:
        connection.close()


def main() -> None:
    """Listens where it is told to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    mode = os.environ.get("MODE", "")
    if mode == "exit":
        print("a line before the end", flush=True)
        sys.exit(3)
    if mode == "silent":
        time.sleep(3600)
    if mode == "fat":
        kept = bytearray(512 << 20)
        kept[:: 4096] = b"x" * len(kept[:: 4096])
    if mode == "tcp":
        listener = socket.create_server(("0.0.0.0", int(os.environ["PEGBOARD_PORT"])))
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.environ["PEGBOARD_SOCKET"])
        os.chmod(os.environ["PEGBOARD_SOCKET"], 0o666)
        listener.listen(64)
    print("listening", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
