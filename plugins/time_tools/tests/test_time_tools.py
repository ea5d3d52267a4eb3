"""time_tools: golden examples, clock changes, calendar edges checked against a slow count, and unreadable input."""

from __future__ import annotations

import random
import time
from datetime import date, datetime, timedelta

import pytest


def test_example(plugin, example):
    plugin.check_example(*example)


def test_current_time_is_now(plugin):
    before = int(time.time())
    found = plugin.call("current_time", {"zones": ["utc", "Asia/Tokyo", "+05:30", "new york"]})
    assert before <= found["unix"] <= int(time.time())
    assert [datetime.fromisoformat(entry["time"]).timestamp() for entry in found["times"]] == [found["unix"]] * 4
    assert found["times"][2]["utc_offset"] == "+05:30"


def test_repeated_time_means_the_first_and_says_so(plugin):
    found = plugin.call("convert_time", {"time": "2026-10-25T02:30", "from_zone": "Europe/Berlin", "to_zones": ["UTC"]})
    assert found["to"][0]["time"] == "2026-10-25T00:30:00+00:00" and "twice" in found["note"]
    found = plugin.call("convert_time", {"time": "2026-10-25T02:30+01:00", "to_zones": ["UTC", "berlin"]})
    assert found["to"][0]["time"] == "2026-10-25T01:30:00+00:00" and "note" not in found
    assert found["to"][1]["abbreviation"] == "CET"


@pytest.mark.parametrize(
    ("args", "result"),
    [
        ({"start": "2024-02-29", "years": 1}, "2025-02-28"),
        ({"start": "2026-03-31", "months": -1}, "2026-02-28"),
        ({"start": "2026-12-31", "days": 1}, "2027-01-01"),
        ({"start": "2026-01-01", "weeks": 2, "days": -1}, "2026-01-14"),
        ({"start": "2026-01-01", "minutes": -1}, "2025-12-31T23:59:00"),
        ({"start": "2026-01-01T10:00Z", "hours": 3}, "2026-01-01T13:00:00+00:00"),
        ({"start": "2026-03-28T12:00", "zone": "Europe/Paris", "days": 1}, "2026-03-29T12:00:00+02:00"),
        ({"start": "2026-03-28T11:00Z", "zone": "Europe/Paris", "days": 1}, "2026-03-29T12:00:00+02:00"),
        ({"start": "2026-03-28T02:30", "zone": "Europe/Paris", "days": 1}, "2026-03-29T03:30:00+02:00"),
        ({"start": "0001-02-01", "months": -1}, "0001-01-01"),
        ({"start": "2026-01-01T00:00:00.25", "seconds": 1}, "2026-01-01T00:00:01.250000"),
    ],
)
def test_adds(plugin, args, result):
    assert plugin.call("add_to_date", args)["result"] == result


@pytest.mark.parametrize(
    ("start", "end", "direction", "days", "calendar"),
    [
        ("2026-01-31", "2026-02-28", "forward", 28, (0, 0, 28)),
        ("2026-01-31", "2026-03-01", "forward", 29, (0, 1, 1)),
        ("2026-03-01", "2026-01-31", "backward", 29, (0, 1, 1)),
        ("2026-01-01", "2026-01-01", "none", 0, (0, 0, 0)),
        ("2000-01-01", "2026-01-01", "forward", 9497, (26, 0, 0)),
        ("2026-01-01T12:00", "2026-02-01T11:00", "forward", 30, (0, 0, 30)),
        ("2026-01-01T12:00+02:00", "2026-01-01T10:00Z", "none", 0, (0, 0, 0)),
        ("0001-01-01", "9999-12-31", "forward", 3652058, (9998, 11, 30)),
    ],
)
def test_differs(plugin, start, end, direction, days, calendar):
    found = plugin.call("date_difference", {"start": start, "end": end})
    assert (found["direction"], found["total_days"]) == (direction, days)
    assert tuple(found["calendar"].values()) == calendar


def test_business_days_agree_with_a_slow_count(plugin):
    workdays = plugin.module("workdays")
    randomness = random.Random(7)
    for _ in range(300):
        weekend = randomness.sample(workdays.DAYS, randomness.randint(0, 3))
        start = date(2020, 1, 1) + timedelta(days=randomness.randint(0, 3000))
        end = start + timedelta(days=randomness.randint(0, 90))
        holidays = [(start + timedelta(days=randomness.randint(-5, 95))).isoformat() for _ in range(5)]
        week = workdays.Week(weekend, holidays)
        worked = [start + timedelta(days=step) for step in range((end - start).days + 1)]
        worked = [
            when for when in worked if workdays.DAYS[when.weekday()] not in weekend and when.isoformat() not in holidays
        ]
        assert week.between(start, end) == len(worked)
        if worked and worked[0] == start:
            assert week.step(start, len(worked) - 1) == worked[-1]
            assert week.step(worked[-1], 1 - len(worked)) == start


