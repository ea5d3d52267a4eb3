"""The tools `current_weather` and `weather_forecast`: classes with initialize, execute, cleanup, get_status and
handle_event.

`initialize` runs before any secret is known; the key comes with each call and is forgotten with it.
"""

from __future__ import annotations

from typing import Any

import reports
from openweather import UNITS, Client, Settings, WeatherError

SECRET = "OPENWEATHER_API_KEY"
MAX_CITY = 120


class _WeatherTool:
    """What both tools share: settings, the client, and how a place is named."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self._settings = Settings.of(None)

    def initialize(self, config: dict[str, Any] | None = None, context: dict[str, Any] | None = None) -> None:
        """Checks the configuration and reads the certificates."""
        self._settings = Settings.of(config)
        self._client = Client()

    def execute(self, input: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
        """One call; the configuration in the context, if there is one, holds over that of `initialize`."""
        settings = Settings.of(context["config"]) if context.get("config") else self._settings
        key = str((context.get("secrets") or {}).get(SECRET, "")).strip()
        if not key:
            raise WeatherError(f"the secret {SECRET} is not set")
        units = input.get("units") or settings.units
        if units not in UNITS:
            raise WeatherError(f"`units` must be one of {', '.join(UNITS)}")
        self._client = self._client or Client()
        return self._report(self._client, settings, key, {**_place(input), "units": units}, input)

    def _report(
        self, client: Client, settings: Settings, key: str, query: dict[str, Any], input: dict[str, Any]
    ) -> dict[str, Any]:
        raise NotImplementedError

    def cleanup(self) -> None:
        """Drops the client; there is no open connection to close."""
        self._client = None

    def get_status(self) -> dict[str, Any]:
        """Whether it is ready, and where it would ask."""
        return {"status": "healthy" if self._client else "idle", "base_url": self._settings.base_url}

    def handle_event(self, event: dict[str, Any]) -> dict[str, Any]:
        """Takes a new configuration; ignores other events."""
        if isinstance(event, dict) and event.get("type") == "config_changed":
            self._settings = Settings.of(event.get("config"))
            return {"handled": True}
        return {"handled": False}


class CurrentWeather(_WeatherTool):
    """`current_weather`."""

    def _report(
        self, client: Client, settings: Settings, key: str, query: dict[str, Any], input: dict[str, Any]
    ) -> dict[str, Any]:
        return reports.current(client.ask(settings, key, "weather", query), query["units"])


class WeatherForecast(_WeatherTool):
    """`weather_forecast`."""

    def _report(
        self, client: Client, settings: Settings, key: str, query: dict[str, Any], input: dict[str, Any]
    ) -> dict[str, Any]:
        days = input.get("days", 3)
        if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 5:
            raise WeatherError("`days` must be 1 to 5")
        return reports.forecast(client.ask(settings, key, "forecast", query), query["units"], days)


def _place(input: dict[str, Any]) -> dict[str, Any]:
    """A city or a pair of coordinates: exactly one."""
    city, latitude, longitude = input.get("city"), input.get("latitude"), input.get("longitude")
    if (city is None) == (latitude is None and longitude is None):
        raise WeatherError("give either `city`, or `latitude` and `longitude`")
    if city is not None:
        if not isinstance(city, str) or not city.strip() or len(city) > MAX_CITY or not city.isprintable():
            raise WeatherError(f"`city` must be a name of at most {MAX_CITY} printable characters")
        return {"q": city.strip()}
    for name, value, bound in (("latitude", latitude, 90), ("longitude", longitude, 180)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not -bound <= value <= bound:
            raise WeatherError(f"`{name}` must be a number from -{bound} to {bound}")
    return {"lat": latitude, "lon": longitude}
