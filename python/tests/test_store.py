"""Installing from Python is installing with the program: judged, accepted by name, and served by the engine that is there."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import pegboard
from pegboard import Toolbox, _engine

MANIFEST = """
name: visitor
version: 1.0.0
description: Looks at the network
permissions: [network_access]
requires_network: true
mcps:
  - {name: look, description: Looks around, class_name: Look, args_schema: {type: object}}
"""


@pytest.fixture
def visitor(tmp_path: Path) -> Path:
    folder = tmp_path / "visitor"
    folder.mkdir()
    (folder / "plugin.yaml").write_text(MANIFEST)
    (folder / "main.py").write_text("class Look:\n    def _run(self):\n        return 'seen'\n")
    return folder


def served(box: Toolbox, name: str) -> bool:
    until = time.monotonic() + 20
    while name not in box.tools().names:
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def test_what_is_installed_is_served(tmp_path: Path, plugins: Path) -> None:
    with Toolbox(plugins=tmp_path, home=tmp_path / "home", bundled=False) as box:
        assert box.tools().names == []
        done = box.install(plugins / "bench_desk")
        assert (done["plugin"], done["version"], done["was"]) == ("bench_desk", "1.2.0", None)
        assert done["digest"].startswith("sha256:")
        assert served(box, "bench_desk__total")
        assert box.call("bench_desk__total", a=1, b=2).value == 3


async def test_a_power_is_accepted_by_name_or_nothing_is_installed(tmp_path: Path, visitor: Path) -> None:
    (tmp_path / "shelf").mkdir()
    home = tmp_path / "home"
    with Toolbox(plugins=tmp_path / "shelf", home=home, bundled=False) as box:
        with pytest.raises(pegboard.NotInstalled) as caught:
            await box.ainstall(visitor)
        assert caught.value.code == "install.not_accepted" and caught.value.hint
        assert "power:network_access" in [difference["key"] for difference in caught.value.differences]
        assert box.tools().names == []
        assert (await box.ainstall(visitor, allow=["network_access"]))["plugin"] == "visitor"
        # Accepted is not granted.
        with pytest.raises(pegboard.Denied):
            until = time.monotonic() + 20
            while time.monotonic() < until:
                try:
                    box.call("visitor__look")
                except pegboard.UnknownTool:
                    time.sleep(0.02)


@pytest.mark.parametrize(("what", "code"), [("./no/such/thing", "package.not_found"), ("--help", ""), ("a_name", "index.none")])
def test_what_is_not_there_is_said(tmp_path: Path, what: str, code: str) -> None:
    with Toolbox(plugins=tmp_path, home=tmp_path / "home", bundled=False) as box:
        with pytest.raises(pegboard.NotInstalled) as caught:
            box.install(what)
        assert caught.value.code.startswith(code)


def test_a_program_that_installs_nothing_says_so(monkeypatch: pytest.MonkeyPatch, box: Toolbox) -> None:
    answer = {"error": {"code": "usage", "message": "unrecognized subcommand 'install'"}}
    monkeypatch.setattr(_engine, "run", lambda arguments: (2, answer))
    with pytest.raises(pegboard.UnsupportedError) as caught:
        box.install("weather")
    assert caught.value.code == "unsupported" and caught.value.hint
