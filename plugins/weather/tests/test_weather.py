"""weather: both tools against a stand-in of the API on loopback, every way it can fail, and the key that must show
nowhere.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

KEY = "k3y-that-must-not-show"
# 2026-06-01 12:00 UTC; London is an hour ahead then.
NOON = 1780315200
CURRENT = {
    "coord": {"lon": -0.1257, "lat": 51.5085},
    "weather": [{"id": 500, "main": "Rain", "description": "light rain"}],
    "main": {"temp": 14.2, "feels_like": 13.8, "temp_min": 13, "temp_max": 15, "pressure": 1012, "humidity": 82},
    "visibility": 10000,
    "wind": {"speed": 4.1, "deg": 240},
    "rain": {"1h": 0.4},
    "clouds": {"all": 75},
    "dt": NOON,
    "sys": {"country": "GB", "sunrise": NOON - 30000, "sunset": NOON + 30000},
    "timezone": 3600,
    "name": "London",
    "cod": 200,
}
FORECAST = {
    "cod": "200",
    "city": {"name": "London", "country": "GB", "timezone": 3600, "coord": {"lat": 51.5, "lon": -0.13}},
    "list": [
        {
            "dt": NOON + 10800 * step,
            "main": {"temp": 10 + step, "temp_min": 9 + step, "temp_max": 11 + step, "humidity": 60 + step},
            "weather": [{"description": "clear sky" if step % 3 else "light rain"}],
            "wind": {"speed": 2 + step},
            "pop": step / 20,
            **({"rain": {"3h": 0.25}} if step % 3 == 0 else {}),
        }
        for step in range(8)
    ],
}


class StandIn:
    """A local API; `answers` decides what it sends, `seen` keeps what it was asked."""

    def __init__(self):
        self.seen = []
        self.status, self.body, self.headers, self.drip = 200, None, {}, None
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                parts = urlsplit(self.path)
                stand_in.seen.append((parts.path, parse_qs(parts.query), dict(self.headers)))
                body = stand_in.body
                if body is None:
                    body = json.dumps(CURRENT if parts.path.endswith("/weather") else FORECAST).encode()
                self.send_response(stand_in.status)
                for name, value in stand_in.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if stand_in.drip:
                    while not stand_in.drip.wait(0.05):
                        self.wfile.write(b" ")
                        self.wfile.flush()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/data/2.5"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def api():
    stand_in = StandIn()
    yield stand_in
    if stand_in.drip:
        stand_in.drip.set()
    stand_in.server.shutdown()
    stand_in.server.server_close()


@pytest.fixture
def ask(plugin, api):
    def run(tool="current_weather", key=KEY, config=None, **args):
        context = plugin.context(
            config={"base_url": api.url, **(config or {})}, secrets={"OPENWEATHER_API_KEY": key} if key else {}
        )
        return plugin.call(tool, args, context)

    return run


def test_example(plugin, api, example):
    tool, given = example
    context = plugin.context(config={"base_url": api.url}, secrets={"OPENWEATHER_API_KEY": KEY})
    assert plugin.call(tool, given["args"], context)["place"] == "London, GB"


def test_current_weather(ask, api):
    assert ask(city=" London,GB ") == {
        "place": "London, GB",
        "latitude": 51.5085,
        "longitude": -0.1257,
        "observed_at": "2026-06-01T13:00:00+01:00",
        "condition": "light rain",
        "temperature": 14.2,
        "feels_like": 13.8,
        "humidity_percent": 82,
        "pressure_hpa": 1012,
        "wind_speed": 4.1,
        "wind_from": "SW",
        "clouds_percent": 75,
        "visibility_m": 10000,
        "rain_1h_mm": 0.4,
        "snow_1h_mm": 0,
        "sunrise": "2026-06-01T04:40:00+01:00",
        "sunset": "2026-06-01T21:20:00+01:00",
        "units": {"temperature": "°C", "speed": "m/s"},
    }
    path, query, headers = api.seen[0]
    assert path == "/data/2.5/weather"
    assert query == {"q": ["London,GB"], "units": ["metric"], "lang": ["en"], "appid": [KEY]}


def test_forecast_gathers_local_days(ask, api):
    found = ask("weather_forecast", latitude=51.5, longitude=-0.13, units="imperial", days=2)
    assert api.seen[0][1]["lat"] == ["51.5"] and api.seen[0][1]["units"] == ["imperial"]
    # Steps at 13, 16, 19 and 22 o'clock local, then five of the next day.
    assert [(day["date"], day["steps"]) for day in found["days"]] == [("2026-06-01", 4), ("2026-06-02", 4)]
    assert found["days"][0] == {
        "date": "2026-06-01",
        "steps": 4,
        "condition": "light rain",
        "temperature_min": 9,
        "temperature_max": 14,
        "rain_mm": 0.5,
        "snow_mm": 0,
        "chance_of_precipitation_percent": 15,
        "wind_speed_max": 5,
        "humidity_percent_mean": 62,
    }
    assert found["units"] == {"temperature": "°F", "speed": "mph"}
    assert len(ask("weather_forecast", city="London", days=1)["days"]) == 1


def test_configuration_reaches_the_api(ask, api):
    ask(city="Wien", config={"units": "standard", "language": "de"})
    assert api.seen[0][1]["units"] == ["standard"] and api.seen[0][1]["lang"] == ["de"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "refused the key"),
        (403, "refused the key"),
        (404, "does not know this place"),
        (400, "does not know this place"),
        (429, "rate limit"),
        (500, "status 500"),
        (503, "status 503"),
        (418, "status 418"),
    ],
)
def test_statuses_become_messages(ask, api, failed, status, words):
    api.status, api.body = status, f"invalid key {KEY}".encode()
    with pytest.raises(failed, match=words):
        ask(city="London")


def test_redirects_are_not_followed(ask, api, failed):
    for status in (301, 302, 307, 308):
        api.status, api.headers = status, {"Location": f"{api.url}/elsewhere"}
        with pytest.raises(failed, match="redirect"):
            ask(city="London")
    assert all(path.endswith("/weather") for path, _, _ in api.seen) and len(api.seen) == 4


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"main": {"temp": "hot"}}',
        b'{"main": {"temp": NaN}}',
        b'{"main": []}',
        b"\xff\xfe",
        b'{"main": {"temp": 1e999}}',
        b"[" * 100_000,
        b'{"main": {"temp": true}}',
        b" " * (1 << 21),
    ],
    ids=range(12),
)
def test_broken_answers_become_messages(ask, api, failed, body):
    api.body = body
    for tool in ("current_weather", "weather_forecast"):
        with pytest.raises(failed, match="the weather API sent"):
            ask(tool, city="London")


def test_odd_fields_of_an_answer_are_dropped(ask, api):
    odd = {
        "main": {"temp": 1},
        "weather": "x",
        "wind": None,
        "dt": 1e300,
        "timezone": 1e9,
        "name": "A\x1b[31m" + "b" * 999,
        "sys": 3,
    }
    api.body = json.dumps(odd).encode()
    found = ask(city="London")
    assert found["temperature"] == 1 and found["observed_at"] is None and found["condition"] is None
    assert "\x1b" not in found["place"] and len(found["place"]) <= 200


def test_a_server_that_drips_is_cut_off(ask, api, failed):
    api.drip = threading.Event()
    with pytest.raises(failed, match="within 1 seconds"):
        ask(city="London", config={"timeout_seconds": 1})


def test_a_silent_server_and_a_closed_port_become_messages(ask, failed):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(failed, match="within 1 seconds"):
            ask(city="London", config={"timeout_seconds": 1, "base_url": f"http://127.0.0.1:{port}"})
    with pytest.raises(failed, match="refused the connection"):
        ask(city="London", config={"base_url": f"http://127.0.0.1:{port}"})


@pytest.mark.parametrize(
    "base_url",
    [
        "http://example.org",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "https://",
        "https://u:p@example.org",
        "https://example.org/?a=1",
        "https://example.org/#x",
        "http://127.0.0.1.example.org",
        "http://[::1",
        "https://example.org:x",
        "http://10.0.0.1",
        5,
        "x" * 600,
    ],
)
def test_unfit_addresses_are_refused(plugin, base_url):
    openweather = plugin.module("openweather")
    with pytest.raises(openweather.WeatherError, match="base_url"):
        openweather.Settings.of({"base_url": base_url})


@pytest.mark.parametrize(
    "base_url", ["https://example.org/api/", "http://localhost:8080", "http://127.0.0.1/x", "http://[::1]:80"]
)
def test_fit_addresses_are_taken(plugin, base_url):
    assert plugin.module("openweather").Settings.of({"base_url": base_url}).base_url == base_url.rstrip("/")


def test_the_place_is_named_in_exactly_one_way(ask, api, failed, refused):
    for args in (
        {},
        {"city": "A", "latitude": 1, "longitude": 1},
        {"latitude": 1},
        {"longitude": 1},
        {"city": "  "},
        {"city": "a\nb"},
    ):
        with pytest.raises(failed):
            ask(**args)
    for args in ({"city": "x" * 121}, {"latitude": 91, "longitude": 0}, {"city": 5}, {"city": "A", "units": "kelvin"}):
        with pytest.raises(refused):
            ask(**args)
    with pytest.raises(refused):
        ask("weather_forecast", city="A", days=6)
    assert api.seen == []


def test_a_city_cannot_smuggle_parameters(ask, api):
    ask(city="London&appid=other&q=Rome#?/../../x")
    path, query, _ = api.seen[0]
    assert (
        path == "/data/2.5/weather"
        and query["appid"] == [KEY]
        and query["q"] == ["London&appid=other&q=Rome#?/../../x"]
    )


def test_the_secret_is_needed(ask, failed, api):
    with pytest.raises(failed, match="OPENWEATHER_API_KEY is not set"):
        ask(city="London", key=None)
    assert api.seen == []


def test_the_key_shows_nowhere(plugin, api, caplog, capfd):
    """Every failure's full traceback, every log record and all output are searched; the request itself is the positive
    control.
    """
    caplog.set_level(logging.DEBUG)
    tool = plugin.module("main").CurrentWeather()
    context = plugin.context(config={"base_url": api.url, "timeout_seconds": 1}, secrets={"OPENWEATHER_API_KEY": KEY})
    tool.initialize(context["config"], {})
    shown = []
    for status, body in (
        (200, None),
        (401, KEY.encode()),
        (302, b""),
        (500, KEY.encode()),
        (200, KEY.encode()),
        (200, b" " * (1 << 21)),
    ):
        api.status, api.body, api.headers = status, body, {"Location": f"http://127.0.0.1:1/?appid={KEY}"}
        try:
            shown.append(json.dumps(tool.execute({"city": "London"}, context)))
        except Exception:
            shown.append(traceback.format_exc())
    api.server.server_close()
    closed = {**context, "config": {"base_url": "http://127.0.0.1:1", "timeout_seconds": 1}}
    with pytest.raises(Exception) as caught:
        tool.execute({"city": "London"}, closed)
    shown += [
        str(caught.value),
        repr(caught.value),
        json.dumps(tool.get_status()),
        repr(vars(tool)),
        repr(vars(tool._client)),
    ]
    shown += [record.getMessage() for record in caplog.records] + list(capfd.readouterr())
    assert all(entry[1]["appid"] == [KEY] for entry in api.seen) and len(api.seen) == 6
    assert not [text for text in shown if KEY in text]


def test_life_of_a_tool(plugin, api):
    tool = plugin.module("main").WeatherForecast()
    assert tool.get_status()["status"] == "idle"
    tool.initialize({"base_url": api.url}, {})
    assert tool.get_status() == {"status": "healthy", "base_url": api.url}
    assert tool.handle_event({"type": "config_changed", "config": {"base_url": "https://example.org"}}) == {
        "handled": True
    }
    assert tool.get_status()["base_url"] == "https://example.org"
    assert tool.handle_event({"type": "other"}) == tool.handle_event(None) == {"handled": False}
    with pytest.raises(Exception, match="base_url"):
        tool.initialize({"base_url": "http://example.org"}, {})
    tool.cleanup()
    assert tool.get_status()["status"] == "idle"
