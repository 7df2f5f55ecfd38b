"""Proposals and votes on them, as tasks: every path from the start ends, and what was chosen is what was proposed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdap.core import formats
from mdap.core.errors import RedFlag, Undecided, UsageError
from mdap.core.plain import plain
from mdap.core.records import ABSENT, Move
from mdap.core.tooling import Outcome
from mdap.planning.candidates import Divisions, Minimality, Question, Solutions, shown_division
from mdap.planning.decomposers import decomposer
from mdap.planning.division import ATOMIC, Division, Subtask, in_order, read_division
from mdap.planning.intents import schema_of
from mdap.planning.minimality import is_minimal
from mdap.planning.solving import Solved, Solving, Ways, counted
from mdap.planning.tool_solutions import Kit, ToolSolutions
from mdap.planning.tool_task import KIND, MARK
from mdap.planning.verdicts import NO, YES
from mdap.planning.wording import ROLES, SLOTS, Wording, bullets, numbered, written

WORDING = Wording()
ASKED = Question("count the stars", ("it is night",))
texts = st.text(min_size=1).filter(str.strip)


def solutions(rounds: int = 2, **options: Any) -> Solutions:
    return Solutions(ASKED, WORDING, rounds, formats.text(), **options)


def drawn(task: Any, state: Any, replies: Sequence[str]) -> Any:
    """The state after a ballot of candidates, in which all were drawn."""
    votes = [task.parse(reply, state) for reply in replies]
    return task.apply(state, task.settle(state, votes, None).action)


def judged(task: Any, state: Any, replies: Sequence[str], winner: int | None) -> Any:
    """The state after judges have said this; `winner` is the place of one who says what has won."""
    votes = [task.parse(reply, state) for reply in replies]
    return task.apply(state, task.settle(state, votes, None if winner is None else votes[winner]).action)


def choice(number: int, reason: str = "so") -> str:
    return json.dumps({"choice": number, "reason": reason})


def verdict(word: str, reason: str = "so") -> str:
    return json.dumps({"verdict": word, "reason": reason})


# ---- solutions ----


def test_one_candidate_that_all_draws_agree_on_is_the_result_without_a_judge() -> None:
    task = solutions()
    state = drawn(task, task.start(), ["seven", " seven ", "seven"])
    assert (state["result"], task.is_done(state)) == (["seven"], True)


def test_the_first_of_equal_candidates_stands_for_all() -> None:
    task = solutions()
    state = drawn(task, task.start(), [" b", "a", "b", "a "])
    assert state["candidates"] == [" b", "a"]
    assert task.kind(state) == "solution_discriminator"
    assert '1. " b"\n2. "a"' in task.prompt(state)


def test_a_key_says_which_candidates_are_one() -> None:
    task = solutions(key=str.casefold)
    assert drawn(task, task.start(), ["A", "a"])["result"] == ["A"]


@given(st.lists(texts, min_size=1, max_size=6), st.data())
def test_what_is_chosen_was_proposed_and_never_changed(replies: list[str], data: st.DataObject) -> None:
    task = solutions()
    state = drawn(task, task.start(), replies)
    if not state["result"]:
        assert len({one.strip() for one in state["candidates"]}) == len(state["candidates"]) > 1
        number = data.draw(st.integers(1, len(state["candidates"])))
        state = judged(task, state, [choice(number)], 0)
    assert state["result"][0] in replies
    assert task.is_done(state)
    assert plain(plain(state)) == plain(state), "a journal gives it back as it was"


def test_refused_candidates_are_drawn_anew_with_the_reasons_until_no_round_is_left() -> None:
    task = solutions(rounds=2)
    state = judged(task, drawn(task, task.start(), ["a", "b"]), [choice(0, "too short"), choice(1)], 0)
    assert (state["candidates"], state["result"], task.is_done(state)) == ([], [], False)
    assert "- too short" in task.prompt(state)
    state = judged(task, drawn(task, state, ["c", "d"]), [choice(0, "too long"), choice(0, "too long")], 0)
    assert (state["refused"], task.is_done(state)) == ([["too short"], ["too long"]], True)


def test_judges_who_disagree_refuse_and_say_so_before_their_reasons() -> None:
    task = solutions()
    state = judged(task, drawn(task, task.start(), ["a", "b"]), [choice(1), choice(2), choice(0, "neither")], None)
    assert state["refused"] == [["judges agreed on none of the candidates", "neither"]]


@pytest.mark.parametrize("reply", ["", "   ", "\n\t"])
def test_white_space_is_no_answer(reply: str) -> None:
    with pytest.raises(RedFlag, match="there is no answer"):
        solutions().parse(reply, solutions().start())


@pytest.mark.parametrize("number", [-1, 3, 10**30, True, None, "1", 1.0])
def test_a_choice_of_no_candidate_is_a_red_flag(number: Any) -> None:
    task = solutions()
    state = drawn(task, task.start(), ["a", "b"])
    with pytest.raises(RedFlag, match="is none of 0 to 2"):
        task.parse(json.dumps({"choice": number, "reason": "so"}), state)


def test_a_refusal_without_a_reason_is_a_red_flag_and_a_choice_needs_none() -> None:
    task = solutions()
    state = drawn(task, task.start(), ["a", "b"])
    with pytest.raises(RedFlag, match="a 0 has no reason"):
        task.parse(choice(0, "  "), state)
    assert task.parse('{"choice": 2}', state).action == {"choice": 2, "reasons": []}


def test_votes_are_on_the_choice_and_not_on_its_reason() -> None:
    task = solutions()
    state = drawn(task, task.start(), ["a", "b"])
    assert task.key(task.parse(choice(1, "x"), state)) == task.key(task.parse(choice(1, "y"), state)) == 1


def test_validators_are_shown_the_choice_and_their_no_begins_another_round() -> None:
    task = solutions(validated=True)
    state = drawn(task, task.start(), ["a"])
    assert (state["chosen"], state["result"], task.kind(state)) == (["a"], [], "validator")
    refused = judged(task, state, [verdict("No", "it is wrong"), verdict("Yes")], 0)
    assert (refused["chosen"], refused["refused"], task.kind(refused)) == ([], [["it is wrong"]], "solver")
    assert judged(task, state, [verdict("Yes")], 0)["result"] == ["a"]


def test_validators_who_split_evenly_refuse() -> None:
    task = solutions(validated=True)
    state = judged(task, drawn(task, task.start(), ["a"]), [verdict("Yes"), verdict("No", "hm")], None)
    assert (state["result"], state["refused"]) == ([], [["hm"]])


def test_a_given_answer_is_seen_by_validators_first_and_composed_by_a_model_if_they_refuse() -> None:
    composed = Question("add", (), ({"subtask": "a", "result": 1}, {"subtask": "b", "result": 2}), "sum")
    task = Solutions(composed, WORDING, 2, formats.text(), validated=True, given=3)
    assert (task.kind(task.start()), task.proposes) == ("validator", "composer")
    refused = judged(task, task.start(), [verdict("No", "not 3")], 0)
    assert (task.kind(refused), task.is_done(refused)) == ("composer", False)
    assert '{"subtask": "a", "result": 1}' in task.prompt(refused)


def test_null_and_false_are_answers_that_can_be_given() -> None:
    for given_answer in (None, False, 0, ""):
        task = solutions(validated=True, given=given_answer)
        assert task.start()["chosen"] == [given_answer]
        assert judged(task, task.start(), [verdict("Yes")], 0)["result"] == [given_answer]


def test_what_makes_other_answers_makes_another_version_and_a_cap_does_not() -> None:
    assert solutions(rounds=1).version == solutions(rounds=9).version
    assert solutions(validated=True).version != solutions().version
    assert Solutions(ASKED, WORDING, 2, formats.json_schema({})).version != solutions().version


# ---- divisions ----


def divisions(parts: int = 3, own: Sequence[str] = ()) -> Divisions:
    return Divisions(ASKED, WORDING, 2, parts, own)


def said(*tasks: str, compose: str = "sum", **more: Any) -> str:
    return json.dumps({"subtasks": [{"task": task, **more} for task in tasks], "compose": compose})


def test_two_divisions_are_one_however_hard_they_are_said_to_be() -> None:
    task = divisions()
    state = drawn(task, task.start(), [said("a", "b", complexity=0.1), said(" a", "b ", complexity=0.9)])
    assert state["result"][0]["subtasks"][0] == {"task": "a", "needs": [], "complexity": 0.1}


def test_the_order_in_which_needs_are_written_does_not_count() -> None:
    task = divisions()
    both = [
        json.dumps({"subtasks": [{"task": "a"}, {"task": "b"}, {"task": "c", "needs": needs}], "compose": "last"})
        for needs in ([1, 2], [2, 1])
    ]
    assert len(drawn(task, task.start(), both)["result"]) == 1


def test_to_leave_a_task_whole_is_one_way_however_it_is_written() -> None:
    task = divisions()
    state = drawn(task, task.start(), ['{"subtasks": []}', said(compose="sum"), '{"subtasks": [], "compose": ""}'])
    assert state["result"] == [{"subtasks": [], "compose": ""}]


def test_compositions_of_ones_own_are_named_to_whoever_divides() -> None:
    prompt = divisions(parts=4, own=["median"]).prompt(divisions().start())
    assert "median" in prompt
    assert "concatenate" in prompt
    assert "4" in prompt


parts_of = st.lists(texts, min_size=2, max_size=5)


@st.composite
def some_divisions(draw: st.DrawFn) -> Division:
    """Divisions that can be carried out, their parts in any order."""
    names = draw(parts_of)
    count = len(names)
    places = draw(st.permutations(range(count)))
    needs: dict[int, tuple[int, ...]] = {}
    for at, place in enumerate(places):
        earlier = [other + 1 for other in places[:at]]
        needs[place] = tuple(draw(st.lists(st.sampled_from(earlier), unique=True))) if earlier else ()
    hard = draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    subtasks = tuple(Subtask(name, needs[place], hard[place]) for place, name in enumerate(names))
    return Division(subtasks, draw(texts))


@given(some_divisions())
def test_what_judges_are_shown_of_a_division_reads_back_as_it_was(division: Division) -> None:
    shown = json.loads(json.dumps(shown_division(division)))
    assert read_division(shown, 5) == division


@given(some_divisions())
def test_each_part_comes_after_all_that_it_needs(division: Division) -> None:
    order = in_order(division.subtasks)
    assert sorted(order) == list(range(len(division.subtasks)))
    for at, place in enumerate(order):
        assert {number - 1 for number in division.subtasks[place].needs} <= set(order[:at])


@given(some_divisions(), st.integers(0, 4), st.integers(0, 4))
def test_a_ring_is_never_read(division: Division, one: int, other: int) -> None:
    shown = shown_division(division)
    count = len(division.subtasks)
    one, other = one % count, other % count
    shown["subtasks"][one]["needs"] = [other + 1]
    shown["subtasks"][other]["needs"] = [one + 1]
    with pytest.raises(RedFlag, match=r"in a ring|which is no other"):
        read_division(shown, 5)


@given(st.recursive(st.none() | st.text() | st.integers() | st.floats(), st.lists), st.integers(0, 5))
def test_no_value_whatever_does_more_than_flag(value: Any, most: int) -> None:
    for given_value in (value, {"subtasks": value, "compose": "sum"}, {"subtasks": [value, value], "compose": value}):
        try:
            division = read_division(given_value, most)
        except RedFlag:
            continue
        assert division == ATOMIC


# ---- whether a task is minimal ----


@pytest.mark.parametrize(("winner", "found"), [(0, YES), (1, NO), (None, NO)])
def test_judges_of_minimality_who_split_evenly_let_a_task_be_divided(winner: int | None, found: str) -> None:
    task = Minimality(ASKED, WORDING)
    assert not task.is_done(task.start())
    state = judged(task, task.start(), [verdict("Yes"), verdict("No", "two acts")], winner)
    assert (state["verdict"], task.is_done(state), task.kind(state)) == (found, True, "minimality")


def test_a_question_of_minimality_is_told_from_others_by_its_prompts_alone() -> None:
    assert Minimality(ASKED, WORDING).version == WORDING.digest == Minimality(Question("other"), WORDING).version


# ---- solvers with tools ----


def look(place: int, most: int = 3) -> str:
    """Look at a place."""
    return "a star"


KIT = Kit({"look": schema_of(look, category="search")}, {"look": object()}, rounds=2)


def with_tools(**options: Any) -> ToolSolutions:
    return ToolSolutions(ASKED, WORDING, 2, formats.text(), None, KIT, **options)


def called(place: int, why: str = "to see") -> str:
    return json.dumps({"tool": "look", "arguments": {"place": place}, "rationale": why})


def test_a_call_that_all_agree_on_waits_and_its_outcome_stands_in_the_next_prompt() -> None:
    task = with_tools()
    state = drawn(task, task.start(), [called(1), called(1, "for fun")])
    assert (task.kind(state), task.is_done(state)) == (KIND, False)
    intent = task.effect(state)
    assert intent is not None
    assert (intent.tool, intent.arguments) == ("look", {"place": 1, "most": 3})
    after = task.observe(state, intent, Outcome("ok", "a star"))
    assert task.effect(after) is None
    assert '"value": "a star"' in task.prompt(after)
    assert drawn(task, after, ["one", "one"])["result"] == ["one"]


def test_a_call_and_an_answer_are_put_before_judges_who_see_the_call_by_its_key() -> None:
    task = with_tools()
    state = drawn(task, task.start(), [called(1), "one", called(2)])
    assert len(state["candidates"]) == 3
    assert '1. {"call": {"tool": "look"' in task.prompt(state)
    assert "asks for that tool to be called" in task.prompt(state)
    assert task.effect(judged(task, state, [choice(1)], 0)) is not None
    assert judged(task, state, [choice(2)], 0)["result"] == ["one"]


def test_one_call_too_many_comes_to_a_limit_and_the_next_is_a_red_flag() -> None:
    task, state = with_tools(), with_tools().start()
    for place in range(3):
        state = drawn(task, state, [called(place)])
        intent = task.effect(state)
        assert (intent is None) == (place == 2), "the third is not made"
        if intent is not None:
            state = task.observe(state, intent, Outcome("ok", place))
    assert '"status": "limit"' in task.prompt(state)
    assert "No tool can be called any more" in task.prompt(state)
    with pytest.raises(RedFlag, match="after the last call"):
        task.parse(called(9), state)


def test_an_answer_cannot_pass_for_a_call() -> None:
    task = ToolSolutions(ASKED, WORDING, 2, formats.json_schema({}), None, KIT)
    with pytest.raises(RedFlag, match="by which calls of tools are marked"):
        task.parse(json.dumps({MARK: {"tool": "look", "arguments": {}}}), task.start())


def test_the_tools_are_part_of_what_makes_other_answers() -> None:
    assert with_tools().version == f"{solutions().version},tools=look"
    assert with_tools().proposal_schema is None


# ---- the prompts of roles ----


@pytest.mark.parametrize("role", ROLES)
def test_every_prompt_of_a_role_is_filled_once_and_braces_stay(role: str) -> None:
    values = {slot: f"{{{slot}}} {{{{x}}}}" for slot in SLOTS[role]}
    filled = WORDING.filled(role, values)
    assert "{task} {{x}}" in filled


@pytest.mark.parametrize("role", ROLES)
def test_what_is_not_said_stands_for_none(role: str) -> None:
    assert "none" in WORDING.filled(role, {})


def test_a_role_that_there_is_not_and_a_slot_that_it_has_not_are_named(tmp_path: Any) -> None:
    with pytest.raises(UsageError, match="unknown role 'sage'"):
        Wording({"sage": tmp_path / "x"})
    path = tmp_path / "solver.txt"
    path.write_text("{task} {answer}", encoding="utf-8")
    with pytest.raises(UsageError, match="slot of the prompt of solver"):
        Wording({"solver": path})
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        Wording({"solver": path})
    with pytest.raises(UsageError, match="cannot be read"):
        Wording({"solver": tmp_path})


def test_another_prompt_of_any_role_is_another_wording(tmp_path: Any) -> None:
    path = tmp_path / "own.txt"
    path.write_text("{task}", encoding="utf-8")
    assert len({Wording({role: path}).digest for role in ROLES} | {WORDING.digest}) == len(ROLES) + 1


@given(st.lists(st.text(), max_size=5))
def test_an_item_of_a_list_never_looks_like_two(items: list[str]) -> None:
    lines = numbered(items).split("\n") if items else []
    assert [json.loads(line.partition(". ")[2]) for line in lines] == items
    assert "\n" not in written(items)


def test_a_list_of_nothing_is_the_word_none() -> None:
    assert (bullets([]), numbered([])) == ("none", "none")


# ---- the tree ----


def ways(**options: Any) -> Ways:
    usual: dict[str, Any] = {
        "decomposer": decomposer("simple"),
        "minimal": is_minimal("never"),
        "max_depth": 3,
        "max_subtasks": 30,
        "rounds": 1,
        "form": formats.text(),
        "key": None,
        "validate": "none",
        "own": {},
        "wording": WORDING,
    }
    return Ways(**usual | options)


async def solved_by(answer: Any, task: str = "One. Two. Three.", **options: Any) -> Solving:
    """A task whose questions `answer(item, task)` answers at once."""

    async def _branch(item: int, task: Any) -> Any:
        return task.start() | {"result": [answer(item, task)]}

    solving = Solving(ways(**options), _branch, lambda event: None)
    await solving.run(task)
    return solving


async def test_every_question_of_a_task_has_a_number_of_its_own() -> None:
    items: list[int] = []

    def _answer(item: int, task: Any) -> str:
        items.append(item)
        return str(item)

    solving = await solved_by(_answer)
    assert len(items) == len(set(items)) == 3
    assert solving.tree is not None
    assert counted(solving.tree) == (3, 2, 4)
    assert [leaf.task for leaf in solving.tree.leaves] == ["One.", "Two.", "Three."]


async def test_before_it_begins_there_is_no_tree() -> None:
    async def _branch(item: int, task: Any) -> Any:
        raise AssertionError("nothing is asked")

    solving = Solving(ways(), _branch, lambda event: None)
    assert solving.tree is None
    assert counted(None) == (0, 0, 0)


async def test_a_tree_reads_back_from_its_json() -> None:
    solving = await solved_by(lambda item, _: str(item))
    tree = solving.tree
    assert msgspec.json.decode(msgspec.json.encode(tree), type=Solved) == tree


async def test_a_failure_is_told_with_the_beginning_of_a_long_task() -> None:
    async def _branch(item: int, task: Any) -> Any:
        raise Undecided("nobody agrees")

    solving = Solving(ways(max_depth=0), _branch, lambda event: None)
    with pytest.raises(Undecided, match=r"the task 'x{80}\.\.\.': nobody agrees"):
        await solving.run("x" * 500)
    assert solving.tree is not None
    assert (solving.tree.status, solving.tree.reason[-13:]) == ("undecided", "nobody agrees")


@pytest.mark.parametrize("depth", [62, 10**6])
def test_a_tree_whose_branches_could_not_all_be_numbered_is_refused(depth: int) -> None:
    with pytest.raises(UsageError, match="more subtasks than can be numbered"):
        ways(decomposer=decomposer("binary"), max_depth=depth, max_subtasks=2**70)


@given(st.integers(0, 40), st.integers(0, 10**6))
@settings(max_examples=60)
def test_no_task_is_deeper_than_its_share_of_the_subtasks_lets_it_be(depth: int, most: int) -> None:
    made = ways(decomposer=decomposer("binary"), max_depth=depth, max_subtasks=most)
    assert made.deepest <= depth
    assert 2 ** (made.deepest + 1) - 2 <= max(most, 0), "a full tree of that depth has so many subtasks"


def test_an_absent_answer_is_told_from_null() -> None:
    assert Move(None, ABSENT).action is None
    assert Solved("", "x", "open").answer is msgspec.UNSET
