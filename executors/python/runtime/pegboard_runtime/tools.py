"""Two of the ways to write a tool: a class with `_run` or `_arun`, and a function.

Also the envelope `{"success": …}` that functions, lifecycle classes and scripts share. A tool here takes arguments
and a
context and returns what the plugin returned; running coroutines, faults and logs are `contracts.py`'s.
"""

from .coerce import coerced, converters, whole
from .content import shape, shape_outputs
from .encode import plain
from .faults import ToolFault, is_a, line_of, name_of, text_of, type_name
from .signature import LANGCHAIN_OWN, Parameters, config_parameter, own_context, parameters_of


class LoadedTool:
    """A tool that can be called: `invoke` gives the plugin's value (or an awaitable), `wire` what goes to the host."""

    __slots__ = ("name", "schema", "root", "limit")

    def __init__(self, spec: dict, root: str, limit: int) -> None:
        self.name: str = spec["name"]
        self.schema: "dict | None" = spec.get("args_schema")
        self.root = root
        self.limit = limit

    def properties(self) -> "dict | None":
        if self.schema is None:
            return None
        found = self.schema.get("properties")
        return found if type(found) is dict else {}

    def bind(self, config: dict) -> None:
        """Builds what needs the configuration. Called once, before `describe` and calls. Raises `ToolFault`."""

    def invoke(self, args: dict, context: object) -> object:
        raise NotImplementedError

    def wire(self, value: object) -> dict:
        return shape(value, self.limit)

    def fault(self, error: BaseException) -> "ToolFault | None":
        """A fault that this kind of tool knows how to tell better."""
        return None


class RunTool(LoadedTool):
    """Contract 1: `_run(self, **args)` or `async _arun(self, **args)`, LangChain's `BaseTool` included."""

    __slots__ = (
        "holder",
        "instance",
        "call",
        "model",
        "names",
        "pair",
        "context",
        "extra",
        "config",
        "coerce",
        "single",
    )

    def __init__(self, spec: dict, root: str, limit: int, holder: object) -> None:
        super().__init__(spec, root, limit)
        self.holder = holder
        self.instance = None

    def bind(self, config: dict) -> None:
        self.instance = instance = self.holder.get(config)
        method = run_method(instance)
        if method is None:
            raise ToolFault("load_failed", f"`{type_name(instance)}` has neither `_run` nor `_arun` nor `execute`")
        self.call = method
        self.pair = getattr(instance, "response_format", None) == "content_and_artifact"
        schema = getattr(instance, "args_schema", None)
        self.model = (
            schema
            if isinstance(schema, type) and (hasattr(schema, "model_validate") or hasattr(schema, "parse_obj"))
            else None
        )
        parameters = parameters_of(signature_source(instance, method), self.root)
        self.names = None if parameters.open else frozenset(parameters.names)
        self.context = own_context(parameters, self.own_properties(schema))
        self.extra = {
            name: None for name in LANGCHAIN_OWN if name in parameters.required and not self.is_argument(name)
        }
        self.config = "config" if is_structured(instance) else config_parameter(parameters)
        # LangChain's oldest form hands its one argument on by position, whatever it is called.
        self.single = is_langchain(instance) and is_a(type(instance), "Tool")
        self.coerce = (
            None if self.model is not None or is_langchain(instance) else coercion(parameters, method, self.root)
        )

    def own_properties(self, schema: object) -> "dict | None":
        """The arguments' names: by the manifest, else by the class's own schema."""
        if self.schema is not None:
            return self.properties()
        if type(schema) is dict:
            return schema.get("properties", {})
        return None if self.model is None else model_fields(self.model)

    def is_argument(self, name: str) -> bool:
        properties = self.properties()
        return properties is not None and name in properties

    def invoke(self, args: dict, context: object) -> object:
        if self.model is not None:
            args = self.validated(args)
        elif self.coerce is not None:
            args = coerced(args, self.coerce)
        if self.single:
            return self.call(*args.values(), **self.filled({}, context))
        if self.context or self.extra or self.config is not None:
            return self.call(**self.filled(args, context))
        return self.call(**args)

    def filled(self, args: dict, context: object) -> dict:
        """The arguments and what the framework adds to them; a caller's argument of such a name does not get
        through.
        """
        args = {**args, **self.extra}
        if self.context:
            args["context"] = context.mapping()
        if self.config is not None:
            args[self.config] = {
                "configurable": {},
                "metadata": {"trace_id": context.trace_id},
                "tags": [],
                "callbacks": None,
            }
        return args

    def validated(self, args: dict) -> dict:
        """The arguments as the class's pydantic model makes them, so that nested models arrive as models."""
        model = self.model
        checked = model.model_validate(args) if hasattr(model, "model_validate") else model.parse_obj(args)
        given = getattr(checked, "model_fields_set", None)
        given = checked.__fields_set__ if given is None else given
        names = self.names
        out = {
            name: getattr(checked, name)
            for name in model_fields(model)
            if name in given or ((names is None or name in names) and hasattr(checked, name))
        }
        out.update(getattr(checked, "model_extra", None) or {})
        return out

    def wire(self, value: object) -> dict:
        return shape(value, self.limit, self.pair)

    def fault(self, error: BaseException) -> "ToolFault | None":
        """Validation errors in one line each, and the tool's own `handle_tool_error` and `handle_validation_error`."""
        if (
            is_validation(error)
            and error.__traceback__ is not None
            and self.model is not None
            and error.title == self.model.__name__
        ):
            handler = getattr(self.instance, "handle_validation_error", False)
            message = handled(handler, error, "the arguments are not valid") or validation_text(error)
            return ToolFault("raised", message, "correct the arguments")
        if is_a(type(error), "ToolException"):
            message = handled(getattr(self.instance, "handle_tool_error", False), error, text_of(error))
            return ToolFault("raised", message) if message else None
        return None


