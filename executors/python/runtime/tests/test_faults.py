"""Exceptions, logs, secrets: what a failing or noisy plugin leaves behind."""

import pytest
from pegboard_runtime.faults import secret_words


def raising(load, body, prelude="", **options):
    return load(f"{prelude}\nclass T:\n    def _run(self):\n        {body}\n", {"class_name": "T"}, **options)


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("raise ValueError('no city')", "raised", "ValueError: no city"),
        ("raise ValueError", "raised", "ValueError"),
        ("raise KeyError('x')", "raised", "KeyError: 'x'"),
        ("1 / 0", "raised", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(2)", "raised", "SystemExit: 2"),
        ("raise KeyboardInterrupt", "raised", "KeyboardInterrupt"),
        ("raise GeneratorExit('x')", "raised", "GeneratorExit: x"),
        ("raise Base('x')", "raised", "Base: x"),
        ("raise MemoryError", "out_of_memory", "the tool ran out of memory"),
        ("raise Mute", "raised", "Mute: <its message can't be shown: RuntimeError>"),
        ("raise NotText", "raised", "NotText: <its message can't be shown: TypeError>"),
        ("raise Nested(Nested)", "raised", "Nested: "),
        ("raise ToolException('Say this to the model.')", "raised", "Say this to the model."),
        ("raise Traceless('x')", "raised", "Traceless: <exception can't be shown>"),
        ("raise Nameless('x')", "raised", "Nameless: x"),
    ],
)
def test_exceptions(load, body, kind, message):
    prelude = """
class Base(BaseException): pass
class Mute(Exception):
    def __str__(self): raise RuntimeError
class NotText(Exception):
    def __str__(self): return 5
class Nested(Exception): pass
class ToolException(Exception): pass
class Traceless(Exception):
    @property
    def __traceback__(self): raise RuntimeError
class Meta(type):
    @property
    def __name__(self): raise RuntimeError
class Nameless(Exception, metaclass=Meta): pass
"""
    failed = raising(load, body, prelude).failed()
    assert failed["kind"] == kind
    assert message in failed["message"]


def test_only_the_plugins_own_frames(load):
    failed = load(
        {
            "main.py": "import json, deep\nclass T:\n    def _run(self):\n        return deep.parse('{')\n",
            "deep.py": "import json\ndef parse(text):\n    return json.loads(text)\n",
        },
        {"class_name": "T"},
    ).failed()
    assert failed["message"].startswith("JSONDecodeError: Expecting property name")
    assert failed["detail"] == (
        "  File \"main.py\", line 4, in _run\n    return deep.parse('{')\n"
        '  File "deep.py", line 3, in parse\n    return json.loads(text)'
    )


def test_causes_are_told(load):
    attempt = "\n        try:\n            {}['k']\n"
    body = attempt + "        except KeyError as error:\n            raise ValueError('outer') from error"
    failed = raising(load, body).failed()
    assert failed["message"] == "ValueError: outer"
    assert "caused by KeyError: 'k'\n" in failed["detail"]
    body = attempt + "        except KeyError:\n            raise ValueError('outer') from None"
    assert "caused by" not in raising(load, body).failed()["detail"]


def test_a_cause_that_is_its_own_cause_ends(load):
    body = "\n        a, b = ValueError('a'), ValueError('b')\n        a.__cause__, b.__cause__ = b, a\n        raise a"
    assert raising(load, body).failed()["message"] == "ValueError: a"


def test_endless_recursion_is_short(load):
    failed = raising(load, "self._run()").failed()
    assert failed["message"].startswith("RecursionError: ")
    assert " more\n" in failed["detail"]
    assert failed["detail"].count("main.py") <= 12
    assert len(failed["detail"]) <= 8192


GROUPS = """
try:
    ExceptionGroup
except NameError:
    # Python 3.10: the package `exceptiongroup` has the same shape.
    class ExceptionGroup(Exception):
        def __init__(self, message, exceptions):
            self.message, self.exceptions = message, tuple(exceptions)
        def __str__(self):
            count = len(self.exceptions)
            return f"{self.message} ({count} sub-exception{'s' if count > 1 else ''})"
    BaseExceptionGroup = ExceptionGroup
"""


def test_groups_name_their_members(load):
    failed = raising(
        load, "raise ExceptionGroup('two', [ValueError('a'), BaseExceptionGroup('inner', [KeyError('b')])])", GROUPS
    ).failed()
    assert failed["message"] == (
        "ExceptionGroup: two (2 sub-exceptions): ValueError: a; ExceptionGroup: inner (1 sub-exception): KeyError: 'b'"
    )


