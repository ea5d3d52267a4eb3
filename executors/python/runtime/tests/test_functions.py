"""Contract 2: functions."""

import pytest

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}


def test_inputs_and_context(load):
    tool = load(
        """
        def execute_plugin(inputs, context):
            outputs = {"sum": inputs["a"]["value"] + inputs["b"]["value"], "shape": [inputs["a"]]}
            outputs.update(id=context["plugin_id"], v=context["version"], trace=context["trace_id"])
            return {"success": True, "outputs": outputs}
        """,
        {"function": "execute_plugin", "args_schema": SCHEMA},
    )
    assert tool.value("t", {"a": 1, "b": 2}) == {
        "sum": 3,
        "id": "sample",
        "v": "1.2.3",
        "trace": "trace-1",
        "shape": [{"value": 1, "args": {}}],
    }


@pytest.mark.parametrize(
    ("signature", "expression"),
    [
        ("inputs", "inputs['a']['value']"),
        ("inputs, context=None", "inputs['a']['value']"),
        ("inputs=None, context=None", "inputs['a']['value']"),
        ("verbose=False, a=0", "a"),
        ("data, ctx", "data['a']['value']"),
        ("*, a, b=0", "a"),
        ("a, b=0", "a"),
        ("a, context", "a if context['plugin_id'] == 'sample' else None"),
        ("**values", "values['a']"),
    ],
)
@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_signatures(load, signature, expression, keyword):
    tool = load(f"{keyword} run({signature}):\n    return {expression}\n", {"function": "run", "args_schema": SCHEMA})
    assert tool.value("t", {"a": 41}) == 41


@pytest.mark.parametrize(
    ("signature", "expression"),
    [("", "7"), ("limit=7", "limit"), ("inputs", "inputs or 7"), ("inputs=None, context=None", "inputs or 7")],
)
def test_a_schema_without_properties(load, signature, expression):
    schema = {"type": "object", "properties": {}}
    assert load(f"def run({signature}): return {expression}\n", {"function": "run", "args_schema": schema}).value() == 7


def test_a_property_called_inputs_does_not_change_execute_plugin(load):
    schema = {"type": "object", "properties": {"inputs": {}, "context": {}}}
    tool = load(
        "def execute_plugin(inputs, context): return inputs\n", {"function": "execute_plugin", "args_schema": schema}
    )
    assert tool.value("t", {"inputs": 1}) == {"inputs": {"value": 1, "args": {}}}


def test_without_a_schema_the_name_decides(load):
    tool = load(
        "def execute_plugin(given, context): return given['a']['value']\ndef plain(a, b: int = 3): return a + b\n",
        {"name": "t", "function": "execute_plugin"},
        {"name": "plain", "function": "plain"},
    )
    assert tool.value("t", {"a": 1}) == 1
    assert tool.value("plain", {"a": 1}) == 4


def test_a_signature_that_fits_nothing_is_a_load_fault(load):
    tool = load("def run(x, y, z): pass\n", {"function": "run", "args_schema": SCHEMA}, expect_faults=True)
    assert (
        tool.failed()["message"]
        == "`run` takes (x, y, z); expected (inputs, context), (inputs), or properties of args_schema"
    )


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("{'success': False, 'error': 'no such city'}", "no such city"),
        ("{'success': False, 'error': {'code': 4, 'message': 'no such city'}}", "no such city"),
        ("{'success': False}", "the tool reported a failure without an error message"),
        ("{'success': False, 'error': ['a', 1]}", "['a', 1]"),
    ],
)
def test_failures(load, returned, message):
    failed = load(
        f"def execute_plugin(inputs, context):\n    return {returned}\n", {"function": "execute_plugin"}
    ).failed()
    assert (failed["kind"], failed["message"]) == ("raised", message)


@pytest.mark.parametrize(
    ("returned", "structured"),
    [
        ("{'success': True, 'outputs': {'x': {'value': 1}, 'y': {'value': 2, 'args': {}}, 'z': {'value': 3, 'u': 1}}}",
         {"x": 1, "y": 2, "z": {"value": 3, "u": 1}}),
        ("{'success': True, 'outputs': [1, 2]}", [1, 2]),
        ("{'success': True, 'outputs': {}}", {}),
        ("{'success': True, 'result': 5}", {"result": 5}),
        ("{'success': 'maybe', 'x': 1}", {"success": "maybe", "x": 1}),
        ("[1]", [1]),
    ],
)  # fmt: skip
def test_results(load, returned, structured):
    assert (
        load(f"def execute_plugin(inputs, context):\n    return {returned}\n", {"function": "execute_plugin"}).value()
        == structured
    )


def test_an_image_among_the_outputs_becomes_content(load):
    source = "def execute_plugin(inputs): return {'success': True, 'outputs': {'n': 1, 'c': (b'PNG', 'image/png')}}\n"
    assert load(source, {"function": "execute_plugin"}).call() == {
        "ok": True,
        "content": [{"type": "image", "data": "UE5H", "mime": "image/png"}],
        "structured": {"n": 1},
    }
