"""Runs a plugin's own tests with pytest, in the plugin's sandbox, and tells the host how each one ended.

Started like `zygote`, behind the same walls: exec is forbidden before the virtualenv is entered. What is said here is the author's word on
the author's code; the host bounds it and believes no more of it.
"""

import sys

CONTROL = 3
MESSAGE_LIMIT = 192 * 1024
DETAIL = 12_000


def main():
    from pegboard_runtime import wire

    order = wire.receive(CONTROL, MESSAGE_LIMIT)
    if order is None:
        return
    channel = wire.load_channel(order["worker"])
    if channel.confines and not order["may_spawn"]:
        channel.forbid_exec()

    def send(message):
        channel.send_message(CONTROL, wire.encode_message(message, MESSAGE_LIMIT), [])

    send({"t": "done", "code": run(order, send)})


def run(order, send):
    """pytest's own exit code; -1 where it could not be imported."""
    import os

    os.environ.pop("LD_BIND_NOW", None)
    os.environ.update(order["environment"])
    if order["site"]:
        import site

        site.main()
    sys.path.remove(sys.argv[1])
    sys.path.insert(0, order["root"])
    sys.argv[:] = ["pytest"]
    os.chdir(order["root"])
    try:
        import pytest
    except ImportError as error:
        send({"t": "broken", "message": f"pytest can't be imported: {error}"})
        return -1
    # The folder is read-only, and a cache in it would make another plugin of it.
    args = ["--rootdir", order["root"], "-p", "no:cacheprovider", "--color=no", "--tb=short", "-q", *order["args"]]
    return int(pytest.main(args, plugins=[Reporter(send)]))


class Reporter:
    """A pytest plugin: one message a test."""

    def __init__(self, send):
        self.send = send

    def pytest_collectreport(self, report):
        if report.failed:
            self.tell(report, "error", 0.0)

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            outcome = "skipped" if report.skipped else report.outcome
            self.tell(report, outcome, report.duration)
        elif report.skipped:
            self.tell(report, "skipped", report.duration)
        elif report.failed:
            self.tell(report, "error", report.duration)

    def tell(self, report, outcome, seconds):
        message = detail = None
        if outcome == "skipped":
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            message = str(getattr(report, "wasxfail", None) or reason)
        elif outcome != "passed":
            detail = report.longreprtext[-DETAIL:]
            crash = getattr(report.longrepr, "reprcrash", None)
            lines = (crash.message if crash else detail).strip().splitlines()
            message = lines[0] if lines else outcome
            if report.capstdout:
                detail += "\n--- printed ---\n" + report.capstdout[-DETAIL:]
        name = report.nodeid or "(collection)"
        self.send({"t": "test", "name": name, "outcome": outcome, "seconds": seconds, "message": message, "detail": detail})


main()
