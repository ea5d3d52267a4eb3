"""Text as word pieces, the same as `index/src/wordpiece.rs`: BERT's vocabulary and rules, but every sign is split off.

Text is spaced out here so that the tokenizer has no choice left; the pieces themselves are its own.
"""

from __future__ import annotations

import unicodedata

from tokenizers import Tokenizer

MAX_PIECES = 128


def spaced(text: str) -> str:
    """No accents, no control characters, spaces around every sign, lower case."""
    out = []
    for character in unicodedata.normalize("NFD", text):
        kind = unicodedata.category(character)
        if kind[0] == "M" or (kind == "Cc" and not character.isspace()):
            continue
        out.append(character.lower() if character.isalnum() else f" {character} ")
    return "".join(out)


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """The ids of the first pieces of each text, without words that have no pieces."""
    unknown = tokenizer.token_to_id("[UNK]")
    lines = tokenizer.encode_batch([spaced(text) for text in texts], add_special_tokens=False)
    return [[token for token in line.ids if token != unknown][:MAX_PIECES] for line in lines]
