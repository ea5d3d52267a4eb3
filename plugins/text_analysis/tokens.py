"""Cuts a text into words, sentences and paragraphs, and counts syllables. Every pattern is linear in the length of the
text.

It knows nothing of scores: those are in the modules of the tools.
"""

from __future__ import annotations

import re

MAX_CHARACTERS = 200_000

_WORD = re.compile(r"[^\W_]+(?:(?:['’\-]|(?<=\d)[.,](?=\d))[^\W_]+)*")
_PARAGRAPH_BREAK = re.compile(r"\n[ \t\r]*\n")
_CLOSERS = "\"'”’)]»"
# A full stop after one of these does not end a sentence.
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof sr jr st vs etc e.g i.e a.m p.m fig no vol approx dept est inc ltd co "
    "jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
_VOWEL_RUN = re.compile(r"[aeiouy]+")
_SILENT_ED = re.compile(r"[^aeiouytd]ed$")
_SILENT_ES = re.compile(r"[^aeiouyscxzgh]es$")


def check_text(text: object) -> str:
    """Returns the text, or raises `ValueError` when it is not one or is too long."""
    if not isinstance(text, str):
        raise ValueError("`text` must be a string")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"`text` has {len(text)} characters, at most {MAX_CHARACTERS} are allowed")
    return text


def words(text: str) -> list[str]:
    """The words, as written. Hyphens and apostrophes inside a word belong to it; `3.50` is one."""
    return _WORD.findall(text)


def paragraphs(text: str) -> list[str]:
    """The parts between blank lines that hold something."""
    return [part.strip() for part in _PARAGRAPH_BREAK.split(text) if part.strip()]


def sentences(text: str) -> list[str]:
    """The sentences; a blank line ends one too. Abbreviations, initials and decimals do not."""
    found: list[str] = []
    for paragraph in paragraphs(text):
        start = 0
        for match in re.finditer(r"[.!?…。！？]+", paragraph):
            end = match.end()
            while end < len(paragraph) and paragraph[end] in _CLOSERS:
                end += 1
            if _ends_sentence(paragraph, start, match.start(), match.group(), end):
                found.append(paragraph[start:end].strip())
                start = end
        if words(paragraph[start:]):
            found.append(paragraph[start:].strip())
    return [sentence for sentence in found if words(sentence)]


def _ends_sentence(paragraph: str, start: int, stop: int, mark: str, end: int) -> bool:
    if mark[0] in "。！？":
        return True
    if end < len(paragraph) and not paragraph[end].isspace():
        return False
    if mark != ".":
        return True
    # Only the last word decides, so a bounded look back keeps this linear.
    tail = paragraph[max(start, stop - 24) : stop].split()
    last = tail[-1].lower().lstrip("(\"'“‘") if tail else ""
    following = paragraph[end : end + 24].lstrip()
    if len(last) == 1 and last.isalpha() and last != "i":
        return False
    return not (last in _ABBREVIATIONS and (following[:1].islower() or following[:1].isdigit() or last in _TITLES))


_TITLES = frozenset("mr mrs ms dr prof st".split())


def syllables(word: str) -> int:
    """Syllables of an English word, by rule: vowel runs, less silent endings; never fewer than one."""
    letters = "".join(letter for letter in word.lower() if letter.isascii() and letter.isalpha())
    if not letters:
        return 1
    count = len(_VOWEL_RUN.findall(letters))
    if letters.endswith("e") and not letters.endswith(("le", "ee", "ye", "oe", "ie", "ue")):
        count -= 1
    elif letters.endswith("le") and len(letters) > 2 and letters[-3] in "aeiouy":
        count -= 1
    elif _SILENT_ED.search(letters) or _SILENT_ES.search(letters):
        count -= 1
    # Vowels that meet but are spoken apart.
    for pair in ("ia", "io", "eo", "iu", "ua"):
        if pair in letters and not letters.endswith(("tion", "sion", "cian", "tial", "cial", "gion", "cious", "tious")):
            count += letters.count(pair)
    for pair in ("qua", "gua", "sua"):
        count -= letters.count(pair)
    return max(1, count)
