"""Three-way merge: what two sides made of a base, with conflicts where the same lines differ."""

from __future__ import annotations

from dataclasses import dataclass

from lines import matching_blocks

STYLES = ("merge", "diff3")
PREFERENCES = ("none", "ours", "theirs", "union")


@dataclass
class Region:
    """A stretch of the merge: agreed lines, or the three versions of a conflict."""

    agreed: list[str] | None
    base: list[str]
    ours: list[str]
    theirs: list[str]


def regions(base: list[str], ours: list[str], theirs: list[str]) -> list[Region]:
    """The stretches in order. Lines that all three share separate the changes."""
    found: list[Region] = []
    at_base = at_ours = at_theirs = 0
    for base_from, ours_from, theirs_from, length in _shared(base, ours, theirs):
        changed = base[at_base:base_from], ours[at_ours:ours_from], theirs[at_theirs:theirs_from]
        if any(changed):
            found.append(_decide(*changed))
        if length:
            found.append(Region(base[base_from : base_from + length], [], [], []))
        at_base, at_ours, at_theirs = base_from + length, ours_from + length, theirs_from + length
    return found


def _decide(base: list[str], ours: list[str], theirs: list[str]) -> Region:
    if ours == theirs or theirs == base:
        return Region(ours, [], [], [])
    if ours == base:
        return Region(theirs, [], [], [])
    return Region(None, base, ours, theirs)


def _shared(base: list[str], ours: list[str], theirs: list[str]) -> list[tuple[int, int, int, int]]:
    """Runs of base lines that both sides kept, as `(base, ours, theirs, length)`; the last one is the common end."""
    left, right = matching_blocks(base, ours), matching_blocks(base, theirs)
    found: list[tuple[int, int, int, int]] = []
    i = j = 0
    while i < len(left) and j < len(right):
        low = max(left[i][0], right[j][0])
        high = min(left[i][0] + left[i][2], right[j][0] + right[j][2])
        if low < high:
            found.append((low, left[i][1] + low - left[i][0], right[j][1] + low - right[j][0], high - low))
        if left[i][0] + left[i][2] < right[j][0] + right[j][2]:
            i += 1
        else:
            j += 1
    return [*found, (len(base), len(ours), len(theirs), 0)]


def render(merged: list[Region], names: tuple[str, str], style: str, prefer: str) -> tuple[str, int]:
    """The merged text and the number of conflicts left in it."""
    parts: list[str] = []
    conflicts = 0
    for region in merged:
        if region.agreed is not None:
            parts += region.agreed
        elif prefer == "ours":
            parts += region.ours
        elif prefer == "theirs":
            parts += region.theirs
        elif prefer == "union":
            parts += _whole(region.ours) + region.theirs
        else:
            conflicts += 1
            parts += [f"<<<<<<< {names[0]}\n", *_whole(region.ours)]
            if style == "diff3":
                parts += ["||||||| base\n", *_whole(region.base)]
            parts += ["=======\n", *_whole(region.theirs), f">>>>>>> {names[1]}\n"]
    return "".join(parts), conflicts


def _whole(lines: list[str]) -> list[str]:
    """The lines, the last one ended, so that a marker never sticks to it."""
    return [*lines[:-1], lines[-1] if lines[-1].endswith("\n") else lines[-1] + "\n"] if lines else []
