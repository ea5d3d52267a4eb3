"""What a session remembers: named JSON values, in memory alone, bounded in number and size.

The host keeps one process a session, so this module's state is the session's own; it ends with the session.
"""

from __future__ import annotations

import json
import re
from typing import Any

from arithmetic import CONSTANTS, FUNCTIONS, Number, Unfit

MAX_KEYS = 500
MAX_VALUE_CHARACTERS = 20_000
MAX_CHARACTERS = 1_000_000
MAX_LISTED = 500

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,63}")


class Memory:
    """Values by key, as JSON text: what comes back is a copy that nobody else holds."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._characters = 0

    def __len__(self) -> int:
        return len(self._texts)

    def set(self, key: str, value: Any) -> bool:
        """Remembers; tells whether the key was new."""
        _checked_key(key)
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        except (ValueError, TypeError, RecursionError):
            raise Unfit("`value` can't be written as JSON") from None
        if len(text) > MAX_VALUE_CHARACTERS:
            raise Unfit(f"`value` has {len(text)} characters, at most {MAX_VALUE_CHARACTERS} are remembered")
        new = key not in self._texts
        size = self._characters + len(text) - len(self._texts.get(key, ""))
        if new and len(self._texts) >= MAX_KEYS or size > MAX_CHARACTERS:
            raise Unfit(f"the memory is full: {MAX_KEYS} keys, {MAX_CHARACTERS} characters; forget something first")
        self._texts[key] = text
        self._characters = size
        return new

    def get(self, key: str) -> Any:
        """The value of a key that is there."""
        return json.loads(self._texts[key])

    def keys(self, prefix: str = "") -> list[str]:
        """The keys in the order of remembering."""
        return [key for key in self._texts if key.startswith(prefix)]

    def forget(self, prefix: str) -> int:
        """Forgets what begins so; tells how many."""
        gone = self.keys(prefix)
        for key in gone:
            self._characters -= len(self._texts.pop(key))
        return len(gone)

    def drop(self, key: str) -> bool:
        """Forgets one key; tells whether it was there."""
        text = self._texts.pop(key, None)
        self._characters -= len(text or "")
        return text is not None

    def clear(self) -> None:
        """Forgets everything."""
        self._texts.clear()
        self._characters = 0

    def numbers(self) -> dict[str, Number]:
        """The remembered numbers, for expressions."""
        values = {key: json.loads(text) for key, text in self._texts.items() if text[:1] in "-0123456789"}
        return {key: value for key, value in values.items() if type(value) in (int, float)}


def _checked_key(key: object) -> None:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise Unfit("`key` must be a letter or _, then letters, digits, `_`, `.` or `-`, at most 64 in all")
    if key in CONSTANTS or key in FUNCTIONS:
        raise Unfit(f"`{key}` is the name of a constant or function")


MEMORY = Memory()
