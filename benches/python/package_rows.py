"""The Python package beside what LangChain users have: one row each run, both taking turns in it; the series come out as one JSON document.

    package_rows.py import|search|call|threads --plugins DIR --catalogue DIR --queries FILE --home DIR --fastmcp PYTHON

The peers are langchain-mcp-adapters over a stdio session that stays open to a FastMCP server, and the store that langgraph-bigtool searches.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pegboard import Toolbox

ROUNDS = 3
TEXT = {"text": "a line of text that is echoed"}
PEER = Path(__file__).with_name("fastmcp_peer.py")
TICKS = os.sysconf("SC_CLK_TCK")


class Series:
    """Times of calls, and what they cost this process and all below it."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.wall = 0.0
        self.cpu = 0.0

    def document(self) -> dict[str, Any]:
        return {"taken_ms": [seconds * 1000 for seconds in self.taken], "wall": self.wall, "cpu": self.cpu}

    def measure(self, calls: Callable[[], list[float]]) -> None:
        cpu, start = cpu_seconds(), time.perf_counter()
        self.taken += calls()
        self.wall += time.perf_counter() - start
        self.cpu += cpu_seconds() - cpu


def cpu_seconds() -> float:
    """Of this process and all below it, those that ended among them."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry)], ticks[int(entry)] = int(fields[1]), sum(map(int, fields[11:15]))
    me = os.getpid()

    def is_below(process: int) -> bool:
        while process > 1:
            if process == me:
                return True
            process = parents.get(process, 0)
        return False

    return sum(spent for process, spent in ticks.items() if is_below(process)) / TICKS


def one_by_one(call: Callable[[], object], count: int, per_second: int = 0) -> list[float]:
    """Each call by itself; with arrivals, a late answer delays the next call, and that counts as the next one's time."""
    taken: list[float] = []
    due = time.perf_counter()
    for _ in range(count):
        late = False
        if per_second:
            due += 1 / per_second
            late = time.perf_counter() > due
            time.sleep(max(0.0, due - time.perf_counter()))
        start = due if late else time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return taken


async def one_by_one_awaited(call: Callable[[], Awaitable[object]], count: int, per_second: int) -> list[float]:
    """The same, in an event loop."""
    taken: list[float] = []
    due = time.perf_counter()
    for _ in range(count):
        due += 1 / per_second
        late = time.perf_counter() > due
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        start = due if late else time.perf_counter()
        await call()
        taken.append(time.perf_counter() - start)
    return taken


def import_row(_: argparse.Namespace) -> dict[str, Any]:
    """A new interpreter for each; the last series is that of an interpreter that imports nothing."""
    codes = {"ours": "import pegboard", "peer": "import langchain_mcp_adapters.client", "bare": "pass"}
    series = {name: Series() for name in codes}
    for _round in range(15):
        for name, code in codes.items():
            series[name].measure(lambda code=code: one_by_one(lambda: subprocess.run([sys.executable, "-c", code], check=True), 1))
    return {name: one.document() for name, one in series.items()}


def encoder(texts: list[str]) -> list[list[float]]:
    """A vector that costs next to nothing, so that the peer's number is its search alone. A real encoder comes on top."""
    vectors: list[list[float]] = []
    for text in texts:
        vector = [0.0] * 384
        for word in text.lower().split():
            vector[zlib.crc32(word.encode()) % 384] += 1.0
        vectors.append(vector)
    return vectors


def search_row(options: argparse.Namespace) -> dict[str, Any]:
    """Ours is the whole search: words and meaning, through the engine, to objects of Python."""
    from langgraph.store.memory import InMemoryStore

    queries: list[str] = json.loads(options.queries.read_text())
    store = InMemoryStore(index={"embed": encoder, "dims": 384, "fields": ["description"]})
    ours, peer = Series(), Series()
    with Toolbox(plugins=options.catalogue, home=options.home, bundled=False) as box:
        for tool in box.tools():
            store.put(("tools",), tool.name, {"description": f"{tool.name}: {tool.description}"})
        while box.search(queries[0]).mode != "hybrid":
            time.sleep(0.05)

        def each(search: Callable[[str], object], times: int) -> list[float]:
            return [one_by_one(lambda query=query: search(query), 1)[0] for _ in range(times) for query in queries]

        each(box.search, 3)
        for _ in range(ROUNDS):
            ours.measure(lambda: each(box.search, 20))
            peer.measure(lambda: each(lambda query: store.search(("tools",), query=query, limit=5), 3))
        count = len(box.tools())
    return {"ours": ours.document(), "peer": peer.document(), "note": f"{count} tools"}


