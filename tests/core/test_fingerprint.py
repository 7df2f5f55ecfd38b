"""Readable differences between two runs' fingerprints."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mdap.core.fingerprint import differences

PARTS = st.dictionaries(st.sampled_from(["task", "prompt", "model", "rule"]), st.text("ab\n", max_size=8))


def test_equal_fingerprints_have_no_differences() -> None:
    assert differences({"task": "a", "rule": "b"}, {"rule": "b", "task": "a"}) == ""


def test_a_short_part_is_shown_as_old_and_new() -> None:
    assert differences({"rule": "ahead_by_k:3"}, {"rule": "ahead_by_k:4"}) == "rule: ahead_by_k:3 -> ahead_by_k:4"


def test_a_long_text_is_shown_as_the_lines_that_changed() -> None:
    before, after = "one\ntwo\nthree\nfour\nfive\nsix", "one\ntwo\nthree\nfour\n5\nsix"
    shown = differences({"prompt": before}, {"prompt": after})
    assert shown.startswith("prompt:\n")
    assert "  -five\n  +5" in shown
    assert "two" not in shown


def test_a_part_that_only_one_side_has_is_absent_on_the_other() -> None:
    assert differences({"a": "1"}, {}) == "a: 1 -> (absent)"
    assert differences({}, {"b": "2"}) == "b: (absent) -> 2"


@given(PARTS, PARTS)
def test_there_is_a_difference_exactly_when_the_fingerprints_differ(old: dict[str, str], new: dict[str, str]) -> None:
    assert bool(differences(old, new)) == (old != new)
