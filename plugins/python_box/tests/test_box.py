"""The box without its container: what it returns, how it ends what runs on, and how it cuts what is long."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def box():
    """The module, by its file: the name is too plain for a search path."""
    spec = importlib.util.spec_from_file_location("python_box_box", ROOT / "box.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_prints_come_back(box):
    said = box.run_python({"code": "import sys\nprint(sys.stdin.read().upper())", "stdin": "loud"}, {})
    assert said == {"stdout": "LOUD\n", "stderr": "", "exit_code": 0, "timed_out": False, "truncated": False}


def test_an_exception_is_told_without_the_folder(box):
    said = box.run_python({"code": "1 / 0"}, {})
    assert said["exit_code"] == 1 and "ZeroDivisionError" in said["stderr"] and "/tmp" not in said["stderr"]


def test_what_runs_on_is_ended(box):
    code = "import os, time\nif os.fork() == 0:\n    time.sleep(60)\ntime.sleep(60)"
    said = box.run_python({"code": code, "seconds": 0.3}, {})
    assert said["timed_out"] and said["exit_code"] is None


def test_long_output_is_cut(box):
    said = box.run_python({"code": "print('x' * 1_000_000)"}, {})
    assert said["truncated"] and len(said["stdout"]) == box.OUTPUT


def test_nothing_of_the_environment_is_there(box, monkeypatch):
    monkeypatch.setenv("SECRET", "value")
    said = box.run_python({"code": "import os\nprint(sorted(os.environ))"}, {})
    assert "SECRET" not in said["stdout"] and "HOME" in said["stdout"]
    assert sys.executable
