"""Lays a chart out and draws it on a surface: pixels or SVG, the same calls."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Union

from chart import Chart
from font import ADVANCE, HEIGHT, readable, text_width
from raster import Canvas, Colour
from scales import Scale, fitted
from vector import Drawing

Surface = Union[Canvas, Drawing]

# Told apart by people who do not see all colours (after Okabe and Ito), and on both backgrounds.
PALETTE: tuple[Colour, ...] = (
    (0, 114, 178),
    (230, 120, 0),
    (0, 158, 115),
    (204, 80, 150),
    (86, 180, 233),
    (213, 60, 40),
    (150, 140, 30),
    (120, 94, 170),
    (110, 110, 110),
    (160, 90, 40),
    (20, 160, 170),
    (240, 160, 160),
)


@dataclass(frozen=True)
class Theme:
    """Colours beside those of the series."""

    background: Colour
    ink: Colour
    faint: Colour
    grid: Colour


LIGHT = Theme((255, 255, 255), (34, 34, 34), (100, 100, 100), (226, 226, 226))
DARK = Theme((28, 30, 34), (235, 235, 235), (170, 170, 170), (62, 65, 72))


@dataclass(frozen=True)
class Frame:
    """The plot's edges, its scales, and the size of the letters."""

    left: int
    top: int
    right: int
    bottom: int
    x: Scale
    y: Scale
    letters: int
    theme: Theme


def draw(chart: Chart, surface_type: type[Canvas] | type[Drawing]) -> Surface:
    """The whole picture."""
    theme = DARK if chart.dark else LIGHT
    surface = surface_type(chart.width, chart.height, theme.background)
    frame = _frame(chart, theme)
    _texts(surface, chart, frame)
    _axes(surface, chart, frame)
    {"line": _lines, "area": _lines, "bar": _bars, "scatter": _dots}[chart.kind](surface, chart, frame)
    zero = frame.y.at(min(max(0.0, frame.y.low), frame.y.high))
    surface.line(frame.left, zero, frame.right, zero, theme.faint, 1)
    return surface


