"""LangChain through `langchain-mcp-adapters`, over stdio, HTTP or HTTP+SSE: a real tool call as an agent's tool node makes it."""

from __future__ import annotations

import asyncio
from typing import Any

from exchange import STATISTICS, TEXT, Report, picture, read_order
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langchain_mcp_adapters.callbacks import CallbackContext, Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools


def told(message: ToolMessage) -> dict[str, Any]:
    """A tool message as plain data."""
    blocks = message.content if isinstance(message.content, list) else [{"type": "text", "text": message.content}]
    texts = [block["text"] for block in blocks if isinstance(block, dict) and block.get("type") == "text"]
    artifact = message.artifact or {}
    return {"is_error": message.status == "error", "structured": artifact.get("structured_content"), "text": "\n".join(texts)}


async def invoke(tools: dict[str, BaseTool], name: str, args: dict[str, Any]) -> ToolMessage:
    """Calls a tool the way LangChain does: with a tool call, which gives a tool message."""
    message = await tools[name].ainvoke({"type": "tool_call", "id": "call-1", "name": name, "args": args})
    assert isinstance(message, ToolMessage)
    return message


async def image(tools: dict[str, BaseTool]) -> dict[str, Any]:
    """An image comes back as an image block."""
    message = await invoke(tools, "probe__picture", {})
    blocks = [block for block in message.content if isinstance(block, dict) and block.get("type") == "image"]
    return {
        "images": [picture(block["base64"], block["mime_type"]) for block in blocks],
        "is_error": message.status == "error",
    }


async def run() -> None:
    """All steps, first with a session for each call (the adapter's default), then on one held session."""
    order, report = read_order(), Report()
    connection: dict[str, Any] = {"transport": order.transport, "url": order.url}
    if order.transport == "stdio":
        connection = {"transport": "stdio", "command": order.command, "args": order.args, "env": order.env}
    seen: list[list[Any]] = []

    async def on_progress(done: float, total: float | None, message: str | None, context: CallbackContext) -> None:
        seen.append([done, total, message])

    client = MultiServerMCPClient({"pegboard": connection}, callbacks=Callbacks(on_progress=on_progress))

    async def call(name: str, args: dict[str, Any]) -> dict[str, Any]:
        return told(await invoke(tools, name, args))

    async def progress() -> dict[str, Any]:
        seen.clear()
        result = await call("probe__count", {"steps": 3})
        return {"seen": list(seen), "result": result}

    async def held() -> dict[str, Any]:
        async with client.session("pegboard") as session:
            by_name = {tool.name: tool for tool in await load_mcp_tools(session)}
            results = [told(await invoke(by_name, "probe__echo", {"text": "peg", "times": times})) for times in (1, 2, 3)]
        return {"lengths": [result["structured"]["length"] for result in results]}

    tools = {tool.name: tool for tool in await client.get_tools()}
    report.steps["tools"] = list(tools)
    await report.step("statistics", lambda: call(STATISTICS, {"text": TEXT}))
    await report.step("echo", lambda: call("probe__echo", {"text": "peg", "times": 2}))
    await report.step("held_session", held)
    report.cannot("unknown_tool", "LangChain has only the tools that were listed")
    await report.step("bad_argument", lambda: call("probe__echo", {"text": 5}))
    await report.step("failure", lambda: call("probe__fail", {"message": "the shelf is empty"}))
    await report.step("image", lambda: image(tools))
    await report.step("progress", progress)
    report.cannot("cancel", "the adapter sends no cancellation")
    report.cannot("list_changed", "the adapter lists once")
    report.print()


asyncio.run(run())
