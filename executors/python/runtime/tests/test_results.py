"""What becomes of a returned value."""

import base64
import json

import pytest
from pegboard_runtime.encode import encode, plain

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 8
TYPES = """
import collections, dataclasses, datetime, decimal, enum, fractions, ipaddress, pathlib, types, typing, uuid
class Color(enum.Enum): RED = "r"
class Level(enum.IntEnum): LOW = 1
class Word(str): pass
class Count(int): pass
class Ratio(float): pass
class Row(typing.NamedTuple):
    a: int
    b: str
@dataclasses.dataclass
class Point:
    kind: typing.ClassVar[str] = "point"
    x: int = 1
    tags: set = dataclasses.field(default_factory=lambda: {"b", "a"})
"""


@pytest.mark.parametrize(
    ("expression", "structured"),
    [
        ("{'a': [1, 2.5, None, True, 'x']}", {"a": [1, 2.5, None, True, "x"]}),
        ("[]", []),
        ("0", 0),
        ("-1.5", -1.5),
        ("False", False),
        ("None", None),
        ("(1, 2, 3)", [1, 2, 3]),
        ("{3, 1, 2}", [1, 2, 3]),
        ("frozenset(['b', 'a'])", ["a", "b"]),
        ("[{1, 'a'}]", [[1, "a"]]),
        ("range(3)", [0, 1, 2]),
        ("{'a': 1}.items()", [["a", 1]]),
        ("map(str, [1])", ["1"]),
        ("Row(1, 'x')", {"a": 1, "b": "x"}),
        ("Point()", {"x": 1, "tags": ["a", "b"]}),
        ("[Color.RED, Level.LOW, Word('w'), Count(3), Ratio(0.5)]", ["r", 1, "w", 3, 0.5]),
        ("{Color.RED: 1, Level.LOW: 2, None: 3, False: 4, 2.5: 5, Word('w'): 6, 7: 8}",
         {"r": 1, "1": 2, "null": 3, "false": 4, "2.5": 5, "w": 6, "7": 8}),
        ("[datetime.datetime(2024, 5, 1, 10), datetime.date(2024, 5, 1), datetime.time(1),"
         " datetime.timedelta(minutes=1)]",
         ["2024-05-01T10:00:00", "2024-05-01", "01:00:00", 60.0]),
        ("[decimal.Decimal('9.90'), fractions.Fraction(1, 3), uuid.UUID(int=1), pathlib.PurePosixPath('/a')]",
         ["9.90", "1/3", "00000000-0000-0000-0000-000000000001", "/a"]),
        ("[ipaddress.ip_address('::1'), ipaddress.ip_network('10.0.0.0/8')]", ["::1", "10.0.0.0/8"]),
        ("[collections.deque([1]), collections.Counter('aab'), collections.OrderedDict(a=1),"
         " collections.UserDict(a=1)]",
         [[1], {"a": 2, "b": 1}, {"a": 1}, {"a": 1}]),
        ("types.SimpleNamespace(a=1)", {"a": 1}),
        ("types.MappingProxyType({'a': 1})", {"a": 1}),
        ("[2**63, -2**63, 2**64, 10**30]", [2**63, -(2**63), str(2**64), str(10**30)]),
        ("{'type': 'image', 'url': 'x'}", {"type": "image", "url": "x"}),
        ("{'type': 'text', 'text': 'x', 'score': 1}", {"type": "text", "text": "x", "score": 1}),
        ("['a', 'b']", ["a", "b"]),
        ("(1, 'image/png')", [1, "image/png"]),
    ],
)  # fmt: skip
def test_data(returns, expression, structured):
    result = returns(expression, TYPES).call()
    assert result == {"ok": True, "content": [], "structured": structured}
    assert json.loads(encode(result)) == result


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("'hé'", "hé"), ("''", ""), ("Word('w')", "w"), ("Color.RED", "r"), ("pathlib.PurePosixPath('/a')", "/a"),
        ("uuid.UUID(int=0)", "0" * 8 + "-0000-0000-0000-" + "0" * 12),
    ],
)  # fmt: skip
def test_text(returns, expression, text):
    assert returns(expression, TYPES).text() == text


