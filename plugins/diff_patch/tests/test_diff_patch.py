"""diff_patch: golden examples, random texts there and back, merges, patches that do not fit, slow texts."""

from __future__ import annotations

import random
import shutil
import subprocess
import time

import pytest


def test_example(plugin, example):
    plugin.check_example(*example)


def random_text(randomness, alphabet="abcde", longest=30):
    lines = [randomness.choice(alphabet) * randomness.randint(0, 2) for _ in range(randomness.randint(0, longest))]
    return "\n".join(lines) + randomness.choice(["", "\n"])


def edited(randomness, text):
    lines = text.split("\n")
    for _ in range(randomness.randint(0, 5)):
        at = randomness.randint(0, len(lines))
        lines[at : at + randomness.randint(0, 2)] = [randomness.choice("xyz") for _ in range(randomness.randint(0, 2))]
    return "\n".join(lines)


@pytest.mark.parametrize("context_lines", [0, 1, 3])
def test_a_diff_applied_gives_the_new_text_and_undone_the_old(plugin, context_lines):
    randomness = random.Random(context_lines)
    for _ in range(400):
        before = random_text(randomness)
        after = edited(randomness, before) if randomness.random() < 0.8 else random_text(randomness)
        found = plugin.call("unified_diff", {"before": before, "after": after, "context_lines": context_lines})
        assert found["identical"] == (before == after)
        if not found["identical"]:
            patch = {"patch": found["diff"], "fuzz": 0}
            assert plugin.call("apply_patch", {"text": before, **patch})["text"] == after, (before, after)
            assert plugin.call("apply_patch", {"text": after, **patch, "reverse": True})["text"] == before, (
                before,
                after,
            )


def test_diffs_are_shortest_on_small_texts(plugin):
    """Against a plain longest-common-subsequence table. Patience may keep less than the longest, but never on texts
    without moved lines.
    """
    lines = plugin.module("lines")
    randomness = random.Random(5)
    for _ in range(300):
        left = [randomness.choice("ab") for _ in range(randomness.randint(0, 9))]
        right = [randomness.choice("ab") for _ in range(randomness.randint(0, 9))]
        table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
        for i, a in enumerate(left):
            for j, b in enumerate(right):
                table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
        blocks = lines.matching_blocks(left, right)
        assert blocks[-1] == (len(left), len(right), 0)
        assert all(left[i : i + n] == right[j : j + n] for i, j, n in blocks)
        assert all(a[0] + a[2] <= b[0] and a[1] + a[2] <= b[1] for a, b in zip(blocks, blocks[1:]))
        kept = sum(n for _, _, n in blocks)
        if not lines._anchors([ord(c) for c in left], [ord(c) for c in right], 0, len(left), 0, len(right)):
            assert kept == table[-1][-1], (left, right)
        assert kept <= table[-1][-1]


def test_git_takes_our_diffs(plugin, tmp_path):
    """A stranger reads what we write, where there is one."""
    git = shutil.which("git")
    assert git, "git is needed to check the format against another implementation"
    before, after = "a\nb\nc\n" * 20, "a\nb\nc\n" * 10 + "new\n" + "a\nb\nc\n" * 9 + "a\nend"
    diff = plugin.call("unified_diff", {"before": before, "after": after, "before_name": "a/f", "after_name": "b/f"})[
        "diff"
    ]
    (tmp_path / "f").write_text(before)
    (tmp_path / "p").write_text(diff)
    subprocess.run([git, "apply", "p"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "f").read_text() == after


def test_missing_newlines_and_carriage_returns_survive(plugin):
    for before, after in (
        ("a\nb", "a\nb\n"),
        ("a\r\nb\r\n", "a\r\nc\r\n"),
        ("", "x"),
        ("x", ""),
        ("\u2028\x0b\n", "\u2028\x0c\n"),
    ):
        diff = plugin.call("unified_diff", {"before": before, "after": after})["diff"]
        assert plugin.call("apply_patch", {"text": before, "patch": diff})["text"] == after


def test_hunks_find_moved_places_and_tolerate_changed_context(plugin):
    text = "".join(f"line {number}\n" for number in range(40))
    diff = plugin.call(
        "unified_diff", {"before": text, "after": text.replace("line 20\n", "twenty\n").replace("line 35\n", "")}
    )["diff"]
    moved = "new\n" * 7 + text.replace("line 18\n", "changed\n")
    found = plugin.call("apply_patch", {"text": moved, "patch": diff})
    assert found["text"] == moved.replace("line 20\n", "twenty\n").replace("line 35\n", "")
    assert [(hunk["offset"], hunk["fuzz"]) for hunk in found["hunks"]] == [(7, 2), (7, 0)]


def test_a_patch_that_does_not_fit_changes_nothing_and_says_why(plugin, failed):
    patch = "@@ -1,2 +1,2 @@\n one\n-two\n+2\n@@ -9 +9 @@\n-nine\n+9\n"
    with pytest.raises(
        failed, match="hunk 2 of 2 does not fit: line 9 is expected to be `nine`, found `the end of the text`"
    ):
        plugin.call("apply_patch", {"text": "one\ntwo\n", "patch": patch})


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ("", "no hunk"),
        ("hello\n", "no hunk"),
        ("@@ nonsense @@\n", "not a hunk header"),
        ("@@ -1,5 +1,5 @@\n a\n", "ends inside a hunk"),
        ("@@ -1 +1 @@\n-a\n-b\n+c\n", "does not fit its hunk's header"),
        ("@@ -1 +1 @@\n*a\n", "does not fit its hunk's header"),
        ("@@ -999999999,999999999 +1 @@\n", "ends inside"),
        ("--- a\n+++ b\n@@ -1 +1 @@\n-a\n+b\n--- c\n+++ d\n@@ -1 +1 @@\n-a\n+b\n", "2 files"),
        ("@@ -99,0 +100 @@\n+x\n", "does not fit"),
    ],
)
def test_unreadable_patches_get_a_message(plugin, failed, patch, words):
    with pytest.raises(failed, match=words):
        plugin.call("apply_patch", {"text": "a\n", "patch": patch})


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged", "conflicts"),
    [
        ("a\nb\nc\n", "a\nB\nc\n", "a\nB\nc\n", "a\nB\nc\n", 0),
        ("a\nb\nc\n", "a\nc\n", "a\nb\nc\nd\n", "a\nc\nd\n", 0),
        ("", "x\n", "", "x\n", 0),
        ("a\n", "", "a\n", "", 0),
        ("a\nb\nc\nd\ne\n", "a\nX\nc\nd\ne\n", "a\nb\nc\nY\ne\n", "a\nX\nc\nY\ne\n", 0),
        ("a\n", "b", "c", "<<<<<<< ours\nb\n=======\nc\n>>>>>>> theirs\n", 1),
    ],
)
def test_merges(plugin, base, ours, theirs, merged, conflicts):
    found = plugin.call("merge_texts", {"base": base, "ours": ours, "theirs": theirs})
    assert found == {"text": merged, "clean": conflicts == 0, "conflicts": conflicts}


