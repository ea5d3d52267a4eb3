"""tables: golden examples, what files become, and attempts to write, leave the folder, or use up memory and time."""

from __future__ import annotations

import json
import os
import sqlite3
import time

import pytest


@pytest.fixture
def folder(tmp_path):
    inner = tmp_path / "granted"
    inner.mkdir()
    return inner


@pytest.fixture
def ask(plugin, folder):
    def run(sql, *files, **more):
        return plugin.call(
            "query_tables", {"sql": sql, "files": list(files), **more}, plugin.context(data=[str(folder)])
        )

    return run


def test_example(plugin, example):
    plugin.check_example(*example)


def test_types_come_from_values(plugin, folder):
    (folder / "t.csv").write_text("a,b,c,d,a,\n1,1.5,007,x,,q\n-2,2,12,,5,\n\n3,1e3,0,y,6\n")
    context = plugin.context(data=[str(folder)])
    (table,) = plugin.call("describe_tables", {"files": ["t.csv"]}, context)["tables"]
    assert table["columns"] == [
        {"name": "a", "type": "INTEGER"},
        {"name": "b", "type": "REAL"},
        {"name": "c", "type": "TEXT"},
        {"name": "d", "type": "TEXT"},
        {"name": "a_2", "type": "INTEGER"},
        {"name": "column_6", "type": "TEXT"},
    ]
    assert table["sample"] == [
        [1, 1.5, "007", "x", None, "q"],
        [-2, 2.0, "12", None, 5, None],
        [3, 1000.0, "0", "y", 6, None],
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"n;v\nM\xfcller;1\n",
        "n;v\nMüller;1\n".encode(),
        "\ufeffn;v\nMüller;1\n".encode(),
        "n;v\nMüller;1\n".encode("utf-16"),
        'n|v\r\n"Müller"|1\r\n'.encode(),
        "n\tv\nMüller\t1".encode(),
    ],
)
def test_reads_encodings_and_delimiters(ask, folder, content):
    (folder / "x.csv").write_bytes(content)
    assert ask("SELECT n, v FROM x", "x.csv")["rows"] == [["Müller", 1]]


@pytest.mark.parametrize(
    ("content", "tables"),
    [
        ('[{"a": 1}, {"b": [1, {"c": 2}]}]', {"x": [[1, None], [None, '[1, {"c": 2}]']]}),
        ('{"meta": 1, "rows": [{"a": 1}]}', {"x": [[1]]}),
        ('{"one": [{"a": 1}], "two": [{"a": 2}]}', {"x_one": [[1]], "x_two": [[2]]}),
        ('{"a": true, "b": null}', {"x": [[1, None]]}),
        ("[1, 2]", {"x": [[1], [2]]}),
        ('[{"a": 123456789012345678901234567890, "b": NaN}]', {"x": [["123456789012345678901234567890", None]]}),
    ],
)
def test_reads_shapes_of_json(ask, folder, content, tables):
    (folder / "x.json").write_text(content)
    assert {table: ask(f"SELECT * FROM {table}", "x.json")["rows"] for table in tables} == tables


def test_reads_json_lines_and_joins_with_sqlite(ask, folder):
    (folder / "log.jsonl").write_text('{"id": 1, "n": "a"}\n\n{"id": 2}\n')
    database = sqlite3.connect(folder / "shop.db")
    database.execute("CREATE TABLE item (id INTEGER, price REAL, raw BLOB)")
    database.execute("INSERT INTO item VALUES (2, 9.5, x'00ff'), (3, 9e999, NULL)")
    database.commit()
    database.close()
    found = ask("SELECT l.id, price, raw FROM log l JOIN item USING (id)", "log.jsonl", "shop.db")
    assert found["rows"] == [[2, 9.5, "<2 bytes>"]]
    assert ask("SELECT price FROM shop.item WHERE id = 3", "shop.db")["rows"] == [["inf"]]


def test_files_of_the_same_name_get_their_own_tables(ask, folder):
    (folder / "sub").mkdir()
    (folder / "2024 q1.csv").write_text("a\n1\n")
    (folder / "sub" / "2024-q1.csv").write_text("a\n2\n")
    sql = "SELECT x.a, y.a FROM t_2024_q1 x, t_2024_q1_2 y"
    assert ask(sql, "2024 q1.csv", "sub/2024-q1.csv")["rows"] == [[1, 2]]


