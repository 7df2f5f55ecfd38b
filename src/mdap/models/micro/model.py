"""`micro`: a real language model that ships with the package and needs no key, no network and no download.

Here its prompts and replies are text, and concurrent requests share batches. It knows the form in which a task writes
for it, and nothing of the task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from weakref import WeakKeyDictionary

from mdap.core.errors import ModelError, ModelRejected, UsageError
from mdap.core.keyed import uniforms
from mdap.core.records import Request, Response, Usage
from mdap.core.spec import write_spec
from mdap.models.micro.network import CONTEXT, VOCABULARY, Network, NumpyNetwork, weights_hash
from mdap.models.micro.runtime import Backend, network
from mdap.models.micro.writing import Job, write
from mdap.protocols import Task

_TOKEN: Final = {sign: token for token, sign in enumerate(VOCABULARY)}
_HEAD: Final = 4  # tokens of a move: two digits of the disk, from, to
# Numbers that one digest gives: `uniforms` makes eight at most.
_BLOCK: Final = 8


def micro(seed: int = 0, temperature: float = 1.0, backend: Backend = "auto", batch: int = 64) -> Micro:
    """Return the embedded model: 152,640 parameters, trained on Towers of Hanoi of 3 to 20 disks.

    A reply is a function of `seed`, the prompt and the request's seed and temperature, on every `backend` ("onnx",
    "numpy", or "auto": onnxruntime where it is installed) and whatever shares its batch of up to `batch` replies.
    `temperature` is what votes are drawn at unless a run says otherwise. Raises UsageError for values out of range
    and for a backend that is not installed.
    """
    if not temperature >= 0 or temperature == float("inf"):
        raise UsageError(f"micro: temperature={temperature} is out of range", remedy="give 0 or more, such as 1")
    if batch < 1:
        raise UsageError(f"micro: batch={batch} is out of range", remedy="give 1 or more, such as 64")
    if backend not in ("auto", "onnx", "numpy"):
        raise UsageError(f"micro: backend={backend!r} is unknown", remedy="give auto, onnx or numpy")
    options: dict[str, object] = {"seed": seed or None, "temperature": None if temperature == 1 else temperature}
    options |= {"backend": None if backend == "auto" else backend, "batch": None if batch == 64 else batch}
    spec = write_spec("micro", options)
    return Micro(network(backend), seed=seed, temperature=temperature, batch=batch, spec=spec)


class Micro:
    """The embedded model; see `micro`. Safe to use from several event loops."""

    prompt_form: Final = "compact"
    is_seeded: Final = True

    def __init__(self, network: Network, *, seed: int, temperature: float, batch: int, spec: str) -> None:
        self.spec = spec
        self.first_temperature = self.temperature = temperature
        # Neither backend nor batch can change a reply; other weights can.
        self.identity = f"{write_spec('micro', {'seed': seed})} weights {weights_hash()[:16]}"
        self._network, self._exact = network, NumpyNetwork("float64")
        self._seed, self._batch = seed, batch
        # By loop, to which futures belong; weakly, so that a loop that is gone takes its queue along.
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"<model {self.spec}>"

    def bind(self, task: Task) -> Micro:
        """Return this model; raises UsageError for a task whose prompts it cannot read."""
        # The first prompt stands for all: the form stays the same throughout a run.
        given = task.prompt(task.start())
        text = given if isinstance(given, str) else "\n".join(message.content for message in given)
        if reason := _unreadable(text):
            raise UsageError(f"{self.spec} cannot read the prompts of this task: {reason}", remedy=_REMEDY)
        return self

    async def complete(self, request: Request) -> Response:
        """Write a reply in the next batch; raises ModelRejected for a prompt that is not of its form."""
        job = self._job(request)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        queue = self._queues.setdefault(loop, _Queue())
        queue.waiting.append((job, done))
        if not queue.is_watched:
            queue.is_watched = True
            # Not at once: the draws of a step are asked for in one turn of the loop, and so share a batch.
            loop.call_soon(self._watch, loop, queue, 0)
        await done
        text = "".join(VOCABULARY[token] for token in job.written)
        usage = Usage(len(job.prompt), len(job.written))
        return Response(text, "stop" if job.is_finished else "length", usage)

    def _job(self, request: Request) -> Job:
        text = "\n".join(message.content for message in request.messages)
        if reason := _unreadable(text):
            raise ModelRejected(f"micro cannot read the prompt: {reason}", remedy=_REMEDY)
        key = b"micro %d %d %b " % (self._seed, request.seed, request.prompt.digest.encode())
        room = CONTEXT - len(text)
        # For the context and not for the cap: a guess may run past the cap, and its draws are looked at in one array.
        chances = [u for block in range(-(-room // _BLOCK)) for u in uniforms(key + b"%d" % block, _BLOCK)]
        heat = 1.0 if request.temperature is None else request.temperature
        return Job([_TOKEN[sign] for sign in text], chances, min(room, request.max_tokens), heat)

    def _watch(self, loop: asyncio.AbstractEventLoop, queue: _Queue, seen: int) -> None:
        """Write a batch once it is full, or once a turn of the event loop has brought nothing new."""
        if seen < len(queue.waiting) < self._batch:
            loop.call_soon(self._watch, loop, queue, len(queue.waiting))
            return
        batch, queue.waiting = queue.waiting[: self._batch], queue.waiting[self._batch :]
        queue.is_watched = bool(queue.waiting)
        if queue.is_watched:
            loop.call_soon(self._watch, loop, queue, 0)
        # A call that was cancelled meanwhile is not written.
        batch = [(job, done) for job, done in batch if not done.done()]
        try:
            self.write([job for job, _ in batch])
        except (RuntimeError, MemoryError) as error:
            for _, done in batch:
                done.set_exception(ModelError(f"micro could not compute a batch of {len(batch)}: {error}"))
            return
        for _, done in batch:
            done.set_result(None)

    def write(self, jobs: Sequence[Job]) -> None:
        """Write every job to its end, in batches of prompts of one length."""
        for length in {len(job.prompt) for job in jobs}:
            write(self._network, self._exact, [job for job in jobs if len(job.prompt) == length], copied)


def copied(prompt: list[int], written: list[int]) -> list[int]:
    """Return what a reply probably goes on with: a copy of the prompt's pegs with the move just written, and the end.

    Only how many passes a reply takes depends on it, never its text.
    """
    if len(written) < _HEAD:
        return []
    state = prompt[_HEAD:-1]
    disk = 10 * written[0] + written[1]
    if 1 <= disk <= len(state):
        state[disk - 1] = written[_HEAD - 1]
    return [*state, _TOKEN["\n"]][len(written) - _HEAD :]


class _Queue:
    """What waits for a batch on one event loop."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Job, asyncio.Future[None]]] = []
        self.is_watched = False


_REMEDY = "give it hanoi:disks=N,form=compact with 3 to 20 disks"


def _unreadable(text: str) -> str:
    """Why a prompt is not of the model's form; empty if it is: 4 digits of a move, 3 to 20 pegs, and `>`."""
    body, end = text[:-1], text[-1:]
    if end != ">" or not (body.isascii() and body.isdigit()):
        return f"not digits and `>`: {text[:40]!r}"
    if not 3 <= len(body) - _HEAD <= 20:
        return f"{len(body) - _HEAD} disks are not 3 to 20"
    return ""
