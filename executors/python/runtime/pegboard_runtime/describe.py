"""The JSON Schema (2020-12, object root) of a tool's arguments, derived from its code.

From the class's pydantic `args_schema`, LangChain's own derivation, or a signature with annotations and docstring.
Loaded only
when the host asks. What it can't know is left open (`{}`), never guessed; values for the same annotations: `coerce.py`.
"""

import sys

from .encode import plain
from .faults import ToolFault, fault_of
from .lifecycle import ExecuteTool
from .signature import LANGCHAIN_OWN, allowing_none, config_parameter, hints_of, own_context, parameters_of
from .stdlib import stdlib
from .tools import FunctionTool, RunTool, is_langchain, signature_source

_MAX_DEPTH = 16
_MAX_TEXT = 1000
_MAX_SCHEMA = 512 * 1024


def describe_tool(tool: object, root: str) -> "dict | None":
    """The schema, or `None` where the code does not say what it takes. Never raises on what a plugin does."""
    try:
        if tool.schema is not None:
            return tool.schema
        schema = _schema_of(tool, root)
        return None if schema is None else object_root(plain(schema, _MAX_SCHEMA, "args_schema"))
    except BaseException as error:  # noqa: BLE001 - plugin code makes schemas
        print(f"the arguments of `{tool.name}` can't be derived: {fault_of(error, root).message}", file=sys.stderr)
        return None


def _schema_of(tool: object, root: str) -> "dict | None":
    if isinstance(tool, RunTool):
        if is_langchain(tool.instance):
            return _langchain(tool)
        declared = getattr(tool.instance, "args_schema", None)
        if declared is not None:
            return schema_of_model(declared)
        return signature_schema(signature_source(tool.instance, tool.call), root)
    if isinstance(tool, FunctionTool):
        return signature_schema(tool.call, root) if tool.style == "keywords" else None
    if isinstance(tool, ExecuteTool):
        for name in ("args_schema", "input_schema"):
            declared = getattr(tool.instance, name, None)
            if declared is not None:
                return schema_of_model(declared)
        return _first_parameter(tool.call, root)
    return None


def _langchain(tool: RunTool) -> "dict | None":
    """LangChain's derivation leaves out injected arguments; its title and description are the tool's, not the
    arguments'.
    """
    found = schema_of_model(tool.instance.tool_call_schema)
    if found is None:
        return None
    hidden = {"context"} if tool.context else set()
    properties = {name: item for name, item in found.get("properties", {}).items() if name not in hidden}
    required = [name for name in found.get("required", ()) if name not in hidden]
    rest = {key: item for key, item in found.items() if key not in ("title", "description", "properties", "required")}
    return {**rest, "properties": properties, **({"required": required} if required else {})}


def schema_of_model(model: object) -> "dict | None":
    """The schema of a pydantic model (v2 or v1), of a class with annotations, or a schema given as a dict."""
    if type(model) is dict:
        return model
    if callable(getattr(model, "model_json_schema", None)):
        return model.model_json_schema()
    if callable(getattr(model, "schema", None)):
        return _renamed(model.schema())
    return None


def _renamed(value: object) -> object:
    """Pydantic v1 writes draft 7: `definitions` are `$defs` today."""
    if type(value) is list:
        return [_renamed(item) for item in value]
    if type(value) is not dict:
        return (
            value.replace("#/definitions/", "#/$defs/")
            if type(value) is str and value.startswith("#/definitions/")
            else value
        )
    return {"$defs" if key == "definitions" else key: _renamed(item) for key, item in value.items()}


def object_root(schema: dict) -> dict:
    """A schema whose root says `type: object`: a root `$ref` (recursive models) is replaced by what it refers to."""
    reference = schema.get("$ref")
    if type(reference) is str and reference.startswith("#/$defs/"):
        target = schema.get("$defs", {}).get(reference[8:])
        if type(target) is dict:
            schema = {**target, **{key: item for key, item in schema.items() if key != "$ref"}}
    if schema.get("type", "object") != "object":
        raise ToolFault("load_failed", f"args_schema: expected an object, found {schema['type']!r}")
    out = {"type": "object", "properties": {}}
    out.update(schema)
    return out


