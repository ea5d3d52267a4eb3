"""How well does a table find the right tools? NDCG@10 by its cosines alone, and fused with given lexical scores.

The fusion is the program's (`fusion.rs`) without clauses; the program's own `eval` example is the last word.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

DEPTH = 100
Lexical = dict[str, list[tuple[str, float]]]


def read_lexical(path: Path) -> Lexical:
    """A run of the `eval` example in lexical mode: per request the tools and their raw scores, best first."""
    lists: Lexical = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        run = json.loads(line)
        scored = [(tool, raw[0]) for tool, raw in zip(run["ranked"], run["raw"]) if raw[0] is not None]
        lists[run["id"]] = sorted(scored, key=lambda item: -item[1])[:DEPTH]
    return lists


def ndcg(query: dict[str, Any], ranked: list[str]) -> float:
    """NDCG@10 of one request: binary gain; one hit is enough where the request says so."""
    stand_in = query.get("alt") or {}
    ranked = list(dict.fromkeys(stand_in.get(tool, tool) for tool in ranked))
    relevant = set(query["relevant"])
    hits = [rank for rank, tool in enumerate(ranked) if tool in relevant]
    count = 1 if query.get("match") == "any" else len(relevant)
    hits = hits[:count]
    ideal = sum(1 / math.log2(rank + 2) for rank in range(min(count, 10)))
    return sum(1 / math.log2(rank + 2) for rank in hits if rank < 10) / ideal


def scores(
    queries: list[dict[str, Any]], ids: list[str], cosines: np.ndarray, lexical: Lexical, weights: list[float]
) -> np.ndarray:
    """Per request: NDCG@10 with each dense weight; weight 1 is the cosines alone."""
    table = np.zeros((len(queries), len(weights)))
    for at, (query, row) in enumerate(zip(queries, cosines)):
        best = np.argsort(-row, kind="stable")[:DEPTH]
        low, high = row[best[-1]], row[best[0]]
        dense = {ids[tool]: float((row[tool] - low) / max(high - low, 1e-9)) for tool in best}
        words = lexical.get(query["id"], [])
        floor = words[-1][1] if len(words) >= DEPTH else 0.0
        top = words[0][1] if words else 1.0
        by_words = {tool: (raw - floor) / max(top - floor, 1e-9) for tool, raw in words}
        for column, weight in enumerate(weights):
            if weight == 1:
                total = dense
            else:
                tools = by_words.keys() | dense.keys()
                total = {t: (1 - weight) * by_words.get(t, 0.0) + weight * dense.get(t, 0.0) for t in tools}
            table[at, column] = ndcg(query, sorted(total, key=lambda tool: (-total[tool], tool)))
    return table