def test_reads_a_wal_database_in_a_folder_that_cannot_be_written(ask, folder):
    database = sqlite3.connect(folder / "w.db")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE t AS SELECT 1 AS a")
    database.commit()
    database.close()
    folder.chmod(0o500)
    try:
        assert ask("SELECT a FROM t", "w.db")["rows"] == [[1]]
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (2)",
        "UPDATE t SET a = 2",
        "DELETE FROM t",
        "DROP TABLE t",
        "CREATE TABLE u (a)",
        "CREATE TEMP TABLE u (a)",
        "CREATE VIRTUAL TABLE v USING fts5(a)",
        "ATTACH DATABASE ':memory:' AS x",
        "DETACH DATABASE s",
        "PRAGMA query_only = OFF",
        "PRAGMA hard_heap_limit = 0",
        "PRAGMA table_info(t)",
        "SELECT * FROM pragma_database_list",
        "VACUUM INTO '/tmp/leak.db'",
        "BEGIN",
        "ANALYZE",
        "REINDEX",
        "EXPLAIN DELETE FROM t",
        "SELECT load_extension('x')",
        "SELECT a FROM t; DELETE FROM t",
        "WITH x AS (SELECT 1) DELETE FROM s.t",
        "-- nothing",
        "SELEC",
        "SELECT * FROM missing",
        "SELECT '\ud800'",
    ],
)
def test_refuses_everything_but_reading(ask, folder, failed, sql):
    (folder / "t.csv").write_text("a\n1\n")
    database = sqlite3.connect(folder / "s.db")
    database.execute("CREATE TABLE IF NOT EXISTS t2 (a)")
    database.commit()
    database.close()
    before = (folder / "s.db").read_bytes()
    try:
        found = ask(sql, "t.csv", "s.db")
    except failed:
        found = None
    assert found is None or found["rows"] == []
    assert (folder / "s.db").read_bytes() == before
    assert ask("SELECT a FROM t", "t.csv", "s.db")["rows"] == [[1]]


def test_our_own_statements_cannot_be_run_again_from_the_cache(ask, folder, failed, tmp_path):
    for place in (folder / "s.db", tmp_path / "outside.db"):
        database = sqlite3.connect(place)
        database.execute("CREATE TABLE t (a)")
        database.commit()
        database.close()
    with pytest.raises(failed, match="only reading"):
        ask('ATTACH DATABASE ? AS "s"', "s.db", params=[f"file:{tmp_path}/outside.db?mode=ro"])


def test_stays_in_the_granted_folder(ask, folder, failed, tmp_path):
    outside = tmp_path / "secret.csv"
    outside.write_text("a\n1\n")
    (folder / "link.csv").symlink_to(outside)
    (tmp_path / "granted-too").mkdir()
    (tmp_path / "granted-too" / "near.csv").write_text("a\n1\n")
    os.mkfifo(folder / "pipe.csv")
    (folder / "dir.csv").mkdir()
    (folder / "inside.csv").write_text("a\n1\n")
    (folder / "inside_link.csv").symlink_to(folder / "inside.csv")
    refused = [
        "../secret.csv",
        str(outside),
        "link.csv",
        "../granted-too/near.csv",
        "pipe.csv",
        "dir.csv",
        "/etc/passwd",
        "missing.csv",
        "a\0.csv",
        "x.txt",
        "/dev/stdin.csv",
        "inside.csv/x.csv",
    ]
    for path in refused:
        with pytest.raises(failed) as caught:
            ask("SELECT 1", path)
        assert str(tmp_path) not in str(caught.value).replace(path, "")
    for path in ("inside.csv", "./inside.csv", str(folder / "inside.csv"), "inside_link.csv"):
        assert ask("SELECT count(*) FROM " + ("inside_link" if "link" in path else "inside"), path)["rows"] == [[1]]


def test_needs_a_granted_folder(plugin, failed):
    for tool, args in (("describe_tables", {}), ("query_tables", {"sql": "SELECT 1", "files": ["a.csv"]})):
        with pytest.raises(failed, match="no folder is granted"):
            plugin.call(tool, args, plugin.context(data=[]))


