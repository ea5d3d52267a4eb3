"""From an engine's answers to tools and results. A remote engine may answer anything: what is not as it should be is a `ProtocolError`.

Sends nothing; `_toolbox` asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ._errors import ProtocolError, Unsupported, from_text
from ._results import Result, Tool, ToolList

# Tools about tools, which a toolbox has as methods.
_META_TOOLS = frozenset({"search_tools", "get_tool_details", "call_tool", "call_read_only_tool"})
_MOST_TOOLS = 100_000


def every_tool(ask: Callable[[dict[str, Any]], Any]) -> dict[str, Tool]:
    """All pages of `tools/list`; `ask` sends one request with these parameters."""
    tools: dict[str, Tool] = {}
    seen: set[str] = set()
    cursor: str | None = None
    while True:
        page = ask({"cursor": cursor} if cursor else {})
        try:
            entries = [Tool.from_wire(_object(entry)) for entry in _list(page["tools"])]
        except (TypeError, ValueError, KeyError) as error:
            raise ProtocolError(f"the engine's answer to `tools/list` is no list of tools: {error!r:.200}") from None
        tools.update((tool.name, tool) for tool in entries if tool.name not in _META_TOOLS)
        cursor = page.get("nextCursor")
        if not cursor:
            return tools
        if not isinstance(cursor, str):
            raise ProtocolError("the engine's answer to `tools/list` has a cursor that is no text")
        if cursor in seen:
            raise ProtocolError("the engine's answer to `tools/list` names a page again that was read already")
        seen.add(cursor)
        if len(tools) >= _MOST_TOOLS or len(seen) >= _MOST_TOOLS // 100:
            raise ProtocolError(f"the engine lists more than {_MOST_TOOLS:,} tools, or {_MOST_TOOLS // 100:,} pages of them")


def result(name: str, value: Any) -> Result:
    """The result of a call, or its exception."""
    try:
        kind = _object(value).get("resultType", "complete")
        content = [_object(block) for block in _list(value.get("content", []) if kind == "complete" else [])]
    except TypeError as error:
        raise ProtocolError(f"the engine's answer to a call of `{name:.200}` is no result: {error}") from None
    if kind != "complete":
        raise Unsupported(f"the call ended as `{kind!s:.40}`, which this client can't go on with", tool=name)
    made = Result(content, value.get("structuredContent"))
    if value.get("isError"):
        raise from_text(name, made.text)
    return made


def found(query: str, answer: Result, known: Mapping[str, Tool]) -> ToolList:
    """The tools of a search, with what is known of them from the list."""
    try:
        body = _object(answer.structured)
        entries = [_object(entry) for entry in _list(body.get("tools", []))]
        tools = [Tool.from_wire({"_meta": known[entry["name"]].meta if entry["name"] in known else {}, **entry}) for entry in entries]
        return ToolList(tools, query=query, total=int(body.get("total", len(tools))), mode=str(body.get("mode", "")))
    except (TypeError, ValueError, KeyError) as error:
        raise ProtocolError(f"the engine's answer to a search is no list of tools: {error!r:.200}") from None


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, found {type(value).__name__}")
    return value  # pyright: ignore[reportUnknownVariableType]


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, found {type(value).__name__}")
    return value  # pyright: ignore[reportUnknownVariableType]
