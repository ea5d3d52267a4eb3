"""The forms that providers take, held against the types of their own SDKs; names mapped there and back."""

from __future__ import annotations

import anthropic.types as claude
import mcp.types
import pytest
from openai.types.chat import ChatCompletionToolParam
from openai.types.responses import FunctionToolParam
from pydantic import TypeAdapter

from pegboard import Tool, Toolbox, ToolList, provider_name


def test_anthropic_takes_the_tools(box: Toolbox) -> None:
    adapter = TypeAdapter(claude.ToolParam)
    for entry in box.tools().to_anthropic(defer_loading=True):
        assert adapter.validate_python(entry, strict=False)["name"] == entry["name"]
        assert entry["defer_loading"] is True and entry["input_schema"]["type"] == "object"
    references = box.search("add two numbers", 1).to_anthropic_references()
    assert references == [{"type": "tool_reference", "tool_name": "bench_desk__total"}]
    for reference in references:
        kept = TypeAdapter(claude.ToolReferenceBlockParam).validate_python(reference)
        assert kept["tool_name"] == "bench_desk__total"


def test_openai_takes_the_tools(box: Toolbox) -> None:
    for entry in box.tools().to_openai():
        assert TypeAdapter(FunctionToolParam).validate_python(entry)["name"] == entry["name"]
    for entry in box.tools().to_openai_chat():
        assert TypeAdapter(ChatCompletionToolParam).validate_python(entry)["type"] == "function"


def test_openai_takes_the_answer_of_a_search(box: Toolbox) -> None:
    from openai.types.responses import ResponseToolSearchOutputItem, ResponseToolSearchOutputItemParam

    output = box.search("add two numbers", 2).to_openai_search_output("call-1")
    assert TypeAdapter(ResponseToolSearchOutputItemParam).validate_python(output)
    item = ResponseToolSearchOutputItem.model_validate({**output, "id": "1"})
    assert item.tools[0].type == "namespace" and item.tools[0].name == "bench_desk"


def test_mcp_takes_the_tools(box: Toolbox) -> None:
    for entry, tool in zip(box.tools().to_mcp(), box.tools(), strict=True):
        parsed = mcp.types.Tool.model_validate(entry)
        assert parsed.name == tool.name and parsed.model_dump(by_alias=True)["inputSchema"] == tool.input_schema


def test_names_are_made_to_fit_and_found_again() -> None:
    tools = ToolList([Tool("a__b"), Tool("x" * 90), Tool("dots.and/slashes"), Tool("x" * 91)])
    names = [entry["name"] for entry in tools.to_openai()]
    assert len(set(names)) == 4 and all(len(name) <= 64 for name in names)
    assert [tools.original_name(name) for name in names] == tools.names
    assert provider_name("a__b") == "a__b"
    with pytest.raises(KeyError):
        tools.original_name("nothing")
