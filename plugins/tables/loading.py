"""Turns CSV and JSON files into tables of an SQLite database in memory, with types read from the values.

Numbers with leading zeros stay text, so that postal codes survive. Nested JSON values become JSON text.
"""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from itertools import islice
from typing import Any, Callable, Iterable, Iterator

MAX_ROWS = 500_000
MAX_COLUMNS = 256
MAX_FIELD = 1 << 20
MAX_TABLES = 64
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_REAL = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})?(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?")
_DELIMITERS = ",;\t|"


class LoadFailed(Exception):
    """A file that can't be read as a table; the message is safe to show."""


def quoted(name: str) -> str:
    """An SQL identifier; the quotes inside are doubled."""
    return '"' + name.replace('"', '""') + '"'


def load_csv(database: sqlite3.Connection, table: str, real: str) -> None:
    """Reads the file twice: once for the types, once for the rows, so that no copy of it is held."""
    csv.field_size_limit(MAX_FIELD)
    encoding = _encoding(real)
    delimiter = _delimiter(real, encoding)

    def rows() -> Iterator[list[str]]:
        with open(real, newline="", encoding=encoding, errors="replace") as file:
            try:
                yield from csv.reader(_without_nulls(file), delimiter=delimiter)
            except csv.Error as error:
                raise LoadFailed(f"is not readable as CSV: {error}") from None

    header = next((row for row in rows() if row), None)
    if header is None:
        raise LoadFailed("is empty")
    columns = _column_names(header)
    types = _types(_body(rows()), len(columns))
    convert = [_CONVERT[kind] for kind in types]
    values = (
        [convert[index](row[index]) if index < len(row) and row[index] != "" else None for index in range(len(columns))]
        for row in _body(rows())
    )
    _insert(database, table, columns, types, values)


def _without_nulls(lines: Iterable[str]) -> Iterator[str]:
    # `csv` of Python 3.10 refuses null characters; a file without line ends would be one giant line.
    return (line.replace("\0", "") for line in lines)


def _body(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """The rows after the header that are not blank."""
    filled = (row for row in rows if row)
    next(filled, None)
    return filled


def _encoding(real: str) -> str:
    with open(real, "rb") as file:
        head = file.read(1 << 16)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        # The cut may fall inside a character.
        head[: max(0, len(head) - 4)].decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _delimiter(real: str, encoding: str) -> str:
    """The most frequent candidate of the first line, quoted parts left out. `csv.Sniffer` is slow on hostile input."""
    if real.lower().endswith(".tsv"):
        return "\t"
    with open(real, encoding=encoding, errors="replace") as file:
        first = next((line for line in iter(lambda: file.readline(1 << 16), "") if line.strip()), "")
    outside = "".join(first.split('"')[::2])
    return max(_DELIMITERS, key=lambda mark: (outside.count(mark), -_DELIMITERS.index(mark)))


def _column_names(header: list[str]) -> list[str]:
    """Names as in the file; empty ones are numbered, repeated ones too (SQLite ignores case)."""
    if len(header) > MAX_COLUMNS:
        raise LoadFailed(f"has {len(header)} columns, at most {MAX_COLUMNS} are read")
    taken: set[str] = set()
    names = []
    for position, raw in enumerate(header, 1):
        name = base = " ".join(str(raw).split())[:120] or f"column_{position}"
        suffix = 2
        while name.lower() in taken:
            name, suffix = f"{base}_{suffix}", suffix + 1
        taken.add(name.lower())
        names.append(name)
    return names


def _types(rows: Iterator[list[str]], width: int) -> list[str]:
    """INTEGER, REAL or TEXT for each column: the narrowest that every value fits."""
    kinds: list[str | None] = [None] * width
    for number, row in enumerate(rows):
        if number >= MAX_ROWS:
            raise LoadFailed(f"has over {MAX_ROWS} rows")
        for index, value in enumerate(islice(row, width)):
            kind = kinds[index]
            if kind == "TEXT" or value == "":
                continue
            if kind != "REAL" and _INTEGER.fullmatch(value):
                kinds[index] = "INTEGER"
            elif _is_real(value):
                kinds[index] = "REAL"
            else:
                kinds[index] = "TEXT"
    return [kind or "TEXT" for kind in kinds]


def _is_real(value: str) -> bool:
    return len(value) <= 60 and bool(_REAL.fullmatch(value)) and any(character.isdigit() for character in value)


_CONVERT: dict[str, Callable[[str], Any]] = {"INTEGER": int, "REAL": float, "TEXT": str}


def load_json(database: sqlite3.Connection, table: str, real: str, lines: bool) -> list[str]:
    """Makes one table of an array or of JSON Lines; of an object, one table for each array of objects in it."""
    try:
        document = list(_json_lines(real)) if lines else _json_document(real)
    except RecursionError:
        raise LoadFailed("is nested too deeply") from None
    except ValueError as error:
        raise LoadFailed(f"is not valid JSON: {str(error)[:200]}") from None
    if isinstance(document, dict):
        arrays = {key: value for key, value in document.items() if _is_records(value)}
        if not arrays:
            arrays = {table: [document]}
        elif len(arrays) == 1:
            arrays = {table: next(iter(arrays.values()))}
    else:
        arrays = {table: document if isinstance(document, list) else [document]}
    if len(arrays) > MAX_TABLES:
        raise LoadFailed(f"holds {len(arrays)} arrays, at most {MAX_TABLES} are read")
    names = []
    for key, records in arrays.items():
        name = key if key == table else f"{table}_{_identifier(key)}"
        _insert_records(database, name, records)
        names.append(name)
    return names


def _identifier(text: str) -> str:
    return re.sub(r"\W+", "_", text[:80]).strip("_").lower() or "table"


def table_name(path: str, taken: set[str]) -> str:
    """A plain identifier from the file's name; numbered when taken."""
    stem = path.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]
    base = _identifier(stem)
    if base[0].isdigit() or base in ("main", "temp"):
        base = f"t_{base}"
    name, suffix = base, 2
    while name in taken:
        name, suffix = f"{base}_{suffix}", suffix + 1
    return name


def _parse(text: str) -> Any:
    # Long integers stay text: SQLite has 64 bits, and converting thousands of digits is slow on purpose in Python.
    return json.loads(
        text,
        parse_int=lambda digits: int(digits) if len(digits) <= 18 else digits,
        parse_constant=lambda word: None,
    )


def _json_document(real: str) -> Any:
    with open(real, encoding=_encoding(real), errors="strict") as file:
        return _parse(file.read())


def _json_lines(real: str) -> Iterator[Any]:
    with open(real, encoding=_encoding(real), errors="strict") as file:
        for number, line in enumerate(file):
            if number >= MAX_ROWS:
                raise LoadFailed(f"has over {MAX_ROWS} rows")
            if line.strip():
                yield _parse(line)


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _insert_records(database: sqlite3.Connection, table: str, records: list[Any]) -> None:
    if len(records) > MAX_ROWS:
        raise LoadFailed(f"has over {MAX_ROWS} rows")
    if not records:
        raise LoadFailed("holds no rows")
    if not all(isinstance(record, dict) for record in records):
        records = [record if isinstance(record, dict) else {"value": record} for record in records]
    keys: dict[str, None] = {}
    for record in records:
        keys.update(dict.fromkeys(record))
        if len(keys) > MAX_COLUMNS:
            raise LoadFailed(f"has over {MAX_COLUMNS} columns")
    if not keys:
        raise LoadFailed("holds only empty objects")
    kinds = [_json_type(record.get(key) for record in records) for key in keys]
    rows = ([_json_cell(record.get(key)) for key in keys] for record in records)
    _insert(database, table, _column_names(list(keys)), kinds, rows)


def _json_type(values: Iterable[Any]) -> str:
    found = {type(value) for value in values if value is not None}
    if found <= {int, bool}:
        return "INTEGER" if found else "TEXT"
    return "REAL" if found <= {int, float} else "TEXT"


def _json_cell(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return value if not isinstance(value, str) else value[:MAX_FIELD]


def _insert(
    database: sqlite3.Connection, table: str, columns: list[str], types: list[str], rows: Iterable[list[Any]]
) -> None:
    declared = ", ".join(f"{quoted(name)} {kind}" for name, kind in zip(columns, types))
    database.execute(f"CREATE TABLE main.{quoted(table)} ({declared})")
    places = ", ".join("?" * len(columns))
    try:
        database.executemany(f"INSERT INTO main.{quoted(table)} VALUES ({places})", rows)
    except UnicodeEncodeError:
        raise LoadFailed("holds text that is not valid Unicode") from None