def warm(box: Toolbox, plugin: str) -> str:
    """The tool's name, once its sandboxes stand ready."""
    tool = f"{plugin}__echo"
    for _ in range(50):
        box.call(tool, TEXT)
    return tool


async def adapted(options: argparse.Namespace, body: Callable[[Callable[[], Awaitable[object]]], Awaitable[None]]) -> None:
    """Runs the body with a call of the peer's: its LangChain tool, over one session that stays open."""
    from langchain_mcp_adapters.client import MultiServerMCPClient
    from langchain_mcp_adapters.tools import load_mcp_tools

    environment = {**os.environ, "FASTMCP_LOG_LEVEL": "ERROR"}
    server = {"transport": "stdio", "command": str(options.fastmcp), "args": ["-B", str(PEER)], "env": environment}
    client = MultiServerMCPClient({"peer": server})  # type: ignore[dict-item]
    async with client.session("peer") as session:
        (tool,) = await load_mcp_tools(session)
        for _ in range(50):
            await tool.ainvoke(TEXT)
        await body(lambda: tool.ainvoke(TEXT))


def call_row(options: argparse.Namespace) -> dict[str, Any]:
    """A hundred calls a second, each into a fresh sandboxed process, then one after the other into one that lasts; the peer's run in its server's own process."""
    ours, peer, langchain, worker = Series(), Series(), Series(), Series()
    folders = [options.plugins / "bench_call", options.plugins / "bench_worker"]
    with Toolbox(plugins=folders, home=options.home, bundled=False) as box:
        name, lasting = warm(box, "bench_call"), warm(box, "bench_worker")
        tool = box.get_tools([name])[0]

        async def body(call: Callable[[], Awaitable[object]]) -> None:
            for _ in range(ROUNDS):
                ours.measure(lambda: one_by_one(lambda: box.call(name, TEXT), 300, 100))
                start = time.perf_counter()
                cpu = cpu_seconds()
                peer.taken += await one_by_one_awaited(call, 300, 100)
                peer.wall, peer.cpu = peer.wall + time.perf_counter() - start, peer.cpu + cpu_seconds() - cpu
                langchain.measure(lambda: one_by_one(lambda: tool.invoke(TEXT), 100, 100))
                worker.measure(lambda: one_by_one(lambda: box.call(lasting, TEXT), 300))

        asyncio.run(adapted(options, body))
    median = statistics.median(langchain.taken) * 1000
    note = f"through our own LangChain tool p50 {median:.3f} ms"
    return {"ours": ours.document(), "peer": peer.document(), "worker": worker.document(), "note": note}


def flat_out(call: Callable[[], object], threads: int, count: int) -> list[float]:
    """So many threads, each as fast as it goes."""
    with ThreadPoolExecutor(threads) as pool:
        each = list(pool.map(lambda _: one_by_one(call, count // threads), range(threads)))
    return [seconds for series in each for seconds in series]


def threads_row(options: argparse.Namespace) -> dict[str, Any]:
    """Sixteen threads of one toolbox, flat out, beside sixteen tasks of the peer's session; then one thread, and one that lasts."""
    ours, peer, single, worker = Series(), Series(), Series(), Series()
    folders = [options.plugins / "bench_call", options.plugins / "bench_worker"]
    with Toolbox(plugins=folders, home=options.home, bundled=False) as box:
        call, lasting = warm(box, "bench_call"), warm(box, "bench_worker")

        async def body(peer_call: Callable[[], Awaitable[object]]) -> None:
            async def one() -> None:
                for _ in range(96):
                    start = time.perf_counter()
                    await peer_call()
                    peer.taken.append(time.perf_counter() - start)

            for _ in range(ROUNDS):
                ours.measure(lambda: flat_out(lambda: box.call(call, TEXT), 16, 1536))
                cpu, start = cpu_seconds(), time.perf_counter()
                await asyncio.gather(*(one() for _ in range(16)))
                peer.wall, peer.cpu = peer.wall + time.perf_counter() - start, peer.cpu + cpu_seconds() - cpu
                single.measure(lambda: flat_out(lambda: box.call(call, TEXT), 1, 400))
                worker.measure(lambda: flat_out(lambda: box.call(lasting, TEXT), 16, 3200))

        asyncio.run(adapted(options, body))
    rates = {name: len(one.taken) / one.wall for name, one in (("single", single), ("worker", worker))}
    return {"ours": ours.document(), "peer": peer.document(), "rates": rates}


ROWS = {"import": import_row, "search": search_row, "call": call_row, "threads": threads_row}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=ROWS)
    for name in ("plugins", "catalogue", "queries", "home", "fastmcp"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    print(json.dumps(ROWS[options.row](options)))


if __name__ == "__main__":
    main()
