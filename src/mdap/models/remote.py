"""A model that is asked over HTTP, whatever its dialect: keys, one attempt a call, refusals, adaptation. No retries."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import msgspec
from yarl import URL

from mdap.core.errors import ModelError, ModelRejected, UsageError
from mdap.core.records import Request, Response, Usage
from mdap.core.spec import write_spec
from mdap.models.adaptive import Adaptive
from mdap.models.cassette import tape
from mdap.models.http import CACHE_HEADERS, MAX_BODY, Endpoint, Reply, Tape, check_base_url, is_html, page_title
from mdap.models.profiles import SERVERS, Profile, Server, check_model_name, profile_of
from mdap.models.refusals import Told, is_quota, is_unknown_key, refused_parameter, told


class Link(NamedTuple):
    """All that a dialect needs to reach a model: whose it is, where it is, the key, and what is recorded."""

    server: Server
    model: str
    base_url: str
    key: str
    timeout: float
    logprobs: bool
    tape: Tape | None


def link(
    name: str,
    model: str,
    base_url: str | None,
    api_key: str | None,
    timeout: float,
    logprobs: bool,
    record_http: str | Tape | None,
    replay_http: str | Tape | None,
) -> Link:
    """Return the link to a model of the server called `name`; see `openai` for the other arguments.

    Raises UsageError, before any call, for what no call could be made with.
    """
    server = SERVERS[name]
    check_model_name(name, model)
    if not timeout > 0:
        raise UsageError(f"timeout {timeout!r} is not above 0", remedy="give seconds, such as 60")
    other = os.environ.get(server.base_variable) if server.base_variable else None
    base = check_base_url(base_url or other or server.base_url)
    # A key that was copied or read from a file often brings a line end along.
    key = (api_key or next((set_to for n in server.keys if (set_to := os.environ.get(n))), "")).strip()
    played = tape(record_http, replay_http)
    # A replay makes no calls, and a server at another address may well want no key.
    if not key and server.needs_key and base == server.base_url and replay_http is None:
        variables = " nor ".join(server.keys)
        raise UsageError(
            f"{name}:{model} needs a key, and {variables} is not set"
            if len(server.keys) == 1
            else f"{name}:{model} needs a key, and neither {variables} is set",
            remedy=f"export {server.keys[0]}=..., or point --base-url at a server that needs none",
        )
    # It becomes a header, in which a line end would begin another one. The message does not show it.
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"the key in {server.keys[0]} holds characters that no key has", remedy="copy it again")
    return Link(server, model, base, key, timeout, logprobs, played)


class Remote(Adaptive):
    """A model behind a server. Its spec names the server, but never the key and nothing that a resume may change.

    `logprobs` says whether log-probabilities are asked for. A dialect gives `path`, `auth`, `write` and `read`.
    """

    noun: ClassVar[str]
    """What a reply is called in messages."""
    writes: ClassVar[frozenset[str]]
    """Which of `PARAMETERS` the dialect has a field for; of `max_tokens`, whether it has a second name for it."""
    ending: ClassVar[str]
    """Advice on where a base URL ends."""

    def __init__(self, to: Link) -> None:
        server = self.server = to.server
        self.model = to.model
        self.base_url = to.base_url
        own = to.base_url == server.base_url
        self.profile = profile_of(server.name, to.model, own_address=own)
        # The vendor's own address is left out: one model is one spec, whether or not the address was given.
        self.spec = write_spec(
            server.name, {"base_url": None if own else to.base_url, "logprobs": to.logprobs or None}, bare=to.model
        )
        self.logprobs = to.logprobs
        self._endpoint = Endpoint(
            self.base_url + self.path(),
            headers={**server.headers, **(self.auth(to.key) if to.key else {})},
            secret=to.key,
            timeout=to.timeout,
            tape=to.tape,
        )
        if not self.profile.temperature:
            # Instance attributes, since a run takes what a model prescribes for its own temperatures.
            self.first_temperature = self.temperature = None

    def __repr__(self) -> str:
        return f"<model {self.spec}>"

    def path(self) -> str:
        """Return what stands behind the base URL in the address of a call."""
        raise NotImplementedError

    def auth(self, key: str) -> Mapping[str, str]:
        """Return the headers that carry the key."""
        raise NotImplementedError

    def write(self, request: Request, profile: Profile, n: int) -> bytes:
        """Return the body that asks for `n` replies with what the profile takes."""
        raise NotImplementedError

    def read(self, body: bytes) -> list[Response] | int:
        """Return the replies in a body, in the order of their index; raises ValueError, with the reason, if none are.

        A body that reports an error though its status is 200 gives the error's true status in place of replies. Raises
        ModelError for a reply that the server itself gave up.
        """
        raise NotImplementedError

    async def complete(self, request: Request) -> Response:
        """Make exactly one attempt; raises ModelError to be tried again, or ModelRejected, with the server's words."""
        return (await self._ask(request, 1))[0]

    async def complete_n(self, requests: Sequence[Request]) -> list[Response]:
        """Return the replies to requests that share prompt, temperature and cap, from one call; no seed is sent.

        They fill the requests in order of their index. All tokens of the call, those of the prompt once, are in the
        usage of the first; that of the others is zero. A list that is shorter than `requests` means that the server
        ignored the number: what came is kept, and `profile.n` is False from then on. Raises UsageError for a model
        whose profile has no `n`, and for requests that differ; fails as `complete` does.
        """
        if not requests:
            return []
        first = requests[0]
        # What a body holds only once.
        shared = (first.messages, first.temperature, first.max_tokens, first.schema)
        if any((r.messages, r.temperature, r.max_tokens, r.schema) != shared for r in requests):
            raise UsageError("requests with different prompts or temperatures cannot share a call", remedy="send each")
        if not self.profile.n:
            raise UsageError(f"{self.spec} takes no n: {self.profile.known}", remedy="send a request for each draw")
        got = await self._ask(first, len(requests)) if len(requests) > 1 else [await self.complete(first)]
        if len(got) < len(requests):
            self.narrow("n", "answers one draw where more were asked for")
        # No usage stays None: only what was reported has been counted with the first. Ids are made to differ, for one
        # that comes twice is evidence of a cache.
        rest = [
            msgspec.structs.replace(reply, usage=reply.usage and Usage(), id=f"{reply.id}#{index}" if reply.id else "")
            for index, reply in enumerate(got[1 : len(requests)], 1)
        ]
        return [got[0], *rest]

    async def look(self, path: str) -> Reply:
        """Return what another path of the same server answers to a GET; raises ModelError where there is no reply."""
        return await self._endpoint.send("GET", path)

    async def send(self, method: str, path: str, body: bytes = b"", *, kind: str = "", most: int = MAX_BODY) -> Reply:
        """Return what another path of the same server answers; raises ModelError for an error status, and as `look`.

        `path` goes behind the base URL; for `kind` and `most` see `Endpoint.send`.
        """
        reply = await self._endpoint.send(method, self.path_to(path), body, kind=kind, most=most)
        if reply.status == 200:
            return reply
        said = Told(page_title(reply)) if is_html(reply) else told(reply.body)
        raise self._endpoint.refusal(reply, said.text, remedy=self._remedy(reply.status), wait=said.wait)

    def path_to(self, path: str) -> str:
        """Return a path behind the base URL as one from the root of the server."""
        return URL(self.base_url).path.rstrip("/") + path

    def clean(self, text: str) -> str:
        """Return a server's words fit for a message: on one line, of bounded length, without the key."""
        return self._endpoint.clean(text)

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()

    async def _ask(self, request: Request, n: int) -> list[Response]:
        # Taken once: it may narrow while the call is away, and a refusal is about what was sent.
        profile = self.profile
        return self.replies(await self._endpoint.post(self.write(request, profile, n)), profile, request, n)

    def replies(self, reply: Reply, profile: Profile, request: Request, n: int = 1) -> list[Response]:
        """Return what a server answered to a request that was written with `profile`; fails as `complete` does."""
        if reply.status != 200:
            raise self._refused(reply, profile, request, n)
        try:
            replies = self.read(reply.body)
        except (ValueError, RecursionError) as error:  # a ValueError also for text that is not UTF-8
            failure = self._unreadable(reply, str(error))
        else:
            if isinstance(replies, int):
                raise self._refused(reply._replace(status=replies), profile, request, n)
            if _is_from_cache(reply.headers):
                # Marked and handed on: whether it stops a run is not for a model to say.
                return [msgspec.structs.replace(reply, from_cache=True) for reply in replies]
            return replies
        raise failure

    def _refused(self, reply: Reply, profile: Profile, request: Request, n: int) -> ModelError:
        said = Told(page_title(reply)) if is_html(reply) else told(reply.body)
        # Only these blame the request itself: in any other refusal the name of a parameter stands there by chance.
        if reply.status in (400, 422):
            name = refused_parameter(said, self._sent(profile, request, n))
            words = f"{self._endpoint.url}: {self._endpoint.clean(said.text)}"
            if name is not None and (error := self.adapted(name, profile, words, reply.status)) is not None:
                return error
        # Before the status is looked at: as a 429 it would be tried again and again, and waiting fills no account.
        if is_quota(said):
            return ModelRejected(
                f"HTTP {reply.status} from {self._endpoint.url}: {self._endpoint.clean(said.text)}",
                kind="quota",
                status=reply.status,
                remedy="add credit or raise the limit of the account, then resume",
            )
        remedy = self._remedy(401 if is_unknown_key(said) else reply.status)
        return self._endpoint.refusal(reply, said.text, remedy=remedy, wait=said.wait)

    def _sent(self, profile: Profile, request: Request, n: int) -> tuple[str, ...]:
        """The parameters that a call carried, by the names of `PARAMETERS`."""
        carried = {
            "temperature": profile.temperature and request.temperature is not None,
            "seed": profile.seed and n == 1,
            "n": n > 1,
            "logprobs": profile.logprobs and self.logprobs,
            "response_format": profile.json_schema and request.schema is not None,
            "max_tokens": True,
        }
        # A dialect without a field for it never sent it, whatever the profile says.
        return tuple(name for name, is_sent in carried.items() if is_sent and name in self.writes)

    def _remedy(self, status: int) -> str:
        key = f"set {self.server.keys[0]} to a key of this server"
        asked = "the server does not take the request as it is: see its message"
        return {
            400: asked,
            401: key,
            403: f"{key} that may use the model {self.model!r}",
            404: f"does the server have a model {self.model!r}, and does the base URL {self.base_url} end as it should "
            f"({self.ending})?",
            405: f"{self.base_url} is no chat endpoint: {self.ending}",
            413: "the prompt is longer than the server takes",
            422: asked,
        }.get(status, "")

    def _unreadable(self, reply: Reply, reason: str) -> ModelError:
        url, clean = self._endpoint.url, self._endpoint.clean
        if is_html(reply):
            return ModelRejected(
                f"{url} answered with a web page: {clean(page_title(reply))}",
                kind="html",
                remedy=f"is {self.base_url} the address of an API? {self.ending[0].upper()}{self.ending[1:]}",
            )
        start = clean(reply.body[:80].decode(errors="replace"))
        # Without a status, for this reply may well be on the bill.
        return ModelError(
            f"the reply of {url} is not {self.noun} ({reason}): {start}",
            kind="garbage",
            remedy="if it goes on, look at what the server answers: is it the one that the base URL names?",
        )


def aborted(word: str) -> ModelError:
    """Return the error for a reply that the server itself gave up in the middle: not the model's doing, so again."""
    return ModelError(f"the server gave the reply up: finish reason {word}", kind="aborted")


def _is_from_cache(headers: Mapping[str, str]) -> bool:
    return any(headers.get(name, "").lower().startswith("hit") for name in CACHE_HEADERS)
