"""The tool `describe_tables`: which data files there are, and what tables, columns and values a file holds."""

from __future__ import annotations

from typing import Any

from granted import FileRefused, kind_of, listing
from loading import quoted
from workspace import Refused, Workspace

MAX_SAMPLE = 10
MAX_TABLES_SHOWN = 50


def execute_plugin(inputs: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """Without `files`, lists the data files of the granted folders; with them, describes their tables."""
    args = {name: given["value"] for name, given in inputs.items()}
    folders = [str(folder) for folder in context.get("data") or []]
    try:
        if not args.get("files"):
            files, more = listing(folders)
            outputs: dict[str, Any] = {"files": files, "more_files": more}
        else:
            outputs = {"tables": describe(args["files"], args.get("sample_rows", 3), folders, context.get("progress"))}
    except (Refused, FileRefused) as error:
        return {"success": False, "error": str(error)}
    return {"success": True, "outputs": outputs}


def describe(files: list[str], sample_rows: int, folders: list[str], progress: Any) -> list[dict[str, Any]]:
    """Each table with its columns, number of rows and first rows."""
    if not isinstance(files, list) or not all(isinstance(path, str) for path in files):
        raise Refused("`files` must be a list of paths")
    if not isinstance(sample_rows, int) or not 0 <= sample_rows <= MAX_SAMPLE:
        raise Refused(f"`sample_rows` must be 0 to {MAX_SAMPLE}")
    workspace = Workspace(files, folders, progress)
    try:
        found = [
            _table(workspace, path, schema, table, sample_rows)
            for path, schema, tables in workspace.sources
            for table in tables
        ]
    finally:
        workspace.close()
    return found[:MAX_TABLES_SHOWN]


def _table(workspace: Workspace, path: str, schema: str, table: str, sample_rows: int) -> dict[str, Any]:
    source = f"{quoted(schema)}.{quoted(table)}"
    shown: dict[str, Any] = {
        "table": table,
        "file": path,
        "kind": kind_of(path),
        "columns": workspace.columns(schema, table),
    }
    try:
        shown["rows"] = workspace.select(f"SELECT count(*) FROM {source}", [], 1)["rows"][0][0]
        if sample_rows:
            shown["sample"] = workspace.select(f"SELECT * FROM {source} LIMIT {sample_rows}", [], sample_rows)["rows"]
    except Refused as error:
        # One view over a missing table must not hide the tables beside it.
        shown["problem"] = str(error)
    return shown