def _first_parameter(call: object, root: str) -> "dict | None":
    """`execute(self, input: Input)`, where `Input` is a typed dict, dataclass or model."""
    parameters = parameters_of(call, root)
    hint = hints_of(call, root).get(parameters.names[0]) if parameters.names else None
    if hint is None:
        return None
    schemas = Schemas(root)
    found = schemas.of(hint)
    return schemas.whole(found) if found.get("properties") or "$ref" in found else None


def signature_schema(target: object, root: str) -> dict:
    """The schema of a function called by keywords."""
    parameters = parameters_of(target, root)
    hidden = {*LANGCHAIN_OWN, config_parameter(parameters)} | ({"context"} if own_context(parameters, None) else set())
    hints = hints_of(target, root)
    texts = docstring_arguments(getattr(target, "__doc__", None))
    schemas = Schemas(root)
    properties: dict = {}
    for name in parameters.names:
        if name in hidden:
            continue
        item = dict(schemas.of(allowing_none(hints[name], name, parameters, schemas.typing))) if name in hints else {}
        if name in texts:
            item.setdefault("description", texts[name])
        if name in parameters.defaults:
            schemas.default(item, parameters.defaults[name])
        properties[name] = item
    required = [name for name in parameters.required if name in properties]
    schema: dict = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    if not parameters.open:
        # The function itself refuses other names; the caller learns it sooner this way.
        schema["additionalProperties"] = False
    return schemas.whole(schema)


