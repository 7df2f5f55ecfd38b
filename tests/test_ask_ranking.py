"""Answers that are ranked, and answers that are weighed: one question through the rules that read more than a count."""

from __future__ import annotations

import math
from typing import Any

import pytest

import mdap
from mdap.core import formats
from mdap.core.errors import RedFlag, UsageError
from mdap.core.records import Request, Response, Usage
from mdap.journal import open_journal

DRINKS = ("tea", "coffee", "water")
BALLOTS = ("tea\nwater\ncoffee", "tea\nwater\ncoffee", "coffee\nwater\ntea", "coffee\nwater\ntea", "water\ntea\ncoffee")


def says(*replies: str) -> Any:
    return lambda request: Response(replies[request.draw.slot % len(replies)])


def by_slot(*replies: tuple[str, float]) -> Any:
    def model(request: Request) -> Response:
        text, share = replies[request.draw.slot % len(replies)]
        return Response(text, "stop", Usage(5, 1), logprob=math.log(share))

    return model


class Replies:
    """A model of requests, so that its slot is known."""

    spec = "replies"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def complete(self, request: Request) -> Response:
        reply: Response = self.answer(request)
        return reply


def test_a_ranking_is_some_of_the_words_each_once_and_the_answer_is_the_first() -> None:
    form = formats.ranking(DRINKS)
    assert form.rank is not None
    assert form.rank("```\nwater\n tea\n```") == ["water", "tea"]
    assert form.read("water\ntea") == "water"
    for reply, says_why in (
        ("milk\ntea", "milk is none of"),
        ("tea\ntea", "tea is ranked twice"),
        ("", "nothing is ranked"),
    ):
        with pytest.raises(RedFlag, match=says_why):
            form.read(reply)
    with pytest.raises(UsageError, match="leaves no choice"):
        formats.ranking(["tea"])


@pytest.mark.parametrize(("rule", "wins"), [("borda:5", "water"), ("irv:5", "tea"), ("majority:4", None)])
def test_one_question_by_rankings(rule: str, wins: str | None) -> None:
    answer = mdap.ask("Which?", Replies(says(*BALLOTS)), format=formats.ranking(DRINKS), rule=rule, max_samples=5)
    assert (answer.value if answer.decided else None) == wins
    if wins is not None:
        assert answer.counts[0][0] == wins
        assert answer.text.startswith(wins)


def test_a_question_with_a_ranking_is_restored_from_its_journal() -> None:
    journal = open_journal(None)
    asked: dict[str, Any] = {"format": formats.ranking(DRINKS), "rule": "borda:5"}
    first = mdap.ask("Which?", Replies(says(*BALLOTS)), max_samples=3, journal=journal, **asked)
    assert not first.decided
    result = mdap.resume(first.run, journal=journal, model=Replies(says(*BALLOTS)), max_samples=5)
    assert result.state == {"answer": "water"}


def test_a_rule_that_ranks_is_refused_for_answers_that_are_no_rankings() -> None:
    with pytest.raises(UsageError, match="the replies of Question hold none") as error:
        mdap.ask("Which?", Replies(says("tea")), rule="borda:5")
    assert "mdap ask --ranking" in error.value.remedy


def test_an_answer_that_is_surer_wins_over_one_that_is_commoner_and_stands_first() -> None:
    sure = by_slot(("tea", 0.55), ("water", 0.97), ("tea", 0.55))
    answer = mdap.ask("Which?", Replies(sure), rule="log_odds:0.9,steps=1", confidence="logprobs", one_of=DRINKS)
    assert answer.decided
    assert (answer.value, answer.counts[0][0], answer.text) == ("water", "water", "water")
