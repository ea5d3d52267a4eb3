"""README's ten lines, as they stand there, and what README says they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_ten_lines_print_what_readme_says(tmp_path: Path) -> None:
    part = (ROOT / "README.md").read_text().partition("## Use it from Python")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", part, flags=re.DOTALL)
    (printed,) = re.findall(r"```text\n(.*?)```", part, flags=re.DOTALL)
    assert len(code.splitlines()) <= 10
    examples = ROOT / "python/examples"
    subprocess.run([sys.executable, "-B", str(examples / "thousand.py"), "thousand"], cwd=tmp_path, check=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(examples), os.environ.get("PYTHONPATH")]))}
    environment["PEGBOARD_HOME"] = str(tmp_path / "home")
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed
