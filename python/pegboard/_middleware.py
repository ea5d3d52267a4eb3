"""The agent middleware: at each step the model sees the tools that fit the conversation, out of however many there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain.agents.middleware import AgentMiddleware, AgentState
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command
from typing_extensions import NotRequired

from ._results import Tool, ToolList
from ._selection import Selection
from ._toolbox import Toolbox
from .langchain import PegboardTool, called_names, conversation_query, to_langchain

_KEY = "pegboard_tools"


class PegboardState(AgentState[Any]):
    """What the middleware keeps in the agent's state, so that threads and checkpoints have their own."""

    pegboard_tools: NotRequired[list[str]]


class PegboardMiddleware(AgentMiddleware[PegboardState, Any]):
    """Swaps the model's tools for those that fit the conversation, before each step. Other tools of the agent stay.

    What the toolbox serves is looked at before each step: a tool that was added while the agent runs is shown and called, one that is gone is not.

    Args:
        box: The toolbox; its tools are known to the agent, and only the chosen ones are shown to the model.
        k: The most found tools at a step.
        pinned: Names that are always shown.
        margin: Added to the score of a tool that was shown before, so that near equals do not take turns.
        token_budget: About how many tokens the tools may cost together; `None`: no bound.
    """

    state_schema = PegboardState

    def __init__(
        self,
        box: Toolbox,
        k: int = 8,
        *,
        pinned: Sequence[str] = (),
        margin: float = 0.1,
        token_budget: int | None = 4_000,
    ) -> None:
        super().__init__()
        self._box = box
        self._selection = Selection(k=k, pinned=tuple(pinned), margin=margin, token_budget=token_budget)
        self._mine: dict[str, PegboardTool] = {}
        self._known: dict[str, Tool] = {}
        self._know(box.tools())
        self.tools: Sequence[BaseTool] = list(self._mine.values())

    def before_model(self, state: PegboardState, runtime: Any) -> dict[str, Any]:
        """Chooses."""
        query = conversation_query(state["messages"])
        found = self._box.search(query, self._selection.wide) if query else ToolList(())
        return self._update(state, self._box.tools(), found)

    async def abefore_model(self, state: PegboardState, runtime: Any) -> dict[str, Any]:
        """Chooses."""
        query = conversation_query(state["messages"])
        found = await self._box.asearch(query, self._selection.wide) if query else ToolList(())
        return self._update(state, await self._box.atools(), found)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Shows what was chosen."""
        return handler(self._shown(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Shows what was chosen."""
        return await handler(self._shown(request))

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Gives a tool that the agent was not made with."""
        return handler(self._given(request))

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Gives a tool that the agent was not made with."""
        return await handler(self._given(request))

    def _know(self, every: ToolList) -> None:
        made, known = self._mine, self._known
        # Swapped whole: agents of other threads may be at another step.
        self._mine = {
            tool.name: made[tool.name] if known.get(tool.name) == tool else to_langchain(self._box, tool) for tool in every
        }
        self._known = {tool.name: tool for tool in every}

    def _update(self, state: PegboardState, every: ToolList, found: ToolList) -> dict[str, Any]:
        self._know(every)
        before = state.get("pegboard_tools") or []
        return {_KEY: self._selection.choose(every, found, before, called_names(state["messages"]))}

    def _shown(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        chosen: list[str] = dict(request.state).get(_KEY) or []  # type: ignore[assignment]
        # The agent's own tools keep their names, also where the toolbox has the same.
        others = [tool for tool in request.tools if not self._is_mine(tool)]
        taken = {tool.name for tool in others if isinstance(tool, BaseTool)}
        mine = self._mine
        return request.override(tools=[*others, *(mine[name] for name in chosen if name in mine and name not in taken)])

    def _is_mine(self, tool: Any) -> bool:
        return isinstance(tool, PegboardTool) and tool.box is self._box

    def _given(self, request: ToolCallRequest) -> ToolCallRequest:
        if request.tool is not None and not self._is_mine(request.tool):
            return request
        tool = self._mine.get(request.tool_call["name"])
        return request if tool is None else request.override(tool=tool)
