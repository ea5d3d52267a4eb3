"""Reckons an expression: a walk over its syntax tree, with numbers, names and a few functions, and nothing else. No
code is run.

Whole numbers stay exact; every size is bounded before it is reached.
"""

from __future__ import annotations

import ast
import math
import operator
from typing import Callable, Mapping, Union

Number = Union[int, float]

MAX_EXPRESSION = 1_000
MAX_NODES = 400
MAX_DEPTH = 60
MAX_BITS = 10_000
MAX_FACTORIAL = 800

CONSTANTS: dict[str, Number] = {"pi": math.pi, "e": math.e, "tau": math.tau}


class Unfit(ValueError):
    """What the caller can mend; the message is safe to show."""


def _power(base: Number, exponent: Number) -> Number:
    """Refused before it is reckoned: `9**9**9` would take all memory and for ever."""
    if (
        isinstance(base, int)
        and isinstance(exponent, int)
        and abs(base) > 1
        and abs(exponent) * base.bit_length() > MAX_BITS
    ):
        raise Unfit(f"the power is too large: over {MAX_BITS} bits")
    result = base**exponent
    if isinstance(result, complex):
        raise Unfit("the root of a negative number is not real")
    return result


def _divide(left: Number, right: Number) -> Number:
    """Whole where it comes out even."""
    if isinstance(left, int) and isinstance(right, int) and right and left % right == 0:
        return left // right
    return left / right


def _whole(value: Number, name: str, most: int | None = None) -> int:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if not isinstance(value, int) or value < 0 or (most is not None and value > most):
        raise Unfit(f"`{name}` takes whole numbers from 0" + ("" if most is None else f" to {most}"))
    return value


def _root(value: Number) -> Number:
    """The exact root of a square, however large."""
    if isinstance(value, int) and value >= 0 and math.isqrt(value) ** 2 == value:
        return math.isqrt(value)
    return math.sqrt(value)


def _rounded(value: Number, digits: Number = 0) -> Number:
    places = int(digits)
    if places != digits or not -300 <= places <= 300:
        raise Unfit("`round` takes a whole number of digits between -300 and 300")
    return round(value, places) if places else round(value)


_OPERATORS: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divide,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}

# Name: least and greatest number of arguments, and the function.
FUNCTIONS: dict[str, tuple[int, int, Callable[..., Number]]] = {
    "abs": (1, 1, abs),
    "sqrt": (1, 1, _root),
    "exp": (1, 1, math.exp),
    "ln": (1, 1, math.log),
    "log": (1, 2, math.log),
    "log10": (1, 1, math.log10),
    "log2": (1, 1, math.log2),
    "sin": (1, 1, math.sin),
    "cos": (1, 1, math.cos),
    "tan": (1, 1, math.tan),
    "asin": (1, 1, math.asin),
    "acos": (1, 1, math.acos),
    "atan": (1, 1, math.atan),
    "atan2": (2, 2, math.atan2),
    "degrees": (1, 1, math.degrees),
    "radians": (1, 1, math.radians),
    "hypot": (2, 2, math.hypot),
    "floor": (1, 1, math.floor),
    "ceil": (1, 1, math.ceil),
    "round": (1, 2, _rounded),
    "min": (1, 50, lambda *values: min(values)),
    "max": (1, 50, lambda *values: max(values)),
    "sum": (1, 50, lambda *values: sum(values)),
    "mean": (1, 50, lambda *values: _divide(sum(values), len(values))),
    "gcd": (2, 2, lambda a, b: math.gcd(_whole(a, "gcd"), _whole(b, "gcd"))),
    "factorial": (1, 1, lambda n: math.factorial(_whole(n, "factorial", MAX_FACTORIAL))),
    "comb": (2, 2, lambda n, k: math.comb(_whole(n, "comb", 2_000), _whole(k, "comb", 2_000))),
    "perm": (2, 2, lambda n, k: math.perm(_whole(n, "perm", MAX_FACTORIAL), _whole(k, "perm", MAX_FACTORIAL))),
}


def reckon(expression: object, names: Mapping[str, Number]) -> Number:
    """The value of the expression; names come from the session's memory."""
    if not isinstance(expression, str) or not expression.strip() or len(expression) > MAX_EXPRESSION:
        raise Unfit(f"`expression` must have 1 to {MAX_EXPRESSION} characters")
    text = expression.strip().replace("^", "**").replace("×", "*").replace("÷", "/").replace("−", "-")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        place = f" at character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        raise Unfit(f"the expression can't be read{place}") from None
    if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
        raise Unfit(f"the expression has over {MAX_NODES} parts")
    try:
        return _checked(_value(tree.body, {**CONSTANTS, **names}, 0))
    except ZeroDivisionError:
        raise Unfit("division by zero") from None
    except OverflowError:
        raise Unfit("the result is too large") from None
    except Unfit:
        raise
    except (ValueError, TypeError):
        raise Unfit("a function was given a value outside its domain") from None


def _checked(value: Number) -> Number:
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise Unfit(f"a whole number has over {MAX_BITS} bits")
    elif not math.isfinite(value):
        raise Unfit("the result is too large")
    return value


def _value(node: ast.expr, names: Mapping[str, Number], depth: int) -> Number:
    if depth > MAX_DEPTH:
        raise Unfit(f"the expression is nested over {MAX_DEPTH} deep")
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return _checked(node.value)
    if isinstance(node, ast.Name):
        if node.id not in names:
            raise Unfit(f"`{node.id[:64]}` is not known; remembered numbers, `ans`, pi, e and tau are")
        return names[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.UAdd, ast.USub)):
        operand = _value(node.operand, names, depth + 1)
        return -operand if isinstance(node.op, ast.USub) else operand
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left, names, depth + 1), _value(node.right, names, depth + 1)
        return _checked(_OPERATORS[type(node.op)](left, right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _called(node.func.id, [_value(argument, names, depth + 1) for argument in node.args])
    raise Unfit(f"only numbers, names, + - * / // % ** and functions are allowed, found {type(node).__name__}")


def _called(name: str, values: list[Number]) -> Number:
    if name not in FUNCTIONS:
        raise Unfit(f"function `{name[:64]}` is not known, expected one of {', '.join(FUNCTIONS)}")
    least, most, function = FUNCTIONS[name]
    if not least <= len(values) <= most:
        raise Unfit(f"`{name}` takes {least if least == most else f'{least} to {most}'} values, found {len(values)}")
    return _checked(function(*values))
