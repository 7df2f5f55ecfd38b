"""What clients may name: to the letter what ships and what the owner allowed, whatever form a name comes in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import mdap
from mdap.core.errors import UsageError
from mdap.core.records import ABSENT, Request
from mdap.mcp.allowed import Allowed
from mdap.models.scripted import scripted
from mdap.tasks.catalog import task as task_named
from tests.mcp.support import calling, desk_at

OWN = "tests.mcp.own:Counting"
LOCAL = "openai:local,base_url=http://127.0.0.1:1/v1"


@pytest.mark.parametrize("spec", [f"{OWN},steps=3", "hanoi", "", "tests.mcp.own"])
def test_what_is_no_class_cannot_be_allowed(spec: str) -> None:
    with pytest.raises(UsageError):
        Allowed(tasks=(spec,))


def test_a_class_is_allowed_with_any_options_and_no_class_beside_it() -> None:
    allowed = Allowed(tasks=("tests.mcp.own:Growing",))
    for spec in ("tests.mcp.own:Growing", "tests.mcp.own:Growing,steps=2", "tests.mcp.own:Growing,steps=2,size=9"):
        assert allowed.check_task(spec) == spec
    for spec in (OWN, "tests.mcp.own:growing", "tests.mcp:Growing", "tests.mcp.own", "x" * 100_001):
        with pytest.raises(UsageError, match=r"not allowed here|longer than"):
            allowed.check_task(spec)


@pytest.mark.parametrize(
    "spec", ["simulated:p=0.9", "openai:gpt-4.1-mini", "anthropic:x", "openai:x + simulated:p=0.9"]
)
def test_models_that_ship_are_allowed_also_in_a_mixture(spec: str) -> None:
    assert Allowed().check_model(spec) == spec


@pytest.mark.parametrize(
    "spec",
    [
        "openai:x,base_url=http://127.0.0.1:1",
        "openai:x,BASE_URL=http://127.0.0.1:1",
        "openai:x, base_url =http://127.0.0.1:1",
        "openai:base_url=http://127.0.0.1:1",
        "simulated:p=0.9 | openai:x,base_url=http://127.0.0.1:1",
        "simulated:p=0.9 + openai:x,record_http=tape",
        "openai:x,replay_http=tape",
        "scripted",
        "simulated:p=0.9 + client",
        "client | simulated:p=0.9",
        "os:system",
        "simulated:p=0.9 + os:system",
        "",
        "nobody",
    ],
)
def test_no_model_asks_elsewhere_or_imports_whatever_its_name_is_dressed_up_as(spec: str) -> None:
    with pytest.raises(UsageError):
        Allowed(models=("tests.mcp.own:Sleepy",)).check_model(spec)


def test_a_model_of_the_owner_is_allowed_to_the_letter_alone() -> None:
    allowed = Allowed(models=(LOCAL,), model="tests.mcp.own:Sleepy")
    assert allowed.check_model(LOCAL) == LOCAL
    assert allowed.check_model(None) == allowed.check_model("tests.mcp.own:Sleepy") == "tests.mcp.own:Sleepy"
    assert allowed.check_model(f"simulated:p=0.9 | {LOCAL}") == f"simulated:p=0.9 | {LOCAL}"
    for spec in (LOCAL.replace(":1/", ":2/"), f"{LOCAL},n=2", LOCAL.replace("local", "other")):
        with pytest.raises(UsageError, match="base_url"):
            allowed.check_model(spec)


def test_remedies_and_drafts_name_no_other_models_either() -> None:
    allowed = Allowed(models=(LOCAL,))
    named = ["samples:50", "prompt", "model:simulated:p=0.99", f"model:{LOCAL}"]
    assert allowed.check_remedies(named) == tuple(named)
    with pytest.raises(UsageError, match="not allowed here"):
        allowed.check_remedies(["samples:50", "model:os:system"])
    assert [allowed.check_draft(draft) for draft in (None, "task", LOCAL)] == [None, "task", LOCAL]
    with pytest.raises(UsageError, match="not allowed here"):
        allowed.check_draft("os:system")


def test_a_stored_question_imports_no_class_to_read_its_answers_by() -> None:
    start = {"prompt": "Who?", "format": {"format": "record", "type": OWN}}
    with pytest.raises(UsageError, match=r"'tests\.mcp\.own:Counting' is not allowed here"):
        Allowed().restore("question", start)
    odd_ones: list[Any] = [ABSENT, None, [], {"format": "record"}, {"format": {"format": "record"}}]
    for odd in odd_ones:
        with pytest.raises(UsageError):
            Allowed().restore("os:system", odd)


async def test_a_stored_run_of_a_model_that_clients_may_not_use_is_read_but_not_gone_on_with(tmp_path: Path) -> None:
    known: Any = task_named("hanoi:disks=2")

    def _right(request: Request) -> str:
        return str(known.write(known.answer(known.read(request.messages))))

    done = await mdap.aio.run("hanoi:disks=2", scripted(_right), k=1, max_steps=1, journal=tmp_path / "j.db")
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        [step] = await call.all_steps(done.run)
        assert step["action"] == [1, 0, 1]
        assert "model: 'scripted' is not allowed here" in await call.error("run_resume", run=done.run)
        assert (await call("run_status", run=done.run))["status"] == "stopped"
