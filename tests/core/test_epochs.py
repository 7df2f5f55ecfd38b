"""Whether a run goes on as what it was: told by its parts, refused where it could not be gone on with."""

from __future__ import annotations

import pytest

from mdap.core.epochs import TOOLS, check_tools, is_changed
from mdap.core.errors import FingerprintChanged
from mdap.core.fingerprint import differences
from mdap.core.history import Book, Decided, History, RunHead, Snapshot

BEFORE = {"task": "t", "version": "1", "model": "m", "prompt": "one\ntwo\nthree\nfour"}


def history(*changes: object, steps: int = 5, tools: str = "") -> History:
    """A run of 5 steps whose last ones store these changes; a step without one is left to the task to compute."""
    first = steps - len(changes)
    tail = [
        Decided(first + n, 1, (3,)) if change is None else Decided(first + n, 1, (3,), change=change)
        for n, change in enumerate(changes)
    ]
    head = RunHead("r1", "", "t", "m", "ahead_by_k:3", BEFORE, {}, tools=tools)
    return History(head, Book(steps=steps), Snapshot(first, 0), tail)


def test_a_run_that_is_the_same_goes_on_without_a_word() -> None:
    for accept_changes in (False, True):
        assert not is_changed(history(None), BEFORE, dict(BEFORE), accept_changes=accept_changes)


def test_a_change_is_refused_with_the_difference_and_the_command_that_accepts_it() -> None:
    with pytest.raises(FingerprintChanged) as caught:
        is_changed(history(), BEFORE, BEFORE | {"model": "n"}, accept_changes=False)
    assert "model: m -> n" in caught.value.message
    assert "mdap resume r1 --accept-changes" in caught.value.remedy
    assert "step 5" in caught.value.remedy


def test_a_change_that_is_accepted_begins_an_epoch() -> None:
    assert is_changed(history(None), BEFORE, BEFORE | {"model": "n"}, accept_changes=True)


@pytest.mark.parametrize("part", ["task", "version"])
def test_another_task_cannot_compute_the_states_that_only_the_one_before_could(part: str) -> None:
    now = BEFORE | {part: "2"}
    with pytest.raises(FingerprintChanged, match="steps 2 to 4 is not stored") as caught:
        is_changed(history(None, ["=", 1], None), BEFORE, now, accept_changes=True)
    assert "mdap resume r1 --max-steps 5" in caught.value.remedy
    assert is_changed(history(["=", 1], ["=", 2]), BEFORE, now, accept_changes=True), "all changes are stored"
    assert is_changed(history(), BEFORE, now, accept_changes=True), "nothing came after the snapshot"


@pytest.mark.parametrize("accept_changes", [False, True])
@pytest.mark.parametrize("part", TOOLS)
def test_other_tools_are_never_accepted(part: str, accept_changes: bool) -> None:
    before, now = BEFORE | {part: "clock"}, BEFORE | {part: "clock\nmail"}
    for one, other in ((before, now), (now, before), (BEFORE, now), (now, BEFORE)):
        with pytest.raises(FingerprintChanged, match="other tools") as caught:
            is_changed(history(), one, other, accept_changes=accept_changes)
        assert "mdap resume r1 --tool MODULE:NAME" in caught.value.remedy


def test_the_tools_that_are_missing_are_given_as_they_were_typed() -> None:
    head = history(tools=" --tool mine:clock --allow mine").head
    with pytest.raises(FingerprintChanged) as caught:
        check_tools(head, BEFORE | {"tools": "clock"}, BEFORE)
    assert "mdap resume r1 --tool mine:clock --allow mine" in caught.value.remedy


def test_a_run_that_is_older_than_tools_has_none() -> None:
    check_tools(history().head, BEFORE, BEFORE)


def test_a_difference_names_parts_that_came_and_went_and_shows_a_long_text_around_its_change_alone() -> None:
    now = {"task": "t", "model": "n", "prompt": "one\ntwo\nTHREE\nfour", "flags": "f"}
    assert differences(BEFORE, now).splitlines() == [
        "version: 1 -> (absent)",
        "model: m -> n",
        "prompt:",
        "  --- before",
        "  +++ now",
        "  @@ -2,3 +2,3 @@",
        "   two",
        "  -three",
        "  +THREE",
        "   four",
        "flags: (absent) -> f",
    ]
    assert differences(now, now) == ""
