"""Contract 3: a class with `initialize(config, context)`, `execute(input[, context])`, `cleanup()`, `get_status()`,
`handle_event(event)`.

Only `execute` is required; each method may be `async def` and may take fewer parameters than listed.
"""

from .signature import parameters_of
from .tools import LoadedTool, wire_of_envelope


class ExecuteTool(LoadedTool):
    """A tool whose class keeps state between `initialize` and `cleanup`."""

    __slots__ = ("holder", "instance", "call", "style")

    def __init__(self, spec: dict, root: str, limit: int, holder: object) -> None:
        super().__init__(spec, root, limit)
        self.holder = holder
        self.instance = None

    def bind(self, config: dict) -> None:
        self.instance = self.holder.get(config)
        self.call = self.instance.execute
        parameters = parameters_of(self.call, self.root)
        if parameters.positional >= 2:
            self.style = "input+context"
        elif parameters.positional == 1:
            self.style = "input"
        else:
            self.style = "keywords" if parameters.open or parameters.names else "nothing"

    def initialize(self, config: dict, context: dict, finish: object) -> None:
        """Runs the class's `initialize`, once for all tools of the class; `finish` completes a coroutine."""
        self.bind(config)
        method = getattr(self.instance, "initialize", None)
        if callable(method):
            finish(self.given(method, config, context))

    def cleanup(self) -> object:
        method = getattr(self.instance, "cleanup", None)
        return self.given(method) if callable(method) else None

    def status(self) -> object:
        method = getattr(self.instance, "get_status", None)
        return self.given(method) if callable(method) else None

    def event(self, event: dict) -> object:
        method = getattr(self.instance, "handle_event", None)
        return self.given(method, event) if callable(method) else None

    def given(self, method: object, *values: object) -> object:
        """Calls a method with as many of the values as it takes by position."""
        return method(*values[: parameters_of(method, self.root).positional])

    def invoke(self, args: dict, context: object) -> object:
        if self.style == "input+context":
            return self.call(args, {**context.mapping(), "tool": self.name})
        if self.style == "input":
            return self.call(args)
        return self.call(**args) if self.style == "keywords" else self.call()

    def wire(self, value: object) -> dict:
        return wire_of_envelope(value, self.limit)
