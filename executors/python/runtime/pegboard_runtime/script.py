"""Contract 4: a script that reads JSON on stdin and prints JSON.

The script is compiled at load and run in this process, in a fresh `__main__`, once a call: a confined process may not
start
another. What it prints is the result; what it writes to stderr is the call's log and, on failure, the failure's detail.
"""

import sys

from .content import shape
from .encode import dumps
from .faults import ToolFault, fault_of, text_of
from .stdlib import stdlib
from .tools import LoadedTool, failure_of_envelope, wire_of_envelope

# Stdin is the arguments' object unless a comment in the first lines says that the script reads `[[name, {"value":
# …}], …]`.
LIST_MARK = "pegboard: inputs=list"
_MARK_LINES = 20
_STDERR_TAIL = 4096
_MAX_SOURCE = 4 * 1024 * 1024


class Printed:
    """How a script ended: its standard output, the end of its standard error, its exit code."""

    __slots__ = ("text", "errors", "code")

    def __init__(self, text: str, errors: str, code: object) -> None:
        self.text = text
        self.errors = errors
        self.code = code


class ScriptTool(LoadedTool):
    """A script of the plugin."""

    __slots__ = ("code", "file", "folder", "as_list", "module_type", "io", "loads")

    def __init__(self, spec: dict, root: str, limit: int) -> None:
        super().__init__(spec, root, limit)
        path = spec["script"].removeprefix("./")
        if path.startswith("/") or ".." in path.split("/"):
            raise ToolFault("load_failed", f"`{path}` lies outside the plugin")
        self.file = f"{root.rstrip('/')}/{path}"
        self.folder = self.file.rpartition("/")[0]
        # Read now: the modules that a call needs must not be the plugin's of the same name.
        self.io = stdlib("io", root)
        self.loads = stdlib("json", root).loads
        self.module_type = type(sys)
        source = self.read(path)
        self.as_list = marked(source)
        try:
            self.code = compile(source, self.file, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            raise fault_of(error, root, "load_failed", f"compiling `{path}`") from None

    def read(self, path: str) -> bytes:
        try:
            with self.io.open(self.file, "rb") as handle:
                source = handle.read(_MAX_SOURCE + 1)
        except OSError as error:
            raise ToolFault("load_failed", f"`{path}` can't be read: {error.strerror}") from None
        if len(source) > _MAX_SOURCE:
            raise ToolFault("load_failed", f"`{path}` is larger than {_MAX_SOURCE} bytes")
        return source

    def invoke(self, args: dict, context: object) -> Printed:
        document = [[name, {"value": value}] for name, value in args.items()] if self.as_list else args
        out = Bounded(self.io, self.limit)
        errors = Tail(self.io, sys.stderr)
        kept = (sys.stdin, sys.stdout, sys.stderr, sys.argv, sys.path, sys.modules.get("__main__"))
        main = self.module_type("__main__")
        main.__file__ = self.file
        sys.stdin = self.io.TextIOWrapper(self.io.BytesIO(dumps(document)), encoding="utf-8")
        sys.stdout = self.io.TextIOWrapper(out.stream, encoding="utf-8", errors="surrogateescape", write_through=True)
        sys.stderr = self.io.TextIOWrapper(
            errors.stream, encoding="utf-8", errors="backslashreplace", write_through=True
        )
        sys.argv = [self.file]
        sys.path = [self.folder, *(entry for entry in kept[4] if entry != self.folder)]
        sys.modules["__main__"] = main
        code: object = 0
        try:
            exec(self.code, main.__dict__)  # noqa: S102 - running the plugin's code is what we are for
        except SystemExit as end:
            code = end.code
        finally:
            # The script's wrappers must not close what we read, whoever still holds them.
            sys.stdin, sys.stdout, sys.stderr, sys.argv, sys.path = kept[:5]
            if kept[5] is not None:
                sys.modules["__main__"] = kept[5]
        if out.overflow:
            raise ToolFault(
                "output_too_large", f"the script printed more than {self.limit} bytes", "print less, a page at a time"
            )
        if code is not None and type(code) is not int:
            errors.add(text_of(ToolFault("raised", str(code))))
            code = 1
        return Printed(out.text(), errors.text(), code or 0)

    def wire(self, value: object) -> dict:
        text = value.text.strip()
        found, document = self.parsed(text)
        if value.code != 0:
            raise self.exit_fault(value, document)
        if not found:
            return shape(value.text.removesuffix("\n"), self.limit)
        if is_report(document):
            document = merged(document)
        return wire_of_envelope(document, self.limit)

    def parsed(self, text: str) -> "tuple[bool, object]":
        if not text:
            return False, None
        try:
            return True, self.loads(text)
        except (ValueError, RecursionError):
            return False, None

    def exit_fault(self, value: Printed, document: object) -> ToolFault:
        """A failure by exit code; the script's own `{"success": false, "error": …}` says more than the number."""
        detail = value.errors.strip() or value.text.strip()[-_STDERR_TAIL:] or None
        if type(document) is dict and document.get("success") is False:
            fault = failure_of_envelope(document)
            fault.detail = detail
            return fault
        last = value.errors.strip().rpartition("\n")[2]
        message = f"the script ended with status {value.code}"
        return ToolFault("raised", f"{message}: {last}" if last else message, detail=detail)


def marked(source: bytes) -> bool:
    """Whether a comment among the first lines asks for the list form."""
    mark = LIST_MARK.replace(" ", "").encode()
    for line in source.split(b"\n", _MARK_LINES)[:_MARK_LINES]:
        bare = line.strip()
        if bare.startswith(b"#") and bare.lstrip(b"#").replace(b" ", b"").strip().startswith(mark):
            return True
    return False


def is_report(document: object) -> bool:
    """`[{"success": …, "name": …, "result": …}, …]`."""
    return (
        type(document) is list
        and bool(document)
        and all(
            type(item) is dict and type(item.get("success")) is bool and item.keys() <= _REPORT_KEYS
            for item in document
        )
    )


_REPORT_KEYS = {"success", "name", "result", "error", "message"}


def merged(report: "list[dict]") -> dict:
    """One envelope of a report: the first failure, or the results by name (by position where names are missing or
    repeat).
    """
    for item in report:
        if not item["success"]:
            fault = failure_of_envelope(item)
            name = item.get("name")
            return {"success": False, "error": f"{name}: {fault.message}" if type(name) is str else fault.message}
    names = [item.get("name") for item in report]
    if all(type(name) is str for name in names) and len(set(names)) == len(names):
        return {"success": True, "outputs": {name: item.get("result") for name, item in zip(names, report)}}
    return {"success": True, "outputs": [item.get("result") for item in report]}


class Bounded:
    """A stream that keeps at most `limit` bytes and notes that there were more."""

    def __init__(self, io: object, limit: int) -> None:
        self.kept = bytearray()
        self.overflow = False
        self.limit = limit
        self.stream = _raw_stream(io, self.add)

    def add(self, data: bytes) -> None:
        if len(self.kept) + len(data) > self.limit:
            self.overflow = True
            raise ToolFault(
                "output_too_large", f"the script printed more than {self.limit} bytes", "print less, a page at a time"
            )
        self.kept += data

    def text(self) -> str:
        return self.kept.decode("utf-8", "replace")


class Tail:
    """A stream that passes everything on to the call's log and keeps its end."""

    def __init__(self, io: object, log: object) -> None:
        self.kept = bytearray()
        self.log = log
        self.stream = _raw_stream(io, self.write)

    def write(self, data: bytes) -> None:
        self.kept += data
        del self.kept[:-_STDERR_TAIL]
        self.log.write(data.decode("utf-8", "replace"))

    def add(self, text: str) -> None:
        self.write((text + "\n").encode("utf-8", "replace"))

    def text(self) -> str:
        return self.kept.decode("utf-8", "replace")


def _raw_stream(io: object, add: object) -> object:
    class Raw(io.RawIOBase):
        """A binary stream without a descriptor, so that `sys.stdout.buffer` works too."""

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            data = bytes(data)
            add(data)
            return len(data)

    return Raw()
