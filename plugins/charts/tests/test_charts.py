"""charts: pictures are decoded and looked at, point by point; SVG is parsed; axes are checked; numbers and texts made
to hurt.
"""

from __future__ import annotations

import math
import random
import struct
import time
import xml.etree.ElementTree as ElementTree
import zlib

import pytest

BLUE, ORANGE, GREEN = (0, 114, 178), (230, 120, 0), (0, 158, 115)


def test_example(plugin, example):
    tool, given = example
    result = plugin.call(tool, given["args"])
    if "result" in given:
        assert result == given["result"]
    else:
        assert result["type"] == "image" and result["media_type"] == "image/png"
        decode(result["data"])


def decode(data):
    """Width, height and a function from `(x, y)` to a colour; checks every checksum. Knows the filters that the writer
    uses.
    """
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, body, kinds = 8, b"", []
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + content)
        kinds.append(kind)
        if kind == b"IHDR":
            width, height, *rest = struct.unpack(">IIBBBBB", content)
            assert rest == [8, 2, 0, 0, 0]
        body += content if kind == b"IDAT" else b""
        at += 12 + length
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]
    raw = zlib.decompress(body)
    stride = width * 3
    assert len(raw) == (stride + 1) * height
    rows, before = [], bytes(stride)
    for start in range(0, len(raw), stride + 1):
        assert raw[start] == 2
        before = bytes((delta + old) & 255 for delta, old in zip(raw[start + 1 : start + 1 + stride], before))
        rows.append(before)
    return width, height, lambda x, y: tuple(rows[y][3 * x : 3 * x + 3])


def draw(plugin, **args):
    return decode(plugin.call("draw_chart", args)["data"])


def area_of(picture, colour):
    width, height, at = picture
    return sum(at(x, y) == colour for x in range(width) for y in range(height))


def test_bars_are_as_high_as_their_values(plugin):
    picture = draw(plugin, kind="bar", series=[{"values": [10, 20, 40]}])
    width, height, at = picture
    columns = [sum(at(x, y) == BLUE for y in range(height)) for x in range(width)]
    heights = sorted(set(columns) - {0})
    assert len(heights) == 3
    assert heights[1] / heights[0] == pytest.approx(2, rel=0.03) and heights[2] / heights[0] == pytest.approx(
        4, rel=0.03
    )


def test_stacked_bars_add_up_and_negative_ones_hang(plugin):
    picture = draw(plugin, kind="bar", series=[{"values": [30]}, {"values": [10]}, {"values": [-20]}], stacked=True)
    areas = [area_of(picture, colour) for colour in (BLUE, ORANGE, GREEN)]
    assert areas[0] / areas[1] == pytest.approx(3, rel=0.05) and areas[2] / areas[1] == pytest.approx(2, rel=0.05)
    width, height, at = picture
    rows = {colour: [y for y in range(height) if at(width // 2, y) == colour] for colour in (BLUE, ORANGE, GREEN)}
    assert max(rows[ORANGE]) < min(rows[BLUE]) and max(rows[BLUE]) < min(rows[GREEN])


def test_a_gap_splits_a_line(plugin):
    whole = area_of(draw(plugin, kind="line", series=[{"values": [1, 2, 3, 4, 5]}]), BLUE)
    broken = area_of(draw(plugin, kind="line", series=[{"values": [1, 2, None, 4, 5]}]), BLUE)
    assert 0.4 * whole < broken < 0.7 * whole


def test_lines_are_smooth_and_go_where_they_should(plugin):
    raster = plugin.module("raster")
    canvas = raster.Canvas(40, 40, (255, 255, 255))
    canvas.line(5, 5, 35, 16.3, (0, 0, 0), 2)
    covered = sum(255 - canvas.pixels[index] for index in range(0, len(canvas.pixels), 3)) / 255
    assert covered == pytest.approx(2 * math.hypot(30, 11.3), rel=0.08)
    assert len(set(canvas.pixels)) > 10
    for ends in ((-1e6, -1e6, 1e6, 1e6), (20, -1e9, 20, 1e9), (7, 7, 7, 7)):
        canvas.line(*ends, (9, 9, 9), 3)


def test_themes_sizes_and_texts_show(plugin):
    args = {"kind": "line", "series": [{"values": [1, 2]}], "width": 300, "height": 200}
    light, dark = draw(plugin, **args), draw(plugin, **args, theme="dark")
    assert light[:2] == dark[:2] == (300, 200)
    assert light[2](0, 0) == (255, 255, 255) and dark[2](0, 0) == (28, 30, 34)
    ink = (34, 34, 34)
    assert area_of(light, ink) == 0 < area_of(draw(plugin, **args, title="Title"), ink)


def test_svg_is_well_formed_and_escaped(plugin):
    texts = {"title": "<script>&\"'\x07\u202e", "x_label": "日本語", "y_label": "]]>"}
    for kind, series in (
        ("bar", {"values": [1, -2]}),
        ("scatter", {"points": [[0, 1]]}),
        ("area", {"values": [1, 2, 3]}),
    ):
        svg = plugin.call("draw_chart", {"kind": kind, "series": [{"name": "<b>", **series}], "format": "svg", **texts})
        root = ElementTree.fromstring(svg)
        found = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        assert "<script>&\"'" in found and "日本語" in found and "<b>" in found
        assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0, 10], ["0", "2", "4", "6", "8", "10"]),
        ([0.001, 0.002], ["0.001", "0.0012", "0.0014", "0.0016", "0.0018", "0.002"]),
        ([0, 1_200_000], ["0", "0.25M", "0.5M", "0.75M", "1M", "1.25M"]),
        ([-50, 50], ["-60", "-40", "-20", "0", "20", "40", "60"]),
        ([7, 7], ["3", "4", "5", "6", "7", "8", "9", "10", "11"]),
        ([0, 0], None),
    ],
)
def test_ticks_are_round(plugin, values, ticks):
    scale = plugin.module("scales").fitted([float(value) for value in values], 0, 100, 5, False)
    found = [scale.label(tick) for tick in scale.ticks()]
    assert scale.low <= min(values) and scale.high >= max(values)
    if ticks and values != [7, 7]:
        assert found == ticks
    assert 2 <= len(found) <= 12


