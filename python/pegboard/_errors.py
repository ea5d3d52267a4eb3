"""Every exception of the package, and how an answer of the engine becomes one. Branch on the class or on `code`, never on text.

Holds no connection and no text of its own beyond what the engine said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class PegboardError(Exception):
    """The root of all exceptions here.

    `code` is a stable word, `hint` what to do, `retryable` whether the same request may succeed later without a change.
    """

    code: str = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class EngineError(PegboardError):
    """The engine could not be begun, joined or reached."""

    code = "engine"


class EngineGone(EngineError):
    """The engine ended while a request was under way, which may or may not have been carried out."""

    code = "engine_gone"
    retryable = True


class ToolboxClosed(EngineError):
    """The toolbox was closed, before or during the request."""

    code = "closed"


class ProtocolError(EngineError):
    """The other side does not speak the protocol as it should, or says more than an answer may have."""

    code = "protocol"


class InvalidManifest(PegboardError):
    """A plugin.yaml has errors; `diagnostics` says where, what was expected and what was found."""

    code = "manifest.invalid"

    def __init__(self, message: str, diagnostics: list[dict[str, Any]]) -> None:
        super().__init__(message)
        self.diagnostics = diagnostics


class NotInstalled(PegboardError):
    """A package was not installed: `code` says why, `differences` what it asks for that nobody accepted."""

    code = "install"

    def __init__(
        self, message: str, *, hint: str | None = None, code: str | None = None, differences: list[dict[str, Any]] | None = None
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.differences: list[dict[str, Any]] = differences or []


class UnsupportedError(PegboardError):
    """Not built yet, or not possible on this machine."""

    code = "unsupported"


class CallError(PegboardError):
    """A call that gave no result. `tool` is its name."""

    code = "internal"

    def __init__(self, message: str, *, tool: str = "", hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message, hint=hint, code=code)
        self.tool = tool


class UnknownTool(CallError):
    """No such tool is served; `nearest` names the nearest ones."""

    code = "unknown_tool"

    def __init__(self, message: str, *, tool: str = "", nearest: tuple[str, ...] = ()) -> None:
        hint = f"the nearest are {', '.join(nearest)}" if nearest else "search finds tools by what they do"
        super().__init__(message, tool=tool, hint=hint)
        self.nearest = nearest


class BadArguments(CallError):
    """The arguments do not fit the tool's schema; the message says where, what was expected, and what was found."""

    code = "bad_arguments"


class Denied(CallError):
    """A key is missing; only the operator can change that."""

    code = "denied"


class ToolFailed(CallError):
    """The tool ran and failed: it raised, or reported an error."""

    code = "raised"


class ToolCrashed(CallError):
    """The tool's process died, or the plugin cannot be loaded."""

    code = "crashed"
    retryable = True


class ToolTimedOut(CallError):
    """A time limit ended the call: the tool's own, or the caller's `timeout`."""

    code = "timed_out"
    retryable = True


class ToolOutOfMemory(CallError):
    """The memory limit ended the call."""

    code = "out_of_memory"


class BadOutput(CallError):
    """The result is too large, can't be encoded, or does not fit the tool's output schema."""

    code = "bad_output"


class NotReady(CallError):
    """The plugin is being prepared, is overloaded, or is tried again later."""

    code = "unavailable"
    retryable = True


class Unsupported(CallError, UnsupportedError):
    """The engine can't do that: not built yet, or not possible on this machine."""

    code = "unsupported"


_OWN = (BadArguments, Denied, ToolFailed, ToolCrashed, ToolTimedOut, ToolOutOfMemory, BadOutput, NotReady, Unsupported)
_BY_CODE: Mapping[str, type[CallError]] = {kind.code: kind for kind in _OWN} | {
    "load_failed": ToolCrashed,
    "output_too_large": BadOutput,
    "preparing": NotReady,
    "overloaded": NotReady,
    # Calls end with these two as well, and nobody needs a class for them.
    "bad_session": CallError,
    "cancelled": CallError,
}
_LONGEST = 16_000


def readable(text: object, longest: int = _LONGEST) -> str:
    """What another program said, so that it can be shown: of bounded length, and nothing in it that a terminal obeys.

    >>> readable("it" + chr(27) + "[2J broke")
    'it?[2J broke'
    """
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in str(text)[:longest])


def from_text(tool: str, text: str) -> CallError:
    """The exception of a result with `isError`: its first line begins with the code, a hint is the last line.

    >>> error = from_text("a__b", "denied: the power is not granted\\nhint: ask the operator")
    >>> type(error).__name__, error.code, error.hint
    ('Denied', 'denied', 'ask the operator')
    """
    body, _, hint = text.rpartition("\nhint: ") if "\nhint: " in text else (text, "", "")
    body, hint = readable(body), readable(hint, 2_000)
    word, colon, rest = body.partition(":")
    if not colon or word not in _BY_CODE:
        # A fault of the server itself, or a tool of a remote server that has no codes.
        code = "internal" if word.startswith("internal") else "raised"
        return (CallError if code == "internal" else ToolFailed)(body.strip(), tool=tool, hint=hint or None, code=code)
    return _BY_CODE[word](rest.strip(), tool=tool, hint=hint or None, code=word)


def from_protocol(tool: str, error: Any) -> PegboardError:
    """The exception of a JSON-RPC error."""
    fields: Mapping[str, Any] = error if isinstance(error, Mapping) else {}
    data: Mapping[str, Any] = fields["data"] if isinstance(fields.get("data"), Mapping) else {}
    message = readable(fields.get("message", "an error without a message"))
    code = readable(data["code"], 60) if "code" in data else None
    nearest = data.get("nearest")
    if code == "unknown_tool" or (fields.get("code") == -32602 and message.lower().startswith("unknown tool")):
        return UnknownTool(message, tool=tool, nearest=tuple(readable(name, 200) for name in nearest[:10]) if isinstance(nearest, list) else ())
    if fields.get("code") in (-32602, -32600):
        return CallError(message, tool=tool, code=code or "invalid_params")
    return ProtocolError(message, code=code)
