"""A plugin whose modules are called like the standard library's, in a bare interpreter: here nothing is loaded
beforehand.
"""

import json
import subprocess
import sys
import textwrap

from conftest import RUNTIME

SHADOWED = (
    "asyncio", "inspect", "typing", "dataclasses", "traceback", "selectors", "socket", "queue", "string", "logging",
    "importlib", "concurrent", "ast", "dis", "token", "tokenize", "linecache", "datetime", "decimal", "uuid", "base64",
    "heapq", "ssl", "signal",
)  # fmt: skip

PROGRAM = """
import sys, json
sys.path.insert(0, sys.argv[1])
from pegboard_runtime import contracts
plugin = contracts.load_plugin(json.loads(sys.argv[3]), sys.argv[2])
sys.path.remove(sys.argv[1])
plugin.initialize({}, {})
out = {name: fault.wire() for name, fault in plugin.faults.items()}
early = "asyncio" in sys.modules
for name in plugin.tools:
    out[name] = plugin.call(name, {"n": 1}, contracts.CallContext())
schemas = plugin.describe()
plugin.cleanup()
print(json.dumps({"out": out, "schemas": schemas, "early": early}))
"""


def run(root, files, specs):
    for name, text in files.items():
        (root / name).write_text(textwrap.dedent(text), "utf-8")
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, str(RUNTIME), str(root), json.dumps(specs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_our_runtime_uses_the_standard_library_all_the_same(tmp_path):
    files = {f"{name}.py": "raise RuntimeError('the plugin was taken for the standard library')\n" for name in SHADOWED}
    files["json.py"] = "def f(n: int): return 'mine'\n"
    files["string.py"] = "WORD = 'own string'\n"
    files["main.py"] = """
        import string
        class Async:
            async def _arun(self, n: "list[int] | int" = 2):
                "Args:\\n    n: a number"
                return [n, string.WORD]
        class Bad:
            def _run(self, n): return [1, {"a": float("nan")}]
        def typed(n: "float"): return {1, 2}
    """
    specs = [
        {"name": "async", "class_name": "Async"},
        {"name": "bad", "class_name": "Bad"},
        {"name": "own", "module_path": "json", "function": "f"},
        {"name": "typed", "function": "typed"},
    ]
    found = run(tmp_path, files, specs)
    out = found["out"]
    assert out["async"] == {"ok": True, "content": [], "structured": [1, "own string"]}
    assert out["own"] == {"ok": True, "content": [{"type": "text", "text": "mine"}]}
    assert out["bad"]["message"] == "`result[1].a`: `nan` has no JSON form"
    assert out["typed"]["structured"] == [1, 2]
    assert found["schemas"]["async"]["properties"]["n"]["description"] == "a number"
    assert found["schemas"]["typed"]["properties"] == {"n": {"type": "number"}}


def test_the_control_the_plugin_itself_does_meet_its_own_modules(tmp_path):
    files = {"queue.py": "raise RuntimeError('own queue')\n", "main.py": "import queue\n"}
    out = run(tmp_path, files, [{"name": "t", "class_name": "T"}])["out"]
    assert out["t"]["message"] == "importing `main`: RuntimeError: own queue"


def test_asyncio_is_loaded_before_the_fork_and_only_where_it_is_needed(tmp_path):
    files = {"main.py": "class A:\n    async def _arun(self, n): return n\nclass P:\n    def _run(self, n): return n\n"}
    assert run(tmp_path, files, [{"name": "t", "class_name": "A"}])["early"] is True
    assert run(tmp_path, files, [{"name": "t", "class_name": "P"}])["early"] is False


def test_a_plain_tool_loads_nothing_slow(tmp_path):
    files = {"main.py": "import sys\nclass T:\n    def _run(self, n: int): return sorted(sys.modules)\n"}
    modules = run(tmp_path, files, [{"name": "t", "class_name": "T"}])["out"]["t"]["structured"]
    slow = {
        "asyncio",
        "inspect",
        "typing",
        "dataclasses",
        "traceback",
        "logging",
        "pydantic",
        "importlib.util",
        "datetime",
    }
    assert slow.isdisjoint(modules)
    assert "json" in modules
