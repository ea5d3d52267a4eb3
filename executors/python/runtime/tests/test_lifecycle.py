"""Contract 3: classes with a life."""

import pytest

SOURCE = """
class T:
    def __init__(self): self.events = []
    {k} initialize(self, config, context):
        self.events.append(["initialize", config, context["plugin_id"]])
    {k} execute(self, input, context):
        self.events.append(["execute", input, context["tool"]])
        return {{"success": True, "outputs": {{"events": self.events}}}}
    {k} cleanup(self):
        print("cleaned")
    {k} get_status(self): return {{"events": len(self.events)}}
    {k} handle_event(self, event): self.events.append(["event", event])
"""


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_the_whole_life(load, keyword, capsys):
    tool = load(
        SOURCE.format(k=keyword), {"name": "a", "class_name": "T"}, {"name": "b", "class_name": "T"}, config={"x": 1}
    )
    tool.call("a", {"q": 1})
    events = [["initialize", {"x": 1}, "sample"], ["execute", {"q": 1}, "a"], ["execute", {"q": 2}, "b"]]
    assert tool.value("b", {"q": 2}) == {"events": events}
    assert tool.plugin.status() == {"a": {"events": 3}}
    assert tool.plugin.event({"kind": "reload"}) == []
    assert tool.value("a")["events"][3] == ["event", {"kind": "reload"}]
    tool.plugin.cleanup()
    assert capsys.readouterr().out == "cleaned\n"


@pytest.mark.parametrize(
    ("signature", "expression"),
    [("input", "input"), ("input, context", "input"), ("**values", "values"), ("a", "a"), ("", "{'a': 1}")],
)
def test_execute_signatures(load, signature, expression):
    source = f"class T:\n    def execute(self{', ' if signature else ''}{signature}): return {expression}\n"
    assert load(source, {"class_name": "T"}).value("t", {"a": 1}) == {"a": 1}


def test_fewer_parameters_of_initialize(load):
    source = (
        "class T:\n    def initialize(self, config): self.c = config\n    def execute(self, input): return self.c\n"
    )
    assert load(source, {"class_name": "T"}, config={"x": 1}).value() == {"x": 1}


def test_a_failing_initialize_is_a_load_fault_of_all_its_tools(load):
    source = """
    runs = []
    class T:
        def initialize(self, config, context):
            runs.append(1)
            raise KeyError("endpoint")
        def execute(self, input): return 1
    class Fine:
        def execute(self, input): return len(runs)
    """
    tool = load(
        source,
        {"name": "a", "class_name": "T"},
        {"name": "b", "class_name": "T"},
        {"name": "c", "class_name": "Fine"},
        expect_faults=True,
    )
    for name in ("a", "b"):
        failed = tool.failed(name)
        assert (failed["kind"], failed["message"]) == ("load_failed", "initialize: KeyError: 'endpoint'")
        assert 'File "main.py"' in failed["detail"]
    assert tool.value("c") == 1


def test_cleanup_and_status_that_fail_are_told_not_raised(load, capsys):
    source = """
    class T:
        def execute(self, input): return 1
        def cleanup(self): raise OSError("gone")
        def get_status(self): raise OSError("gone too")
        def handle_event(self, event): raise OSError("and this")
    """
    tool = load(source, {"class_name": "T"})
    assert tool.plugin.status()["t"]["message"] == "OSError: gone too"
    assert [fault.message for fault in tool.plugin.event({})] == ["OSError: and this"]
    tool.plugin.cleanup()
    assert "cleanup of `t`: OSError: gone" in capsys.readouterr().err


def test_failure_envelope(load):
    source = "class T:\n    def execute(self, input): return {'success': False, 'error': 'no'}\n"
    assert load(source, {"class_name": "T"}).failed()["message"] == "no"
