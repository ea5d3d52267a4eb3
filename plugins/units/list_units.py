"""The tool `list_units`, a script: one JSON object on stdin, one on stdout."""

import json
import sys

from unit_table import BINARY_PREFIXES, PREFIXES, QUANTITIES, UNITS


def answer(args: dict) -> dict:
    """The quantities, or the units of one."""
    quantity = args.get("quantity")
    if quantity is None:
        return {"quantities": list(QUANTITIES)}
    if quantity not in QUANTITIES:
        return {
            "success": False,
            "error": f"quantity `{str(quantity)[:40]}` is not known, expected one of {', '.join(QUANTITIES)}",
        }
    listed = [
        {"symbol": symbol, "names": names.split(), "prefixes": prefixed}
        for symbol, names, kind, _, prefixed in UNITS
        if kind == quantity
    ]
    known = {**PREFIXES, **(BINARY_PREFIXES if quantity == "information" else {})}
    return {
        "quantity": quantity,
        "units": listed,
        "prefixes": list(known) if any(unit["prefixes"] for unit in listed) else [],
    }


if __name__ == "__main__":
    print(json.dumps(answer(json.load(sys.stdin)), ensure_ascii=False))
