"""Algorithm 4 by scripted roles: who is asked what, which votes count, and what a failure keeps."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mdap.agents import Agent, AgentResult
from mdap.core import formats
from mdap.core.errors import Stop, UsageError
from mdap.core.records import ABSENT, Request, Response
from mdap.models.scripted import Scripted, scripted
from mdap.planning.decomposers import sentences
from mdap.planning.division import Division, Subtask
from mdap.planning.solving import Divided, Solved, SubtaskSettled
from tests.planning.roles_of_arithmetic import (
    asked,
    candidates,
    chosen,
    divided,
    factors,
    model,
    results,
    right,
    section,
)

TASK = "Multiply 123 by 45."


async def solved(of: Scripted, task: str = TASK, **options: Any) -> AgentResult:
    return await Agent(of, **({"k": 2} | options)).run(task)


def by_number(tree: Solved | None) -> dict[str, Solved]:
    assert tree is not None
    found = {tree.number: tree}
    for part in tree.parts:
        found |= by_number(part)
    return found


# The way of Algorithm 4


async def test_a_task_is_divided_solved_and_composed() -> None:
    result = await solved(model())
    assert (result.status, result.answer, result.ok, result.error) == ("done", "5535", True, "")
    tree = by_number(result.tree)
    assert {number: (one.answer, one.how) for number, one in tree.items()} == {
        "": ("5535", "composed"),
        "1": ("540", "composed"),
        "2": ("135", "solved"),
        "1.1": ("45", "solved"),
        "1.2": ("90", "solved"),
    }
    assert tree[""].compose == tree["1"].compose == "Ten times the first, plus the second."


async def test_each_question_has_2k_minus_1_candidates_and_no_judge_where_they_agree() -> None:
    of = model()
    await solved(of, k=3)
    assert len(asked(of, "decomposer")) == 5 * 5
    assert len(asked(of, "solver")) == 3 * 5
    assert len(asked(of, "composer")) == 2 * 5
    assert not asked(of, "solution_discriminator")
    assert not asked(of, "decomposition_discriminator")


def mistaken(request: Request, mistakes: dict[int, str], text: str) -> str:
    """What a role says, but for the slots that are mistaken."""
    return mistakes.get(request.draw.slot, text)


async def test_equal_candidates_are_one_before_they_are_judged() -> None:
    of = model(solver=lambda role, request: mistaken(request, {0: "7", 3: " 7\n"}, right(role, request)))
    result = await solved(of, "Multiply 9 by 45.", k=3)
    judged = asked(of, "solution_discriminator")
    assert candidates(judged[0]) == ["7", "405"]
    assert result.answer == "405"
    # First to k: three equal judgements of at most five.
    assert len(judged) == 3


async def test_the_answer_of_most_candidates_does_not_win_without_judges() -> None:
    of = model(solver=lambda role, request: mistaken(request, {2: "405"}, "7"))
    assert (await solved(of, "Multiply 9 by 45.")).answer == "405"


async def test_judges_decide_by_the_first_to_k_of_2k_minus_1() -> None:
    def _judge(role: str, request: Request) -> str:
        return json.dumps({"choice": (1, 2, 2)[request.draw.slot], "reason": ""})

    of = model(
        solver=lambda role, request: mistaken(request, {0: "7"}, right(role, request)), solution_discriminator=_judge
    )
    result = await solved(of, "Multiply 9 by 45.")
    assert result.answer == "405"
    assert len(asked(of, "solution_discriminator")) == 3
    assert result.statistics.error_rate == pytest.approx(2 / 9)
    assert result.statistics.dissent_rate == pytest.approx(2 / 3)


async def test_ahead_by_k_is_another_way_to_judge() -> None:
    def _judge(role: str, request: Request) -> str:
        return json.dumps({"choice": (1, 2, 2, 2)[request.draw.slot], "reason": ""})

    of = model(
        solver=lambda role, request: mistaken(request, {0: "7"}, right(role, request)), solution_discriminator=_judge
    )
    result = await solved(of, "Multiply 9 by 45.", judge="ahead_by_k")
    assert result.answer == "405"
    assert len(asked(of, "solution_discriminator")) == 4


async def test_leaving_a_task_whole_is_a_candidate_that_judges_may_prefer() -> None:
    whole = '{"subtasks": [], "compose": ""}'
    of = model(
        decomposer=lambda role, request: mistaken(request, {1: whole}, right(role, request)),
        decomposition_discriminator=lambda role, request: chosen(request, json.loads(whole)),
    )
    result = await solved(of)
    assert result.tree is not None
    assert (result.answer, result.tree.how, result.statistics.decompositions) == ("5535", "solved", 0)


# What subtasks see


def read_file(path: str) -> str:
    """Read a file."""
    return path


async def test_a_subtask_sees_what_it_is_part_of_and_the_results_that_it_needs() -> None:
    needs = {"subtasks": [{"task": "Multiply 2 by 3."}, {"task": "Multiply it by 4.", "needs": [1]}], "compose": "last"}
    of = model(
        decomposer=lambda role, request: json.dumps(
            needs if section(request, "Task") == TASK else {"subtasks": [], "compose": ""}
        ),
        solver=lambda role, request: "24" if "it by" in section(request, "Task") else "6",
    )
    result = await solved(of, context="Whole numbers only.", working_directory="/srv", tools=["calc: adds", read_file])
    solver = {section(request, "Task"): section(request, "Context") for request in asked(of, "solver")}
    assert 'Result of "Multiply 2 by 3.": "6"' in solver["Multiply it by 4."]
    assert "Result of" not in solver["Multiply 2 by 3."]
    for told in (
        "Whole numbers only.",
        "Working directory: /srv",
        "Tool: calc: adds",
        "Tool: read_file: Read a file.",
        f'Part of this task: "{TASK}"',
    ):
        assert all(told in context for context in solver.values())
    assert "Working directory: /srv" in section(asked(of, "decomposer")[0], "Context")
    assert result.answer == "24"
    assert by_number(result.tree)["2"].needs == ("1",)


async def test_the_composer_sees_all_results_and_how_they_are_composed() -> None:
    of = model()
    await solved(of, "Multiply 12 by 5.")
    request = asked(of, "composer")[0]
    assert results(request) == ["5", "10"]
    assert section(request, "How they make the result") == "Ten times the first, plus the second."


async def test_braces_and_headings_in_a_task_are_its_text() -> None:
    of = model(decomposer=lambda role, request: '{"subtasks": [], "compose": ""}', solver=lambda *_: "done")
    task = "Write {task} and {{context}}\n\n## Candidates\n1. {format}"
    assert (await solved(of, task)).answer == "done"
    assert f"## Task\n{task}\n\n## Context" in asked(of, "solver")[0].messages[0].content


# Compositions in code


async def test_a_composition_by_name_is_made_in_code_and_asks_nobody() -> None:
    def _sum(role: str, request: Request) -> str:
        a, b = factors(section(request, "Task"))
        parts = [] if a < 10 else [{"task": f"Multiply {half} by {b}."} for half in (9, a - 9)]
        return json.dumps({"subtasks": parts, "compose": "sum" if parts else ""})

    of = model(decomposer=_sum)
    result = await solved(of, "Multiply 17 by 9007199254740993.")
    assert result.answer == 17 * 9007199254740993
    assert not asked(of, "composer")


async def test_a_composition_of_ones_own_is_named_to_the_decomposer() -> None:
    of = model(decomposer=lambda role, request: divided(section(request, "Task"), "tenfold"))
    own = {"tenfold": lambda values: str(10 * int(values[0]) + int(values[1]))}
    result = await solved(of, "Multiply 12 by 5.", compositions=own)
    assert result.answer == "60"
    assert "concat, tenfold" in asked(of, "decomposer")[0].messages[0].content


async def test_a_result_that_cannot_be_composed_ends_the_run_with_the_task_named() -> None:
    of = model(decomposer=lambda role, request: divided(section(request, "Task"), "sum"), solver=lambda *_: "seven")
    result = await solved(of, "Multiply 12 by 5.")
    assert (result.status, result.answer) == ("error", ABSENT)
    assert "the task 'Multiply 12 by 5.': sum, subtask 1: 'seven' is no number" in result.error
    assert by_number(result.tree)["1"].answer == "seven"


async def test_a_computed_result_has_to_keep_to_the_format_too() -> None:
    of = model(decomposer=lambda role, request: divided(section(request, "Task"), "concatenate"))
    result = await solved(of, "Multiply 12 by 5.", format=formats.pattern(r"\d+"))
    assert result.status == "error"
    assert "the composed result does not fit the format" in result.error


# Depth and fan-out


def endless(role: str, request: Request) -> str:
    """A decomposer that never leaves a task whole."""
    a, b = factors(section(request, "Task"))
    return json.dumps({"subtasks": [{"task": f"Multiply {part} by {b}."} for part in (a, 0)], "compose": "sum"})


async def test_at_the_limit_of_depth_a_task_is_a_leaf_and_no_failure() -> None:
    of = model(decomposer=endless)
    result = await solved(of, "Multiply 7 by 5.", k=1, max_depth=3)
    assert (result.status, result.answer) == ("done", 35)
    assert result.statistics.atomic_executions == 8
    assert result.statistics.decompositions == 7
    assert len(asked(of, "decomposer")) == 7


async def test_the_cap_on_subtasks_holds_whatever_decomposers_say() -> None:
    for most in (0, 1, 2, 13, 30):
        result = await solved(model(decomposer=endless), "Multiply 7 by 5.", k=1, max_subtasks=most)
        assert result.answer == (35 if most > 1 else "35")
        assert result.statistics.subtasks <= most
        assert result.statistics.calls <= result.forecast.high


async def test_a_forecast_stands_before_the_first_call() -> None:
    of = model()
    heard: list[Any] = []
    result = await solved(of, on_event=lambda event: heard.append((type(event).__name__, len(of.requests))))
    assert dict(reversed(heard))["Foretold"] == 0
    assert result.forecast == Agent(of, k=2).forecast(TASK)
    assert result.forecast.low == 6 < result.statistics.calls < result.forecast.high


# No majority


async def test_judges_who_agree_on_nothing_bring_fresh_candidates_and_their_reasons() -> None:
    def _judge(role: str, request: Request) -> str:
        if request.draw.step == 1:
            return json.dumps({"choice": 0, "reason": "all of them forget the carry"})
        return right(role, request)

    of = model(
        solver=lambda role, request: mistaken(request, {0: "7", 1: "8"}, right(role, request)),
        solution_discriminator=_judge,
    )
    assert (await solved(of, "Multiply 9 by 45.")).answer == "405"
    rounds = [section(request, "Refused before") for request in asked(of, "solver")]
    assert rounds[:3] == ["none"] * 3
    assert rounds[3:] == ["- all of them forget the carry"] * 3


async def test_without_a_majority_in_all_rounds_the_task_is_undecided_and_never_a_plurality() -> None:
    def _split(role: str, request: Request) -> str:
        return json.dumps({"choice": request.draw.slot + 1, "reason": ""})

    of = model(solver=lambda role, request: f"{request.draw.step}{request.draw.slot}", solution_discriminator=_split)
    result = await solved(of, "Multiply 9 by 45.", rounds=2)
    assert (result.status, result.answer, result.ok) == ("undecided", ABSENT, False)
    assert "the task 'Multiply 9 by 45.': 2 rounds of candidates have brought no answer" in result.error
    assert "--rounds N" in result.error
    assert len(asked(of, "solver")) == 6
    assert "answer" not in result.to_dict()


async def test_a_role_that_always_answers_nonsense_ends_within_its_caps() -> None:
    of = model(decomposer=lambda *_: "I would split it, I think.")
    result = await solved(of, redraws=3)
    assert result.status == "undecided"
    assert result.statistics.flags == {"malformed": len(of.requests)}
    assert len(of.requests) == 3 * 4
    assert any("red-flagged" in warning for warning in result.warnings)


# Failures


async def test_a_failure_names_its_subtask_and_keeps_what_the_others_came_to() -> None:
    def _stuck(role: str, request: Request) -> str:
        return "" if section(request, "Task") == "Multiply 1 by 45." else right(role, request)

    result = await solved(model(solver=_stuck), redraws=2)
    assert result.status == "undecided"
    assert "subtask 1.1 'Multiply 1 by 45.'" in result.error
    assert result.error.count("subtask") == 1
    tree = by_number(result.tree)
    assert {number: one.status for number, one in tree.items()} == {
        "": "undecided",
        "1": "undecided",
        "1.1": "undecided",
        "1.2": "solved",
        "2": "solved",
    }
    assert tree["2"].answer == "135"


async def test_what_needs_a_failed_subtask_is_not_asked() -> None:
    chain = {
        "subtasks": [
            {"task": "Multiply 2 by 3."},
            {"task": "Multiply 3 by 4.", "needs": [1]},
            {"task": "Multiply 5 by 6."},
        ],
        "compose": "sum",
    }
    of = model(
        decomposer=lambda role, request: json.dumps(
            chain if section(request, "Task") == TASK else {"subtasks": [], "compose": ""}
        ),
        solver=lambda role, request: "" if "2 by 3" in section(request, "Task") else right(role, request),
    )
    result = await solved(of, decompose="nary:3", redraws=1)
    assert [(part.status, part.reason[:25]) for part in by_number(result.tree)[""].parts][1:] == [
        ("skipped", "subtask 1 'Multiply 2 by "),
        ("solved", ""),
    ]
    assert not [request for request in asked(of, "solver") if "3 by 4" in section(request, "Task")]


async def test_a_stop_and_a_budget_end_the_run_at_once() -> None:
    def _stop(event: Any) -> None:
        if isinstance(event, Divided) and event.number:
            raise Stop("enough")

    result = await solved(model(), on_event=_stop)
    assert (result.status, "enough" in result.error) == ("stopped", True)
    budget = await solved(model(), budget_calls=10)
    assert (budget.status, budget.statistics.calls <= 10) == ("budget", True)
    assert "mdap resume" in budget.error


async def test_every_task_that_ends_is_told_with_its_number() -> None:
    heard: list[SubtaskSettled] = []
    await solved(model(), on_event=lambda event: heard.append(event) if isinstance(event, SubtaskSettled) else None)
    assert {event.number: event.answer for event in heard} == {
        "": "5535",
        "1": "540",
        "2": "135",
        "1.1": "45",
        "1.2": "90",
    }
    assert heard[-1].number == ""


# Validators and minimality


async def test_validators_see_the_answer_and_send_it_back_with_reasons() -> None:
    def _validate(role: str, request: Request) -> str:
        said = json.loads(section(request, "Result"))
        return json.dumps({"verdict": "Yes"} if said == "5535" else {"verdict": "No", "reason": "it is not 5535"})

    def _compose(role: str, request: Request) -> str:
        is_first = section(request, "Refused before") == "none" and section(request, "Task") == TASK
        return "1" if is_first else right(role, request)

    of = model(validator=_validate, composer=_compose)
    result = await solved(of, validate="answer")
    assert result.answer == "5535"
    assert {section(request, "Task") for request in asked(of, "validator")} == {TASK}
    assert "- it is not 5535" in section(asked(of, "composer")[-1], "Refused before")


async def test_every_answer_can_be_validated_computed_ones_too() -> None:
    of = model(decomposer=lambda role, request: divided(section(request, "Task"), "concat"))
    await solved(of, "Multiply 12 by 5.", validate="every")
    validated = {section(request, "Result") for request in asked(of, "validator")}
    assert validated == {'"5"', '"10"', '"510"'}


async def test_minimality_by_rule_and_by_judges_asks_no_decomposer() -> None:
    by_rule, by_judges = model(), model()
    assert (await solved(by_rule, minimal="one_act")).answer == "5535"
    assert (await solved(by_judges, minimal="model")).answer == "5535"
    assert not asked(by_rule, "decomposer")
    assert not asked(by_judges, "decomposer")
    assert len(asked(by_judges, "minimality")) == 2
    of = model(minimality=lambda *_: '{"verdict": "No", "reason": "it is long"}')
    await solved(of, minimal="model", max_depth=1)
    assert asked(of, "decomposer")


# Other decomposers


async def test_sentences_are_solved_in_order_each_with_the_results_before_it() -> None:
    of = model(solver=lambda role, request: f"did {section(request, 'Task')}")
    result = await solved(of, "Boil it. Pour it. Drink it.", decompose="sequential")
    assert result.answer == ["did Boil it.", "did Pour it.", "did Drink it."]
    assert section(asked(of, "solver")[-1], "Context").count("Result of") == 1
    assert (result.forecast.is_exact, result.forecast.low) == (True, result.statistics.calls)
    assert not asked(of, "decomposer")


async def test_a_function_is_a_decomposer_and_its_mistakes_are_named() -> None:
    def _bad(task: str) -> Division:
        return Division((Subtask("a", (2,)), Subtask("b", (1,))), "sum")

    of = model(solver=lambda *_: "x")
    assert (await solved(of, "A b. C d.", decompose=sentences, max_depth=1)).answer == ["x", "x"]
    failed = await solved(of, "A b.", decompose=_bad)
    assert (failed.status, "need one another in a ring" in failed.error) == ("error", True)


# Answers of a form


async def test_answers_are_read_in_the_format_and_others_are_flags() -> None:
    def _chatty(role: str, request: Request) -> str:
        said = right(role, request)
        return f"It is {said}." if request.draw.redraw == 0 else said

    of = model(solver=_chatty)
    result = await solved(of, "Multiply 9 by 45.", format=formats.pattern(r"\d+"))
    assert (result.answer, result.statistics.flags) == ("405", {"malformed": 3})
    assert "matches this regular expression" in section(asked(of, "solver")[0], "Answer")


async def test_a_key_says_which_answers_are_the_same() -> None:
    of = model(
        solver=lambda role, request: ("Four", "FOUR", "four ")[request.draw.slot % 3],
        decomposer=lambda *_: '{"subtasks": []}',
    )
    assert (await solved(of, "How many?", key="folded")).answer == "Four"
    assert not asked(of, "solution_discriminator")


# Options


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"k": 0}, "k=0"),
        ({"k": -5}, "k=-5"),
        ({"max_depth": -1}, "max_depth"),
        ({"rounds": 0}, "rounds"),
        ({"judge": "plurality"}, "first_to_k"),
        ({"validate": "all"}, "every"),
        ({"decompose": "tree"}, "binary"),
        ({"minimal": "tiny"}, "one_act"),
        ({"roles": {"poet": "simulated:p=1"}}, "unknown role 'poet'"),
        ({"lookahead": 3}, "unknown option 'lookahead'"),
        ({"decompose": "nary:20", "max_depth": 20, "max_subtasks": 10**20}, "more subtasks than can be numbered"),
        ({"prompts": {"solver": "/no/such/file"}}, "cannot be read"),
        ({"red_flags": "lenient"}, "unknown preset"),
    ],
)
async def test_what_cannot_be_is_refused_before_any_call(options: dict[str, Any], why: str) -> None:
    of = model()
    with pytest.raises(UsageError, match=re.escape(why)):
        await solved(of, **options)
    assert not of.requests


@pytest.mark.parametrize("task", ["", " \n"])
async def test_an_empty_task_is_refused(task: str) -> None:
    with pytest.raises(UsageError, match="the task is empty"):
        await solved(model(), task)


async def test_a_prompt_of_ones_own_stands_in_place_of_a_roles(tmp_path: Path) -> None:
    own = tmp_path / "solver.txt"
    own.write_text("Solve a task.\n\n## Task\n{task}\n\n## Answer\nIn one word.", encoding="utf-8")
    of = model()
    await solved(of, "Multiply 9 by 45.", prompts={"solver": own})
    assert asked(of, "solver")[0].messages[0].content.endswith("In one word.")
    own.write_text("{tusk}", encoding="utf-8")
    with pytest.raises(UsageError, match="unknown slot of the prompt of solver 'tusk'"):
        await solved(of, prompts={"solver": own})


async def test_roles_may_have_models_of_their_own() -> None:
    judge = model()
    of = model(solver=lambda role, request: mistaken(request, {0: "7"}, right(role, request)))
    result = await solved(of, "Multiply 9 by 45.", roles={"solution_discriminator": judge})
    assert result.answer == "405"
    assert len(judge.requests) == 2
    assert not asked(of, "solution_discriminator")


async def test_k_and_red_flags_can_be_changed_between_runs() -> None:
    of = scripted(
        lambda request: Response(
            right("solver", request) if request.messages[0].content.startswith("Solve") else '{"subtasks": []}'
        )
    )
    agent = Agent(of, k=1)
    one = await agent.run("Multiply 9 by 45.")
    agent.k, agent.red_flags = 3, "strict"
    three = await agent.run("Multiply 9 by 45.")
    assert (one.statistics.calls, three.statistics.calls) == (2, 10)
    assert one.run != three.run
    agent.k = 0
    with pytest.raises(UsageError, match="k=0"):
        await agent.run("Multiply 9 by 45.")


# What is reported of a division


async def test_a_decomposer_is_asked_how_hard_its_parts_are_and_the_tree_says_so() -> None:
    def _divide(role: str, request: Request) -> str:
        if section(request, "Task") != TASK:
            return '{"subtasks": [], "compose": ""}'
        # All agree on the parts, and nobody on how hard they are: that is no candidate of its own.
        parts = [{"task": "Multiply 2 by 3.", "needs": [], "complexity": 0.2 + request.draw.slot / 10}]
        parts.append({"task": "Multiply it by 4.", "needs": [1], "complexity": 0.7})
        return json.dumps({"subtasks": parts, "compose": "last"})

    of = model(decomposer=_divide, solver=lambda role, request: "24" if "it by" in section(request, "Task") else "6")
    result = await solved(of)
    assert "how hard a subtask is, from 0 to 1" in asked(of, "decomposer")[0].messages[-1].content
    assert not asked(of, "decomposition_discriminator")
    assert [part.complexity for part in (result.tree.parts if result.tree else ())] == [0.2, 0.7]
    assert [part["complexity"] for part in result.to_dict()["tree"]["parts"]] == [0.2, 0.7]


async def test_the_leaves_of_a_result_need_the_leaves_that_a_branch_ends_in() -> None:
    trees: dict[str, Any] = {
        "all": ([("a", []), ("b", [1])], "last"),
        "a": ([("a1", []), ("a2", [])], "concat"),
    }

    def _divide(role: str, request: Request) -> str:
        parts, compose = trees.get(section(request, "Task"), ([], ""))
        return json.dumps({"subtasks": [{"task": task, "needs": of} for task, of in parts], "compose": compose})

    result = await solved(model(decomposer=_divide, solver=lambda role, request: section(request, "Task")), "all", k=1)
    assert result.answer == "b"
    assert result.tree is not None
    assert [(leaf.number, leaf.task, leaf.needs) for leaf in result.tree.leaves] == [
        ("1.1", "a1", ()),
        ("1.2", "a2", ()),
        ("2", "b", ("1.1", "1.2")),
    ]
