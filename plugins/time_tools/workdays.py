"""Counts and steps over business days, in time that does not grow with the span."""

from __future__ import annotations

from datetime import date, timedelta

from moments import Unreadable, day

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MAX_HOLIDAYS = 500
MAX_STEPS = 100_000


class Week:
    """Which days are worked: a weekend and a set of holidays."""

    def __init__(self, weekend: list[str] | None, holidays: list[str] | None) -> None:
        names = ["saturday", "sunday"] if weekend is None else weekend
        if any(name not in DAYS for name in names) or len(set(names)) > 6:
            raise Unreadable(f"`weekend` must name at most six of {', '.join(DAYS)}")
        if len(holidays or []) > MAX_HOLIDAYS:
            raise Unreadable(f"at most {MAX_HOLIDAYS} holidays are allowed")
        self.weekend = {DAYS.index(name) for name in names}
        self.holidays = sorted({found for found in map(day, holidays or []) if found.weekday() not in self.weekend})
        self._closed = set(self.holidays)

    def is_business(self, when: date) -> bool:
        """Whether the day is worked."""
        return when.weekday() not in self.weekend and when not in self._closed

    def between(self, start: date, end: date) -> int:
        """Business days from `start` to `end`, both counted; `start` is not after `end`."""
        days = (end - start).days + 1
        weeks, rest = divmod(days, 7)
        count = weeks * (7 - len(self.weekend))
        count += sum((start.weekday() + step) % 7 not in self.weekend for step in range(rest))
        return count - sum(start <= holiday <= end for holiday in self.holidays)

    def step(self, start: date, count: int) -> date:
        """The business day `count` business days after (or before) `start`; 0 gives the next one, `start` itself if
        worked.
        """
        if abs(count) > MAX_STEPS:
            raise Unreadable(f"at most {MAX_STEPS} business days can be added")
        direction = timedelta(days=-1 if count < 0 else 1)
        left = abs(count)
        try:
            current = start
            if left == 0:
                while not self.is_business(current):
                    current += direction
            while left:
                current += direction
                left -= self.is_business(current)
        except OverflowError:
            raise Unreadable("the result is outside the years 1 to 9999") from None
        return current
