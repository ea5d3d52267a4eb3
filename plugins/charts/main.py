"""The tool `draw_chart`: a plain class that returns an image, or an SVG document as text."""

from __future__ import annotations

from typing import Any

from chart import Chart, Unfit
from drawing import draw
from raster import Canvas
from vector import Drawing


class DrawChart:
    """The host calls `_run` with the checked arguments."""

    name = "draw_chart"

    def _run(self, kind: str, series: list[dict[str, Any]], format: str = "png", **args: Any) -> dict[str, Any] | str:
        if format not in ("png", "svg"):
            raise Unfit("`format` must be `png` or `svg`")
        chart = Chart.of({"kind": kind, "series": series, **args})
        surface = draw(chart, Canvas if format == "png" else Drawing)
        encoded = surface.encoded()
        # Models' APIs take no SVG as an image; as text it can be saved, or put into a page.
        return encoded if isinstance(encoded, str) else {"type": "image", "data": encoded, "media_type": "image/png"}
