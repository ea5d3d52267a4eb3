"""Loads a plugin's tools and calls them: imports, instances, `initialize`, one call at a time, faults as data.

The ways a tool may be written are in `tools.py`, `lifecycle.py` and `script.py`; how a value becomes a result in
`content.py`.
Protocol, fork and walls are the zygote's. Imported before plugin code: nothing slow at the top.
"""

import sys
from _contextvars import copy_context

from .encode import MAX_BYTES, dumps, encode, plain
from .faults import ToolFault, fault_of, mask, secret_words, shorten
from .logs import Logs
from .tools import FunctionTool, LoadedTool, RunTool

__all__ = ["CallContext", "LoadedPlugin", "LoadedTool", "ToolFault", "encode", "failure", "load_plugin"]

MAX_LOG = 8192
_LEVELS = ("debug", "info", "warning", "error")


class CallContext:
    """What a call knows beside its arguments, and its way to speak while it runs. Given to tools as a dict by
    `mapping`.
    """

    __slots__ = (
        "trace_id",
        "plugin_id",
        "version",
        "config",
        "secrets",
        "data",
        "scratch",
        "_progress",
        "_log",
        "_words",
        "_last",
        "closed",
    )

    def __init__(
        self, trace_id="", plugin_id="", version="", config=None, secrets=None, data=None, scratch="", progress=None,
        log=None
    ) -> None:  # fmt: skip
        self.trace_id: str = trace_id
        self.plugin_id: str = plugin_id
        self.version: str = version
        self.config: dict = {} if config is None else config
        self.secrets: dict = {} if secrets is None else secrets
        self.data: "list[str]" = [] if data is None else data
        self.scratch: str = scratch
        self._progress = progress or _unheard
        self._log = log or _unheard
        self._words = None
        self._last = None
        # After the call: a thread that outlives it has nobody to speak to.
        self.closed = False

    def progress(self, progress: float, total: "float | None" = None, message: "str | None" = None) -> None:
        """Says how far the call is. Values that do not grow are dropped, as MCP wants them to."""
        done = float(progress)
        total = None if total is None else float(total)
        if (
            self.closed
            or done - done != 0
            or (total is not None and total - total != 0)
            or (self._last is not None and done <= self._last)
        ):
            return
        self._last = done
        self._progress(done, total, None if message is None else self.masked(str(message), 500))

    def log(self, level: str, message: object) -> None:
        """One line of the call's log. Levels: debug, info, warning, error."""
        if not self.closed:
            self._log(level if level in _LEVELS else "info", self.masked(str(message), MAX_LOG))

    def masked(self, text: str, limit: int) -> str:
        if self._words is None:
            self._words = secret_words(self.secrets) if self.secrets else ()
        return shorten(mask(text, self._words), limit)

    def mapping(self) -> dict:
        """The context as tools see it."""
        return {
            "trace_id": self.trace_id,
            "plugin_id": self.plugin_id,
            "version": self.version,
            "config": self.config,
            "secrets": self.secrets,
            "data": self.data,
            "scratch": self.scratch,
            "progress": self.progress,
            "log": self.log,
        }


def _unheard(*_frame: object) -> None:
    """Where no host listens."""


def failure(error: BaseException, root: str, kind: str = "load_failed") -> dict:
    """The wire result of any exception."""
    return fault_of(error, root, kind).wire()


def load_plugin(specs: "list[dict]", root: str, limit: int = MAX_BYTES) -> "LoadedPlugin":
    """Imports every module once. A tool that can't be loaded is in `faults`; the others work. `limit`: bytes of a
    result.
    """
    # Before the plugin's folder is on the path, so that its `json.py` is not taken for ours.
    dumps(None)
    if root not in sys.path:
        sys.path.insert(0, root)
    plugin = LoadedPlugin(root, limit)
    for spec in specs:
        plugin.load(spec)
    plugin.settle()
    return plugin


class Holder:
    """One class of the plugin and its one instance, shared by the tools that name it."""

    __slots__ = ("target", "instance", "root")

    def __init__(self, target: object, root: str) -> None:
        self.target = target
        self.root = root
        self.instance = None if isinstance(target, type) else target

    def get(self, config: dict) -> object:
        """The instance; made at first use, with keywords from the configuration where the constructor needs them."""
        if self.instance is None:
            self.instance = self.target(**self.keywords(config))
        return self.instance

    def required(self) -> "list[str]":
        """Constructor arguments without a default."""
        from .signature import parameters_of

        fields = getattr(self.target, "model_fields", None)
        if isinstance(fields, dict):
            return [name for name, field in fields.items() if field.is_required()]
        init = self.target.__init__
        if init is object.__init__:
            return []
        try:
            return parameters_of(init, self.root).required[1:]
        except (TypeError, ValueError):
            return []

    def keywords(self, config: dict) -> dict:
        required = self.required()
        missing = [name for name in required if name not in config]
        if missing:
            names = ", ".join(f"`{name}`" for name in missing)
            raise ToolFault(
                "load_failed",
                f"the constructor of `{self.target.__name__}` needs {names}",
                "give it a default, or list it in config_schema and set it in the configuration",
            )
        return {name: config[name] for name in required}


