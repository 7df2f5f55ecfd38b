"""Rankings as replies: some or all of the options, one a line, best first; all else is flagged and never repaired."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.errors import RedFlag, UsageError
from mdap.core.formats import Format, ranking

OPTIONS = ["red", "green", "dark blue"]


@pytest.fixture(scope="module")
def form() -> Format:
    return ranking(OPTIONS)


def ranked(form: Format, reply: str) -> list[str]:
    assert form.rank is not None
    return form.rank(reply)


@given(st.permutations(OPTIONS), st.integers(1, 3), st.sampled_from(["\n", "\r\n", "  \n\t"]))
def test_the_order_of_the_lines_is_the_ranking_and_its_first_the_answer(order: list[str], count: int, end: str) -> None:
    form, best = ranking(OPTIONS), order[:count]
    assert ranked(form, end.join(best)) == best
    assert form.read(end.join(best)) == best[0]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ("", "nothing is ranked"),
        ("  \n ", "nothing is ranked"),
        ("red\nyellow", "^yellow is none of red, green, dark blue"),
        ("Red", "^Red is none of"),
        ("1. red\n2. green", r"^1\. red is none of"),
        ("red, green", "^red, green is none of"),
        ("red\n\ngreen", "^ is none of"),
        ("red\ngreen\nred", "^red is ranked twice"),
        ("The best is red", "is none of"),
        ('["red", "green"]', "is none of"),
    ],
)
def test_what_is_no_ranking_is_flagged_by_what_is_wrong_with_it(form: Format, reply: str, says: str) -> None:
    for read in (form.read, form.rank):
        assert read is not None
        with pytest.raises(RedFlag, match=says) as caught:
            read(reply)
        assert caught.value.name == "malformed"


def test_one_fence_around_the_ranking_is_part_of_its_grammar_and_words_beside_it_are_not(form: Format) -> None:
    assert ranked(form, "```\ngreen\nred\n```") == ["green", "red"]
    with pytest.raises(RedFlag, match="is none of"):
        ranked(form, "Here it is:\n```\ngreen\nred\n```")


def test_a_prompt_names_every_option_and_says_that_some_may_be_left_out(form: Format) -> None:
    for option in OPTIONS:
        assert f"\n{option}" in form.instruction
    assert "leave out" in form.instruction
    assert form.spec == {"format": "ranking", "options": OPTIONS}
    assert form.name == "ranking"


@pytest.mark.parametrize("options", [[], ["a"], ["a", "a"], ["a", ""], ["a", "b\nc"]])
def test_options_that_cannot_be_ranked_are_refused(options: list[str]) -> None:
    with pytest.raises(UsageError):
        ranking(options)
