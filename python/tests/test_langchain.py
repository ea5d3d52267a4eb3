"""LangChain and LangGraph: schemas kept whole, results and errors as they should be, agents over a thousand tools with a scripted model."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import ToolException, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from pegboard import Toolbox
from pegboard.langchain import PegboardMiddleware, PegboardToolkit, tool_node


class Scripted(GenericFakeChatModel):
    """Says its lines, and remembers which tools it was shown at each."""

    shown: list[list[str]] = []

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        self.shown.append([tool["function"]["name"] if isinstance(tool, dict) else tool.name for tool in tools])
        return self


def scripted(*calls: tuple[str, dict[str, Any]]) -> Scripted:
    lines = [
        AIMessage(content="", tool_calls=[{"name": name, "args": arguments, "id": f"call-{number}"}])
        for number, (name, arguments) in enumerate(calls)
    ]
    return Scripted(messages=iter([*lines, AIMessage(content="done")]), shown=[])


def results(messages: list[Any]) -> list[ToolMessage]:
    return [message for message in messages if isinstance(message, ToolMessage)]


def test_a_tool_has_its_whole_schema_and_where_it_comes_from(box: Toolbox) -> None:
    made = box.get_tools(["bench_desk__echo"])[0]
    assert made.args_schema == box.tool("bench_desk__echo").input_schema
    assert made.args["style"]["properties"]["marks"]["items"]["required"] == ["at"]
    assert made.metadata is not None
    assert made.metadata["plugin"] == "bench_desk" and made.metadata["version"] == "1.2.0"
    assert made.metadata["annotations"]["readOnlyHint"] is True
    assert made.tags == ["bench_desk", "testing", "read_only"]


async def test_content_and_artifact_sync_and_async(box: Toolbox) -> None:
    made = box.get_tools(["bench_desk__echo"])[0]
    call = {"type": "tool_call", "name": made.name, "id": "1", "args": {"text": "a", "style": {"casing": "upper"}}}
    for message in (made.invoke(call), await made.ainvoke(call)):
        assert json.loads(message.content)["text"] == "A"
        assert message.artifact["structured"] == {"text": "A", "style": {"casing": "upper"}}


def test_arguments_may_have_the_names_that_langchain_uses(box: Toolbox) -> None:
    made = box.get_tools(["bench_desk__settings"])[0]
    given = {"config": "c", "run_manager": "r", "self": "s"}
    message = made.invoke({"type": "tool_call", "name": made.name, "id": "1", "args": given})
    assert message.artifact["structured"] == given


def test_errors_carry_the_hint(box: Toolbox) -> None:
    made = box.get_tools(["bench_desk__total"])[0]
    message = made.invoke({"type": "tool_call", "name": made.name, "id": "1", "args": {"a": "x"}})
    assert message.status == "error" and "bad_arguments" in message.content and "hint:" in message.content
    made.handle_tool_error = False
    with pytest.raises(ToolException, match="hint:"):
        made.invoke({"a": "x"})


def test_a_picture_is_an_image_block(box: Toolbox) -> None:
    made = box.get_tools(["bench_desk__picture"])[0]
    message = made.invoke({"type": "tool_call", "name": made.name, "id": "1", "args": {}})
    assert message.content == [{"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}]


def test_the_toolkit_gives_all_or_the_fitting(box: Toolbox) -> None:
    assert len(PegboardToolkit(box=box).get_tools()) == 7
    assert PegboardToolkit(box=box, query="add two numbers", limit=1).get_tools()[0].name == "bench_desk__total"


AREAS = ["invoices", "rivers", "recipes", "planets", "tickets", "songs", "parcels", "meetings", "orchards", "bridges"]
VERBS = ["archive", "rename", "compare", "measure", "translate", "sort", "delete", "draw", "weigh", "publish"]


@pytest.fixture(scope="module")
def thousand(home: Path, plugins: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toolbox]:
    """A thousand tools beside those of the tests."""
    folder = tmp_path_factory.mktemp("thousand")
    for area in AREAS:
        for shelf in range(10):
            name = f"{area}{shelf}"
            tools = "".join(
                f"  - name: {verb}_{area}\n    description: {verb.title()} {area} of shelf {shelf}\n    class_name: Do\n"
                "    args_schema: {type: object, properties: {what: {type: string}}}\n"
                for verb in VERBS
            )
            (folder / name).mkdir()
            head = f"name: {name}\nversion: 1.0.0\ndescription: Work with {area} {shelf}\nmcps:\n"
            (folder / name / "plugin.yaml").write_text(head + tools)
            (folder / name / "main.py").write_text("class Do:\n    def _run(self, what=''):\n        return 'did it'\n")
    with Toolbox(plugins=[folder, plugins], home=home, bundled=False) as box:
        yield box


async def test_an_agent_over_a_thousand_tools_sees_the_few_that_fit(thousand: Toolbox) -> None:
    @tool
    def note(text: str) -> str:
        """Takes a note."""
        return text

    assert len(thousand.tools()) == 1_007
    for run in ("invoke", "ainvoke"):
        model = scripted(("bench_desk__total", {"a": 20, "b": 22}), ("weigh_orchards", {}))
        model.messages = iter(
            [
                AIMessage(content="", tool_calls=[{"name": "bench_desk__total", "args": {"a": 20, "b": 22}, "id": "1"}]),
                AIMessage(content="", tool_calls=[{"name": "orchards3__weigh_orchards", "args": {}, "id": "2"}]),
                AIMessage(content="42"),
            ]
        )
        middleware = PegboardMiddleware(thousand, k=4, pinned=["bench_desk__echo"])
        agent = create_agent(model, [note], middleware=[middleware])
        request = {"messages": [HumanMessage("add two numbers: 20 and 22")]}
        state = agent.invoke(request) if run == "invoke" else await agent.ainvoke(request)
        assert [message.content for message in results(state["messages"])] == ["42", "did it"]
        assert state["messages"][-1].content == "42"
        for shown in model.shown:
            assert shown[:2] == ["note", "bench_desk__echo"] and "bench_desk__total" in shown
            assert len(shown) <= 2 + 1 + 4
        # A tool that is called is shown from then on: its result is still spoken of.
        assert "orchards3__weigh_orchards" in model.shown[-1]


def test_the_budget_holds_and_pins_are_never_left_out(thousand: Toolbox) -> None:
    model = scripted()
    middleware = PegboardMiddleware(thousand, k=20, pinned=["bench_desk__echo"], token_budget=200)
    create_agent(model, middleware=[middleware]).invoke({"messages": [HumanMessage("weigh the orchards")]})
    assert model.shown[0][0] == "bench_desk__echo" and 1 < len(model.shown[0]) < 8


def test_a_langgraph_node_does_the_same(thousand: Toolbox) -> None:
    class State(MessagesState):
        pegboard_tools: list[str]

    model = scripted(("bench_desk__total", {"a": 1, "b": 2}))

    def think(state: State) -> dict[str, Any]:
        return {"messages": [model.bind_tools(thousand.get_tools(state["pegboard_tools"])).invoke(state["messages"])]}

    graph = StateGraph(State)
    graph.add_node("choose", tool_node(thousand, k=3))
    graph.add_node("think", think)
    graph.add_node("tools", ToolNode(thousand.get_tools()))
    graph.add_edge(START, "choose")
    graph.add_edge("choose", "think")
    graph.add_conditional_edges("think", lambda state: "tools" if state["messages"][-1].tool_calls else "__end__")
    graph.add_edge("tools", "choose")
    state = graph.compile().invoke({"messages": [HumanMessage("add two numbers")]})
    assert [message.content for message in results(state["messages"])] == ["3"]
    assert "bench_desk__total" in model.shown[0] and len(model.shown[0]) == 3


def test_a_tool_that_is_added_while_the_agent_runs_is_shown_and_called(home: Path, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()

    def late() -> str:
        # What is added between two steps of one run, by a tool of the agent's own.
        box.create(
            "late",
            code="def weigh(fruit):\n    return f'a heavy {fruit}'\ndef gone():\n    return 1\n",
            tools=[
                {"name": "weigh", "description": "Weighs a fruit", "function": "weigh", "args_schema": FRUIT},
                {"name": "gone", "description": "Weighs nothing", "function": "gone", "args_schema": {"type": "object"}},
            ],
        )
        return "added"

    FRUIT = {"type": "object", "properties": {"fruit": {"type": "string"}}, "required": ["fruit"]}
    with Toolbox(plugins=shelf, home=home, bundled=False) as box:
        add = tool("add_a_plugin", description="Adds a plugin")(late)
        model = scripted(("add_a_plugin", {}), ("late__weigh", {"fruit": "melon"}), ("late__nothing", {}))
        middleware = PegboardMiddleware(box, k=2, pinned=["late__weigh"])
        agent = create_agent(model, [add], middleware=[middleware])
        state = agent.invoke({"messages": [HumanMessage("weigh a melon")]})
        assert model.shown[0] == ["add_a_plugin"] and model.shown[1][:2] == ["add_a_plugin", "late__weigh"]
        said = results(state["messages"])
        assert [message.content for message in said[:2]] == ["added", "a heavy melon"]
        # A name that is nobody's is still an error that the model hears of.
        assert said[2].status == "error" and "late__nothing" in said[2].content
        # What is gone is no longer shown, and a call of it is an error, too.
        (shelf / "late/plugin.yaml").unlink()
        while "late__weigh" in box.tools().names:
            time.sleep(0.02)
        model = scripted(("late__weigh", {"fruit": "melon"}))
        state = create_agent(model, [add], middleware=[middleware]).invoke({"messages": [HumanMessage("weigh a melon")]})
        assert model.shown == [["add_a_plugin"]] * 2
        assert results(state["messages"])[0].status == "error"


async def test_an_agent_s_own_tool_keeps_its_name(box: Toolbox) -> None:
    @tool
    def bench_desk__total(a: float, b: float) -> str:
        """Adds two numbers, in another way."""
        return "my own"

    model = scripted(("bench_desk__total", {"a": 1, "b": 2}))
    middleware = PegboardMiddleware(box, k=3, pinned=["bench_desk__total"])
    agent = create_agent(model, [bench_desk__total], middleware=[middleware])
    state = await agent.ainvoke({"messages": [HumanMessage("add two numbers")]})
    assert model.shown[0].count("bench_desk__total") == 1
