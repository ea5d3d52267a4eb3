"""documents: golden examples, every pair of formats, what is taken out of pages, and documents made to hurt.

Needs the packages of `requirements.lock` in the test's environment.
"""

from __future__ import annotations

import csv
import io
import json
import time

import pytest


def test_example(plugin, example):
    plugin.check_example(*example)


@pytest.fixture
def convert(plugin):
    def run(text, source, target, **more):
        return plugin.call(
            "convert_document", {"text": text, "source_format": source, "target_format": target, **more}
        )["content"]

    return run


SAMPLES = {
    "markdown": "# T\n\n| a | b |\n|---|---|\n| 1 | x \\| y |\n",
    "html": "<h1>T</h1><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>x | y</td></tr></table>",
    "csv": "a,b\n1,x | y\n",
    "json": '[{"a": "1", "b": "x | y"}]',
}


@pytest.mark.parametrize("source", SAMPLES)
@pytest.mark.parametrize("target", ["markdown", "html", "text", "csv", "json"])
def test_every_pair_of_formats_keeps_the_table(convert, failed, source, target):
    if source == target:
        with pytest.raises(failed, match="the same"):
            convert(SAMPLES[source], source, target)
        return
    result = convert(SAMPLES[source], source, target)
    if target == "csv":
        assert list(csv.reader(io.StringIO(result))) == [["a", "b"], ["1", "x | y"]]
    elif target == "json":
        assert json.loads(result) == [{"a": "1", "b": "x | y"}]
    elif target == "text":
        assert result.endswith("a\tb\n1\tx | y\n")
    elif target == "html":
        assert "<td>1</td>" in result and "<td>x | y</td>" in result
    else:
        assert "| a | b |" in result and ("| 1 | x \\| y |" in result or "| 1 | x | y |" in result)


def test_pages_become_clean_markdown(convert):
    page = """<!doctype html><html><head><title>x</title><style>a{}</style></head><body><!-- note -->
    <script>alert(1)</script><noscript>no</noscript><iframe src="https://example.org">f</iframe><svg><text>s</text></svg>
    <h2>Head  line</h2><p>Text with <em>stress</em>,<br>a break and <a href=" JavaScript:alert(1)">bad</a>
    <a href="data:text/html,x">worse</a> <a href="/ok?a=b:c">good</a></p>
    <pre><code class="language-python">x = 1
    y = 2</code></pre><ol><li>one<ul><li>inner</li></ul></li></ol><blockquote>quoted</blockquote></body></html>"""
    result = convert(page, "html", "markdown")
    assert "## Head line" in result and "*stress*" in result and "[good](/ok?a=b:c)" in result
    assert "```python\nx = 1\n    y = 2\n```" in result and "> quoted" in result and "- inner" in result
    for word in ("alert", "note", "script", "data:", "a{}", "noscript", "iframe"):
        assert word not in result.lower(), word
    assert "bad" in result and "worse" in result


def test_pages_become_plain_text(convert):
    page = "<h1>Title</h1><p>One  two\n three</p><ul><li>a</li><li>b</li></ul><pre>  keep\n   this</pre><p>x<br>y</p>"
    assert convert(page, "html", "text") == "Title\n\nOne two three\n\n- a\n- b\n\nkeep\nthis\n\nx\ny\n"


def test_markdown_does_not_pass_on_html_or_unsafe_links(convert):
    html = convert("<script>x</script> [a](javascript:x) [b](https://example.org) <b>c</b>", "markdown", "html")
    assert "<script" not in html and "<b>" not in html and 'href="javascript' not in html
    assert '<a href="https://example.org">b</a>' in html


@pytest.mark.parametrize(
    ("text", "more", "rows"),
    [
        ("a;b\n1,5;2\n", {}, [{"a": "1,5", "b": "2"}]),
        ("a|b\n1|2\n", {}, [{"a": "1", "b": "2"}]),
        ("\ufeffa\tb\r\n1\t2\r\n", {}, [{"a": "1", "b": "2"}]),
        ("a,b;c\n1,2;3\n", {"delimiter": ";"}, [{"a,b": "1,2", "c": "3"}]),
        (
            'a,a,\n"x\ny",2,3,4\n\n5\n',
            {},
            [
                {"a": "x\ny", "a_2": "2", "column_3": "3", "column_4": "4"},
                {"a": "5", "a_2": None, "column_3": None, "column_4": None},
            ],
        ),
    ],
)
def test_reads_kinds_of_csv(convert, text, more, rows):
    assert json.loads(convert(text, "csv", "json", **more)) == rows


def test_reads_shapes_of_json(convert):
    assert convert('[["a", "b"], [1, null], [true]]', "json", "csv") == "a,b\n1,\ntrue,\n"
    assert convert('{"a": {"b": 1.5}}', "json", "csv") == 'a\n"{""b"": 1.5}"\n'
    assert "12345678901234567890" in convert('[{"a": 12345678901234567890}]', "json", "csv")
    assert convert('[{"a": "x|y\\nz<b>"}]', "json", "markdown") == "| a |\n| --- |\n| x\\|y<br>z&lt;b> |\n"
    assert convert('[{"a": "<script>"}]', "json", "html").count("&lt;script&gt;") == 1


