"""What a user would take instead of Pegboard's search, on folders of `tools.jsonl` and `queries.jsonl`:

    search_peers.py --model DIR --eval PROGRAM [--half even|odd] SET...

FastMCP's BM25 search transform, langgraph-bigtool's store over all-MiniLM-L6-v2, plain reciprocal ranks of plain BM25 and
MiniLM, and Pegboard's own `eval` example, one after the other for each set. A peer's time is that of its own search
function, without any protocol; `eval` says its own. Scoring is index/train/measure.py's.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fastmcp.server.transforms.search.bm25 import BM25SearchTransform
from fastmcp.tools.function_tool import FunctionTool
from langgraph.store.memory import InMemoryStore

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "index/train"))

import corpus  # noqa: E402
import measure  # noqa: E402
from teacher import DIMENSION, Teacher  # noqa: E402

DEPTH = 100
Search = Callable[[str], list[str]]


def answer(**arguments: Any) -> None:
    """What every tool would do."""


def fastmcp(tools: list[dict[str, Any]]) -> Search:
    """FastMCP's own index over its own texts; names carry the id, so that those of a set are told apart."""
    schema = {"type": "object", "properties": {}}
    served = [
        FunctionTool(
            fn=answer, name=tool["name"], description=tool.get("description") or "", parameters=tool["args_schema"] or schema
        )
        for tool in tools
    ]
    place = {id(tool): row for row, tool in enumerate(served)}
    transform = BM25SearchTransform(max_results=DEPTH)
    loop = asyncio.new_event_loop()
    # It compares a digest of the whole catalogue at each search; that is part of its price.
    names = {tool.name: row for row, tool in reversed(list(enumerate(served)))}

    def search(query: str) -> list[str]:
        found = loop.run_until_complete(transform._search(served, query))
        return [tools[place.get(id(tool), names[tool.name])]["id"] for tool in found]

    return search


def bigtool(tools: list[dict[str, Any]], teacher: Teacher) -> Search:
    """The store as langgraph-bigtool's documentation sets it up: description of each tool, embedded."""

    def embed(texts: list[str]) -> list[list[float]]:
        # Nothing is kept: a request costs what it costs.
        return teacher.embed(list(texts)).tolist()

    store = InMemoryStore(index={"embed": embed, "dims": DIMENSION, "fields": ["description"]})
    for tool in tools:
        store.put(("tools",), tool["id"], {"description": f"{tool['name']}: {tool.get('description') or ''}"})
    return lambda query: [item.key for item in store.search(("tools",), query=query, limit=DEPTH)]


def reciprocal(tools: list[dict[str, Any]], teacher: Teacher) -> Search:
    """What most projects ship: plain BM25 over name and description, MiniLM, 1 / (60 + rank)."""
    texts = [corpus.tool_text(tool) for tool in tools]
    from fastmcp.server.transforms.search.bm25 import _BM25Index

    words = _BM25Index(1.2, 0.75)
    words.build([f"{tool['name']} {tool.get('description') or ''}" for tool in tools])
    vectors = teacher.vectors(texts)

    def search(query: str) -> list[str]:
        cosines = vectors @ teacher.embed([query])[0]
        total: dict[int, float] = {}
        for ranked in (words.query(query, DEPTH), np.argsort(-cosines, kind="stable")[:DEPTH]):
            for rank, row in enumerate(ranked):
                total[int(row)] = total.get(int(row), 0.0) + 1 / (61 + rank)
        return [tools[row]["id"] for row in sorted(total, key=lambda row: -total[row])]

    return search


def odd(query: dict[str, Any]) -> bool:
    """The half that a request is in; as in the `eval` example."""
    return hashlib.sha256(query["id"].encode()).digest()[0] % 2 == 1


def report(name: str, queries: list[dict[str, Any]], search: Search) -> None:
    """NDCG@10, hit@1 and time of one peer."""
    gains, firsts, times = [], [], []
    for query in queries:
        start = time.perf_counter()
        ranked = search(query["query"])
        times.append((time.perf_counter() - start) * 1000)
        gains.append(measure.ndcg(query, ranked))
        firsts.append(bool(ranked) and (query.get("alt") or {}).get(ranked[0], ranked[0]) in query["relevant"])
    middle = float(np.median(times))
    print(f"  {name:34} NDCG@10 {np.mean(gains):.4f}  H@1 {np.mean(firsts):.4f}  p50 {middle:8.3f} ms", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--eval", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="folder for MiniLM's vectors of tools")
    parser.add_argument("--half", choices=("even", "odd"))
    parser.add_argument("sets", nargs="+", type=Path)
    arguments = parser.parse_args()
    teacher = Teacher(arguments.model, arguments.cache)
    for folder in arguments.sets:
        tools = [json.loads(line) for line in (folder / "tools.jsonl").read_text(encoding="utf-8").splitlines() if line.strip()]
        queries = corpus.read_set(folder).queries
        queries = [query for query in queries if arguments.half is None or odd(query) == (arguments.half == "odd")]
        print(f"{folder.name}: {len(tools)} tools, {len(queries)} requests", flush=True)
        report("FastMCP, BM25 search transform", queries, fastmcp(tools))
        report("langgraph-bigtool, store and MiniLM", queries, bigtool(tools, teacher))
        report("reciprocal ranks, BM25 and MiniLM", queries, reciprocal(tools, teacher))
        command = [str(arguments.eval), str(folder)] + (["--half", arguments.half] if arguments.half else [])
        ours = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0]
        print(f"  Pegboard, table: {ours.split(maxsplit=1)[1]}", flush=True)
        ours = subprocess.run([*command, "--lexical"], check=True, capture_output=True, text=True).stdout.splitlines()[0]
        print(f"  Pegboard, words alone: {ours.split(maxsplit=1)[1]}", flush=True)


if __name__ == "__main__":
    main()
