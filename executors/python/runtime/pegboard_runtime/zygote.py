"""The confined interpreter of one plugin: loads it once, then forks a child for each call.

Started by the launcher as `python -I -S -c "import pegboard_runtime.zygote"` with the control socket on descriptor 3, already inside
every wall. Order matters and is the point of this file: the walls that only the interpreter can close go up before `site`, `.pth`
files, `sitecustomize` and the plugin get to run. What a call means is in `contracts`; the call loop is in `serve`.
"""

import sys

CONTROL = 3
MESSAGE_LIMIT = 192 * 1024
# An interpreter rewrites its bytecode and its caches as it warms up; what is warm before the fork stays shared after it.
WARM_UP = 40


def main():
    from pegboard_runtime import wire

    order = wire.receive(CONTROL, MESSAGE_LIMIT)
    if order is None:
        return
    channel = wire.load_channel(order["worker"])
    if channel.confines and not order["may_spawn"]:
        channel.forbid_exec()
    Zygote(channel, order).run()


class Zygote:
    """Holds the loaded plugin and its waiting children."""

    def __init__(self, channel, order):
        self.channel = channel
        self.order = order
        self.plugin = None
        # Read by the worker module, which forks the children.
        self.control = CONTROL
        self.message_limit = MESSAGE_LIMIT
        self.scratch = order["scratch"]
        self.may_spawn = order["may_spawn"]

    def run(self):
        # All that is needed later is imported before the plugin's folder comes first on the path: it may hold a `signal.py`.
        import gc
        import os
        import signal

        from pegboard_runtime import contracts, serve, wire

        self.gc, self.os, self.signal = gc, os, signal
        # Behind `os.environ`, whose own way to set a variable writes dozens of pages in every child.
        self.environ = os.environ._data
        self.wire = wire
        self.serve = serve
        self.enter_environment()
        try:
            self.plugin = contracts.load_plugin(self.order["tools"], self.order["root"], self.order["max_result"])
            self.plugin.initialize(self.order["config"], self.order["context"])
        except BaseException as fault:
            self.report_failure(contracts, fault)
            return
        self.report_schemas()
        self.settle()
        self.report_ready()
        self.loop()

    def enter_environment(self):
        """Walks into the virtualenv. Here the first foreign code runs: `.pth` files and `sitecustomize`."""
        # For the dynamic loader of this process alone.
        self.os.environ.pop("LD_BIND_NOW", None)
        for name, value in self.order["environment"].items():
            self.os.environ[name] = value
        if self.order["site"]:
            import site

            site.main()
        # The runtime has what it needs; a plugin must not find it by name, nor shadow the standard library from it.
        sys.path.remove(sys.argv[1])
        sys.argv[:] = [""]

    def settle(self):
        """Moves what is loaded out of the collector's sight, so that a fork shares its pages."""
        gc = self.gc
        self.readable, self.writable = self.serve.open_folders(self.order)
        self.serve.add_rehearsal(self.plugin, self.order["root"])
        for _ in range(WARM_UP):
            self.serve.get_ready(self, self.scratch)
        gc.collect()
        gc.disable()
        gc.freeze()

    def report_failure(self, contracts, fault):
        failure = contracts.failure(fault, self.order["root"])
        self.send({"t": "failed", "failure": failure})

    def report_schemas(self):
        schemas = self.plugin.describe() if self.order["describe"] else {}
        for name, schema in schemas.items():
            self.send({"t": "described", "tool": name, "schema": schema})

    def report_ready(self):
        faults = {name: fault.wire() for name, fault in self.plugin.faults.items()}
        self.send({"t": "ready", "faults": faults, "python": sys.version.split()[0], "confines": self.channel.confines})

    def send(self, message, fds=()):
        self.channel.send_message(CONTROL, self.wire.encode_message(message, MESSAGE_LIMIT), list(fds))

    def loop(self):
        """Serves the host's orders until it closes the control socket."""
        self.signal.signal(self.signal.SIGINT, self.signal.SIG_IGN)
        if self.channel.confines:
            message = self.channel.serve_orders(self)
            order = None if message is None else self.wire.loads(message)
        else:
            order = self.wire.receive_from(self.channel, CONTROL, MESSAGE_LIMIT)
        if order is not None and order["t"] == "become":
            self.become(order["id"], order["limits"])

    def serve_child(self, socket, scratch):
        """From the fork on, inside every wall of the call."""
        self.serve.serve_child(self, socket, scratch)

    def empty_scratch(self, path):
        """Empties a scratch folder, however deep a plugin made it: each folder in it is moved to the top before it is emptied."""
        os, found, moved = self.os, [path], 0
        try:
            while found:
                folder = found.pop()
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            moved += 1
                            found.append(f"{path}.{moved}")
                            os.chmod(entry.path, 0o700)
                            os.rename(entry.path, found[-1])
                        else:
                            os.unlink(entry.path)
                if folder != path:
                    os.rmdir(folder)
        except OSError:
            return False
        return True

    def become(self, identity, limits):
        """Serves one call in this very process: the road for interpreters and plugins that can't be forked."""
        ours, theirs = self.channel.open_pair()
        log, log_in = self.os.pipe()
        scratch = f"{self.scratch}/{self.os.getpid()}"
        self.os.mkdir(scratch, 0o700)
        self.send({"t": "child", "id": identity}, (theirs, log))
        self.os.close(theirs)
        self.os.close(log)
        self.serve.enter_here(self, log_in, scratch, limits)
        self.serve.serve_child(self, ours, scratch)


main()
