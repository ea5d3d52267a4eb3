"""What a plugin says by `logging` and `warnings` becomes log frames of the call that runs.

`print` is not here: descriptors 1 and 2 of a child are the call's log already. Outside a call (import, `initialize`)
records go to stderr.
"""

import sys

from .stdlib import stdlib


class Logs:
    """Sends log records to the current call. `context` is set for the time of a call."""

    __slots__ = ("context", "handler", "root")

    def __init__(self, root: str) -> None:
        self.root = root
        self.context = None
        self.handler = None

    def attach(self) -> None:
        """Installs the handler once `logging` is loaded; a plugin that never logs does not pay for its import."""
        if self.handler is not None or "logging" not in sys.modules:
            return
        logging = stdlib("logging", self.root)
        self.handler = handler = _make_handler(logging, self)
        top = logging.getLogger()
        # What `basicConfig` installed would say every line twice: stderr is the call's log too.
        for other in top.handlers[:]:
            if type(other) is logging.StreamHandler and getattr(other, "stream", None) in (sys.stderr, sys.stdout):
                top.removeHandler(other)
        if top.level == logging.WARNING:
            top.setLevel(logging.INFO)
        top.addHandler(handler)
        self.attach_warnings()

    def attach_warnings(self) -> None:
        warnings = stdlib("warnings", self.root)

        def show(
            message: object, category: type, filename: str, lineno: int, file: object = None, line: object = None
        ) -> None:
            place = filename.removeprefix(self.root.rstrip("/") + "/")
            self.emit("warning", f"{category.__name__}: {message} ({place}:{lineno})")

        warnings.showwarning = show

    def emit(self, level: str, message: str) -> None:
        context = self.context
        if context is None:
            print(f"{level}: {message}", file=sys.stderr)
        else:
            context.log(level, message)


def _make_handler(logging: object, logs: Logs) -> object:
    class Forward(logging.Handler):
        """Forwards each record as one log frame."""

        def emit(self, record: object) -> None:
            try:
                level = (
                    "error"
                    if record.levelno >= 40
                    else "warning"
                    if record.levelno >= 30
                    else "info"
                    if record.levelno >= 20
                    else "debug"
                )
                name = "" if record.name == "root" else f"{record.name}: "
                text = self.format(record)
                logs.emit(level, name + text)
            except Exception:  # noqa: BLE001 - a bad format string must not end the call
                logs.emit("warning", f"a log record can't be shown: {record.msg!r:.200}")

    return Forward()
