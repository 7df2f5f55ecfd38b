"""The network of `micro` in numpy: its shape, its weights file and the forward pass. Knows no text and no chance."""

from __future__ import annotations

import hashlib
from math import prod
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from mdap.core.errors import UsageError

try:
    import numpy as np
    from numpy.typing import NDArray
except ModuleNotFoundError as error:
    raise UsageError("micro computes with numpy, which is not installed", remedy="pip install 'mdap[micro]'") from error

Tokens: TypeAlias = NDArray[np.int64]  # (rows, length)
Floats: TypeAlias = NDArray[Any]
Past: TypeAlias = list[Floats]  # keys and values by layer, each (rows, HEADS, length, WIDTH // HEADS)

# Tokens are numbered in this order, and the weights were trained by it: another order makes other signs of them.
VOCABULARY: Final = "0123456789>\n"
CONTEXT: Final = 50  # tokens of prompt and reply together: 25 and 25 at 20 disks
WIDTH: Final = 64
HEADS: Final = 4
LAYERS: Final = 3

_LAYER: dict[str, tuple[int, ...]] = {
    "norm1": (WIDTH,),
    "qkv": (WIDTH, 3 * WIDTH),
    "out": (WIDTH, WIDTH),
    "norm2": (WIDTH,),
    "up": (WIDTH, 4 * WIDTH),
    "down": (4 * WIDTH, WIDTH),
}
# In the order in which they stand in the weights file.
SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "token": (len(VOCABULARY), WIDTH),
    "position": (CONTEXT, WIDTH),
    **{f"{name}{layer}": shape for layer in range(LAYERS) for name, shape in _LAYER.items()},
    "norm": (WIDTH,),
    "head": (WIDTH, len(VOCABULARY)),
}
WEIGHTS: Final = Path(__file__).parent / "micro.bin"
# As in training and in the graph for onnxruntime: weights belong to it.
EPSILON: Final = 1e-5


class Network(Protocol):
    """A forward pass with memory. Rows know nothing of each other."""

    def extend(self, tokens: Tokens, past: Past, first: int = 0) -> tuple[Floats, Past]:
        """Return the logits (rows, length - first, vocabulary) behind `tokens`, and the past grown by them.

        `past` holds what came before in each row, in the same number of tokens for all. What is behind the tokens
        before `first` is not asked for.
        """


def no_past(rows: int, dtype: Any = np.float32) -> Past:
    """Return the past of `rows` rows that hold no tokens yet."""
    return [np.zeros((rows, HEADS, 0, WIDTH // HEADS), dtype) for _ in range(2 * LAYERS)]


def read_weights(path: Path = WEIGHTS) -> dict[str, Floats]:
    """Return the arrays of a weights file: float32, little-endian, one behind the other in the order of `SHAPES`."""
    flat = np.fromfile(path, dtype="<f4")
    expected = sum(prod(shape) for shape in SHAPES.values())
    if flat.size != expected:
        raise UsageError(f"{path} holds {flat.size:,} numbers, not {expected:,}", remedy="install mdap again")
    weights, at = {}, 0
    for name, shape in SHAPES.items():
        weights[name] = flat[at : at + prod(shape)].reshape(shape)
        at += prod(shape)
    return weights


def weights_hash(path: Path = WEIGHTS) -> str:
    """Return the SHA-256 of a weights file, as the model card states it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class NumpyNetwork:
    """The network computed by numpy, in float32, or in float64 as the reference for choices that are close."""

    def __init__(self, dtype: Any = np.float32, path: Path = WEIGHTS) -> None:
        self.dtype = dtype
        self._w = {name: array.astype(dtype) for name, array in read_weights(path).items()}

    def extend(self, tokens: Tokens, past: Past, first: int = 0) -> tuple[Floats, Past]:
        """Return the logits (rows, length - first, vocabulary) behind `tokens`, and the past grown by them."""
        w, length = self._w, tokens.shape[1]
        before = past[0].shape[2]
        x = w["token"][tokens] + w["position"][before : before + length]
        # Nothing may look ahead; a single token has nothing ahead of it.
        behind = np.tril(np.ones((length, before + length), self.dtype), before) if length > 1 else None
        grown: Past = []
        for layer in range(LAYERS):
            # What the last layer makes of a token is only for that token's logits.
            start = first if layer == LAYERS - 1 else 0
            x = x[:, start:] + self._attended(x, layer, past[2 * layer : 2 * layer + 2], behind, grown, start)
            # Squared below, as in training: an activation without exponentials, which are what takes time here.
            hidden = np.maximum(_normed(x, w[f"norm2{layer}"]) @ w[f"up{layer}"], 0)
            x = x + (hidden * hidden) @ w[f"down{layer}"]
        return _normed(x, w["norm"]) @ w["head"], grown

    def _attended(self, x: Floats, layer: int, past: Past, behind: Floats | None, grown: Past, start: int) -> Floats:
        rows, length, _ = x.shape
        w = self._w
        qkv = (_normed(x, w[f"norm1{layer}"]) @ w[f"qkv{layer}"]).reshape(rows, length, 3 * HEADS, WIDTH // HEADS)
        query, key, value = np.split(qkv.transpose(0, 2, 1, 3), 3, axis=1)
        key = np.concatenate([past[0], _normed(key)], axis=2)
        value = np.concatenate([past[1], value], axis=2)
        grown += [key, value]
        # Both sides are normed, so that no score is beyond 16 and its exponential needs no care.
        weights = np.exp(_normed(query[:, :, start:]) @ key.transpose(0, 1, 3, 2))
        if behind is not None:
            weights *= behind[start:]
        weights /= weights.sum(axis=-1, keepdims=True)
        seen: Floats = (weights @ value).transpose(0, 2, 1, 3).reshape(rows, length - start, WIDTH) @ w[f"out{layer}"]
        return seen


def _normed(x: Floats, scale: Floats | float = 1.0) -> Floats:
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + EPSILON)
    normed: Floats = centred / spread * scale
    return normed
