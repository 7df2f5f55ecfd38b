"""A chat-completions server fast enough to measure clients with: one asyncio.Protocol, HTTP/1.1 with keep-alive.

It answers a fixed completion, or with `--task` the right answer to the prompt. It checks nothing and is no product:
`mdap serve` is. Run it on a core of its own: `taskset -c 0 python benchmarks/loopback_server.py --port 8399`.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from mdap.core.records import Message
from mdap.tasks.catalog import task as task_named

Answer = Callable[[bytes], bytes]

PROMPTS_REMEMBERED = 4096


class Body(msgspec.Struct):
    """What of a request is looked at; the messages stay bytes until a prompt is new."""

    messages: msgspec.Raw


def http(text: str) -> bytes:
    """Return a whole HTTP reply that holds one chat completion with this text."""
    body = msgspec.json.encode(
        {
            "id": "chatcmpl-loopback",
            "object": "chat.completion",
            "created": 1,
            "model": "loopback",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 700, "completion_tokens": 60, "total_tokens": 760},
        }
    )
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def always(text: str) -> Answer:
    """Answer every request with the same text."""
    reply = http(text)
    return lambda body: reply


def right(task: Any) -> Answer:
    """Answer with the task's right move, read from the text of the prompt; replies to recent prompts are kept."""
    bodies, prompts = msgspec.json.Decoder(Body), msgspec.json.Decoder(tuple[Message, ...])
    known: dict[bytes, bytes] = {}

    def answer(body: bytes) -> bytes:
        raw = bytes(bodies.decode(body).messages)
        reply = known.get(raw)
        if reply is None:
            if len(known) >= PROMPTS_REMEMBERED:
                del known[next(iter(known))]
            reply = known[raw] = http(task.write(task.answer(task.read(prompts.decode(raw)))))
        return reply

    return answer


class Loopback(asyncio.Protocol):
    """One connection: requests in, answers out, in order, pipelined or not."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole by now."""
        buffer = self.buffer + data if self.buffer else data
        while (head := buffer.find(b"\r\n\r\n")) >= 0:
            end = head + 4 + content_length(buffer[: head + 2])
            if len(buffer) < end:
                break
            self.transport.write(self.answer(buffer[head + 4 : end]))
            buffer = buffer[end:]
        self.buffer = buffer


def content_length(head: bytes) -> int:
    """Return the length that the headers announce; 0 where they announce none."""
    at = head.find(b"Content-Length: ")
    if at < 0:
        head = head.lower()
        at = head.find(b"content-length: ")
    return int(head[at + 16 : head.index(b"\r\n", at)]) if at >= 0 else 0


async def serve(answer: Answer, port: int = 0) -> asyncio.Server:
    """Return a listening server; port 0 takes a free one."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Loopback(answer), "127.0.0.1", port, backlog=4096)


async def main() -> None:
    """Serve until killed; the base URL is the first line on standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--task", help="answer rightly for this task, such as hanoi:disks=20")
    parser.add_argument("--text", default="move = [1, 0, 2]", help="the fixed answer where there is no task")
    options = parser.parse_args()
    answer = always(options.text)
    if options.task:
        answer = right(task_named(options.task))
    server = await serve(answer, options.port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
