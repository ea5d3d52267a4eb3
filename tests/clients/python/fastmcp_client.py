"""The FastMCP client against a server, over stdio or HTTP."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import mcp_types as types
from exchange import STATISTICS, TEXT, Report, picture, read_order
from fastmcp import Client
from fastmcp.client.messages import MessageHandler
from fastmcp.client.transports import StdioTransport


class Ear(MessageHandler):
    """Remembers that the tool list changed."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = asyncio.Event()

    async def on_tool_list_changed(self, notification: types.ToolListChangedNotification) -> None:
        """Called by the client."""
        self.heard.set()


def told(result: Any) -> dict[str, Any]:
    """A tool result as plain data."""
    texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
    return {"is_error": bool(result.is_error), "structured": result.structured_content, "text": "\n".join(texts)}


async def cancel(client: Client[Any]) -> dict[str, Any]:
    """Gives up a long call; a plugin that takes one call at a time must then be free for the next one."""
    gave_up = False
    try:
        await asyncio.wait_for(client.call_tool("slow__wait", {"seconds": 40}), 1.5)
    except asyncio.TimeoutError:
        gave_up = True
    began = time.monotonic()
    result = await asyncio.wait_for(client.call_tool("slow__ready", {}), 30)
    return {"gave_up": gave_up, "next": told(result), "next_seconds": time.monotonic() - began}


async def run() -> None:
    """All steps on one connection."""
    order, report, ear = read_order(), Report(), Ear()
    target: Any = order.url
    if order.transport == "stdio":
        target = StdioTransport(command=order.command, args=order.args, env=order.env)
    async with Client(target, message_handler=ear, timeout=60, **({"mode": order.mode} if order.mode else {})) as client:

        async def tools() -> list[str]:
            return [tool.name for tool in await client.list_tools()]

        async def call(name: str, args: dict[str, Any]) -> dict[str, Any]:
            return told(await client.call_tool(name, args, raise_on_error=False))

        async def data() -> Any:
            # The client makes a class from the output schema.
            typed = (await client.call_tool("probe__echo", {"text": "peg", "times": 2})).data
            return {"echo": typed.echo, "length": typed.length}

        async def image() -> dict[str, Any]:
            result = await client.call_tool("probe__picture", {})
            images = [block for block in result.content if isinstance(block, types.ImageContent)]
            return {"images": [picture(block.data, block.mime_type) for block in images], "is_error": bool(result.is_error)}

        async def progress() -> dict[str, Any]:
            seen: list[list[Any]] = []

            async def on_progress(done: float, total: float | None, message: str | None) -> None:
                seen.append([done, total, message])

            result = await client.call_tool("probe__count", {"steps": 3}, progress_handler=on_progress)
            return {"seen": seen, "result": told(result)}

        async def list_changed() -> dict[str, Any]:
            order.grow()
            await asyncio.wait_for(ear.heard.wait(), 30)
            return {"tools": await tools()}

        report.steps["protocol"] = client.protocol_version
        await report.step("tools", tools)
        await report.step("statistics", lambda: call(STATISTICS, {"text": TEXT}))
        await report.step("echo", lambda: call("probe__echo", {"text": "peg", "times": 2}))
        await report.step("data", data)
        await report.step("unknown_tool", lambda: call("probe__no_such_tool", {}))
        await report.step("bad_argument", lambda: call("probe__echo", {"text": 5}))
        await report.step("failure", lambda: call("probe__fail", {"message": "the shelf is empty"}))
        await report.step("image", image)
        await report.step("progress", progress)
        await report.step("cancel", lambda: cancel(client))
        if order.grow_from is not None:
            if order.mode == "legacy":
                await report.step("list_changed", list_changed)
            else:
                report.cannot("list_changed", "the client opens no subscription in the stateless era")
    report.print()


asyncio.run(run())
