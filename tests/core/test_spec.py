"""The one grammar of tasks, models and rules, read, written and refused."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.errors import UsageError
from mdap.core.spec import Spec, build, parse_spec, unknown, write_spec

WORDS = st.text("abcxyz0123456789._:-", min_size=1, max_size=8)
NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)


def made(
    disks: int = 3, p: float = 0.5, oracle: bool = False, parser: Literal["strict", "loose"] = "strict", name: str = ""
) -> tuple[Any, ...]:
    return disks, p, oracle, parser, name


def optional(limit: int | None = None) -> int | None:
    return limit


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("hanoi", Spec("hanoi")),
        ("hanoi:", Spec("hanoi")),
        ("hanoi:disks=5", Spec("hanoi", None, (("disks", "5"),))),
        ("simulated:paper,seed=7", Spec("simulated", "paper", (("seed", "7"),))),
        ("openai:gpt-4.1-mini", Spec("openai", "gpt-4.1-mini")),
        ("openai:llama3.2:3b", Spec("openai", "llama3.2:3b")),
        ("ahead_by_k:3", Spec("ahead_by_k", "3")),
        ("m:a=b=c", Spec("m", None, (("a", "b=c"),))),
    ],
)
def test_a_spec_is_read_part_by_part(text: str, spec: Spec) -> None:
    assert parse_spec(text) == spec


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no name"),
        (":disks=5", "has no name"),
        ("hanoi:disks=5,6", "only the first part may be bare"),
        ("hanoi:=5", "is not key=value"),
        ("hanoi:disks=5,disks=6", "stands twice"),
    ],
)
def test_what_is_not_of_the_grammar_is_refused_and_named(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_spec(text)


@given(NAMES, st.none() | WORDS, st.dictionaries(NAMES, WORDS, max_size=4))
def test_what_is_written_is_read_back(name: str, bare: str | None, options: dict[str, str]) -> None:
    assert parse_spec(write_spec(name, options, bare=bare)) == Spec(name, bare, tuple(options.items()))


def test_an_option_that_is_none_is_not_written_and_a_switch_is_on_or_off() -> None:
    assert write_spec("t", {"a": None, "b": True, "c": False, "d": 0}) == "t:b=on,c=off,d=0"


def test_options_become_what_the_parameters_say() -> None:
    spec = parse_spec("t:disks=7,p=.25,oracle=on,parser=loose,name=x")
    assert build(spec, made) == (7, 0.25, True, "loose", "x")
    assert build(parse_spec("t:limit=4"), optional) == 4


@pytest.mark.parametrize(("text", "said"), [("on", True), ("off", False), ("TRUE", True), ("0", False)])
def test_a_switch_reads_on_and_off(text: str, said: bool) -> None:
    assert build(parse_spec(f"t:oracle={text}"), made)[2] is said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("t:disks=many", "give disks as int"),
        ("t:p=half", "give p as float"),
        ("t:oracle=maybe", "give oracle as on or off"),
        ("t:parser=lose", "give parser as strict or loose"),
        ("t:disk=4", "did you mean 'disks'"),
        ("t:5", "takes no bare value"),
    ],
)
def test_a_value_or_option_that_does_not_fit_is_refused_with_what_does(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build(parse_spec(text), made)


def test_the_bare_part_fills_the_parameter_it_stands_for() -> None:
    assert build(parse_spec("t:9,p=1"), made, bare="disks")[:2] == (9, 1.0)


def test_the_bare_part_and_its_parameter_cannot_both_be_given() -> None:
    with pytest.raises(UsageError, match="'disks' of t is given twice: 9 and 8"):
        build(parse_spec("t:9,disks=8"), made, bare="disks")


def test_an_unknown_name_far_from_all_others_still_lists_what_there_is() -> None:
    error = unknown("task", "qqq", ["hanoi", "sum"])
    assert str(error) == "unknown task 'qqq'. there is: hanoi, sum"
