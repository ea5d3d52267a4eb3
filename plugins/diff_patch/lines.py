"""Texts as lines, and what two texts have in common, within a fixed amount of work.

Patience first (lines that occur once in both), then Myers on what is left, then "all of it changed": a hostile text
gets a coarser difference, never a long wait. `difflib` is cubic at worst, so it is not used.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import Iterator

MAX_CHARACTERS = 1_000_000
MAX_LINES = 50_000
# A patch can hold both texts whole.
MAX_PATCH_CHARACTERS = 2_500_000
MAX_PATCH_LINES = 120_000
# Steps of Myers over all gaps together; about two seconds.
MAX_STEPS = 3_000_000

Block = tuple[int, int, int]


class Unfit(ValueError):
    """What the caller can mend; the message is safe to show."""


def split_lines(text: object, name: str, most: tuple[int, int] = (MAX_CHARACTERS, MAX_LINES)) -> list[str]:
    """Lines with their ends. Only `\\n` ends a line, so `\\r\\n` and odd separators survive untouched."""
    if not isinstance(text, str):
        raise Unfit(f"`{name}` must be a string")
    if len(text) > most[0]:
        raise Unfit(f"`{name}` has {len(text)} characters, at most {most[0]} are allowed")
    lines = [line + "\n" for line in text.split("\n")]
    last = lines.pop()[:-1]
    if last:
        lines.append(last)
    if len(lines) > most[1]:
        raise Unfit(f"`{name}` has {len(lines)} lines, at most {most[1]} are allowed")
    return lines


def matching_blocks(before: list[str], after: list[str]) -> list[Block]:
    """Runs of equal lines `(before, after, length)` in order, ended by an empty run at both ends of the texts."""
    numbers: dict[str, int] = {}
    left = [numbers.setdefault(line, len(numbers)) for line in before]
    right = [numbers.setdefault(line, len(numbers)) for line in after]
    pairs = sorted(_pairs(left, right))
    blocks: list[Block] = []
    for i, j in pairs:
        if blocks and blocks[-1][0] + blocks[-1][2] == i and blocks[-1][1] + blocks[-1][2] == j:
            blocks[-1] = (blocks[-1][0], blocks[-1][1], blocks[-1][2] + 1)
        else:
            blocks.append((i, j, 1))
    return [*blocks, (len(before), len(after), 0)]


def _pairs(left: list[int], right: list[int]) -> Iterator[tuple[int, int]]:
    """Equal lines, gap by gap, with a stack instead of recursion."""
    steps = MAX_STEPS
    gaps = [(0, len(left), 0, len(right))]
    while gaps:
        low, high, start, stop = gaps.pop()
        while low < high and start < stop and left[low] == right[start]:
            yield low, start
            low, start = low + 1, start + 1
        while low < high and start < stop and left[high - 1] == right[stop - 1]:
            high, stop = high - 1, stop - 1
            yield high, stop
        if low == high or start == stop:
            continue
        anchors = _anchors(left, right, low, high, start, stop)
        if not anchors:
            found, used = _myers(left[low:high], right[start:stop], steps)
            steps -= used
            yield from ((low + i, start + j) for i, j in found)
            continue
        for i, j in anchors:
            # The anchor itself is the first pair of the gap that begins with it.
            gaps.append((low, i, start, j))
            low, start = i, j
        gaps.append((low, high, start, stop))


def _anchors(left: list[int], right: list[int], low: int, high: int, start: int, stop: int) -> list[tuple[int, int]]:
    """Lines that occur once on either side of the gap, in the longest order that both sides share."""
    ours, theirs = _once(left, low, high), _once(right, start, stop)
    common = sorted((i, theirs[line]) for line, i in ours.items() if line in theirs)
    tails: list[int] = []
    piles: list[int] = []
    previous: list[int] = []
    for index, (_, j) in enumerate(common):
        pile = bisect_left(tails, j)
        if pile == len(tails):
            tails.append(j)
            piles.append(index)
        else:
            tails[pile], piles[pile] = j, index
        previous.append(piles[pile - 1] if pile else -1)
    chain: list[tuple[int, int]] = []
    at = piles[-1] if piles else -1
    while at >= 0:
        chain.append(common[at])
        at = previous[at]
    return chain[::-1]


def _once(lines: list[int], low: int, high: int) -> dict[int, int]:
    seen: dict[int, int] = {}
    for index in range(low, high):
        seen[lines[index]] = -1 if lines[index] in seen else index
    return {line: index for line, index in seen.items() if index >= 0}


def _myers(left: list[int], right: list[int], steps: int) -> tuple[list[tuple[int, int]], int]:
    """Myers' greedy algorithm; gives up, with nothing in common, when the steps are used up."""
    size, width = len(left), len(right)
    furthest = {1: 0}
    trace: list[array[int]] = []
    used = 0
    for distance in range(size + width + 1):
        used += distance + 1
        if used > steps:
            return [], used
        # Only the diagonals that the next round reads, in four bytes each: the trace is what memory goes to.
        trace.append(array("i", (furthest[diagonal] for diagonal in range(1 - distance, distance, 2))))
        used += distance
        for diagonal in range(-distance, distance + 1, 2):
            down = diagonal == -distance or (diagonal != distance and furthest[diagonal - 1] < furthest[diagonal + 1])
            x = furthest[diagonal + 1] if down else furthest[diagonal - 1] + 1
            y = x - diagonal
            while x < size and y < width and left[x] == right[y]:
                x, y = x + 1, y + 1
                used += 1
            furthest[diagonal] = x
            if x >= size and y >= width:
                return _walk_back(trace, size, width), used
    return [], used


def _walk_back(trace: list[array[int]], x: int, y: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for distance in range(len(trace) - 1, 0, -1):
        furthest, diagonal, half = trace[distance], x - y, distance - 1
        # Diagonals outside the round before count as never reached.
        above = furthest[(diagonal + 1 + half) // 2] if diagonal < half else -1
        below = furthest[(diagonal - 1 + half) // 2] if diagonal > -half else -1
        down = diagonal == -distance or (diagonal != distance and below < above)
        x_before = above if down else below
        y_before = x_before - (diagonal + 1 if down else diagonal - 1)
        while x > x_before and y > y_before:
            x, y = x - 1, y - 1
            found.append((x, y))
        x, y = x_before, y_before
    found.extend((step, step) for step in range(x))
    return found
