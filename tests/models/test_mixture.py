"""A mixture of models: who votes in which slot, and what a run takes from several models."""

from __future__ import annotations

from typing import Any

import pytest

from mdap import api
from mdap.clock import run_virtual
from mdap.core.errors import UsageError
from mdap.models.catalog import as_model
from mdap.models.mixture import Mixture
from mdap.models.scripted import Scripted
from mdap.models.several import named
from mdap.parts import combined
from tests.engine.support import Chancy, Pairs, exported


class Named(Chancy):
    """A keyed model of another name."""

    def __init__(self, spec: str, **options: Any) -> None:
        super().__init__(**options)
        self.spec = spec


def mixed(**options: Any) -> Mixture:
    return Mixture([Named("left", p=0.7, **options), Named("right", p=0.8, order=2, **options)])


def run_of(model: Any, **options: Any) -> Any:
    return run_virtual(api.run(Pairs(10), model, record="samples", **{"k": 3, "redraws": 60, **options}))


def test_slots_are_asked_of_the_models_in_turn_and_a_redraw_stays_with_its_model() -> None:
    result = run_of(mixed(flags=0.5))
    samples = [sample for step in range(result.steps) for sample in result.samples_of(step)]
    assert {sample.slot % 2: sample.model for sample in samples} == {0: "left", 1: "right"}
    assert all(sample.model == ("left", "right")[sample.slot % 2] for sample in samples)
    assert any(sample.redraw for sample in samples)


@pytest.mark.parametrize("in_flight", [1, 2, 64])
def test_the_decisions_do_not_depend_on_how_many_are_asked_at_once(in_flight: int) -> None:
    assert exported(run_of(mixed(latency=2.0), in_flight=in_flight)) == exported(run_of(mixed()))


def test_a_reply_that_says_what_gave_it_keeps_that_name() -> None:
    from mdap.core.records import Response

    model = Scripted(["x"])
    assert named(Response("x", model="gpt-x-2026"), model).model == "gpt-x-2026"
    assert named(Response("x"), model).model == "scripted"


def test_what_all_models_prescribe_is_prescribed_and_what_they_differ_in_is_not() -> None:
    one, other = Named("one"), Named("other")
    one.temperature = other.temperature = 1.0  # type: ignore[attr-defined]
    one.first_temperature = 0.5  # type: ignore[attr-defined]
    model: Any = Mixture([one, other])
    assert model.temperature == 1.0
    assert not hasattr(model, "first_temperature")


def test_the_context_is_that_of_the_model_with_the_smallest() -> None:
    one, other, silent = Named("one"), Named("other"), Named("silent")
    one.context, other.context = 8_000, 4_000  # type: ignore[attr-defined]
    assert Mixture([one, silent, other]).context == 4_000
    assert Mixture([silent, silent]).context is None


def test_models_that_read_different_forms_of_a_prompt_cannot_be_mixed() -> None:
    one = Named("one")
    one.prompt_form = "compact"  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="form 'compact'"):
        Mixture([one, Named("other")])


def test_specs_give_one_spec_and_objects_one_object() -> None:
    assert combined("a", [], []) == "a"
    assert combined("a", ["d"], ["b", "c"]) == "a + b + c | d"
    both = combined(Named("left"), [], [Named("right")])
    assert isinstance(both, Mixture)
    assert both.spec == "left + right"
    with pytest.raises(UsageError, match="by spec and as objects"):
        combined("simulated", [], [Named("right")])


def test_a_run_of_specs_can_be_resumed_from_its_journal_alone(tmp_path: Any) -> None:
    import asyncio

    async def main() -> None:
        options: dict[str, Any] = {"journal": tmp_path / "runs.db", "k": 3}
        specs: Any = {"mix": ["simulated:p=0.8"], "fallback": ["simulated:p=0.7"]}
        first = await api.run("hanoi:disks=4", "simulated:p=0.9", budget_calls=20, **specs, **options)
        assert first.status == "budget"
        last = await api.resume(first.run, journal=tmp_path / "runs.db", budget_calls=None)
        whole = await api.run("hanoi:disks=4", "simulated:p=0.9", k=3, **specs)
        assert (last.status, exported(last)) == ("done", exported(whole))

    asyncio.run(main())


def test_a_mixture_is_bound_to_the_task_and_seeded_if_all_of_it_is() -> None:
    assert as_model("simulated:p=0.9 + simulated:p=0.8").is_seeded  # type: ignore[attr-defined]
    assert not hasattr(mixed(), "is_seeded")