def b64(data):
    return base64.b64encode(data).decode()


IMAGE = {"type": "image", "data": b64(PNG), "mime": "image/png"}
MEDIA = f"""
PNG = {PNG!r}
B64 = {b64(PNG)!r}
class Media:
    def __init__(self, data, media_type, **more): self.__dict__.update(more, data=data, media_type=media_type)
class Slotted:
    __slots__ = ("data", "mime_type")
    def __init__(self, data, mime_type): self.data, self.mime_type = data, mime_type
"""


@pytest.mark.parametrize(
    ("expression", "content"),
    [
        ("(PNG, 'image/png')", [IMAGE]),
        ("(bytearray(PNG), 'image/png')", [IMAGE]),
        ("(memoryview(PNG), 'image/png')", [IMAGE]),
        ("{'data': PNG, 'mime': 'image/png'}", [IMAGE]),
        ("{'type': 'image', 'data': PNG, 'mime': 'image/png'}", [IMAGE]),
        ("{'type': 'image', 'data': PNG}", [IMAGE]),
        ("{'type': 'image', 'data': B64, 'mimeType': 'image/png'}", [IMAGE]),
        ("{'type': 'image', 'base64': B64, 'mime_type': 'image/png'}", [IMAGE]),
        ("{'type': 'image', 'source': {'type': 'base64', 'data': B64, 'media_type': 'image/png'}}", [IMAGE]),
        ("{'type': 'image_url', 'image_url': {'url': 'data:image/png;base64,' + B64}}", [IMAGE]),
        ("Media(PNG, 'image/png')", [IMAGE]),
        ("Slotted(PNG, 'image/png')", [IMAGE]),
        ("Media(B64, 'image/png')", [IMAGE]),
        ("(b'RIFF', 'audio/wav')", [{"type": "audio", "data": b64(b"RIFF"), "mime": "audio/wav"}]),
        ("{'type': 'audio', 'data': b'RIFF', 'mime': 'audio/wav'}",
         [{"type": "audio", "data": b64(b"RIFF"), "mime": "audio/wav"}]),
        ("(b'a,b', 'text/csv')", [{"type": "resource", "uri": "result:///data", "mime": "text/csv", "text": "a,b"}]),
        ("(b'%PDF', 'application/pdf')",
         [{"type": "resource", "uri": "result:///data", "mime": "application/pdf", "blob": b64(b"%PDF")}]),
        ("Media(b'%PDF', 'application/pdf', name='a.pdf')",
         [{"type": "resource", "uri": "result:///a.pdf", "mime": "application/pdf", "blob": b64(b"%PDF")}]),
        ("(b'\\xff', 'text/plain')",
         [{"type": "resource", "uri": "result:///data", "mime": "text/plain", "blob": b64(b"\xff")}]),
        ("{'type': 'resource', 'resource': {'uri': 'file:///a', 'mimeType': 'text/plain', 'text': 'x'}}",
         [{"type": "resource", "uri": "file:///a", "mime": "text/plain", "text": "x"}]),
        ("{'type': 'resource', 'uri': 'file:///a', 'blob': b'x'}",
         [{"type": "resource", "uri": "file:///a", "mime": None, "blob": "eA=="}]),
        ("{'type': 'resource_link', 'uri': 'https://a/b.txt', 'name': 'b'}",
         [{"type": "resource_link", "uri": "https://a/b.txt", "name": "b", "mime": None, "description": None}]),
        ("{'type': 'text', 'text': 'x'}", [{"type": "text", "text": "x"}]),
        ("['look', (PNG, 'image/png'), {'type': 'text', 'text': 'x'}]",
         [{"type": "text", "text": "look"}, IMAGE, {"type": "text", "text": "x"}]),
    ],
)  # fmt: skip
def test_content(returns, expression, content):
    result = returns(expression, MEDIA).call()
    assert result == {"ok": True, "content": content}
    assert json.loads(encode(result)) == result


