"""Reads unit expressions such as `km/h`, `kg*m^2/s^2` or `MiB`, and converts between those of the same dimension. Exact
fractions inside.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from fractions import Fraction

from unit_table import BASES, BINARY_PREFIXES, OFFSETS, PREFIXES, QUANTITIES, UNITS

MAX_EXPRESSION = 80
MAX_FACTORS = 12
MAX_EXPONENT = 9

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_TOKEN = re.compile(r"\s*(?:([*·×/])|([A-Za-z°ÅåöΩµμ_0]+)(?:(?:\^|\*\*)?(-?[0-9]{1,2}))?|(1)(?![0-9]))")
_ALIASES = {"μ": "µ", "Ω": "Ω", "Å": "Å", "℃": "°C", "℉": "°F"}


class UnitError(ValueError):
    """An expression that can't be read or converted; the message says why."""


@dataclass(frozen=True)
class Unit:
    """A size in base units, a dimension, the zero of the scale where it has one of its own, and what the unit is used
    for.
    """

    size: Fraction
    dimension: tuple[int, ...]
    offset: Fraction = Fraction(0)
    kind: str | None = None

    def quantity(self) -> str | None:
        """What is measured: litres per 100 km have the dimension of an area, yet are none."""
        if self.kind:
            return self.kind
        wanted = {base: power for base, power in zip(BASES, self.dimension) if power}
        return next((name for name, dimension in QUANTITIES.items() if dimension == wanted), None)

    def text(self) -> str:
        """The dimension in base units, such as `kg·m^2·s^-2`."""
        parts = [base if power == 1 else f"{base}^{power}" for base, power in zip(BASES, self.dimension) if power]
        return "·".join(parts) or "a plain number"


def fraction(text: str) -> Fraction:
    """`5/18`, `1e-3` and `459.67*5/9`, as the table writes sizes."""
    value = Fraction(1)
    for sign, part in re.findall(r"([*/]?)([^*/]+)", text):
        value = value / Fraction(part) if sign == "/" else value * Fraction(part)
    return value


def _dimension(quantity: str) -> tuple[int, ...]:
    return tuple(QUANTITIES[quantity].get(base, 0) for base in BASES)


def _tables() -> tuple[dict[str, Unit], dict[str, str]]:
    """Units by symbol; and symbols by lower-case name, plurals and prefixed names included."""
    symbols: dict[str, Unit] = {}
    names: dict[str, str] = {}
    for symbol, others, quantity, size, prefixed in UNITS:
        unit = Unit(fraction(size), _dimension(quantity), fraction(OFFSETS.get(symbol, "0")), quantity)
        symbols[symbol] = unit
        words = others.split()
        names.update(
            {form: symbol for word in (symbol, *words) if len(word) > 1 for form in (word.lower(), word.lower() + "s")}
        )
        # A one-letter second symbol (`l` beside `L`) is a symbol too.
        symbols.update({word: unit for word in words if len(word) == 1})
        prefixes = {**(PREFIXES if prefixed else {}), **(BINARY_PREFIXES if quantity == "information" else {})}
        for sign, (name, factor) in prefixes.items():
            bigger = Unit(unit.size * Fraction(factor), unit.dimension, kind=quantity)
            for short in (symbol, *(word for word in words if len(word) == 1)):
                symbols.setdefault(sign + short, bigger)
            if sign == "µ":
                symbols.setdefault("u" + symbol, bigger)
            names.update(
                {form: sign + symbol for word in words if len(word) > 2 for form in (name + word, name + word + "s")}
            )
            if symbol == "bit":
                names.update({name + "bit": sign + "bit", name + "bits": sign + "bit"})
    # Plain units win over a prefix that happens to spell them: `min` is a minute, `ft` a foot, `cd` a candela.
    return symbols, names


_SYMBOLS, _NAMES = _tables()


def single(word: str) -> Unit:
    """One unit by symbol or name; an unknown one is refused with the nearest."""
    word = _ALIASES.get(word, word)
    if word.startswith("μ"):
        word = "µ" + word[1:]
    if word in _SYMBOLS:
        return _SYMBOLS[word]
    symbol = _NAMES.get(word.lower())
    if symbol is not None:
        return _SYMBOLS[symbol]
    near = difflib.get_close_matches(word.lower(), _NAMES, n=3, cutoff=0.7)
    same = [known for known in _SYMBOLS if known.lower() == word.lower()]
    found = list(dict.fromkeys([*same, *near]))[:3]
    hint = f", did you mean {' or '.join(f'`{name}`' for name in found)}?" if found else ""
    raise UnitError(f"unit `{word}` is not known{hint}")


def parse(expression: str) -> Unit:
    """A unit, or a product of powers of units: `*`, `·`, blanks and `/`; `/` divides by the factor after it."""
    text = expression.strip() if isinstance(expression, str) else ""
    if not text or len(text) > MAX_EXPRESSION:
        raise UnitError(f"a unit must have 1 to {MAX_EXPRESSION} characters")
    spelled = re.sub(r"\s+per\s+", "/", text.translate(_SUPERSCRIPTS))
    spelled = re.sub(r"\b(?:square|sq)\s+([A-Za-z]+)", r"\1^2", spelled)
    spelled = re.sub(r"\b(?:cubic|cu)\s+([A-Za-z]+)", r"\1^3", spelled)
    whole = spelled.replace(" ", "_")
    if whole in _SYMBOLS or whole.lower() in _NAMES:
        return single(whole)
    return _product(spelled, text)


def _product(spelled: str, text: str) -> Unit:
    size, dimension = Fraction(1), [0] * len(BASES)
    position, factors, divide, expect_factor = 0, 0, False, True
    while position < len(spelled):
        token = _TOKEN.match(spelled, position)
        if token is None:
            raise UnitError(f"`{text}` is not a unit: unexpected `{spelled[position:][:20].strip()}`")
        position = token.end()
        sign, word, power, one = token.groups()
        if sign:
            if expect_factor:
                raise UnitError(f"`{text}` is not a unit: `{sign}` without a unit before it")
            divide, expect_factor = sign == "/", True
            continue
        factors += 1
        if factors > MAX_FACTORS:
            raise UnitError(f"a unit may have at most {MAX_FACTORS} factors")
        exponent = int(power or 1) * (-1 if divide else 1)
        if abs(exponent) > MAX_EXPONENT or exponent == 0:
            raise UnitError(f"an exponent must be 1 to {MAX_EXPONENT}, or its negative")
        if word:
            unit = single(word)
            if unit.offset:
                raise UnitError(f"`{word}` has a zero of its own and can't be part of `{text}`; use K for differences")
            size *= unit.size**exponent
            dimension = [total + part * exponent for total, part in zip(dimension, unit.dimension)]
        divide, expect_factor = False, False
    if expect_factor:
        raise UnitError(f"`{text}` ends without a unit")
    return Unit(size, tuple(dimension))


def convert(value: Fraction, source: Unit, target: Unit) -> tuple[Fraction, bool]:
    """The value in the target unit, and whether the units are reciprocal (as litres per distance and distance per
    gallon are).
    """
    in_base = value * source.size + source.offset
    if source.dimension == target.dimension:
        return (in_base - target.offset) / target.size, False
    if any(source.dimension) and source.dimension == tuple(-power for power in target.dimension):
        if in_base == 0:
            raise UnitError("zero has no reciprocal")
        return 1 / in_base / target.size, True
    raise UnitError(f"can't convert {_said(source)} to {_said(target)}: the dimensions differ")


def _said(unit: Unit) -> str:
    name = unit.quantity()
    return f"{name} ({unit.text()})" if name else unit.text()
