"""What a returned value is for a model: text, images, sound, documents, or structured data.

Recognises content by shape (MCP, LangChain and Anthropic blocks, Pillow images, matplotlib figures, objects with
bytes and a media type). Plain data goes through `encode.plain`; envelopes like `{"success": …}` are the contracts'.
"""

import sys
from binascii import Error as BadBase64
from binascii import a2b_base64, b2a_base64

from .encode import MAX_BYTES, plain, show_path
from .faults import ToolFault, is_a, text_of, type_name

_MIME_NAMES = ("mime", "mimeType", "mime_type", "media_type")
_BYTES = (bytes, bytearray, memoryview)
_NOTHING = object()


class Shaped:
    """A result on its way to the wire: content blocks and, where there is data, the structured value."""

    __slots__ = ("content", "structured", "limit", "size")

    def __init__(self, limit: int = MAX_BYTES) -> None:
        self.content: "list[dict]" = []
        self.structured: object = _NOTHING
        self.limit = limit
        self.size = 0

    def wire(self) -> dict:
        if self.structured is _NOTHING:
            return {"ok": True, "content": self.content}
        return {"ok": True, "content": self.content, "structured": self.structured}

    def add(self, block: dict) -> None:
        """Appends a block of exact types; the sum of their sizes is checked before anything is encoded."""
        self.size += sum(len(value) for value in block.values() if type(value) is str)
        if self.size > self.limit:
            place = show_path("result", ["content", len(self.content)])
            raise ToolFault(
                "output_too_large",
                f"`{place}`: the result takes more than {self.limit} bytes",
                "return less, a page at a time, or write a file",
            )
        self.content.append(block)


def shape(value: object, limit: int = MAX_BYTES, pair: bool = False) -> dict:
    """The wire result of a returned value. `pair`: the tool returns `(content, artifact)`. Raises `ToolFault`."""
    kind = type(value)
    if kind is str and not pair:
        if len(value) > limit:
            raise ToolFault(
                "output_too_large", f"`result`: the text is longer than {limit} bytes", "return less, a page at a time"
            )
        return {"ok": True, "content": [{"type": "text", "text": value}]}
    shaped = Shaped(limit)
    if pair:
        _pair(shaped, value)
    elif _is_message(kind):
        _message(shaped, value)
    else:
        _one(shaped, value)
    return shaped.wire()


def shape_outputs(outputs: dict, limit: int = MAX_BYTES) -> dict:
    """The wire result of named outputs: those that are content become blocks, the others one structured object."""
    shaped = Shaped(limit)
    data = {}
    for name, value in outputs.items():
        blocks = None if type(value) is str else blocks_of(value)
        if blocks is None:
            data[name] = value
            continue
        for block in blocks:
            shaped.add(block)
    if data or not shaped.content:
        shaped.structured = plain(data, limit)
    return shaped.wire()


def _one(shaped: Shaped, value: object) -> None:
    blocks = blocks_of(value)
    if blocks is None:
        data = plain(value, shaped.limit)
        # A class of text (`StrEnum`, `str` subclass, `Path`, `UUID`) is text like any other.
        if type(data) is str:
            shaped.add({"type": "text", "text": data})
        else:
            # What a model dumps to may be a block: `mcp.types.ImageContent`.
            dumped = None if type(value) in (dict, list) else blocks_of(data)
            if dumped is None:
                shaped.structured = data
            for block in dumped or ():
                shaped.add(block)
        return
    for block in blocks:
        shaped.add(block)


def _pair(shaped: Shaped, value: object) -> None:
    if type(value) is not tuple or len(value) != 2:
        raise ToolFault(
            "bad_output",
            f"`result`: expected a pair (content, artifact), found `{type_name(value)}`",
            "the class says response_format = 'content_and_artifact'",
        )
    content, artifact = value
    _content(shaped, content)
    _artifact(shaped, artifact)


def _content(shaped: Shaped, content: object) -> None:
    """The content half of a pair or message: text, blocks, or data that becomes text."""
    if content is None or content == "":
        return
    blocks = [{"type": "text", "text": content}] if type(content) is str else blocks_of(content)
    if blocks is None:
        data = plain(content, shaped.limit, "result.content")
        if type(data) is not str:
            from .encode import dumps

            data = dumps(data).decode("utf-8")
        blocks = [{"type": "text", "text": data}]
    for block in blocks:
        shaped.add(block)