def test_takes_the_wanted_table(convert, failed):
    page = "<table><tr><td>a</td></tr></table>"
    page += "<table><tr><td>b<table><tr><td>in</td></tr></table></td></tr><tr><td>1</td></tr></table>"
    assert convert(page, "html", "csv", table=2) == "b in\n1\n"
    assert convert(page, "html", "csv", table=3) == "in\n"
    with pytest.raises(failed, match="has 3 tables"):
        convert(page, "html", "csv", table=4)
    with pytest.raises(failed, match="has 0 tables"):
        convert("no table", "markdown", "csv")


def test_outline_counts_and_lists(plugin):
    text = (
        "# A\n\n## B `c`\n\n![i](p.png) [l](u)\n\n```py\n# not a heading\n```\n\n- x\n\n1. y\n\n| t |\n|---|\n| 1 |\n"
    )
    found = plugin.call("outline_document", {"text": text, "source_format": "markdown"})
    assert found["title"] == "A" and [heading["text"] for heading in found["headings"]] == ["A", "B c"]
    assert (found["tables"], found["lists"], found["code_blocks"]) == (1, 2, 1)
    assert found["images"] == [{"alt": "i", "url": "p.png"}] and found["links"] == [{"text": "l", "url": "u"}]


HOSTILE = {
    "deep_divs": ("html", "<div>" * 40_000),
    "closed_divs": ("html", "<div>" * 10_000 + "</div>" * 10_000),
    "angle_brackets": ("html", "<" * 300_000),
    "open_comments": ("html", "<!--" * 70_000),
    "declarations": ("html", "<!x" * 90_000),
    "attributes": ("html", "<a " + "x=1 " * 70_000 + ">"),
    "entities": ("html", "&" * 300_000),
    "unclosed_tags": ("html", "<a href='" * 30_000),
    "table_cells": ("html", "<table><tr>" + "<td>x" * 49_000),
    "brackets": ("markdown", "[" * 300_000),
    "images": ("markdown", "![" * 150_000),
    "nested_links": ("markdown", "[a](" * 70_000),
    "emphasis": ("markdown", "*a_" * 90_000),
    "stars": ("markdown", "*" * 300_000),
    "backticks": ("markdown", "".join("`" * count + " " for count in range(700))),
    "quotes": ("markdown", ">" * 300_000),
    "lists": ("markdown", "".join("  " * depth + "- x\n" for depth in range(500))),
    "table_rows": ("markdown", "|" * 1000 + "\n" + "|-" * 1000 + "\n" + ("|" * 1000 + "\n") * 200),
    "references": ("markdown", "".join(f"[{number}]: u\n" for number in range(20_000)) + "[1] " * 1_000),
    "autolinks": ("markdown", "<a" * 150_000),
    "paragraphs": ("markdown", "[[[\n\n" * 50_000),
    "entities_md": ("markdown", "&a" * 150_000),
    "nulls": ("markdown", "\0\ud800" * 1_000),
    "quotes_csv": ("csv", '"' * 299_999),
    "commas": ("csv", "," * 300_000),
    "lines": ("csv", "a\n" * 150_000),
    "deep_json": ("json", "[" * 150_000 + "]" * 150_000),
    "deep_value": ("json", '[{"a": ' + "[" * 900 + "]" * 900 + "}]"),
    "long_number": ("json", '[{"a": ' + "1" * 299_000 + "}]"),
    "many_keys": ("json", json.dumps({str(number): 1 for number in range(20_000)})),
    "surrogate": ("json", '[{"a": "\\ud800"}]'),
    "infinity": ("json", '[{"a": 1e999}]'),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_end_in_a_result_or_a_message(plugin, failed, name):
    source, text = HOSTILE[name]
    assert len(text) <= 300_000
    calls = [
        ("convert_document", {"text": text, "source_format": source, "target_format": target})
        for target in ("markdown", "html", "text", "csv")
        if target != source
    ]
    if source in ("markdown", "html"):
        calls.append(("outline_document", {"text": text, "source_format": source}))
    for tool, args in calls:
        started = time.process_time()
        try:
            plugin.call(tool, args)
        except failed as error:
            assert type(error.__cause__) is type(None) and len(str(error)) < 300
        assert time.process_time() - started < 15, (tool, args["source_format"])


def test_unfit_arguments_get_a_message(plugin, failed, refused):
    with pytest.raises(refused):
        plugin.call("convert_document", {"text": "x" * 300_001, "source_format": "csv", "target_format": "json"})
    base = {"text": "a", "source_format": "csv", "target_format": "json"}
    for change in (
        {"text": "x" * 300_001},
        {"text": 5},
        {"source_format": "docx"},
        {"target_format": None},
        {"delimiter": "ab"},
        {"table": 0},
    ):
        with pytest.raises(failed):
            plugin.call_unchecked("convert_document", {**base, **change})
