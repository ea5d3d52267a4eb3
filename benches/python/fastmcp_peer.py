"""FastMCP as the peer: `fastmcp_peer.py` serves one echo tool that runs in its own process, without any isolation, over stdio;
`fastmcp_peer.py CATALOG.json [--search]` serves the tools of a generated catalogue, with its BM25 search where asked.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from fastmcp import FastMCP
from fastmcp.server.transforms.search.bm25 import BM25SearchTransform
from fastmcp.tools.function_tool import FunctionTool

server = FastMCP("peer", transforms=[BM25SearchTransform()] if "--search" in sys.argv else [])


def answer(**arguments: Any) -> dict[str, Any]:
    """What every generated tool does."""
    return {"ok": True}


if len(sys.argv) > 1:
    with open(sys.argv[1], encoding="utf-8") as file:
        for tool in json.load(file):
            server.add_tool(
                FunctionTool(fn=answer, name=tool["name"], description=tool["description"], parameters=tool["args_schema"])
            )
else:

    @server.tool(name="echo")
    def echo(text: str) -> dict[str, Any]:
        """Echo a text."""
        return {"echo": text, "length": len(text)}


server.run(show_banner=False)
