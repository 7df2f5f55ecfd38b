"""The embedded model: what its replies depend on and what they do not, and how it does under voting."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from mdap.api import run
from mdap.core.errors import ModelError, ModelRejected, UsageError
from mdap.core.keyed import uniforms
from mdap.core.records import Draw, Prompt, Request, Response
from mdap.engine.taskview import TaskView
from mdap.journal import open_journal
from mdap.models.catalog import as_model
from mdap.models.micro import Micro, micro
from mdap.models.micro.model import copied
from mdap.models.micro.network import (
    CONTEXT,
    VOCABULARY,
    Floats,
    Network,
    NumpyNetwork,
    Past,
    Tokens,
    no_past,
    read_weights,
    weights_hash,
)
from mdap.models.micro.writing import END, Guess, Job, no_guess, write
from mdap.tasks.hanoi import Hanoi, hanoi, path_state
from mdap.tasks.running_sum import running_sum
from tests.models.contract import ModelContract

needs_onnx = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed: extra `micro`")
HOME = Path(sys.modules["mdap.models.micro"].__file__ or "").parent


def asked(state: Any, seed: int = 0, *, disks: int = 20, heat: float | None = 1.0, most: int = 750) -> Request:
    """A request as a run would make it."""
    prompt = TaskView(hanoi(disks, form="compact")).prompt(state)
    return Request(prompt, Draw(0, seed), seed, heat, most, state)


def mixed(count: int, disks: tuple[int, ...] = (20,)) -> list[Request]:
    """Requests for steps of the standard paths, each three times with seeds of its own."""
    rng = Random(5)
    requests: list[Request] = []
    while len(requests) < count:
        n = rng.choice(disks)
        state = hanoi(n).sample(rng)
        requests += [asked(state, rng.randrange(2**31), disks=n) for _ in range(3)]
    return requests[:count]


async def together(model: Micro, requests: list[Request]) -> list[Response]:
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(model.complete(request)) for request in requests]
    return [call.result() for call in calls]


class Fragile:
    """A network that runs out of memory."""

    def extend(self, tokens: Tokens, past: Past, first: int = 0) -> tuple[Floats, Past]:
        raise MemoryError(f"no room for {tokens.shape}")


class Shaky:
    """A network whose logits are off by up to `size`, and by something else for every shape of a batch."""

    def __init__(self, size: float) -> None:
        self.size = size
        self._network = NumpyNetwork()

    def extend(self, tokens: Tokens, past: Past, first: int = 0) -> tuple[Floats, Past]:
        logits, grown = self._network.extend(tokens, past, first)
        rng = np.random.default_rng((*logits.shape, int(tokens.sum())))
        return logits + self.size * rng.uniform(-1, 1, logits.shape), grown


def model_on(network: Network, seed: int = 0) -> Micro:
    return Micro(network, seed=seed, temperature=1.0, batch=64, spec="micro")


class TestContract(ModelContract):
    @pytest.fixture
    def model(self) -> Micro:
        return micro(backend="numpy")

    @pytest.fixture
    def slow(self) -> Micro:
        pytest.skip("no call of micro takes long enough: see the test of a call that waits for its batch")

    @pytest.fixture
    def failing(self) -> Micro:
        return model_on(Fragile())

    def request(self, step: int, slot: int = 0, redraw: int = 0) -> Request:
        return asked(path_state(20, 1000 * step), 10 * slot + redraw)


@needs_onnx
class TestContractOnOnnx(TestContract):
    @pytest.fixture
    def model(self) -> Micro:
        return micro(backend="onnx")


async def test_a_call_that_is_cancelled_while_it_waits_for_its_batch_leaves_the_others_as_they_are() -> None:
    requests = mixed(6)
    alone = await together(micro(backend="numpy"), requests)
    model = micro(backend="numpy")
    calls = [asyncio.ensure_future(model.complete(request)) for request in requests]
    await asyncio.sleep(0)
    calls[2].cancel()
    rest = [calls[i] for i in (0, 1, 3, 4, 5)]
    assert [await call for call in rest] == [alone[i] for i in (0, 1, 3, 4, 5)]
    assert calls[2].cancelled()


async def test_every_call_of_a_batch_that_cannot_be_computed_fails_and_none_hangs() -> None:
    model = model_on(Fragile())
    calls = [asyncio.ensure_future(model.complete(request)) for request in mixed(3)]
    done, waiting = await asyncio.wait(calls, timeout=5)
    assert not waiting
    for call in done:
        with pytest.raises(ModelError, match="could not compute a batch of 3: no room"):
            call.result()


# What a reply depends on


async def test_a_reply_is_the_move_the_next_state_and_the_end_with_its_tokens_counted() -> None:
    reply = await micro(backend="numpy").complete(asked(path_state(20, 12345), heat=0.0))
    assert re.fullmatch(r"[0-9]{2}[0-2]{22}\n", reply.text)
    assert (reply.finish, reply.usage.tokens_in, reply.usage.tokens_out) == ("stop", 25, 25)  # type: ignore[union-attr]


async def test_other_seeds_of_the_request_and_of_the_model_draw_otherwise() -> None:
    state = path_state(20, 777)
    heat = 3.0  # where most replies differ
    by_request = {r.text for r in await together(micro(), [asked(state, seed, heat=heat) for seed in range(20)])}
    by_model = {(await micro(seed=seed).complete(asked(state, heat=heat))).text for seed in range(20)}
    assert len(by_request) > 15
    assert len(by_model) > 15


@pytest.mark.slow
async def test_a_reply_is_the_same_whatever_shares_its_batch() -> None:
    requests = mixed(60, disks=(3, 7, 20, 20))
    alone = [await micro(backend="numpy").complete(request) for request in requests]
    for batch in (1, 7, 64):
        model = micro(backend="numpy", batch=batch)
        assert await together(model, requests) == alone
        assert await together(model, requests[::-1]) == alone[::-1]


async def test_temperatures_share_a_batch_and_each_reply_has_its_own() -> None:
    heats = [0.0, 0.5, 1.0, 1.5, 4.0, None]
    requests = [asked(path_state(20, 99), seed, heat=heat) for seed in range(10) for heat in heats]
    alone = [await micro(backend="numpy").complete(request) for request in requests]
    assert await together(micro(backend="numpy"), requests) == alone
    cold = [reply.text for reply, request in zip(alone, requests, strict=True) if request.temperature == 0]
    hot = [reply.text for reply, request in zip(alone, requests, strict=True) if request.temperature == 4]
    assert len(set(cold)) == 1
    assert len(set(hot)) > 5
    none = [reply for reply, request in zip(alone, requests, strict=True) if request.temperature is None]
    assert none == [reply for reply, request in zip(alone, requests, strict=True) if request.temperature == 1]


@pytest.mark.slow
@needs_onnx
async def test_both_backends_write_the_same_replies() -> None:
    requests = mixed(600, disks=(3, 10, 20, 20, 20))
    assert await together(micro(backend="onnx"), requests) == await together(micro(backend="numpy"), requests)


def texts_of(network: Network, jobs: list[Job], guess: Guess = copied, size: int = 64) -> list[list[int]]:
    """What is written for copies of `jobs`, in batches of `size`."""
    exact = NumpyNetwork("float64")
    fresh = [Job(job.prompt, job.chances, job.most, job.temperature) for job in jobs]
    for at in range(0, len(fresh), size):
        write(network, exact, fresh[at : at + size], guess)
    return [job.written for job in fresh]


def jobs(count: int, heat: float = 1.0) -> list[Job]:
    rng, task = Random(8), hanoi(20, form="compact")
    made = []
    for i in range(count):
        prompt = [VOCABULARY.index(sign) for sign in task.prompt(task.sample(rng))[0].content]
        chances = [u for block in range(4) for u in uniforms(b"%d %d" % (i, block))]
        made.append(Job(prompt, chances, CONTEXT - len(prompt), heat))
    return made


def written_plainly(job: Job) -> list[int]:
    """The definition: token by token, each from the whole text before it, all in float64."""
    network = NumpyNetwork("float64")
    written: list[int] = []
    while len(written) < job.most and END not in written:
        logits, _ = network.extend(np.array([job.prompt + written]), no_past(1, np.float64))
        odds = np.exp((logits[0, -1] - logits[0, -1].max()) / job.temperature)
        written.append(int((job.chances[len(written)] >= (odds / odds.sum()).cumsum()[:-1]).sum()))
    return written


@pytest.mark.slow
@pytest.mark.parametrize("heat", [1.0, 2.0])
def test_a_reply_is_what_token_by_token_arithmetic_in_float64_gives(heat: float) -> None:
    some = jobs(20, heat)
    assert texts_of(NumpyNetwork(), some) == [written_plainly(job) for job in some]


def nonsense(prompt: list[int], written: list[int]) -> list[int]:
    return [(sum(prompt) + len(written) + i) % len(VOCABULARY) for i in range(9)]


def too_much(prompt: list[int], written: list[int]) -> list[int]:
    return [*copied(prompt, written), *range(12)] * 3


@pytest.mark.slow
@pytest.mark.parametrize("guess", [no_guess, nonsense, too_much])
def test_guessing_ahead_changes_how_fast_a_reply_is_written_and_never_the_reply(guess: Guess) -> None:
    some = jobs(60, 1.5)
    assert texts_of(NumpyNetwork(), some, guess, 20) == texts_of(NumpyNetwork(), some)


class Counted:
    """The network, counting its passes."""

    def __init__(self) -> None:
        self.passes, self.rows = 0, 0
        self._network = NumpyNetwork()

    def extend(self, tokens: Tokens, past: Past, first: int = 0) -> tuple[Floats, Past]:
        self.passes += 1
        self.rows += len(tokens)
        return self._network.extend(tokens, past, first)


def test_a_reply_takes_five_passes_instead_of_twenty_five() -> None:
    guessing, plain = Counted(), Counted()
    some = jobs(10)
    for job in some:
        texts_of(guessing, [job])
        texts_of(plain, [job], no_guess)
    assert plain.passes == 25 * len(some)
    assert guessing.passes <= 6 * len(some)


def test_votes_on_one_state_share_their_rows() -> None:
    job = jobs(1)[0]
    votes = [Job(job.prompt, jobs(9)[i].chances, job.most) for i in range(9)]
    network = Counted()
    texts_of(network, votes)
    assert network.rows <= 2 * network.passes


@pytest.mark.slow
def test_choices_that_are_close_do_not_depend_on_how_the_numbers_were_rounded() -> None:
    some = jobs(150, 2.0)  # where many draws are between two tokens
    right = texts_of(NumpyNetwork(), some)
    # Four times as far off as the backends ever are.
    assert texts_of(Shaky(5e-5), some) == right
    # Off by far more than the margin, replies do change: the test above can fail.
    assert texts_of(Shaky(0.1), some) != right


@pytest.mark.slow
@needs_onnx
async def test_a_million_tokens_are_the_same_on_both_backends_in_batches_of_any_size() -> None:
    requests, tokens = iter(mixed(48_000)), 0
    models = [micro(backend="onnx", batch=256), micro(backend="numpy", batch=64), micro(backend="onnx", batch=3)]
    while tokens < 1_000_000:
        some = list(islice(requests, 1_024))
        first, second = [await together(model, some) for model in models[:2]]
        assert first == second
        assert await together(models[2], some[:128]) == first[:128]
        tokens += sum(reply.usage.tokens_out for reply in first if reply.usage)


# Where a reply ends


@pytest.mark.parametrize("most", [1, 4, 5, 24, 25, 26])
async def test_a_cap_cuts_the_reply_there_and_says_so(most: int) -> None:
    whole = await micro(backend="numpy").complete(asked(path_state(20, 5), 3, heat=0.0))
    cut = await micro(backend="numpy").complete(asked(path_state(20, 5), 3, heat=0.0, most=most))
    assert cut.text == whole.text[:most]
    assert cut.finish == ("stop" if most >= 25 else "length")
    assert cut.usage is not None
    assert cut.usage.tokens_out == min(most, 25)


async def test_no_reply_goes_past_the_context() -> None:
    replies = await together(
        micro(backend="numpy"), [asked(path_state(3, 2), s, disks=3, heat=50.0) for s in range(60)]
    )
    lengths = {len(reply.text) for reply in replies}
    assert max(lengths) == CONTEXT - len("0000000>")
    assert all((reply.finish == "stop") == reply.text.endswith("\n") for reply in replies)


# What it cannot take


@pytest.mark.parametrize(
    "text", ["", "hello", "0000000", "00000>", "0000" + "0" * 21 + ">", "0000000>\n", "\uff10000000>"]
)
async def test_a_prompt_of_another_form_is_rejected_before_anything_is_computed(text: str) -> None:
    request = asked(path_state(3, 0), disks=3)
    prompt = Prompt((request.messages[0].__class__("user", text),), "")
    with pytest.raises(ModelRejected, match="micro cannot read the prompt"):
        await model_on(Fragile()).complete(Request(prompt, request.draw, 0, 1.0, 9))


@pytest.mark.parametrize("task", [hanoi(5), hanoi(2, form="compact"), hanoi(21, form="compact"), running_sum(5)])
def test_a_task_that_it_cannot_read_is_refused_before_the_first_call(task: Any) -> None:
    with pytest.raises(UsageError, match="cannot read the prompts of this task"):
        micro(backend="numpy").bind(task)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("micro:temperature=-1", "temperature=-1.0 is out of range"),
        ("micro:temperature=nan", "temperature=nan is out of range"),
        ("micro:batch=0", "batch=0 is out of range"),
        ("micro:backend=cuda", "backend='cuda'"),
        ("micro:heat=1", "unknown option of micro 'heat'"),
    ],
)
def test_an_option_out_of_range_says_what_to_give(spec: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        as_model(spec)
    with pytest.raises(UsageError, match="unknown"):
        micro(backend="cuda")  # type: ignore[arg-type]


@pytest.mark.parametrize("spec", ["micro", "micro:seed=1", "micro:seed=-3,temperature=1.5,backend=numpy,batch=8"])
def test_it_is_made_again_from_its_spec(spec: str) -> None:
    model = as_model(spec)
    assert model.spec == spec
    assert as_model(model.spec).spec == spec


def test_backend_and_batch_are_no_part_of_what_makes_two_runs_the_same_but_seed_and_weights_are() -> None:
    assert micro(seed=1, batch=3, backend="numpy").identity == micro(seed=1).identity
    assert micro(seed=1).identity != micro(seed=2).identity
    assert weights_hash()[:16] in micro().identity


def test_it_prescribes_temperature_1_for_every_draw_or_the_one_it_was_given() -> None:
    assert (micro().first_temperature, micro().temperature) == (1.0, 1.0)
    assert (micro(temperature=1.5).first_temperature, micro(temperature=1.5).temperature) == (1.5, 1.5)


def without(module: str, code: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter in which `module` is not installed."""
    lines = f"import sys; sys.modules[{module!r}] = None; from mdap.models.catalog import as_model\n{code}"
    return subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=60, check=False)


