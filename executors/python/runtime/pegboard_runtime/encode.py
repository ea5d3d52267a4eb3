"""Python values into JSON: what a tool returned becomes plain objects, lists, strings and numbers, or a fault that
names the place.

The walk copies, so nothing the plugin still holds can change between the check and the encoding. It does not know
what content blocks are (`content.py`), nor how frames travel (`wire.py`). Types are recognised by name and by their
class's methods, never by importing their modules, and never by an instance's attributes, which a mock object invents.
"""

from .faults import ToolFault, line_of, name_of, shorten, text_of, type_name

MAX_DEPTH = 100
MAX_BYTES = 8 * 1024 * 1024
# JSON numbers are read as 64-bit integers or doubles by the host; a longer integer would lose digits without a word.
_LEAST, _GREATEST = -(1 << 63), (1 << 64) - 1
_MAX_INT_BITS = 13000


class Unfit(Exception):
    """A value has no JSON form. The path is gathered on the way out, so that the way in pays nothing for it."""

    def __init__(self, reason: str, hint: "str | None" = None, kind: str = "bad_output") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.kind = kind
        self.deep = False
        self.path: "list[str | int]" = []
        self.holders: "list[int]" = []

    def inside(self, key: "str | int", holder: object) -> "Unfit":
        self.path.append(key)
        self.holders.append(id(holder))
        return self

    def fault(self, name: str) -> ToolFault:
        """The fault, with the path from the result's root."""
        path, holders = self.path[::-1], self.holders[::-1]
        reason = self.reason
        if self.deep:
            for index, holder in enumerate(holders):
                if holder in holders[:index]:
                    path, reason = path[:index], "it contains itself"
                    break
        return ToolFault(self.kind, f"`{show_path(name, path)}`: {reason}", self.hint)


def show_path(name: str, path: "list[str | int]") -> str:
    """`result.items[3].name`."""
    parts = [name]
    for step in path[:12]:
        if type(step) is int:
            parts.append(f"[{step}]")
        elif str(step).isidentifier():
            parts.append(f".{shorten(str(step), 60)}")
        else:
            parts.append(f"[{shorten(str(step), 60)!r}]")
    return "".join(parts) + ("…" if len(path) > 12 else "")


def plain(value: object, limit: int = MAX_BYTES, name: str = "result") -> object:
    """A copy of `value` made of dict, list, str, int, float, bool and None only. Raises `ToolFault`."""
    try:
        return _Walk(limit).value(value, 0)
    except Unfit as unfit:
        raise unfit.fault(name) from None
    except RecursionError:
        raise ToolFault("bad_output", f"`{name}`: nested too deeply") from None


