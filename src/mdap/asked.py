"""One voted answer: a question taken through the same run as any task, and what its ballot came to. No voting here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypedDict, Unpack

import msgspec

from mdap import api
from mdap.core import formats
from mdap.core.ballot import Rule
from mdap.core.certificate import FAILURE
from mdap.core.errors import UsageError
from mdap.core.formats import Format
from mdap.core.keys import Judged, Key, resolved
from mdap.core.records import ABSENT, Message, Sample, Status, Vote
from mdap.core.redflags import RedFlagCheck, RedFlags
from mdap.core.scaling.checks import helpful
from mdap.core.settings import Settings
from mdap.core.spec import unknown
from mdap.engine.judging import Judge
from mdap.models.catalog import as_model
from mdap.models.judging import Judging
from mdap.observers import Observer
from mdap.parts import Prices, choose_rule
from mdap.protocols import Clock, Journal, Model
from mdap.result import Result
from mdap.tasks.question import Question


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcome of one voted question.

    `value` is `mdap.ABSENT` unless `decided`; it is never a plurality. It is the first vote of the winning candidate,
    `text` the reply that it was read from. `counts` holds (value, votes), the leader first; `share` is the leader's
    part of all votes, 0 to 1; `flags` counts discarded samples by the name of their red flag; `why` says why it
    stopped; `tokens` are those reported, in and out. `probability` that the answer is right is None where nothing can
    be said, and `assumption` says what it rests on, or why there is none. `judged`: what a model that grouped the
    candidates took (its tokens are no part of `tokens`); None: no model did.
    """

    value: Any
    text: str
    decided: bool
    counts: tuple[tuple[Any, int], ...]
    samples: int
    flags: dict[str, int]
    share: float
    rule: str
    status: Status
    why: str
    tokens: dict[str, int]
    seconds: float
    run: str
    probability: float | None
    assumption: str
    judged: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints, all as JSON values; `answer` is absent unless decided."""
        # Keys become text: a value of somebody's own may have others, and JSON has none.
        made: dict[str, Any] = msgspec.to_builtins(
            {name: getattr(self, name) for name in self.__struct_fields__ if name not in ("value", "counts", "judged")},
            str_keys=True,
        )
        ballot = [{"value": _json(value), "votes": votes} for value, votes in self.counts]
        judged = {} if self.judged is None else {"judged": self.judged}
        return {**({"answer": _json(self.value)} if self.decided else {}), "ballot": ballot, **made, **judged}


class AskOptions(TypedDict, total=False):
    """The options of `ask`: those of a run, but for the number of steps and what is recorded (all samples)."""

    max_samples: int
    redraws: int
    retries: int
    timeout: float
    max_tokens: int
    flag_tokens: int | None
    in_flight: int
    first_temperature: float | None
    temperature: float | None
    budget_calls: int | None
    budget_tokens: int | None
    budget_seconds: float | None
    budget_usd: Decimal | str | float | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    allow_identical: bool
    context: int | None
    share_draws: bool
    confidence: str | None
    remedies: Sequence[str]
    seed: int


class Inquiry(msgspec.Struct, frozen=True):
    """A question made ready: the task, the format of its answers and, if a model groups them, that model.

    `owns_model`: the judging model was made from a spec, and is closed once it is not needed any more.
    """

    question: Question
    form: Format
    judge: Judge | None = None
    judge_model: Model | None = None
    owns_model: bool = False


async def ask(
    prompt: str | Sequence[Message],
    model: Model | str | Callable[..., Any],
    *,
    k: int | None = None,
    rule: Rule | str | None = None,
    schema: Mapping[str, Any] | None = None,
    record: Any = None,
    pattern: str | None = None,
    one_of: Sequence[str] | None = None,
    format: Format | None = None,
    key: str | Key | Judged | None = None,
    p: float | None = None,
    journal: Journal | str | Path | None = None,
    prices: Prices | None = None,
    free: bool = False,
    red_flags: RedFlags | None = None,
    extra_flags: Sequence[RedFlagCheck] = (),
    on_event: Observer | Sequence[Observer] = (),
    clock: Clock | None = None,
    **options: Unpack[AskOptions],
) -> Answer:
    """Return the answer to one question, decided by votes (Algorithm 2), or openly undecided.

    The format of an answer is free text or one of: `schema` (a JSON Schema), `record` (a msgspec Struct, dataclass,
    TypedDict or pydantic model), `pattern` (a regular expression for the whole answer), `one_of` (the answers that
    there are), `format` (one of `mdap.core.formats`). `key` says which answers count as the same: `"folded"`,
    `"number:0.01"`, `"python"` (by syntax tree; the answer is then code), a function of the value, or
    `mdap.core.keys.judged(MODEL)`, which is no proof. `p` is the probability that one vote is right, from a
    calibration: the answer's own follows from it. All else is as in `run`, whose errors this raises, and UsageError
    for a format, key or p that makes no sense.
    """
    inquiry = prepare(prompt, schema=schema, record=record, pattern=pattern, one_of=one_of, format=format, key=key)
    chosen = choose_rule(k, rule)
    _checked(p, options)
    result = await conduct(
        inquiry,
        model,
        rule=chosen,
        journal=journal,
        prices=prices,
        free=free,
        red_flags=red_flags,
        extra_flags=extra_flags,
        on_event=on_event,
        clock=clock,
        **options,
    )
    return answer_of(result, inquiry, chosen, p)


def prepare(
    prompt: str | Sequence[Message],
    *,
    schema: Mapping[str, Any] | None = None,
    record: Any = None,
    pattern: str | None = None,
    one_of: Sequence[str] | None = None,
    format: Format | None = None,
    key: str | Key | Judged | None = None,
) -> Inquiry:
    """Return the question made ready to be asked; raises UsageError for what cannot be."""
    named, spec = resolved(key)
    form = _form(schema, record, pattern, one_of, format, spec)
    messages = [Message("user", prompt)] if isinstance(prompt, str) else list(prompt)
    if not any(message.content.strip() for message in messages):
        raise UsageError("the prompt is empty", remedy='ask something: mdap ask "PROMPT"')
    if form.instruction:
        # Within the last message: some servers refuse two of one role in a row.
        last = messages[-1]
        messages[-1] = Message(last.role, f"{last.content}\n\n{form.instruction}")
    if not isinstance(named, Judged):
        return Inquiry(Question(messages, form, named, spec), form)
    model = as_model(named.model)
    judge = Judge(model.spec, _shown)
    question = Question(messages, form, None, f"judged:{model.spec}", judge)
    return Inquiry(question, form, judge, model, isinstance(named.model, str))


async def conduct(inquiry: Inquiry, model: Model | str | Callable[..., Any], **options: Any) -> Result:
    """Return the run of one step that the question is; `options` are those of `api.run`."""
    # An answer shows its whole ballot, which is read from the samples.
    options["record"] = "samples"
    if inquiry.judge_model is None:
        return await api.run(inquiry.question, model, **options)
    # Made here, and so closed here: `api.run` is handed an object, and closes only what it makes of a spec.
    voter = as_model(model)
    try:
        return await api.run(inquiry.question, Judging(voter, inquiry.judge_model), **options)
    finally:
        for made, is_ours in ((voter, isinstance(model, str)), (inquiry.judge_model, inquiry.owns_model)):
            if is_ours:
                await api.close(made)


def answer_of(result: Result, inquiry: Inquiry, rule: Rule, p: float | None = None) -> Answer:
    """Return what the run of a question came to, from the samples that its journal holds."""
    decided = result.status == "done"
    # A tally says how many voted, not for what: the values are in the samples.
    candidates = _candidates(result.samples_of(0), inquiry)
    answer = result.state["answer"] if decided else ABSENT
    # The winner first: where a rule weighs or ranks, it need not have most votes.
    counts = sorted(candidates.values(), key=lambda found: (inquiry.form.read(found[0].text) != answer, -found[1]))
    values = [(inquiry.form.load(inquiry.form.read(sample.text)), votes) for sample, votes in counts]
    probability, assumption = _probability(rule, inquiry, p, decided=decided)
    return Answer(
        value=inquiry.form.load(answer) if decided else ABSENT,
        # The very reply: another of the same key may be worded otherwise.
        text=next((sample.text for sample, _ in counts if inquiry.form.read(sample.text) == answer), ""),
        decided=decided,
        counts=tuple(values),
        samples=result.samples,
        flags=dict(result.flagged),
        share=counts[0][1] / sum(votes for _, votes in counts) if counts else 0.0,
        rule=rule.spec,
        status=result.status,
        why="decided" if decided else result.reason,
        tokens=result.tokens,
        seconds=result.seconds,
        run=result.run,
        probability=probability,
        assumption=assumption,
        judged=None if inquiry.judge is None else inquiry.judge.account(),
    )


def _checked(p: float | None, options: Mapping[str, Any]) -> None:
    if p is not None:
        helpful(p)
    for name in options:
        # `Settings` takes more than one question has a use for, and would take it in silence.
        if name not in AskOptions.__optional_keys__:
            raise unknown("option", name, AskOptions.__optional_keys__)
    # Made for its checks alone: a bad option is told of before a journal is opened.
    Settings(**options)


def _form(
    schema: Mapping[str, Any] | None,
    record: Any,
    pattern: str | None,
    one_of: Sequence[str] | None,
    format: Format | None,
    key: str,
) -> Format:
    given = {"schema": schema, "record": record, "pattern": pattern, "one_of": one_of, "format": format}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} are given: an answer has one format", remedy="give one of them")
    if format is not None:
        return format
    if schema is not None:
        return formats.json_schema(schema)
    if record is not None:
        return formats.record(record)
    if pattern is not None:
        return formats.pattern(pattern)
    if one_of is not None:
        return formats.one_of(one_of)
    # Code comes in a fence, and what is compared by its syntax tree has to be code alone.
    return formats.python_code() if key == "python" else formats.text()


def _candidates(samples: Sequence[Sample], inquiry: Inquiry) -> dict[bytes, tuple[Sample, int]]:
    """Return, by candidate, its first sample and its votes, as they were counted: in slot order, without gaps."""
    groups = {} if inquiry.judge is None else inquiry.judge.groups
    votes = {sample.slot: sample for sample in samples if not sample.flag}
    found: dict[bytes, tuple[Sample, int]] = {}
    for slot in range(len(votes)):
        # A vote behind a gap was never cast: the run ended before the gap was filled.
        if slot not in votes:
            break
        key = groups.get(votes[slot].key, votes[slot].key)
        first, count = found.get(key, (votes[slot], 0))
        found[key] = first, count + 1
    return found


def _probability(rule: Rule, inquiry: Inquiry, p: float | None, *, decided: bool) -> tuple[float | None, str]:
    if inquiry.judge is not None:
        return None, "a model grouped the answers, and may be wrong: no proof, and so no probability"
    if not decided:
        return None, "nothing was decided, so there is nothing to be right"
    failure = FAILURE.get(type(rule))
    if failure is None:
        return None, f"no bound is known for the rule {rule.spec}"
    if p is None:
        return None, (
            "the votes on one question do not tell how often this model is right; give p, the probability that one "
            "vote is, from a calibration on questions like this"
        )
    source = "arXiv:2511.09030, Eq. 9" if rule.spec.startswith("ahead_by_k") else "the exact race of two candidates"
    return 1 - failure(p, rule.k), (
        f"{source}, at k={rule.k} and p={p:g} as given, not measured here: each vote is right with probability p "
        "whatever the others say, and wrong votes all name one answer"
    )


def _shown(vote: Vote) -> str:
    # Text as it stands: a judge is to compare answers, and not their quotation marks.
    action = vote.move.action
    return action if isinstance(action, str) else json.dumps(action, ensure_ascii=False)


def _json(value: Any) -> Any:
    # A pydantic model is told by what it can do, so that nothing has to be imported for it.
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if callable(dump) else msgspec.to_builtins(value, str_keys=True)
