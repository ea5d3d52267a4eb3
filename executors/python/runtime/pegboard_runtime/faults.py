"""What went wrong, as data: the words of a failure, the plugin's own part of a traceback, and the masking of secrets.

It does not use `traceback`: exceptions come from untrusted code, their parts may raise, and the import would cost
every start three milliseconds. Nothing here raises on what a plugin does.
"""

KINDS = frozenset((
    "raised", "crashed", "timed_out", "out_of_memory", "cancelled", "output_too_large", "bad_output", "load_failed",
    "preparing", "unavailable", "overloaded", "unsupported", "internal",
))  # fmt: skip

MAX_MESSAGE = 2048
MAX_DETAIL = 8192
MASK = "***"
# Shorter values would mask ordinary words: a secret `on` must not make `configuration` unreadable.
MIN_SECRET = 6
MAX_FRAMES = 12
MAX_CHAIN = 4
MAX_SOURCE = 1 << 20

# Exceptions by which tool authors talk to the model: their text is the message, without a type or frames.
_SPOKEN = ("ToolException", "ToolError")


class ToolFault(Exception):
    """A failure of a tool. `kind` is one of the host's stable words, `message` and `hint` are safe to show a model."""

    def __init__(self, kind: str, message: str, hint: "str | None" = None, detail: "str | None" = None) -> None:
        super().__init__(message)
        self.kind = kind if kind in KINDS else "internal"
        self.message = message
        self.hint = hint
        self.detail = detail

    def wire(self, secrets: "dict | None" = None) -> dict:
        """The failure as a wire result, cut to size, secrets masked."""
        words = secret_words(secrets) if secrets else ()
        return {
            "ok": False,
            "kind": self.kind,
            "message": shorten(mask(self.message, words), MAX_MESSAGE),
            "hint": None if self.hint is None else shorten(mask(self.hint, words), MAX_MESSAGE),
            "detail": None if self.detail is None else shorten(mask(self.detail, words), MAX_DETAIL),
        }


def fault_of(error: BaseException, root: str, kind: str = "raised", during: "str | None" = None) -> ToolFault:
    """The fault behind any exception a plugin let out. `during` says what was being done."""
    if type(error) is ToolFault:
        return error
    try:
        return _fault_of(error, root, kind, during)
    except BaseException:  # noqa: BLE001 - a hostile exception must not become our crash
        return ToolFault(kind, prefixed(during, f"{type_name(error)}: <exception can't be shown>"))


def _fault_of(error: BaseException, root: str, kind: str, during: "str | None") -> ToolFault:
    if isinstance(error, MemoryError):
        return ToolFault(
            "out_of_memory", prefixed(during, "the tool ran out of memory"), detail=frames_of(error, root) or None
        )
    if spoken(error):
        return ToolFault(kind, text_of(error) or type_name(error))
    return ToolFault(kind, prefixed(during, headline(error)), detail=story_of(error, root) or None)


def spoken(error: BaseException) -> bool:
    """Whether the exception is one that authors raise to tell the model something (LangChain's `ToolException`)."""
    return is_a(type(error), *_SPOKEN)


def prefixed(during: "str | None", message: str) -> str:
    return f"{during}: {message}" if during else message


# Read from the slots of `type` itself: a metaclass may answer anything, or raise.
name_of = type.__dict__["__name__"].__get__
line_of = type.__dict__["__mro__"].__get__


def type_name(value: object) -> str:
    return name_of(type(value))


def is_a(kind: type, *names: str) -> bool:
    """Whether the type, or one it derives from, has one of these names. Foreign types are known by name, not by
    import.
    """
    return any(name_of(cls) in names for cls in line_of(kind))


def text_of(error: BaseException) -> str:
    """`str(error)`, also where that raises or is not a string."""
    try:
        return str.__str__(str(error))
    except BaseException as second:  # noqa: BLE001
        return f"<its message can't be shown: {type_name(second)}>"


