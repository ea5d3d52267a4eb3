"""Plugins made from Python are served by the toolbox that made them, and run in the sandbox; what can't be one is refused before a file is there."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

import pegboard
from pegboard import Toolbox
from pegboard._create import manifest_text

SIZES = {"small": 1, "large": 10}


def scaled(value: float, size: str) -> float:
    return value * SIZES[size]


def circle(radius: float, size: Literal["small", "large"] = "small") -> dict[str, Any]:
    """The area of a circle, in square units.

    Args:
        radius: how far from its middle
    """
    return {"area": round(math.pi * scaled(radius, size) ** 2, 2)}


def shout(text: str) -> str:
    """Says it louder."""
    return text.upper() + "!"


def undocumented(text: str) -> str:
    return text


SECRET = object()


def uses_an_object(text: str) -> str:
    """Uses what can't be written down."""
    return f"{text}{SECRET}"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir()
    return folder


@pytest.fixture
def own(shelf: Path, home: Path) -> Iterator[Toolbox]:
    with Toolbox(plugins=shelf, home=home, bundled=False) as box:
        yield box


def test_functions_become_a_plugin_that_is_served(own: Toolbox, shelf: Path) -> None:
    made = own.create("shapes", circle, shout)
    assert made.names == ["shapes__circle", "shapes__shout"]
    assert made[0].input_schema["properties"]["size"]["enum"] == ["small", "large"]
    assert made[0].description.startswith("The area of a circle")
    assert own.call("shapes__circle", radius=1, size="large").value == {"area": 314.16}
    assert own.call("shapes__shout", text="hi").value == "HI!"
    # The catalog is there a moment before the vectors of its words are.
    until = time.monotonic() + 20
    while (found := own.search("what is the area of a circle", 1)).mode != "hybrid" and time.monotonic() < until:
        time.sleep(0.02)
    assert found.names == ["shapes__circle"]
    assert pegboard.validate(shelf / "shapes")["valid"]
    with pytest.raises(pegboard.PegboardError, match="exists already") as caught:
        own.create("shapes", shout)
    assert caught.value.code == "exists"
    assert own.tool("shapes__circle").version == "0.1.0"


async def test_code_and_fields_become_a_plugin(own: Toolbox) -> None:
    made = await own.acreate(
        "greeter",
        code="def greet(name):\n    return f'Hello, {name}!'\n",
        tools=[
            {
                "name": "greet",
                "description": "Greets somebody: \U0001f388 é # no comment",
                "function": "greet",
                "args_schema": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
            }
        ],
        manifest={"version": "2.0.0", "category": "manners"},
    )
    assert (made[0].version, made[0].category) == ("2.0.0", "manners")
    assert (await own.acall("greeter__greet", name="Ada")).value == "Hello, Ada!"


def test_a_power_is_declared_and_not_given(own: Toolbox, shelf: Path) -> None:
    fields = {"permissions": ["network_access"], "requires_network": True}
    with pytest.raises(pegboard.NotReady, match="withheld.*network_access"):
        own.create("needy", shout, manifest=fields, wait=3)
    assert (shelf / "needy/plugin.yaml").exists()
    assert "needy__shout" not in own.tools().names


@pytest.mark.parametrize(
    ("name", "functions", "options", "said"),
    [
        ("a", [undocumented], {}, "no docstring"),
        ("a", [uses_an_object], {}, "SECRET"),
        ("a", [lambda text: text], {}, "stands by itself"),
        ("a", [len], {}, "stands by itself"),
        ("a", [], {}, "one of the two"),
        ("a", [shout], {"code": "x"}, "one of the two"),
        ("a", [], {"code": "def f(): pass"}, "expected `tools`"),
        ("../outside", [shout], {}, "manifest would have errors"),
        ("Bad Name", [shout], {}, "manifest would have errors"),
        ("a", [shout], {"manifest": {"no_such_field": 1}}, "manifest would have errors"),
    ],
)
def test_what_can_be_no_plugin_is_refused_and_nothing_is_written(
    own: Toolbox, shelf: Path, name: str, functions: list[Any], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(pegboard.PegboardError, match=said):
        own.create(name, *functions, **options)
    assert list(shelf.iterdir()) == [] and sorted(path.name for path in shelf.parent.iterdir()) == ["shelf"]


def test_a_function_inside_another_is_refused(own: Toolbox) -> None:
    outer = "kept"

    def inner() -> str:
        """Closes over something."""
        return outer

    with pytest.raises(pegboard.PegboardError, match="stands by itself"):
        own.create("closed", inner)


def test_a_plugin_s_own_folder_and_a_shared_engine_are_no_shelf(home: Path, plugins: Path) -> None:
    with Toolbox(plugins=plugins / "bench_desk", home=home, bundled=False) as single, Toolbox(home=home, bundled=False) as shared:
        for toolbox in (single, shared):
            with pytest.raises(pegboard.UnsupportedError) as caught:
                toolbox.create("a", shout)
            assert caught.value.code == "unsupported" and caught.value.hint


@pytest.mark.parametrize("text", ["\x00", "\ud800", "\ufeff", "\u2028", "\x7f", "'\"\\", "\U0001f388", "a: b", "- [", "%", "\t"])
def test_no_text_breaks_out_of_its_field(text: str) -> None:
    fields = {"name": "a", "version": "1.0.0", "description": f"x{text}y"}
    fields |= {"mcps": [{"name": "b", "description": "does b", "function": "b"}]}
    try:
        written = manifest_text(fields)
    except pegboard.InvalidManifest as error:
        assert error.diagnostics
    else:
        assert written.count("\n") == 4 and json.loads(written.splitlines()[2].removeprefix("description: ")) == f"x{text}y"