def test_without_numpy_the_error_names_the_extra() -> None:
    said = without("numpy", "as_model('micro')").stderr
    assert "UsageError: micro computes with numpy, which is not installed. pip install 'mdap[micro]'" in said


def test_without_onnxruntime_it_computes_with_numpy_unless_onnx_was_asked_for() -> None:
    done = without("onnxruntime", "print(type(as_model('micro')._network).__name__); as_model('micro:backend=onnx')")
    assert done.stdout.strip() == "NumpyNetwork"
    assert (
        "UsageError: backend=onnx needs onnxruntime, which is not installed. pip install 'mdap[micro]'" in done.stderr
    )


# What ships


def test_the_weights_are_those_of_the_model_card_and_fit_in_a_megabyte() -> None:
    card = (HOME / "MODEL_CARD.md").read_text()
    assert weights_hash() in card
    assert sum(path.stat().st_size for path in (HOME / "micro.bin", HOME / "micro.onnx")) <= 1_000_000
    assert f"{sum(array.size for array in read_weights().values()):,} parameters" in card


def test_a_weights_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.bin").write_bytes((HOME / "micro.bin").read_bytes()[:-4])
    with pytest.raises(UsageError, match="holds 152,639 numbers, not 152,640"):
        read_weights(tmp_path / "cut.bin")


