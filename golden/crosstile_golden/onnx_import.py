"""From a float ONNX file to a chain of float layers; nothing is ever read past in silence."""

from __future__ import annotations

from pathlib import Path

from .errors import CrosstileError
from .graph import FloatGraph
from .onnx_model import Constant, Node, OnnxModel, read_model
from .onnx_operators import OPERATORS, Chain


def import_onnx(path: Path) -> FloatGraph:
    """Read a float ONNX model whose nodes form a chain.

    Supported, in one, two and three dimensions: Conv, Gemm, MatMul, Add (of a bias), BatchNormalization
    (after a convolution, folded into it), Relu, Clip from 0, MaxPool, AveragePool, GlobalAveragePool, Flatten, Reshape,
    Identity, Dropout, and a final Softmax or LogSoftmax, which is dropped with a notice. Fully connected
    layers become convolutions whose kernel covers the map. The frame axis may be dynamic or of any size.

    Raises `CrosstileError` that names the file, or the node with the attribute or tensor and what is
    supported.
    """
    model = read_model(path)
    chain = Chain(model.input_shape)
    constants = dict(model.constants)
    current = model.input_name
    for node in model.nodes:
        if node.op not in OPERATORS:
            raise node.error(f"operator not supported; supported: {', '.join(sorted(OPERATORS))}")
        if node.op == "Identity" and node.inputs[0] in constants:
            constants[node.outputs[0]] = constants[node.inputs[0]]
            continue
        operands = _operands(node, current, constants)
        if chain.ended_by:
            raise node.error(f"follows '{chain.ended_by}'; a softmax is supported only as the last node")
        OPERATORS[node.op](chain, node, operands)
        current = node.outputs[0]
    return _finish(path, model, chain, current)


def _operands(node: Node, current: str, constants: dict[str, Constant]) -> list[Constant | None]:
    """Return the node's inputs as constants, None for the chain's tensor and for inputs left out.

    Raises `CrosstileError` unless exactly one input is computed, and that by the node before.
    """
    computed = [name for name in node.inputs if name and name not in constants]
    if len(computed) != 1:
        listed = ", ".join(f"'{name}'" for name in computed)
        raise node.error(
            f"has {len(computed)} computed inputs ({listed}); supported: one, the others constant "
            "(a chain without branches)"
        )
    if computed[0] != current:
        raise node.error(
            f"reads '{computed[0]}', but the node before it gives '{current}'; supported: a chain without "
            "branches, where each tensor is read once"
        )
    if node.op != "Add" and node.inputs[0] != current:
        raise node.error(f"its first input '{node.inputs[0]}' is constant; supported: a computed first input")
    return [constants.get(name) for name in node.inputs]


def _finish(path: Path, model: OnnxModel, chain: Chain, current: str) -> FloatGraph:
    if model.output_name != current:
        raise CrosstileError(
            f"{path}: output '{model.output_name}' is not what the last node gives ('{current}'); "
            "supported: a chain without branches"
        )
    return FloatGraph(model.name, model.input_shape, tuple(chain.layers), chain.tensor_shape, chain.notices)
