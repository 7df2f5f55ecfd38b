"""The metrics of a run as one record that JSON reads back, and the fold that fills it. No journal is read here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from mdap.core.ballot import Rule
from mdap.core.certificate import FAILURE, certify, lowest_p
from mdap.core.errors import UsageError
from mdap.core.evidence import spread_from
from mdap.core.history import Book, RunHead
from mdap.core.prices import Tariff, UnitPrices, usd
from mdap.core.records import Item, Sample, Status, Usage

# What became of a flagged sample's answer, had it been read: right, wrong, or (None) nobody can say.
Judge = Callable[[Sample], bool | None]


class StepMetrics(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step in figures; `item` is its row, absent for a run of one task.

    `votes` are those of the winner (of an open ballot: the leader) and of the others; none where code decided. `share`
    is the winner's part of them, `posterior` the probability that it is right at the lower 95% end of p of its kind;
    absent under a rule without a bound. What follows is absent unless all samples of the step were recorded: `samples`,
    `flagged` by name, tokens as reported, `seconds` of its calls added up (they may have run at once), and `usd`, text,
    where the run has one model and its price is known; what a cache took off is not in it.
    """

    step: int
    status: Literal["decided", "open"]
    votes: tuple[int, ...]
    item: Item | None = None
    kind: str = ""
    share: float | None = None
    posterior: float | None = None
    samples: int | None = None
    flagged: dict[str, int] | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    seconds: float | None = None
    usd: str | None = None


class FlagMetrics(msgspec.Struct, frozen=True):
    """One red flag: how many samples it discarded, which `share` of all samples that is, and in how many `steps`.

    `recorded` of them can still be read, and `steps` counts theirs. Of these, `wrong` had an answer that lost, `right`
    the one that won, `unknown` none that could be read. `precision` is wrong / (wrong + right); None where that is 0/0.
    """

    name: str
    count: int
    share: float
    recorded: int
    steps: int
    wrong: int
    right: int
    unknown: int
    precision: float | None


class Ballots(msgspec.Struct, frozen=True):
    """The decided ballots of a run, open ones left out: their votes, and those for winners (`agreed`) and others.

    `votes_per_step` divides by the steps that were voted on; `least` and `most` are the votes of one of them.
    `effective_votes`: so many independent votes would vary as little from step to step as these do (Kish's design
    effect); equal to `votes` where steps differ no more than chance has them differ.
    """

    steps: int
    votes: int
    agreed: int
    dissent: int
    contested: int
    votes_per_step: float
    least: int
    most: int
    effective_votes: float


class Cost(msgspec.Struct, frozen=True):
    """What calls have cost in USD, as text, in all and for each decided step, at these `prices` by model."""

    usd: str
    per_step: str | None
    prices: dict[str, UnitPrices]


