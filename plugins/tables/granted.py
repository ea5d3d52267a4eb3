"""Finds data files inside the granted folders, and nowhere else.

The sandbox already hides everything else; this keeps links from leading out of one granted folder into a file that was
not meant, and gives the model a clear answer. Messages name paths as the caller wrote them, never where a folder lies
on the host.
"""

from __future__ import annotations

import os
import stat

KINDS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".db": "sqlite",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
}
MAX_FILE_BYTES = {"csv": 64 << 20, "json": 32 << 20, "jsonl": 64 << 20, "sqlite": 4 << 30}
MAX_LISTED = 200
MAX_DEPTH = 4
MAX_SEEN = 20_000


class FileRefused(Exception):
    """A path that can't be used; the message is safe to show."""


def kind_of(path: str) -> str:
    """`csv`, `json`, `jsonl` or `sqlite`, by the ending of the name."""
    ending = os.path.splitext(path)[1].lower()
    if ending not in KINDS:
        raise FileRefused(f"`{path[:200]}` is not a data file, expected one of {', '.join(sorted(KINDS))}")
    return KINDS[ending]


def locate(path: str, folders: list[str]) -> str:
    """The real path of a regular file below one of the folders."""
    if not folders:
        raise FileRefused("no folder is granted to this plugin")
    if not path or "\0" in path:
        raise FileRefused("a file path is empty or holds a null character")
    kind = kind_of(path)
    for folder in folders:
        root = os.path.realpath(folder)
        real = os.path.realpath(os.path.join(root, path))
        if not _inside(real, root):
            continue
        try:
            status = os.stat(real)
        except (OSError, ValueError):
            continue
        # A pipe or device would hang or never end.
        if not stat.S_ISREG(status.st_mode):
            raise FileRefused(f"`{path[:200]}` is not a regular file")
        if status.st_size > MAX_FILE_BYTES[kind]:
            raise FileRefused(f"`{path[:200]}` has {status.st_size} bytes, at most {MAX_FILE_BYTES[kind]} are read")
        return real
    raise FileRefused(f"`{path[:200]}` does not exist in the granted folders")


def _inside(real: str, root: str) -> bool:
    return real == root or real.startswith(root.rstrip(os.sep) + os.sep)


def listing(folders: list[str]) -> tuple[list[dict[str, object]], bool]:
    """The data files below the folders, with kind and size; and whether there are more than are shown."""
    if not folders:
        raise FileRefused("no folder is granted to this plugin")
    found: list[dict[str, object]] = []
    seen = 0
    for folder in folders:
        root = os.path.realpath(folder)
        for place, subfolders, names in os.walk(root):
            relative = os.path.relpath(place, root)
            depth = 0 if relative == "." else relative.count(os.sep) + 1
            subfolders[:] = sorted(name for name in subfolders if not name.startswith(".")) if depth < MAX_DEPTH else []
            for name in sorted(names):
                seen += 1
                if len(found) >= MAX_LISTED or seen > MAX_SEEN:
                    return found, True
                path = os.path.normpath(os.path.join(relative, name))
                if not name.startswith(".") and os.path.splitext(name)[1].lower() in KINDS:
                    try:
                        real = locate(path, folders)
                    except FileRefused:
                        continue
                    found.append({"path": path, "kind": kind_of(path), "bytes": os.stat(real).st_size})
    return found, False
