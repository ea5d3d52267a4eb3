"""The tool `extract_keywords`: the phrases a text is about, by RAKE or by plain frequency."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

import tokens
from stop_words import STOP_WORDS

MAX_EXTRA_STOP_WORDS = 200

# What a phrase never reaches across.
_BOUNDARY = re.compile(r"[.,;:!?…()\[\]{}\"“”«»|/\\<>=+*#\n\t。，！？；：]+|\s[-–—]+\s")


class ExtractKeywords:
    """A plain class: the host calls `_run` with the checked arguments."""

    name = "extract_keywords"

    def _run(
        self,
        text: str,
        limit: int = 10,
        method: str = "rake",
        max_phrase_words: int = 3,
        stop_words: list[str] | None = None,
    ) -> dict[str, Any]:
        text = tokens.check_text(text)
        if not 1 <= limit <= 50 or not 1 <= max_phrase_words <= 5:
            raise ValueError("`limit` must be 1 to 50 and `max_phrase_words` 1 to 5")
        extra = stop_words or []
        if len(extra) > MAX_EXTRA_STOP_WORDS:
            raise ValueError(f"at most {MAX_EXTRA_STOP_WORDS} extra stop words are allowed")
        stops = STOP_WORDS | {word.casefold() for word in extra}
        if method == "rake":
            scored = _rake(_phrases(text, stops, max_phrase_words))
        elif method == "frequency":
            scored = _frequency(text, stops)
        else:
            raise ValueError(f"`method` must be `rake` or `frequency`, found `{method[:40]}`")
        keywords = [{"phrase": phrase, "score": score, "count": count} for phrase, score, count in scored[:limit]]
        return {"method": method, "keywords": keywords}


def _content(word: str, stops: frozenset[str] | set[str]) -> bool:
    return word not in stops and len(word) > 1 and not word[0].isdigit()


def _phrases(text: str, stops: frozenset[str] | set[str], longest: int) -> list[tuple[str, ...]]:
    """Runs of content words between stop words and punctuation; a run over `longest` words is cut into pieces."""
    found: list[tuple[str, ...]] = []
    for part in _BOUNDARY.split(text):
        run: list[str] = []
        for word in [*(word.casefold().replace("’", "'") for word in tokens.words(part)), ""]:
            if word and _content(word, stops):
                run.append(word)
                continue
            found.extend(tuple(run[start : start + longest]) for start in range(0, len(run), longest))
            run = []
    return found


def _candidates(phrases: list[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
    """The phrases, and the parts of them that occur twice or more and oftener than any phrase around them."""
    counts = Counter(
        phrase[start:stop]
        for phrase in phrases
        for start in range(len(phrase))
        for stop in range(start + 1, len(phrase) + 1)
    )
    whole = set(phrases)
    kept = {phrase: count for phrase, count in counts.items() if count > 1 or phrase in whole}
    for phrase, count in list(kept.items()):
        for part in (phrase[:-1], phrase[1:]) if count > 1 else ():
            if counts[part] == count:
                kept.pop(part, None)
    return kept


def _rake(phrases: list[tuple[str, ...]]) -> list[tuple[str, float, int]]:
    """Rose et al. 2010: a word scores degree / frequency, a phrase the sum of its words; a repeated phrase gains by 1 +
    ln(count).
    """
    frequency: Counter[str] = Counter()
    degree: Counter[str] = Counter()
    for phrase in phrases:
        for word in phrase:
            frequency[word] += 1
            degree[word] += len(phrase)
    scored = [
        (
            " ".join(phrase),
            round(sum(degree[word] / frequency[word] for word in phrase) * (1 + math.log(count)), 3),
            count,
        )
        for phrase, count in _candidates(phrases).items()
    ]
    return sorted(scored, key=lambda entry: (-entry[1], -entry[2], entry[0]))


def _frequency(text: str, stops: frozenset[str] | set[str]) -> list[tuple[str, float, int]]:
    """Single words by their share of all content words."""
    content = [
        word for word in (found.casefold().replace("’", "'") for found in tokens.words(text)) if _content(word, stops)
    ]
    counts = Counter(content)
    scored = [(word, round(count / len(content), 4), count) for word, count in counts.items()]
    return sorted(scored, key=lambda entry: (-entry[2], entry[0]))
