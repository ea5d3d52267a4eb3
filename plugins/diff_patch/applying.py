"""Applies hunks to a text: at their place, else at the nearest place that fits, else with less context."""

from __future__ import annotations

from typing import Any

from lines import Unfit
from unified import Hunk


def apply_hunks(before: list[str], hunks: list[Hunk], fuzz: int) -> tuple[list[str], list[dict[str, Any]]]:
    """The changed lines, and for each hunk where it went. A hunk that fits nowhere refuses the whole patch."""
    alphabet: dict[str, str] = {}
    coded = "".join(_code(line, alphabet) for line in before)
    result: list[str] = []
    report: list[dict[str, Any]] = []
    done = drift = 0
    for number, hunk in enumerate(hunks, 1):
        place = _place(coded, hunk, alphabet, done, hunk.old_start + drift, fuzz)
        if place is None:
            raise Unfit(_nowhere(number, len(hunks), hunk, before))
        at, used, head, tail = place
        inner = hunk.lines[head : len(hunk.lines) - tail]
        result += before[done:at] + _changed(before, at, inner)
        done = at + sum(mark != "+" for mark, _ in inner)
        drift = at - head - hunk.old_start
        report.append({"hunk": number, "line": at - head + 1, "offset": drift, "fuzz": used})
    return result + before[done:], report


def _changed(before: list[str], at: int, inner: list[tuple[str, str]]) -> list[str]:
    """What a hunk leaves; context is taken from the text, which may end without a newline where the patch has one."""
    kept: list[str] = []
    for mark, line in inner:
        if mark == "+":
            kept.append(line)
            continue
        if mark == " ":
            kept.append(before[at])
        at += 1
    return kept


def _code(line: str, alphabet: dict[str, str]) -> str:
    """A character for each different line, so that a place is found by `str.find`. Line ends do not count, as in
    `patch`.
    """
    bare = line.rstrip("\r\n")
    if bare not in alphabet:
        # Above the surrogates there is room for more lines than a text may have.
        alphabet[bare] = chr(0x10000 + len(alphabet))
    return alphabet[bare]


def _place(
    coded: str, hunk: Hunk, alphabet: dict[str, str], done: int, wanted: int, fuzz: int
) -> tuple[int, int, int, int] | None:
    """Where the hunk's old lines lie at or after `done`, nearest to `wanted`: position, fuzz used, context lines cut at
    either end.
    """
    lead = next((index for index, (mark, _) in enumerate(hunk.lines) if mark != " "), 0)
    trail = next((index for index, (mark, _) in enumerate(reversed(hunk.lines)) if mark != " "), 0)
    for used in range(fuzz + 1):
        head, tail = min(used, lead), min(used, trail)
        if used and (head, tail) == (min(used - 1, lead), min(used - 1, trail)):
            break
        old = Hunk(0, 0, hunk.lines[head : len(hunk.lines) - tail]).side("-")
        if not old:
            # Nothing to look for: an insertion goes where it says, which must exist.
            at = max(done, wanted + head)
            return (at, used, head, tail) if at <= len(coded) else None
        at = _nearest(coded, "".join(_code(line, alphabet) for line in old), done, wanted + head)
        if at is not None:
            return at, used, head, tail
    return None


def _nearest(coded: str, old: str, done: int, wanted: int) -> int | None:
    wanted = max(wanted, done)
    after = coded.find(old, wanted)
    before = coded.rfind(old, done, wanted + len(old))
    if after < 0 or before < 0:
        return after if after >= 0 else before if before >= 0 else None
    return after if after - wanted <= wanted - before else before


def _nowhere(number: int, count: int, hunk: Hunk, before: list[str]) -> str:
    line = hunk.old_start + 1
    found = before[hunk.old_start].rstrip()[:60] if 0 <= hunk.old_start < len(before) else "the end of the text"
    wanted = next((text.rstrip()[:60] for text in hunk.side("-")), "")
    return (
        f"hunk {number} of {count} does not fit: line {line} is expected to be `{wanted}`, found `{found}`; "
        "nothing was changed"
    )
