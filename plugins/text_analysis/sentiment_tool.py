"""The tool `analyze_sentiment`: how positive or negative a text is, by a word list with negation, intensity and
contrast.

The shape of the arithmetic follows VADER (Hutto and Gilbert 2014); the word list is this plugin's own.
"""

from __future__ import annotations

import math
import re
from typing import Any

import tokens
from lexicon import INTENSIFIERS, NEGATIONS, SIGNS, score_of

# How far a negation reaches, in words; what it leaves of a feeling; what capitals and each `!` add.
NEGATION_REACH = 3
NEGATION_FACTOR = -0.74
CAPITALS_GAIN = 0.6
EXCLAMATION_GAIN = 0.25
MAX_EXCLAMATIONS = 4
# Spreads the sum over -1 to 1: a sum of 4 gives 0.72.
SPREAD = 15
NEUTRAL_BAND = 0.05
MAX_SENTENCES_SHOWN = 200
SENTENCE_CHARACTERS_SHOWN = 300

_TOKEN = re.compile(
    "|".join(re.escape(sign) for sign in sorted(SIGNS, key=len, reverse=True)) + r"|[^\W_]+(?:['’\-][^\W_]+)*|[!?]"
)


class AnalyzeSentiment:
    """A plain class: the host calls `_run` with the checked arguments."""

    name = "analyze_sentiment"

    def _run(self, text: str, per_sentence: bool = False) -> dict[str, Any]:
        text = tokens.check_text(text)
        pieces = [(sentence, *_feelings(sentence)) for sentence in _pieces(text)]
        feelings = [value for _, values, _ in pieces for value in values]
        result = _summary(feelings, sum(count for _, _, count in pieces))
        if per_sentence:
            shown = pieces[:MAX_SENTENCES_SHOWN]
            result["sentences"] = [
                {"text": sentence[:SENTENCE_CHARACTERS_SHOWN], **_label(_compound(values))}
                for sentence, values, _ in shown
            ]
        return result


def _pieces(text: str) -> list[str]:
    # A text of signs alone has no sentence, yet it has a feeling.
    return tokens.sentences(text) or ([text.strip()] if text.strip() else [])


def _feelings(sentence: str) -> tuple[list[float], int]:
    """The strength of each feeling word of a sentence, and how many words it has."""
    found = _TOKEN.findall(sentence)
    marks = sum(1 for token in found if token == "!")
    listed = [token for token in found if token not in "!?"]
    shouting = any(token.isupper() for token in listed) and not all(
        token.isupper() for token in listed if token.isalpha()
    )
    lowered = [token.lower().replace("’", "'") for token in listed]
    values = [_feeling(listed, lowered, index, shouting) for index in range(len(listed))]
    if "but" in lowered or "however" in lowered:
        turn = max(index for index, word in enumerate(lowered) if word in ("but", "however"))
        values = [value * (0.5 if index < turn else 1.5) for index, value in enumerate(values)]
    gain = EXCLAMATION_GAIN * min(marks, MAX_EXCLAMATIONS)
    strong = [value + math.copysign(gain, value) for value in values if value]
    return strong, len(listed)


def _feeling(listed: list[str], lowered: list[str], index: int, shouting: bool) -> float:
    sign = SIGNS.get(listed[index])
    if sign is not None:
        return sign
    word = lowered[index]
    value = score_of(word)
    # `like` feels only as a verb or after a modal: `looks like rain` does not.
    if not value or _is_figure(lowered, index):
        return 0.0
    if shouting and listed[index].isupper() and len(word) > 1:
        value += math.copysign(CAPITALS_GAIN, value)
    for distance in (1, 2):
        before = lowered[index - distance] if index >= distance else ""
        gain = INTENSIFIERS.get(before, 0.0) / distance
        value *= 1 + gain
    before = lowered[max(0, index - NEGATION_REACH) : index]
    if any(_negates(word) for word in before) and "only" not in before:
        value *= NEGATION_FACTOR
    return value


def _is_figure(lowered: list[str], index: int) -> bool:
    before = lowered[index - 1] if index else ""
    if lowered[index] == "like":
        return before not in ("i", "we", "you", "they", "really", "to", "would", "do", "don't", "didn't", "not", "also")
    after = lowered[index + 1] if index + 1 < len(lowered) else ""
    if lowered[index] == "well":
        return before == "as" or after == "as"
    return lowered[index] == "pretty" and score_of(after) != 0.0 or lowered[index] == "no"


def _negates(word: str) -> bool:
    return word in NEGATIONS or word.endswith("n't")


def _compound(values: list[float]) -> float:
    total = sum(values)
    return round(total / math.sqrt(total * total + SPREAD), 4) + 0.0


def _label(score: float) -> dict[str, Any]:
    label = "positive" if score >= NEUTRAL_BAND else "negative" if score <= -NEUTRAL_BAND else "neutral"
    return {"label": label, "score": score}


def _summary(values: list[float], words: int) -> dict[str, Any]:
    # Each feeling word weighs its strength and one for being there, each other word one.
    positive = sum(value + 1 for value in values if value > 0)
    negative = sum(1 - value for value in values if value < 0)
    neutral = max(0, words - len(values))
    whole = positive + negative + neutral
    shares = {"positive": positive, "negative": negative, "neutral": neutral}
    return {
        **_label(_compound(values)),
        **{name: round(share / whole, 3) if whole else 0.0 for name, share in shares.items()},
    }
