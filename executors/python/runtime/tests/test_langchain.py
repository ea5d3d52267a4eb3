"""LangChain's tools as they are: real `BaseTool` subclasses and `@tool` functions."""

import pytest

BASE = """
from typing import Optional, Type
from langchain_core.callbacks import CallbackManagerForToolRun
from langchain_core.documents import Document
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException, tool
from pydantic import BaseModel, Field
class Place(BaseModel):
    city: str
    zip: Optional[int] = None
class Args(BaseModel):
    place: Place = Field(description="where")
    days: int = Field(default=3, ge=1, le=7, description="how many")
"""


def langchain(load, body, name="T", **options):
    return load(BASE + body, {"class_name": name}, **options)


def test_nested_models_arrive_as_models(load):
    tool = langchain(
        load,
        """
class T(BaseTool):
    name: str = "weather"
    description: str = "the weather"
    args_schema: Type[BaseModel] = Args
    def _run(self, place: Place, days: int, run_manager: Optional[CallbackManagerForToolRun] = None) -> str:
        assert isinstance(place, Place) and run_manager is None
        return f"{place.city} {days}"
""",
    )
    assert tool.text("t", {"place": {"city": "Oslo"}}) == "Oslo 3"
    assert tool.text("t", {"place": {"city": "Oslo"}, "days": "4"}) == "Oslo 4"
    failed = tool.failed("t", {"place": {}, "days": 9})
    assert failed["message"] == (
        "invalid arguments: `place.city`: Field required; `days`: Input should be less than or equal to 7"
    )
    schema = tool.plugin.describe()["t"]
    assert schema["type"] == "object"
    assert schema["required"] == ["place"]
    assert schema["properties"]["days"] == {
        "default": 3, "description": "how many", "maximum": 7, "minimum": 1, "title": "Days", "type": "integer",
    }  # fmt: skip
    assert "city" in schema["$defs"]["Place"]["properties"]


def test_a_required_run_manager_gets_none_and_config_is_given(load):
    tool = langchain(
        load,
        """
class T(BaseTool):
    name: str = "t"
    description: str = "d"
    def _run(self, q: str, run_manager, config: RunnableConfig):
        return [q, run_manager, config["metadata"]["trace_id"], config["configurable"]]
""",
    )
    assert tool.value("t", {"q": "x"}) == ["x", None, "trace-1", {}]


def test_without_a_schema_the_signature_describes(load):
    tool = langchain(
        load,
        """
class T(BaseTool):
    name: str = "t"
    description: str = "d"
    def _run(self, q: str, limit: int = 5, run_manager: Optional[CallbackManagerForToolRun] = None) -> str:
        return q * limit
""",
    )
    assert tool.text("t", {"q": "x", "limit": 2}) == "xx"
    schema = tool.plugin.describe()["t"]
    assert set(schema["properties"]) == {"q", "limit"}
    assert schema["required"] == ["q"]
    assert "description" not in schema


def test_async_only(load):
    tool = langchain(
        load,
        """
class T(BaseTool):
    name: str = "t"
    description: str = "d"
    args_schema: Type[BaseModel] = Args
    async def _arun(self, place, days):
        return place.city
    def _run(self, *args, **kwargs):
        raise NotImplementedError("only async")
""",
    )
    assert tool.failed("t", {"place": {"city": "Oslo"}})["message"] == "NotImplementedError: only async"


def test_tool_functions(load):
    source = (
        BASE
        + '''
@tool
def search(query: str, limit: int = 5) -> list:
    """Search for something."""
    return [query] * limit

@tool
async def later(query: str, config: RunnableConfig) -> dict:
    """Search later."""
    return {"q": query, "trace": config["metadata"]["trace_id"]}

@tool(response_format="content_and_artifact")
def both(query: str):
    """Both."""
    return f"found {query}", [Document(page_content=query, metadata={"n": 1})]
'''
    )
    specs = [{"name": name, "class_name": name} for name in ("search", "later", "both")]
    tool = load(source, *specs, {"name": "as_function", "function": "search"})
    assert tool.value("search", {"query": "a", "limit": 2}) == ["a", "a"]
    assert tool.value("as_function", {"query": "a", "limit": 1}) == ["a"]
    assert tool.value("later", {"query": "b"}) == {"q": "b", "trace": "trace-1"}
    assert tool.call("both", {"query": "c"}) == {
        "ok": True,
        "content": [{"type": "text", "text": "found c"}],
        "structured": [{"page_content": "c", "metadata": {"n": 1}}],
    }
    schemas = tool.plugin.describe()
    assert set(schemas["search"]["properties"]) == {"query", "limit"}
    assert set(schemas["later"]["properties"]) == {"query"}


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        ("False", "no such city"),
        ("True", "no such city"),
        ("'try another'", "try another"),
        ("lambda e: f'H {e}'", "H no such city"),
    ],
)
def test_tool_exceptions(load, handler, message):
    tool = langchain(
        load,
        f"""
class T(BaseTool):
    name: str = "t"
    description: str = "d"
    handle_tool_error: object = {handler}
    def _run(self): raise ToolException("no such city")
""",
    )
    failed = tool.failed()
    assert (failed["kind"], failed["message"], failed["detail"]) == ("raised", message, None)