class RunMetrics(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run in figures. What `mdap run --json` and `mdap show` print stands here under the same names.

    `k` is absent where roles have their own rules, or a rule is known to its run alone; then nothing is predicted.
    `flag_share` is the discarded part of all samples, `undecided_share` that of the steps and rows that were asked.
    `rows`, of a map or a plan, counts its rows by where they stand. `each` holds the steps where they were asked for.
    """

    run: str
    task: str
    model: str
    rule: str
    k: int | None
    status: Status
    reason: str
    steps: int
    samples: int
    votes: int
    votes_per_step: float
    flagged: dict[str, int]
    retries: dict[str, int]
    wasted: int
    undecided: int
    tokens: dict[str, int]
    seconds: float
    us_per_step: float
    predicted_success: float | None
    assumption: str
    flag_share: float
    undecided_share: float
    ballots: Ballots
    flags: tuple[FlagMetrics, ...]
    cost: Cost | None = None
    rows: dict[str, int] | None = None
    each: tuple[StepMetrics, ...] = ()


def read_metrics(text: str | bytes) -> RunMetrics:
    """Return the record that was written as JSON; raises UsageError for what is none."""
    try:
        return msgspec.json.decode(text, type=RunMetrics)
    except (ValueError, RecursionError) as error:  # the latter for what is nested too deeply
        raise UsageError(f"these are no metrics: {error}", remedy="write them with `mdap metrics RUN --json`") from None


class Fold:
    """Folds the steps of a run into its metrics; what it holds does not grow with them.

    `rule` is the run's, None where nobody can make it again: then there is no prediction and no posterior.
    """

    def __init__(self, head: RunHead, book: Book, rule: Rule | None) -> None:
        self._head, self._book, self._rule = head, book, rule
        self._prices = head.prices if book.prices is None else book.prices
        # A sample does not name the spec of its model: where several have prices, nobody can say which was its own.
        self._tariff = Tariff(next(iter(self._prices.values()))) if len(self._prices) == 1 else None
        # By the very class: a subclass may decide in another way, and the bound would be none of its own.
        bounded = type(rule) in FAILURE
        self._p = {k: lowest_p(rule, seen) for k, seen in book.kinds.items() if seen.steps} if rule and bounded else {}
        self._flags: dict[str, _Flag] = {}
        self._least, self._most = 0, 0
        # Of each voted step its votes (size) and those of the winner (hits): what the design effect is made of.
        self._groups = self._size = self._hits = self._hits2 = self._size2 = self._both = 0

    def step(
        self,
        step: int,
        votes: tuple[int, ...],
        kind: str = "",
        samples: Sequence[Sample] | None = None,
        judge: Judge | None = None,
        *,
        item: Item | None = None,
        is_open: bool = False,
    ) -> StepMetrics:
        """Add one step and return its figures; `samples` are all that it took, None where they were not recorded.

        `judge` says of a flagged sample whether the answer in it was the one that won.
        """
        # Fewer votes among the samples than were cast: some were not recorded, and sums over the rest would be too
        # small.
        counted = samples if samples is not None and sum(not s.flag for s in samples) >= sum(votes) else None
        if not is_open and votes:
            self._count(votes)
        if samples:
            self._judge(samples, judge)
        size = sum(votes)
        return StepMetrics(
            step,
            "open" if is_open else "decided",
            votes,
            item,
            kind,
            share=votes[0] / size if size else None,
            posterior=self._posterior(votes, kind),
            **({} if counted is None else self._of_samples(counted)),
        )

    def result(self, each: Iterable[StepMetrics] = ()) -> RunMetrics:
        """Return the metrics of the run, with what was added so far."""
        book, head = self._book, self._head
        # Money is that of `spent`, not of the totals: what a kill left unsettled may be on the bill.
        totals, spent = book.totals, book.spent
        # A run of one task ends at its first undecided step; a map goes on, and counts its rows.
        undecided = int(book.status == "undecided") if not book.rows else book.rows.get("undecided", 0)
        certificate = None if self._rule is None else certify(self._rule, book.kinds, undecided)
        # The newest segment alone: a mean of a slow and a quick one would describe neither.
        seconds, steps = book.segment
        discarded = sum(totals.flagged.values())
        cost = None
        if self._prices:
            # As `f`: str writes a small Decimal with an exponent (1E-7).
            per_step = f"{usd(spent.nano // book.steps):f}" if book.steps else None
            cost = Cost(f"{usd(spent.nano):f}", per_step, dict(self._prices))
        return RunMetrics(
            run=head.id,
            task=head.task,
            model=head.model,
            rule=rule_of(head, book),
            k=None if self._rule is None else self._rule.k,
            status=book.status,
            reason=book.reason,
            steps=book.steps,
            samples=totals.samples,
            votes=totals.votes,
            votes_per_step=totals.votes / book.steps if book.steps else 0.0,
            flagged=totals.flagged,
            retries=totals.retries,
            wasted=totals.wasted,
            undecided=undecided,
            tokens={"in": totals.tokens_in, "out": totals.tokens_out},
            seconds=book.seconds,
            us_per_step=1e6 * seconds / steps if steps else 0.0,
            predicted_success=None if certificate is None else certificate.predicted_success,
            assumption="" if certificate is None else certificate.assumption,
            flag_share=discarded / totals.samples if totals.samples else 0.0,
            undecided_share=undecided / (book.steps + undecided) if undecided else 0.0,
            ballots=self._ballots(),
            flags=tuple(self._analysis(totals.flagged, totals.samples)),
            cost=cost,
            rows=dict(book.rows) or None,
            each=tuple(each),
        )

    def _count(self, votes: tuple[int, ...]) -> None:
        size, hits = sum(votes), votes[0]
        # 0 stands for none yet, since every ballot that comes here has a vote.
        self._least, self._most = min(self._least or size, size), max(self._most, size)
        self._groups += 1
        self._size += size
        self._hits += hits
        self._hits2 += hits * hits
        self._size2 += size * size
        self._both += hits * size

    def _ballots(self) -> Ballots:
        spread = spread_from(self._groups, self._size, self._hits, self._size2, self._hits2, self._both)
        return Ballots(
            steps=self._groups,
            votes=self._size,
            agreed=self._hits,
            dissent=self._size - self._hits,
            contested=sum(seen.contested for seen in self._book.kinds.values()),
            votes_per_step=self._size / self._groups if self._groups else 0.0,
            least=self._least,
            most=self._most,
            effective_votes=self._size / spread if self._size else 0.0,
        )

    def _posterior(self, votes: tuple[int, ...], kind: str) -> float | None:
        # Without a lower end p may be 0.5, at which no lead says anything.
        p = self._p.get(kind, 0.5)
        if p <= 0.5 or not votes:
            return None
        lead = votes[0] - max(votes[1:], default=0)
        # Eq. 9 of arXiv:2511.09030 with the lead that there was: by the likelihoods alone, whatever ended the ballot.
        return float(1 / (1 + ((1 - p) / p) ** lead))

    def _of_samples(self, samples: Sequence[Sample]) -> dict[str, Any]:
        flagged: dict[str, int] = {}
        for sample in samples:
            if sample.flag:
                flagged[sample.flag] = flagged.get(sample.flag, 0) + 1
        tariff = self._tariff
        nano = None if tariff is None else sum(tariff.cost(Usage(s.tokens_in, s.tokens_out)) for s in samples)
        return {
            "samples": len(samples),
            "flagged": flagged,
            "tokens_in": sum(sample.tokens_in for sample in samples),
            "tokens_out": sum(sample.tokens_out for sample in samples),
            "seconds": sum(sample.latency for sample in samples),
            "usd": None if nano is None else f"{usd(nano):f}",
        }

    def _judge(self, samples: Sequence[Sample], judge: Judge | None) -> None:
        seen = set()
        for sample in samples:
            if not sample.flag:
                continue
            flag = self._flags.setdefault(sample.flag, _Flag())
            flag.recorded += 1
            flag.steps += sample.flag not in seen
            seen.add(sample.flag)
            is_right = None if judge is None else judge(sample)
            if is_right is None:
                flag.unknown += 1
            elif is_right:
                flag.right += 1
            else:
                flag.wrong += 1

    def _analysis(self, flagged: Mapping[str, int], samples: int) -> Iterable[FlagMetrics]:
        """Yield the flags, the commonest first, equals by name."""
        for name, count in sorted(flagged.items(), key=lambda found: (-found[1], found[0])):
            # `count` is of the whole run; what can be judged is what was recorded, which may be fewer.
            flag = self._flags.get(name) or _Flag()
            known = flag.wrong + flag.right
            yield FlagMetrics(
                name,
                count,
                # Never by 0: what was flagged was a sample.
                count / samples,
                flag.recorded,
                flag.steps,
                flag.wrong,
                flag.right,
                flag.unknown,
                flag.wrong / known if known else None,
            )


class _Flag(msgspec.Struct):
    recorded: int = 0
    steps: int = 0
    wrong: int = 0
    right: int = 0
    unknown: int = 0


def rule_of(head: RunHead, book: Book) -> str:
    """Return the rule of a run as a spec, the one of its newest epoch."""
    return book.epochs[-1][1]["rule"] if book.epochs else head.rule
