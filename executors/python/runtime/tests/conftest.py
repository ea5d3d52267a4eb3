"""Makes plugins out of source text and loads them into this interpreter, as the zygote does. Modules are forgotten
after each test.
"""

import logging
import sys
import textwrap
import warnings
from pathlib import Path

import pytest

RUNTIME = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(RUNTIME))

from pegboard_runtime import contracts  # noqa: E402


class Loaded:
    """A loaded plugin, and what its calls said."""

    def __init__(self, plugin):
        self.plugin = plugin
        self.progress = []
        self.logs = []

    def context(self, **changes):
        values = {
            "trace_id": "trace-1",
            "plugin_id": "sample",
            "version": "1.2.3",
            "config": {"unit": "m"},
            "secrets": {},
            "data": ["/data"],
            "scratch": "/scratch",
            "progress": lambda *frame: self.progress.append(frame),
            "log": lambda *line: self.logs.append(line),
        }
        return contracts.CallContext(**{**values, **changes})

    def call(self, tool="t", args=None, **changes):
        return self.plugin.call(tool, args or {}, self.context(**changes))

    def value(self, *parts, **named):
        """The structured value of a call that must succeed."""
        result = self.call(*parts, **named)
        assert result["ok"], result
        return result["structured"]

    def text(self, *parts, **named):
        """The one text block of a call that must succeed."""
        result = self.call(*parts, **named)
        assert result["ok"], result
        assert "structured" not in result
        (block,) = result["content"]
        assert block["type"] == "text"
        return block["text"]

    def failed(self, *parts, **named):
        result = self.call(*parts, **named)
        assert not result["ok"], result
        assert set(result) == {"ok", "kind", "message", "hint", "detail"}
        return result


@pytest.fixture
def load(tmp_path):
    """`load(source or {file: source}, spec, …, config=…)` gives a `Loaded`."""
    before = set(sys.modules)
    path = sys.path[:]
    top = logging.getLogger()
    handlers, level, showwarning = top.handlers[:], top.level, warnings.showwarning

    def forget():
        sys.path[:] = path
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if isinstance(file, str) and file.startswith(str(tmp_path)):
                del sys.modules[name]

    def make(sources, *specs, config=None, limit=1 << 20, expect_faults=False):
        # Each plugin has a folder of its own and an interpreter that knows no other; pytest's own log handlers are
        # out of the way.
        forget()
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        root.mkdir()
        top.handlers.clear()
        for name, text in ({"main.py": sources} if isinstance(sources, str) else sources).items():
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text), "utf-8")
        specs = [{"name": "t", **spec} for spec in specs]
        plugin = contracts.load_plugin(specs, str(root), limit)
        plugin.initialize(config or {}, {"plugin_id": "sample", "version": "1.2.3"})
        assert expect_faults or not plugin.faults, {name: fault.wire() for name, fault in plugin.faults.items()}
        return Loaded(plugin)

    yield make
    forget()
    top.handlers[:], warnings.showwarning = handlers, showwarning
    top.setLevel(level)


@pytest.fixture
def returns(load):
    """`returns("expression", prelude)` calls a tool that returns the expression."""

    def make(expression, prelude="", attributes="", **options):
        source = (
            textwrap.dedent(prelude)
            + f"\nclass T:\n    {attributes or 'pass'}\n    def _run(self):\n        return {expression}\n"
        )
        return load(source, {"class_name": "T"}, **options)

    return make
