"""Tools for the tests of the Python package: a good one, and one for each way to go wrong."""

import os
import time


class Echo:
    """Returns what it was given."""

    def _run(self, text, times=1, style=None):
        casing = (style or {}).get("casing", "none")
        said = text * times
        return {"text": said.upper() if casing == "upper" else said, "style": style}


class Total:
    """Adds."""

    def _run(self, a, b):
        return a + b


class Settings:
    """Returns its arguments."""

    def _run(self, /, **arguments):
        return arguments


class Fail:
    """Raises."""

    def _run(self):
        raise ValueError("it always fails")


class Die:
    """Ends its process."""

    def _run(self):
        os._exit(9)


class Wait:
    """Sleeps."""

    def _run(self, seconds):
        time.sleep(seconds)
        return "awake"


class Picture:
    """A picture."""

    def _run(self):
        return {"type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png"}
