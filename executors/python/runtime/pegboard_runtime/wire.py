"""Messages and frames between a confined process and the host: JSON in both, moved by the worker module or, where that cannot load,
by plain Python. What the messages mean is in `zygote` and `serve`.
"""

import json

loads = json.loads
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False).encode


def encode(value):
    """JSON bytes; lone surrogates become replacement characters rather than an error."""
    return _encode(value).encode("utf-8", "replace")


def encode_message(message, limit):
    """JSON bytes of a control message, or a short one that says that it was too large."""
    data = encode(message)
    if len(data) > limit:
        data = encode({"t": "too_large", "what": message["t"], "bytes": len(data)})
    return data


def receive(descriptor, limit):
    """The first message, before the worker module is there; `None` when the host is gone."""
    import _socket

    control = _socket.socket(fileno=descriptor)
    try:
        data = control.recv(limit)
    finally:
        control.detach()
    return loads(data) if data else None


def receive_from(channel, descriptor, limit):
    """One message; `None` when the host is gone."""
    try:
        data = channel.receive_message(descriptor, limit)
    except ConnectionError:
        # The host closed its end with a message of ours unread.
        return None
    return None if data is None else loads(data)


def load_channel(path):
    """The worker module from its file, or the plain-Python stand-in where this interpreter can't load it."""
    if path is not None:
        from importlib.machinery import ExtensionFileLoader
        from importlib.util import module_from_spec, spec_from_file_location

        loader = ExtensionFileLoader("pegboard_worker", path)
        spec = spec_from_file_location("pegboard_worker", path, loader=loader)
        try:
            module = module_from_spec(spec)
            loader.exec_module(module)
        except ImportError:
            pass
        else:
            return Confining(module)
    from pegboard_runtime.plain_channel import PlainChannel

    return PlainChannel()


class Confining:
    """The worker module, and the fact that it can close walls."""

    confines = True

    def __init__(self, module):
        self.forbid_exec = module.forbid_exec
        self.enter_call = module.enter_call
        self.serve_orders = module.serve_orders
        self.usage = module.usage
        self.open_pair = module.open_pair
        self.send_message = module.send_message
        self.receive_message = module.receive_message
        self.read_frame = module.read_frame
        self.write_frame = module.write_frame
