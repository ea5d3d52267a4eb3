"""The official Python SDK (`mcp` 2.x) against a server, in mode `auto` (2026-07-28) or `legacy` (initialize), over stdio or HTTP."""

from __future__ import annotations

import time
from typing import Any

import anyio
import mcp_types as types
from exchange import STATISTICS, TEXT, Report, picture, read_order
from mcp import Client, StdioServerParameters


def told(result: types.CallToolResult) -> dict[str, Any]:
    """A tool result as plain data."""
    texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
    return {"is_error": bool(result.is_error), "structured": result.structured_content, "text": "\n".join(texts)}


async def progress(client: Client) -> dict[str, Any]:
    """Counts to three and keeps every progress notification."""
    seen: list[list[Any]] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        seen.append([done, total, message])

    result = await client.call_tool("probe__count", {"steps": 3}, progress_callback=on_progress)
    return {"seen": seen, "result": told(result)}


async def cancel(client: Client) -> dict[str, Any]:
    """Gives up a long call; a plugin that takes one call at a time must then be free for the next one."""
    with anyio.move_on_after(1.5) as scope:
        await client.call_tool("slow__wait", {"seconds": 40})
    began = time.monotonic()
    with anyio.fail_after(30):
        result = await client.call_tool("slow__ready", {})
    return {"gave_up": scope.cancelled_caught, "next": told(result), "next_seconds": time.monotonic() - began}


async def image(client: Client) -> dict[str, Any]:
    """An image comes back as image content."""
    result = await client.call_tool("probe__picture", {})
    images = [block for block in result.content if isinstance(block, types.ImageContent)]
    return {"images": [picture(block.data, block.mime_type) for block in images], "is_error": bool(result.is_error)}


async def list_changed(client: Client, heard: anyio.Event, grow: Any) -> dict[str, Any]:
    """Adds a plugin to the running server and waits to be told."""
    if client.protocol_version >= "2026":
        async with client.listen(tools_list_changed=True) as subscription:
            grow()
            with anyio.fail_after(30):
                async for _event in subscription:
                    break
    else:
        grow()
        with anyio.fail_after(30):
            await heard.wait()
    tools = await client.list_tools()
    return {"tools": [tool.name for tool in tools.tools]}


async def run() -> None:
    """All steps on one connection."""
    order, report = read_order(), Report()
    heard = anyio.Event()

    async def on_message(message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            heard.set()

    target: Any = order.url
    if order.transport == "stdio":
        target = StdioServerParameters(command=order.command, args=order.args, env=order.env)
    async with Client(target, mode=order.mode, message_handler=on_message, read_timeout_seconds=60) as client:
        report.steps["protocol"] = client.protocol_version
        report.steps["server"] = client.server_info.name if client.server_info else None

        async def tools() -> list[str]:
            return [tool.name for tool in (await client.list_tools()).tools]

        async def call(name: str, args: dict[str, Any]) -> dict[str, Any]:
            return told(await client.call_tool(name, args))

        await report.step("tools", tools)
        await report.step("statistics", lambda: call(STATISTICS, {"text": TEXT}))
        await report.step("echo", lambda: call("probe__echo", {"text": "peg", "times": 2}))
        await report.step("unknown_tool", lambda: call("probe__no_such_tool", {}))
        await report.step("bad_argument", lambda: call("probe__echo", {"text": 5}))
        await report.step("failure", lambda: call("probe__fail", {"message": "the shelf is empty"}))
        await report.step("image", lambda: image(client))
        await report.step("progress", lambda: progress(client))
        await report.step("cancel", lambda: cancel(client))
        if order.grow_from is not None:
            await report.step("list_changed", lambda: list_changed(client, heard, order.grow))
    report.print()


anyio.run(run)
