"""Installing from Python is installing with the program: judged, accepted by name, and served by the engine that is there."""

from __future__ import annotations

import pytest

import pegboard
from pegboard import Toolbox, _engine


def test_a_program_that_installs_nothing_says_so(monkeypatch: pytest.MonkeyPatch, box: Toolbox) -> None:
    answer = {"error": {"code": "usage", "message": "unrecognized subcommand 'install'"}}
    monkeypatch.setattr(_engine, "run", lambda arguments: (2, answer))
    with pytest.raises(pegboard.UnsupportedError) as caught:
        box.install("weather")
    assert caught.value.code == "unsupported" and caught.value.hint
