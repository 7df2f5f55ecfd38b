"""What a probe found is taken over by a run: what the model takes, and that its votes are not independent."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from mdap import api
from mdap.core.errors import UsageError
from mdap.journal import open_journal
from mdap.models.adaptive import Adaptive
from mdap.models.openai import openai
from mdap.models.probed import Finding, Report, read_report, take_over
from mdap.models.probing import probe
from mdap.models.profiles import Profile
from mdap.protocols import Journal
from mdap.result import Result
from tests.models.raw_server import RawServer, answering, completion

SAME = completion({"role": "assistant", "content": "a b c d"}, id="")


def found(model: str, *, repeats: bool | None) -> Report:
    finding = Finding("repeats", repeats, "as it was seen")
    return Report(model, Profile(seed=False, known="by this probe"), "temperature", (finding,), 8, 1, 1)


def journal() -> Journal:
    return open_journal(None)


async def test_a_probe_that_finds_replies_alike_is_remembered_by_the_model_and_stops_its_runs() -> None:
    async with answering(SAME) as server:
        model = openai("m", base_url=server.url)
        report = await probe(model)
        assert report.repeats
        asked = len(server.requests)
        result = await api.run("question:Which city?", model, k=2)
        assert (result.status, len(server.requests) - asked) == ("stopped", 0)
        assert f"a probe of {model.spec} found replies alike whatever their seeds" in result.reason
        assert f"look with `mdap probe {model.spec}`" in result.reason
        assert "--allow-identical" in result.reason
        again = await api.run("question:Which city?", model, k=2, allow_identical=True)
        assert again.status == "done"
        await model.close()


async def run_with(server: RawServer, report: Report | Path, **options: object) -> tuple[Result, Journal]:
    kept = journal()
    model = f"openai:m,base_url={server.url}"
    return await api.run("question:Which city?", model, k=2, probe=report, journal=kept, **options), kept  # type: ignore[arg-type]


async def test_a_run_takes_over_the_report_of_a_file_and_a_resume_needs_it_no_more(tmp_path: Path) -> None:
    async with answering(SAME) as server:
        path = tmp_path / "probe.json"
        path.write_bytes(msgspec.json.encode(found(f"openai:m,base_url={server.url}", repeats=True)))
        result, kept = await run_with(server, path)
        assert result.status == "stopped"
        assert result.book.condition == ("repeats",)
        again = await api.resume(result.run, journal=kept)
        assert again.status == "stopped"
        assert server.requests == []
        assert (await api.resume(result.run, journal=kept, allow_identical=True)).status == "done"


@pytest.mark.parametrize("repeats", [False, None])
async def test_a_report_without_that_evidence_stops_nothing(repeats: bool | None) -> None:
    async with answering(SAME) as server:
        result, _ = await run_with(server, found(f"openai:m,base_url={server.url}", repeats=repeats))
        assert (result.status, result.book.condition) == ("done", ())
        assert b"seed" not in server.requests[0][1], "the profile of the probe holds"


async def test_a_report_about_another_model_is_refused_by_name() -> None:
    async with answering(SAME) as server:
        with pytest.raises(UsageError, match=r"the probe was of openai:other, and the run asks openai:m"):
            await run_with(server, found("openai:other", repeats=True))
        assert server.requests == []


@pytest.mark.parametrize("text", ["", "{}", "nonsense"])
def test_what_is_no_report_is_refused_with_the_command_that_writes_one(text: str, tmp_path: Path) -> None:
    path = tmp_path / "probe.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"no report of a probe can be read from .*mdap probe MODEL --output FILE"):
        read_report(path)


def test_the_evidence_is_part_of_the_condition_beside_adaptations() -> None:
    class Made(Adaptive):
        def __init__(self) -> None:
            self.spec, self.profile = "made", Profile()

    first, second = Made(), Made()
    first.adapt(["temperature"])
    take_over([first], found("made", repeats=True))
    second.restore(first.condition)
    assert (second.condition, second.repeats) == (("temperature", "repeats"), True)
