"""units: golden examples, known conversions, dimensions that must not mix, and numbers and expressions made to hurt."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest


def test_example(plugin, example):
    plugin.check_example(*example)


@pytest.fixture
def convert(plugin):
    script = plugin.module("convert_units")
    return lambda value, source, target, **more: script.answer(
        {"value": value, "from_unit": source, "to_unit": target, **more}
    )


@pytest.mark.parametrize(
    ("value", "source", "target", "result"),
    [
        (1, "in", "mm", 25.4),
        (0.1, "inches", "mm", 2.54),
        (1, "mile", "feet", 5280),
        (100, "°C", "°F", 212),
        (-40, "celsius", "fahrenheit", -40),
        (0, "K", "degC", -273.15),
        (1, "kWh", "MJ", 3.6),
        (1, "hp", "W", 745.6998716),
        (1, "atm", "psi", 14.69594878),
        (30, "psi", "bar", 2.068427188),
        (1, "gallon", "litre", 3.785411784),
        (2, "cups", "ml", 473.176473),
        (1, "acre", "m^2", 4046.856422),
        (1, "square mile", "ha", 258.9988110),
        (1, "cubic foot", "L", 28.31684659),
        (100, "Mbps", "MB/s", 12.5),
        (100, "Mbit/s", "MB/s", 12.5),
        (1, "TiB", "GB", 1099.511628),
        (1, "kg*m^2/s^2", "J", 1),
        (1, "kg·m²·s⁻²", "J", 1),
        (9.80665, "m/s/s", "g0", 1),
        (1, "N/m2", "Pa", 1),
        (1, "V*A", "W", 1),
        (1, "Ω*A", "V", 1),
        (3000, "rpm", "rad/s", 314.1592654),
        (180, "deg", "rad", 3.141592654),
        (30, "mpg", "L/100km", 7.84048611111),
        (5, "L/100km", "mpg", 47.0429166667),
        (1, "1/s", "Hz", 1),
        (1, "µm", "nm", 1000),
        (1, "um", "nm", 1000),
        (1, "kilometres per hour", "m/s", 0.2777777778),
        (1, "min", "s", 60),
        (1, "cd", "cd", 1),
        (1, "dam", "m", 10),
        (70, "kg", "st", 11.02311311),
        (1, "ly", "km", 9460730472581),
        (2, "microseconds", "ns", 2000),
        (1, "MEGABYTE", "kB", 1000),
    ],
)
def test_converts(convert, value, source, target, result):
    assert convert(value, source, target)["value"] == pytest.approx(result, rel=1e-9)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("m", "s"),
        ("kg", "N"),
        ("°C", "m"),
        ("rpm", "Hz"),
        ("MB", "m"),
        ("m", "m^2"),
        ("J", "W"),
        ("1", "m"),
        ("rad", "1/rad*m"),
    ],
)
def test_refuses_other_dimensions(plugin, failed, source, target):
    with pytest.raises(failed, match="the dimensions differ"):
        plugin.call("convert_units", {"value": 1, "from_unit": source, "to_unit": target})


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("metrr", "did you mean"),
        ("Kb", "did you mean"),
        ("", "1 to 80"),
        ("m" * 81, "1 to 80"),
        ("m^99", "exponent"),
        ("m^0", "exponent"),
        ("m^-", "unexpected"),
        ("m//s", "without a unit"),
        ("*m", "without a unit"),
        ("m/", "ends without"),
        ("°C/s", "zero of its own"),
        ("m+s", "unexpected"),
        ("__import__", "not known"),
        ("m m m m m m m m m m m m m", "at most 12"),
        ("2 m", "unexpected"),
        ("m\x00", "unexpected"),
    ],
)
def test_unreadable_expressions_get_a_message(plugin, expression, words):
    expressions = plugin.module("expressions")
    with pytest.raises(expressions.UnitError, match=words):
        expressions.parse(expression)


def test_prefixes_never_hide_a_plain_unit(plugin):
    expressions, table = plugin.module("expressions"), plugin.module("unit_table")
    for symbol, names, quantity, size, _ in table.UNITS:
        for word in (symbol, *names.split()):
            unit = expressions.parse(word)
            assert (unit.size, unit.quantity()) == (expressions.fraction(size), quantity), word


def test_every_unit_converts_to_itself_and_within_its_quantity(convert, plugin):
    by_quantity: dict[str, str] = {}
    for symbol, _, quantity, _, _ in plugin.module("unit_table").UNITS:
        first = by_quantity.setdefault(quantity, symbol)
        there = convert(7.25, symbol, first, digits=15)["value"]
        assert convert(there, first, symbol, digits=15)["value"] == pytest.approx(7.25, rel=1e-12)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (10**5000, "must lie"),
        (-(10**5000), "must lie"),
        (1e308, "must lie"),
        (float("nan"), "must lie"),
        (float("inf"), "must lie"),
        ("5", "must be a number"),
        (True, "must be a number"),
        (None, "must be a number"),
        ([1], "must be a number"),
    ],
    ids=range(9),
)
def test_hurtful_numbers_get_a_message(convert, plugin, value, words):
    started = time.process_time()
    with pytest.raises(Exception, match=words) as caught:
        convert(value, "m", "km")
    assert type(caught.value).__name__ == "UnitError" and time.process_time() - started < 1


def test_results_out_of_range_get_a_message(convert):
    with pytest.raises(Exception, match="too large"):
        convert(1e200, "Qm^9", "fm^9")
    with pytest.raises(Exception, match="too small"):
        convert(1e-200, "fm^9", "Qm^9")
    with pytest.raises(Exception, match="zero has no reciprocal"):
        convert(0, "mpg", "L/100km")


def test_digits_round(convert):
    assert convert(1, "mi", "km", digits=2)["value"] == 1.6
    assert convert(1 / 3, "m", "m", digits=15)["value"] == 0.333333333333333
    assert convert(123456789, "m", "m", digits=3)["value"] == 123000000


def test_lists_the_units_of_every_quantity_of_the_schema(plugin):
    quantities = plugin.call("list_units", {})["quantities"]
    assert quantities == plugin.tools["list_units"]["args_schema"]["properties"]["quantity"]["enum"]
    script = plugin.module("list_units")
    assert all(script.answer({"quantity": quantity})["units"] for quantity in quantities)
    assert script.answer({"quantity": "taste"})["success"] is False


def test_script_reads_stdin_and_prints_one_document(plugin):
    done = subprocess.run(
        [sys.executable, "-B", str(plugin.root / "convert_units.py")],
        input=json.dumps({"value": 1, "from_unit": "m", "to_unit": "s"}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["success"] is False and done.stderr == ""
