"""The values that flow through a run: messages, requests, responses, samples, votes, decisions. Data only.

All are frozen; states and actions are JSON values or typed records that encode to JSON.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

State: TypeAlias = Any
Action: TypeAlias = Any
Item: TypeAlias = int
# Three, of all the words that vendors have: whether a reply is whole, was cut or was refused is what flags go by.
Finish = Literal["stop", "length", "refusal"]
Status = Literal["running", "done", "undecided", "budget", "stopped", "interrupted", "error"]
# A row of a map whose budget, stop or interruption left it in the middle goes on at a resume, as does one that a person
# has resolved.
RowStatus = Literal["done", "undecided", "error", "skipped", "resolved", "budget", "stopped", "interrupted"]
Record = Literal["samples", "contested", "none"]


class Absent(msgspec.Struct, frozen=True):
    """The type of `ABSENT`, which stands where None could be a value."""

    def __bool__(self) -> bool:
        return False


# Code asks `is ABSENT`, never `==`: states and actions are anybody's objects, with an equality of their own.
ABSENT = Absent()


# gc=False, here and below: text and numbers can be in no cycle, and a long run makes millions of these records. Records
# that hold states, which are anybody's objects, stay in sight of the collector.
class Message(msgspec.Struct, frozen=True, gc=False):
    """One message of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


class Prompt(msgspec.Struct, frozen=True, gc=False):
    """What all draws of one step share: the messages and their digest (32 hex digits of BLAKE2b)."""

    messages: tuple[Message, ...]
    digest: str


class Draw(msgspec.Struct, frozen=True, gc=False):
    """Which sample this is. Slots are numbered in the order asked; a redraw keeps its slot."""

    step: int
    slot: int
    redraw: int = 0
    item: Item = 0


class Request(msgspec.Struct, frozen=True):
    """One call to be made. `temperature` None: send none. `seed` is derived from the run's seed and the draw.

    `state` is what the prompt was rendered from: a model in the same process may look at it, no wire carries it.
    `schema` is the JSON Schema that a provider which can is to hold its reply to; None: free text.
    """

    prompt: Prompt
    draw: Draw
    seed: int
    temperature: float | None
    max_tokens: int
    state: State = None
    schema: Any = None

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages to send."""
        return self.prompt.messages


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens as the provider reported them.

    `cached` and `cache_written` are the parts of `tokens_in` that were read from, and written to, the provider's cache
    of prompts; `reasoning` is the part of `tokens_out` that is not in the reply's text.
    """

    tokens_in: int = 0
    tokens_out: int = 0
    cached: int = 0
    cache_written: int = 0
    reasoning: int = 0


class Response(msgspec.Struct, frozen=True, gc=False):
    """One reply. `usage` None: the provider reported none. `id` is the provider's own name for the reply.

    `logprob` is the sum of the log-probabilities of the reply's tokens, where they were asked for and came. `model`
    is what answered, in the provider's words. `from_cache`: a header says that a cache gave the reply, not the model.
    """

    text: str
    finish: Finish = "stop"
    usage: Usage | None = None
    id: str = ""
    logprob: float | None = None
    model: str = ""
    from_cache: bool = False


class Move(msgspec.Struct, frozen=True):
    """What a reply says: the action, and the state it leads to."""

    action: Action
    next_state: State


class Step(msgspec.Struct, frozen=True):
    """One state to be advanced. `index` counts from 0; `kind` is the class of steps that shares one prompt form."""

    index: int
    state: State
    kind: str = ""
    item: Item = 0


# Votes of open ballots go into the journal, and most have neither a confidence nor a ranking: so defaults are omitted.
class Vote(msgspec.Struct, frozen=True, omit_defaults=True):
    """A sample without red flags: the candidate's key and the move that it stands for.

    `confidence`, from 0 to 1, is for rules that weigh votes. `ranking` holds the keys that the reply ranks, best first
    and its own among them, for rules that read whole rankings; `ranked` their moves, in the same order.
    """

    key: bytes
    move: Move
    confidence: float | None = None
    ranking: tuple[bytes, ...] = ()
    ranked: tuple[Move, ...] = ()


class Sample(msgspec.Struct, frozen=True):
    """One model call as the journal can store it. `flag` is empty for a vote; `key` is empty for a flagged sample.

    `latency` is in seconds. `model` is what answered, in the provider's words, where it says so. `confidence` is that
    of the vote, where one is asked for. `second` is the reply to the call that asked how sure the model is, whose
    tokens are among these; None: there was none.
    """

    slot: int
    redraw: int
    text: str
    flag: str = ""
    reason: str = ""
    key: bytes = b""
    finish: Finish = "stop"
    tokens_in: int = 0
    tokens_out: int = 0
    latency: float = 0.0
    id: str = ""
    digest: str = ""
    # With defaults, as all that came later: samples in older journals lack them.
    model: str = ""
    confidence: float | None = None
    second: str | None = None