def test_lists_only_data_files_within_bounds(plugin, folder):
    for name in ("a.csv", ".hidden.csv", "notes.txt", "d1/d2/b.json", "d1/d2/d3/d4/d5/too_deep.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    (folder / "away.csv").symlink_to("/etc/hostname")
    found = plugin.call("describe_tables", {}, plugin.context(data=[str(folder)]))
    assert [entry["path"] for entry in found["files"]] == ["a.csv", "d1/d2/b.json"]
    for number in range(300):
        (folder / f"n{number:03}.csv").write_text("x")
    found = plugin.call("describe_tables", {}, plugin.context(data=[str(folder)]))
    assert len(found["files"]) == 200 and found["more_files"] is True


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT length(zeroblob(900000000))",
        "SELECT length(hex(randomblob(400000000)))",
        "SELECT length(printf('%.*c', 900000000, 'x'))",
        "WITH RECURSIVE c(x) AS (SELECT 'aaaaaaaaaa' UNION ALL SELECT x || x FROM c) SELECT length(x) FROM c",
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT group_concat(x || '--------') FROM c",
    ],
)
def test_memory_bombs_end_in_a_message(ask, folder, failed, sql, plugin, monkeypatch):
    (folder / "t.csv").write_text("a\n1\n")
    monkeypatch.setattr(plugin.module("workspace"), "MAX_SECONDS", 8.0)
    started = time.monotonic()
    # A recursive query may return its short rows first and be cut; what may not happen is growth without end.
    try:
        assert ask(sql, "t.csv")["row_count"] <= 100
    except failed as error:
        assert "memory" in str(error) or "stopped" in str(error) or "SQL error" in str(error)
    assert time.monotonic() - started < 15


def test_endless_query_is_stopped(ask, folder, failed, plugin, monkeypatch):
    (folder / "t.csv").write_text("a\n1\n")
    monkeypatch.setattr(plugin.module("workspace"), "MAX_SECONDS", 0.3)
    with pytest.raises(failed, match="was stopped"):
        ask("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c", "t.csv")


def test_large_results_are_cut(ask, folder):
    (folder / "t.csv").write_text("a\n" + "x" * 20_000 + "\n" + "\n".join(["y" * 9_000] * 100))
    found = ask("SELECT a FROM t", "t.csv", max_rows=1000)
    assert found["truncated"] and len(found["rows"][0][0]) == 10_001
    assert len(json.dumps(found)) < 500_000


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", b""),
        ("x.csv", b"\n\n"),
        ("x.csv", b"a\n" + b'"' + b"x" * (2 << 20) + b'"'),
        ("x.csv", ",".join(f"c{n}" for n in range(300)).encode()),
        ("x.json", b"[" * 100_000),
        ("x.json", b"{"),
        ("x.json", b"[]"),
        ("x.json", b"[{}]"),
        ("x.json", b'[{"a": "\\ud800"}]'),
        ("x.json", b"\xff\xfe\x00"),
        ("x.jsonl", b"{}\nnope\n"),
        ("x.db", b"not a database at all, but long enough to have a header" * 20),
        ("x.db", b"SQLite format 3\0" + b"\xff" * 5000),
        ("x.json", json.dumps([{f"k{n}": 1} for n in range(300)]).encode()),
    ],
    ids=range(14),
)
def test_broken_files_end_in_a_message(ask, folder, failed, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(failed, match=f"`{name}`"):
        ask("SELECT 1", name)


def test_csv_with_null_characters_and_ragged_rows_is_read(ask, folder):
    (folder / "x.csv").write_bytes(b"a,b\n1\n2,3,4\n\x00\x00,5\n")
    assert ask("SELECT * FROM x", "x.csv")["rows"] == [[1, None], [2, 3], [None, 5]]


def test_odd_names_cannot_inject(ask, folder):
    (folder / 'a"; DROP TABLE x; --.csv').write_text('"b"" INTEGER); DROP TABLE y; --"\n1\n')
    assert ask("SELECT * FROM a_drop_table_x", 'a"; DROP TABLE x; --.csv')["columns"] == [
        'b" INTEGER); DROP TABLE y; --'
    ]


def test_arguments_outside_the_schema_are_refused_by_the_code_too(plugin, failed):
    context = plugin.context()
    for change in (
        {"sql": ""},
        {"sql": 5},
        {"files": "orders.csv"},
        {"files": []},
        {"files": [1]},
        {"files": ["orders.csv"] * 9},
        {"max_rows": 0},
        {"max_rows": 10**9},
        {"params": [[1]]},
        {"params": [1] * 51},
    ):
        args = {"sql": "SELECT 1", "files": ["orders.csv"], **change}
        with pytest.raises(failed):
            plugin.call_unchecked("query_tables", args, context)
