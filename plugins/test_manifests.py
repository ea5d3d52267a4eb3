"""What all first-party manifests promise: schemas that close, descriptions everywhere, examples that fit, locks that
name no place.
"""

from __future__ import annotations

import re

import pytest
from conftest import Plugin, plugin_folders
from jsonschema import Draft202012Validator

NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
FOLDERS = plugin_folders()
POWERS = {"file_system_read", "network_access"}


@pytest.fixture(params=FOLDERS, ids=[folder.name for folder in FOLDERS])
def any_plugin(request):
    return Plugin(request.param)


def test_there_are_plugins():
    assert len(FOLDERS) >= 9


def test_names_fit_the_rule(any_plugin):
    manifest = any_plugin.manifest
    assert manifest["name"] == any_plugin.root.name and len(manifest["name"]) <= 30 and NAME.fullmatch(manifest["name"])
    assert len(any_plugin.tools) == len(manifest["mcps"])
    for name in any_plugin.tools:
        assert len(name) <= 32 and NAME.fullmatch(name)
    assert (any_plugin.root / "plugin.yaml").stat().st_size <= 64 * 1024
    assert (any_plugin.root / "README.md").is_file()


def test_entries_name_existing_code(any_plugin):
    if any_plugin.manifest.get("runtime") == "container":
        assert (any_plugin.root / any_plugin.manifest["container"]["dockerfile"]).is_file()
        return
    for tool in any_plugin.manifest["mcps"]:
        assert sum(key in tool for key in ("class_name", "function", "script")) == 1
        file = tool["script"] if "script" in tool else tool["module_path"] + ".py"
        assert (any_plugin.root / file).is_file()
        if "script" not in tool:
            assert hasattr(any_plugin.module(tool["module_path"]), tool.get("class_name") or tool["function"])


def test_schemas_are_closed_and_described(any_plugin):
    for tool in any_plugin.manifest["mcps"]:
        for key in ("args_schema", "output_schema"):
            if key in tool:
                Draft202012Validator.check_schema(tool[key])
                assert tool[key]["type"] == "object"
                for part in objects_of(tool[key]):
                    # A map of free keys closes itself by the schema of its values.
                    assert "additionalProperties" in part, part
        assert tool["args_schema"]["additionalProperties"] is False
        for name, argument in tool["args_schema"]["properties"].items():
            assert argument.get("description"), f"{tool['name']}.{name}"
        assert 40 <= len(tool["description"]) <= 600
        assert set(tool["annotations"]) == {"read_only", "destructive", "idempotent", "open_world"}


def objects_of(schema):
    """Every object schema inside a schema."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from objects_of(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects_of(value)


def test_every_string_and_list_argument_is_bounded(any_plugin):
    def unbounded(schema, path):
        if not isinstance(schema, dict):
            return
        if schema.get("type") == "string" and not {"maxLength", "enum", "const", "format"} & set(schema):
            yield path
        if schema.get("type") == "array" and "maxItems" not in schema:
            yield path
        for key, value in schema.items():
            for inner in value if isinstance(value, list) else [value]:
                yield from unbounded(inner, f"{path}.{key}")

    for tool in any_plugin.manifest["mcps"]:
        assert list(unbounded(tool["args_schema"], tool["name"])) == []


def test_examples_fit_their_schemas(any_plugin):
    for tool in any_plugin.manifest["mcps"]:
        assert len(tool["examples"]) >= 2
        for example in tool["examples"]:
            assert example["query"]
            Draft202012Validator(tool["args_schema"]).validate(example["args"])
            if "result" in example and "output_schema" in tool:
                Draft202012Validator(tool["output_schema"]).validate(example["result"])


def test_powers_are_the_few_that_are_needed(any_plugin):
    assert set(any_plugin.manifest.get("permissions", [])) <= POWERS


def test_locks_are_hashed_and_name_no_place(any_plugin):
    lock = any_plugin.root / "requirements.lock"
    assert lock.is_file() == bool(any_plugin.manifest.get("dependencies"))
    if lock.is_file():
        text = lock.read_text("utf-8")
        assert not re.search(r"https?:|://|index-url|find-links|@ |file:|/\w", text)
        pins = re.findall(r"^[a-z0-9-]+==\S+", text, re.MULTILINE)
        assert len(pins) >= len(any_plugin.manifest["dependencies"])
        for block in re.split(r"\n(?=[a-z])", text):
            if re.match(r"[a-z0-9-]+==", block):
                assert "--hash=sha256:" in block
