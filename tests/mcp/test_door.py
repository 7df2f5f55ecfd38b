"""Who is let in over HTTP, asked of the application itself: tokens, names, ports and addresses, without a socket."""

from __future__ import annotations

import logging
import socket
from typing import Any

import pytest

from mdap.core.errors import UsageError
from mdap.mcp.allowed import Allowed
from mdap.mcp.server import made_server
from mdap.mcp.serving import Door, Guarded, application, logged_to_stderr, serve_http
from tests.mcp.processes import TOKEN
from tests.mcp.support import desk_at

Headers = list[tuple[bytes, bytes]]
HOST: Headers = [(b"host", b"localhost:5000")]


async def status_of(app: Any, headers: Headers, kind: str = "http") -> int:
    """The status of an answer; 200 is that of an application which was reached."""
    sent: list[dict[str, Any]] = []

    async def _send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def _receive() -> dict[str, Any]:
        raise AssertionError("something was read of a request that is refused")

    await app({"type": kind, "headers": headers}, _receive, _send)
    assert TOKEN.encode() not in b"".join(message.get("body", b"") for message in sent)
    status: int = sent[0]["status"]
    return status


async def inner(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers anybody."""
    await send({"type": "http.response.start", "status": 200})


def bearers(*tokens: str) -> Headers:
    return [*HOST, *((b"authorization", f"Bearer {token}".encode()) for token in tokens)]


async def test_the_token_and_nothing_like_it_lets_in() -> None:
    app = Guarded(inner, TOKEN)
    assert await status_of(app, bearers(TOKEN)) == 200
    assert await status_of(app, [*HOST, (b"Authorization", f"Bearer {TOKEN}".encode())]) == 200
    wrong = [
        HOST,
        bearers(""),
        bearers(TOKEN[:-1]),
        bearers(TOKEN + " "),
        bearers(TOKEN.upper()),
        bearers(TOKEN, TOKEN),
    ]
    wrong += [[*HOST, (b"authorization", value)] for value in (TOKEN.encode(), b"Basic " + TOKEN.encode(), b"\xff\xfe")]
    wrong += [[*HOST, (b"x-authorization", f"Bearer {TOKEN}".encode())]]
    for headers in wrong:
        assert await status_of(app, headers) == 401, headers


async def test_a_wrong_token_is_told_first_whatever_else_is_wrong() -> None:
    app = Guarded(inner, TOKEN)
    assert await status_of(app, [(b"host", b"a b"), (b"host", b"c")]) == 401
    assert await status_of(app, [*bearers(TOKEN), (b"host", b"localhost")]) == 421
    assert await status_of(app, [*bearers(TOKEN), (b"origin", b"http://localhost/b")]) == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"localhost", 200),
        (b"[::1]:5000", 200),
        (b"LOCALHOST:80", 200),
        (b"localhost:", 421),
        (b"localhost:port", 421),
        (b"localhost:123456", 421),
        (b"user@localhost", 421),
        (b"localhost/x", 421),
        (b"[::1", 421),
        (b"", 421),
    ],
)
async def test_a_host_is_a_name_and_a_port_and_nothing_more(host: bytes, status: int) -> None:
    assert await status_of(Guarded(inner, None), [(b"host", host)]) == status


async def test_what_is_no_request_is_handed_on() -> None:
    assert await status_of(Guarded(inner, TOKEN), [], "lifespan") == 200


@pytest.mark.parametrize(
    ("door", "allowed", "refused"),
    [
        (Door(), ["localhost", "127.0.0.1:5713", "[::1]:1"], ["example.com", "127.0.0.2"]),
        (Door("127.0.0.9"), ["127.0.0.9:5000", "localhost"], ["127.0.0.8"]),
        (Door("::1"), ["[::1]:5000"], ["::1"]),
        (Door("0.0.0.0", token=TOKEN, hosts=("mdap.example.com",)), ["mdap.example.com:443"], ["example.com"]),
    ],
)
def test_a_door_knows_the_names_under_which_it_is_called(door: Door, allowed: list[str], refused: list[str]) -> None:
    def _is_known(host: str) -> bool:
        name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        return host in door.security.allowed_hosts or (port.isdigit() and f"{name}:*" in door.security.allowed_hosts)

    assert [_is_known(host) for host in allowed] == [True] * len(allowed)
    assert [_is_known(host) for host in refused] == [False] * len(refused)
    for host in allowed:
        if host in door.security.allowed_hosts:
            assert {f"http://{host}", f"https://{host}"} <= set(door.security.allowed_origins)


@pytest.mark.parametrize("port", [-1, 65_536, 10**9])
def test_a_port_that_is_none_is_said(port: int) -> None:
    with pytest.raises(UsageError, match="is no port"):
        Door(port=port)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "my-machine", "localhost.example.com", "127.0.0.1.nip.io", ""]
)
def test_an_address_that_is_not_surely_of_this_machine_needs_a_token(host: str) -> None:
    with pytest.raises(UsageError, match="there is no token"):
        Door(host)
    with pytest.raises(UsageError, match="shorter than 16"):
        Door(host, token=TOKEN[:15])
    assert Door(host, token=TOKEN[:16]).token == TOKEN[:16]


async def test_the_application_of_a_door_asks_for_its_token_before_the_protocol_reads_anything() -> None:
    async with desk_at(None) as desk:
        app = application(made_server(desk), Door(token=TOKEN))
        assert await status_of(app, HOST) == 401
        assert await status_of(app, bearers("x" * 10_000)) == 401


async def test_a_port_that_is_taken_is_said_before_a_journal_is_made(tmp_path: Any) -> None:
    for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
        with socket.create_server((host, 0), family=family) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(UsageError, match=f"cannot listen on {host}:{port}"):
                await serve_http(tmp_path / "j.db", Allowed(), Door(host, port))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("verbose", "level"), [(0, logging.WARNING), (1, logging.INFO), (2, logging.DEBUG), (9, logging.DEBUG)]
)
def test_the_log_is_as_talkative_as_it_was_asked_to_be(verbose: int, level: int) -> None:
    root, own = logging.getLogger(), logging.getLogger("mdap")
    before = list(root.handlers), root.level, own.level
    with logged_to_stderr(verbose):
        assert own.level == level
        assert (len(root.handlers), root.level) == (1, logging.WARNING)
    assert (list(root.handlers), root.level, own.level) == before
