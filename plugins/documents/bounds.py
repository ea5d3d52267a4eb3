"""What a document may be, and the error that says so."""

from __future__ import annotations

MAX_CHARACTERS = 300_000
MAX_RESULT_CHARACTERS = 1_500_000
MAX_DEPTH = 150
MAX_ROWS = 20_000
MAX_COLUMNS = 200
MAX_CELLS = 200_000


class Unfit(ValueError):
    """What the caller can mend; the message is safe to show."""


def check_text(text: object) -> str:
    """The text, if it is one of a size that is worked on."""
    if not isinstance(text, str):
        raise Unfit("`text` must be a string")
    if len(text) > MAX_CHARACTERS:
        raise Unfit(f"`text` has {len(text)} characters, at most {MAX_CHARACTERS} are allowed")
    return text
