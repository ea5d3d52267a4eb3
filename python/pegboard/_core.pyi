"""Types of the compiled part: a connection to an engine, answers for an event loop, checks of manifests."""

from typing import Any, Literal

__version__: str

class Gone(Exception):
    """There is no connection any more; the request may or may not have been carried out."""

class Stranger(Exception):
    """What listens there belongs to another user, or takes this one for another."""

class TimedOut(Exception):
    """No answer within the time; the request was cancelled."""

Outcome = tuple[Literal["result", "error", "gone"], Any]

class Mailbox:
    """Answers of one event loop, and a descriptor that is readable while there are some."""

    def __new__(cls) -> Mailbox: ...
    def fileno(self) -> int: ...
    def take(self) -> list[tuple[int, Outcome]]: ...

class Connection:
    """One connection to an engine, for any number of threads and event loops."""

    @staticmethod
    def open(path: str, opening: str) -> Connection: ...
    def request(self, method: str, params: Any, timeout: float | None = None) -> Outcome: ...
    def start(self, method: str, params: Any, mailbox: Mailbox) -> int: ...
    def cancel(self, id: int) -> None: ...
    @property
    def changes(self) -> int: ...
    @property
    def gone(self) -> str | None: ...
    def close(self) -> None: ...

def check_manifest(text: str, file: str = "plugin.yaml") -> list[dict[str, Any]]: ...
def manifest_schema_json() -> str: ...
