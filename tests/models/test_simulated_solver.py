"""The simulated roles of an agent: they read what they are sent, and are wrong as often as is set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from mdap.core import formats
from mdap.core.errors import ModelRejected, UsageError
from mdap.core.records import Draw, Message, Prompt, Request, Response
from mdap.models.catalog import as_model
from mdap.models.simulated_solver import SimulatedSolver, composed, division, mistaken_result, result, simulated_solver
from mdap.planning.candidates import Divisions, Minimality, Question, Solutions, shown_division
from mdap.planning.division import read_division
from mdap.planning.wording import Wording

TASK = "Multiply 12345 by 678."
WORDS = Wording()


def request(text: str, seed: int = 0) -> Request:
    return Request(Prompt((Message("user", text),), ""), Draw(0, 0), seed, 0.1, 2048)


async def said(model: SimulatedSolver, text: str, seed: int = 0) -> Any:
    return json.loads((await model.complete(request(text, seed))).text)


def dividing(task: str = TASK) -> str:
    made = Divisions(Question(task), WORDS, 1, 2)
    return made.prompt(made.start())


def solving(question: Question, **state: Any) -> str:
    made = Solutions(question, WORDS, 1, formats.text())
    return made.prompt(made.start() | state)


async def test_a_product_falls_into_two_by_the_digits_of_its_longer_number() -> None:
    made = await said(simulated_solver(), dividing())
    assert [part["task"] for part in made["subtasks"]] == ["Multiply 123 by 678.", "Multiply 45 by 678."]
    assert composed(made["compose"], [str(123 * 678), str(45 * 678)]) == str(12345 * 678)


async def test_small_numbers_and_short_lists_are_left_whole() -> None:
    assert (await said(simulated_solver(), dividing("Multiply 12 by 99.")))["subtasks"] == []
    assert (await said(simulated_solver(whole=1), dividing("Multiply 12 by 9.")))["subtasks"] != []
    assert (await said(simulated_solver(), dividing("Sort in ascending order: [2, 1]")))["subtasks"] == []


@pytest.mark.parametrize("task", ["Multiply 123456 by 98765.", "Sort in ascending order: [5, 3, 9, 1, 1, 0, 7]"])
def test_right_divisions_solved_and_composed_rightly_give_the_right_answer(task: str) -> None:
    def _solved(one: str) -> str:
        parts = division(one, 2)
        if not parts["subtasks"]:
            return result(one)
        return composed(parts["compose"], [_solved(part["task"]) for part in parts["subtasks"]])

    assert _solved(task) == result(task)


@pytest.mark.parametrize("right", ["0", "42", "[1, 2]"])
def test_a_slip_never_gives_what_is_right(right: str) -> None:
    assert mistaken_result(right) != right
    assert mistaken_result(mistaken_result(right)) != right


async def test_each_role_reads_what_it_was_sent() -> None:
    model = simulated_solver()
    assert await said(model, solving(Question(TASK))) == 12345 * 678
    assert await said(model, solving(Question("Multiply 2 by 3."))) == 6
    how = "Append 2 zeros to the first result, and add the second."
    results = ({"subtask": "a", "result": "83394"}, {"subtask": "b", "result": "30510"})
    assert await said(model, solving(Question(TASK, (), results, how))) == 83394 * 100 + 30510
    other = ({"subtask": "a", "result": "1"}, {"subtask": "b", "result": "2"})
    assert await said(model, solving(Question(TASK, (), other, how))) == 102
    judged = solving(Question(TASK), candidates=["1", str(12345 * 678)])
    assert (await said(model, judged))["choice"] == 2
    assert (await said(model, solving(Question(TASK), candidates=["1", "2"])))["choice"] == 0
    of_other_parts = solving(Question(TASK, (), other, how), candidates=[str(12345 * 678), "102"])
    assert (await said(model, of_other_parts))["choice"] == 2


async def test_judges_of_divisions_know_the_right_one() -> None:
    right = shown_division(read_division(division(TASK, 2), 2))
    made = Divisions(Question(TASK), WORDS, 1, 2)
    wrong = {"subtasks": [], "compose": ""}
    asked = made.prompt(made.start() | {"candidates": [wrong, right]})
    assert (await said(simulated_solver(), asked))["choice"] == 2
    assert (await said(simulated_solver(judge=1), asked))["choice"] == 1


async def test_validators_and_judges_of_size_say_yes_and_no() -> None:
    made = Solutions(Question(TASK), WORDS, 1, formats.text(), validated=True)
    asked = made.prompt(made.start() | {"chosen": [str(12345 * 678)]})
    assert (await said(simulated_solver(), asked))["verdict"] == "Yes"
    assert (await said(simulated_solver(validator=1), asked))["verdict"] == "No"
    small = Minimality(Question("Multiply 2 by 3."), WORDS)
    assert (await said(simulated_solver(), small.prompt(small.start())))["verdict"] == "Yes"


def drawn(model: SimulatedSolver, text: str, count: int) -> Iterator[Request]:
    return (request(text, seed) for seed in range(count))


@pytest.mark.parametrize(
    ("role", "text"),
    [
        ("solver", solving(Question(TASK))),
        ("decomposer", dividing()),
        ("judge", solving(Question(TASK), candidates=["1", str(12345 * 678)])),
    ],
)
async def test_each_role_is_wrong_as_often_as_is_set(role: str, text: str) -> None:
    right = (await simulated_solver().complete(request(text))).text
    model = simulated_solver(**{role: 0.3})  # type: ignore[arg-type]
    wrong = [(await model.complete(one)).text != right for one in drawn(model, text, 2000)]
    # Four standard deviations; a model twice as often wrong, or never, is far outside.
    assert abs(sum(wrong) / 2000 - 0.3) < 4 * (0.3 * 0.7 / 2000) ** 0.5


async def test_flags_are_replies_that_nobody_can_read() -> None:
    model = simulated_solver(flags=1)
    assert (await model.complete(request(dividing()))).text == "..."


async def test_a_reply_depends_on_the_text_and_the_seed_alone() -> None:
    model, again = simulated_solver(solver=0.5), as_model("simulated_solver:solver=0.5")
    asked = [request(solving(Question(TASK)), seed) for seed in range(40)]
    first = [(await model.complete(one)).text for one in asked]
    assert first == [(await again.complete(one)).text for one in reversed(asked)][::-1]
    assert len(set(first)) == 2


@pytest.mark.parametrize("text", ["Hello", "Solve a task.\n\n## Task\nBake a cake.\n\n", "Solve a task."])
async def test_what_it_cannot_read_is_refused_by_name(text: str) -> None:
    with pytest.raises(ModelRejected, match="cannot read what it is asked"):
        await simulated_solver().complete(request(text))


@pytest.mark.parametrize(("name", "value"), [("solver", 1.5), ("judge", -0.1), ("flags", 2), ("whole", 0)])
def test_what_cannot_be_simulated_is_refused(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=name):
        simulated_solver(**{name: value})


async def test_replies_have_their_tokens() -> None:
    reply = await simulated_solver().complete(request(dividing()))
    assert isinstance(reply, Response)
    assert reply.usage is not None
    assert reply.usage.tokens_in > 100 > reply.usage.tokens_out > 10
