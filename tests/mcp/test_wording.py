"""What clients are told of runs: calls of tools that they have, and no commands that they have not."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdap.mcp.allowed import Allowed
from mdap.mcp.options import Resume
from mdap.mcp.wording import ARGUMENTS, for_clients
from tests.mcp.support import calling, desk_at


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "go on with `mdap resume plan-34d3cc30 --max-steps 2`",
            "go on with run_resume(run='plan-34d3cc30', max_steps=2)",
        ),
        (
            "look at it with `mdap show a.b-1 --step 1 --row 0`, or raise",
            "look at it with inbox(run='a.b-1'), or raise",
        ),
        ("look at it with `mdap show hanoi-1`", "look at it with run_status(run='hanoi-1')"),
        ("or raise --max-samples above 200", "or raise max_samples above 200"),
        ("stop it, then type: mdap resume hanoi-1", "stop it, then run_resume(run='hanoi-1')"),
        ("for all of them type: mdap runs", "for all of them runs"),
        ("mend it and go on with `mdap resume RUN`", "mend it and go on with run_resume"),
        ("go on with `mdap resume m-1 --retry-failed`", "go on with `mdap resume m-1 --retry-failed`"),
        ("give --confidence logprobs, or a rule that counts", "give confidence logprobs, or a rule that counts"),
        ("set OPENAI_API_KEY", "set OPENAI_API_KEY"),
    ],
)
def test_commands_are_told_as_calls_of_tools(said: str, told: str) -> None:
    assert for_clients(said) == told


def test_the_arguments_that_are_told_are_those_of_run_resume() -> None:
    assert Resume.model_fields.keys() - {"run"} == ARGUMENTS


async def test_what_an_error_says_to_do_next_can_be_done(tmp_path: Path) -> None:
    allowed = Allowed(model="simulated_planner:p=0.9,judge=0.9")
    async with desk_at(tmp_path / "j.db", allowed) as desk, calling(desk) as call:
        told = await call.error("maker_plan", prompt="List these: a, b, c", k=2, maxSteps=1)
        [head] = desk.journal.heads()
        assert f"run_resume(run='{head.id}', max_steps=2)" in told
        assert "mdap resume" not in told
        await call("run_resume", run=head.id, max_steps=5)
        assert (await call.ended(head.id))["status"] == "done"
