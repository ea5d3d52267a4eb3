"""`evaluate` is `pegboard eval`: the same numbers, from Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import pegboard


@pytest.fixture
def data(tmp_path: Path) -> Path:
    tools = [
        {"id": "a", "name": "add_numbers", "description": "Adds two numbers"},
        {"id": "b", "name": "send_mail", "description": "Sends a letter to somebody"},
    ]
    queries = [
        {"id": "1", "query": "what is two and three", "relevant": ["a"]},
        {"id": "2", "query": "write a letter to my aunt", "relevant": ["b"]},
    ]
    for name, lines in (("tools", tools), ("queries", queries)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_the_search_is_measured(data: Path, home: Path) -> None:
    report = pegboard.evaluate(data, home=home)
    assert report["queries"] == 2 and report["tools"] == 2
    assert report["R@5"] == 1.0 and report["latency_ms"]["p50"] > 0


def test_a_ranking_of_anyone_is_judged(data: Path, home: Path) -> None:
    assert pegboard.evaluate(data, ranking={"1": ["a", "b"], "2": ["b"]}, home=home)["H@1"] == 1.0
    assert pegboard.evaluate(data, ranking={"1": ["b", "a"], "2": ["b"]}, home=home)["H@1"] == 0.5
    (data / "run.json").write_text(json.dumps({"1": ["b"]}))
    assert pegboard.evaluate(data, ranking=data / "run.json", home=home)["R@10"] == 0.0


@pytest.mark.parametrize("folder", ["no/such/folder", "--help"])
def test_what_is_no_set_is_said(folder: str, home: Path) -> None:
    with pytest.raises(pegboard.EngineError):
        pegboard.evaluate(folder, home=home)


def test_a_ranking_that_is_none_is_said(data: Path, home: Path) -> None:
    (data / "run.json").write_text("no ranking")
    with pytest.raises(pegboard.EngineError):
        pegboard.evaluate(data, ranking=data / "run.json", home=home)
