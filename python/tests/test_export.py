"""A LangChain tool becomes a plugin, and the plugin runs in the sandbox."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pegboard import Toolbox, validate

TOOLS = '''
"""Tools of a small project."""
from langchain_core.tools import tool

@tool
def join_words(words: list[str], glue: str = "-") -> str:
    """Joins words with a glue between them.

    Args:
        words: The words.
        glue: What goes between.
    """
    return glue.join(words)
'''


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pegboard", *arguments], cwd=folder, capture_output=True, text=True)


def test_an_exported_tool_runs_in_the_sandbox(tmp_path: Path, home: Path) -> None:
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "tools.py").write_text(TOOLS)
    done = run(tmp_path, "export", "my_package.tools:join_words", "-o", "out", "--name", "joiner")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert validate(out)["valid"]
    assert "langchain-core" in (out / "plugin.yaml").read_text()
    with Toolbox(plugins=out, home=home, bundled=False) as box:
        tool = box.tool("joiner__join_words")
        assert tool.input_schema["properties"]["words"]["items"] == {"type": "string"}
        assert tool.description.startswith("Joins words")
        # Its packages are installed into an environment of its own; the call waits for them.
        assert box.call("joiner__join_words", words=["a", "b"]).value == "a-b"


@pytest.mark.parametrize(
    ("target", "said"),
    [("my_module", "package.module:name"), ("no_such_module:x", "can't be imported"), ("json:dumps", "is no LangChain tool")],
)
def test_what_is_no_tool_is_said(tmp_path: Path, target: str, said: str) -> None:
    done = run(tmp_path, "export", target, "-o", "out")
    assert done.returncode == 2 and said in done.stderr


def test_everything_else_is_the_program(tmp_path: Path) -> None:
    done = run(tmp_path, "--version")
    assert done.returncode == 0 and done.stdout.startswith("pegboard ")
