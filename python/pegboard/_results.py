"""What comes back: tools, results of searches and calls; and the same tools in the forms that model providers take.

Nothing here talks to an engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, overload

Json = dict[str, Any]

_LONGEST_NAME = 64


class _Record:
    """Values that stay as they are, equal when they hold the same. By hand, since `dataclasses` brings `inspect`: a third of the whole import."""

    __slots__ = ()

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, _Record) and type(other) is type(self) else NotImplemented

    def __repr__(self) -> str:
        held = ", ".join(f"{name}={value!r}" for name, value in zip(self.__slots__, self._values(), strict=True))
        return f"{type(self).__name__}({held})"

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), self._values()

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}.{name} can't be set: it says what the engine said")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}.{name} can't be deleted: it says what the engine said")

    def _hold(self, *values: Any) -> None:
        for name, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, name, value)


class Tool(_Record):
    """A tool as the engine lists it. `input_schema` is JSON Schema 2020-12, whole."""

    __slots__ = ("name", "description", "title", "input_schema", "output_schema", "annotations", "meta", "score")

    name: str
    description: str
    title: str | None
    input_schema: Json
    output_schema: Json | None
    annotations: Json
    meta: Json
    score: float | None

    def __init__(
        self,
        name: str,
        description: str = "",
        title: str | None = None,
        input_schema: Json | None = None,
        output_schema: Json | None = None,
        annotations: Json | None = None,
        meta: Json | None = None,
        score: float | None = None,
    ) -> None:
        schema = {"type": "object", "properties": {}} if input_schema is None else input_schema
        self._hold(name, description, title, schema, output_schema, annotations or {}, meta or {}, score)

    @property
    def plugin(self) -> str:
        """The name of the plugin."""
        return str(self._plugin.get("name") or self.name.partition("__")[0])

    @property
    def version(self) -> str | None:
        """The version of the plugin, where the engine says it."""
        return self._plugin.get("version")

    @property
    def category(self) -> str | None:
        """The category of the plugin, where it has one."""
        return self._plugin.get("category")

    @property
    def read_only(self) -> bool:
        """Whether the tool says that it changes nothing."""
        return bool(self.annotations.get("readOnlyHint"))

    @property
    def _plugin(self) -> Json:
        plugin = self.meta.get("pegboard/plugin")
        return plugin if isinstance(plugin, dict) else {}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Tool:
        """The tool of an entry of `tools/list` or of a search."""
        return cls(
            name=str(wire["name"]),
            description=str(wire.get("description") or ""),
            title=wire.get("title"),
            input_schema=dict(wire.get("inputSchema") or wire.get("input_schema") or {"type": "object", "properties": {}}),
            output_schema=wire.get("outputSchema") or wire.get("output_schema"),
            annotations=dict(wire.get("annotations") or {}),
            meta=dict(wire.get("_meta") or {}),
            score=wire.get("score"),
        )

    def to_wire(self) -> Json:
        """The entry of `tools/list`."""
        wire: Json = {"name": self.name, "description": self.description, "inputSchema": self.input_schema}
        optional = {
            "title": self.title,
            "outputSchema": self.output_schema,
            "annotations": self.annotations or None,
            "_meta": self.meta or None,
        }
        return wire | {key: value for key, value in optional.items() if value is not None}


def provider_name(name: str) -> str:
    """A name as Anthropic and OpenAI take it: at most 64 of A-Z, a-z, 0-9, `_` and `-`. A longer or other name is cut and marked.

    >>> provider_name("units__convert")
    'units__convert'
    >>> len(provider_name("x" * 100)), provider_name("x" * 100) == provider_name("x" * 101)
    (64, False)
    """
    safe = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "_" for letter in name)
    if safe == name and len(name) <= _LONGEST_NAME:
        return name
    import hashlib

    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{safe[: _LONGEST_NAME - 9]}_{mark}"


class ToolList(Sequence[Tool]):
    """Tools, in order. `total` is how many there were to choose from, `mode` how the engine searched.

    >>> tools = ToolList([Tool("a__b", "Does b")])
    >>> tools.names, tools.to_openai()[0]["name"]
    (['a__b'], 'a__b')
    """

    def __init__(self, tools: Iterable[Tool], *, query: str = "", total: int | None = None, mode: str = "") -> None:
        self._tools = tuple(tools)
        self.query: str = query
        self.total: int = len(self._tools) if total is None else total
        self.mode: str = mode

    @property
    def names(self) -> list[str]:
        """The names, best first."""
        return [tool.name for tool in self._tools]

    @overload
    def __getitem__(self, index: int) -> Tool: ...
    @overload
    def __getitem__(self, index: slice) -> ToolList: ...
    def __getitem__(self, index: int | slice) -> Tool | ToolList:
        if isinstance(index, slice):
            return ToolList(self._tools[index], query=self.query, total=self.total, mode=self.mode)
        return self._tools[index]

    def __len__(self) -> int:
        return len(self._tools)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools)

    def __repr__(self) -> str:
        return f"ToolList({self.names!r})"

    def original_name(self, provider: str) -> str:
        """The tool that a provider's name stands for; `KeyError` when it is none of these."""
        for tool in self._tools:
            if provider_name(tool.name) == provider:
                return tool.name
        raise KeyError(provider)

    def to_anthropic(self, *, defer_loading: bool = False) -> list[Json]:
        """Tools for Anthropic's Messages API; with `defer_loading` they stay out of the prompt until a reference names them.

        >>> ToolList([Tool("a__b", "Does b")]).to_anthropic(defer_loading=True)[0]["defer_loading"]
        True
        """
        tools: list[Json] = []
        for tool in self._tools:
            entry: Json = {
                "name": provider_name(tool.name),
                "description": tool.description,
                "input_schema": {"type": "object", **tool.input_schema},
            }
            tools.append(entry | {"defer_loading": True} if defer_loading else entry)
        return tools

    def to_anthropic_references(self) -> list[Json]:
        """The content of the `tool_result` of a search: references to tools that the request defers."""
        return [{"type": "tool_reference", "tool_name": provider_name(tool.name)} for tool in self._tools]

    def to_openai(self, *, defer_loading: bool = False) -> list[Json]:
        """Function tools for OpenAI's Responses API."""
        tools: list[Json] = []
        for tool in self._tools:
            entry: Json = {
                "type": "function",
                "name": provider_name(tool.name),
                "description": tool.description,
                "parameters": {"type": "object", "properties": {}} | tool.input_schema,
                # Strict mode takes a part of JSON Schema only; the engine checks the arguments.
                "strict": False,
            }
            tools.append(entry | {"defer_loading": True} if defer_loading else entry)
        return tools

    def to_openai_chat(self) -> list[Json]:
        """Function tools for OpenAI's Chat Completions API."""
        return [
            {"type": "function", "function": {key: tool[key] for key in ("name", "description", "parameters")}}
            for tool in self.to_openai()
        ]

    def to_openai_search_output(self, call_id: str) -> Json:
        """The answer to a `tool_search_call`: the tools, one namespace a plugin."""
        namespaces: dict[str, Json] = {}
        for tool, entry in zip(self._tools, self.to_openai(defer_loading=True), strict=True):
            name = provider_name(tool.plugin)
            about = f"Tools of the plugin {tool.plugin}"
            space = namespaces.setdefault(name, {"type": "namespace", "name": name, "description": about, "tools": []})
            space["tools"].append(entry)
        return {
            "type": "tool_search_output",
            "call_id": call_id,
            "execution": "client",
            "status": "completed",
            "tools": list(namespaces.values()),
        }

    def to_mcp(self) -> list[Json]:
        """Entries of `tools/list`."""
        return [tool.to_wire() for tool in self._tools]


class Result(_Record):
    """What a call gave: `content` blocks as MCP has them, and the structured result, where there is one."""

    __slots__ = ("content", "structured")

    content: list[Json]
    structured: Any

    def __init__(self, content: list[Json], structured: Any = None) -> None:
        self._hold(content, structured)

    @property
    def text(self) -> str:
        """The text blocks, one after the other.

        >>> Result([{"type": "text", "text": "two words"}]).text
        'two words'
        """
        return "\n".join(str(block.get("text", "")) for block in self.content if block.get("type") == "text")

    @property
    def value(self) -> Any:
        """The structured result without the wrapper that MCP needs around what is no object; the text where there is none."""
        structured = self.structured
        if structured is None:
            return self.text
        if isinstance(structured, dict) and list(structured) == ["result"]:
            return structured["result"]
        return structured