def test_business_days_count_either_way_and_skip_holidays(plugin):
    forward = plugin.call(
        "business_days", {"start": "2026-05-01", "end": "2026-05-08", "holidays": ["2026-05-01", "2026-05-02"]}
    )
    assert forward == {"business_days": 5, "calendar_days": 8, "holidays_skipped": ["2026-05-01"]}
    backward = plugin.call(
        "business_days", {"start": "2026-05-08", "end": "2026-05-01", "holidays": ["2026-05-01", "2026-05-02"]}
    )
    assert backward == forward
    assert plugin.call("business_days", {"start": "2026-05-02", "add": 0})["date"] == "2026-05-04"
    assert (
        plugin.call("business_days", {"start": "2026-05-01", "add": 1, "weekend": ["friday", "saturday"]})["date"]
        == "2026-05-03"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Europe/Lndon", "Europe/London"),
        ("Mars/Base", "not known"),
        ("../../etc/passwd", "must be an IANA name"),
        ("/etc/passwd", "not known"),
        ("a\0b", "must be"),
        ("", "must be"),
        ("+15:00", "not an offset"),
        ("+01:99", "not an offset"),
        ("x" * 65, "must be"),
    ],
)
def test_unknown_zones_get_a_message(plugin, failed, name, words):
    with pytest.raises(failed, match=words):
        plugin.call_unchecked("convert_time", {"time": "2026-01-01T00:00", "from_zone": "UTC", "to_zones": [name]})


@pytest.mark.parametrize(
    "name",
    [
        "Europe/London",
        "europe/london",
        "LONDON",
        "Sao Paulo",
        "UTC+2",
        "-0330",
        "gmt",
        "Z",
        "America/Argentina/Ushuaia",
    ],
)
def test_zones_are_found(plugin, name):
    assert plugin.call("convert_time", {"time": "2026-01-01T00:00Z", "to_zones": [name]})["to"][0]["zone"] == name


@pytest.mark.parametrize(
    "text",
    [
        "tomorrow",
        "2026-02-30",
        "2026-1-1",
        "20260101",
        "2026-01-01T25:00",
        "2026-W01-1",
        "٢٠٢٦-01-01",
        "2026-01-01T00:00+99:00",
        "0000-01-01",
        "1" * 64,
        "2026-01-01T00:00:00.1234567",
    ],
)
def test_unreadable_times_get_a_message(plugin, failed, text):
    with pytest.raises(failed, match="ISO 8601"):
        plugin.call_unchecked("date_difference", {"start": text, "end": "2026-01-01"})


@pytest.mark.parametrize(
    ("tool", "args"),
    [
        ("add_to_date", {"start": "9999-12-31", "days": 1}),
        ("add_to_date", {"start": "9999-12-31", "years": 10_000}),
        ("add_to_date", {"start": "0001-01-01", "months": -1}),
        ("add_to_date", {"start": "9999-12-31T23:59Z", "hours": 1}),
        ("add_to_date", {"start": "9999-12-31T23:59", "zone": "-14:00", "hours": 1}),
        ("convert_time", {"time": "9999-12-31T23:59", "from_zone": "-14:00", "to_zones": ["+14:00"]}),
        ("convert_time", {"time": "0001-01-01T00:00", "from_zone": "+14:00", "to_zones": ["Europe/Paris"]}),
        ("convert_time", {"time": "2026-01-01T00:00", "to_zones": ["UTC"]}),
        ("business_days", {"start": "9999-12-30", "add": 10}),
        ("business_days", {"start": "2026-01-01"}),
        ("business_days", {"start": "2026-01-01", "end": "2026-01-02", "add": 1}),
        ("business_days", {"start": "2026-01-01", "end": "2026-13-02"}),
        ("date_difference", {"start": "2026-01-01", "end": "2026-01-01T00:00Z"}),
    ],
)
def test_edges_of_the_calendar_get_a_message(plugin, failed, tool, args):
    with pytest.raises(failed) as caught:
        plugin.call(tool, args)
    assert isinstance(caught.value.__cause__, plugin.module("moments").Unreadable)


def test_large_amounts_are_bounded(plugin, failed, refused):
    with pytest.raises(refused):
        plugin.call("add_to_date", {"start": "2026-01-01", "days": 10**7})
    for amounts in ({"days": 10**400}, {"hours": 1.5}, {"hours": True}):
        with pytest.raises(failed, match="whole number"):
            plugin.call_unchecked("add_to_date", {"start": "2026-01-01", **amounts})
    with pytest.raises(failed, match="at most"):
        plugin.call_unchecked("business_days", {"start": "2026-01-01", "add": 10**9})
    with pytest.raises(failed, match="at most six"):
        plugin.call_unchecked(
            "business_days", {"start": "2026-01-01", "add": 1, "weekend": list(plugin.module("workdays").DAYS)}
        )
    started = time.process_time()
    plugin.call("business_days", {"start": "2026-01-01", "add": 100_000})
    assert plugin.call("business_days", {"start": "0001-01-01", "end": "9999-12-31"})["business_days"] == 2608615
    assert time.process_time() - started < 2