def _artifact(shaped: Shaped, artifact: object) -> None:
    """The artifact is for programs: structured data, or content. One without either form stays behind, as in
    LangChain.
    """
    if artifact is None:
        return
    blocks = None if type(artifact) is str else blocks_of(artifact)
    if blocks is not None:
        for block in blocks:
            shaped.add(block)
        return
    try:
        shaped.structured = plain(artifact, shaped.limit, "result.artifact")
    except ToolFault as fault:
        if fault.kind != "bad_output":
            raise
        print(f"the artifact is left out: {fault.message}", file=sys.stderr)


def _is_message(kind: type) -> bool:
    return is_a(kind, "BaseMessage")


def _message(shaped: Shaped, value: object) -> None:
    """A LangChain message: its content, a tool message's artifact, and its status."""
    _content(shaped, value.content)
    if getattr(value, "status", "success") == "error":
        text = "\n".join(block["text"] for block in shaped.content if block["type"] == "text")
        raise ToolFault("raised", text or "the tool reported an error")
    _artifact(shaped, getattr(value, "artifact", None))


def blocks_of(value: object) -> "list[dict] | None":
    """The content blocks that a value stands for; `None` when it is data."""
    kind = type(value)
    if kind is dict:
        block = _from_dict(value)
        return None if block is None else [block]
    if kind is list:
        return _from_list(value)
    if kind is tuple:
        if len(value) == 2 and isinstance(value[0], _BYTES) and _is_mime(value[1]):
            return [_from_bytes(value[0], value[1])]
        return None
    if value is None or kind in (str, int, float, bool, bytes):
        return None
    block = _from_object(value, kind)
    return None if block is None else [block]


def _from_list(value: list) -> "list[dict] | None":
    """A list is content when all its members are text or content and at least one is content."""
    blocks: "list[dict]" = []
    found = False
    for item in value:
        if type(item) is str:
            blocks.append({"type": "text", "text": item})
            continue
        inner = None if type(item) is list else blocks_of(item)
        if inner is None:
            return None
        found = True
        blocks += inner
    return blocks if found else None


def _from_dict(value: dict) -> "dict | None":
    kind = value.get("type")
    if type(kind) is not str:
        data = value.get("data")
        mime = _mime(value)
        return _from_bytes(data, mime, value) if isinstance(data, _BYTES) and mime else None
    reader = _READERS.get(kind)
    return None if reader is None else reader(value)


def _text_block(value: dict) -> "dict | None":
    # More keys than a text block has mean data that happens to have a `type`.
    if type(value.get("text")) is str and value.keys() <= {
        "type",
        "text",
        "annotations",
        "id",
        "index",
        "cache_control",
        "_meta",
        "meta",
    }:
        return {"type": "text", "text": value["text"]}
    return None


def _media_block(value: dict) -> "dict | None":
    """Image and audio blocks of MCP (`data`, `mimeType`), LangChain (`base64`, `mime_type`) and Anthropic
    (`source`).
    """
    kind = value["type"]
    source = value.get("source")
    if type(source) is dict:
        value = {**source, "type": kind}
    data = value.get("data", value.get("base64"))
    if isinstance(data, _BYTES):
        mime = _mime(value) or sniff(data)
        if mime is None:
            raise ToolFault("bad_output", f"`result`: {kind} without a media type", 'add "mime": "image/png"')
        return {"type": kind, "data": b64(data), "mime": mime}
    mime = _mime(value)
    if type(data) is not str or mime is None:
        return None
    return {"type": kind, "data": checked_base64(data), "mime": mime}


def _image_url(value: dict) -> "dict | None":
    url = value.get("image_url")
    if type(url) is dict:
        url = url.get("url")
    if type(url) is not str:
        return None
    if not url.startswith("data:"):
        return {
            "type": "resource_link",
            "uri": url,
            "name": url.rsplit("/", 1)[-1] or url,
            "mime": None,
            "description": None,
        }
    head, _, data = url[5:].partition(",")
    mime, _, coding = head.partition(";")
    if coding != "base64" or not _is_mime(mime):
        return None
    return {"type": "image", "data": checked_base64(data), "mime": mime}


def _resource(value: dict) -> "dict | None":
    inner = value.get("resource", value)
    if type(inner) is not dict or type(inner.get("uri")) is not str:
        return None
    text, blob = inner.get("text"), inner.get("blob")
    if (text is None) == (blob is None):
        return None
    block = {"type": "resource", "uri": inner["uri"], "mime": _mime(inner)}
    if text is not None:
        return {**block, "text": text} if type(text) is str else None
    if isinstance(blob, _BYTES):
        return {**block, "blob": b64(blob)}
    return {**block, "blob": checked_base64(blob)} if type(blob) is str else None


def _resource_link(value: dict) -> "dict | None":
    uri, name, description = value.get("uri"), value.get("name"), value.get("description")
    if type(uri) is not str:
        return None
    return {
        "type": "resource_link",
        "uri": uri,
        "name": name if type(name) is str else uri,
        "mime": _mime(value),
        "description": description if type(description) is str else None,
    }


