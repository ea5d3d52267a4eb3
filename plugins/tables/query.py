"""The tool `query_tables`: one read-only SQL statement over data files."""

from __future__ import annotations

from typing import Any

from granted import FileRefused
from workspace import Refused, Workspace

MAX_ROWS = 1_000
MAX_SQL = 10_000
MAX_PARAMS = 50


def execute_plugin(inputs: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """`inputs` holds each argument as `{"value": …}`; the granted folders are `context["data"]`."""
    args = {name: given["value"] for name, given in inputs.items()}
    try:
        outputs = query(args, [str(folder) for folder in context.get("data") or []], context.get("progress"))
    except (Refused, FileRefused) as error:
        return {"success": False, "error": str(error)}
    return {"success": True, "outputs": outputs}


def query(args: dict[str, Any], folders: list[str], progress: Any) -> dict[str, Any]:
    """Loads the files, runs the statement, and says which tables there were."""
    sql, files = args.get("sql"), args.get("files")
    params, max_rows = args.get("params") or [], args.get("max_rows", 100)
    if not isinstance(sql, str) or not sql.strip() or len(sql) > MAX_SQL:
        raise Refused(f"`sql` must be a statement of at most {MAX_SQL} characters")
    if not isinstance(files, list) or not all(isinstance(path, str) for path in files):
        raise Refused("`files` must be a list of paths")
    if not isinstance(max_rows, int) or not 1 <= max_rows <= MAX_ROWS:
        raise Refused(f"`max_rows` must be 1 to {MAX_ROWS}")
    if len(params) > MAX_PARAMS or not all(isinstance(value, (str, int, float, bool, type(None))) for value in params):
        raise Refused(f"`params` must be at most {MAX_PARAMS} plain values")
    workspace = Workspace(files, folders, progress)
    try:
        result = workspace.select(sql, params, max_rows)
    except Refused as error:
        raise Refused(f"{error} (tables: {_known(workspace)})") from None
    finally:
        workspace.close()
    return result


def _known(workspace: Workspace) -> str:
    names = [name for _, _, tables in workspace.sources for name in tables]
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
