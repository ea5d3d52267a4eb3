"""Asks an OpenWeatherMap-compatible API, with time-outs, a size cap, and errors that never hold the key.

Only the standard library. What the answers mean is in `reports.py`.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

DEFAULT_BASE_URL = "https://api.openweathermap.org/data/2.5"
UNITS = ("metric", "imperial", "standard")
MAX_ANSWER_BYTES = 1 << 20
_CHUNK = 1 << 16


class WeatherError(Exception):
    """What went wrong, in words that are safe to show; never holds the key or the full address."""


@dataclass(frozen=True)
class Settings:
    """The operator's configuration, checked."""

    base_url: str
    units: str
    language: str
    timeout: float

    @classmethod
    def of(cls, config: dict[str, Any] | None) -> Settings:
        """Reads the configuration; raises `WeatherError` when it does not hold."""
        config = config or {}
        units = config.get("units", "metric")
        if units not in UNITS:
            raise WeatherError(f"configuration: `units` must be one of {', '.join(UNITS)}")
        timeout = config.get("timeout_seconds", 10)
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 1 <= timeout <= 25:
            raise WeatherError("configuration: `timeout_seconds` must be 1 to 25")
        language = config.get("language", "en")
        if not isinstance(language, str) or not language.replace("_", "").isalpha() or len(language) > 8:
            raise WeatherError("configuration: `language` must be a language code such as `en` or `pt_br`")
        return cls(_checked_base(config.get("base_url", DEFAULT_BASE_URL)), units, language.lower(), float(timeout))


def _checked_base(base_url: object) -> str:
    """Plain HTTP would send the key in the clear, so it is for this machine only."""
    if not isinstance(base_url, str) or len(base_url) > 500:
        raise WeatherError("configuration: `base_url` must be a web address")
    try:
        parts = urllib.parse.urlsplit(base_url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise WeatherError("configuration: `base_url` is not a web address") from None
    if not host or parts.query or parts.fragment or parts.username or parts.scheme not in ("http", "https"):
        raise WeatherError(
            "configuration: `base_url` must be http(s)://host[:port][/path] without user, query or fragment"
        )
    if parts.scheme == "http" and not _is_loopback(host):
        raise WeatherError("configuration: `base_url` must use https, except on this machine")
    return base_url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could carry the request to a place that the operator did not name."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class Client:
    """Made once, before any secret is known; opening it reads the certificates, so that calls need not."""

    def __init__(self) -> None:
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context()),
            _NoRedirect(),
        )

    def ask(self, settings: Settings, key: str, path: str, query: dict[str, Any]) -> dict[str, Any]:
        """One GET; returns the JSON object of the answer."""
        query = {**query, "lang": settings.language, "appid": key}
        request = urllib.request.Request(
            f"{settings.base_url}/{path}?{urllib.parse.urlencode(query)}",
            headers={"Accept": "application/json", "User-Agent": "pegboard-weather/1.0"},
        )
        deadline = time.monotonic() + settings.timeout
        try:
            with self._opener.open(request, timeout=settings.timeout) as response:
                return _object(_read(response, deadline))
        except urllib.error.HTTPError as error:
            status = error.code
            error.close()
            raise _refusal(status) from None
        except (OSError, http.client.HTTPException) as error:
            raise _no_answer(error, settings.timeout) from None
        except UnicodeError:
            raise WeatherError("the address of the weather API is not valid") from None


def _read(response: Any, deadline: float) -> bytes:
    """Reads what there is, piece by piece: a server that sends a byte at a time must not outlast the deadline."""
    parts: list[bytes] = []
    size = 0
    while True:
        part = response.read1(_CHUNK)
        if not part:
            break
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise WeatherError(f"the weather API sent over {MAX_ANSWER_BYTES} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(parts)


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body.decode("utf-8"), parse_constant=lambda word: None)
    except (ValueError, RecursionError):
        raise WeatherError("the weather API sent something that is not JSON") from None
    if not isinstance(document, dict):
        raise WeatherError("the weather API sent an answer of another shape")
    return document


def _refusal(status: int) -> WeatherError:
    # The body is left out: a server could echo the request, and with it the key.
    if status in (401, 403):
        return WeatherError(
            "the weather API refused the key: OPENWEATHER_API_KEY is wrong, not active yet, or lacks this product"
        )
    if status in (400, 404):
        return WeatherError(
            "the weather API does not know this place; try `city` as `Name,COUNTRY` or give coordinates"
        )
    if status == 429:
        return WeatherError("the weather API's rate limit is reached; try again later")
    if 300 <= status < 400:
        return WeatherError("the weather API answered with a redirect, which is not followed; check `base_url`")
    return WeatherError(f"the weather API failed with status {status}")


def _no_answer(error: BaseException, timeout: float) -> WeatherError:
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError) or isinstance(error, TimeoutError):
        return WeatherError(f"the weather API did not answer within {timeout:g} seconds")
    if isinstance(reason, ssl.SSLError):
        return WeatherError("the weather API's certificate could not be verified")
    if isinstance(reason, ConnectionRefusedError):
        return WeatherError("the weather API refused the connection; check `base_url`")
    # The type alone: the text of an error may hold the address.
    return WeatherError(f"the weather API can't be reached ({type(reason).__name__})")
