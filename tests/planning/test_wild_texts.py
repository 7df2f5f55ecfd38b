"""Texts that nobody foresaw: tasks, calls and prompts of any letters are divided, read and shown without a loss."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mdap
from mdap.agents import Agent
from mdap.core import formats
from mdap.core.errors import FingerprintChanged, MdapError, RedFlag, UsageError
from mdap.core.keys import judged
from mdap.core.tooling import Outcome, ToolIntent
from mdap.journal import open_journal
from mdap.planning.atomic import MOST_CHARACTERS, not_atomic
from mdap.planning.composition import COMPOSITIONS, Part, compose
from mdap.planning.decomposers import MOST_PARTS, PLAIN, decomposer, sentences, sequential, simple
from mdap.planning.division import Division, Leaf, Subtask, Tree, leaves
from mdap.planning.executor_settings import from_environment, from_file
from mdap.planning.forecast import Bounds, forecast
from mdap.planning.intents import CATEGORIES, allowed, category_of, read_intent, schema_of
from mdap.planning.minimality import RULES, is_minimal
from mdap.planning.tool_task import MARK, Held, ToolTask, asks_for_tool, told
from mdap.tools import Toolbox
from tests.planning.roles_of_arithmetic import model
from tests.planning.support import Role
from tests.tool_support import Order

# ---- tasks ----


@given(st.text())
@pytest.mark.parametrize("name", sorted(PLAIN))
def test_every_text_is_divided_or_left_whole_and_nothing_is_made_up(name: str, task: str) -> None:
    division = PLAIN[name](task)
    if division.is_atomic:
        return
    assert 2 <= len(division.subtasks) <= MOST_PARTS
    joined = "".join(task.split())
    for part in division.subtasks:
        assert part.task == part.task.strip() != ""
        assert "".join(part.task.split()) in joined, "a part is a piece of the task"
    assert [part.needs for part in division.subtasks] == [(), *((n,) for n in range(1, len(division.subtasks)))]
    assert division.complexity == pytest.approx(1)


words = st.lists(st.sampled_from(["Boil", "water", "3.5", "e.g.", "l", "a", "(twice)"]), min_size=1, max_size=5)


@given(st.lists(words, min_size=2, max_size=MOST_PARTS))
def test_sentences_put_together_again_are_the_task(found: list[list[str]]) -> None:
    task = " ".join(f"Do {' '.join(one)}!" for one in found)
    for divide in (sentences, sequential, simple):
        assert " ".join(part.task for part in divide(task).subtasks) == task


@given(st.integers(2, MOST_PARTS), st.sampled_from(["{}.", "{})", "({})"]), st.sampled_from(["", "  ", "\t"]))
def test_numbered_lines_are_found_in_each_way_of_writing_them(count: int, mark: str, indent: str) -> None:
    task = "Do this:\n" + "\n".join(f"{indent}{mark.format(n)} step {n}" for n in range(1, count + 1))
    assert [part.task for part in sequential(task).subtasks] == [f"step {n}" for n in range(1, count + 1)]


def test_a_division_of_thousands_of_lines_is_refused_and_not_made() -> None:
    with pytest.raises(UsageError, match="5000 parts, 20 at most"):
        sequential("\n".join("do it" for _ in range(5000)))


@pytest.mark.parametrize("name", ["", ":", "nary:0", "nary:-2", "nary:2.0", "nary:²", "NUMBERED", "none:1"])
def test_a_name_of_no_decomposer_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        decomposer(name)


@given(st.text(max_size=300))
@pytest.mark.parametrize("name", sorted(RULES))
def test_every_text_is_small_or_not(name: str, task: str) -> None:
    small = is_minimal(name)(task)
    assert type(small) is bool
    assert is_minimal(name)(f"\n {task.strip()} ") == is_minimal(name)(task.strip()), "outer white space says nothing"


@given(st.text(max_size=200))
def test_a_reason_why_a_step_is_not_one_action_quotes_the_step(task: str) -> None:
    reason = not_atomic(task)
    assert (len(task) > MOST_CHARACTERS) <= (reason is not None)
    assert reason is None or reason.startswith("the step")


# ---- trees ----


@st.composite
def trees(draw: st.DrawFn, number: str = "", depth: int = 3) -> Tree:
    count = draw(st.integers(2, 3)) if depth and draw(st.booleans()) else 0
    parts = tuple(draw(trees(f"{number}.{n}".strip("."), depth - 1)) for n in range(1, count + 1))
    needs = [tuple(draw(st.lists(st.integers(1, place), unique=True))) if place else () for place in range(count)]
    subtasks = tuple(Subtask(f"task {part.number}", needs[place]) for place, part in enumerate(parts))
    return Tree(f"task {number}", number, Division(subtasks, "sum") if parts else Division(), parts)


def ends(tree: Tree) -> list[str]:
    return [name for part in tree.parts for name in ends(part)] if tree.parts else [tree.number]


@given(trees())
def test_the_leaves_of_a_tree_wait_only_for_leaves_before_them(tree: Tree) -> None:
    found: list[Leaf] = leaves(tree)
    assert sorted(leaf.number for leaf in found) == sorted(ends(tree))
    before: set[str] = set()
    for leaf in found:
        assert set(leaf.needs) <= before
        before.add(leaf.number)


@given(trees())
def test_a_leaf_waits_for_all_leaves_of_what_its_branch_needs(tree: Tree) -> None:
    by_number = {leaf.number: leaf for leaf in leaves(tree)}

    def _waits(number: str) -> set[str]:
        found: set[str] = set()
        for needed in by_number[number].needs:
            found |= {needed} | _waits(needed)
        return found

    for place, subtask in enumerate(tree.division.subtasks):
        for needed in subtask.needs:
            for own in ends(tree.parts[place]):
                assert set(ends(tree.parts[needed - 1])) <= _waits(own)


# ---- results ----

results = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(COMPOSITIONS)), st.lists(results, min_size=1, max_size=4))
def test_every_composition_of_any_results_is_json_or_an_error_that_names_the_subtask(
    how: str, values: list[Any]
) -> None:
    parts = [Part(f"1.{place}", value) for place, value in enumerate(values, 1)]
    try:
        made = compose(how, parts)
    except MdapError as error:
        made = error
    if isinstance(made, MdapError):
        assert "subtask 1." in made.message or how == "identity"
    else:
        assert json.loads(json.dumps(made)) == made
        assert [part.value for part in parts] == values


@given(st.lists(st.text(), min_size=1, max_size=6))
def test_texts_put_one_after_the_other_lose_no_letter(values: list[str]) -> None:
    parts = [Part(str(place), value) for place, value in enumerate(values)]
    assert compose("concat", parts) == "".join(values)
    assert compose("concatenate", parts).replace("\n", "") == "".join(values).replace("\n", "")
    assert compose("sequence", parts) == values


# ---- calls ----

arguments = st.dictionaries(st.text(max_size=5), results, max_size=4)


@given(st.text(), arguments, st.text())
def test_a_call_is_read_as_it_was_written(tool: str, given_arguments: dict[str, Any], why: str) -> None:
    intent = ToolIntent(tool, given_arguments, why)
    written = json.dumps({"tool": tool, "arguments": given_arguments, "rationale": why}, ensure_ascii=False)
    assert read_intent(written) == intent
    assert read_intent(json.dumps(json.loads(written))) == intent, "with escapes"


@given(st.text())
def test_a_reply_in_prose_is_an_answer_whatever_it_says(text: str) -> None:
    assert read_intent(f"I think: {text}") is None


@given(results)
def test_a_reply_of_json_is_an_answer_a_call_or_a_red_flag(value: Any) -> None:
    try:
        found: Any = read_intent(json.dumps(value))
    except RedFlag as flag:
        found = flag
    if not (isinstance(value, dict) and "tool" in value):
        assert found is None


@given(st.integers(-9, 9), st.integers(-9, 9))
def test_equal_calls_have_one_key_and_others_have_others(one: int, other: int) -> None:
    def look(place: float) -> None:
        """Look."""

    schema = schema_of(look)
    assert (schema.key({"place": one}) == schema.key({"place": float(other)})) == (one == other)


@given(st.text(min_size=1))
def test_every_name_is_of_a_category(name: str) -> None:
    assert category_of(name) in CATEGORIES
    assert category_of(f"mcp_{name}") == "mcp"


def test_no_tools_at_all_are_allowed_by_any_policy() -> None:
    assert allowed([], []) == {}
    assert Toolbox([], allow=[]).schemas == {}


def test_a_default_that_is_no_json_stays_with_the_tool() -> None:
    def look(place: int, how: list[Any] = [object()]) -> str:  # noqa: B006, B008
        """Look."""
        return ""

    schema = schema_of(look)
    assert schema.checked({"place": 1}) == {"place": 1}
    assert schema.checked({"how": [], "place": 1}) == {"place": 1, "how": []}

    def listen(place: int, how: Any = object) -> str:
        """Listen."""
        return ""

    with pytest.raises(UsageError, match="no schema says what tool listen takes"):
        schema_of(listen)


@pytest.mark.parametrize("category", ["", "Web", "filewrite"])
def test_a_tool_of_no_category_is_refused(category: Any) -> None:
    def look(place: int) -> str:
        """Look."""
        return ""

    with pytest.raises(UsageError, match="is no category of tools"):
        schema_of(look, category=category)


@given(st.text(), st.text())
def test_descriptions_and_outcomes_stand_in_prompts_as_they_are(description: str, value: str) -> None:
    def look(place: int) -> str:
        return ""

    said = f"{{tools}} {{form}} {description}"
    schema = schema_of(look, description=said)
    assert f"- look: {' '.join(said.split())}\n" in told(Held(), {"look": schema}, 3)
    held = Held(1, None, ((ToolIntent("look", {"place": 1}, ""), Outcome("ok", value)),))
    assert json.dumps(value, ensure_ascii=False) in told(held, {}, 3)


def test_without_tools_and_calls_a_prompt_says_nothing_of_them() -> None:
    assert told(Held(), {}, 3) == ""
    task = ToolTask(Order(), {})
    assert "tool" not in task.prompt(task.start())[-1].content
    assert task.tool_names == ""


@pytest.mark.parametrize("action", [None, 3, "x", [MARK], {}, {MARK: 1, "x": 2}])
def test_only_what_is_marked_and_nothing_else_is_a_call(action: Any) -> None:
    assert not asks_for_tool(action)
    assert asks_for_tool({MARK: {}})


@given(arguments)
def test_what_a_state_holds_of_calls_reads_back(given_arguments: dict[str, Any]) -> None:
    held = Held(2, ToolIntent("a", given_arguments, "so"), ((ToolIntent("b", {}, ""), Outcome("ok", given_arguments)),))
    assert msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(held))), type=Held) == held


# ---- settings of others ----


@given(st.dictionaries(st.text(max_size=6), results | st.none(), max_size=3))
def test_any_file_of_settings_is_read_or_refused(inner: dict[str, Any]) -> None:
    try:
        found = from_file(json.dumps({"Executor": inner}))
    except UsageError as error:
        assert error.remedy  # noqa: PT017  (what is raised is part of what is tested)
        return
    assert found is None or found.models


@pytest.mark.parametrize("text", ["", "//", "\ufeff", "null", '{"executor": null}', '{"Executor": []}'])
def test_a_file_without_settings_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        from_file(text)


def test_an_empty_environment_has_none() -> None:
    assert from_environment({}) is None


# ---- agents ----


def test_an_agents_key_is_no_model_that_groups_answers() -> None:
    with pytest.raises(UsageError, match="not grouped by a model"):
        mdap.Agent("simulated_solver", key=judged("simulated:p=1"))  # type: ignore[arg-type]


@pytest.mark.parametrize("task", ["\ud800", "count \udfff stars"])
def test_halves_of_characters_are_no_task(task: str) -> None:
    agent = mdap.Agent("simulated_solver")
    with pytest.raises(UsageError, match="halves of characters"):
        agent.run(task)
    with pytest.raises(UsageError, match="halves of characters"):
        agent.forecast(task)


@pytest.mark.parametrize("task", ["\x00", "\u202eabc", "😀" * 500, "{task} {{x}}", "## Task\nnone", "e\u0301"])
async def test_any_other_text_is_a_task_and_every_role_sees_it_whole(task: str) -> None:
    solver = Role(["seven"])
    result = await Agent(solver, k=1, decompose="none").run(task)
    assert (result.answer, result.tree.task if result.tree else "") == ("seven", task)
    assert task in solver.prompts[0]


async def test_a_run_of_another_kind_of_branches_is_not_an_agents() -> None:
    journal = open_journal(None)
    planned = await mdap.aio.plan("x", Role(["End", '{"verdict": "Yes"}']), k=1, journal=journal)
    with pytest.raises(UsageError, match="of the kind plan, not solve"):
        await Agent(model(), journal=journal).resume(planned.run)


async def test_a_toolbox_keeps_its_own_policy_in_an_agent() -> None:
    def write_file(path: str) -> str:
        """Write a file."""
        return path

    box = Toolbox([write_file], allow=["file_write"], rounds=1)
    of = model()
    assert (await Agent(of, k=1, tools=box).run("Multiply 3 by 4.")).answer == "12"
    assert "Tool: write_file: Write a file." in of.requests[0].messages[-1].content
    with pytest.raises(UsageError, match="not allowed"):
        Agent(of, tools=[write_file])


async def test_a_run_that_cannot_be_taken_up_raises_and_tells_of_no_result() -> None:
    journal = open_journal(None)
    agent = Agent(model(), k=1, journal=journal, budget_calls=2)
    stopped = await agent.run("Multiply 12 by 3.")
    agent.format = formats.json_schema({"type": "integer"})
    agent.options["budget_calls"] = 99
    with pytest.raises(FingerprintChanged, match="origin format"):
        await agent.resume(stopped.run)


# ---- forecasts ----


def bounds(**options: Any) -> Bounds:
    usual: dict[str, Any] = {
        "k": 2,
        "max_depth": 3,
        "max_subtasks": 30,
        "judges": 3,
        "rounds": 2,
        "redraws": 1,
        "validated": 0,
        "is_computed": lambda division: False,
        "minimal": None,
    }
    return Bounds(**usual | options)


def test_a_forecast_says_its_range_and_whether_the_subtasks_are_known() -> None:
    least = forecast("x", decomposer("none"), bounds(minimal=is_minimal("never")))
    assert "0 subtasks are known; flags and retries come on top" in str(least)
    assert "subtasks at most" not in str(least)
    most = forecast("x", decomposer("binary"), bounds())
    assert str(most).startswith(f"{most.low:,} to {most.high:,} calls")
    assert "at most; flags" in str(most)


@pytest.mark.parametrize("k", [0, -1])
def test_no_forecast_is_made_of_no_votes(k: int) -> None:
    with pytest.raises(UsageError, match=f"k={k} is not a number of votes"):
        forecast("x", decomposer("binary"), bounds(k=k))


@given(st.integers(1, 4), st.integers(0, 5), st.integers(0, 60), st.integers(0, 2), st.integers(1, 3))
def test_a_forecast_grows_with_each_of_its_bounds(k: int, depth: int, most: int, validated: int, rounds: int) -> None:
    def _high(**more: int) -> int:
        usual = {"k": k, "max_depth": depth, "max_subtasks": most, "validated": validated, "rounds": rounds}
        made = usual | more
        found = forecast("x", decomposer("binary"), bounds(judges=2 * made["k"] - 1, **made))
        assert 0 < found.low <= found.high
        assert found.subtasks <= made["max_subtasks"]
        return found.high

    here = _high()
    assert here <= min(
        _high(k=k + 1), _high(max_depth=depth + 1), _high(rounds=rounds + 1), _high(max_subtasks=most + 9)
    )
