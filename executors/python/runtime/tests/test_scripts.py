"""Contract 4: scripts."""

import sys

import pytest

READ = "import json, sys\nargs = json.load(sys.stdin)\n"


def script(load, source, **options):
    return load({"run.py": source}, {"script": "run.py"}, **options)


def test_reads_an_object_and_prints_json(load):
    tool = script(load, READ + "print(json.dumps({'sum': args['a'] + args['b']}))\n")
    assert tool.value("t", {"a": 1, "b": 2}) == {"sum": 3}
    assert tool.value("t", {"a": 5, "b": 2}) == {"sum": 7}


def test_the_mark_asks_for_the_list_form(load):
    source = READ + "print(json.dumps({name: item['value'] for name, item in args}))\n"
    assert script(load, "#!/usr/bin/env python3\n# pegboard: inputs=list\n" + source).value(
        "t", {"a": 1, "ü": "é"}
    ) == {"a": 1, "ü": "é"}


@pytest.mark.parametrize(
    "reading",
    ["sys.stdin.read()", "input()", "sys.stdin.buffer.read()", "next(iter(sys.stdin))", "sys.stdin.readline()"],
)
def test_ways_to_read(load, reading):
    assert script(load, f"import json, sys\nprint(json.loads({reading})['a'])\n").value("t", {"a": 7}) == 7


@pytest.mark.parametrize(
    "writing",
    ["print('[1]')", "sys.stdout.write('[1]')", "sys.stdout.buffer.write(b'[1]')", "json.dump([1], sys.stdout)"],
)
def test_ways_to_write(load, writing):
    assert script(load, f"import json, sys\n{writing}\n").value() == [1]


def test_text_that_is_not_json_is_text(load):
    assert script(load, "print('hello')\nprint('{world')\n").text() == "hello\n{world"
    assert script(load, "pass\n").text() == ""


def test_each_call_has_a_fresh_main(load):
    source = "import sys\nassert __name__ == '__main__' and sys.modules['__main__'].__dict__ is globals()\n"
    source += (
        "assert 'seen' not in globals()\nseen = 1\nprint(int(__file__.endswith('run.py') and sys.argv == [__file__]))\n"
    )
    tool = script(load, source)
    before = (sys.stdin, sys.stdout, sys.stderr, sys.argv, sys.path, sys.modules["__main__"])
    assert tool.value() == 1
    assert tool.value() == 1
    assert before == (sys.stdin, sys.stdout, sys.stderr, sys.argv, sys.path, sys.modules["__main__"])


def test_imports_beside_the_script(load):
    files = {
        "bin/run.py": "import near, far\nprint(near.WORD + far.WORD)\n",
        "bin/near.py": "WORD = 'near'\n",
        "far.py": "WORD = 'far'\n",
    }
    assert load(files, {"script": "bin/run.py"}).text() == "nearfar"


@pytest.mark.parametrize("end", ["sys.exit(0)", "sys.exit()", "raise SystemExit", "exit = 1"])
def test_good_ends(load, end):
    assert script(load, f"import sys\nprint(1)\n{end}\n").value() == 1


def test_exit_codes_are_failures_with_the_end_of_stderr(load, capsys):
    tool = script(
        load, "import sys\nfor i in range(2000): print('line', i, file=sys.stderr)\nprint('partial')\nsys.exit(3)\n"
    )
    failed = tool.failed()
    assert (failed["kind"], failed["message"]) == ("raised", "the script ended with status 3: line 1999")
    assert failed["detail"].endswith("line 1999") and "line 0\n" not in failed["detail"]
    assert capsys.readouterr().err.startswith("line 0\nline 1\n")


def test_exit_with_words(load):
    assert (
        script(load, "import sys\nsys.exit('no such file')\n").failed()["message"]
        == "the script ended with status 1: no such file"
    )


def test_exit_code_with_an_error_document(load):
    tool = script(load, 'import sys\nprint(\'{"success": false, "error": "bad city"}\')\nsys.exit(1)\n')
    assert tool.failed()["message"] == "bad city"


def test_exceptions_show_the_scripts_frames(load):
    failed = script(load, "def f():\n    raise ValueError('no')\nf()\n").failed()
    assert failed["message"] == "ValueError: no"
    assert failed["detail"].count('File "run.py"') == 2


@pytest.mark.parametrize(
    ("printed", "structured"),
    [
        ('{"success": true, "outputs": {"x": {"value": 1}}}', {"x": 1}),
        (
            '[{"success": true, "name": "a", "result": 1}, {"success": true, "name": "b", "result": [2]}]',
            {"a": 1, "b": [2]},
        ),
        ('[{"success": true, "result": 1}, {"success": true, "result": 2}]', [1, 2]),
        ("null", None),
        ('[{"a": 1}]', [{"a": 1}]),
    ],
)
def test_documents(load, printed, structured):
    assert script(load, f"print({printed!r})\n").value() == structured


@pytest.mark.parametrize(
    ("printed", "message"),
    [
        ('{"success": false, "error": "no"}', "no"),
        ('[{"success": true, "name": "a", "result": 1}, {"success": false, "name": "b", "error": "no"}]', "b: no"),
        ('[{"success": false, "name": "b", "result": "no"}]', "b: no"),
    ],
)
def test_reported_failures(load, printed, message):
    assert script(load, f"print({printed!r})\n").failed()["message"] == message


def test_nan_is_bad_output(load):
    assert script(load, "print('[1, NaN]')\n").failed() == {
        "ok": False,
        "kind": "bad_output",
        "message": "`result[1]`: `nan` has no JSON form",
        "hint": "return null in its place",
        "detail": None,
    }


def test_too_much_output(load):
    source = "import sys\ntry:\n    while True: print('x' * 1000)\nexcept BaseException: pass\n"
    assert script(load, source, limit=100_000).failed()["kind"] == "output_too_large"


def test_load_faults(load):
    tool = load(
        {"bad.py": "def f(:\n", "ok.py": "print(1)\n"},
        {"name": "syntax", "script": "bad.py"},
        {"name": "missing", "script": "nowhere.py"},
        {"name": "outside", "script": "../etc/passwd"},
        {"name": "ok", "script": "ok.py"},
        expect_faults=True,
    )
    assert tool.failed("syntax")["message"].startswith("compiling `bad.py`: SyntaxError")
    assert tool.failed("missing")["message"] == "`nowhere.py` can't be read: No such file or directory"
    assert tool.failed("outside")["message"] == "`../etc/passwd` lies outside the plugin"
    assert tool.value("ok") == 1


def test_stdout_kept_open_or_closed_by_the_script(load):
    assert script(load, "import sys\nprint(5)\nsys.stdout.close()\n").value() == 5
