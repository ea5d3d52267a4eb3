"""A chat model with a script, so that README's lines run anywhere: it prints which tools it is shown, calls one, and tells what came back."""

from __future__ import annotations

import json
from typing import Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

CALL = {"name": "time_tools__date_difference", "args": {"start": "2026-01-01", "end": "2026-03-01"}, "id": "1"}


class Scripted(GenericFakeChatModel):
    """First it asks for the tool, then it reads the answer."""

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        print("the model sees", ", ".join(tool.name for tool in tools))
        return self

    def _generate(self, messages: list[Any], *arguments: Any, **options: Any) -> Any:
        last = messages[-1]
        says = AIMessage(f"{json.loads(last.content)['total_days']} days.") if last.type == "tool" else AIMessage("", tool_calls=[CALL])
        self.messages = iter([says])
        return super()._generate(messages, *arguments, **options)


model = Scripted(messages=iter(()))