_READERS = {
    "text": _text_block,
    "image": _media_block,
    "audio": _media_block,
    "image_url": _image_url,
    "resource": _resource,
    "resource_link": _resource_link,
}


def _from_object(value: object, kind: type) -> "dict | None":
    if callable(getattr(kind, "savefig", None)):
        return _figure(value)
    if (
        callable(getattr(kind, "save", None))
        and hasattr(kind, "convert")
        and isinstance(getattr(value, "mode", None), str)
    ):
        return _picture(value)
    # Types of data have rules of their own: only objects that say what their bytes are count as media.
    own = getattr(value, "__dict__", {})
    mime = _attribute(value, kind, own, ("media_type", "mime_type", "mimetype", "mimeType"))
    data = _attribute(value, kind, own, ("data",))
    if not _is_mime(mime):
        return None
    if isinstance(data, _BYTES):
        return _from_bytes(data, mime, value)
    if type(data) is str:
        if mime.startswith(("image/", "audio/")):
            return {"type": mime[:5], "data": checked_base64(data), "mime": mime}
        return {"type": "resource", "uri": _name(value), "mime": mime, "text": data}
    return None


def _attribute(value: object, kind: type, own: object, names: "tuple[str, ...]") -> object:
    """An attribute that the object or its class really has; `__getattr__` is not asked."""
    for name in names:
        if (type(own) is dict and name in own) or hasattr(kind, name):
            return getattr(value, name, None)
    return None


def _picture(value: object) -> dict:
    """A Pillow image, as PNG."""
    from io import BytesIO

    out = BytesIO()
    if value.mode not in ("1", "L", "LA", "I", "P", "RGB", "RGBA", "I;16"):
        value = value.convert("RGB")
    value.save(out, format="PNG")
    return {"type": "image", "data": b64(out.getvalue()), "mime": "image/png"}


def _figure(value: object) -> dict:
    """A matplotlib figure, as PNG. It is closed: pyplot keeps figures alive, and a worker would fill up."""
    from io import BytesIO

    out = BytesIO()
    value.savefig(out, format="png", bbox_inches="tight")
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(value)
    return {"type": "image", "data": b64(out.getvalue()), "mime": "image/png"}


def _from_bytes(data: object, mime: str, holder: object = None) -> dict:
    """Bytes with a media type: image, sound, text document or other document."""
    family = mime.partition("/")[0]
    if family in ("image", "audio"):
        return {"type": family, "data": b64(data), "mime": mime}
    block = {"type": "resource", "uri": _name(holder), "mime": mime}
    if family == "text" or mime.partition(";")[0] in ("application/json", "application/xml"):
        try:
            return {**block, "text": bytes(data).decode("utf-8")}
        except UnicodeDecodeError:
            pass
    return {**block, "blob": b64(data)}


def _name(holder: object) -> str:
    """Where a document is said to be: its own URI, or one made of its name."""
    for key in ("uri", "name", "filename"):
        found = holder.get(key) if type(holder) is dict else getattr(holder, "__dict__", {}).get(key)
        if type(found) is str and found:
            return found if "://" in found else f"result:///{found.lstrip('/')}"
    return "result:///data"


def _mime(value: dict) -> "str | None":
    for name in _MIME_NAMES:
        if _is_mime(value.get(name)):
            return value[name]
    return None


def _is_mime(value: object) -> bool:
    if type(value) is not str or not 3 <= len(value) <= 200 or value.count("/") < 1:
        return False
    family, _, rest = value.partition("/")
    return (
        family.isascii()
        and family.replace("-", "").isalnum()
        and rest.partition(";")[0].isascii()
        and " " not in rest.partition(";")[0]
    )


def b64(data: object) -> str:
    return b2a_base64(data, newline=False).decode("ascii")


def checked_base64(data: str) -> str:
    """Base64 that the host will be able to read; line breaks are removed."""
    text = "".join(data.split())
    try:
        a2b_base64(text.encode("ascii"))
        if len(text) % 4 == 0 and not text.strip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="):
            return text
        reason = "wrong length or characters"
    except (BadBase64, UnicodeEncodeError) as error:
        reason = text_of(error)
    raise ToolFault("bad_output", f"`result.data`: not base64: {reason}", "return bytes, or their base64 form")


_MAGIC = ((b"\x89PNG\r\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


def sniff(data: object) -> "str | None":
    """The media type of an image by its first bytes."""
    head = bytes(data[:16])
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((mime for magic, mime in _MAGIC if head.startswith(magic)), None)
