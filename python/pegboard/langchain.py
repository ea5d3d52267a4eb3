"""LangChain: tools, a toolkit, a retriever over tools, an agent middleware and a LangGraph node that choose tools for each step.

Needs langchain-core; the middleware needs langchain. Choosing itself is `_selection`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, BaseToolkit, ToolException
from pydantic import ConfigDict, Field, PrivateAttr

from ._errors import CallError
from ._results import Result, Tool
from ._selection import Selection
from ._toolbox import Toolbox

if TYPE_CHECKING:
    from collections.abc import Sequence

_MEDIA = {"image": "image", "audio": "audio"}


class PegboardTool(BaseTool):
    """A tool of an engine. Its `args_schema` is the JSON Schema as the plugin wrote it; the engine checks the arguments.

    The artifact is `{"structured": …, "content": […]}` as MCP has them. A failed call is a `ToolException` with the engine's hint, which
    `handle_tool_error` (on by default) shows to the model.
    """

    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    handle_tool_error: Any = True
    _box: Toolbox = PrivateAttr()
    _served: str = PrivateAttr()

    @property
    def box(self) -> Toolbox:
        """The toolbox that it is a tool of."""
        return self._box

    def _run(self, /, *_: Any, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        try:
            return _content_and_artifact(self._box.call(self._served, arguments))
        except CallError as error:
            raise ToolException(f"{error.code}: {error}") from error

    async def _arun(self, /, *_: Any, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        try:
            return _content_and_artifact(await self._box.acall(self._served, arguments))
        except CallError as error:
            raise ToolException(f"{error.code}: {error}") from error


def to_langchain(box: Toolbox, tool: Tool) -> PegboardTool:
    """The LangChain tool of one of a toolbox's tools."""
    metadata = {
        "plugin": tool.plugin,
        "version": tool.version,
        "category": tool.category,
        "annotations": tool.annotations,
        "title": tool.title,
    }
    tags = [tool.plugin, *([tool.category] if tool.category else []), *(["read_only"] if tool.read_only else [])]
    made = PegboardTool(
        name=tool.name,
        description=tool.description or tool.title or tool.name,
        args_schema={"type": "object", "properties": {}} | tool.input_schema,
        tags=tags,
        metadata={key: value for key, value in metadata.items() if value is not None},
    )
    made._box = box  # pyright: ignore[reportPrivateUsage]
    made._served = tool.name  # pyright: ignore[reportPrivateUsage]
    return made


def _content_and_artifact(result: Result) -> tuple[Any, dict[str, Any]]:
    artifact = {"structured": result.structured, "content": result.content}
    if all(block.get("type") == "text" for block in result.content):
        # What is no object is wrapped in one on the wire; a model reads the value itself.
        value = result.value
        wrapped = value is not result.structured and value is not None and not isinstance(value, str)
        return (json.dumps(value, ensure_ascii=False) if wrapped else result.text), artifact
    return [_block(block) for block in result.content], artifact


def _block(block: dict[str, Any]) -> dict[str, Any]:
    kind = str(block.get("type"))
    if kind in _MEDIA:
        return {"type": _MEDIA[kind], "base64": block.get("data", ""), "mime_type": block.get("mimeType", "")}
    if kind == "resource":
        resource: dict[str, Any] = block.get("resource") or {}
        if "blob" in resource:
            return {"type": "file", "base64": resource["blob"], "mime_type": resource.get("mimeType", "")}
        return {"type": "text", "text": str(resource.get("text", ""))}
    if kind == "resource_link":
        return {"type": "text", "text": f"{block.get('name', '')}: {block.get('uri', '')}"}
    return {"type": "text", "text": str(block.get("text", ""))}


class PegboardToolkit(BaseToolkit):
    """The tools of a toolbox: those with these names, those that fit a query, or all."""

    model_config: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True)

    box: Toolbox
    names: list[str] | None = None
    query: str | None = None
    limit: int = 5

    def get_tools(self) -> list[BaseTool]:
        """The LangChain tools."""
        return self.box.get_tools(self.names, query=self.query, limit=self.limit)


class PegboardRetriever(BaseRetriever):
    """Finds tools: a document each, the description as its text, name, score, plugin and schema as its metadata."""

    model_config: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True)

    box: Toolbox
    k: int = Field(default=5, ge=1, le=50)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return [_document(tool) for tool in self.box.search(query, k or self.k)]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return [_document(tool) for tool in await self.box.asearch(query, k or self.k)]


def _document(tool: Tool) -> Document:
    metadata = {
        "name": tool.name,
        "title": tool.title,
        "plugin": tool.plugin,
        "score": tool.score,
        "input_schema": tool.input_schema,
        "annotations": tool.annotations,
    }
    return Document(id=tool.name, page_content=tool.description, metadata=metadata)


def conversation_query(messages: Sequence[Any]) -> str:
    """What a conversation is about now: the last request of the user, and what the model has said since."""
    parts: list[str] = []
    for message in reversed(messages):
        kind = getattr(message, "type", None)
        if kind in ("human", "ai"):
            text = _text(message)
            if text:
                parts.append(text[:1_500])
        if kind == "human" or len(parts) >= 3:
            break
    return "\n".join(reversed(parts))


def _text(message: Any) -> str:
    content = message.content
    if isinstance(content, str):
        return content.strip()
    texts = [block if isinstance(block, str) else block.get("text", "") for block in content]
    return "\n".join(filter(None, texts)).strip()


def called_names(messages: Sequence[Any], last: int = 12) -> list[str]:
    """The tools that the last messages called: their results are still spoken of, and often called again."""
    names: dict[str, None] = {}
    for message in messages[-last:]:
        for call in getattr(message, "tool_calls", None) or ():
            names[call["name"]] = None
    return list(names)


def tool_node(
    box: Toolbox,
    k: int = 8,
    *,
    pinned: Sequence[str] = (),
    margin: float = 0.1,
    token_budget: int | None = 4_000,
    key: str = "pegboard_tools",
) -> RunnableLambda[dict[str, Any], dict[str, Any]]:
    """A LangGraph node that puts the names of the tools for the next step under `key`; the state has `messages`.

    The graph's model node binds `box.get_tools(state["pegboard_tools"])`. For the arguments see `PegboardMiddleware`.
    """
    selection = Selection(k=k, pinned=tuple(pinned), margin=margin, token_budget=token_budget)

    def choose(state: dict[str, Any]) -> dict[str, Any]:
        messages = state["messages"]
        query = conversation_query(messages)
        found = box.search(query, selection.wide) if query else ()
        return {key: selection.choose(box.tools(), found, state.get(key) or (), called_names(messages))}

    async def achoose(state: dict[str, Any]) -> dict[str, Any]:
        messages = state["messages"]
        query = conversation_query(messages)
        found = await box.asearch(query, selection.wide) if query else ()
        return {key: selection.choose(await box.atools(), found, state.get(key) or (), called_names(messages))}

    return RunnableLambda(choose, achoose, name="pegboard_tools")


def __getattr__(name: str) -> Any:
    # The middleware needs langchain itself, the rest does not.
    if name == "PegboardMiddleware":
        from ._middleware import PegboardMiddleware

        return PegboardMiddleware
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if TYPE_CHECKING:
    from ._middleware import PegboardMiddleware

__all__ = [
    "PegboardMiddleware",
    "PegboardRetriever",
    "PegboardTool",
    "PegboardToolkit",
    "called_names",
    "conversation_query",
    "to_langchain",
    "tool_node",
]
