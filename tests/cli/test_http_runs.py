"""Commands against servers: cassettes, the ledger, an adaptation in a run, and everything that goes wrong."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mdap.models import simulated
from mdap.serve import Server, read_log, serve
from mdap.tasks.hanoi import hanoi
from tests.cli.beside import beside
from tests.cli.conftest import Terminal
from tests.models import wires
from tests.models.raw_server import RawServer, answering, completion, http

TASK = "hanoi:disks=4"


@contextmanager
def serving(**options: Any) -> Iterator[Server]:
    """A server of a simulated model that plays the task."""

    @asynccontextmanager
    async def made() -> Any:
        async with await serve(simulated(p=0.95, seed=2), task=hanoi(4), **options) as server:
            yield server

    with beside(made) as server:
        yield server


@contextmanager
def giving(*replies: bytes | None, tls: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    """A server that gives these replies, whatever it is asked."""

    def made() -> AbstractAsyncContextManager[RawServer]:
        return answering(*replies, tls=tls)

    with beside(made) as server:
        yield server


# Cassettes.


def test_a_run_is_recorded_and_replayed_without_its_server(mdap: Terminal) -> None:
    words = ("run", TASK, "--model", "openai:any", "--k", "3", "--seed", "5", "--json", "--lookahead", "0")
    with serving(chaos="429=0.1,cut=0.1") as server:
        at = ("--base-url", server.url)
        recorded = mdap(*words, *at, "--record-http", "calls.jsonl").json
    replayed = mdap(*words, *at, "--replay-http", "calls.jsonl").json
    for name in ("status", "wrong", "votes", "samples", "flagged", "retries", "tokens", "result", "model"):
        assert recorded[name] == replayed[name]
    assert recorded["status"] == "done"
    assert recorded["retries"]["429"] > 0
    # Where calls come from is no part of what a run is.
    assert "http=" not in replayed["model"].replace("base_url=http", "")
    first, second = (mdap("export", run["run"]).out for run in (recorded, replayed))
    assert first == second


def test_a_run_that_was_replayed_in_part_goes_on_at_the_server(mdap: Terminal) -> None:
    words = (TASK, "--model", "openai:any", "--k", "3", "--seed", "5", "--json", "--lookahead", "0")
    with serving() as server:
        at = ("--base-url", server.url)
        mdap("run", *words, *at, "--max-steps", "6", "--record-http", "calls.jsonl")
        part = mdap("run", *words, *at, "--max-steps", "6", "--replay-http", "calls.jsonl")
        run = part.json["run"]
        whole = mdap("resume", run, "--max-steps", "100", "--json", "--record-http", "more.jsonl")
    assert (whole.json["status"], whole.json["wrong"]) == ("done", 0)
    assert 0 < len(Path("more.jsonl").read_bytes().splitlines()) <= whole.json["samples"] - part.json["samples"]


def test_a_call_that_the_cassette_does_not_have_ends_the_run_loudly(mdap: Terminal) -> None:
    Path("empty.jsonl").write_bytes(b"")
    said = mdap(
        "run", TASK, "--model", "openai:any", "--replay-http", "empty.jsonl", "--base-url", "http://127.0.0.1:9"
    )
    assert said.code == 1
    assert "the cassette empty.jsonl has no reply" in said.err
    assert "next:  record it anew with --record-http" in said.err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--record-http", "a", "--replay-http", "b"), "both given"),
        (("--replay-http", "none.jsonl"), "No such file"),
        (("--record-http", "a,b"), "cannot stand in a spec"),
    ],
)
def test_a_cassette_that_cannot_be_is_a_usage_error(mdap: Terminal, words: tuple[str, ...], what: str) -> None:
    said = mdap("run", TASK, "--model", "openai:any", "--base-url", "http://127.0.0.1:9", *words)
    assert said.code == 2
    assert what in said.err


def test_a_model_that_makes_no_calls_cannot_be_recorded(mdap: Terminal) -> None:
    said = mdap("run", TASK, "--model", "simulated:p=0.9", "--record-http", "a")
    assert said.code == 2
    assert "makes no calls over HTTP" in said.err


def test_a_question_and_a_calibration_are_recorded_and_replayed(mdap: Terminal) -> None:
    commands = {
        "ask": ("ask", "2 + 2?", "--json", "--k", "2"),
        "calibrate": ("calibrate", TASK, "--samples", "40", "--json"),
    }
    body = {"choices": [{"message": {"content": "4"}}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    for name, words in commands.items():
        tape = f"{name}.jsonl"
        with serving() if name == "calibrate" else giving(http(200, msgspec.json.encode(body))) as server:
            at = ("--model", "openai:any", "--base-url", server.url)
            recorded = mdap(*words, *at, "--record-http", tape)
        assert recorded.code == 0
        replayed = mdap(*words, *at, "--replay-http", tape)
        assert replayed.code == 0
        if name == "ask":
            assert recorded.json["answer"] == replayed.json["answer"] == "4"
        else:
            kinds = [
                [(k["p"], k["v"], k["flags"]) for k in said.json["models"][0]["kinds"]] for said in (recorded, replayed)
            ]
            assert kinds[0] == kinds[1]


def test_a_model_that_groups_the_answers_is_recorded_and_replayed_too(mdap: Terminal) -> None:
    def reply(text: str) -> bytes:
        return http(200, msgspec.json.encode({"choices": [{"message": {"content": text}}]}))

    words = ("ask", "Capital?", "--k", "2", "--json")
    with giving(reply("Rome"), reply("rome"), reply('{"groups": [[0, 1]]}')) as server:
        at = ("--model", "openai:any", "--base-url", server.url)
        judge = ("--key", f"judged:openai:judge,base_url={server.url}")
        recorded = mdap(*words, *at, *judge, "--record-http", "calls.jsonl")
    assert recorded.code == 0, recorded.err
    replayed = mdap(*words, *at, *judge, "--replay-http", "calls.jsonl")
    assert (replayed.code, replayed.json["answer"]) == (0, recorded.json["answer"])
    assert b'"model":"judge"' in Path("calls.jsonl").read_bytes()


# The ledger.


@pytest.mark.slow
def test_the_ledger_of_a_run_is_held_against_the_servers_log(mdap: Terminal) -> None:
    with serving(chaos="429=0.1,drop=0.1,cut=0.1", log="calls.log") as server:
        words = (
            "--model",
            "openai:any",
            "--base-url",
            server.url,
            "--k",
            "3",
            "--record",
            "samples",
            "--lookahead",
            "0",
        )
        run = mdap("run", TASK, *words, "--retries", "9", "--json").json
        mdap("run", TASK, *words, "--retries", "9", "--quiet")
        both = mdap.last()
    told = mdap("ledger", run["run"], "--json").json
    assert (told["replies"], told["tokens"]) == (run["samples"], run["tokens"])
    assert told["refused"] == {"429": run["retries"]["429"]}
    assert told["unknown"] == {"dropped": run["retries"]["dropped"]}
    assert len(told["calls"]) == run["samples"] + sum(run["retries"].values())
    Path("one.log").write_bytes(
        b"".join(Path("calls.log").read_bytes().splitlines(keepends=True)[: len(told["calls"])])
    )
    held = mdap("ledger", run["run"], "--log", "one.log")
    assert held.code == 0
    assert f"the log agrees: {run['samples']:,} replies are equal" in held.out
    assert f"unknown  {run['retries']['dropped']} (dropped {run['retries']['dropped']})" in held.out
    wrong = mdap("ledger", both, "--log", "one.log")
    assert wrong.code == 1
    assert "the log differs" in wrong.out


def test_a_run_that_lists_no_calls_says_how_one_does(mdap: Terminal) -> None:
    mdap("run", TASK, "--model", "simulated:p=0.95", "--k", "3")
    said = mdap("ledger", mdap.last())
    assert said.code == 2
    assert "--record samples" in said.err


# What is found out in the middle of a run.


@pytest.mark.parametrize("model", ["openai:any", "anthropic:claude-3-haiku", "google:any", "vllm:any"])
def test_a_run_that_adapts_equals_one_that_was_never_refused_and_a_resume_remembers(
    mdap: Terminal, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    seeded = not model.startswith("anthropic")
    words = ("run", TASK, "--model", model, "--k", "3", "--seed", "5", "--json", "--lookahead", "0")

    def base(server: Server) -> str:
        return server.url if model.startswith(("openai", "vllm")) else server.origin

    with serving() as server:
        plain = mdap(*words, "--base-url", base(server), "--first-temperature", "none", "--temperature", "none").json
        expected = mdap("export", plain["run"]).out
    with serving(refuse="temperature", log="calls.log") as server:
        begun = mdap(*words, "--base-url", base(server), "--max-steps", "5")
        run = begun.json["run"]
        assert begun.json["retries"]["adapted"] >= 1
        assert "refuses temperature: it is not sent any more; votes differ by" in caplog.text
        before = len(read_log("calls.log"))
        whole = mdap("resume", run, "--max-steps", "100", "--json").json
        assert all(call.status == 200 for call in read_log("calls.log")[before:])
    assert (whole["status"], whole["wrong"]) == ("done", 0)
    assert whole["retries"]["adapted"] == begun.json["retries"]["adapted"]
    if seeded:
        assert mdap("export", run).out == expected


# What goes wrong: one sentence, the remedy, the code; what was decided stays.

OK_MOVES = 3
KEYS = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "google": "GEMINI_API_KEY",
    "vllm": "VLLM_API_KEY",
}
REPLIES: dict[str, tuple[dict[str, Any], int, dict[str, Any], int, dict[str, Any]]] = {
    "openai": (wires.OPENAI, 401, wires.OPENAI_KEY, 404, wires.OPENAI_MODEL),
    "vllm": (wires.OPENAI, 401, wires.OPENAI_KEY, 404, wires.OPENAI_MODEL),
    "anthropic": (wires.ANTHROPIC, 401, wires.ANTHROPIC_KEY, 404, wires.ANTHROPIC_MODEL),
    "google": (wires.GOOGLE, 400, wires.GOOGLE_KEY, 404, wires.GOOGLE_MODEL),
}


def fine(dialect: str, text: str, number: int) -> bytes:
    """A good reply with this text, and an id of its own."""
    body: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(REPLIES[dialect][0]))
    body["responseId" if dialect == "google" else "id"] += f"-{number}"
    if dialect == "anthropic":
        body["content"][0]["text"] = text
    elif dialect == "google":
        body["candidates"][0]["content"]["parts"] = [{"text": text}]
    else:
        body["choices"][0]["message"]["content"] = text
    return http(200, msgspec.json.encode(body))


def trouble(dialect: str) -> dict[str, tuple[bytes | None, int, str, str]]:
    """By name: the reply, the exit code, what is said, and what is to be done."""
    _, key_status, key, model_status, model = REPLIES[dialect]
    cut = fine(dialect, "move", 9)
    return {
        "wrong key": (
            http(key_status, msgspec.json.encode(key)),
            1,
            f"HTTP {key_status} from",
            f"set {KEYS[dialect]} to",
        ),
        "unknown model": (http(model_status, msgspec.json.encode(model)), 1, "HTTP 404 from", "have a model 'm'"),
        "web page": (
            http(200, "<html><title>Welcome</title></html>", kind="text/html"),
            1,
            "answered with a web page: Welcome",
            "is http.* the address of an API",
        ),
        "cut stream": (cut[:-20], 3, "broke off in the middle of a reply", "lower --in-flight"),
        "large reply": (
            http(200, b" " * 10_500_000),
            1,
            "more than 10,000,000 bytes",
            "is it the one that the base URL",
        ),
        "hang": (None, 3, "no reply within 0.5 s", "raise --timeout"),
        "invalid UTF-8": (http(200, b'{"id": "\xff\xfe"}'), 3, "is not a", "what the server answers"),
        "closed": (b"", 3, "closed the connection without a reply", "lower --in-flight"),
    }


NAMES = sorted(trouble("openai"))
MORE = [dialect for dialect in REPLIES if dialect != "openai"]


@pytest.mark.parametrize("dialect", ["openai", *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
@pytest.mark.parametrize("name", NAMES)
def test_trouble_ends_in_one_sentence_with_its_remedy_and_what_was_decided_stays(
    mdap: Terminal, dialect: str, name: str
) -> None:
    reply, code, what, remedy = trouble(dialect)[name]
    task = hanoi(4)
    state, good = task.start(), []
    for number in range(OK_MOVES):
        move = task.answer(state)
        assert move is not None
        good.append(fine(dialect, task.write(move), number))
        state = move.next_state
    broken = b"connection: close\r\n"
    last = reply if reply is None else reply.replace(b"\r\n\r\n", b"\r\n" + broken + b"\r\n", 1)
    with giving(*good, last) as server:
        words = ("--model", f"{dialect}:m", "--base-url", server.url, "--k", "1", "--lookahead", "0")
        said = mdap("run", TASK, *words, "--retries", "1", "--timeout", "0.5", "--quiet")
        asked = len(server.requests)
    assert said.code == code
    (sentence,) = [line for line in said.err.splitlines() if line.startswith(("error: ", "undecided: "))]
    assert what in sentence
    assert re.search(remedy, said.err), said.err
    assert f"{OK_MOVES} of 15 steps" in said.err
    assert asked <= OK_MOVES + 2
    kept = mdap("export", mdap.last()).out.splitlines()
    assert len(kept) == OK_MOVES


@pytest.mark.parametrize("dialect", REPLIES)
def test_an_unreachable_server_is_said_to_be_one(mdap: Terminal, dialect: str) -> None:
    with giving(b"") as server:
        url = server.url
    said = mdap("run", TASK, "--model", f"{dialect}:m", "--base-url", url, "--retries", "1", "--quiet")
    assert said.code == 3
    assert f"cannot reach {url}" in said.err
    assert "is the server running" in said.err


@pytest.mark.parametrize("dialect", REPLIES)
def test_a_certificate_that_nobody_signed_is_said_to_be_one(
    mdap: Terminal, dialect: str, own_certificate: ssl.SSLContext
) -> None:
    with giving(b"", tls=own_certificate) as server:
        said = mdap("run", TASK, "--model", f"{dialect}:m", "--base-url", server.url, "--retries", "1", "--quiet")
    assert said.code == 1
    assert "the certificate of 127.0.0.1 is not trusted" in said.err
    assert "SSL_CERT_FILE" in said.err


def test_a_map_is_recorded_and_replayed_and_taken_up_again_with_a_cassette(mdap: Terminal) -> None:
    Path("rows.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(3)), encoding="utf-8")
    words = ("map", "rows.jsonl", "--prompt", "Is {n} a number?", "--one-of", "yes,no", "--model", "openai:any")
    votes = ("--k", "2", "--output", "out.jsonl", "--in-flight", "1", "--quiet")
    with giving(completion({"role": "assistant", "content": "yes"})) as server:
        at = ("--base-url", server.url)
        recorded = mdap(*words, *votes, *at, "--record-http", "calls.jsonl", "--budget-calls", "4")
        assert recorded.code == 4
        assert len(Path("calls.jsonl").read_bytes().splitlines()) == 4
        more = mdap("resume", mdap.last(), "--budget-calls", "20", "--record-http", "more.jsonl", "--quiet")
        assert more.code == 0
        assert len(Path("more.jsonl").read_bytes().splitlines()) == 2
    whole = Path("out.jsonl").read_bytes()
    Path("all.jsonl").write_bytes(Path("calls.jsonl").read_bytes() + Path("more.jsonl").read_bytes())
    assert mdap(*words, *votes, *at, "--replay-http", "all.jsonl").code == 0
    assert Path("out.jsonl").read_bytes() == whole
    assert "http=" not in mdap("runs", "--json").json[-1]["model"].replace("base_url=http", "")