def test_the_oldest_form_takes_its_argument_by_position(load):
    tool = langchain(
        load,
        "from langchain_core.tools import Tool\nT = Tool(name='t', description='d', func=lambda text: text.upper())\n",
    )
    assert tool.text("t", {"tool_input": "a"}) == "A"


def test_messages_and_documents(load):
    tool = load(
        BASE
        + """
class Ok:
    def _run(self): return ToolMessage("fine", tool_call_id="1", artifact={"n": 1})
class Failed:
    def _run(self): return ToolMessage("bad", tool_call_id="1", status="error")
class Blocks:
    def _run(self):
        image = {"type": "image", "base64": "UE5H", "mime_type": "image/png"}
        return ToolMessage([{"type": "text", "text": "a"}, image], tool_call_id="1")
class Docs:
    def _run(self): return [Document(page_content="p", metadata={"source": "s"})]
""",
        *({"name": name, "class_name": name} for name in ("Ok", "Failed", "Blocks", "Docs")),
    )
    assert tool.call("Ok") == {"ok": True, "content": [{"type": "text", "text": "fine"}], "structured": {"n": 1}}
    assert tool.failed("Failed")["message"] == "bad"
    assert [block["type"] for block in tool.call("Blocks")["content"]] == ["text", "image"]
    assert tool.value("Docs") == [{"page_content": "p", "metadata": {"source": "s"}}]


def test_fields_without_default_come_from_the_configuration(load):
    body = """
class T(BaseTool):
    name: str = "t"
    description: str = "d"
    endpoint: str
    def _run(self): return self.endpoint
"""
    assert langchain(load, body, config={"endpoint": "https://a", "other": 1}).text() == "https://a"
    failed = langchain(load, body, expect_faults=True).failed()
    assert (failed["kind"], failed["message"]) == ("load_failed", "the constructor of `T` needs `endpoint`")


def test_a_dict_as_args_schema(load):
    tool = langchain(
        load,
        """
class T(BaseTool):
    name: str = "t"
    description: str = "d"
    args_schema: dict = {"type": "object", "properties": {"context": {"type": "string"}}, "required": ["context"]}
    def _run(self, context): return context
""",
    )
    assert tool.text("t", {"context": "mine"}) == "mine"
    assert tool.plugin.describe()["t"]["required"] == ["context"]


def test_validation_errors_of_the_tools_own_making_keep_their_frames(load):
    tool = langchain(
        load,
        """
class T(BaseTool):
    name: str = "t"
    description: str = "d"
    args_schema: Type[BaseModel] = Args
    def _run(self, place, days): return Place.model_validate({})
""",
    )
    failed = tool.failed("t", {"place": {"city": "x"}})
    assert failed["message"].startswith("ValidationError: 1 validation error for Place")
    assert 'File "main.py"' in failed["detail"]


def test_a_plain_class_with_a_pydantic_args_schema(load):
    tool = langchain(
        load, "class T:\n    args_schema = Args\n    def _run(self, place, days): return [place.city, days]\n"
    )
    assert tool.value("t", {"place": {"city": "Oslo"}}) == ["Oslo", 3]
    assert tool.plugin.describe()["t"]["required"] == ["place"]


def test_aliases_and_defaults(load):
    tool = langchain(
        load,
        """
class Aliased(BaseModel):
    from_date: str = Field(alias="fromDate")
    limit: int = 4
class T:
    args_schema = Aliased
    def _run(self, from_date, **rest): return [from_date, rest]
""",
    )
    assert tool.value("t", {"fromDate": "x"}) == ["x", {"limit": 4}]
