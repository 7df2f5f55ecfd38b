"""Confidences over the wire: log-probabilities and second calls of a served model reach the rule that weighs."""

from __future__ import annotations

import pytest

import mdap
from mdap.models.simulated import simulated
from mdap.serve import serve

TASK, RULE = "hanoi:disks=4", "log_odds:0.9"


@pytest.mark.parametrize(("source", "seconds"), [("logprobs", False), ("ask", True), ("ask:100", True)])
async def test_a_served_model_is_weighed_by_what_it_says_of_its_replies(source: str, seconds: bool) -> None:
    model = simulated(p=0.8, auc=0.92, seed=3)
    async with await serve(model, task=mdap.tasks.hanoi(disks=4)) as server:
        spec = f"vllm:m,base_url={server.url},logprobs=on"
        result = await mdap.aio.run(TASK, spec, rule=RULE, confidence=source, record="samples")
    assert (result.status, result.wrong) == ("done", 0)
    told = {round(sample.confidence or 0, 2) for step in range(15) for sample in result.samples_of(step)}
    # Bayes: .8 * .92 / (.8 * .92 + .2 * .08) and .8 * .08 / (.8 * .08 + .2 * .92); 0 or 1 by the scale of one call.
    assert told <= ({1.0, 0.0} if source == "ask" else {0.98, 0.26})
    assert len(told) == 2
    assert result.book.totals.second_calls == (result.samples if seconds else 0)


async def test_a_model_that_is_not_known_to_give_log_probabilities_is_refused_before_it_is_asked() -> None:
    spec = "openai:m,base_url=http://127.0.0.1:9/v1,logprobs=on"
    with pytest.raises(mdap.errors.UsageError, match="not known to give log-probabilities") as error:
        await mdap.aio.run(TASK, spec, rule=RULE, confidence="logprobs")
    assert "vllm:MODEL,logprobs=on" in error.value.remedy
