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
WORDS = 50
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
        dense = dict(zip((ids[tool] for tool in best), spreads(row[best], DEPTH, whole=False)))
        listed = lexical.get(query["id"], [])
        by_words = dict(zip((tool for tool, _ in listed), spreads(np.array([raw for _, raw in listed]), WORDS, whole=True)))
        for column, weight in enumerate(weights):
            if weight == 1:
                total = dense
            else:
                tools = by_words.keys() | dense.keys()
                total = {t: (1 - weight) * by_words.get(t, 0.0) + weight * dense.get(t, 0.0) for t in tools}
            table[at, column] = ndcg(query, sorted(total, key=lambda tool: (-total[tool], tool)))
    return table


def spreads(scores: np.ndarray, depth: int, whole: bool) -> np.ndarray:
    """How far each score is above the end of its list, in standard deviations of the list; `whole` counts what matched nothing as 0."""
    part = scores[:depth].astype(np.float64)
    if not len(part):
        return part
    count = depth if whole else len(part)
    low = 0.0 if whole and len(part) < depth else part[-1]
    spread = math.sqrt(max((part * part).sum() / count - (part.sum() / count) ** 2, 0.0))
    return np.maximum((scores - low) / spread, 0.0) if spread > 0 else np.ones(len(scores))
