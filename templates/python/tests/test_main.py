"""Tests of the plugin's own code; `pegboard test` runs them with pytest, in the sandbox, after the examples of plugin.yaml."""

from __future__ import annotations

import pytest
from main import CountWords


@pytest.mark.parametrize(("text", "words"), [("", 0), ("one", 1), (" two  words ", 2), ("over\nlines", 2)])
def test_words(text: str, words: int) -> None:
    assert CountWords()._run(text)["words"] == words
