"""Where values lie on an axis: round ticks, their labels, and the way from value to pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """A linear axis from `low` to `high` over `start` to `stop` pixels."""

    low: float
    high: float
    start: float
    stop: float
    step: float

    def at(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self) -> list[float]:
        """Round values within the axis."""
        first = math.ceil(self.low / self.step - 1e-9)
        count = math.floor((self.high - first * self.step) / self.step + 1e-9) + 1
        return [(first + index) * self.step for index in range(max(0, min(count, 50)))]

    def label(self, value: float) -> str:
        """The tick in few signs: thousands as k, millions as M, billions as B."""
        size = max(abs(self.low), abs(self.high))
        for floor, letter in ((1e15, ""), (1e9, "B"), (1e6, "M"), (1e4, "k")):
            if size >= floor:
                return (
                    f"{value:.3g}"
                    if not letter
                    else _plain(value / {"B": 1e9, "M": 1e6, "k": 1e3}[letter]) + (letter if value else "")
                )
        if size < 1e-3:
            return f"{value:.3g}" if value else "0"
        return _plain(round(value, max(0, 1 - math.floor(math.log10(self.step)))))


def _plain(value: float) -> str:
    return f"{value:.10f}".rstrip("0").rstrip(".") if value else "0"


def fitted(values: list[float], start: float, stop: float, count: int, from_zero: bool) -> Scale:
    """An axis that holds all values and ends at round ones; `count` ticks are aimed at."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= max(abs(low), abs(high)) * 1e-9:
        # All the same: a band around it, so that nothing is divided by zero. From zero, "the same" means all zero.
        margin = abs(high) * 0.5 or 1.0
        low, high = (0.0 if from_zero else low - margin), high + margin
    step = _round_step((high - low) / max(1, count))
    return Scale(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, start, stop, step)


def _round_step(raw: float) -> float:
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor for factor in (1, 2, 2.5, 5, 10) if raw <= factor * power * (1 + 1e-9)) * power
