"""A model made of chance: it knows the right reply from the task, and goes wrong as often and in the ways it is told.

A reply is a function of (model seed, prompt, request seed), a step's rates of (model seed, prompt). No shared stream.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from statistics import NormalDist
from typing import Any, Final, Literal

import msgspec

from mdap.clock import LoopClock
from mdap.core.confidence import asked_again, write_second
from mdap.core.errors import ModelRejected, UsageError
from mdap.core.foreign import Foreign
from mdap.core.keyed import uniforms
from mdap.core.prompting import prompt_of
from mdap.core.records import Message, Request, Response, State, Usage
from mdap.core.spec import unknown, write_spec
from mdap.models.paperlaw import PAPER, REPLY_TOKENS, Law
from mdap.models.rates import Part, Rates
from mdap.protocols import Clock, Task

Wrong = Literal["collide", "several", "spread"]

SPLITS: Final[dict[str, tuple[float, ...]]] = {"collide": (1.0,), "several": (1 / 3,) * 3, "spread": (1 / 20,) * 20}
"""How wrong votes of one step split over the task's `mistakes`; among fewer, where it names fewer."""


def simulated(
    preset: str | None = None,
    *,
    p: float | None = None,
    wrong: Wrong | None = None,
    hard: float | None = None,
    p_hard: float | None = None,
    flags: float | None = None,
    flag_share: float | None = None,
    flag_shape: float | None = None,
    length: int = 0,
    latency: float = 0.0,
    sigma: float = 0.0,
    auc: float = 0.0,
    seed: int = 0,
    clock: Clock | None = None,
) -> Simulated:
    """Return a model whose votes are right with probability `p` (0.9), and that costs nothing.

    `wrong`: all wrong votes of a step name one answer (collide, the default), up to 3 (several) or up to 20 (spread).
    `hard` (0): share of steps whose p is `p_hard` (0.55). `flags` (0): share of samples that are red-flagged, all in
    `flag_share` (1) of the steps; these have one flag rate, or rates from a Beta with a = `flag_shape`.
    `length`: mean tokens of a reply in its usage, the text itself stays short (0: what the text has). `latency`:
    seconds of a call, lognormal with this median if `sigma` is above 0, slept on `clock` (the event loop's). `auc`: the
    model says how sure it is, by log-probabilities and when asked; a right reply is surer than a wrong one with this
    probability, ties split, and of the replies with confidence c a share of c is right.
    The preset `paper` fixes p to flag_shape, and the length, as in the 20-disk run of arXiv:2511.09030 (`paperlaw`).
    Raises UsageError for a value out of range and for options that have no effect together.
    """
    chances = {"p": p, "hard": hard, "p_hard": p_hard, "flags": flags, "flag_share": flag_share}
    shape = {"wrong": wrong, "flag_shape": flag_shape}
    # What was not given is left out of the spec, so that one model has one spec.
    given = {name: value for name, value in (chances | shape).items() if value is not None}
    _check(preset, given, length, latency, sigma)
    if auc and not 0.5 <= auc < 1.0:
        raise UsageError(f"simulated: auc={auc!r} is out of range", remedy="give auc from 0.5 to below 1")
    if preset is None:
        # In front, where it also stands when it is given: one model has one spec.
        given = {"p": 0.9} | given
    others = {"length": length, "latency": latency, "sigma": sigma, "auc": auc, "seed": seed}
    spec = write_spec("simulated", given | {name: value for name, value in others.items() if value}, bare=preset)
    law = PAPER if preset else _law(given)
    return Simulated(
        spec, law, length or (REPLY_TOKENS if preset else 0), latency, sigma, auc, seed, None, clock or LoopClock()
    )


class Odds(msgspec.Struct, frozen=True, gc=False):
    """What chance has in store for a step: the key of its draws, its flag rate, and the wrong rate of its votes."""

    key: bytes
    flags: float
    wrong: float


class Fate(msgspec.Struct, frozen=True, gc=False):
    """What becomes of one sample. `which` and `size`, in [0, 1), settle the kind of it and its length."""

    outcome: Literal["right", "wrong", "flagged"]
    which: float
    size: float


def odds_of(law: Law, seed: int, digest: str) -> Odds:
    """Return the odds of the step whose prompt has this digest."""
    key = b"%d %b" % (seed, digest.encode())
    flag_part, flag_height, wrong_part, wrong_height = uniforms(b"step " + key, 4)
    return Odds(key, law.flags.rate(flag_part, flag_height), law.wrong.rate(wrong_part, wrong_height))


