"""Contract 1: plain classes with `_run` or `_arun`."""


def test_run_gets_keywords(load):
    tool = load(
        """
        class T:
            def _run(self, text, times: int = 2):
                return text * times
        """,
        {"class_name": "T"},
    )
    assert tool.text("t", {"text": "ab"}) == "abab"
    assert tool.text("t", {"text": "ab", "times": 3}) == "ababab"


def test_missing_argument_is_the_tools_own_error(load):
    tool = load("class T:\n    def _run(self, text):\n        return text\n", {"class_name": "T"})
    assert "missing 1 required positional argument" in tool.failed("t", {})["message"]


def test_arun_alone_runs_on_a_loop(load):
    tool = load(
        """
        import asyncio
        class T:
            async def _arun(self, text):
                first, second = await asyncio.gather(asyncio.sleep(0, text), asyncio.sleep(0, "!"))
                return first + second
        """,
        {"class_name": "T"},
    )
    assert tool.text("t", {"text": "a"}) == "a!"
    assert tool.text("t", {"text": "b"}) == "b!"


def test_run_is_preferred_to_arun(load):
    tool = load(
        """
        class T:
            def _run(self): return "sync"
            async def _arun(self): return "async"
        """,
        {"class_name": "T"},
    )
    assert tool.text() == "sync"


def test_async_run_is_awaited(load):
    assert load("class T:\n    async def _run(self): return 5\n", {"class_name": "T"}).value() == 5


def test_tasks_left_behind_are_cancelled(load):
    tool = load(
        """
        import asyncio
        seen = []
        class T:
            async def _arun(self):
                async def forever():
                    try:
                        await asyncio.Event().wait()
                    except asyncio.CancelledError:
                        seen.append("cancelled")
                        raise
                self.task = asyncio.ensure_future(forever())
                await asyncio.sleep(0)
                return list(seen)
        """,
        {"class_name": "T"},
    )
    assert tool.value() == []
    assert tool.value() == ["cancelled"]


def test_the_instance_is_made_once_and_shared_by_its_tools(load):
    tool = load(
        """
        made = []
        class T:
            def __init__(self): made.append(self)
            def _run(self): return [len(made), made.index(self)]
        """,
        {"name": "a", "class_name": "T"},
        {"name": "b", "class_name": "T"},
    )
    assert tool.value("a") == [1, 0]
    assert tool.value("b") == [1, 0]


def test_constructor_arguments_come_from_the_configuration(load):
    source = """
    class T:
        def __init__(self, unit, factor=2): self.unit, self.factor = unit, factor
        def _run(self): return f"{self.unit}{self.factor}"
    """
    assert load(source, {"class_name": "T"}, config={"unit": "km", "factor": 9}).text() == "km2"


def test_constructor_without_configuration_is_a_fault_that_names_it(load):
    tool = load(
        "class T:\n    def __init__(self, unit): pass\n    def _run(self): pass\n",
        {"class_name": "T"},
        expect_faults=True,
    )
    failed = tool.failed()
    assert failed["kind"] == "load_failed"
    assert failed["message"] == "the constructor of `T` needs `unit`"
    assert "config_schema" in failed["hint"]


def test_context_parameter_is_the_hosts(load):
    tool = load(
        """
        class T:
            def _run(self, q, context):
                context["progress"](1, 2, "half")
                context["log"]("warning", "careful")
                return {k: v for k, v in context.items() if not callable(v)}
        """,
        {"class_name": "T"},
    )
    value = tool.value("t", {"q": 1, "context": {"plugin_id": "forged"}}, secrets={"K": "v"})
    assert value == {
        "trace_id": "trace-1",
        "plugin_id": "sample",
        "version": "1.2.3",
        "config": {"unit": "m"},
        "secrets": {"K": "v"},
        "data": ["/data"],
        "scratch": "/scratch",
    }
    assert tool.progress == [(1.0, 2.0, "half")]
    assert tool.logs == [("warning", "careful")]


def test_context_is_an_argument_where_the_schema_lists_it(load):
    schema = {"type": "object", "properties": {"context": {"type": "string"}}}
    source = "class T:\n    def _run(self, context): return context\n"
    assert load(source, {"class_name": "T", "args_schema": schema}).text("t", {"context": "words"}) == "words"


def test_context_is_an_argument_where_it_is_annotated_as_text(load):
    assert (
        load("class T:\n    def _run(self, context: str): return context\n", {"class_name": "T"}).text(
            "t", {"context": "words"}
        )
        == "words"
    )


def test_module_paths(load):
    files = {
        "main.py": "class T:\n    def _run(self): return 'main'\n",
        "pkg/__init__.py": "",
        "pkg/mod.py": "from . import other\nclass T:\n    def _run(self): return other.WORD\n",
        "pkg/other.py": "WORD = 'inner'\n",
        "my-tools/deep.py": "class T:\n    def _run(self): return 'dashed'\n",
    }
    paths = ["main", "main.py", "./main.py", "pkg.mod", "pkg/mod.py", "my-tools/deep.py"]
    tool = load(files, *({"name": path, "module_path": path, "class_name": "T"} for path in paths))
    assert [tool.text(path) for path in paths] == ["main", "main", "main", "inner", "inner", "dashed"]


