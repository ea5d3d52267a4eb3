"""Tables: CSV, JSON and the tables of a document as a header and rows, and back."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from html import escape
from typing import Any, Iterable

from bs4 import BeautifulSoup, Tag

from bounds import MAX_CELLS, MAX_COLUMNS, MAX_DEPTH, MAX_ROWS, Unfit

DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Grid:
    """A header and rows of the same width; cells are JSON values."""

    header: list[str]
    rows: list[list[Any]]


def _checked(header: list[str], rows: list[list[Any]]) -> Grid:
    if not header:
        raise Unfit("the table has no columns")
    if len(header) > MAX_COLUMNS or len(rows) > MAX_ROWS or len(header) * len(rows) > MAX_CELLS:
        raise Unfit(
            f"the table is {len(rows)} by {len(header)}, "
            f"at most {MAX_ROWS} rows, {MAX_COLUMNS} columns, {MAX_CELLS} cells are allowed"
        )
    return Grid(header, [(row + [None] * (len(header) - len(row)))[: len(header)] for row in rows])


def _names(cells: Iterable[Any]) -> list[str]:
    """Column names: empty ones numbered, repeated ones too, for a JSON object holds a name once."""
    names: list[str] = []
    taken: set[str] = set()
    for position, cell in enumerate(cells, 1):
        base = name = " ".join(str(cell if cell is not None else "").split()) or f"column_{position}"
        suffix = 2
        while name in taken:
            name, suffix = f"{base}_{suffix}", suffix + 1
        taken.add(name)
        names.append(name)
    return names


def read_csv(text: str, delimiter: str | None) -> Grid:
    """CSV with a header; without a given delimiter, the most frequent of the first line."""
    csv.field_size_limit(1 << 20)
    first = next((line for line in text.split("\n") if line.strip()), "")
    outside = "".join(first.split('"')[::2])
    mark = delimiter or max(DELIMITERS, key=lambda candidate: (outside.count(candidate), -DELIMITERS.index(candidate)))
    try:
        rows = [
            row
            for row in csv.reader(io.StringIO(text.lstrip("\ufeff").replace("\0", ""), newline=""), delimiter=mark)
            if row
        ]
    except csv.Error as error:
        raise Unfit(f"the CSV can't be read: {error}") from None
    if not rows:
        raise Unfit("the CSV is empty")
    width = max(len(row) for row in rows)
    if width > MAX_COLUMNS:
        raise Unfit(f"the CSV has {width} columns, at most {MAX_COLUMNS} are allowed")
    return _checked(_names(rows[0] + [""] * (width - len(rows[0]))), [list(row) for row in rows[1:]])


def read_json(text: str) -> Grid:
    """An array of objects, or of arrays with the header first, or one object."""
    try:
        # Long integers stay text: converting thousands of digits is slow on purpose in Python.
        document = json.loads(
            text,
            parse_int=lambda digits: int(digits) if len(digits) <= 18 else digits,
            parse_constant=lambda word: None,
        )
    except RecursionError:
        raise Unfit("the JSON is nested too deeply") from None
    except ValueError as error:
        raise Unfit(f"the JSON can't be read: {str(error)[:120]}") from None
    if isinstance(document, dict):
        document = [document]
    if not isinstance(document, list) or not document:
        raise Unfit("the JSON must be an array of objects, an array of arrays, or an object")
    if all(isinstance(item, list) for item in document):
        return _checked(_names(document[0]), document[1:])
    if not all(isinstance(item, dict) for item in document):
        raise Unfit("the JSON must be an array of objects, an array of arrays, or an object")
    keys: dict[str, None] = {}
    for item in document:
        keys.update(dict.fromkeys(item))
        if len(keys) > MAX_COLUMNS:
            raise Unfit(f"the JSON has over {MAX_COLUMNS} columns")
    return _checked(list(keys), [[item.get(key) for key in keys] for item in document])


def read_table(soup: BeautifulSoup, number: int) -> Grid:
    """The table of that number, counted from 1. Cells that span several places fill the first."""
    tables = [table for table in soup.find_all("table") if isinstance(table, Tag)]
    if not 1 <= number <= len(tables):
        raise Unfit(f"the document has {len(tables)} tables, `table` is {number}")
    table = tables[number - 1]
    rows = []
    for row in table.find_all("tr"):
        # A table inside a cell is not part of this one.
        if row.find_parent("table") is table:
            rows.append([cell.get_text(" ", strip=True) for cell in row.find_all(["td", "th"], recursive=False)])
    rows = [row for row in rows if row]
    if not rows:
        raise Unfit("the table is empty")
    width = max(len(row) for row in rows)
    return _checked(_names(rows[0] + [""] * (width - len(rows[0]))), [list(row) for row in rows[1:]])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise Unfit(f"a cell is nested over {MAX_DEPTH} deep") from None


def write_csv(grid: Grid, delimiter: str | None) -> str:
    """CSV with a header and `\\n` at line ends."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter or ",", lineterminator="\n")
    writer.writerow(grid.header)
    writer.writerows([_cell(value) for value in row] for row in grid.rows)
    return out.getvalue()


def write_json(grid: Grid) -> str:
    """An array of objects, one a line; the values as they are."""
    try:
        lines = [json.dumps(dict(zip(grid.header, row)), ensure_ascii=False, allow_nan=False) for row in grid.rows]
    except (RecursionError, ValueError):
        raise Unfit("a value can't be written as JSON") from None
    return "[\n" + ",\n".join("  " + line for line in lines) + "\n]\n" if lines else "[]\n"


def write_markdown(grid: Grid) -> str:
    """A table of the GitHub kind; bars are escaped, line breaks become `<br>`."""

    def line(cells: Iterable[Any]) -> str:
        shown = (_cell(cell).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") for cell in cells)
        return "| " + " | ".join("<br>".join(cell.splitlines()) for cell in shown) + " |\n"

    return line(grid.header) + "|" + " --- |" * len(grid.header) + "\n" + "".join(line(row) for row in grid.rows)


def write_html(grid: Grid) -> str:
    """A table element; every cell is escaped."""

    def line(cells: Iterable[Any], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(_cell(cell), quote=False)}</{tag}>" for cell in cells) + "</tr>\n"

    body = "".join(line(row, "td") for row in grid.rows)
    return f"<table>\n<thead>\n{line(grid.header, 'th')}</thead>\n<tbody>\n{body}</tbody>\n</table>\n"


def write_text(grid: Grid) -> str:
    """Cells apart by tabs, a row a line."""
    return "".join(
        "\t".join(" ".join(_cell(cell).split()) for cell in row) + "\n" for row in [list(grid.header), *grid.rows]
    )