class _Walk:
    """One conversion. `budget` is a lower bound of the bytes that are still free, so a result that doubles at each
    level ends too.
    """

    __slots__ = ("budget",)

    def __init__(self, limit: int) -> None:
        self.budget = limit

    def value(self, value: object, depth: int) -> object:
        kind = type(value)
        if kind is int:
            return value if _LEAST <= value <= _GREATEST else _long(value)
        if kind is str:
            self.spend(len(value) + 2)
            return value
        if value is None or kind is bool:
            return value
        if kind is float:
            if value - value != 0:
                raise Unfit(f"`{value}` has no JSON form", "return null in its place")
            return value
        if depth >= MAX_DEPTH:
            unfit = Unfit(f"nested more than {MAX_DEPTH} deep")
            unfit.deep = True
            raise unfit
        if kind is dict:
            return self.object(value, depth)
        if kind is list:
            return self.array(value, depth)
        return self.other(value, kind, depth)

    def object(self, value: dict, depth: int) -> dict:
        out: dict = {}
        count = spent = 0
        foreign = False
        for key, item in value.items():
            if type(key) is str:
                name = key
            else:
                name = _key(key)
                foreign = True
            count += 1
            spent += len(name) + 4
            kind = type(item)
            # The leaves that need no look are taken here: a call of `value` for each would double the time of large
            # results.
            if kind is str:
                spent += len(item)
                out[name] = item
            elif item is None or kind is bool:
                out[name] = item
            else:
                self.budget -= spent
                spent = 0
                try:
                    out[name] = self.value(item, depth + 1)
                except Unfit as unfit:
                    raise unfit.inside(name, value)
            if spent > self.budget:
                raise _too_large().inside(name, value)
            if foreign and len(out) != count:
                raise Unfit(f"two keys become {shorten(name, 60)!r} in JSON")
        self.budget -= spent
        return out

    def array(self, value: list, depth: int) -> list:
        out: list = []
        spent = 0
        for index, item in enumerate(value):
            spent += 2
            kind = type(item)
            if kind is str:
                spent += len(item)
                out.append(item)
            elif item is None or kind is bool:
                out.append(item)
            else:
                self.budget -= spent
                spent = 0
                try:
                    out.append(self.value(item, depth + 1))
                except Unfit as unfit:
                    raise unfit.inside(index, value)
            if spent > self.budget:
                raise _too_large().inside(index, value)
        self.budget -= spent
        return out

    def other(self, value: object, kind: type, depth: int) -> object:
        try:
            convert = _CONVERT.get(kind) or _converter(kind)
            simpler = convert(value)
        except (Unfit, MemoryError, RecursionError):
            raise
        except BaseException as error:  # noqa: BLE001 - it is the plugin's method
            raise Unfit(f"`{name_of(kind)}` can't be converted: {type_name(error)}: {text_of(error)}") from None
        if type(simpler) not in _ITERATORS:
            return self.holding(value, simpler, depth)
        return self.array(simpler, depth)

    def holding(self, value: object, simpler: object, depth: int) -> object:
        # A conversion counts as a level: an object that turns into itself must end.
        try:
            return self.value(simpler, depth + 1)
        except Unfit as unfit:
            if unfit.holders:
                # The copy has another identity each time; a cycle through objects shows by the original's.
                unfit.holders[-1] = id(value)
            raise

    def spend(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise _too_large()


def _too_large() -> Unfit:
    return Unfit("the result is too large", "return less, a page at a time, or write a file", "output_too_large")


def _long(value: int) -> str:
    if value.bit_length() > _MAX_INT_BITS:
        raise Unfit(f"an integer of {value.bit_length()} bits is too long", "return it as text")
    return str(value)


def _key(key: object) -> str:
    """The JSON name of a key that is not exactly a string."""
    if isinstance(key, str) and not _is_enum(type(key)):
        return str.__str__(key)
    if key is True or key is False:
        return "true" if key else "false"
    if key is None:
        return "null"
    if isinstance(key, int) and not _is_enum(type(key)):
        return int.__repr__(key)
    if isinstance(key, float):
        if key - key != 0:
            raise Unfit(f"the key `{key}` has no JSON form")
        return float.__repr__(key)
    simple = _KEYS.get(_known_name(type(key)))
    if simple is None:
        raise Unfit(f"a key of type `{type_name(key)}` has no JSON form", "use strings as keys")
    name = simple(key)
    return name if type(name) is str else _key(name)


def _is_enum(kind: type) -> bool:
    return _known_name(kind) == ("enum", "Enum")


def _sorted(value: object) -> list:
    items = list(value)
    try:
        return sorted(items)
    except TypeError:
        return sorted(items, key=lambda item: (type_name(item), repr(item)))


def _tuple(value: tuple) -> object:
    return value._asdict() if callable(getattr(type(value), "_asdict", None)) else list(value)


def _decimal(value: object) -> str:
    if not value.is_finite():
        raise Unfit(f"`{value}` has no JSON form", "return null in its place")
    return str(value)


def _array(value: object) -> object:
    if getattr(value, "size", 1) > MAX_BYTES:
        raise _too_large()
    return value.tolist()


def _bytes(value: object) -> object:
    raise Unfit(
        f"{len(value)} bytes without a media type",
        'return `(data, "image/png")`, or `{"type": "image", "data": …, "mime": "image/png"}`, or text',
    )


# By module and name: the modules need not be loaded to be recognised, and loading them would cost every start.
_KNOWN = {
    ("enum", "Enum"): lambda value: value.value,
    ("builtins", "str"): lambda value: str.__str__(value),
    ("builtins", "int"): lambda value: int.__add__(value, 0),
    ("builtins", "float"): lambda value: float.__pos__(value),
    ("builtins", "dict"): lambda value: dict(value.items()),
    ("builtins", "list"): lambda value: list(value),
    ("builtins", "tuple"): _tuple,
    ("builtins", "set"): _sorted,
    ("builtins", "frozenset"): _sorted,
    ("builtins", "mappingproxy"): lambda value: dict(value),
    ("builtins", "range"): iter,
    ("builtins", "generator"): iter,
    ("builtins", "map"): iter,
    ("builtins", "filter"): iter,
    ("builtins", "zip"): iter,
    ("builtins", "dict_keys"): iter,
    ("builtins", "dict_values"): iter,
    ("builtins", "dict_items"): iter,
    ("builtins", "bytes"): _bytes,
    ("builtins", "bytearray"): _bytes,
    ("builtins", "memoryview"): _bytes,
    ("types", "SimpleNamespace"): vars,
    ("collections", "deque"): list,
    ("collections", "UserDict"): lambda value: value.data,
    ("collections", "UserList"): lambda value: value.data,
    ("collections.abc", "Mapping"): lambda value: dict(value.items()),
    ("datetime", "datetime"): lambda value: value.isoformat(),
    ("datetime", "date"): lambda value: value.isoformat(),
    ("datetime", "time"): lambda value: value.isoformat(),
    ("datetime", "timedelta"): lambda value: value.total_seconds(),
    ("decimal", "Decimal"): _decimal,
    ("fractions", "Fraction"): str,
    ("uuid", "UUID"): str,
    ("pathlib", "PurePath"): str,
    ("ipaddress", "_IPAddressBase"): str,
    ("numpy", "ndarray"): _array,
    ("numpy", "generic"): lambda value: value.item(),
    ("pandas", "DataFrame"): lambda value: value.to_dict(orient="records"),
    ("pandas", "Series"): lambda value: value.to_dict(),
}
_KEYS = {
    name: _KNOWN[name]
    for name in (
        ("enum", "Enum"), ("datetime", "datetime"), ("datetime", "date"), ("decimal", "Decimal"), ("uuid", "UUID"),
        ("pathlib", "PurePath"), ("ipaddress", "_IPAddressBase"), ("numpy", "generic"),
    )
}  # fmt: skip
# Read item by item against the budget: a generator may never end.
_ITERATORS = frozenset((
    type(iter(range(0))), type(iter({}.keys())), type(iter({}.values())), type(iter({}.items())), map, filter, zip,
    type(None for _ in ()), type(iter(range(1 << 70))),
))  # fmt: skip
_CONVERT: "dict[type, object]" = {}


def _known_name(kind: type) -> "tuple[str, str] | None":
    """The first class of the type's line that has a rule. Packages that moved a class keep its name:
    `pathlib._local`.
    """
    names = []
    for cls in line_of(kind):
        module = getattr(cls, "__module__", "")
        module = module if type(module) is str else ""
        names.append((module if module == "collections.abc" else module.partition(".")[0], name_of(cls)))
    if ("enum", "Enum") in names:
        return ("enum", "Enum")
    return next((name for name in names if name in _KNOWN), None)


def _converter(kind: type) -> object:
    """How values of this type become simpler. Raises `Unfit` where there is no way."""
    convert = _by_methods(kind)
    if convert is None:
        known = _known_name(kind)
        if known is None:
            raise Unfit(f"`{name_of(kind)}` has no JSON form", "return text, numbers, lists and objects")
        convert = _KNOWN[known]
    _CONVERT[kind] = convert
    return convert


def _by_methods(kind: type) -> object:
    if callable(getattr(kind, "model_dump", None)):
        if hasattr(kind, "page_content") or "page_content" in getattr(kind, "model_fields", ()):
            return lambda value: {"page_content": value.page_content, "metadata": value.metadata}
        return lambda value: value.model_dump(mode="json")
    fields = getattr(kind, "__dataclass_fields__", None)
    if type(fields) is dict:
        # Class variables and init-only fields are listed too; only true fields are the value's.
        names = [
            name
            for name, field in fields.items()
            if getattr(getattr(field, "_field_type", None), "name", "") == "_FIELD"
        ]
        return lambda value: {name: getattr(value, name) for name in names}
    if type(getattr(kind, "__attrs_attrs__", None)) is not type(None):
        return lambda value: {field.name: getattr(value, field.name) for field in kind.__attrs_attrs__}
    if hasattr(kind, "__fields__") and callable(getattr(kind, "dict", None)):
        return lambda value: value.dict()
    return None


_encoder: object = None


def _text(value: object) -> str:
    """JSON text. `json` is loaded by whoever comes first; `load_plugin` does it before plugin code can shadow it."""
    global _encoder
    if _encoder is None:
        from json import JSONEncoder

        _encoder = JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode
    return _encoder(value)


def dumps(value: object) -> bytes:
    """Plain JSON as UTF-8. Lone surrogates, which UTF-8 and the host refuse, become U+FFFD."""
    text = _text(value)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode("utf-8")


def encode(result: dict, limit: int = MAX_BYTES) -> bytes:
    """A wire result as JSON. One that is larger than `limit` bytes becomes the failure that says where the bytes
    are.
    """
    try:
        data = dumps(result)
    except (ValueError, TypeError, RecursionError) as error:
        return dumps(ToolFault("bad_output", f"the result can't be encoded: {text_of(error)}").wire())
    if len(data) <= limit:
        return data
    path = show_path("result", heaviest(result))
    message = f"`{path}`: the result takes {len(data)} bytes, the limit is {limit}"
    return dumps(ToolFault("output_too_large", message, "return less, a page at a time, or write a file").wire())


def heaviest(result: dict) -> "list[str | int]":
    """The path to the part that holds most of the bytes."""
    path: "list[str | int]" = []
    value: object = result.get("structured")
    content = result.get("content") or []
    if content and len(dumps(content)) > len(dumps(value)):
        value, path = content, ["content"]
    while type(value) in (dict, list) and value and len(path) < 12:
        pairs = value.items() if type(value) is dict else enumerate(value)
        sizes = {key: len(dumps(item)) for key, item in pairs}
        key = max(sizes, key=sizes.__getitem__)
        if sizes[key] * 2 < sum(sizes.values()):
            break
        path.append(key)
        value = value[key]
    return path
