"""Whether weights are worth it, as a calibration says; and whether what it recommends holds in a run."""

from __future__ import annotations

from typing import Any

import pytest

import mdap
from mdap.core.calibrated import Calibration, decode
from mdap.models.simulated import simulated

TASK = "hanoi:disks=9"


def made(model: Any, source: str | None = "logprobs", samples: int = 1500, **options: Any) -> Calibration:
    return mdap.calibrate(TASK, model, samples=samples, confidence=source, **options)


@pytest.mark.parametrize(("source", "price"), [("logprobs", 0), ("ask:100", 1)])
def test_a_model_that_knows_when_it_is_wrong_is_worth_weighing_and_runs_as_it_was_told(source: str, price: int) -> None:
    model = simulated(p=0.8, auc=0.92, seed=4)
    found = made(model, source)
    weighing = found.models[0].weighing
    assert weighing is not None
    assert weighing.worth, weighing.reason
    # Logit confidences with AUC .92 say 3.5 times what counting says at p = .8; the scale is made smaller for caution.
    assert 2.0 < weighing.gain < 3.6
    assert abs(weighing.wqd - 0.92) < 0.04
    assert (1 + price) * 1450 < found.models[0].calls <= (1 + price) * 1500
    rule = f"log_odds:0.95,scale={weighing.scale:.3f},shift={weighing.shift:.3f}"
    run = mdap.run(TASK, model, rule=rule, confidence=source, calibration=decode(found.encode()), max_samples=400)
    counted = mdap.run(TASK, model, rule=f"ahead_by_k:{found.models[0].k}")
    assert (run.status, run.wrong, counted.wrong) == ("done", 0, 0)
    assert run.votes_per_step < counted.votes_per_step / 2


def test_confidences_that_tell_nothing_are_not_worth_it() -> None:
    weighing = made(simulated(p=0.8, auc=0.5, seed=4)).models[0].weighing
    assert weighing is not None
    assert not weighing.worth


def test_where_votes_are_nearly_always_right_too_few_are_wrong_to_say() -> None:
    weighing = made(simulated(p=0.998, auc=0.9, seed=4)).models[0].weighing
    assert weighing is not None
    assert "wrong ones say too little" in weighing.reason


def test_without_a_source_nothing_is_said_of_weights_and_no_call_is_made_for_them() -> None:
    found = made(simulated(p=0.8, auc=0.92, seed=4), None)
    assert found.models[0].weighing is None


def test_states_that_were_drawn_again_do_not_make_confidences_look_worse_than_they_are() -> None:
    # Hard steps come back more often than they occur: judged by all samples the model would look overconfident.
    weighing = made(simulated(p=0.95, hard=0.15, p_hard=0.55, auc=0.85, seed=4), samples=3000).models[0].weighing
    assert weighing is not None
    assert weighing.raw_ece < 0.03


def test_what_it_will_take_counts_the_second_calls() -> None:
    told: list[int] = []
    options: dict[str, Any] = {"on_prospect": lambda prospects: told.append(prospects[0].calls)}
    made(simulated(p=0.8, auc=0.9, seed=4), "ask", 100, **options)
    made(simulated(p=0.8, auc=0.9, seed=4), "logprobs", 100, **options)
    assert told == [200, 100]


def test_a_calibration_fits_no_run_that_finds_out_otherwise_how_sure_votes_are() -> None:
    model = simulated(p=0.9, auc=0.9, seed=4)
    with pytest.raises(mdap.errors.FingerprintChanged, match="confidence"):
        mdap.run(TASK, model, rule="log_odds:0.9", confidence="ask", calibration=made(model, "logprobs", 300))