def test_modules_are_imported_once(load):
    tool = load(
        {
            "main.py": "import counter\nclass A:\n    def _run(self): return counter.N\nclass B(A): pass\n",
            "counter.py": "N = []\nN.append(1)\n",
        },
        {"name": "a", "class_name": "A"},
        {"name": "b", "class_name": "B"},
    )
    assert tool.value("a") == tool.value("b") == [1]


def test_load_faults_stay_with_their_tool(load):
    tool = load(
        {
            "main.py": "class Good:\n    def _run(self): return 'ok'\nclass Empty: pass\n",
            "broken.py": "import nothing_like_this\n",
            "bad.py": "def f(:\n",
            "exits.py": "raise SystemExit(3)\n",
        },
        {"name": "good", "class_name": "Good"},
        {"name": "missing", "class_name": "Goood"},
        {"name": "empty", "class_name": "Empty"},
        {"name": "import", "module_path": "broken", "class_name": "X"},
        {"name": "again", "module_path": "broken", "class_name": "Y"},
        {"name": "syntax", "module_path": "bad", "class_name": "X"},
        {"name": "exits", "module_path": "exits", "class_name": "X"},
        {"name": "leaves", "module_path": "../x", "class_name": "X"},
        {"name": "nowhere", "module_path": "nowhere", "class_name": "X"},
        {"name": "nothing", "module_path": "main"},
        expect_faults=True,
    )
    assert tool.text("good") == "ok"
    assert set(tool.plugin.faults) == {
        "missing",
        "empty",
        "import",
        "again",
        "syntax",
        "exits",
        "leaves",
        "nowhere",
        "nothing",
    }
    messages = {name: tool.failed(name)["message"] for name in tool.plugin.faults}
    assert {fault.kind for fault in tool.plugin.faults.values()} == {"load_failed"}
    assert messages["missing"] == "`main` has no `Goood`"
    assert tool.failed("missing")["hint"] == "it has: Good, Empty"
    assert messages["empty"] == "`Empty` in `main` has neither `_run`, `_arun` nor `execute`"
    assert (
        messages["import"]
        == messages["again"]
        == "importing `broken`: ModuleNotFoundError: No module named 'nothing_like_this'"
    )
    assert 'File "broken.py", line 1' in tool.failed("import")["detail"]
    assert messages["syntax"].startswith("importing `bad`: SyntaxError:")
    assert 'File "bad.py", line 1' in tool.failed("syntax")["detail"]
    assert messages["exits"] == "importing `exits`: SystemExit: 3"
    assert messages["leaves"] == "`../x` is not a module path"
    assert "nowhere" in messages["nowhere"]


def test_annotations_make_values(load):
    tool = load(
        """
        from __future__ import annotations
        import dataclasses, datetime, decimal, enum, pathlib, typing, uuid
        class Color(enum.Enum):
            RED = "r"
        @dataclasses.dataclass
        class Point:
            x: int
            at: datetime.date = None
        class T:
            def _run(self, **args): pass
        class Typed:
            def _run(self, when: datetime.datetime, color: Color, point: Point, points: list[Point], n: int,
                     either: typing.Union[str, datetime.date],
                     maybe: typing.Optional[uuid.UUID] = None, tags: set[str] = (),
                     path: pathlib.Path = None, price: decimal.Decimal = None, unknown: NoSuchType = None):
                values = (when, color, point, points[0], point.at, n, either, maybe, tags, path, price, unknown)
                return [type(v).__name__ for v in values]
        """,
        {"class_name": "Typed"},
    )
    args = {
        "when": "2024-05-01T10:00:00Z", "color": "r", "point": {"x": 1, "at": "2024-05-01"}, "points": [{"x": 2}],
        "n": 3.0, "either": "2024-05-01", "maybe": "12345678123456781234567812345678", "tags": ["a"], "path": "/x",
        "price": 1.5, "unknown": "left",
    }  # fmt: skip
    names = tool.value("t", args)
    assert [name.replace("PosixPath", "Path") for name in names] == [
        "datetime", "Color", "Point", "Point", "date", "int", "str", "UUID", "set", "Path", "Decimal", "str",
    ]  # fmt: skip
    failed = tool.failed("t", {**args, "color": "green"})
    assert failed["message"] == "invalid arguments: `color`: ValueError: 'green' is not a valid Color"


def test_generators_are_gathered(load):
    tool = load(
        """
        class T:
            def _run(self, n):
                for i in range(n): yield {"i": i}
        class A:
            async def _arun(self, n):
                for i in range(n): yield i
        """,
        {"name": "t", "class_name": "T"},
        {"name": "a", "class_name": "A"},
    )
    assert tool.value("t", {"n": 2}) == [{"i": 0}, {"i": 1}]
    assert tool.value("a", {"n": 3}) == [0, 1, 2]


def test_an_endless_generator_meets_the_size_limit(load):
    tool = load(
        "import itertools\nclass T:\n    def _run(self):\n        yield from itertools.count()\n",
        {"class_name": "T"},
        limit=10_000,
    )
    assert tool.failed()["kind"] == "output_too_large"


def test_context_variables_do_not_leak_between_calls(load):
    tool = load(
        """
        import contextvars, decimal
        decimal.getcontext().prec = 7
        v = contextvars.ContextVar("v", default="fresh")
        v.set("import")
        class T:
            def _run(self):
                seen = v.get(); v.set("call")
                return [seen, decimal.getcontext().prec]
        """,
        {"class_name": "T"},
    )
    assert tool.value() == ["import", 7]
    assert tool.value() == ["import", 7]
