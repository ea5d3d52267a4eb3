"""Finishes coroutines: one event loop a process, imported and made only when a tool is asynchronous."""

from .stdlib import stdlib

# How long tasks that a call left behind may take to end once they are cancelled, in seconds.
GRACE = 1.0


def prepare(root: str) -> None:
    """Loads asyncio without making a loop: a loop's descriptors must not be shared by forked children."""
    stdlib("asyncio", root)


class Loop:
    """An event loop that runs one awaitable at a time."""

    def __init__(self, root: str) -> None:
        self.asyncio = stdlib("asyncio", root)
        self.loop = self.asyncio.new_event_loop()

    def finish(self, value: object) -> object:
        """Runs an awaitable, or gathers an asynchronous generator. What it left running is cancelled, as
        `asyncio.run` does.
        """
        try:
            return self.loop.run_until_complete(
                self.gathered(value) if hasattr(type(value), "__anext__") else self.awaited(value)
            )
        finally:
            self.cancel_rest()

    @staticmethod
    async def awaited(value: object) -> object:
        return await value

    @staticmethod
    async def gathered(values: object) -> list:
        return [value async for value in values]

    def cancel_rest(self) -> None:
        left = self.asyncio.all_tasks(self.loop)
        if left:
            for task in left:
                task.cancel()
            self.loop.run_until_complete(self.asyncio.wait(left, timeout=GRACE))

    def close(self) -> None:
        try:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()
