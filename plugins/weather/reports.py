"""From the API's answers to what the tools return. Every field is checked: the answer is a stranger's."""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

from openweather import WeatherError

UNIT_NAMES = {
    "metric": {"temperature": "°C", "speed": "m/s"},
    "imperial": {"temperature": "°F", "speed": "mph"},
    "standard": {"temperature": "K", "speed": "m/s"},
}
_MAX_TEXT = 200
_MAX_STEPS = 100


def current(answer: dict[str, Any], units: str) -> dict[str, Any]:
    """The answer of `/weather`."""
    main, wind = _part(answer, "main"), _part(answer, "wind")
    if _number(main.get("temp")) is None:
        raise WeatherError("the weather API sent an answer without a temperature")
    offset = _offset(answer.get("timezone"))
    return {
        "place": _place(answer.get("name"), _part(answer, "sys").get("country")),
        **_coordinates(_part(answer, "coord")),
        "observed_at": _moment(answer.get("dt"), offset),
        "condition": _condition(answer),
        "temperature": _number(main.get("temp")),
        "feels_like": _number(main.get("feels_like")),
        "humidity_percent": _number(main.get("humidity")),
        "pressure_hpa": _number(main.get("pressure")),
        "wind_speed": _number(wind.get("speed")),
        "wind_from": _compass(wind.get("deg")),
        "clouds_percent": _number(_part(answer, "clouds").get("all")),
        "visibility_m": _number(answer.get("visibility")),
        "rain_1h_mm": _number(_part(answer, "rain").get("1h")) or 0,
        "snow_1h_mm": _number(_part(answer, "snow").get("1h")) or 0,
        "sunrise": _moment(_part(answer, "sys").get("sunrise"), offset),
        "sunset": _moment(_part(answer, "sys").get("sunset"), offset),
        "units": UNIT_NAMES[units],
    }


def forecast(answer: dict[str, Any], units: str, days: int) -> dict[str, Any]:
    """The answer of `/forecast`: steps of three hours, gathered into days of the place's own time."""
    city = _part(answer, "city")
    offset = _offset(city.get("timezone"))
    steps = answer.get("list")
    if not isinstance(steps, list) or not steps:
        raise WeatherError("the weather API sent a forecast without steps")
    by_day: dict[str, list[dict[str, Any]]] = {}
    for step in steps[:_MAX_STEPS]:
        moment = _moment(step.get("dt"), offset) if isinstance(step, dict) else None
        if moment and _number(_part(step, "main").get("temp")) is not None:
            by_day.setdefault(moment[:10], []).append(step)
    if not by_day:
        raise WeatherError("the weather API sent a forecast without usable steps")
    return {
        "place": _place(city.get("name"), city.get("country")),
        **_coordinates(_part(city, "coord")),
        "days": [_day(date, by_day[date]) for date in sorted(by_day)[:days]],
        "units": UNIT_NAMES[units],
    }


def _day(date: str, steps: list[dict[str, Any]]) -> dict[str, Any]:
    def all_of(part: str, name: str) -> list[float]:
        return [value for value in (_number(_part(step, part).get(name)) for step in steps) if value is not None]

    temperatures = all_of("main", "temp")
    chances = [value for value in (_number(step.get("pop")) for step in steps) if value is not None]
    conditions = Counter(filter(None, (_condition(step) for step in steps)))
    return {
        "date": date,
        "steps": len(steps),
        "condition": conditions.most_common(1)[0][0] if conditions else None,
        "temperature_min": min(all_of("main", "temp_min") + temperatures),
        "temperature_max": max(all_of("main", "temp_max") + temperatures),
        "rain_mm": round(sum(all_of("rain", "3h")), 2),
        "snow_mm": round(sum(all_of("snow", "3h")), 2),
        "chance_of_precipitation_percent": round(100 * max(chances)) if chances else None,
        "wind_speed_max": max(all_of("wind", "speed"), default=None),
        "humidity_percent_mean": round(sum(humid) / len(humid)) if (humid := all_of("main", "humidity")) else None,
    }


def _part(whole: dict[str, Any], name: str) -> dict[str, Any]:
    part = whole.get(name)
    return part if isinstance(part, dict) else {}


def _number(value: Any) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if math.isfinite(value) and abs(value) < 1e12 else None


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    return "".join(character for character in value[:_MAX_TEXT] if character.isprintable()).strip() or None


def _place(name: Any, country: Any) -> str | None:
    return ", ".join(filter(None, (_text(name), _text(country)))) or None


def _coordinates(part: dict[str, Any]) -> dict[str, Any]:
    return {"latitude": _number(part.get("lat")), "longitude": _number(part.get("lon"))}


def _condition(answer: dict[str, Any]) -> str | None:
    entries = answer.get("weather")
    first = entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], dict) else {}
    return _text(first.get("description")) or _text(first.get("main"))


def _offset(seconds: Any) -> timezone:
    value = _number(seconds) or 0
    return timezone(timedelta(seconds=int(value))) if abs(value) < 86_400 else timezone.utc


def _moment(stamp: Any, offset: timezone) -> str | None:
    value = _number(stamp)
    if value is None or not 0 <= value < 32_503_680_000:
        return None
    return datetime.fromtimestamp(value, offset).isoformat()


def _compass(degrees: Any) -> str | None:
    value = _number(degrees)
    if value is None:
        return None
    return ("N", "NE", "E", "SE", "S", "SW", "W", "NW")[round(value % 360 / 45) % 8]
