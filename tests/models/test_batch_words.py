"""What a provider says of a batch: how it stands, what became of each entry, and what may be told of it."""

from __future__ import annotations

from typing import Any

import pytest

from mdap.core.errors import ModelError, ModelRejected
from mdap.models.anthropic import anthropic
from mdap.models.batch_service import Service, Standing, decoded
from mdap.models.batches import service_of
from mdap.models.http import MAX_TOLD, Reply
from mdap.models.openai import openai
from mdap.models.remote import Remote
from tests.models.raw_server import KEY
from tests.models.vendor import Vendor, selling


def made(dialect: str, vendor: Vendor) -> Remote:
    if dialect == "openai":
        return openai("m", base_url=vendor.url, api_key=KEY)
    return anthropic("claude-3-haiku", base_url=vendor.url, api_key=KEY)


async def told(dialect: str, tells: dict[str, Any], ask: str = "look") -> Any:
    """What a provider's batch `b` is, to whoever asks, if the provider answers so."""
    async with selling(Vendor(tells={f"/v1{path}": said for path, said in tells.items()})) as vendor:
        model = made(dialect, vendor)
        service: Service = service_of(model)
        try:
            return await getattr(service, ask)("b")
        finally:
            await model.close()


def openais(status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"/batches/b": {"id": "b", "status": status, **more}}


def anthropics(status: str = "ended", **more: Any) -> dict[str, Any]:
    return {"/messages/batches/b": {"id": "b", "processing_status": status, **more}}


@pytest.mark.parametrize(
    ("status", "has_ended"),
    [
        ("validating", False),
        ("in_progress", False),
        ("finalizing", False),
        ("cancelling", False),
        ("completed", True),
        ("expired", True),
        ("cancelled", True),
        ("a word of tomorrow", False),
    ],
)
async def test_a_batch_has_ended_where_nothing_more_will_come_of_it(status: str, has_ended: bool) -> None:
    counts = {"total": 2_000, "completed": 1_000, "failed": 500}
    standing = await told("openai", openais(status, request_counts=counts))
    assert standing == Standing(has_ended, f"{status}, 1,500 of 2,000 done")


@pytest.mark.parametrize(("status", "has_ended"), [("in_progress", False), ("canceling", False), ("ended", True)])
async def test_the_other_vendors_batch_ends_in_one_word(status: str, has_ended: bool) -> None:
    counts = {"processing": 3, "succeeded": 5, "errored": 1, "canceled": 0, "expired": 0}
    standing = await told("anthropic", anthropics(status, request_counts=counts))
    assert standing == Standing(has_ended, f"{status}, 3 of 9 waiting")


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_a_batch_without_counts_stands_all_the_same(dialect: str) -> None:
    standing = await told(dialect, openais() if dialect == "openai" else anthropics())
    assert standing.has_ended
    assert "0 of 0" in standing.words


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        (None, "no reason given"),
        ({"data": []}, "no reason given"),
        ({"data": [{"message": ""}]}, "no reason given"),
        ({"data": [{"message": "line 1 is bad", "code": "invalid_json"}]}, "line 1 is bad"),
        ({"data": [{"message": f"line {n}"} for n in range(50_000)]}, "line 0; line 1; line 2"),
    ],
)
async def test_a_batch_that_failed_as_a_whole_says_why_in_few_words_and_is_not_waited_for(
    errors: Any, said: str
) -> None:
    with pytest.raises(ModelRejected) as caught:
        await told("openai", openais("failed", errors=errors))
    assert caught.value.message == f"the batch b failed: {said}"
    assert (caught.value.kind, caught.value.retryable) == ("batch", False)


async def test_the_words_for_a_failed_batch_hold_no_key_and_fit_a_line() -> None:
    errors = {"data": [{"message": f"Incorrect key {KEY}\n\x1b[31m" + "x" * 5_000}]}
    with pytest.raises(ModelRejected) as caught:
        await told("openai", openais("failed", errors=errors))
    assert "[key]" in caught.value.message
    assert KEY not in str(caught.value)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) <= MAX_TOLD + len("the batch b failed: ")


