"""A container plugin through Pegboard beside the same container asked directly, and beside `docker exec` and `docker run` for each call.

`containers.py BINARY [CALLS]` with DOCKER_HOST naming an engine that has `localhost/pegboard-base/python:1` (tests/containers/python_image.py).
Everything is measured in one run on one machine: read the ratios. It says which build it drove; promises are for release builds.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable

BASE = "localhost/pegboard-base/python:1"
CALL = {"inputs": {"text": {"value": "two words", "args": {}}}, "context": {"tool": "count_words"}}


class Direct(http.client.HTTPConnection):
    """The container's own socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("plugin")
        self._path = str(path)

    def connect(self) -> None:
        """By a descriptor of the folder: the path may be too long for a socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        folder = os.open(os.path.dirname(self._path), os.O_PATH | os.O_DIRECTORY)
        try:
            self.sock.connect(f"/proc/self/fd/{folder}/{os.path.basename(self._path)}")
        finally:
            os.close(folder)

    def ask(self) -> None:
        """One call."""
        self.request("POST", "/execute", json.dumps(CALL), {"Content-Type": "application/json"})
        assert json.loads(self.getresponse().read())["success"]


class Client:
    """An MCP client over stdio, as small as can be; calls may run side by side."""

    def __init__(self, binary: str, home: str, plugins: str) -> None:
        arguments = [binary, "serve", "--home", home, "--plugins", plugins, "--no-bundled", "--log", "warn,pegboard_server=error"]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.waiting: dict[int, threading.Event] = {}
        self.answers: dict[int, Any] = {}
        self.lock = threading.Lock()
        self.last = 0
        threading.Thread(target=self.read, daemon=True).start()
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
        self.ask("initialize", hello)
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def read(self) -> None:
        """Hands answers to whoever waits."""
        assert self.process.stdout is not None
        for line in iter(self.process.stdout.readline, b""):
            message = json.loads(line)
            if "id" in message and message["id"] in self.waiting:
                self.answers[message["id"]] = message
                self.waiting[message["id"]].set()

    def send(self, message: dict[str, Any]) -> None:
        """One line."""
        assert self.process.stdin is not None
        with self.lock:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")

    def ask(self, method: str, params: dict[str, Any]) -> Any:
        """One request to its answer."""
        with self.lock:
            self.last += 1
            number = self.last
            self.waiting[number] = threading.Event()
        self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        self.waiting[number].wait()
        return self.answers[number]["result"]

    def call(self) -> None:
        """One call of the tool."""
        result = self.ask("tools/call", {"name": "bench__count_words", "arguments": {"text": "two words"}})
        assert result["structuredContent"]["words"] == 2, result


def timed(act: Callable[[], None], count: int) -> list[float]:
    """Milliseconds of each."""
    spent = []
    for _ in range(count):
        began = time.perf_counter()
        act()
        spent.append((time.perf_counter() - began) * 1000)
    return spent


def row(what: str, spent: list[float]) -> None:
    """One line of the table."""
    ordered = sorted(spent)
    p95 = ordered[int(len(ordered) * 0.95)]
    print(f"| {what} | {statistics.median(ordered):.2f} | {p95:.2f} | {len(ordered)} |")


def main() -> int:
    """Measures and prints."""
    binary = sys.argv[1]
    calls = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    home = tempfile.mkdtemp(prefix="pegboard-bench-")
    plugins = os.path.join(home, "plugins")
    init = [binary, "init", "bench", "--template", "container-python", "--base-image", BASE, "--into", f"{plugins}/bench"]
    subprocess.run(init, check=True, capture_output=True)
    client = Client(binary, home, plugins)
    client.call()
    docker = ["docker", "ps", "-q", "--filter", "label=pegboard.plugin=bench"]
    container = subprocess.run(docker, check=True, capture_output=True, text=True).stdout.split()[0]
    image_asked = ["docker", "inspect", "--format", "{{.Image}}", container]
    image = subprocess.run(image_asked, check=True, capture_output=True, text=True).stdout.strip()
    path = next(Path(home).glob("cache/containers/*/*/plugin.sock"))
    direct = Direct(path)
    code = "import sys; sys.path.insert(0, '/app'); import tool; tool.count_words({'text': 'two words'}, {})"
    print(f"build: {'release' if 'release' in binary else 'debug'}; engine: {os.environ.get('DOCKER_HOST', 'default')}\n")
    print("| what | p50 ms | p95 ms | runs |\n|---|---|---|---|")
    for _ in range(50):
        direct.ask()
        client.call()
    alone = timed(direct.ask, calls)
    through = timed(client.call, calls)
    row("the container asked directly, kept connection", alone)
    row("through Pegboard: MCP over stdio, checks, record", through)

    def sixteen(act: Callable[[], Callable[[], None]]) -> float:
        acts = [act() for _ in range(16)]
        began = time.perf_counter()
        threads = [threading.Thread(target=timed, args=(one, calls // 16)) for one in acts]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        return calls // 16 * 16 / (time.perf_counter() - began)

    # The first round starts the second replica, and is not counted; nor is what is asked until that one serves.
    sixteen(lambda: client.call)
    until = time.monotonic() + 60
    while len(list(Path(home).glob("cache/containers/*/*/plugin.sock"))) < 2:
        assert time.monotonic() < until, "the second replica does not start"
        client.call()
    sixteen(lambda: client.call)
    flat_direct, flat = sixteen(lambda: Direct(path).ask), sixteen(lambda: client.call)
    # The other replica may have been let go.
    container = subprocess.run(docker, check=True, capture_output=True, text=True).stdout.split()[0]
    execute = ["docker", "exec", container, "/usr/bin/python3", "-c", code]
    row("docker exec", timed(lambda: subprocess.run(execute, check=True) and None, 10))
    fresh = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "/usr/bin/python3", image, "-c", code]
    row("docker run, a fresh container", timed(lambda: subprocess.run(fresh, check=True) and None, 10))
    starts = []
    for _ in range(5):
        gone = subprocess.run(docker, check=True, capture_output=True, text=True).stdout.split()
        subprocess.run(["docker", "rm", "-f", *gone], check=True, capture_output=True)
        began = time.perf_counter()
        client.call()
        starts.append((time.perf_counter() - began) * 1000)
        container = subprocess.run(docker, check=True, capture_output=True, text=True).stdout.split()[0]
    row("first call after its container was removed", starts)
    overhead = statistics.median(through) - statistics.median(alone)
    print(f"\nover the container's own time: p50 {overhead:.2f} ms; 16 at once: {flat:.0f} calls/s, directly {flat_direct:.0f}/s")
    client.process.terminate()
    client.process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
