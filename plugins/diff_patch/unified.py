"""Unified diffs: writing one from matching blocks, and reading one into hunks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lines import Block, Unfit

NO_NEWLINE = "\\ No newline at end of file"
MAX_HUNKS = 5_000
_HEADER = re.compile(r"@@ -([0-9]{1,9})(?:,([0-9]{1,9}))? \+([0-9]{1,9})(?:,([0-9]{1,9}))? @@")


@dataclass
class Hunk:
    """Where a change is, and its lines with ` `, `-` or `+` apart from them."""

    old_start: int
    new_start: int
    lines: list[tuple[str, str]] = field(default_factory=list)

    def side(self, sign: str) -> list[str]:
        """The lines of one side: `-` for before, `+` for after; context belongs to both."""
        return [line for mark, line in self.lines if mark in (" ", sign)]

    def reversed(self) -> Hunk:
        """The change undone."""
        turned = {" ": " ", "-": "+", "+": "-"}
        return Hunk(self.new_start, self.old_start, [(turned[mark], line) for mark, line in self.lines])


def hunks_of(before: list[str], after: list[str], blocks: list[Block], context: int) -> list[Hunk]:
    """The changes between the blocks, joined where their context touches."""
    hunks: list[Hunk] = []
    end = -1
    i = j = 0
    for block_i, block_j, length in blocks:
        if i < block_i or j < block_j:
            lead = min(context, i)
            if hunks and i - lead <= end:
                hunks[-1].lines += [(" ", line) for line in before[end:i]]
            else:
                hunks.append(Hunk(i - lead, j - lead, [(" ", line) for line in before[i - lead : i]]))
            hunks[-1].lines += [("-", line) for line in before[i:block_i]] + [("+", line) for line in after[j:block_j]]
            end = min(block_i + context, block_i + length)
            hunks[-1].lines += [(" ", line) for line in before[block_i:end]]
        i, j = block_i + length, block_j + length
    return hunks


def render(hunks: list[Hunk], before_name: str, after_name: str) -> str:
    """The diff as text; empty where there is no change."""
    if not hunks:
        return ""
    parts = [f"--- {before_name}\n", f"+++ {after_name}\n"]
    for hunk in hunks:
        old, new = len(hunk.side("-")), len(hunk.side("+"))
        parts.append(f"@@ -{_range(hunk.old_start, old)} +{_range(hunk.new_start, new)} @@\n")
        for sign, line in hunk.lines:
            parts.append(sign + line if line.endswith("\n") else f"{sign}{line}\n{NO_NEWLINE}\n")
    return "".join(parts)


def _range(start: int, count: int) -> str:
    # An empty side names the line before it, hence no 1 is added.
    first = start + 1 if count else start
    return str(first) if count == 1 else f"{first},{count}"


def read_patch(patch: list[str]) -> list[Hunk]:
    """The hunks of a patch for one file; prose around them is skipped as `patch` does."""
    hunks: list[Hunk] = []
    files = 0
    position = 0
    while position < len(patch):
        line = patch[position].rstrip("\r\n")
        header = _HEADER.match(line)
        if header:
            hunk, position = _read_hunk(patch, position + 1, header)
            hunks.append(hunk)
            if len(hunks) > MAX_HUNKS:
                raise Unfit(f"the patch has over {MAX_HUNKS} hunks")
            continue
        following = patch[position + 1] if position + 1 < len(patch) else ""
        if line.startswith("--- ") and following.startswith("+++ "):
            files += 1
            position += 1
        elif line.startswith("@@"):
            raise Unfit(f"line {position + 1} of the patch is not a hunk header: `{line[:60]}`")
        position += 1
    if files > 1:
        raise Unfit(f"the patch changes {files} files, give the part for one file")
    if not hunks:
        raise Unfit("the patch holds no hunk; a unified diff with `@@ -1,2 +1,2 @@` lines is expected")
    return hunks


def _read_hunk(patch: list[str], position: int, header: re.Match[str]) -> tuple[Hunk, int]:
    old_start, old_count, new_start, new_count = (
        int(header[index] or 1) if header[index] != "0" else 0 for index in range(1, 5)
    )
    hunk = Hunk(old_start - 1 if old_count else old_start, new_start - 1 if new_count else new_start)
    old, new = old_count, new_count
    while old or new or (position < len(patch) and patch[position].startswith("\\")):
        if position >= len(patch):
            raise Unfit(f"the patch ends inside a hunk: {old} old and {new} new lines are missing")
        line = patch[position]
        position += 1
        sign = line[:1]
        if sign == "\\" and hunk.lines:
            mark, text = hunk.lines[-1]
            hunk.lines[-1] = (mark, text.removesuffix("\n").removesuffix("\r"))
            continue
        # Editors strip the blank of an empty context line.
        if line in ("\n", "\r\n"):
            sign, line = " ", " " + line
        if sign not in (" ", "-", "+") or (sign != "+" and not old) or (sign != "-" and not new):
            raise Unfit(f"line {position} of the patch does not fit its hunk's header: `{line.rstrip()[:60]}`")
        old -= sign != "+"
        new -= sign != "-"
        body = line[1:]
        hunk.lines.append((sign, body if body.endswith("\n") else body + "\n"))
    return hunk, position