def fate_of(odds: Odds, seed: int) -> Fate:
    """Return what becomes of the sample that was asked for with this seed."""
    luck, size = uniforms(b"%b %d" % (odds.key, seed), 2)
    if luck < odds.flags:
        return Fate("flagged", luck / odds.flags, size)
    # What is left of the number is even again, and independent of the flag.
    luck = (luck - odds.flags) / (1.0 - odds.flags)
    if luck < odds.wrong:
        return Fate("wrong", luck / odds.wrong, size)
    return Fate("right", 0.0, size)


class Simulated:
    """A model bound to a task, or not yet; see `simulated`. `law` is how its samples fall."""

    is_seeded = True

    def __init__(
        self,
        spec: str,
        law: Law,
        length: int,
        latency: float,
        sigma: float,
        auc: float,
        seed: int,
        task: Task | None,
        clock: Clock,
    ) -> None:
        self.spec = spec
        self.law = law
        self.task = task
        # What `bind` makes another one of: this one may be bound to other tasks at the same time.
        self._made = (spec, law, length, latency, sigma, auc, seed)
        self._auc, self._seed = auc, seed
        self._latency, self._sigma = latency, sigma
        self._clock = clock
        self._lengths = _lognormal(length) if length else ()
        self._ends = tuple(accumulate(law.split))
        self._steps: dict[str, _Step] = {}
        self._guard = Foreign(f"{type(task).__name__}.answer, mistakes or write")

    def __repr__(self) -> str:
        return f"<model {self.spec}>"

    @property
    def confides_by(self) -> str:
        """The option that lets it say how sure it is; empty where it does."""
        return "" if self._auc else "auc=0.8"

    def bind(self, task: Task) -> Simulated:
        """Return this model for `task`; raises UsageError naming the methods that the task lacks for it."""
        # A model that is never wrong has no use for mistakes, and then the task need not name any.
        needed = ["answer", "write", "mistakes"] if self.law.wrong.mean else ["answer", "write"]
        lacking = [name for name in needed if not callable(getattr(task, name, None))]
        if lacking:
            raise UsageError(
                f"{self.spec} cannot play {type(task).__name__}: it has no method {' or '.join(lacking)}",
                remedy="give the task these methods, or use another model",
            )
        return Simulated(*self._made, task, self._clock)

    async def complete(self, request: Request) -> Response:
        """Answer from the task's `answer` and `mistakes`, after the latency.

        Raises ModelRejected where no task is bound, or where the prompt is not one of the task's.
        """
        second = asked_again(request.messages) if self._auc else None
        if second is not None:
            # How sure it is depends on the step that the reply was for, so that step's odds are looked up.
            request = msgspec.structs.replace(request, prompt=prompt_of(second[0]))
        step = self._steps.get(request.prompt.digest)
        if step is None:
            step = self._open(request)
        if second is not None:
            response = step.reply(write_second(self._confidence(step, second[1], request.seed), second[2]))
        else:
            response = self._draw(step, request)
            if self._auc:
                response = self._with_logprob(step, response, request.seed)
        if self._latency:
            await self._clock.sleep(self._seconds(step.odds, request.seed))
        return response

    def _open(self, request: Request) -> _Step:
        if self.task is None:
            raise ModelRejected(
                f"{self.spec} does not know what is asked: no task is bound to it",
                remedy="run it on a task, `mdap serve` it with --task, or call bind(task)",
            )
        state = self._read(request.messages) if request.state is None else request.state
        digest = request.prompt.digest
        step = _Step(self.task, self._guard, state, odds_of(self.law, self._seed, digest), request.messages)
        # Enough for the steps that are open at once; the oldest goes first.
        while len(self._steps) >= _KEPT:
            del self._steps[next(iter(self._steps))]
        self._steps[digest] = step
        return step

    def _read(self, messages: Sequence[Message]) -> State:
        read: Any = getattr(self.task, "read", None)
        if read is None:
            raise ModelRejected(
                f"{type(self.task).__name__} has no method read, so {self.spec} cannot answer text alone",
                remedy="give the task `read(messages) -> state`",
            )
        try:
            return read(messages)
        except ValueError as error:
            raise ModelRejected(
                f"{self.spec} cannot read the prompt: {error}", remedy="serve it with --task and the options of the run"
            ) from None

    def _draw(self, step: _Step, request: Request) -> Response:
        # Most steps of a long run are sure, and the hash that a fate is made of is most of what a draw costs.
        fate = _SURE if step.is_sure and not self._lengths else fate_of(step.odds, request.seed)
        if fate.outcome == "right":
            # None: wrong decisions led to a state where nothing is right.
            reply = step.right or self._mistake(step, fate.which)
        else:
            reply = self._mistake(step, fate.which) if fate.outcome == "wrong" else None
        if reply is None:
            return self._flagged(step, fate, request.max_tokens)
        return self._reply(step, reply, fate.size, request.max_tokens)

    def _confidence(self, step: _Step, reply: str, seed: int) -> float:
        """Return how sure the model is of a reply: one of two degrees, each right as often as it says."""
        is_right = step.right is not None and reply == step.right.text
        chance = self._auc if is_right else 1.0 - self._auc
        is_sure = uniforms(b"sure %b %d" % (step.odds.key, seed), 1)[0] < chance
        # Bayes: how often a reply that is told with this degree is right.
        of_right, of_wrong = (self._auc, 1.0 - self._auc) if is_sure else (1.0 - self._auc, self._auc)
        right, wrong = (1.0 - step.odds.wrong) * of_right, step.odds.wrong * of_wrong
        return right / (right + wrong)

    def _with_logprob(self, step: _Step, reply: Response, seed: int) -> Response:
        confidence, usage = self._confidence(step, reply.text, seed), reply.usage
        if usage is None or not usage.tokens_out or not confidence:
            return reply
        # Confidence is read as the mean probability of a token, so the whole has it once for each.
        return msgspec.structs.replace(reply, logprob=usage.tokens_out * math.log(confidence))

    def _mistake(self, step: _Step, which: float) -> Response | None:
        wrong = step.mistakes(len(self._ends))
        if not wrong:
            return None
        # Where a task has fewer mistakes than the law has shares, those that there are divide all of it.
        return wrong[min(bisect_right(self._ends, which * self._ends[len(wrong) - 1]), len(wrong) - 1)]

    def _flagged(self, step: _Step, fate: Fate, cap: int) -> Response:
        """Half of them are cut off, a quarter is malformed, a quarter says nothing; the paper has no such figures."""
        which = fate.which if fate.outcome == "flagged" else 1.0
        if which < 0.5:
            text = step.right.text if step.right is not None else BABBLE
            return Response(text[: len(text) // 2], "length", Usage(step.tokens_in, cap))
        # Form and content fail together (arXiv:2511.09030, Fig. 9): a parser that repairs reads a mistake.
        mistake = self._mistake(step, 0.0) if which < 0.75 else None
        return self._reply(step, step.reply(_unclosed(mistake.text if mistake else "") or BABBLE), fate.size, cap)

    def _reply(self, step: _Step, reply: Response, size: float, cap: int) -> Response:
        """`reply` with the length that was drawn for it, and cut where it passes the cap by itself."""
        tokens = reply.usage.tokens_out if reply.usage else 0
        if tokens > cap:
            return Response(reply.text[: cap * _CHARACTERS], "length", Usage(step.tokens_in, cap))
        if not self._lengths:
            return reply
        claimed = self._lengths[int(size * len(self._lengths))]
        if claimed > cap:
            # A length that would pass the cap ends at it: flags are for `flags` alone.
            claimed = cap
        return Response(reply.text, "stop", Usage(step.tokens_in, claimed if claimed > tokens else tokens))

    def _seconds(self, odds: Odds, seed: int) -> float:
        if not self._sigma:
            return self._latency
        # By a key of its own: how long a reply takes says nothing about what it says.
        height = uniforms(b"time %b %d" % (odds.key, seed), 1)[0]
        # The normal law has no value at 0: half of the smallest step between two uniform numbers stands for it.
        return self._latency * math.exp(self._sigma * _NORMAL.inv_cdf(height or 2.0**-54))


_SURE = Fate("right", 0.0, 0.0)
BABBLE: Final = "That depends on how one looks at it, so let us go through all of it once more before we say anything."
_CHARACTERS = 4  # of a token, about, in English text and in lists of small numbers
_KEPT = 256
_NORMAL = NormalDist()
# Of the lognormal law of lengths: the shortest of the paper's first million replies, 256 tokens, is then the 4.9
# standard deviations below the mean that the shortest of a million is.
_LENGTH_SIGMA = 0.15


class _Step:
    """What all draws of one step share; its mistakes are looked up when one is first needed."""

    __slots__ = ("_guard", "_state", "_task", "_wrong", "is_sure", "odds", "right", "tokens_in")

    def __init__(self, task: Any, guard: Foreign, state: State, odds: Odds, messages: Sequence[Message]) -> None:
        self._task, self._guard, self._state = task, guard, state
        self._wrong: list[Response] | None = None
        self.odds = odds
        self.tokens_in = sum([_tokens(message.content) for message in messages])
        with self._guard:
            answer = task.answer(state)
            self.right = None if answer is None else self.reply(task.write(answer))
        self.is_sure = not (odds.flags or odds.wrong or self.right is None)

    def mistakes(self, most: int) -> list[Response]:
        """Replies that state the task's mistakes, the likeliest first."""
        if self._wrong is None:
            with self._guard:
                moves = self._task.mistakes(self._state) if hasattr(self._task, "mistakes") else []
                self._wrong = [self.reply(self._task.write(move)) for move in moves[:most]]
        return self._wrong

    def reply(self, text: str) -> Response:
        """A reply with the tokens that its own text has."""
        return Response(text, "stop", Usage(self.tokens_in, _tokens(text)))


def _law(given: dict[str, Any]) -> Law:
    hard, share = given.get("hard", 0.0), given.get("flag_share", 1.0)
    wrong = [Part(1.0 - hard, 1.0 - given["p"]), Part(hard, 1.0 - given.get("p_hard", 0.55))]
    # `flags` is a share of all samples, the rate of a part one of the samples within its steps.
    flags = [Part(share, given.get("flags", 0.0) / share, given.get("flag_shape", 0.0))]
    return Law(Rates(flags), Rates(wrong), SPLITS[given.get("wrong", "collide")])


# An option that stands here does nothing without the other.
_NEEDS = {"p_hard": "hard", "flag_share": "flags", "flag_shape": "flags", "sigma": "latency"}


def _check(preset: str | None, given: dict[str, Any], length: int, latency: float, sigma: float) -> None:
    if preset is not None and preset != "paper":
        raise unknown("preset of simulated", preset, ["paper"])
    if preset is not None and given:
        raise UsageError(
            f"simulated:{preset} fixes {', '.join(given)}", remedy=f"leave {preset} out, or give length, latency, seed"
        )
    if "wrong" in given and given["wrong"] not in SPLITS:
        raise unknown("kind of wrong answers", given["wrong"], SPLITS)
    numbers = {name: value for name, value in given.items() if name not in ("wrong", "flag_shape")}
    for name, value in numbers.items():
        if not 0.0 <= value <= 1.0:
            raise UsageError(f"simulated: {name}={value!r} is no probability", remedy=f"give {name} from 0 to 1")
    for name, value in {"length": length, "latency": latency, "sigma": sigma}.items():
        if not 0.0 <= value < math.inf:
            raise UsageError(f"simulated: {name}={value!r} is out of range", remedy=f"give {name} from 0 up")
    all_given = given | {name: value for name, value in (("latency", latency), ("sigma", sigma)) if value}
    for name, other in _NEEDS.items():
        if name in all_given and other not in all_given:
            raise UsageError(f"simulated: {name} does nothing without {other}", remedy=f"give {other} too")
    _check_flags(given.get("flags", 0.0), given.get("flag_share", 1.0), given.get("flag_shape", 0.0))


def _check_flags(flags: float, share: float, shape: float) -> None:
    if flags and flags > share:
        raise UsageError(
            f"simulated: flags={flags!r} does not fit into flag_share={share!r} of the steps",
            remedy="give a flag_share of at least flags",
        )
    # Below, the quantiles of `rates` become coarse; above, the law is all but a point, which needs no shape.
    if shape and not (0.1 <= shape <= 1000.0 and flags < share):
        raise UsageError(
            f"simulated: no Beta law has flag_shape={shape!r} and the mean {flags / share:.3g}",
            remedy="give flag_shape from 0.1 to 1000, and flags below flag_share",
        )


def _lognormal(mean: int) -> tuple[int, ...]:
    """256 equally likely lengths with this mean."""
    # The mean of a lognormal law is its median times exp(sigma^2 / 2).
    median = mean / math.exp(_LENGTH_SIGMA**2 / 2)
    return tuple(round(median * math.exp(_LENGTH_SIGMA * _NORMAL.inv_cdf((i + 0.5) / 256))) for i in range(256))


def _tokens(text: str) -> int:
    return -(-len(text) // _CHARACTERS)


def _unclosed(text: str) -> str:
    """`text` up to its last closing bracket, without it; nothing where there is none."""
    return text[: max(text.rfind(bracket) for bracket in ")]}")] if any(b in text for b in ")]}") else ""
