"""The tools: functions that take `inputs` and `context`."""

from __future__ import annotations

from typing import Any, Callable

from applying import apply_hunks
from lines import MAX_PATCH_CHARACTERS, MAX_PATCH_LINES, Unfit, matching_blocks, split_lines
from merging import PREFERENCES, STYLES, regions
from merging import render as render_merge
from unified import hunks_of, read_patch, render

MAX_NAME = 200

Function = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]


def _tool(act: Callable[[dict[str, Any]], dict[str, Any]]) -> Function:
    """The envelope of the contract around a function of plain arguments."""

    def execute_plugin(inputs: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"success": True, "outputs": act({name: given["value"] for name, given in inputs.items()})}
        except Unfit as error:
            return {"success": False, "error": str(error)}

    return execute_plugin


def _name(args: dict[str, Any], key: str, default: str) -> str:
    name = args.get(key, default)
    if not isinstance(name, str) or len(name) > MAX_NAME or not name.isprintable():
        raise Unfit(f"`{key}` must be at most {MAX_NAME} printable characters")
    return name


def _choice(args: dict[str, Any], key: str, choices: tuple[str, ...]) -> str:
    choice = args.get(key, choices[0])
    if choice not in choices:
        raise Unfit(f"`{key}` must be one of {', '.join(choices)}")
    return str(choice)


def _count(args: dict[str, Any], key: str, default: int, most: int) -> int:
    count = args.get(key, default)
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= most:
        raise Unfit(f"`{key}` must be 0 to {most}")
    return count


def _diff(args: dict[str, Any]) -> dict[str, Any]:
    before, after = split_lines(args.get("before"), "before"), split_lines(args.get("after"), "after")
    blocks = matching_blocks(before, after)
    hunks = hunks_of(before, after, blocks, _count(args, "context_lines", 3, 100))
    kept = sum(length for _, _, length in blocks)
    return {
        "diff": render(hunks, _name(args, "before_name", "before"), _name(args, "after_name", "after")),
        "identical": not hunks,
        "added": len(after) - kept,
        "removed": len(before) - kept,
        "hunks": len(hunks),
    }


def _apply(args: dict[str, Any]) -> dict[str, Any]:
    hunks = read_patch(split_lines(args.get("patch"), "patch", (MAX_PATCH_CHARACTERS, MAX_PATCH_LINES)))
    if args.get("reverse", False):
        hunks = [hunk.reversed() for hunk in hunks]
    lines, report = apply_hunks(split_lines(args.get("text"), "text"), hunks, _count(args, "fuzz", 2, 3))
    return {"text": "".join(lines), "hunks": report}


def _merge(args: dict[str, Any]) -> dict[str, Any]:
    base, ours, theirs = (split_lines(args.get(key), key) for key in ("base", "ours", "theirs"))
    names = _name(args, "ours_name", "ours"), _name(args, "theirs_name", "theirs")
    style, prefer = _choice(args, "style", STYLES), _choice(args, "prefer", PREFERENCES)
    text, conflicts = render_merge(regions(base, ours, theirs), names, style, prefer)
    return {"text": text, "clean": conflicts == 0, "conflicts": conflicts}


unified_diff = _tool(_diff)
apply_patch = _tool(_apply)
merge_texts = _tool(_merge)
