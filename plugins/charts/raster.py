"""A canvas of pixels with smooth lines and discs, and its PNG form. Only `zlib` and `struct`."""

from __future__ import annotations

import math
import struct
import zlib

from font import ADVANCE, HEIGHT, points, readable, text_width

Colour = tuple[int, int, int]

# Smooth pixels a picture may have; past them lines are plain, so that ten thousand full-height strokes end soon.
MAX_SMOOTH = 1_000_000


class Canvas:
    """Red, green and blue bytes, row by row. Drawing outside it is cut off."""

    def __init__(self, width: int, height: int, background: Colour) -> None:
        self.width, self.height = width, height
        self._smooth_left = MAX_SMOOTH
        self.pixels = bytearray(bytes(background) * (width * height))

    def rect(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """Fills whole pixels."""
        left, right = max(0, round(x)), min(self.width, round(x + width))
        if right <= left:
            return
        top, bottom = max(0, round(y)), min(self.height, round(y + height))
        if right - left == 1:
            self._column(left, top, bottom, colour)
            return
        row = bytes(colour) * (right - left)
        for line in range(top, bottom):
            start = (line * self.width + left) * 3
            self.pixels[start : start + len(row)] = row

    def _column(self, x: int, top: int, bottom: int, colour: Colour) -> None:
        """One pixel wide, three assignments whatever its height. The place lies on the canvas."""
        if bottom > top:
            stride = self.width * 3
            start, stop = top * stride + x * 3, bottom * stride
            for channel in range(3):
                self.pixels[start + channel : stop : stride] = bytes((colour[channel],)) * (bottom - top)

    def _mix(self, x: int, y: int, colour: Colour, share: float) -> None:
        if share <= 0 or not (0 <= x < self.width and 0 <= y < self.height):
            return
        at = (y * self.width + x) * 3
        if share >= 1:
            self.pixels[at : at + 3] = bytes(colour)
            return
        for channel in range(3):
            old = self.pixels[at + channel]
            self.pixels[at + channel] = round(old + (colour[channel] - old) * share)

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, thickness: float) -> None:
        """A smooth line, stepping along its longer axis and shading across it."""
        self._smooth_left -= math.ceil(min(math.hypot(x1 - x0, y1 - y0), 4096) * (thickness + 2))
        if self._smooth_left < 0:
            self._plain_line(*((x0, y0, x1, y1) if x0 <= x1 else (x1, y1, x0, y0)), colour)
            return
        steep = abs(y1 - y0) > abs(x1 - x0)
        if steep:
            x0, y0, x1, y1 = y0, x0, y1, x1
        if x0 > x1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        span = x1 - x0
        slope = (y1 - y0) / span if span else 0.0
        half = thickness / 2 * math.sqrt(1 + slope * slope)
        limit = self.height if steep else self.width
        for step in range(max(0, math.floor(x0)), min(limit, math.ceil(x1) + 1)):
            middle = y0 + slope * (min(max(step + 0.5, x0), x1) - x0)
            # The first and last column may be covered in part only.
            along = min(1.0, min(step + 1, x1 + 0.5) - max(step, x0 - 0.5))
            for across in range(math.floor(middle - half - 0.5), math.ceil(middle + half + 0.5)):
                share = min(1.0, half + 0.5 - abs(across + 0.5 - middle)) * along
                if steep:
                    self._mix(across, step, colour, share)
                else:
                    self._mix(step, across, colour, share)

    def _plain_line(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """A line a pixel wide, as one run of pixels for each column that it crosses; `x0` is not right of `x1`."""
        slope = (y1 - y0) / (x1 - x0) if x1 > x0 else 0.0
        for column in range(max(0, math.floor(x0)), min(self.width - 1, math.floor(x1)) + 1):
            start = y0 + slope * (max(column, x0) - x0)
            stop = y0 + slope * (min(column + 1, x1) - x0) if x1 > x0 else y1
            low, high = sorted((start, stop))
            self._column(column, max(0, math.floor(low)), min(self.height, math.floor(high) + 1), colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A smooth filled circle."""
        for line in range(math.floor(y - radius), math.ceil(y + radius) + 1):
            for column in range(math.floor(x - radius), math.ceil(x + radius) + 1):
                distance = math.hypot(column + 0.5 - x, line + 0.5 - y)
                self._mix(column, line, colour, min(1.0, radius + 0.5 - distance))

    def text(
        self, x: float, y: float, text: str, colour: Colour, scale: int, anchor: str = "start", upright: bool = True
    ) -> None:
        """Text with its middle line at `y`; turned by a quarter to the left when not `upright`."""
        shown = readable(text)
        length = text_width(shown, scale)
        shift = {"start": 0.0, "middle": length / 2, "end": float(length)}[anchor]
        rise = (HEIGHT - 1) * scale / 2
        for index, character in enumerate(shown):
            for dx, dy in points(character, scale):
                along, across = index * ADVANCE * scale + dx - shift, dy - rise
                if upright:
                    self._mix(round(x + along), round(y + across), colour, 1.0)
                else:
                    self._mix(round(x + across), round(y - along), colour, 1.0)

    def encoded(self) -> bytes:
        """The PNG file. Every row uses the filter `up`, which suits flat pictures."""
        stride = self.width * 3
        rows = bytearray()
        before = bytes(stride)
        for start in range(0, len(self.pixels), stride):
            row = bytes(self.pixels[start : start + stride])
            rows.append(2)
            if row == before:
                rows += bytes(stride)
            else:
                rows += bytes((now - old) & 255 for now, old in zip(row, before))
            before = row
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(rows), 6)) + _chunk(b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
