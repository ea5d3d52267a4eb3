"""The tool `text_statistics`: counts, times and readability of a text."""

from __future__ import annotations

from typing import Any

import tokens

# Words a minute: silent reading of English prose, and speech before an audience.
READING_SPEED = 238
SPEAKING_SPEED = 140

_LEVELS = (
    (90.0, "very_easy"),
    (80.0, "easy"),
    (70.0, "fairly_easy"),
    (60.0, "standard"),
    (50.0, "fairly_difficult"),
    (30.0, "difficult"),
)


class TextStatistics:
    """A plain class: the host calls `_run` with the checked arguments."""

    name = "text_statistics"

    def _run(self, text: str, words_per_minute: int = READING_SPEED) -> dict[str, Any]:
        text = tokens.check_text(text)
        if not 50 <= words_per_minute <= 1000:
            raise ValueError("`words_per_minute` must be between 50 and 1000")
        found = tokens.words(text)
        sentences = tokens.sentences(text)
        syllables = sum(tokens.syllables(word) for word in found)
        result: dict[str, Any] = {
            "characters": len(text),
            "characters_without_spaces": sum(1 for character in text if not character.isspace()),
            "words": len(found),
            "unique_words": len({word.casefold() for word in found}),
            "sentences": len(sentences),
            "paragraphs": len(tokens.paragraphs(text)),
            "lines": len(text.splitlines()),
            "syllables": syllables,
            "average_word_length": _ratio(sum(len(word) for word in found), len(found)),
            "average_sentence_length": _ratio(len(found), len(sentences)),
            "reading_time_seconds": round(len(found) * 60 / words_per_minute),
            "speaking_time_seconds": round(len(found) * 60 / SPEAKING_SPEED),
        }
        result.update(_readability(len(found), len(sentences), syllables))
        return result


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 2) if whole else 0.0


def _readability(words: int, sentences: int, syllables: int) -> dict[str, Any]:
    """Flesch's two formulas, made for English; null for a text without words."""
    if not words or not sentences:
        return {"flesch_reading_ease": None, "flesch_kincaid_grade": None, "reading_level": None}
    sentence_length, word_length = words / sentences, syllables / words
    ease = round(206.835 - 1.015 * sentence_length - 84.6 * word_length, 1)
    grade = round(0.39 * sentence_length + 11.8 * word_length - 15.59, 1)
    level = next((name for floor, name in _LEVELS if ease >= floor), "very_difficult")
    return {"flesch_reading_ease": ease, "flesch_kincaid_grade": grade, "reading_level": level}
