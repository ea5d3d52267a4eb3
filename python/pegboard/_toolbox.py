"""The toolbox: the tools of one engine, found and called. Safe for threads, event loops and forked processes.

How requests reach the engine is `_links`, how it is begun `_engine`, LangChain's classes `langchain`.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _engine
from ._errors import EngineError, NotReady, ToolboxClosed, UnknownTool, UnsupportedError, from_protocol
from ._links import Link, SocketLink
from ._results import Result, Tool, ToolList
from ._wire import every_tool, found, result

if TYPE_CHECKING:
    import ssl

    from langchain_core.tools import BaseTool
    from typing_extensions import Self

Path = str | os.PathLike[str]
_AGAIN_SECONDS = 0.2
_LOOK_SECONDS = 0.05
_open: weakref.WeakSet[Toolbox] = weakref.WeakSet()


class Toolbox:
    """Tools of plugins, found by meaning and run in a sandbox.

    `Toolbox(plugins="./plugins")` begins an engine of its own that ends with it; `Toolbox()` joins the user's engine, which all clients share
    and which is begun when there is none; `Toolbox.connect(url)` reaches a remote one.

    Args:
        plugins: A plugin's folder, a folder of plugins, or several.
        home: The folder of configuration, data and cache, instead of the user's own.
        bundled: With the plugins that the program carries.
        timeout: Seconds that a call may take unless it says otherwise; `None`: as long as the tool's own limit.
        prepare: Seconds to wait while a plugin's environment is being made.

    Raises:
        EngineError: The engine could not be begun or joined.
    """

    def __init__(
        self,
        plugins: Path | Sequence[Path] | None = None,
        *,
        home: Path | None = None,
        bundled: bool = True,
        timeout: float | None = None,
        prepare: float = 600.0,
    ) -> None:
        folders = [plugins] if isinstance(plugins, (str, os.PathLike)) else list(plugins or ())
        self._owned: _engine.PrivateEngine | None = None
        flags = _engine.shelf_flags(folders, home, bundled)
        if folders:
            self._owned = _engine.PrivateEngine(flags)
            link = _socket_link(self._owned.socket, self._owned)
        else:
            link = _join(flags)
        self._begin(link, timeout, prepare)
        # A plugin's own folder is no place for another plugin.
        shelves = [os.fspath(folder) for folder in folders if not os.path.exists(os.path.join(folder, "plugin.yaml"))]
        self._shelf, self._flags = (shelves[0] if shelves else None), flags
        self._local, self._home = True, home

    def _begin(self, link: Link, timeout: float | None, prepare: float) -> None:
        self._link = link
        self._timeout, self._prepare = timeout, prepare
        self._closed = False
        self._shelf: str | None = None
        self._flags: list[str] = []
        self._local = False
        self._home: Path | None = None
        self._lock = threading.Lock()
        self._cached: tuple[int, dict[str, Tool]] | None = None
        _open.add(self)

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        token: str | None = None,
        timeout: float | None = None,
        prepare: float = 600.0,
        context: ssl.SSLContext | None = None,
    ) -> Self:
        """A remote engine, by the address of its `/mcp`. `token` is a bearer token that its operator made.

        Raises:
            EngineError: The address is none, or nobody answers there.
        """
        from ._http import HttpLink

        box = cls.__new__(cls)
        box._owned = None
        box._begin(HttpLink(url, token, context), timeout, prepare)
        box._answer("", box._link.request("tools/list", {}, timeout or 30.0))
        return box

    def search(
        self,
        query: str,
        limit: int = 5,
        *,
        plugin: str | None = None,
        category: str | None = None,
        capability: str | None = None,
        read_only: bool | None = None,
    ) -> ToolList:
        """The tools that fit a task in plain words, best first; `limit` is 1 to 50.

        Raises:
            BadArguments: An empty query, or a limit out of range.
        """
        arguments = _search_arguments(query, limit, plugin, category, capability, read_only)
        return self._found(query, self._request("search_tools", arguments, None))

    async def asearch(
        self,
        query: str,
        limit: int = 5,
        *,
        plugin: str | None = None,
        category: str | None = None,
        capability: str | None = None,
        read_only: bool | None = None,
    ) -> ToolList:
        """As `search`."""
        arguments = _search_arguments(query, limit, plugin, category, capability, read_only)
        return self._found(query, await self._arequest("search_tools", arguments, None))

    def call(self, name: str, arguments: Mapping[str, Any] | None = None, /, *, timeout: float | None = None, **more: Any) -> Result:
        """Calls a tool with a mapping of arguments, keywords, or both.

        Raises:
            CallError: One class for each way a call can fail: `UnknownTool`, `BadArguments`, `Denied`, `ToolFailed`, `ToolCrashed`,
                `ToolTimedOut`, `ToolOutOfMemory`, `BadOutput`, `NotReady`, `Unsupported`.
            EngineGone: The engine ended meanwhile.
            KeyboardInterrupt: Ctrl-C; the call was cancelled.
        """
        given = {**(arguments or {}), **more}
        until = time.monotonic() + self._prepare
        while True:
            try:
                return self._request(name, given, timeout or self._timeout)
            except NotReady as error:
                if error.code != "preparing" or time.monotonic() > until:
                    raise
            time.sleep(_AGAIN_SECONDS)

    async def acall(
        self, name: str, arguments: Mapping[str, Any] | None = None, /, *, timeout: float | None = None, **more: Any
    ) -> Result:
        """As `call`; cancelling the task cancels the call."""
        import asyncio

        given = {**(arguments or {}), **more}
        until = time.monotonic() + self._prepare
        while True:
            try:
                return await self._arequest(name, given, timeout or self._timeout)
            except NotReady as error:
                if error.code != "preparing" or time.monotonic() > until:
                    raise
            await asyncio.sleep(_AGAIN_SECONDS)

    def tools(self) -> ToolList:
        """Every tool that is served now."""
        return ToolList(self._all().values())

    async def atools(self) -> ToolList:
        """As `tools`."""
        import asyncio

        return ToolList((await asyncio.to_thread(self._all)).values())

    def tool(self, name: str) -> Tool:
        """One tool by its name.

        Raises:
            UnknownTool: There is none.
        """
        every = self._all()
        if name not in every:
            from difflib import get_close_matches

            raise UnknownTool(f"unknown tool: {name}", tool=name, nearest=tuple(get_close_matches(name, every, 3)))
        return every[name]

    def get_tools(self, names: Iterable[str] | None = None, *, query: str | None = None, limit: int = 5) -> list[BaseTool]:
        """LangChain tools: those with these names, those that fit a query, or all.

        Raises:
            ImportError: langchain-core is not installed.
            UnknownTool: A name is none.
        """
        from .langchain import to_langchain

        return [to_langchain(self, tool) for tool in self._chosen(names, query, limit)]

    async def aget_tools(
        self, names: Iterable[str] | None = None, *, query: str | None = None, limit: int = 5
    ) -> list[BaseTool]:
        """As `get_tools`."""
        import asyncio

        return await asyncio.to_thread(self.get_tools, names, query=query, limit=limit)

    def validate(self, path: Path) -> dict[str, Any]:
        """Checks a plugin's folder: manifest, files, schemas, examples; nothing of it runs. The report, with its warnings.

        Raises:
            InvalidManifest: There are errors.
            EngineError: There is no plugin.
        """
        from ._manifests import validate

        return validate(path)

    def create(
        self,
        name: str,
        /,
        *functions: Callable[..., Any],
        code: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        manifest: Mapping[str, Any] | None = None,
        wait: float = 10.0,
    ) -> ToolList:
        """Makes a plugin in this toolbox's folder of plugins and waits until it is served: its tools.

        Of functions: each is a tool, with its docstring as description and its annotations as schema; what they use of their own modules comes
        along. Or of `code` and `tools`, which are entries of `mcps`. It runs in the sandbox and has no power until the operator grants one.

        Args:
            name: The plugin's name, and its folder's.
            functions: Functions that stand at the top of a module.
            code: The text of main.py.
            tools: Name, description, `function` or `class_name`, and what else `mcps` takes, for each tool of `code`.
            manifest: Other fields of plugin.yaml, such as `description`, `dependencies` or `permissions`.
            wait: Seconds to wait for it.

        Raises:
            UnsupportedError: The toolbox has no folder of plugins of its own.
            InvalidManifest: The fields do not make a manifest. Nothing was written.
            PegboardError: There is such a plugin, or a function does not stand by itself. Nothing was written.
            NotReady: It was written and is not served in time, because a power is missing or its packages are being installed.
        """
        from ._create import plugin_files, write_plugin

        if self._shelf is None:
            raise UnsupportedError(
                "this toolbox can't create plugins", hint="one that was made with Toolbox(plugins=FOLDER) can, in that folder"
            )
        files = plugin_files(name, functions, code, tools, manifest or {})
        folder = write_plugin(os.path.abspath(os.path.expanduser(self._shelf)), name, files)
        wanted = [f"{name}__{tool.__name__}" for tool in functions] or [f"{name}__{tool['name']}" for tool in tools or ()]
        until = time.monotonic() + wait
        while not set(wanted) <= (every := self._all()).keys():
            if time.monotonic() > until:
                raise NotReady(f"`{folder}` is written, and not served yet: {_engine.standing(name, self._flags)}")
            time.sleep(_LOOK_SECONDS)
        return ToolList(every[tool] for tool in wanted)

    async def acreate(
        self,
        name: str,
        /,
        *functions: Callable[..., Any],
        code: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        manifest: Mapping[str, Any] | None = None,
        wait: float = 10.0,
    ) -> ToolList:
        """As `create`."""
        import asyncio

        return await asyncio.to_thread(self.create, name, *functions, code=code, tools=tools, manifest=manifest, wait=wait)

    def install(
        self,
        what: Path,
        /,
        *,
        allow: Sequence[str] = (),
        index: Path | None = None,
        channel: str | None = None,
        digest: str | None = None,
    ) -> dict[str, Any]:
        """Installs a plugin for this toolbox's home, as `pegboard install --yes`: plugin, version, digest, source, who signed it, notes.

        The engine serves it a moment later, and so do the other engines of that home. What it may do must still be granted.

        Args:
            what: A path, an address, a repository at a tag or commit, or a name in an index. A path that is text needs a `/`.
            allow: What is accepted, of what the package asks for, such as `network_access`; nothing else is.
            index: Where names are looked up: a folder or an address.
            channel: The most daring channel to take releases from: `stable`, `beta` or `dev`.
            digest: Install nothing but the package of this `sha256:…`, and accept all that it declares.

        Raises:
            NotInstalled: It was not found, not accepted, not signed as it has to be, or changed on the way. Nothing was installed.
            UnsupportedError: The engine is a remote one.
        """
        from ._store import install

        if not self._local:
            raise UnsupportedError("a remote engine can't install plugins", hint="its operator can, with `pegboard install`")
        return install(what, self._home, allow, index, channel, digest)

    async def ainstall(
        self,
        what: Path,
        /,
        *,
        allow: Sequence[str] = (),
        index: Path | None = None,
        channel: str | None = None,
        digest: str | None = None,
    ) -> dict[str, Any]:
        """As `install`."""
        import asyncio

        return await asyncio.to_thread(self.install, what, allow=allow, index=index, channel=channel, digest=digest)

    def close(self) -> None:
        """Ends the connection, and the engine where it is this toolbox's own. Calls that run get `ToolboxClosed`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._link.close()
        if self._owned is not None:
            self._owned.stop()

    async def aclose(self) -> None:
        """As `close`."""
        import asyncio

        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # An engine that nobody can reach any more is of no use to anybody.
        if getattr(self, "_link", None) is not None and not self._closed:
            self.close()

    def _request(self, name: str, arguments: Mapping[str, Any], timeout: float | None) -> Result:
        params = {"name": name, "arguments": dict(arguments)}
        return result(name, self._answer(name, self._link.request("tools/call", params, timeout)))

    async def _arequest(self, name: str, arguments: Mapping[str, Any], timeout: float | None) -> Result:
        params = {"name": name, "arguments": dict(arguments)}
        return result(name, self._answer(name, await self._link.arequest("tools/call", params, timeout)))

    @staticmethod
    def _answer(name: str, outcome: tuple[str, Any]) -> Any:
        kind, value = outcome
        if kind == "result":
            return value
        if kind == "error":
            raise from_protocol(name, value)
        raise EngineError(str(value))

    def _all(self) -> dict[str, Tool]:
        changes = self._link.changes
        cached = self._cached
        if cached is not None and cached[0] == changes:
            return cached[1]
        tools = every_tool(lambda params: self._answer("", self._link.request("tools/list", params, self._timeout)))
        self._cached = (changes, tools)
        return tools

    def _found(self, query: str, answer: Result) -> ToolList:
        return found(query, answer, self._cached[1] if self._cached is not None else {})

    def _chosen(self, names: Iterable[str] | None, query: str | None, limit: int) -> ToolList:
        if names is not None:
            return ToolList([self.tool(name) for name in ([names] if isinstance(names, str) else names)])
        every = self._all()
        if query is None:
            return ToolList(every.values())
        return ToolList([every.get(tool.name, tool) for tool in self.search(query, limit)], query=query)