def headline(error: BaseException, depth: int = 0) -> str:
    """`ValueError: text`; an exception group names its first members."""
    if isinstance(error, KeyError) and len(error.args) == 1 and type(error.args[0]) is str:
        line = f"{type_name(error)}: {error.args[0]!r}"
    else:
        text = shorten(text_of(error), MAX_MESSAGE)
        line = f"{type_name(error)}: {text}" if text else type_name(error)
    members = getattr(error, "exceptions", None)
    if depth < 2 and type(members) is tuple and all(isinstance(member, BaseException) for member in members):
        shown = "; ".join(headline(member, depth + 1) for member in members[:5])
        line = f"{line}: {shown}" if shown else line
    return line


def story_of(error: BaseException, root: str) -> str:
    """The plugin's own frames of the exception, of what caused it, and of a group's first members."""
    parts: "list[str]" = []
    seen: "set[int]" = set()
    current: "BaseException | None" = error
    while current is not None and id(current) not in seen and len(seen) < MAX_CHAIN:
        seen.add(id(current))
        frames = frames_of(current, root)
        if frames or current is not error:
            parts.append((f"caused by {headline(current)}\n" if current is not error else "") + frames)
        members = getattr(current, "exceptions", ())
        for member in members[:5] if type(members) is tuple else ():
            parts.append(f"{headline(member)}\n{frames_of(member, root)}")
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\n".join(part.rstrip() for part in parts if part.strip())


def frames_of(error: BaseException, root: str) -> str:
    """The frames whose files lie in the plugin's folder, oldest first, paths relative to it."""
    prefix = root.rstrip("/") + "/"
    places: "list[tuple[str, int, str]]" = []
    # The traceback of endless recursion has a thousand entries: only the ends are kept.
    trace = error.__traceback__
    dropped = 0
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename.startswith(prefix):
            if len(places) >= MAX_FRAMES:
                del places[MAX_FRAMES // 2]
                dropped += 1
            places.append((code.co_filename, trace.tb_lineno or 0, code.co_name))
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and type(error.filename) is str and error.filename.startswith(prefix):
        places.append((error.filename, error.lineno or 0, "<syntax>"))
    lines: "list[str]" = []
    for index, (file, line, name) in enumerate(places):
        if dropped and index == MAX_FRAMES // 2:
            lines.append(f"  … {dropped} more")
        lines.append(f'  File "{file[len(prefix) :]}", line {line}, in {name}')
        source = source_line(file, line)
        if source:
            lines.append(f"    {source}")
    return "\n".join(lines)


def source_line(file: str, number: int) -> str:
    """One line of the plugin's source, or nothing."""
    try:
        with open(file, "rb") as handle:
            rows = handle.read(MAX_SOURCE).split(b"\n")
        return shorten(rows[number - 1].decode("utf-8", "replace").strip(), 200) if 0 < number <= len(rows) else ""
    except BaseException:  # noqa: BLE001 - the plugin may have replaced `open`
        return ""


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters; the middle goes, since both ends say most."""
    if len(text) <= limit:
        return text
    half = (limit - 3) // 2
    return f"{text[:half]} … {text[-half:]}"


def secret_words(secrets: dict) -> "tuple[str, ...]":
    """What must not appear in a message: each value, as it is and as `repr`, JSON and URLs show it; longest first."""
    words: "set[str]" = set()
    for value in secrets.values():
        text = value if type(value) is str else str(value)
        forms = [text, text.strip(), repr(text)[1:-1], _percent(text), text.replace("\\", "\\\\").replace('"', '\\"')]
        if "\n" in text:
            # A key in lines is also a secret line by line; short lines are too ordinary.
            forms += [
                line.strip() for line in text.splitlines() if len(line.strip()) >= 16 and not line.startswith("-----")
            ]
        words.update(form for form in forms if len(form) >= MIN_SECRET)
    return tuple(sorted(words, key=len, reverse=True))


def mask(text: str, words: "tuple[str, ...]") -> str:
    """`text` with each secret replaced."""
    for word in words:
        if word in text:
            text = text.replace(word, MASK)
    return text


def _percent(text: str) -> str:
    kept = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    data = text.encode("utf-8", "replace")
    return "".join(chr(byte) if chr(byte) in kept else f"%{byte:02X}" for byte in data)