def run_method(instance: object) -> object:
    """`_run`, unless only `_arun` does the work."""
    run, arun = getattr(instance, "_run", None), getattr(instance, "_arun", None)
    if is_structured(instance) and getattr(instance, "func", None) is None:
        return arun
    if run is None or getattr(run, "__isabstractmethod__", False):
        return arun
    return run


def is_langchain(instance: object) -> bool:
    return any(
        name_of(cls) == "BaseTool" and str(cls.__module__).startswith("langchain") for cls in line_of(type(instance))
    )


def is_structured(instance: object) -> bool:
    """LangChain's `@tool`: an instance that holds a function and hands configuration on."""
    return is_langchain(instance) and is_a(type(instance), "StructuredTool", "Tool")


def signature_source(instance: object, method: object) -> object:
    """What tells the arguments' names: the wrapped function of `@tool`, else the method itself."""
    if is_structured(instance):
        return getattr(instance, "func", None) or getattr(instance, "coroutine", None) or method
    return method


def model_fields(model: type) -> dict:
    fields = getattr(model, "model_fields", None)
    return fields if isinstance(fields, dict) else model.__fields__


def is_validation(error: BaseException) -> bool:
    return (
        type_name(error) == "ValidationError" and callable(getattr(error, "errors", None)) and hasattr(error, "title")
    )


def validation_text(error: BaseException) -> str:
    """Pydantic's findings: place and message of the first five."""
    found = error.errors()
    lines = [
        f"`{'.'.join(str(step) for step in item.get('loc', ())) or 'arguments'}`: {item.get('msg', 'invalid')}"
        for item in found[:5]
    ]
    more = f" (and {len(found) - 5} more)" if len(found) > 5 else ""
    return "invalid arguments: " + "; ".join(lines) + more


def handled(handler: object, error: BaseException, default: str) -> "str | None":
    """LangChain's rule: True means the default text, a string means itself, a function is asked."""
    if not handler:
        return None
    if handler is True:
        return default or "tool execution error"
    if callable(handler):
        text = handler(error)
        return text if type(text) is str else text_of(ToolFault("raised", str(plain(text))))
    return str(handler)


def coercion(parameters: Parameters, target: object, root: str) -> "dict | None":
    """Converters by parameter, for what the annotations ask beyond JSON's own types; `None` where they ask nothing."""
    kinds = parameters.annotations
    if all(type(kind) in (type, str) and kind in _JSON_TYPES for kind in kinds.values()):
        # The common case must not load `typing`.
        return {name: whole for name in parameters.names if kinds.get(name) in (int, "int")} or None
    return converters(parameters, target, root) or None


