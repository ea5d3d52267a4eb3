"""Writes a folder of a hundred plugins with ten tools each: `python thousand.py FOLDER`. They do little, and there are many of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

VERBS = ("weigh", "paint", "sort", "count", "rename", "archive", "measure", "translate", "compare", "draw")
THINGS = ("orchards", "rivers", "invoices", "planets", "recipes", "bridges", "letters", "statues", "engines", "gardens")


def main() -> None:
    """The command line."""
    for number in range(100):
        thing = f"{THINGS[number % 10]}_{number // 10}"
        folder = Path(sys.argv[1], thing)
        folder.mkdir(parents=True)
        schema = {"type": "object", "properties": {"which": {"type": "string"}}}
        tools = [
            {"name": f"{verb}_{thing}", "description": f"{verb.title()} the {thing}", "function": "answer", "args_schema": schema}
            for verb in VERBS
        ]
        manifest = {"name": thing, "version": "1.0.0", "description": f"Work with {thing}", "mcps": tools}
        # JSON is YAML.
        (folder / "plugin.yaml").write_text(json.dumps(manifest))
        (folder / "main.py").write_text("def answer(which=''):\n    return f'did it: {which}'\n")


if __name__ == "__main__":
    main()
