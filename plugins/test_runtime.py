"""Every golden example once more, through the runtime that serves plugins: the four contracts as they really are
called.

One process a plugin, for plugins have modules of the same name. Nothing is confined here; that is the sandbox's tests.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from conftest import PLUGINS, Plugin, first_difference, plugin_folders

RUNTIME = PLUGINS.parent / "executors" / "python" / "runtime"
# What runs in a container has no module that the runtime could load.
FOLDERS = [folder for folder in plugin_folders() if Plugin(folder).manifest.get("runtime") != "container"]
_RUN = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pegboard_runtime.contracts import CallContext, load_plugin
job = json.load(sys.stdin)
plugin = load_plugin(job["tools"], job["root"])
plugin.initialize({}, {})
call = lambda name, args: plugin.call(name, args, CallContext(data=job["data"]))
found = {"faults": {name: fault.wire() for name, fault in plugin.faults.items()},
         "results": [call(*case) for case in job["cases"]]}
json.dump(found, sys.__stdout__)
"""


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_runtime_gives_the_golden_results(folder):
    plugin = Plugin(folder)
    cases = [
        (name, example) for name, tool in plugin.tools.items() for example in tool["examples"] if "result" in example
    ]
    job = {
        "root": str(folder),
        "tools": plugin.manifest["mcps"],
        "data": plugin.context()["data"],
        "cases": [[name, example["args"]] for name, example in cases],
    }
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", _RUN, str(RUNTIME)],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["faults"] == {}
    for (name, example), result in zip(cases, found["results"], strict=True):
        assert result["ok"], result
        value = result["structured"] if "structured" in result else result["content"][0]["text"]
        assert first_difference(example["result"], value) is None, name