def test_pillow_images(returns):
    import io

    from PIL import Image as pil

    for mode in ("RGB", "RGBA", "L", "CMYK", "1"):
        (block,) = returns(f"Image.new('{mode}', (4, 3))", "from PIL import Image").call()["content"]
        assert (block["type"], block["mime"]) == ("image", "image/png")
        assert pil.open(io.BytesIO(base64.b64decode(block["data"]))).size == (4, 3)


def test_matplotlib_figures_are_closed(returns):
    prelude = """
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    def figure():
        fig, axes = pyplot.subplots(figsize=(1, 1))
        axes.plot([1, 2])
        return fig
    """
    tool = returns("figure()", prelude)
    (block,) = tool.call()["content"]
    assert base64.b64decode(block["data"]).startswith(b"\x89PNG")
    from matplotlib import pyplot

    assert pyplot.get_fignums() == []


def test_pydantic_attrs_numpy_pandas(returns):
    prelude = """
    import attrs, numpy, pandas, pydantic, datetime
    class Inner(pydantic.BaseModel):
        at: datetime.date = datetime.date(2024, 5, 1)
        key: pydantic.SecretStr = pydantic.SecretStr("hidden-value")
    class Model(pydantic.BaseModel):
        inner: Inner = Inner()
        n: int = 1
    @attrs.define
    class A: x: int = 2
    """
    expression = (
        "[Model(), A(), numpy.int64(3), numpy.float32(0.5), numpy.bool_(True), numpy.array([[1, 2]]),"
        " pandas.DataFrame({'a': [1, 2]}), pandas.Series([5])]"
    )
    value = returns(expression, prelude).value()
    assert value[0]["inner"]["at"] == "2024-05-01"
    assert value[0]["inner"]["key"] == "**********"
    assert value[0]["n"] == 1
    assert value[1:] == [{"x": 2}, 3, 0.5, True, [[1, 2]], [{"a": 1}, {"a": 2}], {"0": 5}]


CYCLES = """
import dataclasses
a = {"list": []}; a["list"].append(a)
def deep(n):
    value = 0
    for _ in range(n): value = [value]
    return value
@dataclasses.dataclass
class Node:
    next: object = None
node = Node(); node.next = node
class Plain: pass
class Raises:
    def model_dump(self, mode): raise RuntimeError("not now")
class Itself:
    def model_dump(self, mode): return self
class Endless(dict):
    def items(self):
        while True: yield "a", 1
wide = "x"
for _ in range(60): wide = [wide, wide]
"""


