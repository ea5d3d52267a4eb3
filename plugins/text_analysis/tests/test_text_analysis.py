"""text_analysis: golden examples, behaviour of each tool, and hostile input."""

from __future__ import annotations

import time

import pytest


def test_example(plugin, example):
    plugin.check_example(*example)


@pytest.mark.parametrize(
    ("word", "count"),
    [
        ("cat", 1),
        ("make", 1),
        ("table", 2),
        ("jumped", 1),
        ("wanted", 2),
        ("boxes", 2),
        ("makes", 1),
        ("beautiful", 3),
        ("reading", 2),
        ("video", 3),
        ("nation", 2),
        ("queue", 1),
        ("rhythm", 1),
        ("lion", 2),
        ("quality", 3),
        ("the", 1),
    ],
)
def test_counts_syllables(plugin, word, count):
    assert plugin.module("tokens").syllables(word) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two! Three?", 3),
        ("Dr. Smith met Mr. Jones at 3.14 p.m. yesterday.", 1),
        ('He said "Stop." Then he left.', 2),
        ("Wait... what?! No way.", 3),
        ("no full stop", 1),
        ("We sell apples, pears, etc. Come and see.", 2),
        ("See fig. 3 for details.", 1),
        ("你好。再见！", 2),
        ("...", 0),
    ],
)
def test_counts_sentences(plugin, text, count):
    assert len(plugin.module("tokens").sentences(text)) == count


def test_empty_text_has_no_readability(plugin):
    result = plugin.call("text_statistics", {"text": " \n "})
    assert result["words"] == result["sentences"] == 0
    assert result["flesch_reading_ease"] is None and result["reading_level"] is None


def test_hard_prose_reads_harder_than_easy_prose(plugin):
    easy = plugin.call("text_statistics", {"text": "The dog ran. The cat sat. I see you."})
    hard = plugin.call(
        "text_statistics",
        {
            "text": "Notwithstanding considerable administrative difficulties, the organisation's representatives "
            "eventually negotiated comprehensive international standardisation agreements."
        },
    )
    assert easy["flesch_reading_ease"] > 90 and hard["flesch_reading_ease"] < 10
    assert hard["reading_level"] == "very_difficult"


def test_reading_time_follows_the_given_speed(plugin):
    text = "word " * 600
    assert plugin.call("text_statistics", {"text": text, "words_per_minute": 100})["reading_time_seconds"] == 360
    assert plugin.call("text_statistics", {"text": text, "words_per_minute": 600})["reading_time_seconds"] == 60


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("This is the best purchase I have ever made.", "positive"),
        ("Terrible service, I want a refund.", "negative"),
        ("The meeting is on Tuesday at ten.", "neutral"),
        ("The food was not good.", "negative"),
        ("Not bad at all!", "positive"),
        ("I don't hate it.", "positive"),
        ("It looks like rain.", "neutral"),
        ("The design is nice but the app crashes constantly and support is useless.", "negative"),
        ("❤ 🎉", "positive"),
        (":(", "negative"),
        ("", "neutral"),
        ("She was winning happily.", "positive"),
    ],
)
def test_judges_sentiment(plugin, text, label):
    result = plugin.call("analyze_sentiment", {"text": text})
    assert result["label"] == label, result


@pytest.mark.parametrize(
    ("weaker", "stronger"),
    [
        ("The film was good.", "The film was very good."),
        ("The film was good.", "The film was good!!!"),
        ("The film was good.", "The film was GOOD."),
        ("The film was slightly good.", "The film was good."),
    ],
)
def test_orders_strength(plugin, weaker, stronger):
    scores = [plugin.call("analyze_sentiment", {"text": text})["score"] for text in (weaker, stronger)]
    assert 0 < scores[0] < scores[1]


def test_keywords_skip_stop_words_and_extra_ones(plugin):
    text = "The engine and the engine of the car. The car engine is loud."
    found = plugin.call("extract_keywords", {"text": text, "method": "frequency"})["keywords"]
    assert [(entry["phrase"], entry["count"]) for entry in found] == [("engine", 3), ("car", 2), ("loud", 1)]
    found = plugin.call("extract_keywords", {"text": text, "method": "frequency", "stop_words": ["Engine"]})["keywords"]
    assert [entry["phrase"] for entry in found] == ["car", "loud"]


def test_keyword_phrases_stop_at_punctuation_and_length(plugin):
    text = "graph neural network training speed, memory"
    found = plugin.call("extract_keywords", {"text": text, "max_phrase_words": 2})["keywords"]
    assert {entry["phrase"] for entry in found} == {"graph neural", "network training", "speed", "memory"}


@pytest.mark.parametrize("tool", ["text_statistics", "extract_keywords", "analyze_sentiment"])
@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000,
        "!" * 200_000,
        "a-" * 100_000,
        "a.b." * 50_000,
        "\n \n" * 60_000,
        ". " * 100_000,
        "no " * 66_000,
        "aeiou" * 40_000,
        "\u0301" * 200_000,
        "Mr." * 60_000,
        "good but " * 22_000,
        "1.1" * 66_000,
        "\ud800\x00" * 100,
    ],
    ids=range(13),
)
def test_hostile_text_stays_linear(plugin, tool, text):
    started = time.process_time()
    plugin.call(tool, {"text": text})
    assert time.process_time() - started < 5


def test_oversized_text_is_refused_by_schema_and_by_code(plugin, refused, failed):
    text = "a" * 200_001
    with pytest.raises(refused):
        plugin.call("text_statistics", {"text": text})
    for tool in plugin.tools:
        with pytest.raises(failed, match="at most 200000"):
            plugin.call_unchecked(tool, {"text": text})
    assert plugin.call("text_statistics", {"text": text[:-1]})["characters"] == 200_000
