"""How requests reach an engine of this machine: over its unix socket. A remote one is `_http`; both answer with what `_core.Outcome` is.

Knows nothing of tools. asyncio is imported when somebody uses it: importing it takes longer than all the rest.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from . import _core
from ._errors import EngineError, EngineGone, ToolboxClosed, ToolTimedOut

if TYPE_CHECKING:
    import asyncio

_IN_FLIGHT = 512


class Link(Protocol):
    """A way to an engine."""

    def request(self, method: str, params: dict[str, Any], timeout: float | None) -> _core.Outcome:
        """Asks and waits, without the interpreter's lock."""
        ...

    async def arequest(self, method: str, params: dict[str, Any], timeout: float | None) -> _core.Outcome:
        """Asks; cancelling the task cancels the request."""
        ...

    @property
    def changes(self) -> int:
        """A number that is another one when the list of tools may have changed."""
        ...

    def after_fork(self) -> None:
        """In the child of a fork: what the parent uses is let go of, untouched."""
        ...

    def close(self) -> None:
        """Ends it; who waits gets `ToolboxClosed`."""
        ...


class _LoopSide:
    """The answers that one event loop waits for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        import asyncio

        self.mailbox = _core.Mailbox()
        self.waiting: dict[int, asyncio.Future[_core.Outcome]] = {}
        self.places = asyncio.Semaphore(_IN_FLIGHT)
        self._loop = weakref.ref(loop)

    def expect(self, loop: asyncio.AbstractEventLoop, number: int) -> asyncio.Future[_core.Outcome]:
        future: asyncio.Future[_core.Outcome] = loop.create_future()
        if not self.waiting:
            # Only while somebody waits: a loop that ends has nothing of ours in it.
            loop.add_reader(self.mailbox.fileno(), self._take)
        self.waiting[number] = future
        return future

    def forget(self, number: int) -> None:
        self.waiting.pop(number, None)
        loop = self._loop()
        if not self.waiting and loop is not None and not loop.is_closed():
            loop.remove_reader(self.mailbox.fileno())

    def _take(self) -> None:
        for number, outcome in self.mailbox.take():
            future = self.waiting.get(number)
            if future is not None and not future.done():
                future.set_result(outcome)


class SocketLink:
    """A connection to an engine of this machine, made anew in a forked process."""

    def __init__(self, socket: str, opening: str) -> None:
        self._opening = opening
        self._socket = socket
        self._lock = threading.Lock()
        self._closed = False
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopSide] = weakref.WeakKeyDictionary()
        self._pid = os.getpid()
        self._connection = self._open()

    def _open(self) -> _core.Connection:
        try:
            return _core.Connection.open(self._socket, self._opening)
        except _core.Gone as error:
            raise EngineGone(str(error)) from None
        except _core.Stranger as error:
            raise EngineError(str(error), hint="an engine serves its own user only", code="engine.peer") from None

    def after_fork(self) -> None:
        """In the child of a fork: nothing of the parent's is touched, not even to free it."""
        _kept.append(self._connection)
        self._lock = threading.Lock()
        self._loops = weakref.WeakKeyDictionary()

    @property
    def connection(self) -> _core.Connection:
        """The connection of this process."""
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._connection = self._open()
                    self._pid = os.getpid()
        return self._connection

    @property
    def changes(self) -> int:
        return self.connection.changes

    def _ended(self, reason: object) -> EngineError:
        return ToolboxClosed("the toolbox is closed") if self._closed else EngineGone(str(reason))

    def request(self, method: str, params: dict[str, Any], timeout: float | None) -> _core.Outcome:
        if self._closed:
            raise ToolboxClosed("the toolbox is closed")
        try:
            return self.connection.request(method, params, timeout)
        except _core.Gone as error:
            raise self._ended(error) from None
        except _core.TimedOut:
            raise ToolTimedOut(f"no answer within {timeout} s") from None

    async def arequest(self, method: str, params: dict[str, Any], timeout: float | None) -> _core.Outcome:
        import asyncio

        if self._closed:
            raise ToolboxClosed("the toolbox is closed")
        loop = asyncio.get_running_loop()
        connection = self.connection
        side = self._loops.get(loop)
        if side is None:
            side = self._loops[loop] = _LoopSide(loop)
        async with side.places:
            try:
                number = connection.start(method, params, side.mailbox)
            except _core.Gone as error:
                raise self._ended(error) from None
            future = side.expect(loop, number)
            try:
                kind, value = await asyncio.wait_for(future, timeout)
            except asyncio.TimeoutError:
                connection.cancel(number)
                raise ToolTimedOut(f"no answer within {timeout} s") from None
            except asyncio.CancelledError:
                connection.cancel(number)
                raise
            finally:
                side.forget(number)
        if kind == "gone":
            raise self._ended(value)
        return kind, value

    def close(self) -> None:
        self._closed = True
        if self._pid == os.getpid():
            self._connection.close()


# Connections of a parent process: freeing one would be this process's doing.
_kept: list[_core.Connection] = []
