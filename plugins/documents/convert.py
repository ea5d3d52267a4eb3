"""The tool `convert_document`: Markdown, HTML, CSV and JSON into one another and into plain text."""

from __future__ import annotations

from typing import Any

import grids
import prose
from bounds import MAX_RESULT_CHARACTERS, Unfit, check_text

SOURCES = ("markdown", "html", "csv", "json")
TARGETS = ("markdown", "html", "text", "csv", "json")


def execute_plugin(inputs: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """`inputs` holds each argument as `{"value": …}`."""
    args = {name: given["value"] for name, given in inputs.items()}
    try:
        content = convert(args)
    except Unfit as error:
        return {"success": False, "error": str(error)}
    except RecursionError:
        return {"success": False, "error": "the document is nested too deeply"}
    return {"success": True, "outputs": {"format": args["target_format"], "content": content}}


def convert(args: dict[str, Any]) -> str:
    """The converted text."""
    text = check_text(args.get("text"))
    source, target = args.get("source_format"), args.get("target_format")
    if source not in SOURCES or target not in TARGETS:
        raise Unfit(f"`source_format` must be one of {', '.join(SOURCES)}, `target_format` one of {', '.join(TARGETS)}")
    if source == target:
        raise Unfit("`source_format` and `target_format` are the same")
    delimiter, number = args.get("delimiter"), args.get("table", 1)
    if delimiter is not None and delimiter not in grids.DELIMITERS:
        raise Unfit("`delimiter` must be a comma, semicolon, tab or bar")
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise Unfit("`table` must be 1 or more")
    if source in ("csv", "json"):
        grid = grids.read_csv(text, delimiter) if source == "csv" else grids.read_json(text)
        result = _from_grid(grid, target, delimiter)
    else:
        result = _from_prose(text, source, target, number, delimiter)
    if len(result) > MAX_RESULT_CHARACTERS:
        raise Unfit(f"the result has {len(result)} characters, at most {MAX_RESULT_CHARACTERS} are returned")
    return result


def _from_grid(grid: grids.Grid, target: str, delimiter: str | None) -> str:
    if target == "csv":
        return grids.write_csv(grid, delimiter)
    write = {
        "json": grids.write_json,
        "markdown": grids.write_markdown,
        "html": grids.write_html,
        "text": grids.write_text,
    }
    return write[target](grid)


def _from_prose(text: str, source: str, target: str, number: int, delimiter: str | None) -> str:
    html = prose.html_of_markdown(text) if source == "markdown" else text
    if target == "html":
        return html
    soup = prose.soup_of(html)
    if target == "markdown":
        return prose.markdown_of(soup)
    if target == "text":
        return prose.text_of(soup)
    return _from_grid(grids.read_table(soup, number), target, delimiter)
