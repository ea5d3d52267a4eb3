"""The confined interpreter of one plugin: loads it once, then forks a child for each call.

Started by the launcher as `python -I -S -c "import pegboard_runtime.zygote"` with the control socket on descriptor 3, already inside
every wall. Order matters and is the point of this file: the walls that only the interpreter can close go up before `site`, `.pth`
files, `sitecustomize` and the plugin get to run. What a call means is in `contracts`; the call loop is in `serve`.
"""

import sys

CONTROL = 3
MESSAGE_LIMIT = 192 * 1024


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
        self.children = {}
        self.scratch_count = 0
        self.plugin = None

    def run(self):
        # All that is needed later is imported before the plugin's folder comes first on the path: it may hold a `select.py`.
        import gc
        import os
        import select
        import shutil
        import signal

        from pegboard_runtime import contracts, serve, wire

        self.gc, self.os, self.select, self.shutil, self.signal = gc, os, select, shutil, signal
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
        """Waits for orders and for children that end. Ends when the host closes the control socket."""
        select, signal = self.select, self.signal
        wake, woken = self.os.pipe()
        self.os.set_blocking(wake, False)
        self.os.set_blocking(woken, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.wake_fds = (wake, woken)
        poll = select.poll()
        poll.register(CONTROL, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == wake:
                    self.os.read(wake, 4096)
                    self.reap()
                elif not self.obey():
                    return

    def obey(self):
        message = self.wire.receive_from(self.channel, CONTROL, MESSAGE_LIMIT)
        if message is None:
            return False
        if message["t"] == "fork":
            for identity in message["ids"]:
                self.fork(identity, message["limits"])
        elif message["t"] == "become":
            self.become(message["id"], message["limits"])
        return True

    def reap(self):
        while True:
            try:
                pid, status, usage = self.os.wait4(-1, self.os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            identity, scratch = self.children.pop(pid, (None, None))
            if identity is None:
                # Not one of ours: a process that plugin code left behind and that came to us as the init of its namespace.
                continue
            self.send({
                "t": "exited",
                "id": identity,
                "status": status,
                "cpu_us": int((usage.ru_utime + usage.ru_stime) * 1e6),
                "rss_kib": usage.ru_maxrss,
            })
            self.remove_scratch(scratch)

    def make_scratch(self):
        self.scratch_count += 1
        path = f"{self.order['scratch']}/{self.os.getpid()}-{self.scratch_count}"
        self.os.mkdir(path, 0o700)
        return path

    def remove_scratch(self, path):
        self.shutil.rmtree(path, ignore_errors=True)

    def fork(self, identity, limits):
        """One child: its end of a socket pair, its own log pipe, its own scratch folder."""
        ours, theirs = self.channel.open_pair()
        log, log_in = self.os.pipe()
        scratch = self.make_scratch()
        self.send({"t": "child", "id": identity}, (theirs, log))
        self.os.close(theirs)
        self.os.close(log)
        zygote = self.os.getpid()
        try:
            pid = self.os.fork()
        except OSError as fault:
            self.os.close(ours)
            self.os.close(log_in)
            self.remove_scratch(scratch)
            self.send({"t": "not_forked", "id": identity, "errno": fault.errno})
            return
        if pid == 0:
            try:
                self.leave_zygote()
                self.serve.run_child(self, ours, log_in, scratch, zygote, limits)
            finally:
                self.os._exit(70)
        self.os.close(ours)
        self.os.close(log_in)
        self.children[pid] = (identity, scratch)

    def leave_zygote(self):
        signal = self.signal
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for descriptor in (CONTROL, *self.wake_fds):
            self.os.close(descriptor)

    def become(self, identity, limits):
        """Serves one call in this very process: the road for interpreters and plugins that can't be forked."""
        ours, theirs = self.channel.open_pair()
        log, log_in = self.os.pipe()
        scratch = self.make_scratch()
        self.send({"t": "child", "id": identity}, (theirs, log))
        self.os.close(theirs)
        self.os.close(log)
        self.serve.run_child(self, ours, log_in, scratch, 0, limits)
        self.os._exit(0)


main()
