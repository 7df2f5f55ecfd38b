"""What a run came to: its figures agree with each other, with the events that were told, and with the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mdap
from mdap import api
from mdap.clock import run_virtual
from mdap.core.events import Event, Progress
from mdap.journal import open_journal
from tests.engine.support import Applied, Chancy, Pairs, exported, plain_run


@given(st.sampled_from([0.5, 0.8]), st.sampled_from([0.0, 0.4]), st.sampled_from([0.0, 0.3]), st.integers(0, 10**6))
def test_the_fold_of_the_events_is_what_the_result_says(p: float, flags: float, faults: float, seed: int) -> None:
    progress, told, model = Progress(), list[Event](), Chancy(p=p, flags=flags, faults=faults, latency=2.0)
    result = run_virtual(
        plain_run(Pairs(6), model, on_event=[progress.add, told.append], seed=seed, redraws=50, retries=50)
    )
    assert result.status == progress.status == "done"
    assert (progress.total, progress.begun, progress.steps) == (6, 0, result.steps)
    assert (progress.samples, progress.votes) == (result.samples, result.votes)
    assert progress.flagged == sum(result.flagged.values()) == result.samples - result.votes
    assert progress.retries == sum(result.retries.values()) == len(model.requests) - model.replies
    assert progress.contested == sum(seen.contested for seen in result.book.kinds.values())
    assert progress.in_flight == 0
    assert result.tokens["in"] + result.tokens["out"] == model.tokens
    assert sum(sum(line["votes"]) for line in result.export()) == result.votes


def test_a_further_segment_reports_where_it_stands_and_what_it_did() -> None:
    journal = open_journal(None)
    first = run_virtual(plain_run(Pairs(8), Chancy(), journal=journal, max_steps=3))
    progress = Progress()
    last = run_virtual(
        api.resume(first.run, journal=journal, task=Pairs(8), model=Chancy(), max_steps=None, on_event=progress.add)
    )
    assert (progress.begun, progress.steps, progress.total) == (3, 8, 8)
    assert progress.samples == last.samples - first.samples


def test_actions_decisions_and_export_tell_the_same_story() -> None:
    result = run_virtual(plain_run(Applied(5), Chancy()))
    lines = list(result.export())
    assert list(result.actions) == [line["action"] for line in lines]
    assert [move.next_state for _, _, move in result.decisions] == [line["next_state"] for line in lines]
    states = [state for state, _, _ in result.decisions]
    assert states[0] == {"n": 0, "path": []}
    assert states[1:] == [line["next_state"] for line in lines[:-1]]
    assert result.state == lines[-1]["next_state"]
    assert list(lines[0]) == ["step", "kind", "action", "next_state", "votes"]


def test_everything_can_be_read_again_after_a_run_in_a_file(tmp_path: Path) -> None:
    result = mdap.run(Pairs(5), Chancy(), journal=tmp_path / "runs.db", record="samples")
    assert exported(result) == exported(result) == exported(mdap.run(Pairs(5), Chancy()))
    assert len(list(result.actions)) == 5
    assert len(result.samples_of(0)) >= 3
    assert result.wrong == 0


def test_the_printed_object_holds_every_figure_and_is_json() -> None:
    result = run_virtual(plain_run(Pairs(6), Chancy(p=0.9, flags=0.2)))
    figures = result.to_dict()
    assert msgspec.json.decode(msgspec.json.encode(figures)) == figures
    told = "run task model rule k status steps samples votes votes_per_step flagged retries undecided wrong tokens"
    told += " seconds us_per_step predicted_success assumption result"
    assert set(told.split()) <= figures.keys()
    assert (figures["task"], figures["model"], figures["k"], figures["undecided"]) == ("pairs", "chancy", 3, 0)
    assert figures["votes_per_step"] == result.votes / 6
    assert figures["samples"] == figures["votes"] + sum(figures["flagged"].values())


def test_wrong_is_absent_where_a_task_knows_no_answer() -> None:
    class Silent:
        spec, steps = "silent", 1

        def start(self) -> int:
            return 0

        def is_done(self, state: int) -> bool:
            return state > 0

        def prompt(self, state: int) -> str:
            return "?"

        def parse(self, text: str, state: int) -> mdap.Move:
            return mdap.Move(text, 1)

    result = mdap.run(Silent(), lambda _: "x")
    assert "wrong" not in result.to_dict()
    with pytest.raises(AttributeError, match="knows no answers"):
        _ = result.wrong
    assert "wrong" not in str(result)


def test_wrong_counts_decisions_against_the_answer_for_the_state_that_was_asked() -> None:
    result = run_virtual(plain_run(Pairs(40), Chancy(p=0.55), k=1))
    task = Pairs(40)
    wrong = [n for n, (state, _, move) in enumerate(result.decisions) if move != task.answer(state)]
    assert result.wrong_steps == wrong
    assert result.wrong == len(wrong) > 0


def test_an_undecided_run_says_so_and_leaves_the_open_step_out() -> None:
    result = run_virtual(plain_run(Pairs(6), Chancy(p=0.5), k=9, max_samples=20))
    figures = result.to_dict()
    assert (figures["status"], figures["undecided"], figures["steps"]) == ("undecided", 1, len(list(result.export())))
    assert "--max-samples" in figures["reason"]
    assert result.certificate.undecided == 1


def test_the_time_of_a_step_is_that_of_the_last_segment() -> None:
    journal = open_journal(None)
    first = run_virtual(plain_run(Pairs(10), Chancy(latency=2.0, p=1.0), k=1, journal=journal, max_steps=4))
    last = run_virtual(api.resume(first.run, journal=journal, task=Pairs(10), model=Chancy(p=1.0), max_steps=None))
    assert first.us_per_step == pytest.approx(1e6 * first.seconds / 4)
    assert 0.1e6 < first.us_per_step < 2e6
    assert last.us_per_step == 0.0, "no virtual time passes without latency"
    assert last.seconds == first.seconds


def test_a_result_in_one_line_names_the_run_its_end_and_what_it_took() -> None:
    result = run_virtual(plain_run(Pairs(6), Chancy(p=1.0)))
    assert str(result) == f"{result.run}: done, 6 steps, 3.000 votes a step, wrong 0, 0.00 s"


@pytest.mark.parametrize("kind", ["same", "other"])
def test_exports_are_equal_exactly_when_the_runs_are(kind: str) -> None:
    seeds: dict[str, Any] = {"same": 5, "other": 6}
    one, two = (run_virtual(plain_run(Pairs(12), Chancy(p=0.5), seed=s)) for s in (5, seeds[kind]))
    assert one.run != two.run
    assert (exported(one) == exported(two)) == (kind == "same")
