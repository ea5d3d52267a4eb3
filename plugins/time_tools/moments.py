"""Reads dates, times and time zones from text, and does calendar arithmetic on them. No clock is read here."""

from __future__ import annotations

import calendar
import difflib
import re
from datetime import date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

_ZONE_CHARACTERS = re.compile(r"[A-Za-z0-9_+\-/ ]{1,64}")
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])([0-9]{1,2})(?::?([0-9]{2}))?", re.IGNORECASE)
_MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,6}))?)?(Z|z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_MAX_TEXT = 64


class Unreadable(ValueError):
    """Text that is not what it should be; the message says what was expected."""


def zone(given: str) -> tzinfo:
    """A zone by IANA name, by city (`new york`), or by offset (`+02:00`, `UTC-5`)."""
    text = given.strip() if isinstance(given, str) else ""
    if not _ZONE_CHARACTERS.fullmatch(text.replace(":", "")):
        raise Unreadable(
            "a time zone must be an IANA name such as `Europe/Paris`, a city, or an offset such as `+02:00`"
        )
    if text.upper() in ("UTC", "Z", "GMT"):
        return timezone.utc
    offset = _OFFSET.fullmatch(text)
    if offset:
        sign, hours, minutes = offset.groups()
        span = timedelta(hours=int(hours), minutes=int(minutes or 0))
        if int(minutes or 0) > 59 or span > timedelta(hours=14):
            raise Unreadable(f"`{text}` is not an offset between -14:00 and +14:00")
        return timezone(-span if sign == "-" else span)
    name = _full_name(text)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Unreadable(f"time zone `{text}` can't be loaded") from None


def _full_name(text: str) -> str:
    """The IANA name behind what was written; refuses with the nearest names."""
    by_name, by_city = _names()
    if not by_name:
        raise Unreadable("this machine has no time zone database; use an offset such as `+02:00`")
    key = text.lower().replace(" ", "_")
    if key in by_name:
        return by_name[key]
    if len(by_city.get(key, [])) == 1:
        return by_city[key][0]
    near = by_city.get(key) or [
        by_name.get(found) or by_city[found][0]
        for found in difflib.get_close_matches(key, [*by_name, *by_city], n=3, cutoff=0.75)
    ]
    hint = f", did you mean {' or '.join(f'`{found}`' for found in dict.fromkeys(near))}?" if near else ""
    raise Unreadable(f"time zone `{text}` is not known{hint}")


@lru_cache(maxsize=1)
def _names() -> tuple[dict[str, str], dict[str, list[str]]]:
    names = sorted(name for name in available_timezones() if not name.startswith(("posix/", "right/")))
    by_city: dict[str, list[str]] = {}
    for name in names:
        if "/" in name and not name.startswith("Etc/"):
            by_city.setdefault(name.rsplit("/", 1)[1].lower(), []).append(name)
    return {name.lower(): name for name in names}, by_city


def moment(text: str) -> datetime:
    """A date and time as ISO 8601, with or without an offset; a date alone is its midnight."""
    # Not `fromisoformat`: what it takes differs from one Python to the next.
    found = _MOMENT.fullmatch(text.strip()) if isinstance(text, str) and len(text) <= _MAX_TEXT else None
    try:
        if found is None:
            raise ValueError
        year, month, date_day, hour, minute, second = (int(found[index] or 0) for index in range(1, 7))
        fraction = int((found[7] or "").ljust(6, "0"))
        where = None if found[8] is None else timezone.utc if found[8] in "Zz" else zone(found[8])
        return datetime(year, month, date_day, hour, minute, second, fraction, where)
    except ValueError:
        raise Unreadable(
            "a date and time must be ISO 8601 and exist, such as `2026-03-29T14:30` or `2026-03-29T14:30:00+02:00`, "
            f"found `{str(text)[:_MAX_TEXT]}`"
        ) from None


def day(text: str) -> date:
    """A date, `YYYY-MM-DD`."""
    try:
        if not isinstance(text, str) or len(text) != 10:
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise Unreadable(f"a date must be `YYYY-MM-DD` and exist, found `{str(text)[:_MAX_TEXT]}`") from None


def offset_text(when: datetime) -> str:
    """`+02:00`."""
    text = when.strftime("%z")
    return f"{text[:3]}:{text[3:5]}"


def placed(when: datetime, where: tzinfo) -> tuple[datetime, str | None]:
    """Puts a wall-clock time into a zone, with a note where clocks change: a skipped time moves on, a repeated one
    means the first.
    """
    try:
        first, second = when.replace(tzinfo=where, fold=0), when.replace(tzinfo=where, fold=1)
        if first.utcoffset() == second.utcoffset():
            return first, None
        back = first.astimezone(timezone.utc).astimezone(where)
        if back.replace(tzinfo=None) != when.replace(tzinfo=None):
            return back, f"{when.isoformat()} does not exist there: clocks go forward; {back.isoformat()} is meant"
        return (
            first,
            f"{when.isoformat()} happens twice there: clocks go back; the first one is meant",
        )
    except OverflowError:
        raise Unreadable("the time is too close to the first or last year") from None


def add_months(start: date, months: int) -> date:
    """The same day of another month, or its last day where that has none."""
    index = start.year * 12 + start.month - 1 + months
    year, month = divmod(index, 12)
    if not 1 <= year <= 9999:
        raise Unreadable("the result is outside the years 1 to 9999")
    return start.replace(year=year, month=month + 1, day=min(start.day, calendar.monthrange(year, month + 1)[1]))


def calendar_difference(start: date, end: date) -> tuple[int, int, int]:
    """Whole years, months and days from the earlier to the later date."""
    months = (end.year - start.year) * 12 + end.month - start.month
    # A month is whole when its day is reached: 31 January to 28 February is 28 days, as other calendars reckon it.
    if end.day < start.day:
        months -= 1
    return months // 12, months % 12, (end - add_months(start, months)).days
