"""`python -m pegboard`: `export` makes a plugin of a LangChain tool; everything else is the program that the package carries."""

from __future__ import annotations

import argparse
import os
import sys

from ._engine import program
from ._errors import PegboardError


def main() -> int:
    """The exit code of an export; for everything else this process becomes the program."""
    if sys.argv[1:2] != ["export"]:
        path = program()
        os.execv(path, [path, *sys.argv[1:]])
    parser = argparse.ArgumentParser(prog="python -m pegboard export", description="Make a plugin of a LangChain tool.")
    parser.add_argument("tool", help="where it is: package.module:name")
    parser.add_argument("-o", "--output", required=True, help="the folder to write; must not exist, or be empty")
    parser.add_argument("--name", help="the plugin's name, instead of one made from the module's")
    options = parser.parse_args(sys.argv[2:])
    from ._export import export

    try:
        written = export(options.tool, options.output, name=options.name)
    except PegboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {written}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
