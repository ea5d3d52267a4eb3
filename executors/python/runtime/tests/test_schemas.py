"""Schemas derived from code."""

import pytest


def described(load, source, **spec):
    return load(source, {**({"class_name": "T"} if not spec else spec)}).plugin.describe()["t"]


def run(load, signature, prelude="", body="pass", doc=""):
    source = f"{prelude}\nclass T:\n    def _run(self, {signature}):\n        '''{doc}'''\n        {body}\n"
    return described(load, source)


TYPES = """
import dataclasses, datetime, decimal, enum, pathlib, typing, uuid
from typing import *
class Color(enum.Enum):
    RED = "r"
    BLUE = "b"
class Options(TypedDict, total=False):
    deep: bool
Name = NewType("Name", str)
@dataclasses.dataclass
class Node:
    value: int
    next: "Optional[Node]" = None
class Weird: pass
"""


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        ("str", {"type": "string"}),
        ("int", {"type": "integer"}),
        ("float", {"type": "number"}),
        ("bool", {"type": "boolean"}),
        ("list", {"type": "array"}),
        ("dict", {"type": "object"}),
        ("List[str]", {"type": "array", "items": {"type": "string"}}),
        ("'list[int]'", {"type": "array", "items": {"type": "integer"}}),
        ("Sequence[float]", {"type": "array", "items": {"type": "number"}}),
        ("Set[int]", {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
        ("Tuple[int, ...]", {"type": "array", "items": {"type": "integer"}}),
        (
            "Tuple[int, str]",
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
        ),
        ("Dict[str, int]", {"type": "object", "additionalProperties": {"type": "integer"}}),
        ("Mapping[str, Any]", {"type": "object"}),
        ("Optional[int]", {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        ("'int | str'", {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        ("Union[int, Any]", {}),
        ("Literal['a', 'b']", {"type": "string", "enum": ["a", "b"]}),
        ("Literal[1, 'b', None]", {"enum": [1, "b", None]}),
        ("Color", {"type": "string", "enum": ["r", "b"]}),
        ("Name", {"type": "string"}),
        ("datetime.datetime", {"type": "string", "format": "date-time"}),
        ("datetime.date", {"type": "string", "format": "date"}),
        ("uuid.UUID", {"type": "string", "format": "uuid"}),
        ("pathlib.Path", {"type": "string"}),
        ("bytes", {"type": "string", "contentEncoding": "base64"}),
        ("Annotated[int, 'how many']", {"type": "integer", "description": "how many"}),
        ("Any", {}),
        ("Weird", {}),
        ("'NoSuchType'", {}),
        ("TypeVar('X')", {}),
    ],
)
def test_annotations(load, annotation, schema):
    found = run(load, f"x: {annotation}", TYPES)
    assert found == {"type": "object", "properties": {"x": schema}, "required": ["x"], "additionalProperties": False}


def test_defaults_and_open_keywords(load):
    found = run(load, "a, b=1, c: Optional[str] = None, d: str = None, e=object(), **more", TYPES)
    assert found == {
        "type": "object",
        "properties": {
            "a": {},
            "b": {"default": 1},
            "c": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "d": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "e": {},
        },
        "required": ["a"],
    }


def test_classes_go_to_defs(load):
    found = run(load, "node: Node, options: Options", TYPES)
    assert found["properties"] == {"node": {"$ref": "#/$defs/Node"}, "options": {"$ref": "#/$defs/Options"}}
    assert found["$defs"] == {
        "Node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
            },
            "required": ["value"],
        },
        "Options": {"type": "object", "properties": {"deep": {"type": "boolean"}}},
    }


@pytest.mark.parametrize(
    "doc",
    [
        "Do.\n\n    Args:\n        a (int): first\n            and more\n        b: second: thing\n\n"
        "    Returns:\n        c: no\n    ",
        "Do.\n\n    Parameters\n    ----------\n    a : int\n        first\n        and more\n    b\n"
        "        second: thing\n\n    Returns\n    -------\n    c\n        no\n    ",
        "Do.\n\n    :param int a: first\n      and more\n    :param b: second: thing\n    :returns: no\n    ",
    ],
)
def test_docstrings(load, doc):
    found = run(load, "a, b, c=1", doc=doc)
    assert [item.get("description") for item in found["properties"].values()] == [
        "first and more",
        "second: thing",
        None,
    ]


def test_what_the_host_fills_in_is_not_described(load):
    assert run(load, "q: str, context=None, run_manager=None")["properties"] == {"q": {"type": "string"}}
    assert set(run(load, "q: str, context: str = ''")["properties"]) == {"q", "context"}


def test_pydantic_parameters_and_fields(load):
    prelude = """
from typing import Annotated
from pydantic import BaseModel, Field
class Inner(BaseModel): n: int
class Outer(BaseModel):
    inner: Inner
"""
    found = run(load, "o: Outer, n: Annotated[int, Field(ge=1, le=5, description='count')] = 2", prelude)
    assert found["properties"]["o"] == {"$ref": "#/$defs/Outer"}
    assert found["properties"]["n"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 5,
        "description": "count",
        "default": 2,
    }
    assert set(found["$defs"]) == {"Inner", "Outer"}


def test_a_recursive_model_has_an_object_root(load):
    source = """
    from typing import List
    from pydantic import BaseModel
    class Tree(BaseModel):
        name: str
        children: "List[Tree]" = []
    class T:
        args_schema = Tree
        def _run(self, name, children): return len(children)
    """
    found = described(load, source)
    assert found["type"] == "object"
    assert found["required"] == ["name"]
    assert found["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}
    assert "Tree" in found["$defs"]


def test_functions(load):
    assert described(load, "def execute_plugin(inputs, context): pass\n", function="execute_plugin") is None
    found = described(load, "def add(a: int, b: int = 2, context=None): pass\n", function="add")
    assert found["properties"] == {"a": {"type": "integer"}, "b": {"type": "integer", "default": 2}}


def test_lifecycle_and_scripts(load):
    typed = "from typing import TypedDict\nclass In(TypedDict):\n    a: int\n"
    typed += "class T:\n    def execute(self, input: In): return 1\n"
    found = described(load, typed)
    assert found["$defs"]["In"]["required"] == ["a"]
    assert (found["type"], found["properties"]) == ("object", {"a": {"type": "integer"}})
    assert described(load, "class T:\n    def execute(self, input): return 1\n") is None
    assert described(load, {"run.py": "print(1)\n"}, script="run.py") is None


def test_the_manifests_schema_stays(load):
    schema = {"type": "object", "properties": {"z": {}}}
    tool = load("class T:\n    def _run(self, a): pass\n", {"class_name": "T", "args_schema": schema})
    assert tool.plugin.describe() == {"t": schema}


def test_a_schema_that_can_not_be_made_is_none_and_told(load, capsys):
    source = "class S:\n    @classmethod\n    def model_json_schema(cls): raise RuntimeError('no')\n"
    source += "    @classmethod\n    def model_validate(cls, x): pass\n"
    source += "    model_fields = {}\nclass T:\n    args_schema = S\n    def _run(self): pass\n"
    assert described(load, source) is None
    assert "the arguments of `t` can't be derived: RuntimeError: no" in capsys.readouterr().err
