"""What a callable takes: names, which of them are required, annotations. Cheap for plain functions, `inspect` for the
rest.

What the annotations mean as a schema is in `describe.py`, what they mean for values in `coerce.py`.
"""

import sys

from .stdlib import stdlib

_EMPTY: dict = {}


class _Sample:
    def method(self) -> None: ...


# The types of functions and bound methods, without `types` and its import.
FunctionType = type(_Sample.method)
MethodType = type(_Sample().method)
CodeType = type(_Sample.method.__code__)
# Parameters that LangChain fills in; a model never sees them.
LANGCHAIN_OWN = ("run_manager", "callbacks")
# Annotations of parameters that the framework fills in, by the name of the type.
_CONFIG_TYPES = ("RunnableConfig",)


class Parameters:
    """The parameters of a callable, without `self`."""

    __slots__ = ("names", "required", "positional", "open", "annotations", "defaults")

    def __init__(
        self,
        names: "list[str]",
        required: "list[str]",
        positional: int,
        takes_any: bool,
        annotations: dict,
        defaults: dict,
    ) -> None:
        self.names = names
        self.required = required
        # How many can be given by position.
        self.positional = positional
        # Whether `**kwargs` takes any name.
        self.open = takes_any
        self.annotations = annotations
        self.defaults = defaults


def parameters_of(target: object, root: str) -> Parameters:
    """Raises `TypeError` or `ValueError` for callables without a signature."""
    function, skipped = target, 0
    if type(function) is MethodType:
        function, skipped = function.__func__, 1
    while hasattr(function, "__wrapped__") and type(function) is FunctionType:
        function = function.__wrapped__
    if type(function) is FunctionType and type(function.__code__) is CodeType:
        return _of_function(function, skipped)
    return _of_signature(target, root)


def _of_function(function: FunctionType, skipped: int) -> Parameters:
    code = function.__code__
    positional = code.co_argcount
    names = list(code.co_varnames[: positional + code.co_kwonlyargcount])
    values = function.__defaults__ or ()
    defaults = dict(zip(names[positional - len(values) : positional], values))
    defaults.update(function.__kwdefaults__ or _EMPTY)
    # Positional-only parameters can't be given by name and count as the plugin's mistake where names are used.
    names = names[skipped:]
    required = [name for name in names if name not in defaults]
    return Parameters(
        names, required, max(positional - skipped, 0), bool(code.co_flags & 0x08), annotations_of(function), defaults
    )


def _of_signature(target: object, root: str) -> Parameters:
    signature = stdlib("inspect", root).signature(target)
    kinds = [parameter for parameter in signature.parameters.values() if parameter.kind not in (2, 4)]
    empty = signature.empty
    return Parameters(
        [parameter.name for parameter in kinds],
        [parameter.name for parameter in kinds if parameter.default is empty],
        sum(parameter.kind in (0, 1) for parameter in kinds),
        any(parameter.kind == 4 for parameter in signature.parameters.values()),
        {parameter.name: parameter.annotation for parameter in kinds if parameter.annotation is not empty},
        {parameter.name: parameter.default for parameter in kinds if parameter.default is not empty},
    )


def annotations_of(function: object) -> dict:
    """The raw annotations: types, or source text under `from __future__ import annotations`."""
    try:
        found = function.__annotations__
    except Exception:  # noqa: BLE001 - evaluated late from Python 3.14 on, and may fail
        return {}
    return found if type(found) is dict else {}


def own_context(parameters: Parameters, properties: "dict | None") -> bool:
    """Whether a parameter `context` is the host's and not an argument.

    It is an argument when the schema lists it, or when there is no schema and it is annotated as something that the
    host's context, a dict, is not: `context: str`. A caller can therefore never pass itself off as the host.
    """
    if "context" not in parameters.names:
        return False
    if properties is not None:
        return "context" not in properties
    annotation = parameters.annotations.get("context")
    text = (
        annotation
        if type(annotation) is str
        else getattr(annotation, "__name__", "")
        if type(annotation) is type
        else str(annotation)
    )
    return annotation is None or any(word in text for word in ("dict", "Dict", "Mapping", "Any"))


def config_parameter(parameters: Parameters) -> "str | None":
    """The parameter that LangChain fills with its run configuration."""
    for name, annotation in parameters.annotations.items():
        text = annotation if type(annotation) is str else getattr(annotation, "__name__", "") + str(annotation)
        if name in parameters.names and any(word in text for word in _CONFIG_TYPES):
            return name
    return None


def hints_of(target: object, root: str) -> dict:
    """The annotations of a function or class as types; those that can't be evaluated are left out."""
    typing = stdlib("typing", root)
    function = target.__func__ if type(target) is MethodType else target
    while type(function) is FunctionType and hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - one bad name spoils all; each is tried alone
        pass
    names = getattr(function, "__globals__", None) or getattr(
        sys.modules.get(getattr(function, "__module__", "")), "__dict__", {}
    )
    found = {}
    for name, annotation in annotations_of(function).items():
        try:
            # The plugin's own text, in the plugin's own process.
            found[name] = eval(annotation, dict(names)) if type(annotation) is str else annotation  # noqa: S307
        except Exception:  # noqa: BLE001
            continue
    return found


def allowing_none(hint: object, name: str, parameters: Parameters, typing: object) -> object:
    """`text: str = None` allows None, as Python read it itself up to 3.10."""
    return typing.Optional[hint] if parameters.defaults.get(name, ...) is None else hint
