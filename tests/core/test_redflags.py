"""Red flags: which replies are discarded, under which name, in which order, and which are never."""

from __future__ import annotations

import json
from functools import partial
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.errors import UsageError
from mdap.core.records import Draw, Prompt, Request, Response, Usage
from mdap.core.redflags import Flag, accept_all, describe, first_flag, red_flags, repeated
from mdap.tasks.hanoi import hanoi, path_state

REQUEST = Request(Prompt((), ""), Draw(0, 0), seed=1, temperature=0.1, max_tokens=750)
LOOP = "Wait, maybe the stacks are the other way round. "


def flagged(response: Response, flag_tokens: int | None = None) -> str:
    """The name that a reply is discarded under by default, or nothing."""
    found = first_flag(red_flags(flag_tokens), response, REQUEST)
    return "" if found is None else found[0]


def shout(response: Response, _request: Request) -> str | None:
    """A user's own flag."""
    return "all capitals" if response.text.isupper() else None


class NoDigits:
    """A user's own flag with a state of its own."""

    def __call__(self, response: Response, _request: Request) -> str | None:
        return None if any(map(str.isdigit, response.text)) else "no digit"


# The defaults, one by one


@pytest.mark.parametrize(
    ("response", "name"),
    [
        (Response("sum = 7"), ""),
        (Response("sum = 7", finish="length"), "truncated"),
        (Response("sum = 7", finish="refusal"), "refused"),
        (Response(""), "empty"),
        (Response(" \n\t\u00a0"), "empty"),
        (Response(LOOP * 20), "repeated"),
        (Response("sum = 7", usage=Usage(10, 701)), "too_long"),
        (Response("sum = 7", usage=Usage(10_000, 700)), ""),
    ],
)
def test_each_reply_is_counted_under_its_own_name(response: Response, name: str) -> None:
    assert flagged(response, flag_tokens=700) == name


def test_a_reply_that_was_cut_is_discarded_even_if_a_whole_answer_stands_in_it() -> None:
    task = hanoi(3)
    reply = task.write(task.answer(task.start())) + "\nWait, "  # type: ignore[arg-type]
    assert task.parse(reply, task.start())
    assert flagged(Response(reply, finish="length")) == "truncated"


def test_the_first_flag_that_speaks_wins_truncated_before_all_others() -> None:
    worst = Response("", finish="length", usage=Usage(0, 999))
    assert first_flag(red_flags(700), worst, REQUEST) == ("truncated", "the reply was cut at 750 tokens")
    assert flagged(Response("", finish="refusal"), 700) == "refused"
    assert flagged(Response("", usage=Usage(0, 701)), 700) == "too_long"
    assert flagged(Response(LOOP * 20, usage=Usage(0, 701)), 700) == "too_long"


def test_too_long_is_off_unless_asked_for() -> None:
    assert [flag.name for flag in red_flags()] == ["truncated", "refused", "empty", "repeated"]
    assert flagged(Response("sum = 7", usage=Usage(10, 10**6))) == ""


def test_without_reported_usage_nothing_is_too_long_since_characters_are_no_tokens() -> None:
    assert flagged(Response("word " * 5000), flag_tokens=1) == ""


def test_reasons_say_what_was_seen() -> None:
    assert first_flag(red_flags(700), Response("x", usage=Usage(0, 701)), REQUEST) == (
        "too_long",
        "701 tokens, more than 700",
    )
    assert repeated(Response(LOOP * 20), REQUEST) == (
        "the same sentence 20 times: 'wait, maybe the stacks are the other way round'"
    )


# Repetition


@pytest.mark.parametrize(
    "text",
    [
        LOOP * 9,
        "Let me see the answer.\n" + LOOP * 30,
        (LOOP + "No, that is not how it was written. ") * 8,
        "So the sum is what it was before.\n\n" * 20,
        "ICH WEISS ES WIRKLICH NICHT MEHR! Ich weiss es wirklich nicht mehr! " * 8,
        "Is it the left one or the other one?  \n" * 15,
    ],
)
def test_the_same_sentence_again_and_again_is_discarded(text: str) -> None:
    assert flagged(Response(text)) == "repeated"


ROWS = 60
LEGITIMATE = {
    "short": LOOP * 8,
    "few times": LOOP * 5 + "And here follows quite another thought that nobody had before. " * 5,
    "less than half": LOOP * 8 + " ".join(f"Then I looked at case number {n} and went on." for n in range(20)),
    "too few words": "I see. Next one. " * 100,
    "json rows": json.dumps([{"why": "Not named. The page does not hold the name at all."}] * ROWS),
    "json lines": "\n".join([json.dumps({"why": "Not named. The page does not hold it at all."})] * ROWS),
    "json, indented": json.dumps(["Not named. The page does not hold the name at all. Sorry."] * ROWS, indent=1),
    "table": "| why |\n|---|\n" + "| Not named. The page does not hold the name at all. |\n" * ROWS,
    "tab separated": "1\tNot named. The page does not hold the name at all.\n" * ROWS,
    "csv": '17,"Not named. The page does not hold the name at all."\n' * ROWS,
    "bullets": "- Not named. The page does not hold the name at all.\n" * ROWS,
    "numbers": "\n".join(f"{n}. Not named. The page does not hold the name at all." for n in range(ROWS)),
    "letters": "a) Not named. The page does not hold the name at all.\n" * ROWS,
    "yaml": "reason: Not named. The page does not hold the name at all.\n" * ROWS,
    "quotes": "> Not named. The page does not hold the name at all.\n" * ROWS,
    "moves": "Move disk 1 from peg 0 to peg 2. " * ROWS,
    "equal rows": "[0, 0, 0, 0, 0, 0, 0, 0]\n" * ROWS,
    "code": "for row in rows: print(row.name)\n" * ROWS,
    "no sentence": "the same words over and over without an end " * ROWS,
    "xml": "<row>Not named. The page does not hold the name at all.</row>\n" * ROWS,
}


