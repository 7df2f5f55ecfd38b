"""Red flags that read the words of a reply, and the presets by name: what each discards, and what it never does."""

from __future__ import annotations

import pytest

import mdap
from mdap.core.errors import UsageError
from mdap.core.records import Draw, Prompt, Request, Response, Usage
from mdap.core.redflags import (
    Flag,
    describe,
    empty_lines,
    first_flag,
    phrases,
    preset,
    red_flags,
    too_short,
)

REQUEST = Request(Prompt((), ""), Draw(0, 0), seed=1, temperature=0.1, max_tokens=750)


def flagged(text: str, name: str, role: str = "", usage: Usage | None = None) -> str:
    """The name that a reply is discarded under by a preset, or nothing."""
    flags = red_flags(replace=preset(name, role=role))
    found = first_flag(flags, Response(text, usage=usage), REQUEST)
    return "" if found is None else found[0]


def speaks(flag: Flag, text: str) -> bool:
    return flag(Response(text), REQUEST) is not None


@pytest.mark.parametrize(
    "text",
    [
        "Wait, maybe the stacks are the other way round.",
        "LET ME RECONSIDER",
        "on  second\nthought: 7",
        "That\u2019s not right. It is 8.",
        "Actually, I think I see it now.",
        "Hmm. Wait. It is actually 4.",
    ],
)
def test_phrases_of_a_lost_thread_are_flagged_in_any_case(text: str) -> None:
    assert speaks(phrases(), text)


@pytest.mark.parametrize(
    "text",
    [
        "The waiter said so; factually it is a hammock, hmmm.",
        "Actually, 7.",
        "Hmm. Wait. 7",
        'He cried "wait, maybe not" and left.',
        "```\n# on second thought\nx = 1\n```",
        '{"title": "On Second Thought"}',
        "Actually 7, actually 7 and actually 7",
    ],
)
def test_parts_of_words_quotes_and_single_light_phrases_are_not(text: str) -> None:
    assert not speaks(phrases(), text)


def test_repetition_weighs_with_the_phrases_and_alone_never_flags() -> None:
    again = "It is seven. It is seven. It is seven. It is seven. "
    assert not speaks(phrases(), again)
    assert speaks(phrases(), again + "Actually it is.")
    assert not speaks(phrases(repetition=0), again + "Actually it is.")
    assert speaks(phrases({"seven": 0.5}), again)


def test_weights_that_never_speak_are_refused() -> None:
    for weights, at in (({}, 1.0), ({"a": 0.0}, 1.0), ({"a": 1.0}, 0.0)):
        with pytest.raises(UsageError, match="never speak"):
            phrases(weights, at=at)
    with pytest.raises(UsageError, match="a phrase is empty"):
        phrases({" ": 1.0})


def test_the_reason_names_the_phrases_and_their_weight() -> None:
    assert (
        phrases()(Response("Hmm, wait: actually no"), REQUEST) == "'actually', 'wait', 'hmm' weigh 1.1, 1 is too much"
    )


def test_a_planning_reply_has_a_hundred_characters_but_a_bare_end_is_long_enough() -> None:
    assert flagged("x" * 99, "strict", "planning") == "too_short"
    assert flagged("x" * 100, "strict", "planning") == ""
    assert flagged(" End\n", "strict", "planning") == ""
    assert flagged("end", "strict", "planning") == "too_short"
    assert flagged("Y", "strict", "voting") == "too_short"
    assert flagged("No", "strict", "voting") == ""
    assert flagged("7", "strict") == ""


def test_too_many_empty_lines_are_flagged_each_preset_by_its_own_share() -> None:
    two_thirds = "a\n\n\n\nb\n\n\nc"
    assert flagged(two_thirds, "strict") == "empty_lines"
    assert flagged(two_thirds, "relaxed") == ""
    assert flagged("a\n\n\n\n\n\n\n\n\n\nb", "relaxed") == "empty_lines"
    assert flagged("a\n\nb", "strict") == ""
    with pytest.raises(UsageError, match="share of empty lines"):
        empty_lines(1.0)


def test_each_preset_has_its_own_length() -> None:
    for name, most in (("strict", 700), ("relaxed", 1500)):
        assert flagged("7", name, usage=Usage(1, most)) == ""
        assert flagged("7", name, usage=Usage(1, most + 1)) == "too_long"
    assert flagged("7", "paper", usage=Usage(1, 5000)) == ""


def test_the_paper_is_the_default_and_no_preset_lets_a_cut_reply_pass() -> None:
    assert describe(red_flags()) == describe(red_flags(replace="paper")) == "truncated,refused,empty,repeated"
    for name in ("paper", "strict", "relaxed"):
        found = first_flag(red_flags(replace=name), Response("7", finish="length"), REQUEST)
        assert found is not None
        assert found[0] == "truncated"


def test_a_preset_stands_in_the_fingerprint_with_all_its_settings() -> None:
    strict = describe(red_flags(replace="strict"))
    assert strict == "truncated,refused,too_long:700,empty,too_short:1,empty_lines:0.5,repeated,phrases"
    assert "too_long:50" in describe(red_flags(50, replace="strict"))
    own = describe([phrases({"hm": 1.0})])
    assert own == "phrases:hm=1/at=1/repetition=0.5"


def test_an_unknown_preset_or_role_names_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="paper, relaxed, strict"):
        red_flags(replace="lenient")
    with pytest.raises(UsageError, match="planning, voting"):
        preset("strict", role="cooking")
    with pytest.raises(UsageError, match="no reply is shorter"):
        too_short(0)


def test_a_run_takes_a_preset_by_its_name() -> None:
    said = mdap.models.scripted(["Actually, wait: hmm", "7", "7"])
    answer = mdap.ask("Three and four?", said, k=2, red_flags="strict")
    assert (answer.value, answer.flags) == ("7", {"phrases": 1})


def test_flags_that_weigh_differently_are_told_apart() -> None:
    specs = {phrases().spec, phrases(at=0.5).spec, phrases(repetition=0).spec, phrases({"hmm": 1.0}).spec}
    assert len(specs) == 4