def test_merge_styles_and_preferences(plugin):
    args = {"base": "1\nb\n2\n", "ours": "1\no\n2\n", "theirs": "1\nt\n2\n"}
    assert "||||||| base\nb\n=======" in plugin.call("merge_texts", {**args, "style": "diff3"})["text"]
    texts = [plugin.call("merge_texts", {**args, "prefer": prefer})["text"] for prefer in ("ours", "theirs", "union")]
    assert texts == ["1\no\n2\n", "1\nt\n2\n", "1\no\nt\n2\n"]


def test_merging_with_an_unchanged_side_gives_the_other(plugin):
    randomness = random.Random(11)
    for _ in range(300):
        base = random_text(randomness)
        side = edited(randomness, base)
        for ours, theirs in ((base, side), (side, base), (side, side)):
            found = plugin.call("merge_texts", {"base": base, "ours": ours, "theirs": theirs})
            assert found == {"text": side, "clean": True, "conflicts": 0}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\n" * 50_000, "a\n" * 49_999 + "b\n"),
        ("a\nb\n" * 25_000, "b\nc\n" * 25_000),
        ("a\n" * 25_000 + "b\n" * 25_000, "b\n" * 25_000 + "a\n" * 25_000),
        ("".join(f"{n}\n" for n in range(50_000)), "".join(f"{n}\n" for n in reversed(range(50_000)))),
        (
            "".join(f"{n * 7919 % 50021}\n" for n in range(50_000)),
            "".join(f"{n * 104729 % 50021}\n" for n in range(50_000)),
        ),
        ("".join(f"{n % 97}\n" for n in range(50_000)), "".join(f"{n % 89}\n" for n in range(50_000))),
        ("\n" * 50_000, ""),
    ],
    ids=range(7),
)
def test_hostile_texts_stay_within_the_work_allowed(plugin, before, after):
    started = time.process_time()
    found = plugin.call("unified_diff", {"before": before, "after": after})
    assert plugin.call("apply_patch", {"text": before, "patch": found["diff"], "fuzz": 0})["text"] == after
    plugin.call("merge_texts", {"base": before, "ours": after, "theirs": after[: len(after) // 2]})
    assert time.process_time() - started < 20


def test_a_patch_made_to_search_long_ends(plugin, failed):
    hunk = "@@ -1,20001 +1 @@\n" + "-a\n" * 20_000 + "-b\n+c\n"
    started = time.process_time()
    with pytest.raises(failed, match="does not fit"):
        plugin.call("apply_patch", {"text": "a\n" * 50_000, "patch": hunk})
    assert time.process_time() - started < 10


def test_sizes_are_bounded_by_schema_and_by_code(plugin, refused, failed):
    with pytest.raises(refused):
        plugin.call("unified_diff", {"before": "x" * 1_000_001, "after": ""})
    with pytest.raises(failed, match="1000001 characters"):
        plugin.call_unchecked("unified_diff", {"before": "x" * 1_000_001, "after": ""})
    with pytest.raises(failed, match="50001 lines"):
        plugin.call("unified_diff", {"before": "\n" * 50_001, "after": ""})
    with pytest.raises(failed, match="over 5000 hunks"):
        plugin.call("apply_patch", {"text": "a", "patch": "@@ -1 +1 @@\n-a\n+b\n" * 5_001})
    for tool, args in (
        ("unified_diff", {"before": 1, "after": ""}),
        ("unified_diff", {"before": "", "after": "", "context_lines": 10**9}),
        ("unified_diff", {"before": "", "after": "x", "before_name": "a\nb"}),
        ("merge_texts", {"base": "", "ours": "", "theirs": "", "prefer": "mine"}),
    ):
        with pytest.raises(failed, match="must be"):
            plugin.call_unchecked(tool, args)
