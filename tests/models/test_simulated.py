"""The simulated model: what its replies are made of, what they depend on, and what it refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mdap.clock import run_virtual
from mdap.core.errors import ModelRejected, RedFlag, TaskError, UsageError
from mdap.core.records import Draw, Move, Prompt, Request, Response
from mdap.models.simulated import BABBLE, Simulated, simulated
from mdap.tasks.hanoi import hanoi
from tests.models.contract import ModelContract
from tests.models.toy import Counting, Rows, asked

DRAWS = [(step, slot) for step in range(60) for slot in range(5)]


async def replies(model: Simulated, draws: list[tuple[int, int]] = DRAWS, **how: Any) -> list[Response]:
    return [await model.complete(asked(step, slot, **how)) for step, slot in draws]


class TestPlain(ModelContract):
    options: dict[str, Any] = {"p": 0.7, "flags": 0.2, "wrong": "several", "seed": 3}  # noqa: RUF012

    @pytest.fixture
    def model(self) -> Simulated:
        return simulated(**self.options).bind(Counting())

    @pytest.fixture
    def slow(self) -> Simulated:
        return simulated(p=0.7, latency=90.0).bind(Counting())

    @pytest.fixture
    def failing(self) -> Simulated:
        return simulated()


class TestPaper(TestPlain):
    options = {"preset": "paper", "seed": 1}  # noqa: RUF012


class TestWithLatency(TestPlain):
    options = {"p": 0.7, "latency": 1e-5, "sigma": 0.6, "length": 300}  # noqa: RUF012


async def test_a_reply_is_a_function_of_model_seed_prompt_and_request_seed_alone() -> None:
    model = simulated(p=0.6, flags=0.2, length=200).bind(Counting())
    one = asked(5, 2)
    # Another step index, slot, temperature and run: what counts is the prompt and the seed.
    other = Request(one.prompt, Draw(99, 7, 3, 4), one.seed, None, one.max_tokens, one.state)
    assert await model.complete(one) == await model.complete(other)
    assert await simulated(p=0.6, flags=0.2, length=200).bind(Counting()).complete(one) == await model.complete(one)
    assert await replies(simulated(p=0.6, seed=1).bind(Counting())) != await replies(
        simulated(p=0.6, seed=2).bind(Counting())
    )
    slots = [await model.complete(asked(5, slot)) for slot in range(40)]
    assert len({reply.text for reply in slots}) > 1


async def test_an_answer_from_text_is_the_answer_from_the_state() -> None:
    model = simulated(p=0.7, flags=0.1).bind(Counting())
    served = simulated(p=0.7, flags=0.1).bind(Counting())
    assert await replies(model) == await replies(served, in_text=True)


async def test_forgotten_steps_are_answered_as_before() -> None:
    model = simulated(p=0.7, flags=0.1).bind(Counting())
    before = await replies(model, [(step, 0) for step in range(2_000)])
    assert await replies(model, [(step, 0) for step in range(2_000)]) == before


async def test_with_p_1_every_reply_is_right_and_its_usage_is_its_own_size() -> None:
    model = simulated(p=1.0).bind(Counting())
    for step, _ in DRAWS:
        reply = await model.complete(asked(step))
        assert reply.text == f"<{step + 1}>"
        assert reply.usage is not None
        assert (reply.usage.tokens_in, reply.usage.tokens_out) == (4, 1)


async def test_with_p_0_every_reply_is_a_mistake_of_the_task_and_they_collide() -> None:
    texts = {step: {r.text for r in await replies(simulated(p=0.0).bind(Counting()), [(step, s) for s in range(30)])}
             for step in range(5)}  # fmt: skip
    assert texts == {step: {f"<{step + 2}>"} for step in range(5)}


@pytest.mark.parametrize(("wrong", "known", "seen"), [("several", 30, 3), ("several", 2, 2), ("spread", 30, 20)])
async def test_wrong_answers_split_over_as_many_mistakes_as_are_told_and_known(
    wrong: Any, known: int, seen: int
) -> None:
    model = simulated(p=0.0, wrong=wrong).bind(Counting(known))
    texts = {r.text for r in await replies(model, [(0, slot) for slot in range(400)])}
    assert texts == {f"<{2 + j}>" for j in range(seen)}


async def test_flagged_replies_are_cut_malformed_or_babble_and_no_votes() -> None:
    task = Rows()
    model = simulated(p=0.9, flags=1.0).bind(task)
    kinds = set()
    for step, slot in DRAWS:
        request = asked(step, slot)
        reply = await model.complete(request)
        kind = "cut" if reply.finish == "length" else "babble" if reply.text == BABBLE else "malformed"
        kinds.add(kind)
        if kind == "malformed":
            assert reply.text == f"[{step + 2}"  # a mistake, left open: what a repairing parser would read
        if kind == "cut":
            assert reply.usage is not None
            assert reply.usage.tokens_out == request.max_tokens
        with pytest.raises(RedFlag):
            task.parse(reply.text, step)
    assert kinds == {"cut", "malformed", "babble"}


async def test_flags_of_a_real_task_are_flags_and_a_repairing_parser_takes_some_as_votes() -> None:
    strict, repair = hanoi(4), hanoi(4, parser="repair")
    model = simulated(p=1.0, flags=1.0).bind(strict)
    state = strict.start()
    repaired = []
    for slot in range(200):
        reply = await model.complete(_request(strict, state, slot))
        if reply.finish == "length":
            continue
        with pytest.raises(RedFlag):
            strict.parse(reply.text, state)
        try:
            repaired.append(repair.parse(reply.text, state))
        except RedFlag:
            continue
    assert len(repaired) > 20
    assert all(move == strict.mistakes(state)[0] for move in repaired)


async def test_a_state_where_nothing_is_right_is_answered_with_a_mistake_or_else_with_babble() -> None:
    lost = frozenset({3})
    assert {r.text for r in await replies(simulated(p=1.0).bind(Counting(lost=lost)), [(3, 0), (3, 1)])} == {"<5>"}
    nothing = await replies(simulated(p=1.0).bind(Counting(0, lost=lost)), [(3, 0), (2, 0)])
    assert [reply.text for reply in nothing] == [BABBLE, "<3>"]


async def test_a_wrong_vote_where_no_mistake_is_known_is_babble_and_never_the_right_answer() -> None:
    assert {r.text for r in await replies(simulated(p=0.0).bind(Counting(0)))} == {BABBLE}


async def test_no_reply_claims_more_tokens_than_it_was_allowed() -> None:
    for reply in await replies(simulated(p=0.5, flags=0.3, length=100).bind(Counting()), cap=110):
        assert reply.usage is not None
        assert 1 <= reply.usage.tokens_out <= 110
    for reply in await replies(simulated(p=1.0).bind(hanoi(4)), [], cap=3):
        assert reply.finish == "length"
    task = hanoi(12)
    short = await simulated(p=1.0).bind(task).complete(_request(task, task.start(), 0, cap=5))
    assert (short.finish, len(short.text)) == ("length", 20)


async def test_an_unbound_model_says_how_to_bind_it() -> None:
    with pytest.raises(ModelRejected, match=r"no task is bound to it.*--task"):
        await simulated(p=0.9).complete(asked(1))


def test_a_task_that_cannot_be_played_is_refused_when_it_is_bound_with_what_it_lacks() -> None:
    class Mute:
        """It has no reply to write."""

        def answer(self, state: Any) -> Move:
            return Move(state, state)

    with pytest.raises(UsageError, match="Mute: it has no method write or mistakes"):
        simulated(p=0.9).bind(Mute())  # type: ignore[arg-type]


async def test_text_that_is_no_prompt_of_the_task_is_rejected() -> None:
    model = simulated(p=0.9).bind(Counting())
    text = Prompt(asked("nonsense").messages, "other")
    with pytest.raises(ModelRejected, match="cannot read the prompt"):
        await model.complete(Request(text, Draw(0, 0), 1, None, 10))


async def test_a_task_that_raises_is_named() -> None:
    class Broken(Counting):
        """It knows no answer."""

        def answer(self, state: int) -> Move:
            raise KeyError(state)

    with pytest.raises(TaskError, match=r"Broken\.answer, mistakes or write raised KeyError"):
        await simulated(p=0.9).bind(Broken()).complete(asked(1))


def test_latency_is_slept_on_the_clock_and_never_touches_the_reply() -> None:
    async def timed(sigma: float) -> tuple[list[float], list[Response]]:
        model = simulated(p=0.7, latency=30.0, sigma=sigma).bind(Counting())
        loop, waited, said = asyncio.get_running_loop(), [], []
        for slot in range(50):
            began = loop.time()
            said.append(await model.complete(asked(1, slot)))
            waited.append(loop.time() - began)
        return waited, said

    constant, said = run_virtual(timed(0.0))
    assert constant == pytest.approx([30.0] * 50)
    spread, same = run_virtual(timed(0.6))
    assert said == same
    assert len(set(spread)) == 50
    assert run_virtual(timed(0.6))[0] == pytest.approx(spread)


class Hours:
    """A clock that only writes down how long it was asked to sleep."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_a_clock_of_ones_own_is_slept_on() -> None:
    clock = Hours()
    model = simulated(p=0.9, latency=3600.0, clock=clock).bind(Counting())
    await model.complete(asked(1))
    assert clock.slept == [3600.0]
    await simulated(p=0.9, clock=clock).bind(Counting()).complete(asked(1))
    assert len(clock.slept) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"p": 1.5}, "p=1.5 is no probability"),
        ({"p": float("nan")}, "p=nan is no probability"),
        ({"hard": -0.1}, "hard=-0.1"),
        ({"flags": 2.0}, "flags=2.0"),
        ({"length": -1}, "length=-1 is out of range"),
        ({"latency": float("inf")}, "latency=inf"),
        ({"sigma": 0.6}, "sigma does nothing without latency"),
        ({"p_hard": 0.6}, "p_hard does nothing without hard"),
        ({"flag_share": 0.5}, "flag_share does nothing without flags"),
        ({"flags": 0.6, "flag_share": 0.5}, "does not fit into flag_share=0.5"),
        ({"flags": 0.1, "flag_share": 0.0}, "does not fit into flag_share=0.0"),
        ({"flags": 0.1, "flag_shape": 0.01}, "no Beta law"),
        ({"flags": 1.0, "flag_shape": 2.0}, "no Beta law"),
        ({"wrong": "all"}, "there is: collide, several, spread"),
        ({"preset": "papers"}, "did you mean 'paper'"),
        ({"preset": "paper", "p": 0.9}, "simulated:paper fixes p"),
        ({"preset": "paper", "flags": 0.1, "wrong": "spread"}, "fixes flags, wrong"),
    ],
)
def test_options_that_make_no_model_are_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        simulated(**options)
    assert said in str(caught.value)


def _request(task: Any, state: Any, slot: int, *, cap: int = 750) -> Request:
    messages = tuple(task.prompt(state))
    return Request(Prompt(messages, repr(state)), Draw(0, slot), slot, 0.1, cap, state)
