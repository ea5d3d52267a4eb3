"""The same drawing operations as `raster.Canvas`, as an SVG document. All text is escaped."""

from __future__ import annotations

from xml.sax.saxutils import escape

from font import ADVANCE

Colour = tuple[int, int, int]


class Drawing:
    """Collects elements; `encoded` is the document."""

    def __init__(self, width: int, height: int, background: Colour) -> None:
        self.width, self.height = width, height
        self._parts: list[str] = []
        self.rect(0, 0, width, height, background)

    def rect(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """A filled rectangle."""
        if width > 0 and height > 0:
            self._parts.append(
                f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" fill="{_hex(colour)}"/>'
            )

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, thickness: float) -> None:
        """A line with round ends."""
        self._parts.append(
            f'<line x1="{_n(x0)}" y1="{_n(y0)}" x2="{_n(x1)}" y2="{_n(y1)}" '
            f'stroke="{_hex(colour)}" stroke-width="{_n(thickness)}" stroke-linecap="round"/>'
        )

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A filled circle."""
        self._parts.append(f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}" fill="{_hex(colour)}"/>')

    def text(
        self, x: float, y: float, text: str, colour: Colour, scale: int, anchor: str = "start", upright: bool = True
    ) -> None:
        """Text with its middle line at `y`."""
        # XML has no control characters, not even escaped.
        shown = escape("".join(character for character in text if character.isprintable()))
        turn = "" if upright else f' transform="rotate(-90 {_n(x)} {_n(y)})"'
        size = ADVANCE * scale + 1
        self._parts.append(
            f'<text x="{_n(x)}" y="{_n(y)}" fill="{_hex(colour)}" font-size="{size}" '
            f'text-anchor="{anchor}" dominant-baseline="central"{turn}>'
            f"{shown}</text>"
        )

    def encoded(self) -> str:
        """The document."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" font-family="sans-serif">'
        )
        return "\n".join([head, *self._parts, "</svg>"])


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _hex(colour: Colour) -> str:
    return "#" + "".join(f"{channel:02x}" for channel in colour)
