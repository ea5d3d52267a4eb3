"""How well requests find their tools: `pegboard eval`, run by the program.

Not in the compiled module: an index, an encoder and its table would make that fifteen times as large, and the program beside it has them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from . import _engine


def evaluate(
    folder: str | os.PathLike[str] | None = None,
    *,
    ranking: Mapping[str, Sequence[str]] | str | os.PathLike[str] | None = None,
    half: Literal["even", "odd"] | None = None,
    learn: int = 0,
    examples: int = 0,
    folds: int = 10,
    plugins: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    home: str | os.PathLike[str] | None = None,
    bundled: bool = True,
) -> dict[str, Any]:
    """Recall, completeness, hit rate, NDCG and MRR (0 to 1), time in milliseconds and the cost of lists in tokens, as `pegboard eval --json`.

    Args:
        folder: `tools.jsonl` and `queries.jsonl`; without it the served tools are asked for with the examples of their manifests.
        ranking: What another search found, to be judged instead: `{query id: [tool ids, best first]}`, or a file of it.
        half: Only the requests whose digest is even, or odd.
        learn: Accepted calls of other requests that each tool learns from before it is asked for.
        examples: Other requests that each tool is given as examples.
        folds: Parts that the requests are cut into for that, 2 to 250.
        plugins: As for `Toolbox`; used without a folder.
        home: As for `Toolbox`.
        bundled: As for `Toolbox`.

    Raises:
        EngineError: The folder or the ranking can't be read, or there is no request.
    """
    folders = [plugins] if isinstance(plugins, (str, os.PathLike)) else list(plugins or ())
    arguments = ["eval", *_engine.shelf_flags(folders, home, bundled), "--folds", str(folds)]
    arguments += ["--learn", str(learn)] if learn else []
    arguments += ["--examples", str(examples)] if examples else []
    arguments += ["--half", half] if half else []
    if ranking is None or isinstance(ranking, (str, os.PathLike)):
        arguments += [] if ranking is None else ["--run", os.fspath(ranking)]
        return _report(arguments, folder)
    import json
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory(prefix="pegboard-") as place:
        run = Path(place, "ranking.json")
        run.write_text(json.dumps({key: list(names) for key, names in ranking.items()}), encoding="utf-8")
        return _report([*arguments, "--run", str(run)], folder)


def _report(arguments: list[str], folder: str | os.PathLike[str] | None) -> dict[str, Any]:
    # After `--`: a folder's name may look like a flag.
    code, document = _engine.run([*arguments, "--json", *(["--", os.fspath(folder)] if folder is not None else [])])
    if code != 0:
        raise _engine.failure(document)
    return document