_JSON_TYPES = frozenset(
    (str, int, float, bool, list, dict, object, "str", "int", "float", "bool", "list", "dict", "object", "Any", "None")
)


class FunctionTool(LoadedTool):
    """Contract 2: `execute_plugin(inputs, context)`, or a function whose parameters are the arguments."""

    __slots__ = ("call", "style", "context", "parameters", "coerce")

    def __init__(self, spec: dict, root: str, limit: int, function: object) -> None:
        super().__init__(spec, root, limit)
        self.call = function
        self.parameters = parameters = parameters_of(function, root)
        self.style = self.calling_style(spec, parameters)
        self.context = own_context(parameters, self.properties()) if self.style == "keywords" else False
        self.coerce = coercion(parameters, function, root) if self.style == "keywords" else None

    def calling_style(self, spec: dict, parameters: Parameters) -> str:
        """`inputs`, `inputs+context` or `keywords`.

        Keywords, when every required parameter is a property of the schema and at least one parameter is; without a
        schema
        (or one without properties), when the function is neither called `execute_plugin` nor names its first
        parameter `inputs`.
        """
        properties = self.properties()
        names = [name for name in parameters.names if name != "context"]
        by_name = not names or (names[0] != "inputs" and spec.get("function") != "execute_plugin")
        if properties:
            known = any(name in properties for name in names) and not (
                names[0] == "inputs" and spec.get("function") == "execute_plugin"
            )
            by_name = not names or (
                known and all(name in properties for name in parameters.required if name != "context")
            )
        elif properties is not None and any(name in parameters.required for name in names):
            by_name = False
        if by_name or (not parameters.positional and (parameters.open or not parameters.names)):
            return "keywords"
        required = [name for name in parameters.required if name in parameters.names[: parameters.positional]]
        if not 1 <= parameters.positional or len(required) > 2 or len(parameters.required) > len(required):
            shown = ", ".join(parameters.names)
            raise ToolFault(
                "load_failed",
                f"`{spec.get('function')}` takes ({shown}); "
                "expected (inputs, context), (inputs), or properties of args_schema",
            )
        return "inputs+context" if parameters.positional >= 2 else "inputs"

    def invoke(self, args: dict, context: object) -> object:
        if self.style == "keywords":
            if self.coerce is not None:
                args = coerced(args, self.coerce)
            if self.context:
                args = {**args, "context": context.mapping()}
            return self.call(**args)
        inputs = {name: {"value": value, "args": {}} for name, value in args.items()}
        return self.call(inputs, context.mapping()) if self.style == "inputs+context" else self.call(inputs)

    def wire(self, value: object) -> dict:
        return wire_of_envelope(value, self.limit)


def wire_of_envelope(value: object, limit: int) -> dict:
    """`{"success": true, "outputs": {…}}` and `{"success": false, "error": "…"}`; anything else is an ordinary
    result.
    """
    if type(value) is not dict or type(value.get("success")) is not bool:
        return shape(value, limit)
    if not value["success"]:
        raise failure_of_envelope(value)
    if "outputs" not in value:
        rest = {key: item for key, item in value.items() if key != "success"}
        return shape_outputs(rest, limit)
    outputs = value["outputs"]
    if type(outputs) is not dict:
        return shape(outputs, limit)
    return shape_outputs({name: bare(item) for name, item in outputs.items()}, limit)


def bare(item: object) -> object:
    """An output's value: `{"value": …}` and `{"value": …, "args": {}}` are envelopes too."""
    return item["value"] if type(item) is dict and "value" in item and item.keys() <= {"value", "args"} else item


def failure_of_envelope(value: dict) -> ToolFault:
    error = value.get("error", value.get("message", value.get("result")))
    if type(error) is dict and type(error.get("message")) is str:
        error = error["message"]
    if error is None or error == "":
        return ToolFault("raised", "the tool reported a failure without an error message")
    return ToolFault("raised", error if type(error) is str else text_of(ToolFault("raised", str(plain(error)))))
