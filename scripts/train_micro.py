#!/usr/bin/env python3
"""Train `micro`, the embedded language model, from scratch on random Towers of Hanoi states, and write its weights.

Needs mdap with numpy, and torch 2.13.0, which nothing needs at run time:

    OMP_NUM_THREADS=1 python scripts/train_micro.py

`scripts/measure_micro.py` measures what came out.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path

import micro_states as states
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mdap.models.micro.network import CONTEXT, EPSILON, HEADS, LAYERS, SHAPES, WEIGHTS, WIDTH, weights_hash

MATRICES = ("qkv", "out", "up", "down")
MOVE_WEIGHT = 3.0  # the four tokens of the move, against one for each peg: all the thinking is in them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3000, help="the first half with 128 examples each, then 256")
    parser.add_argument("--slips", type=float, default=0.01, help="share of the teacher's replies with one wrong token")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = trained(options.seed, options.steps, options.slips)
    write_weights(network, options.out)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes, sha256 {weights_hash(options.out)}")


class Network(nn.Module):
    """The network of `mdap.models.micro.network`, with the same names and shapes, to be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.ParameterDict({name: nn.Parameter(_initial(name, shape)) for name, shape in SHAPES.items()})

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits behind each token."""
        w = self.w
        x = w["token"][tokens] + w["position"][: tokens.shape[1]]
        for layer in range(LAYERS):
            rows, length, _ = x.shape
            qkv = (_normed(x, w[f"norm1{layer}"]) @ w[f"qkv{layer}"]).view(rows, length, 3, HEADS, WIDTH // HEADS)
            query, key, value = qkv.permute(2, 0, 3, 1, 4)
            query, key = _normed(query), _normed(key)
            seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0)
            x = x + seen.transpose(1, 2).reshape(rows, length, WIDTH) @ w[f"out{layer}"]
            x = x + functional.relu(_normed(x, w[f"norm2{layer}"]) @ w[f"up{layer}"]).square() @ w[f"down{layer}"]
        return _normed(x, w["norm"]) @ w["head"]


def _initial(name: str, shape: tuple[int, ...]) -> Tensor:
    if name.startswith("norm"):
        return torch.ones(shape)
    if name.startswith(("out", "down")) or name == "head":
        return torch.zeros(shape)  # every layer begins as the identity
    spread = {"token": 0.5, "position": 0.1}.get(name, shape[0] ** -0.5)
    return torch.randn(shape) * spread


def _normed(x: Tensor, scale: Tensor | None = None) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], scale, None, EPSILON)


def batches(seed: int, steps: int, slips: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield tokens (rows, CONTEXT) with the weight of each token in the loss: half 20 disks, half 3 to 19."""
    rng = np.random.default_rng(seed)
    for step in range(steps):
        rows = 128 if step < steps // 2 else 256
        disks = np.where(rng.random(rows) < 0.5, states.MOST, rng.integers(states.FEWEST, states.MOST, rows))
        tokens = np.full((rows, CONTEXT), states.END)
        weight = np.zeros((rows, CONTEXT), np.float32)
        at = 0
        for n, count in zip(*np.unique(disks, return_counts=True), strict=True):
            drawn = states.examples(rng, int(n), int(count), slips)
            tokens[at : at + count, : drawn.shape[1]] = drawn
            weight[at : at + count, n + 5 : n + 9] = MOVE_WEIGHT
            weight[at : at + count, n + 9 : drawn.shape[1]] = 1
            at += count
        yield torch.from_numpy(tokens), torch.from_numpy(weight)


def trained(seed: int, steps: int, slips: float) -> Network:
    """Return the network after `steps` batches; the same on every run of the same machine with one thread."""
    torch.manual_seed(seed)
    network = Network()
    matrices = [w for name, w in network.w.items() if name.startswith(MATRICES)]
    others = [w for name, w in network.w.items() if not name.startswith(MATRICES)]
    adam = torch.optim.AdamW(others, lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0)
    speeds = [torch.zeros_like(w) for w in matrices]
    began = time.monotonic()
    for step, (tokens, weight) in enumerate(batches(seed, steps, slips)):
        rate = min(1.0, (step + 1) / 100) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        logits = network(tokens[:, :-1])
        losses = functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
        loss = (losses * weight[:, 1:].flatten()).sum() / weight.sum()
        network.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        muon(matrices, speeds, 0.02 * rate)
        adam.param_groups[0]["lr"] = 3e-3 * rate
        adam.step()
        if step % 100 == 99:
            print(f"step {step + 1:5,}  loss {loss.item():.4f}  {time.monotonic() - began:4.0f} s", flush=True)
    return network


@torch.no_grad()
def muon(matrices: list[nn.Parameter], speeds: list[Tensor], rate: float) -> None:
    """Move each matrix along its momentum made orthogonal (the Muon optimizer, Jordan et al. 2024)."""
    for matrix, speed in zip(matrices, speeds, strict=True):
        assert matrix.grad is not None
        speed.mul_(0.95).add_(matrix.grad)
        way = matrix.grad + 0.95 * speed
        # Query, key and value are three matrices that are stored side by side.
        parts = way.split(WIDTH, dim=1) if way.shape == (WIDTH, 3 * WIDTH) else [way]
        moved = [_orthogonal(part) * max(1.0, part.shape[1] / part.shape[0]) ** 0.5 for part in parts]
        matrix.sub_(torch.cat(moved, dim=1), alpha=rate)


def _orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix of equal singular values, roughly: five Newton-Schulz steps with Muon's coefficients."""
    x = matrix / (matrix.norm() + 1e-7)
    x = x.T if matrix.shape[0] > matrix.shape[1] else x
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def write_weights(network: Network, path: Path) -> None:
    """Write the arrays one behind the other."""
    np.concatenate([network.w[name].detach().numpy().astype("<f4").ravel() for name in SHAPES]).tofile(path)


if __name__ == "__main__":
    main()
