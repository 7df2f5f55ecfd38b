"""The network of `micro` computed by onnxruntime, which is optional: several times faster than numpy, same replies."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from mdap.core.errors import UsageError
from mdap.models.micro.network import LAYERS, WEIGHTS, Floats, Network, NumpyNetwork, Past, Tokens

Backend: TypeAlias = Literal["auto", "onnx", "numpy"]

# Holds the operations alone: the weights are read from the file beside it, which numpy reads too.
GRAPH: Final = WEIGHTS.with_name("micro.onnx")
PASTS: Final = [f"{kind}{layer}" for layer in range(LAYERS) for kind in ("key", "value")]
# Nothing may look ahead. Minus infinity in effect, since scores lie within 16 of 0; much lower, and the exponentials
# would be so small that the processor takes several times as long for them.
AHEAD: Final = -54.0


def network(backend: Backend = "auto") -> Network:
    """Return the network on a backend; "auto" is onnxruntime where it is installed, else numpy.

    Raises UsageError for "onnx" without onnxruntime.
    """
    if backend == "numpy":
        return NumpyNetwork()
    try:
        return OnnxNetwork()
    except ModuleNotFoundError as error:
        # Its own absence alone: one that is installed, and lacks something itself, is to be seen.
        if backend == "auto" and error.name == "onnxruntime":
            return NumpyNetwork()
        raise UsageError(
            "backend=onnx needs onnxruntime, which is not installed",
            remedy="pip install 'mdap[micro]', or take backend=numpy",
        ) from error


class OnnxNetwork:
    """The network computed by onnxruntime, in float32 on one thread."""

    def __init__(self, path: Path = GRAPH) -> None:
        onnxruntime: Any = import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        # The matrices are small: a second thread costs more in waiting for it than it computes.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def extend(self, tokens: Tokens, past: Past, first: int = 0) -> tuple[Floats, Past]:
        """Return the logits (rows, length - first, vocabulary) behind `tokens`, and the past grown by them."""
        length, before = tokens.shape[1], past[0].shape[2]
        fed = {
            "tokens": tokens,
            "positions": np.arange(before, before + length),
            "first": np.array([first]),
            "ahead": _ahead(before, length),
            **{f"past_{name}": array for name, array in zip(PASTS, past, strict=True)},
        }
        logits, *grown = self._session.run(None, fed)
        return logits, grown


@cache
def _ahead(before: int, length: int) -> Floats:
    return np.triu(np.full((length, before + length), AHEAD, np.float32), before + 1)
