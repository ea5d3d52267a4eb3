"""A home of its own for the whole run, and a toolbox with a private engine over the plugins of these tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
os.environ.setdefault("PEGBOARD_LOG", "error")

from pegboard import Toolbox  # noqa: E402

# Only root can be somebody else. Left out by name, and said at the end: a skipped test would read as a pass.
collect_ignore = [] if os.geteuid() == 0 else ["test_users.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name in collect_ignore:
        terminalreporter.write_line(f"could-not-run: {name}: needs root, who alone can be another user")


# Who starts the tests in the background ignores Ctrl-C, and so would every process below; an ignored signal is inherited, a handler is not.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that the engines of this run write; their sockets, too."""
    home = tmp_path_factory.mktemp("home")
    runtime = tmp_path_factory.mktemp("run")
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    return home


@pytest.fixture(scope="session")
def plugins() -> Path:
    """The folder of plugins."""
    return HERE / "plugins"


@pytest.fixture
def make(home: Path, plugins: Path) -> Callable[..., Toolbox]:
    """Makes a toolbox."""
    return lambda **options: Toolbox(plugins=plugins, home=home, bundled=False, **options)


@pytest.fixture(scope="session")
def box(home: Path, plugins: Path) -> Iterator[Toolbox]:
    """One toolbox for all tests that do not end it."""
    with Toolbox(plugins=plugins, home=home, bundled=False) as box:
        yield box


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What could not run here is said, so that it is never counted as passed."""
    for report in terminalreporter.getreports("skipped"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.line(f"could-not-run: {report.nodeid}: {reason}")