# Failures that come before a request is sent.
_NEVER_SENT = frozenset({"unreachable", "dns", "certificate", "tls", "not-recorded"})


class Attempt(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One attempt at a call, as a run's ledger lists it: the draw that it was for, and what came back.

    `id` and `model` are the provider's words, the tokens as it reported them. `failure` names what came in place of a
    reply; `status` is the HTTP status that the provider refused it with, 0 if there was none.
    """

    step: int
    slot: int
    redraw: int
    item: Item = 0
    id: str = ""
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    failure: str = ""
    status: int = 0

    @property
    def is_unknown(self) -> bool:
        """Whether nobody here knows what became of it: the reply was lost on its way, and may be on the bill."""
        # A status is an answer: whoever refused the request had it, so that nothing is left unknown.
        return bool(self.failure) and not self.status and self.failure not in _NEVER_SENT


# Not frozen, unlike its neighbours: the fold of a run adds each decision to it in place.
class Totals(msgspec.Struct):
    """Counters of a run, a segment or a ballot; they add up.

    `flagged` counts discarded samples by the name of the flag, `retries` repeated calls by the name of the failure.
    `nano` is what calls have cost, in nano-dollars, where their prices are known. `elapsed` is the time since the
    decision before, in seconds: added up, that of all segments to their last ones. `wasted` counts calls of branches
    that were asked ahead and lost, `rollbacks` those branches, `reused` ballots of theirs that were taken up after all.
    `second_calls` asked models how sure they were of a reply; samples do not count them, tokens and cost do.
    `seconds` is how long samples took, added up; counted where a run has several roles, else 0.
    """

    samples: int = 0
    votes: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    flagged: dict[str, int] = msgspec.field(default_factory=dict)
    retries: dict[str, int] = msgspec.field(default_factory=dict)
    # Whole numbers, not USD as a float: the sum is the same in any order, and exact after a million calls.
    nano: int = 0
    elapsed: float = 0.0
    wasted: int = 0
    rollbacks: int = 0
    reused: int = 0
    second_calls: int = 0
    seconds: float = 0.0

    def add(self, other: Totals) -> None:
        """Add the counters of `other` to these."""
        # Field by field: it is done for every decision, and a loop over names takes several times as long.
        self.samples += other.samples
        self.votes += other.votes
        self.tokens_in += other.tokens_in
        self.tokens_out += other.tokens_out
        self.nano += other.nano
        self.elapsed += other.elapsed
        self.wasted += other.wasted
        self.rollbacks += other.rollbacks
        self.reused += other.reused
        self.second_calls += other.second_calls
        self.seconds += other.seconds
        for name, count in other.flagged.items():
            self.flagged[name] = self.flagged.get(name, 0) + count
        for name, count in other.retries.items():
            self.retries[name] = self.retries.get(name, 0) + count


class Decision(msgspec.Struct, frozen=True):
    """A decided ballot: the move that won and the votes, the winner's first, the others as they first appeared.

    `samples` holds every call that the ballot took, in slot order; it is empty where nothing was to be recorded
    and for decisions read back from a journal.
    """

    step: int
    move: Move
    votes: tuple[int, ...]
    kind: str = ""
    samples: tuple[Sample, ...] = ()

    @property
    def contested(self) -> bool:
        """Whether at least two candidates had votes."""
        return len(self.votes) > 1


class OpenBallot(msgspec.Struct, frozen=True):
    """A ballot that a stop or a cap left undecided: every sample asked so far, with the votes among them by slot.

    `redraws` says, for each slot still without a vote, how many samples it has used; `void` slots count for nothing.
    `remedy` is what is being tried since its caps ran out. `k` is the margin that a person set for it, with `cap`
    samples in all. `messages` are what was asked. `reason` is empty once a person has said how it goes on.
    """

    step: int
    state: State
    kind: str = ""
    # Pairs and no mapping: frozen with the record, and no key of a JSON object, which would be a text.
    votes: tuple[tuple[int, Vote], ...] = ()
    redraws: tuple[tuple[int, int], ...] = ()
    samples: tuple[Sample, ...] = ()
    taken: int = 0
    reason: str = ""
    void: tuple[int, ...] = ()
    remedy: str = ""
    k: int | None = None
    cap: int | None = None
    messages: tuple[Message, ...] = ()