def favourites(disks: int, steps: list[int]) -> Iterator[tuple[str, str]]:
    """The favourite replies to the states of the standard path at `steps`, each with the right one."""
    task = hanoi(disks, form="compact")
    states = [path_state(disks, step) for step in steps]
    model = micro()
    for at in range(0, len(states), 64):
        replies = asyncio.run(together(model, [asked(s, disks=disks, heat=0.0) for s in states[at : at + 64]]))
        for state, reply in zip(states[at : at + 64], replies, strict=True):
            yield reply.text, task.write(task.answer(state))  # type: ignore[arg-type]


@pytest.mark.parametrize("disks", [3, 4, 7, 8])
def test_its_favourite_reply_is_right_on_the_whole_path_of_few_disks(disks: int) -> None:
    assert all(said == right for said, right in favourites(disks, list(range(2**disks - 1))))


def test_its_favourite_reply_is_right_at_every_first_move_of_a_large_disk() -> None:
    steps = [2**disk - 1 + i for disk in range(20) for i in range(3) if 2**disk - 1 + i < 2**20 - 1]
    assert all(said == right for said, right in favourites(20, steps))


# Under voting


async def test_voting_reaches_the_end_without_a_wrong_step() -> None:
    result = await run("hanoi:disks=7", "micro:seed=1", k=3)
    assert (result.status, result.steps, result.wrong) == ("done", 127, 0)
    assert result.flagged.get("malformed", 0) > 0  # its mistakes are real


@pytest.mark.slow
async def test_single_calls_derail_where_voting_does_not() -> None:
    single = await run("hanoi:disks=10", "micro:seed=2", k=1, max_steps=200)
    voted = await run("hanoi:disks=10", "micro:seed=2", k=3, max_steps=200)
    assert single.wrong > 0
    assert (voted.steps, voted.wrong) == (200, 0)


async def test_the_fingerprint_holds_the_compact_prompt_and_the_weights(tmp_path: Path) -> None:
    result = await run(Hanoi(3), micro(seed=4), k=2, journal=tmp_path / "runs.db")
    journal = open_journal(tmp_path / "runs.db")
    fingerprint = journal.head(result.run).fingerprint
    journal.close()
    assert fingerprint["prompt"] == "user: 0000000>"
    assert fingerprint["task"] == "hanoi:disks=3,form=compact"
    assert fingerprint["model"] == f"micro:seed=4 weights {weights_hash()[:16]}"
