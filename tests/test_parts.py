"""What a run is put together of: several models as one, settings that are unknown, rules that a task cannot feed."""

from __future__ import annotations

from typing import Any

import pytest

import mdap
from mdap.core.errors import UsageError
from mdap.core.rules import rule
from mdap.parts import DEFAULT_K, changed_settings, choose_rule, with_k
from mdap.tasks.question import question
from mdap.voted import vote


def yes(prompt: str) -> str:
    return "yes"


def test_models_that_are_mixed_are_all_specs_or_all_objects() -> None:
    for mixed in ({"mix": ["simulated:p=1"]}, {"fallback": ["simulated:p=1"]}):
        with pytest.raises(UsageError, match="both by spec and as objects") as refused:
            mdap.run("hanoi:disks=2", yes, k=1, **mixed)  # type: ignore[arg-type]
        assert "one way" in refused.value.remedy


def test_objects_that_are_mixed_vote_in_turn() -> None:
    asked: list[str] = []

    def named(name: str) -> Any:
        def _model(prompt: str) -> str:
            asked.append(name)
            return "yes"

        return _model

    result = mdap.run(question("Sure?"), named("first"), mix=[named("second")], k=4)
    assert (result.status, sorted(asked)) == ("done", ["first", "first", "second", "second"])


@pytest.mark.parametrize("name", ["max_sample", "temprature", "k3"])
def test_an_option_that_is_none_is_named_with_the_one_that_was_meant(name: str) -> None:
    with pytest.raises(UsageError, match=f"unknown option '{name}'"):
        mdap.run("hanoi:disks=2", "simulated:p=1", k=1, **{name: 1})  # type: ignore[arg-type]


def test_a_resume_changes_caps_and_nothing_that_votes_rest_on() -> None:
    assert changed_settings({"max_samples": 3}) == {"max_samples": 3}
    with pytest.raises(UsageError, match="seed cannot change at a resume") as refused:
        changed_settings({"max_samples": 3, "temperature": 0.2, "seed": 1})
    assert "max_samples" in refused.value.remedy


@pytest.mark.parametrize(
    ("spec", "larger"), [("ahead_by_k:3", "ahead_by_k:4"), ("first_to_k:2", "first_to_k:4"), ("gate:1", "gate:4")]
)
def test_a_rule_keeps_all_but_its_k(spec: str, larger: str) -> None:
    assert with_k(rule(spec), 4).spec == larger


def test_a_rule_without_a_k_cannot_be_given_one() -> None:
    with pytest.raises(UsageError, match="no k to be set") as refused:
        with_k(rule("posterior:0.95"), 4)
    assert "override the step" in refused.value.remedy


def test_a_k_and_a_rule_are_two_answers_to_one_question() -> None:
    with pytest.raises(UsageError, match="both"):
        choose_rule(3, "ahead_by_k:3")
    assert choose_rule(None, None).k == DEFAULT_K
    assert choose_rule(5, None).spec == "ahead_by_k:5"


@pytest.mark.parametrize(("spec", "why"), [("cisc:5", "weighs votes"), ("borda:5", "reads rankings")])
def test_a_rule_is_refused_where_votes_bring_nothing_that_it_counts(spec: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        mdap.run("hanoi:disks=2", "simulated:p=1", rule=spec)
    with pytest.raises(UsageError, match=why):
        mdap.vote(lambda: "a", rule=spec)


@pytest.mark.parametrize(
    ("model", "source", "remedy"),
    [
        ("simulated:p=0.9", "logprobs", "simulated:p=0.9,auc=0.8, or --confidence text"),
        ("simulated:p=0.9", "ask", "simulated:p=0.9,auc=0.8, or --confidence text"),
    ],
)
def test_a_model_that_does_not_say_how_sure_it_is_is_told_how_it_would(model: str, source: str, remedy: str) -> None:
    with pytest.raises(UsageError, match="does not say how sure it is") as refused:
        mdap.run("hanoi:disks=2", model, rule="cisc:5", confidence=source)
    assert remedy in refused.value.remedy


async def test_values_that_say_how_sure_they_are_are_weighed() -> None:
    values = iter([("a", 0.1), ("b", 0.9), ("b", 0.9), ("a", 0.1), ("a", 0.1)])

    async def _sample() -> tuple[str, float]:
        return next(values)

    outcome = await vote(_sample, rule="cisc:5", key=lambda value: value[0], confidence=lambda value: float(value[1]))
    assert outcome.winner == ("b", 0.9), "two sure votes weigh more than three unsure ones"
    assert {value[0]: votes for value, votes in outcome.counts} == {"a": 3, "b": 2}
