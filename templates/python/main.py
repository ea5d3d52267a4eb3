"""The tools of the plugin. What a client sees of them is in plugin.yaml."""

from __future__ import annotations


class CountWords:
    """`count_words`: the arguments arrive by name, checked against `args_schema`; the result is checked against `output_schema`."""

    def _run(self, text: str) -> dict[str, int]:
        return {"words": len(text.split()), "lines": len(text.splitlines()), "characters": len(text)}