class Schemas:
    """Annotations into schemas. Models that refer to each other are gathered in `$defs`."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.typing = stdlib("typing", root)
        self.definitions: dict = {}

    def whole(self, schema: dict) -> dict:
        return {**schema, "$defs": self.definitions} if self.definitions else schema

    def default(self, item: dict, value: object) -> None:
        """A default is told where it has a JSON form; pydantic's `Field(...)` objects carry theirs inside."""
        if hasattr(type(value), "__slots__") and hasattr(value, "is_required") and hasattr(value, "description"):
            self.field(item, value)
            value = value.default
        try:
            item["default"] = plain(value, 4096)
        except ToolFault:
            return

    def of(self, kind: object, depth: int = 0) -> dict:
        if depth > _MAX_DEPTH:
            return {}
        typing = self.typing
        origin, members = typing.get_origin(kind), typing.get_args(kind)
        if hasattr(kind, "__metadata__"):
            item = dict(self.of(kind.__origin__, depth + 1))
            for extra in kind.__metadata__:
                self.field(item, extra)
            return item
        if origin is typing.Union or getattr(origin, "__name__", "") == "UnionType":
            return self.union(members, depth)
        if origin is typing.Literal:
            return self.enumeration(list(members))
        if origin is not None:
            return self.generic(getattr(origin, "__name__", ""), members, depth)
        if hasattr(kind, "__supertype__"):
            return self.of(kind.__supertype__, depth + 1)
        if kind is None:
            return {"type": "null"}
        return self.of_class(kind, depth) if isinstance(kind, type) else {}

    def union(self, members: tuple, depth: int) -> dict:
        options = []
        for member in members:
            option = self.of(member, depth + 1)
            if option not in options:
                options.append(option)
        if {} in options:
            return {}
        return options[0] if len(options) == 1 else {"anyOf": options}

    def enumeration(self, values: list) -> dict:
        values = [plain(value, 65536) for value in values]
        names = {_TYPE_NAMES.get(type(value)) for value in values}
        one = names.pop() if len(names) == 1 else None
        return {"type": one, "enum": values} if one else {"enum": values}

    def generic(self, name: str, members: tuple, depth: int) -> dict:
        if name in ("list", "Sequence", "Iterable", "Collection", "MutableSequence", "deque"):
            return self.array(members, depth)
        if name in ("set", "frozenset", "Set", "MutableSet", "AbstractSet"):
            return {**self.array(members, depth), "uniqueItems": True}
        if name == "tuple":
            if len(members) == 2 and members[1] is Ellipsis:
                return self.array(members[:1], depth)
            items = [self.of(member, depth + 1) for member in members]
            return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
        if name in ("dict", "Mapping", "MutableMapping", "defaultdict", "OrderedDict"):
            inner = self.of(members[1], depth + 1) if len(members) == 2 else {}
            return {"type": "object", "additionalProperties": inner} if inner else {"type": "object"}
        if name in ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar"):
            return self.of(members[0], depth + 1) if members else {}
        return {}

    def array(self, members: tuple, depth: int) -> dict:
        inner = self.of(members[0], depth + 1) if members else {}
        return {"type": "array", "items": inner} if inner else {"type": "array"}

    def of_class(self, kind: type, depth: int) -> dict:
        if callable(getattr(kind, "model_json_schema", None)) or callable(getattr(kind, "parse_obj", None)):
            return self.model(kind)
        names = [(cls.__module__.partition(".")[0], cls.__name__) for cls in kind.__mro__]
        if ("enum", "Enum") in names:
            return self.enumeration([member.value for member in kind])
        if type(getattr(kind, "__dataclass_fields__", None)) is dict:
            return self.record(kind, self.dataclass_fields(kind), depth)
        if hasattr(kind, "__required_keys__") and hasattr(kind, "__total__"):
            return self.record(
                kind, {name: name in kind.__required_keys__ for name in hints_of(kind, self.root)}, depth
            )
        if hasattr(kind, "_fields") and issubclass(kind, tuple):
            return {"type": "array"}
        return next((dict(_CLASSES[name]) for name in names if name in _CLASSES), {})

    def dataclass_fields(self, kind: type) -> "dict[str, bool]":
        missing = stdlib("dataclasses", self.root).MISSING
        return {
            name: field.default is missing and field.default_factory is missing
            for name, field in kind.__dataclass_fields__.items()
            if field.init and getattr(field._field_type, "name", "") == "_FIELD"
        }

    def record(self, kind: type, fields: "dict[str, bool]", depth: int) -> dict:
        """A dataclass or typed dict: field names and whether they are required."""
        name = kind.__name__
        if name not in self.definitions:
            # Reserved first, so that a class that contains itself ends.
            self.definitions[name] = {}
            hints = hints_of(kind, self.root)
            properties = {field: self.of(hints[field], depth + 1) if field in hints else {} for field in fields}
            required = [field for field, needed in fields.items() if needed]
            self.definitions[name] = {
                "type": "object",
                "properties": properties,
                **({"required": required} if required else {}),
            }
        return {"$ref": f"#/$defs/{name}"}

    def model(self, kind: type) -> dict:
        name = kind.__name__
        if name not in self.definitions:
            schema = dict(object_root(schema_of_model(kind)))
            for key, item in schema.pop("$defs", {}).items():
                self.definitions.setdefault(key, item)
            self.definitions[name] = schema
        return {"$ref": f"#/$defs/{name}"}

    def field(self, item: dict, extra: object) -> None:
        """What `Annotated[…]` adds: a text, or objects with pydantic's and annotated-types' attributes."""
        if type(extra) is str:
            item["description"] = extra[:_MAX_TEXT]
            return
        for inner in getattr(extra, "metadata", None) or ():
            self.field(item, inner)
        text = getattr(extra, "description", None) or getattr(extra, "documentation", None)
        if type(text) is str:
            item["description"] = text[:_MAX_TEXT]
        for name, key in _CONSTRAINTS.items():
            value = getattr(extra, name, None)
            if type(value) in (int, float) or (name == "pattern" and type(value) is str):
                item[_LENGTHS[item.get("type") == "array"][key] if key in ("minLength", "maxLength") else key] = value


