"""What a chart is: the checked request."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

KINDS = ("line", "bar", "scatter", "area")
MAX_SERIES = 12
MAX_POINTS = 5_000
MAX_ALL_POINTS = 10_000
MAX_TEXT = 200
# Above it a float has no room left for an axis around it.
MAX_VALUE = 1e15


class Unfit(ValueError):
    """What the caller can mend; the message is safe to show."""


@dataclass(frozen=True)
class Series:
    """One set of points; a gap is a y of None."""

    name: str
    points: list[tuple[float, float | None]]


@dataclass(frozen=True)
class Chart:
    """A request that can be drawn."""

    kind: str
    series: list[Series]
    labels: list[str] | None
    title: str
    x_label: str
    y_label: str
    width: int
    height: int
    dark: bool
    stacked: bool

    @classmethod
    def of(cls, args: dict[str, Any]) -> Chart:
        """Checks everything again: the schema is the host's, this code may run elsewhere."""
        kind = args.get("kind")
        if kind not in KINDS:
            raise Unfit(f"`kind` must be one of {', '.join(KINDS)}")
        given = args.get("series")
        if not isinstance(given, list) or not 1 <= len(given) <= MAX_SERIES:
            raise Unfit(f"`series` must hold 1 to {MAX_SERIES} series")
        series = [_series(entry, number, kind) for number, entry in enumerate(given, 1)]
        total = sum(len(one.points) for one in series)
        if total > MAX_ALL_POINTS:
            raise Unfit(f"the series hold {total} points, at most {MAX_ALL_POINTS} are drawn")
        if not any(y is not None for one in series for _, y in one.points):
            raise Unfit("there is no value to draw")
        stacked = bool(args.get("stacked", False))
        if stacked and kind != "bar":
            raise Unfit("only a bar chart can be `stacked`")
        return cls(
            kind,
            series,
            _labels(args.get("labels"), series, kind),
            *(_text(args.get(name, ""), name) for name in ("title", "x_label", "y_label")),
            _size(args.get("width", 800), "width", 200, 1600),
            _size(args.get("height", 480), "height", 150, 1200),
            args.get("theme", "light") == "dark",
            stacked,
        )


def _series(entry: Any, number: int, kind: str) -> Series:
    if not isinstance(entry, dict):
        raise Unfit(f"series {number} must be an object")
    values, points = entry.get("values"), entry.get("points")
    if (values is None) == (points is None):
        raise Unfit(f"series {number} must have either `values` or `points`")
    if kind == "scatter" and points is None:
        raise Unfit("a scatter chart needs `points`, pairs of x and y")
    if kind == "bar" and values is None:
        raise Unfit("a bar chart needs `values`, one a label")
    listed = values if points is None else points
    if not isinstance(listed, list) or len(listed) > MAX_POINTS:
        raise Unfit(f"series {number} must be a list of at most {MAX_POINTS} points")
    name = _text(entry.get("name", ""), f"name of series {number}")
    if points is None:
        return Series(
            name, [(float(index), None if value is None else _number(value)) for index, value in enumerate(listed)]
        )
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in listed):
        raise Unfit(f"series {number}: each point must be a pair [x, y]")
    return Series(name, [(_number(x), _number(y)) for x, y in listed])


def _number(value: Any) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not -MAX_VALUE <= value <= MAX_VALUE
        or math.isnan(value)
    ):
        raise Unfit(f"values must be numbers between -{MAX_VALUE:g} and {MAX_VALUE:g}")
    # A value this small would make an axis step that underflows.
    return 0.0 if abs(value) < 1e-200 else float(value)


def _labels(labels: Any, series: list[Series], kind: str) -> list[str] | None:
    if labels is None:
        return None
    longest = max(len(one.points) for one in series)
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise Unfit("`labels` must be a list of texts")
    if kind == "scatter":
        raise Unfit("a scatter chart has no `labels`")
    if len(labels) != longest:
        raise Unfit(f"`labels` has {len(labels)} entries for {longest} values")
    return [_text(label, "label") for label in labels]


def _text(text: Any, name: str) -> str:
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise Unfit(f"`{name}` must be a text of at most {MAX_TEXT} characters")
    return " ".join(text.split())


def _size(value: Any, name: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Unfit(f"`{name}` must be {least} to {most}")
    return value