def _frame(chart: Chart, theme: Theme) -> Frame:
    letters = 2 if chart.width >= 640 and chart.height >= 360 else 1
    row = (HEIGHT + 3) * letters
    named = [one.name for one in chart.series if one.name]
    top = 8 + row * (bool(chart.title) + bool(named)) + letters * 4
    bottom = chart.height - 8 - row * (1 + bool(chart.x_label)) - letters * 2
    count = max(2, (bottom - top) // (row * 2))
    y = fitted(_heights(chart), bottom, top, min(count, 8), chart.kind in ("bar", "area"))
    widest = max((text_width(y.label(tick), letters) for tick in y.ticks()), default=0)
    left = min(chart.width // 2, 10 + row * bool(chart.y_label) + widest + 4 * letters)
    # A number at the right end of the axis reaches past it.
    right = chart.width - 12 - (2 if chart.labels or chart.kind == "bar" else 2 * ADVANCE) * letters
    return Frame(left, top, right, bottom, _across(chart, left, right, letters), y, letters, theme)


def _heights(chart: Chart) -> list[float]:
    if not chart.stacked:
        return [y for one in chart.series for _, y in one.points if y is not None]
    longest = max(len(one.points) for one in chart.series)
    sums: list[float] = []
    for index in range(longest):
        column = [one.points[index][1] or 0.0 for one in chart.series if index < len(one.points)]
        sums += [sum(value for value in column if value > 0), sum(value for value in column if value < 0)]
    return sums


def _across(chart: Chart, left: int, right: int, letters: int) -> Scale:
    """The x axis: half a slot at either end for bars and labels, round ends for numbers."""
    longest = max(len(one.points) for one in chart.series)
    if chart.kind == "bar":
        return Scale(-0.5, longest - 0.5, left, right, 1.0)
    if chart.labels is not None:
        margin = 0.5 if longest == 1 else 0.25
        return Scale(-margin, longest - 1 + margin, left, right, 1.0)
    values = [x for one in chart.series for x, _ in one.points]
    return fitted(values, left, right, max(2, min(10, (right - left) // (ADVANCE * letters * 9))), False)


def _texts(surface: Surface, chart: Chart, frame: Frame) -> None:
    row = (HEIGHT + 3) * frame.letters
    at = 8 + row / 2
    ink, faint = frame.theme.ink, frame.theme.faint
    if chart.title:
        surface.text(
            chart.width / 2, at, _cut(chart.title, chart.width - 16, frame.letters), ink, frame.letters, "middle"
        )
        at += row
    _legend(surface, chart, frame, at)
    middle = (frame.left + frame.right) / 2
    if chart.x_label:
        text = _cut(chart.x_label, frame.right - frame.left, frame.letters)
        surface.text(middle, chart.height - 6 - row / 2, text, faint, frame.letters, "middle")
    if chart.y_label:
        text = _cut(chart.y_label, frame.bottom - frame.top, frame.letters)
        surface.text(6 + row / 2, (frame.top + frame.bottom) / 2, text, faint, frame.letters, "middle", upright=False)


def _legend(surface: Surface, chart: Chart, frame: Frame, at: float) -> None:
    """Names in one row, each cut to its share of it."""
    named = [(index, one.name) for index, one in enumerate(chart.series) if one.name]
    if not named:
        return
    mark = 5 * frame.letters
    room = (chart.width - 24) / len(named) - mark * 2.4
    shown = [(index, _cut(name, room, frame.letters)) for index, name in named]
    whole = sum(text_width(readable(name), frame.letters) + mark * 2.4 for _, name in shown)
    x = max(8.0, (chart.width - whole) / 2)
    for index, name in shown:
        surface.rect(x, at - mark / 2, mark, mark, PALETTE[index])
        surface.text(x + mark * 1.4, at, name, frame.theme.ink, frame.letters)
        x += text_width(readable(name), frame.letters) + mark * 2.4


def _cut(text: str, room: float, letters: int) -> str:
    most = max(1, int((room / letters + 1) // ADVANCE))
    return text if len(readable(text)) <= most else text[: max(1, most - 1)].rstrip() + "…"


def _axes(surface: Surface, chart: Chart, frame: Frame) -> None:
    theme, letters = frame.theme, frame.letters
    for tick in frame.y.ticks():
        height = round(frame.y.at(tick))
        surface.rect(frame.left, height, frame.right - frame.left, 1, theme.grid)
        surface.text(frame.left - 4 * letters, height, frame.y.label(tick), theme.faint, letters, "end")
    line = frame.bottom + (HEIGHT / 2 + 3) * letters
    if chart.labels is None and chart.kind != "bar":
        for tick in frame.x.ticks():
            across = round(frame.x.at(tick))
            surface.rect(across, frame.bottom, 1, 3 * letters, theme.faint)
            surface.text(across, line, frame.x.label(tick), theme.faint, letters, "middle")
        return
    count = max(len(one.points) for one in chart.series)
    labels = chart.labels or [str(index + 1) for index in range(count)]
    slot = (frame.right - frame.left) / count
    widest = max(text_width(readable(label), letters) for label in labels)
    # Names are shown whole where a few fit, else cut: at least eight letters of every so many.
    wanted = min(widest, 8 * ADVANCE * letters) + ADVANCE * letters
    every = max(1, math.ceil(wanted / slot))
    for index in range(0, count, every):
        across = min(max(frame.x.at(index), frame.left), frame.right)
        surface.text(
            across, line, _cut(labels[index], slot * every - ADVANCE * letters, letters), theme.faint, letters, "middle"
        )


def _lines(surface: Surface, chart: Chart, frame: Frame) -> None:
    """Lines with gaps; an area is filled down to zero, in columns a pixel wide."""
    for index, one in enumerate(chart.series):
        colour = PALETTE[index]
        placed = [(frame.x.at(x), None if y is None else frame.y.at(y)) for x, y in one.points]
        if chart.kind == "area":
            _fill(surface, placed, frame, colour)
        for number, (x, y) in enumerate(placed):
            if y is None:
                continue
            before = placed[number - 1][1] if number else None
            after = placed[number + 1][1] if number + 1 < len(placed) else None
            if before is not None:
                surface.line(placed[number - 1][0], before, x, y, colour, 1.2 * frame.letters)
            if (before is None and after is None) or len(placed) <= 30:
                surface.disc(x, y, 1.7 * frame.letters, colour)


def _fill(surface: Surface, placed: list[tuple[float, float | None]], frame: Frame, colour: Colour) -> None:
    paper = frame.theme.background
    pale = (
        round(paper[0] + (colour[0] - paper[0]) * 0.3),
        round(paper[1] + (colour[1] - paper[1]) * 0.3),
        round(paper[2] + (colour[2] - paper[2]) * 0.3),
    )
    ground = frame.y.at(0.0)
    for (x0, y0), (x1, y1) in zip(placed, placed[1:]):
        if y0 is None or y1 is None or x1 <= x0:
            continue
        for column in range(math.floor(x0), math.ceil(x1)):
            height = y0 + (y1 - y0) * min(1.0, max(0.0, (column + 0.5 - x0) / (x1 - x0)))
            surface.rect(column, min(height, ground), 1, abs(ground - height), pale)


def _bars(surface: Surface, chart: Chart, frame: Frame) -> None:
    """Bars side by side, or one on the other: up for positive values, down for negative ones."""
    count = max(len(one.points) for one in chart.series)
    slot = (frame.right - frame.left) / count
    side = 1 if chart.stacked else len(chart.series)
    width = max(1.0, slot * (0.6 if side == 1 else 0.8) / side)
    up, down = [0.0] * count, [0.0] * count
    for index, one in enumerate(chart.series):
        for number, (x, y) in enumerate(one.points):
            if not y:
                continue
            start = 0.0
            if chart.stacked:
                pile = up if y > 0 else down
                start, pile[number] = pile[number], pile[number] + y
            left = frame.x.at(x) - width * side / 2 + (0 if chart.stacked else index * width)
            top, bottom = sorted((frame.y.at(start), frame.y.at(start + y)))
            surface.rect(left, top, max(1.0, width - (1 if width > 4 else 0)), max(1.0, bottom - top), PALETTE[index])


def _dots(surface: Surface, chart: Chart, frame: Frame) -> None:
    """A disc a point."""
    for index, one in enumerate(chart.series):
        for x, y in one.points:
            if y is not None:
                surface.disc(frame.x.at(x), frame.y.at(y), 2.0 * frame.letters, PALETTE[index])
