"""What goes wrong between a client and a server, over real HTTP: each fault has its word, its class and its remedy."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import msgspec
import pytest

from mdap.core.errors import ModelError, ModelRejected
from mdap.models.http import retry_after
from mdap.models.openai import openai
from tests.models.raw_server import KEY, OK, answering, asking, completion, http
from tests.models.remote_contract import everything_printed


async def fault(*replies: bytes | None, limit: float = 5.0) -> ModelError:
    """The error of the last call, of as many as there are replies, against a server that gives them."""
    async with answering(*replies) as server:
        model = openai("m", base_url=server.url, api_key=KEY, timeout=limit)
        try:
            for _ in replies[1:]:
                await model.complete(asking())
            with pytest.raises(ModelError) as caught:
                await model.complete(asking())
        finally:
            await model.close()
    assert KEY not in everything_printed(caught.value)
    return caught.value


def told(message: str) -> str:
    return f'{{"error": {{"message": "{message}", "type": "x", "code": null}}}}'


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
async def test_a_passing_trouble_may_be_tried_again_and_its_word_is_its_status(status: int) -> None:
    error = await fault(http(status, told("slow down")))
    assert (type(error), error.kind, error.status) == (ModelError, str(status), status)
    assert error.retryable
    assert "slow down" in str(error)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 413, 418, 422])
async def test_a_refused_request_is_not_tried_again_and_shows_the_servers_own_words(status: int) -> None:
    error = await fault(http(status, told("because of this")))
    assert (type(error), error.kind, error.status) == (ModelRejected, str(status), status)
    assert not error.retryable
    assert "because of this" in str(error)


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(401, "OPENAI_API_KEY"), (403, "OPENAI_API_KEY.*may use the model 'm'"), (404, "'m'.*/v1"), (405, "/v1")],
)
async def test_a_refusal_comes_with_what_to_change(status: int, remedy: str) -> None:
    error = await fault(http(status, told("no")))
    with pytest.raises(ModelRejected, match=remedy):
        raise error


@pytest.mark.parametrize(
    "body",
    [
        told("the words"),
        '{"error": "the words"}',
        '{"message": "the words", "object": "error"}',
        '{"detail": "the words"}',
        '{"detail": [{"loc": ["body"], "msg": "the words"}]}',
        "the words",
        '{"other": "the words"}',
    ],
)
async def test_the_words_of_a_server_are_found_in_every_shape_in_which_servers_write_them(body: Any) -> None:
    assert "the words" in (await fault(http(400, body))).message


async def test_an_empty_error_body_says_so() -> None:
    assert "no message" in (await fault(http(400, b""))).message


async def test_long_words_of_a_server_are_cut_and_stand_on_one_line() -> None:
    error = await fault(http(400, told("word\\n\\u001b[31m" * 1000)))
    assert len(error.message) < 400
    assert error.message.isprintable()


async def test_a_quota_that_is_used_up_is_not_waited_for_though_its_status_is_429() -> None:
    error = await fault(http(429, '{"error": {"message": "pay", "code": "insufficient_quota"}}'))
    assert (type(error), error.kind) == (ModelRejected, "quota")


async def test_a_redirect_is_not_followed() -> None:
    error = await fault(http(307, b"", "Location: http://127.0.0.1:1/elsewhere"))
    assert (type(error), error.kind) == (ModelRejected, "redirect")
    assert "http://127.0.0.1:1/elsewhere" in error.message


@pytest.mark.parametrize(
    "body",
    [
        b"not JSON",
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"index": 0}]}',
        b'{"choices": [{"message": {"content": 5}}]}',
        b'{"choices": [{"message": {"content": "\xff\xfe"}}]}',
        b'{"choices": [{"message": {"content": "cut in the mid',
        b"[" * 100_000,
        b'{"x": ' + b"[" * 100_000,
    ],
)
async def test_a_body_that_is_no_completion_is_garbage_and_asked_again(body: Any) -> None:
    error = await fault(http(200, body))
    assert (type(error), error.kind) == (ModelError, "garbage")
    # The reply came, so it may be on the bill: no status says that the call was refused.
    assert error.status is None


@pytest.mark.parametrize(("code", "kind"), [(429, "429"), (502, "502"), ("x", "500"), (None, "500")])
async def test_an_error_inside_a_reply_that_claims_success_counts_as_what_it_is(code: Any, kind: str) -> None:
    body = {"error": {"message": "upstream", "code": code}}
    error = await fault(http(200, msgspec.json.encode(body)))
    assert (error.kind, error.retryable, "upstream" in error.message) == (kind, True, True)


async def test_a_chunked_reply_that_breaks_off_is_a_truncated_body() -> None:
    head = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    error = await fault(head + b'8\r\n{"choice\r\n')
    assert error.kind == "truncated-body"


async def test_a_compressed_reply_that_cannot_be_unpacked_is_asked_again() -> None:
    error = await fault(http(200, b"\x1f\x8b not gzip", "Content-Encoding: gzip"))
    assert (error.kind, error.retryable) == ("truncated-body", True)


async def test_a_kept_connection_that_the_server_has_let_go_of_is_dropped_and_the_next_call_works() -> None:
    async with answering(OK, b"", OK) as server:
        model = openai("m", base_url=server.url)
        await model.complete(asking())
        with pytest.raises(ModelError) as caught:
            await model.complete(asking())
        assert caught.value.kind == "dropped"
        assert (await model.complete(asking())).text == "fine"
        await model.close()


async def test_a_reply_that_trickles_in_is_a_timeout_all_the_same() -> None:
    head = b"HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n{"
    assert (await fault(head, limit=0.1)).kind == "timeout"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_reply_over_ten_megabytes_is_cut_off(chunked: bool) -> None:
    size = 12_000_000
    if chunked:
        raw = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % size + b" " * size + b"\r\n0\r\n\r\n"
    else:
        raw = http(200, b" " * size)
    error = await fault(raw)
    assert (type(error), error.kind) == (ModelRejected, "too-large")
    assert "10,000,000 bytes" in error.message


async def test_a_small_body_that_unpacks_into_a_huge_one_is_cut_off() -> None:
    error = await fault(http(200, gzip.compress(b" " * 50_000_000), "Content-Encoding: gzip"))
    assert error.kind == "too-large"


async def test_a_compressed_reply_is_read() -> None:
    body = OK.split(b"\r\n\r\n", 1)[1]
    async with answering(http(200, gzip.compress(body), "Content-Encoding: gzip")) as server:
        model = openai("m", base_url=server.url)
        assert (await model.complete(asking())).text == "fine"
        await model.close()


async def test_a_host_without_an_address_is_named() -> None:
    model = openai("m", base_url="http:" + "//no-such-host.invalid/v1")
    with pytest.raises(ModelError, match=r"no-such-host\.invalid") as caught:
        await model.complete(asking())
    assert caught.value.kind == "dns"
    await model.close()


async def test_a_server_that_speaks_something_else_is_not_http() -> None:
    error = await fault(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n\r\nConnection: close")
    assert (error.kind, error.retryable) == ("not-http", True)


async def test_https_to_a_server_without_tls_says_so() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(http(400, b""))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        model = openai("m", base_url=f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", api_key=KEY)
        with pytest.raises(ModelRejected, match="http://, not https://") as caught:
            await model.complete(asking())
        assert caught.value.kind == "tls"
        await model.close()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "2"}, 2.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "soon"}, None),
        ({"retry-after-ms": "250", "Retry-After": "9"}, 0.25),
        ({"Retry-After": "Fri, 20 Nov 2026 12:00:30 GMT", "Date": "Fri, 20 Nov 2026 12:00:00 GMT"}, 30.0),
        ({"Retry-After": "Fri, 20 Nov 2026 11:00:00 GMT", "Date": "Fri, 20 Nov 2026 12:00:00 GMT"}, 0.0),
        ({"Retry-After": "Fri, 20 Nov 1998 11:00:00 GMT"}, 0.0),
        ({"Retry-After": "Fri, 20 Nov 2026 12:00:30 -0000", "Date": "Fri, 20 Nov 2026 12:00:00 -0000"}, 30.0),
    ],
)
def test_the_time_to_wait_is_read_from_milliseconds_seconds_or_a_date(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers) == seconds


async def test_the_time_to_wait_reaches_the_error() -> None:
    assert (await fault(http(429, told("wait"), "RETRY-AFTER: 1.5"))).retry_after == 1.5


async def test_a_fault_leaves_the_model_fit_for_the_next_call() -> None:
    good = completion({"content": "still here"})
    async with answering(http(500, b""), http(200, b"junk"), http(200, b" " * 12_000_000), good) as server:
        model = openai("m", base_url=server.url)
        for kind in ("500", "garbage", "too-large"):
            with pytest.raises(ModelError) as caught:
                await model.complete(asking())
            assert caught.value.kind == kind
        assert (await model.complete(asking())).text == "still here"
        await model.close()
