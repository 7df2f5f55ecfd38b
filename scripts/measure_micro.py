#!/usr/bin/env python3
"""Measure the weights of `micro` as they are installed, and print the figures of its model card.

    OMP_NUM_THREADS=1 python scripts/measure_micro.py            # everything, about a quarter of an hour on one core
    OMP_NUM_THREADS=1 python scripts/measure_micro.py --quick    # a hundredth of the states

Whether a reply is right is computed, not sampled: one pass over the prompt and the right reply gives the probability
of every token of it, so its favourite and its chance at any temperature are known exactly for each state. Only the
kinds of error are counted on sampled replies.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import micro_states as states
import numpy as np

from mdap.core.errors import RedFlag
from mdap.core.records import Draw, Request, Response
from mdap.engine.taskview import TaskView
from mdap.models.micro.model import Micro, micro
from mdap.models.micro.network import Network, no_past, weights_hash
from mdap.models.micro.runtime import Backend, network
from mdap.tasks.hanoi import Hanoi

HEATS = (0.7, 1.0, 1.3, 1.5, 2.0)
ROWS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the states")
    parser.add_argument("--backend", choices=["auto", "onnx", "numpy"], default="auto")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args()
    share = 100 if options.quick else 1
    print(f"weights sha256 {weights_hash()}")
    print("| states | number | favourite wrong | " + " | ".join(f"T={heat}" for heat in HEATS) + " | least p at T=1 |")
    print("|" + " --- |" * (4 + len(HEATS)), flush=True)
    for part in options.parts:
        PARTS[part](options.backend, share)


def measure_path(backend: Backend, share: int) -> None:
    """The standard path of 20 disks, every step of it."""
    report(network(backend), "path of 20 disks, held out", *states.path(20, np.arange(0, 2**20 - 1, share)))


def measure_off(backend: Backend, share: int) -> None:
    """Random states of 20 disks that are held out off the path."""
    rng = np.random.default_rng(2)
    report(network(backend), "20 disks off the path, held out", *random_states(rng, 20, 100_000 // share))


def measure_disks(backend: Backend, share: int) -> None:
    """Random states, held out where any are, and the path, for each other number of disks."""
    net, rng = network(backend), np.random.default_rng(3)
    for disks in range(states.FEWEST, states.MOST):
        name = "held out" if disks >= states.HELD_OUT_FROM else "random"
        report(net, f"{disks} disks, {name}", *random_states(rng, disks, 10_000 // share))
        steps = np.arange(2**disks - 1) if disks < 14 else rng.integers(0, 2**disks - 1, 10_000)
        report(net, f"{disks} disks, path", *states.path(disks, steps[::share]))


def measure_kinds(backend: Backend, share: int) -> None:
    """How sampled replies go wrong, by temperature."""
    model = micro(seed=1, backend=backend)
    for heat in HEATS:
        asyncio.run(sampled(model, heat, 50_000 // share))


PARTS: dict[str, Callable[[Backend, int], None]] = {
    "path": measure_path,
    "off": measure_off,
    "disks": measure_disks,
    "kinds": measure_kinds,
}


def random_states(rng: np.random.Generator, disks: int, count: int) -> tuple[states.Ints, states.Ints]:
    """Return random states off the 20-disk path, from 14 disks on those that are held out of the training."""
    found: list[tuple[states.Ints, states.Ints]] = []
    while sum(len(pegs) for pegs, _ in found) < count:
        pegs, previous = states.sample(rng, disks, 20_000)
        kept = states.held_out(pegs) if disks >= states.HELD_OUT_FROM else np.ones(len(pegs), bool)
        kept &= ~(states.is_on_path(pegs) & (disks == states.MOST))
        found.append((pegs[kept], previous[kept]))
    pegs, previous = (np.concatenate(arrays)[:count] for arrays in zip(*found, strict=True))
    return pegs, previous


def report(net: Network, name: str, pegs: states.Ints, previous: states.Ints) -> None:
    """Print a row: how often the favourite reply is wrong, and the share of bad replies by temperature."""
    wrong, bad, least = 0, np.zeros(len(HEATS)), 1.0
    for at in range(0, len(pegs), ROWS):
        texts = states.texts(pegs[at : at + ROWS], previous[at : at + ROWS])
        favourite, logs = judged(net, texts, pegs.shape[1])
        wrong += int((~favourite).sum())
        right = np.exp(logs)
        bad += (1 - right).sum(axis=1)
        least = min(least, right[HEATS.index(1.0)].min())
    shares = " | ".join(f"{share:.4%}" for share in bad / len(pegs))
    print(f"| {name} | {len(pegs):,} | {wrong:,} | {shares} | {least:.4f} |", flush=True)


def judged(net: Network, texts: states.Ints, disks: int) -> tuple[states.Ints, states.Ints]:
    """Return whether every right token is the favourite, by row, and log p of the right reply (HEATS, rows)."""
    logits, _ = net.extend(texts[:, :-1], no_past(len(texts)), disks + 4)
    reply = texts[:, disks + 5 :]
    scaled = logits.astype(np.float64) / np.array(HEATS)[:, None, None, None]
    scaled -= scaled.max(axis=-1, keepdims=True)
    scaled -= np.log(np.exp(scaled).sum(axis=-1, keepdims=True))
    logs = np.take_along_axis(scaled, np.broadcast_to(reply, (len(HEATS), *reply.shape))[..., None], axis=-1)
    return (logits.argmax(axis=-1) == reply).all(axis=1), logs[..., 0].sum(axis=-1)


async def sampled(model: Micro, heat: float, count: int) -> None:
    """Print how `count` sampled replies to states of the 20-disk path go wrong at a temperature."""
    view, rng, kinds = TaskView(Hanoi(states.MOST, form="compact")), random.Random(3), Counter[str]()
    for batch in range(0, count, ROWS):
        asked = [view.task.sample(rng) for _ in range(ROWS)]  # type: ignore[attr-defined]
        requests = [
            Request(view.prompt(state), Draw(batch, slot), batch + slot, heat, 750) for slot, state in enumerate(asked)
        ]
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(model.complete(request)) for request in requests]
        kinds.update(map(partial(kind, view), asked, [call.result() for call in calls]))
    total, bad = kinds.total(), kinds.total() - kinds["right"]
    print(f"T={heat}: of {total:,} replies {bad:,} bad ({bad / total:.2%}):", end=" ")
    print(", ".join(f"{name} {number:,}" for name, number in kinds.most_common() if name != "right"), flush=True)


def kind(view: TaskView, state: Any, reply: Response) -> str:
    """Say what a reply is: right, a red flag's name, or what is wrong in the vote."""
    if reply.finish == "length":
        return "truncated"
    try:
        move = view.read(reply.text, state).move
    except RedFlag as flag:
        return flag.name
    right = view.task.answer(state)  # type: ignore[attr-defined]
    if move == right:
        return "right"
    return "wrong move" if move.action != right.action else "wrong next state"


if __name__ == "__main__":
    main()
