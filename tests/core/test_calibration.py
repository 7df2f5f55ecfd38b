"""What samples say of each kind of step, what follows for a run, and how a calibration is held against one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import pytest

from mdap.core import scaling
from mdap.core.calibrated import Calibration, ModelCalibration, comparable, decode
from mdap.core.calibration import Drawn, Kind, again, kinds_of
from mdap.core.errors import FingerprintChanged, UsageError, VotingCannotHelp
from mdap.core.events import RunEnded, StepDecided, Warned
from mdap.core.records import Decision, Move, Sample, Totals
from mdap.core.verdict import failure, judge, undecided_after
from mdap.engine.drift import Drift, Wager
from tests.core.drawing import RIGHT, Law, drawn


def votes(right: int, wrong: int, keys: Sequence[bytes] = (b"1",), kind: str = "") -> list[Drawn]:
    """First samples of so many states."""
    samples = [Drawn(n, kind, "right", RIGHT) for n in range(right)]
    return samples + [Drawn(right + n, kind, "wrong", keys[n % len(keys)]) for n in range(wrong)]


def repeats(state: int, right: int, same: int, other: int = 0, key: bytes = b"1") -> list[Drawn]:
    """Samples of one state that was drawn again."""
    drawn_again = [Drawn(state, "", "right", RIGHT, again=True)] * right
    drawn_again += [Drawn(state, "", "wrong", key, again=True)] * same
    return drawn_again + [Drawn(state, "", "wrong", b"other", again=True)] * other


def only(samples: Sequence[Drawn]) -> Kind:
    (kind,) = kinds_of(samples)
    return kind


def test_p_is_of_votes_alone_and_v_of_all_first_samples() -> None:
    flagged = [Drawn(100 + n, "", "flagged", flag="truncated" if n else "malformed") for n in range(5)]
    kind = only([*votes(90, 10), *flagged])
    assert (kind.p.hits, kind.p.trials) == (90, 100)
    assert (kind.v.hits, kind.v.trials) == (100, 105)
    assert kind.flags == {"truncated": 4, "malformed": 1}
    assert kind.states == 105


def test_a_state_that_is_drawn_again_counts_once_for_p() -> None:
    plain, more = only(votes(90, 10)), only([*votes(90, 10), *repeats(95, 1, 19)])
    assert more.p == plain.p
    assert more.wrong.hits == 19


def test_kinds_are_told_apart_and_their_shares_are_those_of_the_states() -> None:
    first, second = kinds_of([*votes(30, 0, kind="b"), *(Drawn(100 + n, "a", "right", RIGHT) for n in range(10))])
    assert (first.name, first.share, second.name, second.share) == ("a", 0.25, "b", 0.75)


def test_without_repeats_all_wrong_votes_may_name_one_answer() -> None:
    kind = only(votes(90, 10))
    assert kind.q.high == pytest.approx(1 - kind.p.low)
    assert kind.q.value == pytest.approx(0.1)


def test_repeats_that_never_name_the_same_wrong_answer_lower_q() -> None:
    base = votes(50, 50)
    spread = only([*base, *(d for n in range(50, 75) for d in repeats(n, 4, 0, 4))])
    together = only([*base, *(d for n in range(50, 75) for d in repeats(n, 4, 4, 0))])
    assert spread.q.high < 0.2 < together.q.value
    assert 0.5 < together.q.high < 1 - together.p.low + 1e-9


def test_wrong_votes_that_come_back_on_their_steps_are_two_sorts_of_steps() -> None:
    samples = [*votes(790, 10), *(d for n in range(790, 798) for d in repeats(n, 6, 4)), *repeats(798, 10, 0)]
    kind = only([*samples, *repeats(799, 10, 0)])
    assert kind.wrong.found
    easy, hard = kind.sorts
    assert hard.p.value == pytest.approx(0.6, abs=0.05)
    assert 8 / 800 < hard.share < hard.most < 0.12
    assert easy.p.value > 0.99
    assert easy.share == pytest.approx(1 - hard.share)


def test_steps_that_are_alike_are_one_sort() -> None:
    kind = only([*votes(790, 10), *(d for n in range(790, 800) for d in repeats(n, 10, 0))])
    assert not kind.wrong.found
    assert len(kind.sorts) == 1
    assert kind.sorts[0].p.value == kind.p.value


def test_flags_that_come_back_are_no_sign_of_wrong_votes() -> None:
    flagged = [Drawn(200 + n, "", "flagged", flag="malformed") for n in range(5)]
    flagged += [Drawn(200 + n, "", "flagged", flag="malformed", again=True) for n in range(5) for _ in range(10)]
    kind = only([*votes(195, 0), *flagged])
    assert kind.flagged.found
    assert not kind.wrong.found


def test_a_step_on_which_the_same_wrong_answer_wins_again_and_again_is_lost() -> None:
    assert only([*votes(99, 1), *repeats(99, 0, 10)]).lost == 1
    assert only([*votes(99, 1), *repeats(99, 5, 5)]).lost == 0
    # Wrong answers that differ from one another lose to the right one.
    assert only([*votes(99, 1), *repeats(99, 3, 2, 5)]).lost == 0


def test_what_is_drawn_again_never_exceeds_what_there_is() -> None:
    assert again(200, 0) == (0, 0)
    assert again(200, 1) == (1, 100)
    assert again(200, 10) == (10, 20)
    assert again(200, 100) == (25, 8)
    assert again(3, 10) == (1, 3)
    for samples in range(0, 300, 7):
        for states in range(0, 90, 4):
            count, each = again(samples, states)
            assert count * each <= samples
            assert count <= states


def test_tokens_are_means_of_a_call_and_times_are_absent_where_nobody_measured() -> None:
    samples = [Drawn(n, "", "right", RIGHT, tokens_in=100, tokens_out=n) for n in range(11)]
    kind = only(samples)
    assert (kind.tokens_in, kind.tokens_out) == (100, 5)
    assert kind.latency is None
    assert kind.timing is None


def test_the_k_of_alike_steps_is_that_of_the_law_at_the_lower_end_of_p() -> None:
    kind = only(votes(9965, 35))
    verdict = judge([kind], 2**20 - 1, 0.95)
    assert verdict.k == scaling.k_min(kind.p.low, 2**20 - 1, 0.95) == 4
    assert verdict.k_if_exact == scaling.k_min(0.9965, 2**20 - 1, 0.95) == 3
    assert verdict.projection is not None
    assert verdict.projection.success == pytest.approx(scaling.run_success(kind.p.low, 4, 2**20 - 1))
    assert verdict.projection.votes_per_step.value == pytest.approx(scaling.expected_votes(0.9965, 4))


def test_calls_are_votes_over_v_and_tokens_follow_them() -> None:
    samples = [
        Drawn(n, "", "right" if n % 20 else "flagged", RIGHT, "x", tokens_in=10, tokens_out=3) for n in range(800)
    ]
    projection = judge([only(samples)], 1000, 0.95).projection
    assert projection is not None
    assert projection.calls.value == pytest.approx(1000 * projection.votes_per_step.value / 0.95)
    assert projection.calls.low < projection.calls.value < projection.calls.high
    assert projection.tokens_in.value == pytest.approx(10 * projection.calls.value)
    assert projection.tokens_out.high == pytest.approx(3 * projection.calls.high)
    assert projection.seconds is None


def test_hard_steps_raise_k_far_above_what_the_mean_would_ask_for() -> None:
    samples = [*votes(1990, 10), *(d for n in range(1990, 2000) for d in repeats(n, 70, 30))]
    kind = only(samples)
    verdict = judge([kind], 1000, 0.95)
    assert len(kind.sorts) == 2
    assert verdict.k is not None
    assert verdict.k > 2 * scaling.k_min(kind.p.low, 1000, 0.95)


def test_each_kind_adds_its_own_failures() -> None:
    easy, hard = votes(500, 0, kind="easy"), [msgspec.structs.replace(d, state=d.state + 1000) for d in votes(450, 50)]
    kinds = kinds_of([*easy, *hard])
    both, alone = judge(kinds, 1000, 0.95), judge([kinds[0]], 500, 0.95)
    assert both.k is not None
    assert alone.k is not None
    assert both.k >= alone.k
    assert both.projection is not None
    wrong = math.fsum(500 * failure((s.p.low, s.q.high), both.k) for kind in kinds for s in kind.sorts)
    assert both.projection.success == pytest.approx(math.exp(-wrong), rel=1e-3)


def test_p_of_half_or_less_goes_on_where_wrong_answers_are_rarer_and_is_marked() -> None:
    kinds = kinds_of(drawn(Law(0.4, (0.05,) * 20), 1, 2000))
    verdict = judge(kinds, 1000, 0.95)
    assert verdict.k is not None
    assert verdict.by_rivals
    assert verdict.rounds == ()
    sort = kinds[0].sorts[0]
    assert verdict.k == scaling.k_min_rivals(sort.p.low, sort.q.high, 1000, 0.95)


def test_overlapping_intervals_are_refused_with_the_figures() -> None:
    verdict = judge([only(votes(43, 57, kind="classify"))], 100, 0.95)
    assert verdict.k is None
    assert verdict.refusal.startswith("voting cannot help for steps of kind 'classify': p=0.43 (95% interval 0.337 to")
    assert "commonest wrong answer 0.57" in verdict.refusal
    assert verdict.k_if_exact is None


def test_a_lost_step_is_refused_whatever_p_is() -> None:
    verdict = judge([only([*votes(990, 10), *(d for n in range(990, 1000) for d in repeats(n, 0, 20))])], 100, 0.95)
    assert verdict.refusal.startswith("voting cannot help: on 10 of 1,000 steps the same wrong answer comes more often")


def test_a_model_of_which_nothing_is_a_vote_is_refused() -> None:
    verdict = judge([only([Drawn(n, "", "flagged", flag="empty") for n in range(50)])], 100, 0.95)
    assert verdict.refusal == "nothing can be said: none of 50 samples was a vote"


def test_few_samples_are_refused_rather_than_believed() -> None:
    assert judge([only(votes(3, 0))], 100, 0.95).refusal
    assert not judge([only(votes(30, 0))], 100, 0.95).refusal


def test_what_was_not_seen_is_bounded_by_three_over_n_and_its_effect_is_said() -> None:
    verdict = judge([only(votes(10_000, 0))], 10**6, 0.95)
    unseen = verdict.unseen
    assert unseen is not None
    assert unseen.share == pytest.approx(3 / 10_000, rel=0.01)
    assert unseen.unanimous == 11  # 10,000 steps without a hard one, a million to go
    assert unseen.success < 1e-6
    assert unseen.allowed < 1e-6
    short = judge([only(votes(10_000, 0))], 10, 0.95).unseen
    assert short is not None
    assert short.success > 0.95


def test_rounds_begin_at_k_with_all_contested_steps_and_shrink() -> None:
    kind = only(votes(950, 50))
    verdict = judge([kind], 10_000, 0.95)
    first = verdict.rounds[0]
    assert first.votes == verdict.k
    assert first.expected == pytest.approx(10_000 * (1 - 0.95**first.votes - 0.05**first.votes), rel=1e-6)
    assert [row.high for row in verdict.rounds] == sorted((row.high for row in verdict.rounds), reverse=True)
    assert all(row.low <= row.expected < row.high + 1 <= row.if_hard + 1 for row in verdict.rounds)
    assert verdict.rounds[-1].high == 0


def test_undecided_counts_are_taken_from_the_votes_that_ballots_took() -> None:
    assert undecided_after(iter([3, 3, 5, 7])) == [4, 4, 2, 2, 1, 1, 0]
    assert undecided_after([]) == []


FINGERPRINT = {
    "task": "hanoi:disks=5",
    "prompt": "user: one\nuser: two",
    "model": "m",
    "rule": "ahead_by_k:3",
    "flags": "truncated",
    "settings": '{"max_tokens":750,"seed":7}',
}


def made(samples: Sequence[Drawn] = ()) -> Calibration:
    kinds = kinds_of(samples or votes(95, 5))
    model = ModelCalibration("m", "m", comparable(FINGERPRINT), 100, kinds, judge(kinds, 31, 0.95))
    return Calibration("hanoi:disks=5", 0.95, 31, 100, 0, 0.1, "sample", "answer", (model,))


def test_a_calibration_is_read_back_as_it_was_written() -> None:
    assert decode(made().encode()) == made()


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"task": 1}', b"\xff", made().encode().replace(b'"version":1', b'"version":9')]
)
def test_what_is_no_calibration_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(UsageError):
        decode(data)


def test_a_calibration_fits_a_run_of_another_seed_and_rule() -> None:
    run = {**FINGERPRINT, "rule": "first_to_k:2", "settings": '{"max_tokens":750,"seed":8}'}
    assert made().fitting(run) is not None


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("task", "hanoi:disks=5,parser=repair", "task: hanoi:disks=5 -> hanoi:disks=5,parser=repair"),
        ("prompt", "user: one\nuser: three", "-user: two"),
        ("model", "other", "model: m -> other"),
        ("flags", "none", "flags: truncated -> none"),
        ("settings", '{"max_tokens":9,"seed":7}', '"max_tokens":9'),
    ],
)
def test_a_calibration_of_something_else_is_refused_with_the_difference(part: str, value: str, said: str) -> None:
    with pytest.raises(FingerprintChanged) as caught:
        made().fitting({**FINGERPRINT, part: value})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("calibrated", "asked", "fits"),
    [
        ("micro:seed=0 weights ab", "micro:seed=1 weights ab", True),
        ("simulated:paper,seed=1", "simulated:paper", True),
        ("simulated:seed=1,p=0.9", "simulated:p=0.9", True),
        ("a:seed=1+b:seed=-2", "a:seed=3+b", True),
        ("simulated:p=0.9,seed=1", "simulated:p=0.8,seed=1", False),
        ("micro:seed=0 weights ab", "micro:seed=0 weights cd", False),
        ("m:noseed=1", "m:noseed=2", False),
    ],
)
def test_a_model_is_the_same_with_another_seed(calibrated: str, asked: str, fits: bool) -> None:
    (model,) = made().models
    one = msgspec.structs.replace(made(), models=(msgspec.structs.replace(model, identity=calibrated),))
    run = {**FINGERPRINT, "model": asked}
    if fits:
        assert one.fitting(run).identity == calibrated
    else:
        with pytest.raises(FingerprintChanged):
            one.fitting(run)


def test_a_refused_model_has_no_k_to_give() -> None:
    (model,) = made(votes(40, 60)).models
    with pytest.raises(VotingCannotHelp, match="voting cannot help"):
        _ = model.k
    assert model.calls_per_step is None


def test_a_wager_grows_with_hits_and_shrinks_without() -> None:
    wager = Wager(0.01, 20.0)
    assert not wager.add(1.0)
    assert any(wager.add(1.0) for _ in range(5))
    patient = Wager(0.5, 20.0)
    assert not any(patient.add(0.0) for _ in range(1000))
    assert not patient.add(1.0)
    assert (patient.values, patient.mean) == (1001, 1 / 1001)


def step(number: int, *keys: bytes, kind: str = "") -> StepDecided:
    samples = tuple(Sample(slot, 0, "", key=key) for slot, key in enumerate(keys))
    return StepDecided(Decision(number, Move(0, 0), (len(keys),), kind, samples), Totals())


def test_drift_is_told_once_with_the_figures_and_the_way_on() -> None:
    warned: list[Warned] = []
    drift = Drift(made().models[0], 2, warned.append)
    drift.add(RunEnded("done", ""))
    for number in range(60):
        drift.add(step(number, b"a", b"b", b"a", b"a"))
    (warning,) = warned
    assert warning.name == "drift: dissent"
    assert "more votes against the winner than the calibration allows: 1 over" in warning.message
    assert "mdap calibrate" in warning.message


def test_a_first_vote_of_its_own_temperature_is_not_held_against_the_calibration() -> None:
    warned: list[Warned] = []
    drift = Drift(made().models[0], 2, warned.append)
    for number in range(60):
        drift.add(step(number, b"b", b"a", b"a", b"a"))
    assert warned == []


def test_a_kind_of_step_that_was_never_calibrated_is_told() -> None:
    warned: list[Warned] = []
    drift = Drift(made().models[0], 2, warned.append)
    drift.add(step(4, b"a", b"a", kind="new"))
    drift.add(step(5, b"a", b"a", kind="new"))
    assert [(w.step, w.name) for w in warned] == [(4, "drift: kind")]
    assert "steps of kind 'new' are not in the calibration" in warned[0].message
