"""Which cap of samples a step has: what the user gives, else what suits the rule, else 200."""

from __future__ import annotations

from typing import Any

import pytest

import mdap
from mdap.journal import open_journal
from mdap.models.simulated import simulated


def cap_of(**options: Any) -> Any:
    return mdap.run("hanoi:disks=2", simulated(p=1.0), **options).head.settings["max_samples"]


@pytest.mark.parametrize(
    ("options", "cap"),
    [
        ({}, 200),
        ({"k": 5}, 200),
        ({"rule": "majority:5"}, 200),
        ({"rule": "posterior:0.95"}, 4000),
        ({"rule": "posterior:0.95,cap=300"}, 300),
        ({"rule": "posterior:0.95", "max_samples": 50}, 50),
        ({"rule": "posterior:0.95", "max_samples": 9000}, 9000),
    ],
)
def test_a_run_has_the_cap_of_its_rule_where_none_is_given(options: dict[str, Any], cap: int) -> None:
    assert cap_of(**options) == cap


def test_a_hard_step_is_asked_past_200_samples_by_a_rule_that_needs_them_and_not_where_the_user_lowers_it() -> None:
    model = simulated(p=0.55, seed=2)
    result = mdap.run("hanoi:disks=1", model, rule="posterior:0.99,steps=100000")
    assert (result.status, result.samples > 200) == ("done", True)
    lowered = mdap.run("hanoi:disks=1", model, rule="posterior:0.99,steps=100000", max_samples=100)
    assert (lowered.status, lowered.samples) == ("undecided", 100)


def test_a_map_a_question_and_a_plain_vote_have_it_too() -> None:
    journal = open_journal(None)
    mdap.map(lambda disks: mdap.tasks.hanoi(disks=disks), [2], simulated(p=1.0), rule="posterior", journal=journal)
    mdap.ask("Is it so?", lambda prompt: "yes", rule="posterior", journal=journal)
    assert [head.settings["max_samples"] for head in journal.heads()] == [4000, 4000]
    answers = iter(["a", "b"] * 150 + ["a"] * 200)
    voted = mdap.vote(lambda: next(answers), rule="posterior:0.95,steps=100")
    assert voted.decided
    assert voted.samples > 200


def test_a_resume_keeps_it_unless_another_is_given() -> None:
    journal = open_journal(None)
    first = mdap.run("hanoi:disks=3", "simulated:p=1", rule="posterior", journal=journal, budget_calls=30)
    resumed = mdap.resume(first.run, journal=journal, budget_calls=None)
    assert resumed.book.settings["max_samples"] == 4000
