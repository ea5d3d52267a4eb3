"""The tool `convert_units`, a script: one JSON object on stdin, one on stdout."""

import json
import math
import sys
from fractions import Fraction

from expressions import UnitError, convert, parse

MAX_MAGNITUDE = 1e200


def number(value: object) -> Fraction:
    """The decimal as written: 0.1 is one tenth, not the nearest binary fraction."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UnitError("`value` must be a number")
    # Compared before anything is built from it: an integer of a million digits compares at once.
    if not -MAX_MAGNITUDE <= value <= MAX_MAGNITUDE:
        raise UnitError(f"`value` must lie between -{MAX_MAGNITUDE:g} and {MAX_MAGNITUDE:g}")
    return Fraction(repr(value)) if isinstance(value, float) else Fraction(value)


def rounded(value: Fraction, digits: int) -> "float | int":
    """To so many significant digits; whole results stay integers as long as they are exact."""
    try:
        result = float(value)
    except OverflowError:
        raise UnitError("the result is too large") from None
    if value and (result == 0 or math.isinf(result)):
        raise UnitError("the result is too small" if result == 0 else "the result is too large")
    result = float(f"{result:.{digits - 1}e}")
    return int(result) if result.is_integer() and abs(result) < 1e15 else result


def answer(args: dict) -> dict:
    """The converted value, with the factor that was used where there is one."""
    digits = args.get("digits", 10)
    if isinstance(digits, bool) or not isinstance(digits, int) or not 1 <= digits <= 15:
        raise UnitError("`digits` must be 1 to 15")
    value = number(args.get("value"))
    source, target = parse(args.get("from_unit")), parse(args.get("to_unit"))
    result, reciprocal = convert(value, source, target)
    shown = {
        "value": rounded(result, digits),
        "unit": args["to_unit"].strip(),
        "quantity": source.quantity() or source.text(),
    }
    if reciprocal:
        shown["note"] = "the units are reciprocal: the value was inverted"
    elif not (source.offset or target.offset):
        shown["factor"] = rounded(source.size / target.size, 15)
    return shown


def main() -> None:
    """Reads, converts, prints; a failure is printed as one."""
    try:
        result = answer(json.load(sys.stdin))
    except UnitError as error:
        result = {"success": False, "error": str(error)}
    print(json.dumps(result, ensure_ascii=False, allow_nan=False))


if __name__ == "__main__":
    main()