class LoadedPlugin:
    """A plugin in memory. `tools` can be called, `faults` say why the others can't."""

    def __init__(self, root: str, limit: int) -> None:
        self.root = root
        self.limit = limit
        self.tools: "dict[str, LoadedTool]" = {}
        self.faults: "dict[str, ToolFault]" = {}
        self.logs = Logs(root)
        self._modules: "dict[str, object]" = {}
        self._holders: "dict[tuple[str, str], Holder]" = {}
        self._base = copy_context()
        self._loop = None

    def load(self, spec: dict) -> None:
        """Loads one tool, or keeps its fault."""
        name = spec["name"]
        try:
            self.tools[name] = self.make(spec)
        except BaseException as error:  # noqa: BLE001 - importing is running the plugin
            self.refuse(name, error)

    def make(self, spec: dict) -> LoadedTool:
        if spec.get("script"):
            from .script import ScriptTool

            return ScriptTool(spec, self.root, self.limit)
        path = spec.get("module_path") or "main"
        wanted = spec.get("class_name") or spec.get("function")
        if not wanted:
            raise ToolFault("load_failed", "the manifest names neither class_name, function nor script")
        target = self.attribute(self.module(path), wanted, path)
        if spec.get("class_name"):
            return self.make_class(spec, target, path, wanted)
        if hasattr(target, "_run"):
            # A function under LangChain's `@tool` is an object with `_run`.
            return self.make_class(spec, target, path, wanted)
        if not callable(target):
            raise ToolFault("load_failed", f"`{wanted}` in `{path}` is not callable")
        return FunctionTool(spec, self.root, self.limit, target)

    def make_class(self, spec: dict, target: object, path: str, name: str) -> LoadedTool:
        holder = self._holders.setdefault((path, name), Holder(target, self.root))
        if hasattr(target, "_run") or hasattr(target, "_arun"):
            tool: LoadedTool = RunTool(spec, self.root, self.limit, holder)
        elif hasattr(target, "execute"):
            from .lifecycle import ExecuteTool

            tool = ExecuteTool(spec, self.root, self.limit, holder)
        else:
            raise ToolFault("load_failed", f"`{name}` in `{path}` has neither `_run`, `_arun` nor `execute`")
        # The instance is made now where it can be; one that needs configuration waits for `initialize`.
        if holder.instance is not None or not holder.required():
            tool.bind({})
        return tool

    def attribute(self, module: object, name: str, path: str) -> object:
        value = module
        for part in name.split("."):
            if not hasattr(value, part):
                raise ToolFault("load_failed", f"`{path}` has no `{name}`", self.nearest(module))
            value = getattr(value, part)
        return value

    def nearest(self, module: object) -> "str | None":
        own = [
            key
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module.__name__
        ]
        return f"it has: {', '.join(own[:8])}" if own else None

    def module(self, path: str) -> object:
        """The plugin's module by `main`, `pkg.mod` or `pkg/mod.py`. Imported once; a failed import fails again the
        same way.
        """
        found = self._modules.get(path)
        if found is None:
            from .modules import import_module

            try:
                found = import_module(path, self.root)
            except BaseException as error:  # noqa: BLE001 - `SystemExit` and worse come out of modules
                found = fault_of(error, self.root, "load_failed", f"importing `{path}`")
            self._modules[path] = found
        if type(found) is ToolFault:
            raise found
        return found

    def refuse(self, name: str, error: BaseException) -> None:
        self.tools.pop(name, None)
        self.faults[name] = fault_of(error, self.root, "load_failed")

    def settle(self) -> None:
        """After plugin code ran: logging is attached, context variables are kept, children find asyncio loaded."""
        self.logs.attach()
        if any(is_asynchronous(tool) for tool in self.tools.values()):
            # Loaded after the fork it would cost every call some tens of milliseconds.
            from . import loop

            loop.prepare(self.root)
        self._base = copy_context()

    def initialize(self, config: dict, context: dict) -> None:
        """Makes instances that need configuration and runs each class's `initialize` once. Failures go to `faults`."""
        done: "dict[int, BaseException | None]" = {}
        for name, tool in list(self.tools.items()):
            try:
                if isinstance(tool, RunTool) and tool.instance is None:
                    tool.bind(config)
                start = getattr(tool, "initialize", None)
                if start is not None:
                    key = id(tool.holder)
                    if key not in done:
                        done[key] = None
                        try:
                            start(config, context, self.run_once)
                        except BaseException as error:
                            done[key] = error
                            raise
                    elif done[key] is not None:
                        raise done[key]
                    else:
                        tool.bind(config)
            except BaseException as error:  # noqa: BLE001
                self.tools.pop(name, None)
                self.faults[name] = fault_of(
                    error, self.root, "load_failed", "initialize" if type(error) is not ToolFault else None
                )
        self.settle()

    def run_once(self, value: object) -> object:
        """Finishes an awaitable on a loop that does not outlive it: a loop must not be shared by forked children."""
        if not is_awaitable(value):
            return value
        from .loop import Loop

        loop = Loop(self.root)
        try:
            return loop.finish(value)
        finally:
            loop.close()

    def describe(self) -> "dict[str, dict | None]":
        """A JSON Schema of each tool's arguments, derived from the code; `None` where the code does not say."""
        from .describe import describe_tool

        return {name: describe_tool(tool, self.root) for name, tool in self.tools.items()}

    def call(self, tool: str, args: dict, context: CallContext) -> dict:
        """One call to its end. Whatever the plugin does, a wire result comes back."""
        loaded = self.tools.get(tool)
        if loaded is None:
            fault = self.faults.get(tool) or ToolFault("load_failed", f"the plugin has no tool `{tool}`")
            return fault.wire(context.secrets)
        logs = self.logs
        if logs.handler is None:
            logs.attach()
        logs.context = context
        try:
            return self._base.copy().run(self.answer, loaded, args, context)
        except BaseException as error:  # noqa: BLE001 - a plugin's failure is data, `SystemExit` included
            return self.failed(loaded, error).wire(context.secrets)
        finally:
            logs.context = None
            context.closed = True

    def answer(self, tool: LoadedTool, args: dict, context: CallContext) -> dict:
        value = tool.invoke(args, context)
        if is_awaitable(value):
            value = self.loop().finish(value)
        return tool.wire(value)

    def failed(self, tool: LoadedTool, error: BaseException) -> ToolFault:
        try:
            special = tool.fault(error)
        except BaseException as second:  # noqa: BLE001 - a handler of the plugin's
            return fault_of(second, self.root)
        return special or fault_of(error, self.root)

    def loop(self) -> object:
        """The event loop of this process, made at its first coroutine and kept between calls of a long-lived worker."""
        if self._loop is None:
            from .loop import Loop

            self._loop = Loop(self.root)
        return self._loop

    def status(self) -> dict:
        """What each lifecycle class's `get_status` says, by tool; a failing one says its fault."""
        found = {}
        for name, value in self.each("status"):
            found[name] = value.wire() if type(value) is ToolFault else self.plain_or_fault(value)
        return found

    def event(self, event: dict) -> "list[ToolFault]":
        """Hands an event to each lifecycle class once; the faults that came of it."""
        return [value for _, value in self.each("event", event) if type(value) is ToolFault]

    def plain_or_fault(self, value: object) -> object:
        try:
            return plain(value, self.limit, "status")
        except ToolFault as fault:
            return fault.wire()

    def each(self, method: str, *values: object) -> "list[tuple[str, object]]":
        """Runs a method of each lifecycle instance once; faults instead of exceptions."""
        seen: "set[int]" = set()
        found: "list[tuple[str, object]]" = []
        for name, tool in self.tools.items():
            act = getattr(tool, method, None)
            if act is None or id(tool.holder) in seen:
                continue
            seen.add(id(tool.holder))
            try:
                value = act(*values)
                found.append((name, self.loop().finish(value) if is_awaitable(value) else value))
            except BaseException as error:  # noqa: BLE001 - plugin code
                found.append((name, fault_of(error, self.root)))
        return found

    def cleanup(self) -> None:
        """Runs each class's `cleanup` and ends the loop. Failures are logged, never raised."""
        for name, value in self.each("cleanup"):
            if type(value) is ToolFault:
                self.logs.emit("warning", f"cleanup of `{name}`: {value.message}")
        if self._loop is not None:
            self._loop.close()
            self._loop = None


def is_asynchronous(tool: LoadedTool) -> bool:
    """Whether the tool's function says `async def`."""
    call = getattr(tool, "call", None)
    code = getattr(getattr(call, "__func__", call), "__code__", None)
    return (
        bool(getattr(code, "co_flags", 0) & 0x280)
        or getattr(getattr(tool, "instance", None), "coroutine", None) is not None
    )


async def _asynchronous_generator() -> object:
    yield


_GENERATOR = type(_asynchronous_generator())


def is_awaitable(value: object) -> bool:
    """A coroutine or the like, or an asynchronous generator; not whatever defines `__anext__`, as mocks do."""
    kind = type(value)
    return hasattr(kind, "__await__") or kind is _GENERATOR
