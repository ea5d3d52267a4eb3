"""Tests of the tools and of the contract, without a container: `python3 -m unittest`."""

from __future__ import annotations

import unittest

import server
import tool


class Tools(unittest.TestCase):
    """What the tools return."""

    def test_counts(self) -> None:
        """Two words on one line."""
        self.assertEqual(tool.count_words({"text": "two words"}, {}), {"words": 2, "lines": 1, "characters": 9})

    def test_contract(self) -> None:
        """A call that works, and one that does not."""
        call = {"inputs": {"text": {"value": "a b c", "args": {}}}, "context": {"tool": "count_words"}}
        self.assertEqual(server.execute(call)["outputs"]["words"], 3)
        failed = server.execute({"inputs": {}, "context": {"tool": "count_words"}})
        self.assertFalse(failed["success"])
        self.assertIn("KeyError", failed["error"])


if __name__ == "__main__":
    unittest.main()