@pytest.mark.parametrize("text", LEGITIMATE.values(), ids=LEGITIMATE)
def test_structured_output_with_equal_rows_is_never_called_repeated(text: str) -> None:
    assert flagged(Response(text)) == ""


def test_the_paper_s_replies_pass_with_their_reasoning_and_with_all_moves_of_a_run_in_them() -> None:
    task = hanoi(20)
    replies = [task.write(task.answer(path_state(20, step))) for step in range(0, 2**20 - 1, 2**14)]  # type: ignore[arg-type]
    reasoning = "The previous move moved disk 1. So disk 1 stays where it is, and another disk moves now.\n"
    for reply in replies:
        assert flagged(Response(reasoning + reply)) == ""
    assert flagged(Response("\n".join(replies))) == ""
    assert flagged(Response("\n".join(replies[:1] * 40))) == ""


@given(st.text(alphabet='ab .!?\n|"-1', max_size=1500))
def test_any_text_is_judged_without_an_error_and_always_alike(text: str) -> None:
    assert repeated(Response(text), REQUEST) == repeated(Response(text), REQUEST)


@pytest.mark.parametrize(
    "text", ["a " * 200_000, "." * 400_000, "a b c d e f. " * 30_000, ": " * 200_000, "a-" * 200_000]
)
def test_a_reply_of_hundreds_of_thousands_of_letters_is_judged_within_seconds(text: str) -> None:
    began = process_time()
    repeated(Response(text), REQUEST)
    assert process_time() - began < 3  # a pattern that goes back and forth would take hours


# Flags of one's own


def test_a_user_s_own_flag_comes_after_the_defaults_under_the_name_of_its_function() -> None:
    flags = red_flags(extra=[shout])
    assert first_flag(flags, Response("SUM"), REQUEST) == ("shout", "all capitals")
    assert first_flag(flags, Response("SUM", finish="length"), REQUEST)[0] == "truncated"  # type: ignore[index]
    assert [flag.name for flag in flags][-1] == "shout"


def test_a_user_s_own_flags_can_take_the_place_of_the_defaults() -> None:
    flags = red_flags(replace=[shout], extra=[NoDigits()])
    assert [flag.name for flag in flags] == ["shout", "NoDigits"]
    assert first_flag(flags, Response("sum = 7", finish="length"), REQUEST) is None
    assert first_flag(flags, Response("none"), REQUEST) == ("NoDigits", "no digit")


def test_a_length_for_a_flag_that_was_replaced_is_refused_not_ignored() -> None:
    with pytest.raises(UsageError, match=r"flag_tokens=50 sets one of the default flags.*too_long\(50\)"):
        red_flags(50, replace=[shout])


def test_accept_all_takes_whatever_comes() -> None:
    flags = red_flags(replace=[accept_all])
    for response in (Response(""), Response("x", finish="length"), Response(LOOP * 50, finish="refusal")):
        assert first_flag(flags, response, REQUEST) is None


def test_a_flag_with_a_name_of_its_own_keeps_it() -> None:
    named = Flag("loud", shout)
    assert red_flags(extra=[named])[-1] is named
    assert named(Response("SUM"), REQUEST) == "all capitals"
    assert red_flags(extra=[partial(shout)])[-1].name == "partial"


@pytest.mark.parametrize("extra", [[shout, shout], [Flag("empty", shout)], [Flag("malformed", shout)]])
def test_two_flags_of_one_name_are_refused_with_the_remedy(extra: list[Flag]) -> None:
    with pytest.raises(UsageError, match=r"two red flags are named.*Flag\('other name', check\)"):
        red_flags(extra=extra)


@pytest.mark.parametrize("tokens", [0, -5])
def test_a_length_that_would_discard_every_reply_is_refused(tokens: int) -> None:
    with pytest.raises(UsageError, match=f"flag_tokens={tokens}"):
        red_flags(tokens)


@pytest.mark.parametrize("returned", [False, True, 0, ["reason"]])
def test_a_check_that_returns_neither_a_reason_nor_none_is_named(returned: object) -> None:
    def wrong(_response: Response, _request: Request) -> object:
        return returned

    with pytest.raises(UsageError, match="red flag 'wrong' returned"):
        first_flag(red_flags(extra=[wrong]), Response("sum = 7"), REQUEST)  # type: ignore[list-item]


def test_an_empty_reason_still_discards() -> None:
    assert first_flag([Flag("quiet", lambda *_: "")], Response("x"), REQUEST) == ("quiet", "")


def test_the_flags_of_a_run_are_described_with_their_settings() -> None:
    assert describe(red_flags(700, extra=[shout])) == "truncated,refused,too_long:700,empty,repeated,shout"
    assert describe(red_flags(replace=[accept_all])) == "accept_all"
