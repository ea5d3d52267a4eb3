"""The examples of the guide run as printed."""

import re
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[4] / "docs" / "guides" / "python-tools.md"
NUMBERS = {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]}


@pytest.fixture
def guide(load):
    blocks = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    files = dict(blocks)
    assert set(files) == {"main.py", "lc.py", "functions.py", "life.py", "count.py", "pictures.py", "talk.py"}
    return load(
        files,
        {"name": "greet", "class_name": "Greet"},
        {"name": "forecast", "module_path": "lc", "class_name": "Forecast"},
        {"name": "shout", "module_path": "lc", "function": "shout"},
        {"name": "add", "module_path": "functions", "function": "execute_plugin", "args_schema": NUMBERS},
        {"name": "multiply", "module_path": "functions", "function": "multiply"},
        {"name": "lookup", "module_path": "life", "class_name": "Lookup"},
        {"name": "count", "script": "count.py"},
        {"name": "dot", "module_path": "pictures", "class_name": "Dot"},
        {"name": "crawl", "module_path": "talk", "class_name": "Crawl"},
        config={"extra": {"board": "holds pegs"}},
    )


def test_every_example(guide):
    assert guide.text("greet", {"name": "Ada", "times": 2}) == "Hello Hello Ada"
    assert guide.value("forecast", {"city": "Oslo", "days": 2}) == {"city": "Oslo", "days": ["sunny", "sunny"]}
    assert guide.failed("forecast", {"city": "Atlantis"})["message"].startswith("Atlantis has no weather station")
    assert guide.text("shout", {"text": "hey"}) == "HEY!"
    assert guide.value("add", {"a": 1, "b": 2}) == {"sum": 3}
    assert guide.failed("add", {"a": 1, "b": 2000})["message"] == "the sum is too large"
    assert guide.value("multiply", {"a": 3}) == 6
    assert guide.value("lookup", {"word": "board"}) == {"meaning": "holds pegs", "asked": 1}
    assert guide.failed("lookup", {"word": "x"})["message"] == "no such word"
    assert guide.value("count", {"text": "a b c"}) == {"words": 3}
    assert [block["type"] for block in guide.call("dot")["content"]] == ["text", "image"]
    assert guide.value("crawl", {"pages": 2}, secrets={"API_KEY": "key-123456"}) == {"pages": 2, "authorised": True}
    assert guide.progress == [(1.0, 2.0, "page 1"), (2.0, 2.0, "page 2")]
    assert guide.logs == [("info", "crawl: done with key ***")]


def test_what_the_guide_says_of_schemas(guide):
    schemas = guide.plugin.describe()
    assert schemas["greet"] == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "who is greeted"},
            "times": {"type": "integer", "description": "how often", "default": 1},
        },
        "required": ["name"],
        "additionalProperties": False,
    }
    assert schemas["count"] is None
