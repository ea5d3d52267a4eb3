"""The table: ridge regression of token vectors onto the teacher's, then refinement by what should be near what.

Everything is numpy and scipy on one thread, and a seed decides every draw. Reads no file, writes none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import hadamard
from tokenizers import Tokenizer

import pieces

RIDGE = 1.0
STEPS = 25
TEMPERATURE = 0.05
EPOCHS = 4
RATE = 0.005
BATCH = 512
MIN_BATCH = 32
SPREAD_SEED = 11


@dataclass
class Table:
    """A vector per token, its weight folded in: a text is the normalised sum of its tokens' rows."""

    rows: np.ndarray

    def embed(self, counts: sparse.csr_matrix) -> np.ndarray:
        """Unit vectors of bags of tokens."""
        return unit(np.asarray(counts @ self.rows))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows at length one; empty ones stay zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def bags(tokenizer: Tokenizer, texts: list[str]) -> sparse.csr_matrix:
    """Token counts of each text."""
    size = tokenizer.get_vocab_size()
    indices, starts = [], [0]
    for line in pieces.encode(tokenizer, texts):
        indices += line
        starts.append(len(indices))
    ones = np.ones(len(indices), dtype=np.float32)
    counts = sparse.csr_matrix((ones, np.array(indices, dtype=np.int32), starts), shape=(len(texts), size))
    counts.sum_duplicates()
    return counts


def idf(counts: sparse.csr_matrix) -> np.ndarray:
    """How rare each token is among these texts."""
    documents = counts.shape[0]
    frequency = np.bincount(counts.indices, minlength=counts.shape[1]).astype(np.float32)
    return np.log1p((documents - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)


def ridge(
    counts: sparse.csr_matrix, targets: np.ndarray, weights: np.ndarray, prior: np.ndarray, importance: np.ndarray
) -> Table:
    """Solves for the change to the prior that brings the bags of `counts` to `targets`."""
    rows = sparse.diags(importance) @ _unit_rows(counts @ sparse.diags(weights))
    rows = sparse.csr_matrix(rows, dtype=np.float32)
    mean = np.average(targets, axis=0, weights=importance**2)
    wanted = ((targets - mean) * importance[:, None]).astype(np.float32)
    start = unit(prior)
    start = start - start.mean(axis=0)
    guess = rows @ start
    start = start * float((guess * wanted).sum() / (guess * guess).sum())
    change = _conjugate_gradient(rows, rows.T @ (wanted - rows @ start))
    return Table(((start + change) * weights[:, None]).astype(np.float32))


def _unit_rows(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sparse.diags(1 / np.maximum(length, 1e-9)) @ matrix


def _conjugate_gradient(rows: sparse.csr_matrix, right: np.ndarray) -> np.ndarray:
    across = rows.T.tocsr()
    solution = np.zeros_like(right)
    rest = right.copy()
    way = rest.copy()
    length = (rest * rest).sum(axis=0)
    for _ in range(STEPS):
        moved = across @ (rows @ way) + RIDGE * way
        step = length / np.maximum((way * moved).sum(axis=0), 1e-12)
        solution += step * way
        rest -= step * moved
        new = (rest * rest).sum(axis=0)
        way = rest + (new / np.maximum(length, 1e-12)) * way
        length = new
    return solution


@dataclass
class Pairs:
    """Bags that belong together, row by row; batches are drawn within a group, so that the others are hard."""

    left: sparse.csr_matrix
    right: sparse.csr_matrix
    group: np.ndarray


def refine(table: Table, pairs: Pairs, seed: int) -> Table:
    """Adam towards partners that are nearer than the rest of their batch, both ways."""
    draw = np.random.default_rng(seed)
    rows = table.rows.copy()
    first, second = np.zeros_like(rows), np.zeros_like(rows)
    order = [part for _ in range(EPOCHS) for part in _batches(pairs.group, draw)]
    for count, part in enumerate(order):
        left, right = pairs.left[part], pairs.right[part]
        touched = np.unique(np.concatenate([left.indices, right.indices]))
        slope = _slope(rows, left, right)[touched]
        first[touched] = 0.9 * first[touched] + 0.1 * slope
        second[touched] = 0.999 * second[touched] + 0.001 * slope**2
        rate = RATE * (1 - count / len(order))
        rows[touched] -= rate * first[touched] / (np.sqrt(second[touched] / (1 - 0.999 ** (count + 1))) + 1e-6)
    return Table(rows)


def _batches(group: np.ndarray, draw: np.random.Generator) -> Iterator[np.ndarray]:
    parts = []
    for name in np.unique(group):
        members = draw.permutation(np.flatnonzero(group == name))
        parts += [members[at : at + BATCH] for at in range(0, len(members), BATCH)]
    return (parts[at] for at in draw.permutation(len(parts)) if len(parts[at]) >= MIN_BATCH)


def _softmax(scores: np.ndarray) -> np.ndarray:
    grown = np.exp(scores - scores.max(axis=1, keepdims=True))
    return grown / grown.sum(axis=1, keepdims=True)


def _slope(rows: np.ndarray, left: sparse.csr_matrix, right: sparse.csr_matrix) -> np.ndarray:
    """Slope of the cross entropy of each row's partner among the batch, both ways."""
    a, a_length = _with_length(left @ rows)
    b, b_length = _with_length(right @ rows)
    scores = a @ b.T / TEMPERATURE
    same = np.eye(len(scores), dtype=np.float32)
    slope = (_softmax(scores) + _softmax(scores.T).T - 2 * same) / (2 * len(scores) * TEMPERATURE)
    a_slope, b_slope = slope @ b, slope.T @ a
    a_slope = (a_slope - a * (a_slope * a).sum(axis=1, keepdims=True)) / a_length
    b_slope = (b_slope - b * (b_slope * b).sum(axis=1, keepdims=True)) / b_length
    return np.asarray(left.T @ a_slope + right.T @ b_slope, dtype=np.float32)


def _with_length(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    length = np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6)
    return np.asarray(sums) / length, length


def shrink(table: Table, dimension: int, sample: sparse.csr_matrix) -> Table:
    """Rotates onto the main directions of the embedded sample, keeps the first `dimension`, and spreads them evenly."""
    embedded = table.embed(sample)
    _, directions = np.linalg.eigh(embedded.T @ embedded)
    main = np.ascontiguousarray(table.rows @ directions[:, ::-1][:, :dimension])
    return Table((main @ spreading(dimension)).astype(np.float32))


def spreading(dimension: int) -> np.ndarray:
    """A rotation after which every component says as much as any other, so that its sign alone says something.

    A Hadamard matrix with drawn signs: exact numbers, the same on every machine.
    """
    signs = np.random.default_rng(SPREAD_SEED).choice([-1.0, 1.0], dimension)
    return (signs[:, None] * hadamard(dimension) / np.sqrt(dimension)).astype(np.float32)


def quantised(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Rows in 8-bit steps, and what a step of each row is worth."""
    scale = (np.abs(table.rows).max(axis=1) / 127).astype(np.float32)
    steps = np.rint(table.rows / np.maximum(scale, 1e-12)[:, None]).astype(np.int8)
    return steps, scale
