#!/usr/bin/env python3
"""Write micro.onnx: the operations of the network of `micro` for onnxruntime, without the weights.

Needs the onnx package, which nothing needs at run time. The graph refers to the weights file by offsets, so that the
same numbers are shipped once; it changes only if the network's shape does.
"""

from __future__ import annotations

from math import prod

import numpy as np
import onnx
from onnx import TensorProto, helper

from mdap.models.micro.network import CONTEXT, EPSILON, HEADS, LAYERS, SHAPES, VOCABULARY, WEIGHTS, WIDTH
from mdap.models.micro.runtime import GRAPH, PASTS

OPSET = 18


def main() -> None:
    graph = helper.make_graph(nodes(), "micro", inputs(), outputs(), [*weights(), *constants()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.save(model, GRAPH)
    print(f"{GRAPH}: {GRAPH.stat().st_size:,} bytes")


def weights() -> list[TensorProto]:
    """Return every array of the weights file as a reference into it."""
    found, at = [], 0
    for name, shape in SHAPES.items():
        size = 4 * prod(shape)
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", WEIGHTS.name), ("offset", str(at)), ("length", str(size))):
            tensor.external_data.add(key=key, value=value)
        found.append(tensor)
        at += size
    return found


def constants() -> list[TensorProto]:
    """Return the shapes that heads are split into and merged to (0 keeps a dimension), a scale of ones, axes."""
    arrays = {
        "split": np.array([0, 0, 3 * HEADS, WIDTH // HEADS], np.int64),
        "merge": np.array([0, 0, WIDTH], np.int64),
        "ones": np.ones(WIDTH // HEADS, np.float32),
        "end": np.array([CONTEXT], np.int64),
        **{str(axis): np.array([axis], np.int64) for axis in range(3)},
    }
    return [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]


def inputs() -> list[onnx.ValueInfoProto]:
    tensor = helper.make_tensor_value_info
    return [
        tensor("tokens", TensorProto.INT64, ["rows", "length"]),
        tensor("positions", TensorProto.INT64, ["length"]),
        tensor("first", TensorProto.INT64, [1]),
        tensor("ahead", TensorProto.FLOAT, ["length", "all"]),
        *[tensor(f"past_{name}", TensorProto.FLOAT, ["rows", HEADS, "before", WIDTH // HEADS]) for name in PASTS],
    ]


def outputs() -> list[onnx.ValueInfoProto]:
    tensor = helper.make_tensor_value_info
    return [
        tensor("logits", TensorProto.FLOAT, ["rows", "length", len(VOCABULARY)]),
        *[tensor(name, TensorProto.FLOAT, ["rows", HEADS, "all", WIDTH // HEADS]) for name in PASTS],
    ]


def nodes() -> list[onnx.NodeProto]:
    made: list[onnx.NodeProto] = []

    def op(kind: str, *given: str, to: str = "", **attributes: object) -> str:
        made.append(helper.make_node(kind, given, [to or f"t{len(made)}"], **attributes))
        return made[-1].output[0]

    def normed(x: str, scale: str) -> str:
        return op("LayerNormalization", x, scale, axis=-1, epsilon=EPSILON)

    x = op("Add", op("Gather", "token", "tokens"), op("Gather", "position", "positions"))
    for layer in range(LAYERS):
        qkv = op("Reshape", op("MatMul", normed(x, f"norm1{layer}"), f"qkv{layer}"), "split")
        parts = [f"query{layer}", f"new_key{layer}", f"new_value{layer}"]
        made.append(helper.make_node("Split", [op("Transpose", qkv, perm=[0, 2, 1, 3])], parts, axis=1, num_outputs=3))
        query, ahead, new_key = parts[0], "ahead", normed(parts[1], "ones")
        if layer == LAYERS - 1:
            # What the last layer makes of a token is only for that token's logits.
            x, query, ahead = [
                op("Slice", a, "first", "end", axis) for a, axis in ((x, "1"), (query, "2"), (ahead, "0"))
            ]
        query = normed(query, "ones")
        key = op("Concat", f"past_key{layer}", new_key, to=f"key{layer}", axis=2)
        value = op("Concat", f"past_value{layer}", parts[2], to=f"value{layer}", axis=2)
        scores = op("MatMul", query, op("Transpose", key, perm=[0, 1, 3, 2]))
        seen = op("MatMul", op("Softmax", op("Add", scores, ahead), axis=-1), value)
        merged = op("Reshape", op("Transpose", seen, perm=[0, 2, 1, 3]), "merge")
        x = op("Add", x, op("MatMul", merged, f"out{layer}"))
        hidden = op("Relu", op("MatMul", normed(x, f"norm2{layer}"), f"up{layer}"))
        x = op("Add", x, op("MatMul", op("Mul", hidden, hidden), f"down{layer}"))
    op("MatMul", normed(x, "norm"), "head", to="logits")
    return made


if __name__ == "__main__":
    main()