def test_scales_hold_any_values(plugin):
    scales = plugin.module("scales")
    randomness = random.Random(3)
    for _ in range(2000):
        values = [
            randomness.uniform(-1, 1) * 10 ** randomness.uniform(-199, 15) for _ in range(randomness.randint(1, 5))
        ]
        scale = scales.fitted(values, 0, 500, randomness.randint(1, 10), randomness.random() < 0.5)
        assert all(-1 <= scale.at(value) <= 501 for value in values)
        assert all(len(scale.label(tick)) <= 24 for tick in scale.ticks()) and len(scale.ticks()) <= 50


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"kind": "pie"}, "kind"),
        ({"series": []}, "1 to 12"),
        ({"series": [{"values": [1]}] * 13}, "1 to 12"),
        ({"series": [{}]}, "either"),
        ({"series": [{"values": [1], "points": [[1, 2]]}]}, "either"),
        ({"series": [{"values": []}]}, "no value"),
        ({"series": [{"values": [None]}]}, "no value"),
        ({"series": [{"values": [float("nan")]}]}, "numbers between"),
        ({"series": [{"values": [float("inf")]}]}, "numbers between"),
        ({"series": [{"values": [10**400]}]}, "numbers between"),
        ({"series": [{"values": ["1"]}]}, "numbers between"),
        ({"series": [{"values": [True]}]}, "numbers between"),
        ({"series": [{"values": [1] * 5001}]}, "at most 5000"),
        ({"series": [{"values": [1] * 5000}] * 3}, "at most 10000"),
        ({"series": [{"points": [[1, 2, 3]]}]}, "pair"),
        ({"series": [{"points": [[1, None]]}]}, "numbers between"),
        ({"kind": "scatter"}, "needs `points`"),
        ({"kind": "bar", "series": [{"points": [[1, 2]]}]}, "needs `values`"),
        ({"labels": ["a"]}, "1 entries for 2 values"),
        ({"kind": "scatter", "series": [{"points": [[1, 2]]}], "labels": ["a"]}, "no `labels`"),
        ({"stacked": True}, "stacked"),
        ({"width": 10**9}, "width"),
        ({"height": 1.5}, "height"),
        ({"title": "x" * 201}, "title"),
        ({"format": "gif"}, "format"),
    ],
)
def test_unfit_requests_get_a_message(plugin, failed, args, words):
    with pytest.raises(failed, match=words):
        plugin.call_unchecked("draw_chart", {"kind": "line", "series": [{"values": [1, 2]}], **args})


@pytest.mark.parametrize("kind", ["line", "area", "bar", "scatter"])
def test_the_largest_pictures_end_in_time(plugin, kind):
    randomness = random.Random(1)
    if kind == "scatter":
        series = [{"points": [[randomness.random(), randomness.random()] for _ in range(5000)]} for _ in range(2)]
    else:
        series = [{"values": [number % 2 for number in range(5000)]} for _ in range(2)]
    started = time.process_time()
    width, height, _ = draw(plugin, kind=kind, series=series, width=1600, height=1200)
    assert (width, height) == (1600, 1200) and time.process_time() - started < 25


@pytest.mark.parametrize(
    "series",
    [
        [{"values": [5]}],
        [{"values": [1e15, -1e15]}],
        [{"values": [1e-300, 2e-300]}],
        [{"values": [1e15 - 1, 1e15]}],
        [{"points": [[0, 0], [0, 0]]}],
        [{"values": [1]}, {"values": [1, 2, 3]}],
        [{"name": "n" * 200, "values": [1]}] * 12,
    ],
    ids=range(7),
)
@pytest.mark.parametrize(("width", "height"), [(200, 150), (800, 480)])
def test_odd_data_still_draws(plugin, series, width, height):
    for kind in ("line", "area", "bar") if "values" in series[0] else ("line", "scatter", "area"):
        draw(
            plugin,
            kind=kind,
            series=series,
            width=width,
            height=height,
            title="t" * 200,
            x_label="x" * 200,
            y_label="y" * 200,
        )


def test_every_glyph_is_whole_and_different(plugin):
    font = plugin.module("font")
    assert all(len(rows) == 16 and int(rows, 16) >> 5 == int(rows, 16) // 32 for rows in font._GLYPHS.values())
    assert {chr(code) for code in range(32, 127)} <= font._GLYPHS.keys()
    assert all(int(rows[index : index + 2], 16) < 32 for rows in font._GLYPHS.values() for index in range(0, 16, 2))
    shapes = [rows for character, rows in font._GLYPHS.items() if character not in "—–-"]
    assert len(set(shapes)) >= len(shapes) - 2
    assert font.readable("Müller – Ωé\u0301") == "Muller – \0e"
