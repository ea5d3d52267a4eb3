"""The tools: plain classes with `_run`, one with `async _arun`. What they reckon with is in `moments.py` and
`workdays.py`.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

from moments import Unreadable, add_months, calendar_difference, day, moment, offset_text, placed, zone
from workdays import Week

MAX_ZONES = 20
MAX_AMOUNT = 1_000_000


def _shown(when: datetime, name: str) -> dict[str, Any]:
    return {
        "zone": name,
        "time": when.isoformat(),
        "weekday": when.strftime("%A"),
        "utc_offset": offset_text(when),
        "abbreviation": when.tzname(),
        "daylight_saving": bool(when.dst()),
    }


def _zones(names: list[str]) -> list[str]:
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_ZONES:
        raise Unreadable(f"1 to {MAX_ZONES} time zones must be given")
    return names


def _elsewhere(when: datetime, name: str) -> datetime:
    try:
        return when.astimezone(zone(name))
    except OverflowError:
        raise Unreadable("the time is too close to the first or last year") from None


class CurrentTime:
    """`current_time`, as a coroutine: the contract allows `_arun` alone."""

    name = "current_time"

    async def _arun(self, zones: list[str] | None = None) -> dict[str, Any]:
        now = datetime.now(timezone.utc).replace(microsecond=0)
        return {
            "times": [_shown(_elsewhere(now, name), name) for name in _zones(zones or ["UTC"])],
            "unix": int(now.timestamp()),
        }


class ConvertTime:
    """`convert_time`."""

    name = "convert_time"

    def _run(self, time: str, to_zones: list[str], from_zone: str | None = None) -> dict[str, Any]:
        when, note = moment(time), None
        if when.tzinfo is None:
            if from_zone is None:
                raise Unreadable("`from_zone` is needed for a time without an offset")
            when, note = placed(when, zone(from_zone))
        source = from_zone or "as given"
        result = {
            "from": _shown(when, source),
            "to": [_shown(_elsewhere(when, name), name) for name in _zones(to_zones)],
        }
        return {**result, "note": note} if note else result


class AddToDate:
    """`add_to_date`."""

    name = "add_to_date"

    def _run(
        self,
        start: str,
        zone: str | None = None,
        years: int = 0,
        months: int = 0,
        weeks: int = 0,
        days: int = 0,
        hours: int = 0,
        minutes: int = 0,
        seconds: int = 0,
    ) -> dict[str, Any]:
        calendar = {"years": years, "months": months, "weeks": weeks, "days": days}
        clock = {"hours": hours, "minutes": minutes, "seconds": seconds}
        for name, amount in {**calendar, **clock}.items():
            if isinstance(amount, bool) or not isinstance(amount, int) or abs(amount) > MAX_AMOUNT:
                raise Unreadable(f"`{name}` must be a whole number between -{MAX_AMOUNT} and {MAX_AMOUNT}")
        try:
            when, note = _add(moment(start), zone, calendar, timedelta(**clock))
        except OverflowError:
            raise Unreadable("the result is outside the years 1 to 9999") from None
        only_date = len(start.strip()) == 10 and zone is None and not any(clock.values())
        result = {
            "result": when.date().isoformat() if only_date else when.isoformat(),
            "weekday": when.strftime("%A"),
            "iso_week": when.isocalendar()[1],
            "day_of_year": when.timetuple().tm_yday,
        }
        return {**result, "note": note} if note else result


def _add(when: datetime, where: str | None, calendar: dict[str, int], clock: timedelta) -> tuple[datetime, str | None]:
    """Calendar units move the wall clock; hours and below move real time, across changes of the clock too."""
    note = None
    where_zone = zone(where) if where is not None else None
    if where_zone and when.tzinfo:
        when = when.astimezone(where_zone).replace(tzinfo=None)
    moved = add_months(when.date(), calendar["years"] * 12 + calendar["months"])
    moved += timedelta(weeks=calendar["weeks"], days=calendar["days"])
    when = datetime.combine(moved, when.timetz())
    if where_zone:
        when, note = placed(when, where_zone)
    if clock:
        when = when + clock if when.tzinfo is None else (when.astimezone(timezone.utc) + clock).astimezone(when.tzinfo)
    return when, note


class DateDifference:
    """`date_difference`."""

    name = "date_difference"

    def _run(self, start: str, end: str) -> dict[str, Any]:
        first, last = moment(start), moment(end)
        if (first.tzinfo is None) != (last.tzinfo is None):
            raise Unreadable("either both times or none must have an offset")
        sign = 1 if first <= last else -1
        if sign < 0:
            first, last = last, first
        if first.tzinfo is not None:
            last = last.astimezone(first.tzinfo)
        seconds = int((last - first).total_seconds())
        # A last day that is not yet full does not count.
        until = (
            last.date() - timedelta(days=1)
            if last.time() < first.time() and last.date() > first.date()
            else last.date()
        )
        years, months, days = calendar_difference(first.date(), until)
        return {
            "direction": {1: "forward", -1: "backward"}[sign] if seconds else "none",
            "total_days": seconds // 86_400,
            "total_hours": round(seconds / 3600, 4),
            "total_seconds": seconds,
            "weeks_and_days": {"weeks": seconds // 86_400 // 7, "days": seconds // 86_400 % 7},
            "calendar": {"years": years, "months": months, "days": days},
        }


class BusinessDays:
    """`business_days`."""

    name = "business_days"

    def _run(
        self,
        start: str,
        end: str | None = None,
        add: int | None = None,
        weekend: list[str] | None = None,
        holidays: list[str] | None = None,
    ) -> dict[str, Any]:
        if (end is None) == (add is None):
            raise Unreadable("give either `end` to count, or `add` to find a date")
        week = Week(weekend, holidays)
        first = day(start)
        if add is not None:
            found = week.step(first, add)
            return {"date": found.isoformat(), "weekday": found.strftime("%A"), "calendar_days": (found - first).days}
        last = day(end or "")
        low, high = min(first, last), max(first, last)
        return {
            "business_days": week.between(low, high),
            "calendar_days": (high - low).days + 1,
            "holidays_skipped": _listed(week, low, high),
        }


def _listed(week: Week, low: date, high: date) -> list[str]:
    return [holiday.isoformat() for holiday in week.holidays if low <= holiday <= high]
