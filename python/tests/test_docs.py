"""The documentation runs: every Python block of docs/python.md in order, and every example in a docstring."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

import pegboard

PAGE = Path(__file__).parents[2] / "docs/python.md"


def test_the_guide_runs_from_top_to_bottom(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 8
    monkeypatch.chdir(Path(__file__).parent)
    monkeypatch.setenv("PEGBOARD_HOME", str(home))
    monkeypatch.setenv("PEGBOARD_NO_BUNDLED", "true")
    scope: dict[str, Any] = {"__name__": "guide"}
    try:
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), scope)
    finally:
        scope["box"].close()
    said = capsys.readouterr().out
    assert "['bench_desk__total'" in said and "\n42\n" in said and "It is 42." in said
    assert "shown: ['bench_desk__total'" in said


@pytest.mark.parametrize("module", [module.name for module in pkgutil.iter_modules(pegboard.__path__)])
def test_examples_in_docstrings_hold(module: str) -> None:
    if module == "__main__":
        return
    failed, _ = doctest.testmod(importlib.import_module(f"pegboard.{module}"))
    assert failed == 0
