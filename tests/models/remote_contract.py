"""What every model over HTTP does when something goes wrong, and what it never lets out: inherit `RemoteContract`."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
import traceback
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
import pytest

from mdap.core.errors import ModelError, ModelRejected, UsageError
from mdap.models.remote import Remote
from tests.models.raw_server import KEY, RawServer, answering, asking, http


def everything_printed(error: BaseException) -> str:
    """All that a log or a traceback could show of an error and of what it came from."""
    chain = [error, error.__cause__, error.__context__]
    return "".join(traceback.format_exception(error)) + "".join(f"{e!r}{e}{getattr(e, '__dict__', '')}" for e in chain)


class RemoteContract:
    """A dialect says how its models are made and what its vendor's bodies are; the tests are the same for all."""

    factory: ClassVar[Callable[..., Remote]]
    variable: ClassVar[str]
    """The variable that a missing key is asked for in."""
    good: ClassVar[dict[str, Any]]
    """A reply that says `fine`."""
    wrong_key: ClassVar[tuple[int, dict[str, Any]]]
    wrong_model: ClassVar[tuple[int, dict[str, Any]]]
    path: ClassVar[str]
    """Of a call to the model `m`, behind the base URL without its /v1."""
    header: ClassVar[str]
    """The line that carries the key."""

    def made(self, url: str, **options: Any) -> Remote:
        """A model at this address; its key is `KEY`."""
        return type(self).factory("m", base_url=url, **{"api_key": KEY, **options})

    def base(self, server: RawServer) -> str:
        """The base URL that this dialect is given."""
        return server.url

    async def fault(self, *replies: bytes | None, limit: float = 5.0) -> ModelError:
        """The error of the last call, of as many as there are replies, against a server that gives them."""
        async with answering(*replies) as server:
            model = self.made(self.base(server), timeout=limit)
            try:
                for _ in replies[1:]:
                    await model.complete(asking())
                with pytest.raises(ModelError) as caught:
                    await model.complete(asking())
            finally:
                await model.close()
        assert KEY not in everything_printed(caught.value)
        return caught.value

    def ok(self) -> bytes:
        """The good reply, whole."""
        return http(200, msgspec.json.encode(self.good))

    async def test_a_good_reply_is_read_and_the_key_goes_in_its_header_to_the_right_path(self) -> None:
        async with answering(self.ok()) as server:
            model = self.made(self.base(server))
            reply = await model.complete(asking())
            assert (reply.text, reply.finish) == ("fine", "stop")
            head = server.requests[0][0]
            assert head.startswith(f"post {self.path.lower()} http/1.1\r\n")
            assert f"{self.header}{KEY}\r\n".lower() in head
            assert head.count(KEY) == 1
            await model.close()

    def test_without_a_key_the_vendors_own_address_is_refused_before_any_call(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENROUTER_API_KEY"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(UsageError, match=self.variable):
            type(self).factory("m")

    async def test_the_key_is_read_from_the_vendors_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(self.variable, f"{KEY}\n")
        async with answering(self.ok()) as server:
            model = self.made(self.base(server), api_key=None)
            await model.complete(asking())
            assert f"{self.header}{KEY}\r\n".lower() in server.requests[0][0]
            assert KEY not in repr(model) + model.spec
            await model.close()

    async def test_a_wrong_key_is_refused_once_and_names_the_variable(self) -> None:
        status, body = self.wrong_key
        error = await self.fault(http(status, msgspec.json.encode(body)))
        assert (type(error), error.status) == (ModelRejected, status)
        assert self.variable in error.remedy

    async def test_a_model_that_does_not_exist_is_named_with_the_address(self) -> None:
        status, body = self.wrong_model
        error = await self.fault(http(status, msgspec.json.encode(body)))
        assert (type(error), error.kind) == (ModelRejected, "404")
        assert "'m'" in error.remedy
        assert "127.0.0.1" in error.remedy

    async def test_a_server_that_is_not_there_is_unreachable(self) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        model = self.made(url)
        with pytest.raises(ModelError, match="is the server running") as caught:
            await model.complete(asking())
        assert (type(caught.value), caught.value.kind) == (ModelError, "unreachable")
        assert url in caught.value.message
        assert KEY not in everything_printed(caught.value)
        await model.close()

    async def test_a_web_page_in_place_of_a_reply_means_a_wrong_address(self) -> None:
        error = await self.fault(http(200, "<html><body><h1>It works!</h1></body></html>", kind="text/html"))
        assert (type(error), error.kind) == (ModelRejected, "html")
        assert "It works!" in error.message
        assert "base URL" in error.remedy

    async def test_an_error_page_is_shown_by_its_title(self) -> None:
        page = "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
        error = await self.fault(http(502, page, kind="text/html"))
        assert (error.kind, error.retryable) == ("502", True)
        assert error.message.endswith(": 502 Bad Gateway")

    async def test_a_body_cut_in_the_middle_is_asked_again(self) -> None:
        whole = self.ok().replace(b"HTTP/1.1 200 X\r\n", b"HTTP/1.1 200 X\r\nConnection: close\r\n")
        error = await self.fault(whole[:-20])
        assert (type(error), error.kind) == (ModelError, "truncated-body")
        assert error.remedy

    async def test_a_connection_closed_without_a_reply_is_dropped(self) -> None:
        error = await self.fault(b"")
        assert (type(error), error.kind) == (ModelError, "dropped")
        assert error.remedy

    async def test_a_reply_over_ten_megabytes_is_cut_off(self) -> None:
        error = await self.fault(http(200, b" " * 12_000_000))
        assert (type(error), error.kind) == (ModelRejected, "too-large")
        assert "10,000,000 bytes" in error.message
        assert error.remedy

    async def test_a_hang_is_a_timeout_that_names_the_limit(self) -> None:
        began = time.perf_counter()
        error = await self.fault(None, limit=0.1)
        assert (type(error), error.kind) == (ModelError, "timeout")
        assert "0.1 s" in error.message
        assert "timeout" in error.remedy
        assert time.perf_counter() - began < 10  # it would hang for ever

    async def test_a_certificate_that_nobody_signed_is_refused_and_the_key_never_leaves(
        self, own_certificate: ssl.SSLContext
    ) -> None:
        async with answering(self.ok(), tls=own_certificate) as server:
            model = self.made(self.base(server))
            with pytest.raises(ModelRejected, match="SSL_CERT_FILE") as caught:
                await model.complete(asking())
            assert caught.value.kind == "certificate"
            assert server.requests == []
            await model.close()

    async def test_text_that_is_not_utf_8_is_garbage(self) -> None:
        error = await self.fault(http(200, msgspec.json.encode(self.good).replace(b"fi", b"\xff\xfe", 1)))
        assert (type(error), error.kind) == (ModelError, "garbage")
        assert error.remedy

    @pytest.mark.parametrize(
        "body", [b"not JSON", b"", b"[]", b"null", b"{}", b'{"choi', b"[" * 100_000, b'{"x": ' + b"[" * 100_000]
    )
    async def test_a_body_that_is_no_reply_is_garbage_and_asked_again(self, body: Any) -> None:
        error = await self.fault(http(200, body))
        assert (type(error), error.kind) == (ModelError, "garbage")
        # The reply came, so it may be on the bill: no status says that the call was refused.
        assert error.status is None

    @pytest.mark.parametrize("status", [200, 400, 429, 500, 302])
    async def test_a_server_that_repeats_the_key_does_not_get_it_into_a_message(self, status: int) -> None:
        body = {"error": {"message": f"Incorrect key {KEY}, {KEY}" * 40, "type": "x"}, "type": "error"}
        error = await self.fault(http(status, msgspec.json.encode(body), f"Location: http://127.0.0.1/{KEY}"))
        assert "[key]" in str(error)

    async def test_every_passing_trouble_is_asked_again_and_every_other_is_not(self) -> None:
        for status, again in ((408, True), (429, True), (500, True), (529, True), (402, False), (413, False)):
            error = await self.fault(http(status, '{"error": {"message": "because"}}'))
            assert (error.retryable, error.kind) == (again, str(status))
            assert "because" in error.message

    async def test_a_parameter_that_is_refused_is_left_out_from_then_on_and_told_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        refusal = http(400, '{"error": {"message": "`temperature` is deprecated for this model.", "type": "x"}}')
        async with answering(refusal, self.ok()) as server:
            model = self.made(self.base(server))
            model.profile = msgspec.structs.replace(model.profile, temperature=True)
            with caplog.at_level(logging.WARNING, "mdap"), pytest.raises(ModelError) as caught:
                await model.complete(asking(temperature=0.1))
            error = caught.value
            assert (error.kind, error.retryable, error.retry_after, error.status) == ("adapted", True, 0.0, 400)
            assert model.adaptations == ("temperature",)
            assert b"temperature" in server.requests[0][1]
            (told,) = caplog.messages
            assert "temperature" in told
            assert model.profile.variety in told
            assert KEY not in told
            assert (await model.complete(asking(temperature=0.1))).text == "fine"
            assert b"temperature" not in server.requests[1][1]
            await model.close()

    async def test_calls_that_were_on_their_way_when_a_parameter_fell_are_asked_again_and_told_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        refusal = http(400, '{"error": {"message": "`temperature` is deprecated for this model.", "type": "x"}}')
        async with answering(refusal, refusal, refusal, self.ok()) as server:
            model = self.made(self.base(server))
            model.profile = msgspec.structs.replace(model.profile, temperature=True)

            async def kind() -> str:
                with pytest.raises(ModelError) as caught:
                    await model.complete(asking(temperature=0.1))
                return caught.value.kind

            with caplog.at_level(logging.WARNING, "mdap"):
                async with asyncio.TaskGroup() as group:
                    calls = [group.create_task(kind()) for _ in range(3)]
            assert [call.result() for call in calls] == ["adapted"] * 3
            assert len(caplog.messages) == 1
            assert (await model.complete(asking())).text == "fine"
            await model.close()

    async def test_what_was_not_sent_is_never_the_reason_so_a_second_refusal_is_final(self) -> None:
        refusal = http(400, '{"error": {"message": "`temperature` is deprecated for this model.", "type": "x"}}')
        async with answering(refusal) as server:
            model = self.made(self.base(server))
            model.adapt(["temperature"])
            with pytest.raises(ModelRejected, match="deprecated"):
                await model.complete(asking(temperature=0.1))
            await model.close()

    async def test_adaptations_of_an_earlier_part_of_a_run_are_taken_over_silently(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with answering(self.ok()) as server:
            model = self.made(self.base(server))
            with caplog.at_level(logging.DEBUG, "mdap"):
                model.adapt(["temperature", "seed"])
                model.adapt(["seed"])
            assert (model.adaptations, caplog.messages) == (("temperature", "seed"), [])
            await model.complete(asking(seed=123_454_321, temperature=0.1))
            assert b"temperature" not in server.requests[0][1]
            assert b"123454321" not in server.requests[0][1]
            with pytest.raises(UsageError, match="'heat'"):
                model.adapt(["heat"])
            await model.close()

    @pytest.mark.parametrize("header", ["X-OpenRouter-Cache-Status: HIT", "CF-AIG-Cache-Status: HIT", "X-Cache: Hit"])
    async def test_a_reply_that_a_cache_gave_says_so(self, header: str) -> None:
        body = msgspec.json.encode(self.good)
        async with answering(http(200, body, header), http(200, body, header.rpartition(" ")[0] + " MISS")) as server:
            model = self.made(self.base(server))
            assert (await model.complete(asking())).from_cache
            assert not (await model.complete(asking())).from_cache
            assert "cache-control: no-cache, no-store" in server.requests[0][0]
            await model.close()

    async def test_no_call_in_flight_outlives_its_cancellation(self) -> None:
        async with answering(None) as server:
            model = self.made(self.base(server))
            call = asyncio.create_task(model.complete(asking()))
            await server.arrived.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await asyncio.wait_for(server.gone.wait(), 30)
            await model.close()
