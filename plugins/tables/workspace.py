"""The database that a call works on: the named files as tables, sealed so that a query can only read, for a bounded
time and space.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Callable
from urllib.parse import quote

from granted import FileRefused, kind_of, locate
from loading import LoadFailed, load_csv, load_json, quoted, table_name

MAX_FILES = 8
MAX_SECONDS = 20.0
# Bounds what one query can build, `zeroblob` and `group_concat` included.
HEAP_BYTES = 320 << 20
MAX_CELL = 10_000
MAX_RESULT_CHARACTERS = 400_000

_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_FORBIDDEN_FUNCTIONS = {"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit", "sqlite_log"}
# Names of sqlite3.SQLITE_LIMIT_*, which Python has since 3.11: length of a value, of a statement, of a LIKE pattern,
# depth, variables.
_LIMITS = {0: 32 << 20, 1: 20_000, 8: 1_000, 3: 100, 9: 100}


class Refused(Exception):
    """What the caller can mend; the message is safe to show."""


class Workspace:
    """A database in memory with the files loaded or attached."""

    def __init__(self, paths: list[str], folders: list[str], progress: Callable[..., Any] | None = None) -> None:
        if not 1 <= len(paths) <= MAX_FILES:
            raise Refused(f"`files` must name 1 to {MAX_FILES} files, found {len(paths)}")
        # uri=True so that a file can be attached with mode=ro. The heap limit holds from here on.
        self.database = sqlite3.connect(":memory:", uri=True, isolation_level=None, check_same_thread=False)
        self.database.execute(f"PRAGMA hard_heap_limit = {HEAP_BYTES}")
        self.database.execute("PRAGMA trusted_schema = OFF")
        self.database.text_factory = lambda raw: raw.decode("utf-8", "replace")
        # (file, schema, tables)
        self.sources: list[tuple[str, str, list[str]]] = []
        taken: set[str] = set()
        for number, path in enumerate(paths):
            name = table_name(path, taken)
            tables = self._open(path, locate(path, folders), name)
            taken.update([name, *tables])
            if progress:
                progress(number + 1, len(paths), f"loaded {path[:80]}")
        self._seal()

    def _open(self, path: str, real: str, name: str) -> list[str]:
        kind = kind_of(path)
        try:
            if kind == "sqlite":
                tables = self._attach(real, name)
                self.sources.append((path, name, tables))
                return tables
            self.database.execute("BEGIN")
            if kind == "csv":
                load_csv(self.database, name, real)
                tables = [name]
            else:
                tables = load_json(self.database, name, real, lines=kind == "jsonl")
            self.database.execute("COMMIT")
        except LoadFailed as error:
            raise FileRefused(f"`{path[:200]}` {error}") from None
        except (sqlite3.Error, OverflowError, MemoryError, UnicodeError, OSError) as error:
            raise FileRefused(f"`{path[:200]}` can't be read: {type(error).__name__}: {_short(error)}") from None
        self.sources.append((path, "main", tables))
        return tables

    def _attach(self, real: str, schema: str) -> list[str]:
        uri = f"file:{quote(real)}?mode=ro"
        try:
            self.database.execute(f"ATTACH DATABASE ? AS {quoted(schema)}", [uri])
            return self._table_names(schema)
        except sqlite3.OperationalError:
            # A database in WAL mode in a folder that can't be written: read it as it lies, without its log.
            self._detach(schema)
            self.database.execute(f"ATTACH DATABASE ? AS {quoted(schema)}", [uri + "&immutable=1"])
            return self._table_names(schema)

    def _detach(self, schema: str) -> None:
        try:
            self.database.execute(f"DETACH DATABASE {quoted(schema)}")
        except sqlite3.Error:
            pass  # It was never attached.

    def _table_names(self, schema: str) -> list[str]:
        found = self.database.execute(
            f"SELECT name FROM {quoted(schema)}.sqlite_master WHERE type IN ('table', 'view') "
            "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
            "ORDER BY name LIMIT 500"
        )
        return [str(row[0]) for row in found]

    def _seal(self) -> None:
        self.database.execute("PRAGMA query_only = ON")
        self.database.execute("PRAGMA temp_store = MEMORY")
        if hasattr(self.database, "setlimit"):
            for limit, value in _LIMITS.items():
                self.database.setlimit(limit, value)
        self._open_pragma = False
        # Setting an authorizer also expires every statement prepared before, so none of ours can be run again from
        # Python's cache.
        self.database.set_authorizer(self._authorize)
        deadline = time.monotonic() + MAX_SECONDS
        self.database.set_progress_handler(lambda: int(time.monotonic() > deadline), 20_000)

    def _authorize(
        self, action: int, first: str | None, second: str | None, schema: str | None, inner: str | None
    ) -> int:
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FORBIDDEN_FUNCTIONS:
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_PRAGMA and self._open_pragma:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY

    def columns(self, schema: str, table: str) -> list[dict[str, str]]:
        """Names and declared types. `PRAGMA` is open for this one statement of ours (Python 3.10 can't take an
        authorizer off).
        """
        self._open_pragma = True
        try:
            found = self.database.execute(f"PRAGMA {quoted(schema)}.table_info({quoted(table)})").fetchmany(256)
        except sqlite3.Error as error:
            raise Refused(f"table `{table[:80]}`: {_short(error)}") from None
        finally:
            self._open_pragma = False
        return [{"name": str(row[1]), "type": str(row[2] or "ANY")} for row in found]

    def select(self, sql: str, params: list[Any], max_rows: int) -> dict[str, Any]:
        """Runs one SELECT; stops at `max_rows` rows or when the result is large."""
        try:
            cursor = self.database.execute(sql, params)
            columns = [entry[0] for entry in cursor.description or []]
            rows: list[list[Any]] = []
            size = 0
            truncated = False
            for raw in cursor:
                row = [_cell(value) for value in raw]
                size += sum(len(value) if isinstance(value, str) else 8 for value in row)
                if len(rows) == max_rows or size > MAX_RESULT_CHARACTERS:
                    truncated = True
                    break
                rows.append(row)
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError) as error:
            raise Refused(_explain(error)) from None
        return {"columns": columns, "rows": rows, "row_count": len(rows), "truncated": truncated}

    def close(self) -> None:
        """Drops everything."""
        self.database.set_progress_handler(None, 0)
        self.database.close()


def _cell(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if isinstance(value, str) and len(value) > MAX_CELL:
        return value[:MAX_CELL] + "…"
    return value


def _short(error: BaseException) -> str:
    return str(error)[:300] or "out of memory"


def _explain(error: BaseException) -> str:
    text = _short(error)
    if "not authorized" in text or "prohibited" in text:
        return "only reading is allowed: one SELECT (or WITH … SELECT) statement"
    if "interrupted" in text:
        return f"the query took over {MAX_SECONDS:.0f} seconds and was stopped"
    if isinstance(error, MemoryError) or "out of memory" in text or "too big" in text:
        return "the query needs more memory than allowed"
    if isinstance(error, sqlite3.Warning) or "one statement at a time" in text:
        return "only one statement is allowed"
    return f"SQL error: {text}"