async def test_a_batch_without_a_file_has_no_results() -> None:
    for nothing in ({}, {"output_file_id": None, "error_file_id": None}, {"output_file_id": ""}):
        assert await told("openai", openais(**nothing), "results") == {}


async def test_replies_and_failures_stand_in_two_files_and_are_put_together() -> None:
    tells = openais(output_file_id="out", error_file_id="err")
    tells["/files/out/content"] = {"custom_id": "1", "response": {"status_code": 200, "body": {"x": [1.0, "é"]}}}
    tells["/files/err/content"] = {"custom_id": "2", "response": {"status_code": 429, "body": {"error": "busy"}}}
    found = await told("openai", tells, "results")
    assert found == {"1": Reply(200, {}, '{"x":[1.0,"é"]}'.encode()), "2": Reply(429, {}, b'{"error":"busy"}')}


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        ({"code": "batch_expired", "message": "too late"}, "batch_expired", "(batch_expired): too late"),
        ({"message": f"key {KEY}"}, "failed", "(failed): key [key]"),
        (None, "failed", "(failed): "),
    ],
)
async def test_an_entry_without_a_reply_is_asked_again_by_the_name_of_its_error(
    error: Any, kind: str, said: str
) -> None:
    tells = openais(error_file_id="err")
    tells["/files/err/content"] = {"custom_id": "1", "response": None, "error": error}
    found = (await told("openai", tells, "results"))["1"]
    assert isinstance(found, ModelError)
    assert (found.kind, found.retryable, found.message) == (kind, True, f"the batch gave no reply {said}")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("invalid_request_error", 400),
        ("authentication_error", 401),
        ("permission_error", 403),
        ("request_too_large", 413),
        ("rate_limit_error", 429),
        ("overloaded_error", 529),
        ("an_error_of_tomorrow", 500),
    ],
)
async def test_the_type_of_an_error_stands_for_its_status(kind: str, status: int) -> None:
    result = {"type": "errored", "error": {"type": "error", "error": {"type": kind, "message": "because"}}}
    found = await told("anthropic", {"/messages/batches/b/results": {"custom_id": "1", "result": result}}, "results")
    assert found["1"].status == status
    assert b"because" in found["1"].body


@pytest.mark.parametrize("word", ["canceled", "expired", "a word of tomorrow"])
async def test_an_entry_that_was_never_judged_is_asked_again(word: str) -> None:
    line = {"custom_id": "1", "result": {"type": word}}
    found = (await told("anthropic", {"/messages/batches/b/results": line}, "results"))["1"]
    assert isinstance(found, ModelError)
    assert (found.kind, found.retryable) == (word, True)


@pytest.mark.parametrize(
    ("dialect", "ask", "tells"),
    [
        ("openai", "look", {"/batches/b": {"id": "b"}}),
        ("openai", "look", {"/batches/b": []}),
        ("openai", "look", {"/batches/b": {"id": "b", "status": "failed", "errors": {"data": [{"message": None}]}}}),
        ("openai", "results", openais(output_file_id="out") | {"/files/out/content": {"custom_id": 1}}),
        ("openai", "results", openais(output_file_id="out") | {"/files/out/content": "words"}),
        ("anthropic", "look", {"/messages/batches/b": {"processing_status": None, "id": "b"}}),
        ("anthropic", "results", {"/messages/batches/b/results": {"custom_id": "1"}}),
        ("anthropic", "results", {"/messages/batches/b/results": None}),
    ],
)
async def test_what_cannot_be_read_of_a_batch_is_garbage_and_asked_again(
    dialect: str, ask: str, tells: dict[str, Any]
) -> None:
    with pytest.raises(ModelError, match="cannot be read") as caught:
        await told(dialect, {path: "" if said is None else said for path, said in tells.items()}, ask)
    assert (caught.value.kind, caught.value.retryable, caught.value.status) == ("garbage", True, None)


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff", b"<html>"])
def test_any_bytes_in_place_of_a_record_are_garbage(body: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        decoded(body, dict[str, int])
    assert caught.value.kind == "garbage"
