"""A bitmap font of 5 by 8 points, drawn for this plugin. Each glyph is eight rows of five bits, two hex digits a row,
the last row below the line.

Letters with accents lose them; other signs outside the font become an empty box.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

WIDTH, HEIGHT, ADVANCE = 5, 8, 6

_GLYPHS = {
    " ": "0000000000000000",
    "!": "0404040404000400",
    '"': "0A0A0A0000000000",
    "#": "0A0A1F0A1F0A0A00",
    "$": "040F140E051E0400",
    "%": "1819020408130300",
    "&": "0C12140815120D00",
    "'": "0404080000000000",
    "(": "0204080808040200",
    ")": "0804020202040800",
    "*": "0004150E15040000",
    "+": "0004041F04040000",
    ",": "00000000000C0408",
    "-": "0000001F00000000",
    ".": "00000000000C0C00",
    "/": "0001020408100000",
    "0": "0E11131519110E00",
    "1": "040C040404040E00",
    "2": "0E11010204081F00",
    "3": "1F02040201110E00",
    "4": "02060A121F020200",
    "5": "1F101E0101110E00",
    "6": "0608101E11110E00",
    "7": "1F01020408080800",
    "8": "0E11110E11110E00",
    "9": "0E11110F01020C00",
    ":": "000C0C000C0C0000",
    ";": "000C0C000C040800",
    "<": "0204081008040200",
    "=": "00001F001F000000",
    ">": "0804020102040800",
    "?": "0E11010204000400",
    "@": "0E11010D15150E00",
    "A": "0E1111111F111100",
    "B": "1E11111E11111E00",
    "C": "0E11101010110E00",
    "D": "1C12111111121C00",
    "E": "1F10101E10101F00",
    "F": "1F10101E10101000",
    "G": "0E11101711110F00",
    "H": "1111111F11111100",
    "I": "0E04040404040E00",
    "J": "0702020202120C00",
    "K": "1112141814121100",
    "L": "1010101010101F00",
    "M": "111B151511111100",
    "N": "1111191513111100",
    "O": "0E11111111110E00",
    "P": "1E11111E10101000",
    "Q": "0E11111115120D00",
    "R": "1E11111E14121100",
    "S": "0F10100E01011E00",
    "T": "1F04040404040400",
    "U": "1111111111110E00",
    "V": "11111111110A0400",
    "W": "1111111515150A00",
    "X": "11110A040A111100",
    "Y": "1111110A04040400",
    "Z": "1F01020408101F00",
    "[": "0E08080808080E00",
    "\\": "0010080402010000",
    "]": "0E02020202020E00",
    "^": "040A110000000000",
    "_": "0000000000001F00",
    "`": "0804020000000000",
    "a": "00000E010F110F00",
    "b": "1010161911111E00",
    "c": "00000E1010110E00",
    "d": "01010D1311110F00",
    "e": "00000E111F100E00",
    "f": "0609081C08080800",
    "g": "00000F11110F010E",
    "h": "1010161911111100",
    "i": "04000C0404040E00",
    "j": "020006020202120C",
    "k": "1010121418141200",
    "l": "0C04040404040E00",
    "m": "00001A1515111100",
    "n": "0000161911111100",
    "o": "00000E1111110E00",
    "p": "00001E11111E1010",
    "q": "00000F11110F0101",
    "r": "0000161910101000",
    "s": "00000E100E011E00",
    "t": "08081C0808090600",
    "u": "0000111111130D00",
    "v": "00001111110A0400",
    "w": "0000111115150A00",
    "x": "0000110A040A1100",
    "y": "00001111110F010E",
    "z": "00001F0204081F00",
    "{": "0204040804040200",
    "|": "0404040404040400",
    "}": "0804040204040800",
    "~": "0000081502000000",
    "°": "0C12120C00000000",
    "µ": "00001111111B1410",
    "€": "0609081E081E0906",
    "£": "0609081E08081F00",
    "×": "0000110A040A1100",
    "–": "0000001F00000000",
    "—": "0000001F00000000",
    "…": "0000000000001500",
    "’": "0404080000000000",
    "±": "04041F0404001F00",
    "²": "0C12040819000000",
    "ß": "0C12121412111600",
    "\0": "1F11111111111F00",
}


def readable(text: str) -> str:
    """The text in signs of the font; `\\0` stands for one that is not in it."""
    found: list[str] = []
    for character in text:
        if character in _GLYPHS and character != "\0":
            found.append(character)
            continue
        plain = [part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part)]
        if unicodedata.category(character) not in ("Mn", "Cf"):
            found.extend(part if part in _GLYPHS else "\0" for part in plain[:3])
    return "".join(found)


@lru_cache(maxsize=512)
def points(character: str, scale: int) -> tuple[tuple[int, int], ...]:
    """The set points of a glyph as `(x, y)`. At twice the size corners are rounded (the EPX rule)."""
    rows = [int(_GLYPHS[character][index : index + 2], 16) for index in range(0, 16, 2)]

    def on(x: int, y: int) -> bool:
        return 0 <= x < WIDTH and 0 <= y < HEIGHT and bool(rows[y] >> (WIDTH - 1 - x) & 1)

    if scale == 1:
        return tuple((x, y) for y in range(HEIGHT) for x in range(WIDTH) if on(x, y))
    found: list[tuple[int, int]] = []
    for y in range(HEIGHT):
        for x in range(WIDTH):
            here, up, right, down, left = on(x, y), on(x, y - 1), on(x + 1, y), on(x, y + 1), on(x - 1, y)
            corners = (
                (0, 0, up if left == up and left != down and up != right else here),
                (1, 0, right if up == right and up != left and right != down else here),
                (0, 1, left if down == left and down != right and left != up else here),
                (1, 1, down if right == down and right != up and down != left else here),
            )
            found.extend((2 * x + dx, 2 * y + dy) for dx, dy, lit in corners if lit)
    return tuple(found)


def text_width(text: str, scale: int) -> int:
    """Pixels from the first point to the last."""
    return max(0, len(text) * ADVANCE - 1) * scale
