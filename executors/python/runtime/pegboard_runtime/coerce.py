"""JSON values into what a function's annotations say: dates, enums, dataclasses, pydantic models, sets, paths.

Imported only where annotations go beyond JSON's own types. An annotation that is not understood leaves its value alone;
the schemas of the same annotations are in `describe.py`. LangChain tools are not coerced: LangChain's own rules hold
there.
"""

from .faults import ToolFault, text_of, type_name
from .signature import Parameters, allowing_none, hints_of
from .stdlib import stdlib

_MAX_DEPTH = 12


def converters(parameters: Parameters, target: object, root: str) -> "dict[str, object]":
    """A converter for each parameter whose annotation asks for one."""
    hints = hints_of(target, root)
    typing = stdlib("typing", root)
    found = {
        name: converter(allowing_none(hints[name], name, parameters, typing), root)
        for name in parameters.names
        if name in hints
    }
    return {name: convert for name, convert in found.items() if convert is not None}


def coerced(args: dict, wanted: "dict[str, object]") -> dict:
    """The arguments, converted. Raises `ToolFault` that names the argument."""
    out = dict(args)
    for name, convert in wanted.items():
        if name not in out:
            continue
        try:
            out[name] = convert(out[name])
        except Exception as error:  # noqa: BLE001 - constructors of the plugin's classes
            raise ToolFault(
                "raised", f"invalid arguments: `{name}`: {type_name(error)}: {text_of(error)}", "correct the arguments"
            ) from None
    return out


def converter(kind: object, root: str, depth: int = 0) -> object:
    """How a JSON value becomes a `kind`; `None` where it is one already."""
    if depth > _MAX_DEPTH:
        return None
    typing = stdlib("typing", root)
    origin, members = typing.get_origin(kind), typing.get_args(kind)
    if origin is not None:
        return _generic(kind, origin, members, typing, root, depth)
    if hasattr(kind, "__supertype__"):
        return converter(kind.__supertype__, root, depth + 1)
    if not isinstance(kind, type):
        return None
    return _of_class(kind, root, depth)


def _generic(kind: object, origin: object, members: tuple, typing: object, root: str, depth: int) -> object:
    if hasattr(kind, "__metadata__"):
        return converter(kind.__origin__, root, depth + 1)
    if origin is typing.Union or getattr(origin, "__name__", "") == "UnionType":
        return _union(members, root, depth)
    name = getattr(origin, "__name__", "")
    if name in (
        "list",
        "Sequence",
        "Iterable",
        "Collection",
        "MutableSequence",
        "set",
        "frozenset",
        "Set",
        "MutableSet",
        "tuple",
    ):
        return _many(name, members, root, depth)
    if name in ("dict", "Mapping", "MutableMapping", "defaultdict") and len(members) == 2:
        inner = converter(members[1], root, depth + 1)
        return None if inner is None else lambda value: {key: inner(item) for key, item in value.items()}
    return None


def _union(members: tuple, root: str, depth: int) -> object:
    options = [(member, converter(member, root, depth + 1)) for member in members]
    if all(convert is None for _, convert in options):
        return None

    def choose(value: object) -> object:
        """The first member that takes the value: as it is where its type fits, else converted."""
        for member, convert in options:
            if convert is None and isinstance(member, type) and type(value) is member:
                return value
        problem: "Exception | None" = None
        for _, convert in options:
            try:
                if convert is not None and value is not None:
                    return convert(value)
            except Exception as error:  # noqa: BLE001 - the next member may fit
                problem = error
        if problem is not None and all(convert is not None or member is type(None) for member, convert in options):
            raise problem
        return value

    return choose


def _many(name: str, members: tuple, root: str, depth: int) -> object:
    build = {"set": set, "Set": set, "MutableSet": set, "frozenset": frozenset, "tuple": tuple}.get(name)
    if name == "tuple" and members and members[-1] is not Ellipsis:
        inners = [converter(member, root, depth + 1) for member in members]
        return lambda value: tuple(item if inner is None else inner(item) for inner, item in zip(inners, value))
    inner = converter(members[0], root, depth + 1) if members else None
    if inner is None:
        return build
    return lambda value: (build or list)(inner(item) for item in value)


def _of_class(kind: type, root: str, depth: int) -> object:
    if kind is int:
        return whole
    if callable(getattr(kind, "model_validate", None)):
        return kind.model_validate
    if callable(getattr(kind, "parse_obj", None)):
        return kind.parse_obj
    names = {(cls.__module__.partition(".")[0], cls.__name__) for cls in kind.__mro__}
    if ("enum", "Enum") in names:
        return lambda value: (
            kind[value]
            if type(value) is str and value in kind.__members__ and not _has_value(kind, value)
            else kind(value)
        )
    if "__dataclass_fields__" in vars(kind):
        return _dataclass(kind, root, depth)
    for name, convert in _KNOWN.items():
        if (kind.__module__.partition(".")[0], kind.__name__) == name:
            return convert(kind)
    return {set: set, frozenset: frozenset, tuple: tuple, bytes: _bytes}.get(kind)


def _has_value(kind: type, value: object) -> bool:
    return any(member.value == value for member in kind)


def whole(value: object) -> object:
    """JSON Schema counts 3.0 as an integer; Python code that asks for an int means 3."""
    return int(value) if type(value) is float and value.is_integer() else value


def _bytes(value: object) -> object:
    if type(value) is not str:
        return value
    from binascii import a2b_base64

    return a2b_base64(value)


def _dataclass(kind: type, root: str, depth: int) -> object:
    hints = hints_of(kind, root)
    inner = {name: converter(hints[name], root, depth + 1) for name in kind.__dataclass_fields__ if name in hints}
    wanted = {name: convert for name, convert in inner.items() if convert is not None}

    def build(value: object) -> object:
        if type(value) is not dict:
            return value
        return kind(**{name: wanted[name](item) if name in wanted else item for name, item in value.items()})

    return build


def _iso(kind: type) -> object:
    # `Z` is understood from Python 3.11 on only.
    return lambda value: (
        kind.fromisoformat(value[:-1] + "+00:00" if value.endswith("Z") else value) if type(value) is str else value
    )


_KNOWN = {
    ("datetime", "datetime"): _iso,
    ("datetime", "date"): _iso,
    ("datetime", "time"): _iso,
    ("datetime", "timedelta"): lambda kind: lambda value: kind(seconds=value),
    ("decimal", "Decimal"): lambda kind: lambda value: kind(str(value)),
    ("fractions", "Fraction"): lambda kind: lambda value: kind(str(value)),
    ("uuid", "UUID"): lambda kind: lambda value: kind(value),
    ("pathlib", "Path"): lambda kind: lambda value: kind(value),
    ("pathlib", "PurePath"): lambda kind: lambda value: kind(value),
    ("pathlib", "PurePosixPath"): lambda kind: lambda value: kind(value),
}
