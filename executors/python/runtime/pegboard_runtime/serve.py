"""The call loop of one child: last walls, one request frame in, frames and a result out.

Runs after the fork (or, on the spawn road, in the zygote itself). How a tool is invoked is in `contracts`.
"""

import gc
import os
import sys

from pegboard_runtime import contracts, wire

FRAME_LIMIT = 16 * 1024 * 1024


class Call:
    """What a running call can say to the host."""

    __slots__ = ("channel", "socket")

    def __init__(self, channel, socket):
        self.channel = channel
        self.socket = socket

    def progress(self, progress, total=None, message=None):
        self.frame({"t": "progress", "progress": progress, "total": total, "message": message})

    def log(self, level, message):
        self.frame({"t": "log", "level": level, "message": str(message)[:8192]})

    def frame(self, value):
        self.channel.write_frame(self.socket, wire.encode(value))


REHEARSAL = "rehearsal "
SAMPLE = b'{"trace":"0","tool":"rehearsal ","args":{"text":"x","number":[1,2.5,null]},"config":{},"secrets":{},"data":[]}'


class Rehearsal:
    """A tool of ours that each child calls once before it says hello.

    A fork shares the zygote's pages until they are written, and the first call writes hundreds of them: reference counts alone
    do it. The rehearsal takes those faults off the path of the real call. Its name is none that a manifest can hold.
    """

    def _run(self, text, number):
        return {"text": text, "number": number}


def rehearse(channel, order, plugin, scratch):
    call = Call(channel, -1)
    request = wire.loads(SAMPLE)
    result = plugin.call(request["tool"], request["args"], context_of(order, request, scratch, call))
    flush()
    cpu, rss = channel.usage()
    finish(result, cpu, rss, order["max_result"])


def add_rehearsal(plugin, root):
    holder = contracts.Holder(Rehearsal, root)
    spec = {"name": REHEARSAL, "args_schema": None, "output_schema": None}
    tool = contracts.RunTool(spec, root, plugin.limit, holder)
    tool.bind({})
    plugin.tools[REHEARSAL] = tool


def open_folders(order):
    """`O_PATH` descriptors of what a call may see beside its scratch folder."""
    readable = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in order["readable"] if os.path.exists(path)]
    writable = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in order["writable"] if os.path.exists(path)]
    return readable, writable


def enter_here(zygote, log, scratch, limits):
    """The spawn road: closes the walls of the call around the zygote itself. A forked child meets them before its first line of Python."""
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    own = os.open(scratch, os.O_PATH | os.O_CLOEXEC)
    limits = [tuple(pair) for pair in limits]
    zygote.channel.enter_call(limits, zygote.readable, [own, *zygote.writable], 0, zygote.may_spawn)
    os.environ["TMPDIR"] = scratch
    os.chdir(scratch)


def serve_child(zygote, socket, scratch):
    """Serves calls, one or many, and ends the process. Never returns to the zygote with plugin state."""
    channel, order = zygote.channel, zygote.order
    try:
        get_ready(zygote, scratch)
        channel.write_frame(socket, b'{"t":"hello"}')
        serve(channel, order, zygote.plugin, socket, scratch)
    finally:
        flush()
        os._exit(0)


def get_ready(zygote, scratch):
    """All that a child does before it says hello. The zygote does it, too, to warm up."""
    # The C library has it already; `os.environ` is a copy of its own.
    zygote.environ[b"TMPDIR"] = scratch.encode()
    gc.enable()
    reseed()
    rehearse(zygote.channel, zygote.order, zygote.plugin, scratch)


def reseed():
    """Children must not share random numbers. Python reseeds `random` after a fork by itself; numpy does not."""
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile.tempdir = None
    numpy = sys.modules.get("numpy")
    if numpy is not None and "numpy.random" in sys.modules:
        numpy.random.seed()


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # a plugin may have closed or replaced it
            pass


def serve(channel, order, plugin, socket, scratch):
    while True:
        data = channel.read_frame(socket, FRAME_LIMIT)
        if data is None:
            plugin.cleanup()
            return
        request = wire.loads(data)
        call = Call(channel, socket)
        context = context_of(order, request, scratch, call)
        result = plugin.call(request["tool"], request["args"], context)
        flush()
        cpu, rss = channel.usage()
        channel.write_frame(socket, finish(result, cpu, rss, order["max_result"]))
        if order["single"]:
            return


def context_of(order, request, scratch, call):
    return contracts.CallContext(
        trace_id=request["trace"],
        plugin_id=order["context"]["plugin_id"],
        version=order["context"]["version"],
        config=request["config"],
        secrets=request["secrets"],
        data=request["data"],
        scratch=scratch,
        progress=call.progress,
        log=call.log,
    )


def finish(result, cpu, rss, limit):
    """The result frame; never larger than the host will read."""
    try:
        data = wire.encode({"t": "result", "cpu_us": cpu, "rss_kib": rss, "result": result})
    except (ValueError, TypeError, RecursionError) as fault:
        result = {"ok": False, "kind": "bad_output", "message": f"the result can't be encoded: {fault}", "hint": None, "detail": None}
        return wire.encode({"t": "result", "cpu_us": cpu, "rss_kib": rss, "result": result})
    if len(data) > limit:
        message = f"the result has {len(data)} bytes, at most {limit} are allowed"
        result = {"ok": False, "kind": "output_too_large", "message": message, "hint": "return less, or page through it", "detail": None}
        data = wire.encode({"t": "result", "cpu_us": cpu, "rss_kib": rss, "result": result})
    return data