def _search_arguments(
    query: str, limit: int, plugin: str | None, category: str | None, capability: str | None, read_only: bool | None
) -> dict[str, Any]:
    filters = {"plugin": plugin, "category": category, "capability": capability, "read_only": read_only}
    filters = {key: value for key, value in filters.items() if value is not None}
    return {"query": query, "limit": limit, **({"filters": filters} if filters else {})}


def _join(flags: Sequence[str]) -> Link:
    # An engine that was ending while it was asked for is gone a moment later: the next one is begun.
    for again in range(20, -1, -1):
        try:
            return _socket_link(_engine.join_shared(flags), None)
        except EngineError as error:
            if error.code != "engine_gone" or not again:
                raise
        time.sleep(0.05)
    raise AssertionError("the last round returns or raises")


def _socket_link(socket: str, owned: _engine.PrivateEngine | None) -> SocketLink:
    try:
        return SocketLink(socket, _engine.opening())
    except BaseException:
        if owned is not None:
            owned.stop()
        raise


@atexit.register
def _close_all() -> None:
    # Threads that wait are told before the interpreter goes: one that came back to it later would be lost.
    for box in list(_open):
        try:
            box.close()
        except Exception:  # noqa: BLE001 - the others are to be closed whatever one does
            pass


def _after_fork() -> None:
    for box in list(_open):
        box._lock = threading.Lock()  # pyright: ignore[reportPrivateUsage]
        box._link.after_fork()  # pyright: ignore[reportPrivateUsage]
        if box._owned is not None:  # pyright: ignore[reportPrivateUsage]
            box._owned.let_go()  # pyright: ignore[reportPrivateUsage]
            box._owned = None  # pyright: ignore[reportPrivateUsage]


os.register_at_fork(after_in_child=_after_fork)

__all__ = ["Toolbox", "ToolboxClosed"]