@pytest.mark.parametrize(
    ("expression", "kind", "message"),
    [
        ("{'a': [1, float('nan')]}", "bad_output", "`result.a[1]`: `nan` has no JSON form"),
        ("float('-inf')", "bad_output", "`result`: `-inf` has no JSON form"),
        ("a", "bad_output", "`result.list[0]`: it contains itself"),
        ("node", "bad_output", "`result.next`: it contains itself"),
        ("deep(101)", "bad_output", "nested more than 100 deep"),
        ("deep(100_000)", "bad_output", "nested more than 100 deep"),
        ("{'items': [Plain()]}", "bad_output", "`result.items[0]`: `Plain` has no JSON form"),
        ("{'a b': {1, 2j}}", "bad_output", "`complex` has no JSON form"),
        ("{'a': {1: 1, '1': 2}}", "bad_output", "`result.a`: two keys become '1' in JSON"),
        ("{(1, 2): 3}", "bad_output", "`result`: a key of type `tuple` has no JSON form"),
        ("b'raw'", "bad_output", "`result`: 3 bytes without a media type"),
        ("{'a': bytearray(2)}", "bad_output", "`result.a`: 2 bytes without a media type"),
        ("{'type': 'image', 'data': b'???'}", "bad_output", "`result`: image without a media type"),
        ("{'type': 'image', 'data': 'not base64!', 'mime': 'image/png'}", "bad_output", "`result.data`: not base64"),
        ("Raises()", "bad_output", "`result`: `Raises` can't be converted: RuntimeError: not now"),
        ("Itself()", "bad_output", "nested more than 100 deep"),
        ("(lambda: 1)", "bad_output", "`result`: `function` has no JSON form"),
        ("object", "bad_output", "`result`: `type` has no JSON form"),
        ("Ellipsis", "bad_output", "`result`: `ellipsis` has no JSON form"),
        ("10 ** 5000", "bad_output", "`result`: an integer of 16610 bits is too long"),
        ("wide", "output_too_large", "the result is too large"),
        ("'x' * 2_000_000", "output_too_large", "`result`: the text is longer"),
        ("(b'x' * 1_500_000, 'image/png')", "output_too_large", "`result.content[0]`: the result takes more"),
        ("{'a': {'b': ['x' * 2_000_000]}}", "output_too_large", "`result.a.b[0]`: the result is too large"),
    ],
)
def test_what_has_no_place_in_a_result(returns, expression, kind, message):
    failed = returns(expression, CYCLES).failed()
    assert failed["kind"] == kind
    assert message in failed["message"]
    assert len(failed["message"]) <= 2048


def test_a_depth_of_100_is_allowed(returns):
    assert returns("deep(100)", CYCLES).call()["ok"]


def test_a_mock_is_not_content(returns):
    assert returns("Mock()", "from unittest.mock import MagicMock as Mock").failed()["kind"] == "bad_output"


def test_pairs_for_classes_that_say_so(returns):
    says = "response_format = 'content_and_artifact'"
    assert returns("('two rows', [{'a': 1}, {'a': 2}])", "", says).call() == {
        "ok": True,
        "content": [{"type": "text", "text": "two rows"}],
        "structured": [{"a": 1}, {"a": 2}],
    }


def test_pairs_of_other_kinds(returns, capsys):
    says = "response_format = 'content_and_artifact'"
    assert returns("('look', (b'P', 'image/png'))", "", says).call()["content"][1]["type"] == "image"
    assert returns("({'n': 1}, None)", "", says).call() == {
        "ok": True,
        "content": [{"type": "text", "text": '{"n":1}'}],
    }
    assert returns("('x', object())", "", says).call() == {"ok": True, "content": [{"type": "text", "text": "x"}]}
    assert "the artifact is left out: `result.artifact`: `object` has no JSON form" in capsys.readouterr().err
    assert returns("'x'", "", says).failed()["message"] == "`result`: expected a pair (content, artifact), found `str`"
    assert returns("('a', 'b')").value() == ["a", "b"]


def test_surrogates_are_joined_or_replaced(returns):
    result = returns("{'a': '\\ud83d\\ude00', 'b': '\\ud800x'}").call()
    assert json.loads(encode(result))["structured"] == {"a": "\U0001f600", "b": "\ufffdx"}


def test_encode_names_the_heaviest_part():
    result = {"ok": True, "content": [], "structured": {"small": 1, "rows": [{"blob": "é" * 4000}, {"blob": "y"}]}}
    assert encode(result, 10_000) == json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode()
    failed = json.loads(encode(result, 5000))
    assert failed["kind"] == "output_too_large"
    assert failed["message"].startswith("`result.rows[0].blob`: the result takes 80")


def test_encode_never_raises():
    assert json.loads(encode({"ok": True, "content": [], "structured": object()}))["kind"] == "bad_output"
    assert json.loads(encode({"ok": True, "content": [], "structured": float("nan")}))["kind"] == "bad_output"


def test_plain_copies():
    value = {"a": [1]}
    copy = plain(value)
    assert copy == value
    assert copy is not value and copy["a"] is not value["a"]
