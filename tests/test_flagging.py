"""A dry run of red flags over recorded samples: what they would have discarded, and how much of it was wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import mdap
from mdap.core.errors import JournalError, UsageError
from mdap.core.records import Request, Response, Usage
from mdap.core.redflags import Flag, phrases
from mdap.flagging import DryRun, FlagPrecision, dry_run
from mdap.models.scripted import scripted

RIGHT, DOUBTFUL = "The sum is 12.\nanswer = 12", "Wait, maybe not. On second thought:\nanswer = 13"


class Sum:
    """One question whose answer is on the last line."""

    spec = "tests.test_flagging:Sum"

    def start(self) -> dict[str, Any]:
        return {}

    def is_done(self, state: Any) -> bool:
        return "answer" in state

    def prompt(self, state: Any) -> str:
        return "Five and seven?"

    def parse(self, text: str, state: Any) -> mdap.Move:
        said = int(text.rpartition("answer = ")[2])
        return mdap.Move(said, {"answer": said})

    def apply(self, state: Any, action: Any) -> Any:
        return {"answer": action}


def run(path: Path, replies: list[str | Response], k: int = 2, **options: Any) -> str:
    """A run with a journal that keeps every sample."""
    return mdap.run(Sum(), scripted(replies), k=k, journal=path, record="samples", **options).run


def named(found: DryRun, name: str) -> FlagPrecision:
    return next(one for one in found.by_flag if one.name == name)


def test_a_flag_is_as_precise_as_what_it_would_have_discarded_was_wrong(tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"
    # A doubtful right answer, and a doubtful wrong one, twice.
    replies: list[str | Response] = [RIGHT, DOUBTFUL, "Wait, maybe.\nanswer = 12", DOUBTFUL, RIGHT, RIGHT]
    found = dry_run(journal, run(journal, replies), "strict")
    assert (found.samples, found.wrong, found.right) == (6, 2, 4)
    assert named(found, "phrases") == FlagPrecision("phrases", 3, 2, 1)
    assert named(found, "phrases").precision == pytest.approx(2 / 3)
    assert found.base == pytest.approx(1 / 3)
    assert found.together.flagged == 3
    assert named(found, "truncated").precision is None


def test_the_paper_s_flags_would_have_let_them_pass(tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"
    found = dry_run(journal, run(journal, [RIGHT, DOUBTFUL, RIGHT, RIGHT]), "paper")
    assert found.together == FlagPrecision("all", 0, 0, 0)
    assert found.flags == "truncated,refused,empty,repeated"


def test_what_was_flagged_at_the_time_is_judged_as_if_it_had_not_been(tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"
    replies: list[str | Response] = [
        Response("answer = 13", "length"),
        Response("answer = 12", "length"),
        Response("no number", "length"),
        RIGHT,
        RIGHT,
    ]
    found = dry_run(journal, run(journal, replies, in_flight=1), "paper")
    cut = named(found, "truncated")
    assert (cut.flagged, cut.wrong, cut.right, cut.unknown) == (3, 1, 1, 1)


def test_flags_of_ones_own_and_a_length_can_be_tried(tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"
    replies: list[str | Response] = [RIGHT, Response(DOUBTFUL, usage=Usage(5, 900)), RIGHT, RIGHT]
    made = run(journal, replies)
    shout = Flag("maybe", lambda response, _: "maybe" if "maybe" in response.text else None)
    assert named(dry_run(journal, made, [shout]), "maybe").precision == 1
    assert named(dry_run(journal, made, "paper", flag_tokens=800), "too_long").wrong == 1
    assert named(dry_run(journal, made, [phrases({"maybe": 1.0})]), "phrases").flagged == 1


async def test_judged_steps_of_an_agent_count_and_collected_candidates_do_not(tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"

    def _reply(request: Request) -> str:
        text = request.messages[0].content
        if text.startswith("Divide"):
            return '{"subtasks": []}'
        if text.startswith("Solve"):
            return f"Wait, maybe {request.draw.slot % 2}"
        return '{"choice": 1, "reason": "hmm"}' if request.draw.slot else '{"choice": 2, "reason": "oh"}'

    agent = mdap.aio.Agent(scripted(lambda request: _reply(request)), k=2, journal=journal, record="samples")
    made = await agent.run("Heads or tails?")
    found = dry_run(journal, made.run, "strict")
    assert made.ok
    assert (found.wrong, found.right) == (1, 2)
    assert (named(found, "phrases").flagged, named(found, "phrases").precision) == (3, None)


def test_what_cannot_be_held_against_a_run_is_named(tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"
    made = run(journal, [RIGHT, RIGHT])
    with pytest.raises(UsageError, match="unknown preset"):
        dry_run(journal, made, "lenient")
    with pytest.raises(JournalError):
        dry_run(journal, "nobody")


def test_a_run_whose_task_cannot_be_made_again_is_judged_by_its_keys_alone(tmp_path: Path) -> None:
    class Unnamed(Sum):
        spec = "no.such.module:Sum"

    journal = tmp_path / "runs.db"
    replies: list[str | Response] = [Response("answer = 13", "length"), RIGHT, DOUBTFUL, RIGHT, RIGHT]
    made = mdap.run(Unnamed(), scripted(replies), k=2, journal=journal, record="samples", in_flight=1).run
    found = dry_run(journal, made, "strict")
    assert (found.wrong, found.right) == (1, 3)
    assert named(found, "truncated").unknown == 1
