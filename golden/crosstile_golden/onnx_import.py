"""From a float ONNX file to a graph of float layers; nothing is ever read past in silence."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from .errors import CrosstileError
from .graph import FloatGraph
from .onnx_model import Constant, Node, OnnxModel, read_model
from .onnx_operators import OPERATORS
from .onnx_tensors import GraphBuilder, Operands, Tensor


def import_onnx(path: Path) -> FloatGraph:
    """Read a float ONNX model: a chain of nodes, or branches that meet in Adds.

    Supported, in one, two and three dimensions: Conv, Gemm, MatMul, Add (of a bias, or of two computed tensors),
    BatchNormalization (after a convolution, folded into it), Relu, Clip from 0, LeakyRelu of a power of two, Tanh,
    Sigmoid, MaxPool, AveragePool, GlobalAveragePool, LpPool and GlobalLpPool (p = 1 of nothing negative: sums),
    Flatten, Reshape, Identity, Dropout, and a final Softmax or LogSoftmax, which is dropped with a notice. Fully
    connected layers become convolutions whose kernel covers the map. The frame axis may be dynamic or of any size.

    Raises `CrosstileError` that names the file, or the node with the attribute or tensor and what is
    supported.
    """
    model = read_model(path)
    graph = GraphBuilder()
    values = _inputs(model)
    readers = Counter(name for node in model.nodes for name in node.inputs) + Counter([model.output_name])
    for node in model.nodes:
        if node.op not in OPERATORS:
            raise node.error(f"operator not supported; supported: {', '.join(sorted(OPERATORS))}")
        output = node.outputs[0]
        if not readers[output]:
            raise node.error(f"gives '{output}', which nothing reads; supported: every tensor on the way to the output")
        if node.op == "Identity" and not isinstance(values.get(node.inputs[0]), Tensor | None):
            values[output] = values[node.inputs[0]]
            continue
        tensor = OPERATORS[node.op](graph, node, _operands(node, values))
        values[output] = replace(tensor, shared=tensor.shared or readers[output] > 1)
    return _finish(path, model, graph, values.get(model.output_name))


def _inputs(model: OnnxModel) -> dict[str, Tensor | Constant]:
    """Return what is there before the first node: the constants, and the input, features as maps of 1×1."""
    flat = len(model.input_shape) == 1
    tensor = Tensor("", (*model.input_shape, 1, 1) if flat else model.input_shape, flat)
    return {**model.constants, model.input_name: tensor}


def _operands(node: Node, values: dict[str, Tensor | Constant]) -> Operands:
    """Return the node's inputs, None for those left out.

    Raises `CrosstileError` unless one is computed (two for an Add), by nodes before, and none by a softmax.
    """
    for name in filter(None, node.inputs):
        if name not in values:
            raise node.error(f"reads '{name}', which no node before it gives")
    operands = [values[name] if name else None for name in node.inputs]
    computed = {name: values[name] for name in node.inputs if isinstance(values.get(name), Tensor)}
    for tensor in computed.values():
        if isinstance(tensor, Tensor) and tensor.ended_by:
            raise node.error(f"follows '{tensor.ended_by}'; a softmax is supported only as the last node")
    count = sum(isinstance(operand, Tensor) for operand in operands)
    legal, most = ("one or two", 2) if node.op == "Add" else ("one", 1)
    if not 1 <= count <= most:
        listed = ", ".join(f"'{name}'" for name in computed)
        raise node.error(f"has {count} computed inputs ({listed}); supported: {legal}, the others constant")
    return operands


def _finish(path: Path, model: OnnxModel, graph: GraphBuilder, last: Tensor | Constant | None) -> FloatGraph:
    if not isinstance(last, Tensor) or not last.layer:
        raise CrosstileError(f"{path}: output '{model.output_name}' is not computed by any layer")
    return FloatGraph(
        model.name, model.input_shape, tuple(graph.layers.values()), last.shape, graph.notices,
        tuple(graph.sources.values()),
    )