def test_messages_and_details_are_bounded(load):
    failed = raising(load, "raise ValueError('x' * 10**6)").failed()
    assert len(failed["message"]) <= 2048 + 20
    failed = raising(load, "raise ValueError('y' * 10**6) from ValueError('x' * 10**6)").failed()
    assert len(failed["detail"]) <= 8192


def test_secrets_are_masked(load):
    secrets = {
        "KEY": "s3cret-värde&1",
        "SHORT": "abc",
        "PEM": "-----BEGIN-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END-----\n",
    }
    body = "\n        key, short, pem = context['secrets'].values()\n        import logging\n"
    body += "        context['log']('info', 'using ' + key)\n        context['progress'](1, None, 'with ' + key)\n"
    body += "        logging.getLogger('net').warning('GET /?k=%s', 's3cret-v%C3%A4rde%261')\n"
    body += "        raise ValueError(f'{key} {short} {[key]} {pem.splitlines()[1]}') from KeyError('s3cret-värde&1')"
    source = f"import logging\nclass T:\n    def _run(self, context):\n        {body}\n"
    tool = load(source, {"class_name": "T"})
    failed = tool.failed("t", {}, secrets=secrets)
    assert failed["message"] == "ValueError: *** abc ['***'] ***"
    assert "s3cret" not in repr(failed)
    assert tool.logs == [("info", "using ***"), ("warning", "net: GET /?k=***")]
    assert tool.progress == [(1.0, None, "with ***")]


def test_the_control_without_the_secret_nothing_is_masked(load):
    assert (
        raising(load, "raise ValueError('s3cret-value')").failed("t", {}, secrets={"K": "another"})["message"]
        == "ValueError: s3cret-value"
    )


def test_secret_forms():
    assert secret_words({"a": "short"}) == ()
    assert "a\\nb'cdef" in secret_words({"a": "a\nb'cdef"})


def test_logging_and_warnings_go_to_the_calls_log(load):
    source = """
    import logging, warnings
    log = logging.getLogger("plugin")
    logging.basicConfig(level=logging.DEBUG)
    log.error("at import")
    class T:
        def _run(self):
            log.debug("d"); log.info("i %s", 1); log.warning("w"); log.critical("c"); logging.info("root")
            log.info("%d", "not a number")
            warnings.warn("old", DeprecationWarning, stacklevel=1)
            try:
                1 / 0
            except ZeroDivisionError:
                log.exception("failed")
            return 1
    """
    tool = load(source, {"class_name": "T"})
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # catch_warnings puts the stock function back in its place for the time being; the plugin's is what we test.
        tool.plugin.logs.attach_warnings()
        assert tool.value() == 1
    levels = [level for level, _ in tool.logs]
    texts = [text for _, text in tool.logs]
    assert texts[:5] == ["plugin: d", "plugin: i 1", "plugin: w", "plugin: c", "root"]
    assert levels[:5] == ["debug", "info", "warning", "error", "info"]
    assert "can't be shown" in texts[5]
    assert texts[6] == "DeprecationWarning: old (main.py:10)"
    assert texts[7].startswith("plugin: failed\nTraceback")
    assert len(tool.logs) == 8


def test_no_log_line_is_said_twice_or_outside_a_call(load, capsys):
    source = """
    import logging
    logging.basicConfig(level=logging.INFO)
    class T:
        def initialize(self, config, context): logging.getLogger("x").info("starting")
        def execute(self, input): logging.getLogger("x").info("called")
    """
    tool = load(source, {"class_name": "T"})
    assert capsys.readouterr().err.count("starting") == 1
    tool.call()
    assert tool.logs == [("info", "x: called")]
    assert capsys.readouterr().err == ""


def test_progress_only_grows(load):
    source = """
    class T:
        def _run(self, context):
            for value in (1, 2, 2, 1, float("nan"), 3): context["progress"](value)
            context["progress"](4, float("inf"))
            return 1
    """
    tool = load(source, {"class_name": "T"})
    assert tool.value() == 1
    assert [frame[0] for frame in tool.progress] == [1.0, 2.0, 3.0]


def test_a_context_that_outlives_its_call_is_silent(load):
    source = (
        "kept = []\nclass T:\n    def _run(self, context):\n        kept.append(context)\n        return len(kept)\n"
    )
    tool = load(source, {"class_name": "T"})
    tool.value()
    kept = tool.plugin.tools["t"].call.__globals__["kept"][0]
    kept["log"]("info", "late")
    kept["progress"](1)
    assert (tool.logs, tool.progress) == ([], [])


def test_unknown_tool(load):
    tool = load("class T:\n    def _run(self): pass\n", {"class_name": "T"})
    assert tool.failed("other")["message"] == "the plugin has no tool `other`"