_CONSTRAINTS = {
    "ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum", "multiple_of": "multipleOf",
    "min_length": "minLength", "max_length": "maxLength", "pattern": "pattern",
}  # fmt: skip
_LENGTHS = ({"minLength": "minLength", "maxLength": "maxLength"}, {"minLength": "minItems", "maxLength": "maxItems"})
_TYPE_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_CLASSES = {
    ("builtins", "bool"): {"type": "boolean"},
    ("builtins", "str"): {"type": "string"},
    ("builtins", "int"): {"type": "integer"},
    ("builtins", "float"): {"type": "number"},
    ("builtins", "list"): {"type": "array"},
    ("builtins", "tuple"): {"type": "array"},
    ("builtins", "set"): {"type": "array", "uniqueItems": True},
    ("builtins", "frozenset"): {"type": "array", "uniqueItems": True},
    ("builtins", "dict"): {"type": "object"},
    ("builtins", "bytes"): {"type": "string", "contentEncoding": "base64"},
    ("builtins", "NoneType"): {"type": "null"},
    ("datetime", "datetime"): {"type": "string", "format": "date-time"},
    ("datetime", "date"): {"type": "string", "format": "date"},
    ("datetime", "time"): {"type": "string", "format": "time"},
    ("datetime", "timedelta"): {"type": "number", "description": "seconds"},
    ("decimal", "Decimal"): {"type": ["number", "string"]},
    ("fractions", "Fraction"): {"type": ["number", "string"]},
    ("uuid", "UUID"): {"type": "string", "format": "uuid"},
    ("pathlib", "PurePath"): {"type": "string"},
}


def docstring_arguments(text: object) -> "dict[str, str]":
    """The arguments' descriptions in a docstring: Google (`Args:`), NumPy (`Parameters`) or reST (`:param x:`)."""
    if type(text) is not str or len(text) > 65536:
        return {}
    lines = text.expandtabs().split("\n")
    found = _rest_arguments(lines)
    for index, line in enumerate(lines):
        word = line.strip()
        if word in ("Args:", "Arguments:", "Parameters:"):
            # Python 3.13 strips the indentation that all lines but the first share.
            found.update(_google_arguments(lines[index + 1 :], _indent(line) if index else -1))
        elif word == "Parameters" and index + 1 < len(lines) and lines[index + 1].strip().startswith("---"):
            found.update(_numpy_arguments(lines[index + 2 :], _indent(line)))
    return {name: " ".join(words.split())[:_MAX_TEXT] for name, words in found.items() if words.strip()}


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _rest_arguments(lines: "list[str]") -> "dict[str, str]":
    found: "dict[str, str]" = {}
    current = None
    for line in lines:
        bare = line.strip()
        if bare.startswith(":param "):
            head, _, words = bare[7:].partition(":")
            current = head.split()[-1] if head.split() else None
            if current:
                found[current] = words
        elif not bare or bare.startswith(":"):
            current = None
        elif current:
            found[current] += " " + bare
    return found


def _google_arguments(lines: "list[str]", outer: int) -> "dict[str, str]":
    found: "dict[str, str]" = {}
    level = None
    current = None
    for line in lines:
        if not line.strip():
            continue
        indent = _indent(line)
        if indent <= outer:
            break
        level = indent if level is None else level
        head, colon, words = line.strip().partition(":")
        name = head.partition("(")[0].strip().lstrip("*")
        if indent == level and colon and name.isidentifier():
            current = name
            found[name] = words
        elif current:
            found[current] += " " + line.strip()
    return found


def _numpy_arguments(lines: "list[str]", outer: int) -> "dict[str, str]":
    found: "dict[str, str]" = {}
    current: "list[str]" = []
    for index, line in enumerate(lines):
        bare = line.strip()
        if not bare:
            continue
        if _indent(line) <= outer:
            if index + 1 < len(lines) and lines[index + 1].strip().startswith("---"):
                break
            current = [name.strip().lstrip("*") for name in bare.partition(":")[0].split(",")]
            found.update((name, "") for name in current if name.isidentifier())
        else:
            for name in current:
                if name in found:
                    found[name] += " " + bare
    return found
