"""Confidences and rankings on their way from real replies to the rules that weigh and rank them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

import mdap
from mdap.clock import run_virtual
from mdap.core.confidence import asked_again
from mdap.core.events import Flagged, StepDecided
from mdap.core.records import ABSENT, Move, Request, Response, Usage
from mdap.journal import open_journal
from mdap.models.simulated import simulated

TASK = "hanoi:disks=5"
RULE = "log_odds:0.95"


class Sure:
    """A model that says how sure it is of the right reply, and of wrong ones; it counts what it is asked."""

    spec = "sure"

    def __init__(self, *, second: str = "80", logprob: float | None = None, finish: Any = "stop") -> None:
        self.second, self.logprob, self.finish = second, logprob, finish
        self.inner: Any = simulated(p=0.8, seed=3)
        self.firsts: list[Request] = []
        self.seconds: list[Request] = []

    def bind(self, task: Any) -> Sure:
        self.inner = self.inner.bind(task)
        return self

    async def complete(self, request: Request) -> Response:
        if asked_again(request.messages) is not None:
            self.seconds.append(request)
            return Response(self.second, self.finish, Usage(7, 5))
        self.firsts.append(request)
        reply: Response = await self.inner.complete(request)
        return msgspec.structs.replace(reply, logprob=self.logprob, usage=Usage(100, 10))


def votes_of(result: mdap.Result) -> list[tuple[int, ...]]:
    return [entry.votes for _, entry, _ in result.decisions]


async def stored(model: Any, **options: Any) -> mdap.Result:
    return await mdap.aio.run(TASK, model, rule=RULE, journal=open_journal(None), record="samples", **options)


def test_a_rule_that_weighs_is_refused_without_a_source_and_says_which_there_are() -> None:
    for rule in ("log_odds:0.95", "cisc:5"):
        with pytest.raises(mdap.errors.UsageError, match="nothing says where that comes from") as error:
            mdap.run(TASK, simulated(p=0.9), rule=rule)
        assert "--confidence logprobs, ask, ask:100 or text" in error.value.remedy
    with pytest.raises(mdap.errors.UsageError, match="confidence='tone' is unknown"):
        mdap.run(TASK, simulated(p=0.9), rule=RULE, confidence="tone")


@pytest.mark.parametrize("source", ["logprobs", "ask", "ask:100"])
def test_a_model_that_knows_how_sure_it_is_takes_fewer_votes_than_one_that_is_counted(source: str) -> None:
    model = simulated(p=0.8, auc=0.92, seed=5)
    weighed = mdap.run("hanoi:disks=7", model, rule="log_odds:0.9", confidence=source, max_samples=400)
    counted = mdap.run("hanoi:disks=7", model, rule="ahead_by_k:6")
    assert (weighed.status, weighed.wrong) == ("done", 0)
    saved = counted.votes_per_step / weighed.votes_per_step
    # Of two degrees the second call tells only which; rounded to 0 or 1 both count for the clip.
    assert saved > (1.3 if source != "ask" else 1.0)


def test_the_second_call_asks_about_the_reply_with_a_seed_of_its_own_and_is_counted_and_kept() -> None:
    model = Sure(second=" 80\n")
    result = run_virtual(stored(model, confidence="ask:100", budget_calls=10_000))
    assert (result.status, len(model.seconds)) == ("done", len(model.firsts))
    for first, second in zip(model.firsts[:1], model.seconds[:1], strict=True):
        assert second.messages[: len(first.messages)] == first.messages
        assert second.messages[-2].role == "assistant"
    seeds = [request.seed for request in (*model.firsts, *model.seconds)]
    assert len(set(seeds)) == len(seeds)
    assert {sample.confidence for sample in result.samples_of(0)} == {0.8}
    assert {sample.second for sample in result.samples_of(0)} == {" 80\n"}
    totals = result.book.totals
    assert (totals.samples, totals.second_calls) == (len(model.firsts), len(model.seconds))
    assert result.book.spend.calls == totals.samples + totals.second_calls
    assert (totals.tokens_in, totals.tokens_out) == (107 * totals.samples, 15 * totals.samples)


def test_what_a_killed_run_spent_counts_its_second_calls() -> None:
    journal = open_journal(None)

    def stop(event: Any) -> None:
        if isinstance(event, StepDecided) and event.decision.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mdap.run(TASK, Sure(), rule=RULE, confidence="ask:100", journal=journal, on_event=Raising(stop), lookahead=0)
    (head,) = journal.heads()
    book = journal.history(head.id).book
    assert book.totals.second_calls == book.totals.samples > 0
    assert book.spent.calls >= 2 * book.totals.samples


class Raising:
    """An observer whose interrupts come through."""

    def __init__(self, tell: Any) -> None:
        self.tell = tell

    def __call__(self, event: Any) -> None:
        self.tell(event)


def test_a_budget_holds_the_second_calls_too() -> None:
    model = Sure()
    result = run_virtual(stored(model, confidence="ask:100", budget_calls=15))
    assert (result.status, len(model.firsts) + len(model.seconds)) == ("budget", 15)


@pytest.mark.parametrize("second", ["", "very sure", "101", "-1", "0.8", "80%"])
def test_a_confidence_that_cannot_be_read_is_a_flag_of_its_own_name(second: str) -> None:
    flags: list[Flagged] = []
    model = Sure(second=second)
    seen = flags.append
    result = mdap.run(
        TASK,
        model,
        rule=RULE,
        confidence="ask:100",
        redraws=2,
        on_event=lambda event: seen(event) if isinstance(event, Flagged) else None,
    )
    assert result.status == "undecided"
    assert result.flagged == {"unconfident": result.samples}
    assert {flag.name for flag in flags} == {"unconfident"}
    assert "whole number from 0 to 100" in flags[0].reason


def test_a_confidence_that_was_cut_off_is_not_read() -> None:
    result = mdap.run(TASK, Sure(second="10", finish="length"), rule=RULE, confidence="ask:100", redraws=0)
    assert result.flagged == {"unconfident": result.samples}


def test_a_reply_without_log_probabilities_is_flagged_where_they_are_asked_for() -> None:
    result = mdap.run(TASK, Sure(), rule=RULE, confidence="logprobs", redraws=0)
    assert (result.status, result.flagged) == ("undecided", {"unconfident": result.samples})
    told = mdap.run(TASK, Sure(logprob=10 * math.log(0.9)), rule=RULE, confidence="logprobs")
    assert told.status == "done"


def test_a_model_that_is_known_to_send_none_is_refused_before_the_first_call() -> None:
    with pytest.raises(mdap.errors.UsageError, match="not asked for log-probabilities") as error:
        mdap.run(TASK, "openai:gpt-4.1-mini,base_url=http://127.0.0.1:9/v1", rule=RULE, confidence="logprobs")
    assert "logprobs=on" in error.value.remedy


@pytest.mark.parametrize("source", ["ask", "ask:100", "logprobs"])
def test_a_simulated_model_that_does_not_say_how_sure_it_is_is_refused_with_the_option_that_lets_it(
    source: Any,
) -> None:
    with pytest.raises(mdap.errors.UsageError, match="does not say how sure it is") as error:
        mdap.run(TASK, "simulated:p=0.9", rule=RULE, confidence=source)
    told = error.value.remedy.split()[1].rstrip(",")
    assert mdap.run(TASK, told, rule=RULE, confidence=source).status == "done"


def test_an_advice_for_log_probabilities_is_not_one_that_is_refused_next() -> None:
    with pytest.raises(mdap.errors.UsageError, match="not known to give") as error:
        mdap.run(TASK, "openai:any,base_url=http://127.0.0.1:9/v1", rule=RULE, confidence="logprobs")
    assert "vllm:MODEL,logprobs=on" in error.value.remedy


def test_the_heuristic_reads_the_words_of_the_reply() -> None:
    result = run_virtual(stored(simulated(p=0.95, seed=2), confidence="text", max_samples=400))
    assert result.status == "done"
    assert {sample.confidence for sample in result.samples_of(0)} <= {0.65, 0.85}


@pytest.mark.parametrize("steps", [1, 7, 20])
def test_a_run_taken_up_again_weighs_as_if_it_had_never_stopped(steps: int) -> None:
    options: dict[str, Any] = {"rule": RULE, "confidence": "ask:100", "max_samples": 400}

    class After:
        left = steps

        def __call__(self, event: Any) -> None:
            if isinstance(event, StepDecided):
                self.left -= 1
                if not self.left:
                    raise mdap.Stop("enough for now")

    def model() -> Any:
        return simulated(p=0.75, auc=0.85, seed=8)

    async def in_two() -> mdap.Result:
        journal = open_journal(None)
        first = await mdap.aio.run(TASK, model(), journal=journal, on_event=After(), **options)
        assert first.status == "stopped"
        return await mdap.aio.resume(first.run, journal=journal, model=model())

    whole = mdap.run(TASK, model(), **options)
    assert list(run_virtual(in_two()).export()) == list(whole.export())
    assert len(set(votes_of(whole))) > 1


def test_an_open_ballot_keeps_the_confidences_of_its_votes() -> None:
    async def in_two(max_samples: int) -> mdap.Result:
        journal = open_journal(None)
        options: dict[str, Any] = {"rule": RULE, "confidence": "logprobs"}
        model = simulated(p=0.75, auc=0.85, seed=8)
        first = await mdap.aio.run(TASK, model, journal=journal, max_samples=max_samples, **options)
        assert first.status == "undecided"
        ballot = first.book.ballot
        assert ballot is not None
        assert {vote.confidence is None for _, vote in ballot.votes} == {False}
        return await mdap.aio.resume(
            first.run, journal=journal, model=simulated(p=0.75, auc=0.85, seed=8), max_samples=400
        )

    whole = mdap.run(TASK, simulated(p=0.75, auc=0.85, seed=8), rule=RULE, confidence="logprobs", max_samples=400)
    assert list(run_virtual(in_two(5)).export()) == list(whole.export())


def test_the_source_of_confidences_is_part_of_what_a_run_is() -> None:
    counted, weighed = [
        mdap.run(TASK, simulated(p=0.95), k=2, journal=None, confidence=source).head.fingerprint["settings"]
        for source in (None, "text")
    ]
    assert "confidence" not in counted
    assert '"confidence":"text"' in weighed


def test_a_plain_vote_weighs_values_by_a_function_of_theirs_and_is_refused_without_one() -> None:
    values = iter([("a", 0.6), ("b", 0.99), ("a", 0.6), ("b", 0.99), ("b", 0.99)])
    options: dict[str, Any] = {"rule": "log_odds:0.9,steps=1", "key": lambda value: value[0]}
    voted = mdap.vote(lambda: next(values), confidence=lambda value: value[1], in_flight=1, **options)
    assert voted.winner == ("b", 0.99)
    with pytest.raises(mdap.errors.UsageError, match="nothing says where that comes from"):
        mdap.vote(lambda: ("a", 0.6), **options)
    with pytest.raises(mdap.errors.UsageError, match="reads rankings"):
        mdap.vote(lambda: "a", rule="borda:3")


# ---- rankings --------------------------------------------------------------------------------------------------------


class Colours:
    """One step: the reply ranks colours, best first."""

    steps = 1
    vote_on = "action"

    def start(self) -> Any:
        return ""

    def is_done(self, state: Any) -> bool:
        return bool(state)

    def prompt(self, state: Any) -> str:
        return "Rank the colours."

    def parse(self, text: str, state: Any) -> Move:
        return self.rank(text, state)[0]

    def rank(self, text: str, state: Any) -> Sequence[Move]:
        return [Move(word, ABSENT) for word in text.split()]

    def check(self, state: Any, move: Move) -> str | None:
        return None if move.action in ("red", "green", "blue", "black") else f"{move.action} is no colour"

    def apply(self, state: Any, action: Any) -> Any:
        return action


def says(*replies: str) -> Any:
    """A model that gives these replies by slot, again from the first."""

    def model(request: Request) -> Response:
        return Response(replies[(request.draw.slot + request.draw.redraw) % len(replies)])

    return model


BALLOTS = ("red green blue", "red green blue", "blue green red", "blue green red", "green blue red")


def test_a_candidate_can_win_that_fewest_replies_put_first() -> None:
    decided = {rule: mdap.run(Colours(), says(*BALLOTS), rule=f"{rule}:5").state for rule in ("borda", "irv", "mrr")}
    # Worked out by hand: Borda 4, 6, 5 points; of the first places green has fewest, and its ballot goes to blue.
    assert decided == {"borda": "green", "irv": "blue", "mrr": "blue"}


def test_the_winner_of_rankings_is_decided_with_its_own_votes_first() -> None:
    result = mdap.run(Colours(), says("red green", "red green", "blue green", "blue green", "green"), rule="borda:5")
    assert [entry.votes for _, entry, _ in result.decisions] == [(1, 2, 2)]


def test_a_candidate_that_nobody_puts_first_can_win_and_is_stored_as_a_decision() -> None:
    journal = open_journal(None)
    made = mdap.run(Colours(), says("red green", "blue green", "black green"), rule="borda:3", journal=journal)
    assert (made.status, made.state) == ("done", "green")
    assert [entry.votes for _, entry, _ in made.decisions] == [(0, 1, 1, 1)]
    again = mdap.resume(made.run, journal=journal, task=Colours(), model=says("red"))
    assert list(again.export()) == list(made.export())


def test_a_reply_that_ranks_what_is_refused_is_flagged_as_a_whole() -> None:
    result = mdap.run(Colours(), says("red mauve", "red blue"), rule="borda:3")
    assert result.status == "done"
    assert set(result.flagged) == {"illegal"}


def test_equal_candidates_count_where_they_stand_first() -> None:
    result = mdap.run(Colours(), says("red red green"), rule="borda:3", journal=None)
    assert result.state == "red"


def test_a_rule_that_ranks_is_refused_for_replies_that_rank_nothing() -> None:
    with pytest.raises(mdap.errors.UsageError, match="reads rankings, and the replies of Hanoi hold none"):
        mdap.run(TASK, simulated(p=0.9), rule="borda:5")


def test_rankings_of_an_open_ballot_outlive_a_stop() -> None:
    journal = open_journal(None)
    first = mdap.run(Colours(), says(*BALLOTS), rule="borda:5", journal=journal, max_samples=3)
    assert first.status == "undecided"
    resumed = mdap.resume(first.run, journal=journal, task=Colours(), model=says(*BALLOTS), max_samples=10)
    assert resumed.state == "green"
