"""What every plugin's tests share: reads `plugin.yaml`, checks arguments as the host does, and calls the tool directly.

It speaks the four Python contracts of a tool in a few lines each. It is not the runtime: nothing is confined, timed or
capped here.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

PLUGINS = Path(__file__).resolve().parent

# A plugin is known by a digest of its whole folder: running its tests must not put compiled files there.
sys.dont_write_bytecode = True


class ArgsRefused(Exception):
    """The arguments do not fit the tool's `args_schema`: the host would not have called it."""


class ToolFailed(Exception):
    """The tool reported a failure, by whatever road its contract has."""


class Plugin:
    """One plugin folder, its manifest, and a way to call its tools."""

    # Whose modules are loaded now.
    _imported: Path | None = None

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest: dict[str, Any] = yaml.safe_load((root / "plugin.yaml").read_text("utf-8"))
        self.tools: dict[str, dict[str, Any]] = {tool["name"]: tool for tool in self.manifest["mcps"]}
        self._instances: dict[tuple[str, str], Any] = {}

    def module(self, name: str) -> Any:
        """Imports one of the plugin's modules; modules of the same name that belong to another plugin are forgotten
        first.
        """
        if Plugin._imported != self.root:
            sys.path[:] = [str(self.root), *(entry for entry in sys.path if Path(entry).parent != PLUGINS)]
            for loaded, module in list(sys.modules.items()):
                file = getattr(module, "__file__", None)
                if file and Path(file).parent.parent == PLUGINS and Path(file).parent != self.root:
                    del sys.modules[loaded]
            Plugin._imported = self.root
        return importlib.import_module(name)

    def context(self, **changes: Any) -> dict[str, Any]:
        """The context of contracts 2 and 3; a folder `examples` beside the manifest plays the granted folder."""
        data = self.root / "examples"
        context: dict[str, Any] = {
            "trace_id": "test",
            "plugin_id": self.manifest["name"],
            "version": self.manifest["version"],
            "config": {},
            "secrets": {},
            "data": [str(data)] if data.is_dir() else [],
            "scratch": None,
            "progress": lambda done, total=None, message=None: None,
        }
        context.update(changes)
        return context

    def call(self, name: str, args: dict[str, Any], context: dict[str, Any] | None = None) -> Any:
        """Checks the arguments, calls, and checks the result against `output_schema`."""
        tool = self.tools[name]
        problems = sorted(Draft202012Validator(tool["args_schema"]).iter_errors(args), key=str)
        if problems:
            raise ArgsRefused(problems[0].message)
        result = self.call_unchecked(name, args, context)
        if "output_schema" in tool:
            Draft202012Validator(tool["output_schema"]).validate(result)
        return result

    def call_unchecked(self, name: str, args: dict[str, Any], context: dict[str, Any] | None = None) -> Any:
        """Calls without looking at the schema: for input that the host would have refused."""
        tool = self.tools[name]
        context = self.context() if context is None else context
        if "script" in tool:
            return self._call_script(tool["script"], args)
        module = self.module(tool.get("module_path", "main"))
        if "function" in tool:
            inputs = {key: {"value": value, "args": {}} for key, value in args.items()}
            answer = getattr(module, tool["function"])(inputs, context)
            if not answer["success"]:
                raise ToolFailed(answer["error"])
            return answer["outputs"]
        return self._call_class(module, tool["class_name"], args, context)

    def _call_class(self, module: Any, class_name: str, args: dict[str, Any], context: dict[str, Any]) -> Any:
        key = (module.__name__, class_name)
        if key not in self._instances:
            self._instances[key] = getattr(module, class_name)()
            if hasattr(self._instances[key], "initialize"):
                without_secrets = {name: value for name, value in context.items() if name != "secrets"}
                self._instances[key].initialize(dict(context["config"]), without_secrets)
        instance = self._instances[key]
        try:
            if hasattr(instance, "_run") or hasattr(instance, "_arun"):
                run = instance._run if hasattr(instance, "_run") else instance._arun
                extra = {"context": context} if "context" in inspect.signature(run).parameters else {}
                answer = run(**args, **extra)
                return asyncio.run(answer) if inspect.isawaitable(answer) else answer
            takes = len(inspect.signature(instance.execute).parameters)
            return instance.execute(*(args, context)[:takes])
        except Exception as error:
            raise ToolFailed(str(error)) from error

    def _call_script(self, script: str, args: dict[str, Any]) -> Any:
        done = subprocess.run(
            [sys.executable, "-B", str(self.root / script)],
            input=json.dumps(args),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise ToolFailed(done.stderr.strip())
        answer = json.loads(done.stdout)
        if isinstance(answer, dict) and answer.get("success") is False:
            raise ToolFailed(answer["error"])
        return answer

    def check_example(self, tool: str, example: dict[str, Any]) -> None:
        """Calls an example of the manifest and compares with its golden result."""
        result = self.call(tool, example["args"])
        json.dumps(result, allow_nan=False)
        if "result" in example:
            difference = first_difference(example["result"], result)
            assert difference is None, difference


def first_difference(expected: Any, found: Any, path: str = "result") -> str | None:
    """Where two JSON values differ; floats may differ in the last bits, everything else is exact."""
    if isinstance(expected, bool) or isinstance(found, bool) or expected is None or found is None:
        return None if expected is found else f"{path}: expected {expected!r}, found {found!r}"
    if isinstance(expected, (int, float)) and isinstance(found, (int, float)):
        same = expected == found or math.isclose(expected, found, rel_tol=1e-12)
        return None if same else f"{path}: expected {expected!r}, found {found!r}"
    if isinstance(expected, dict) and isinstance(found, dict):
        if expected.keys() != found.keys():
            return f"{path}: expected keys {sorted(expected)}, found {sorted(found)}"
        inner = (first_difference(expected[key], found[key], f"{path}.{key}") for key in expected)
        return next((difference for difference in inner if difference), None)
    if isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            return f"{path}: expected {len(expected)} items, found {len(found)}: {found!r}"
        pairs = enumerate(zip(expected, found))
        inner = (first_difference(left, right, f"{path}[{index}]") for index, (left, right) in pairs)
        return next((difference for difference in inner if difference), None)
    return (
        None
        if expected == found and type(expected) is type(found)
        else f"{path}: expected {expected!r}, found {found!r}"
    )


def plugin_folders() -> list[Path]:
    """Every folder that holds a manifest."""
    return sorted(path.parent for path in PLUGINS.glob("*/plugin.yaml"))


_LOADED: dict[Path, Plugin] = {}


def _plugin_of(test_file: Path) -> Plugin:
    root = test_file.parent.parent
    if root not in _LOADED:
        _LOADED[root] = Plugin(root)
    return _LOADED[root]


@pytest.fixture
def plugin(request: pytest.FixtureRequest) -> Plugin:
    """The plugin that the test file belongs to."""
    return _plugin_of(request.path)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives a test that asks for `example` every example of its plugin, as `(tool, example)`."""
    if "example" in metafunc.fixturenames:
        tested = _plugin_of(Path(str(metafunc.module.__file__)))
        cases = [(name, example) for name, tool in tested.tools.items() for example in tool.get("examples", [])]
        metafunc.parametrize("example", cases, ids=[f"{name}-{index}" for index, (name, _) in enumerate(cases)])


@pytest.fixture
def failed() -> type[Exception]:
    """What a failing call raises."""
    return ToolFailed


@pytest.fixture
def refused() -> type[Exception]:
    """What arguments outside the schema raise."""
    return ArgsRefused
