"""What each ONNX operator adds to the graph of float layers, every attribute checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import frexp, prod
from typing import Any

import numpy as np

from .activation import SLOPE_SHIFTS
from .float_layers import LeakyRelu, Pool, Relu, Sigmoid, Tanh
from .geometry import Axes
from .onnx_linear import add, batch_normalization, conv, gemm, matmul
from .onnx_model import Node
from .onnx_tensors import GraphBuilder, Operands, Tensor, data
from .onnx_windows import check_value, pool_geometry, read_attributes


def _relu(graph: GraphBuilder, node: Node, operands: Operands) -> Tensor:
    read_attributes(node)
    return graph.append(Relu(node.name), data(node, operands), negative=False)


def _clip(graph: GraphBuilder, node: Node, operands: Operands) -> Tensor:
    """Clip from 0: a Relu with a maximum. The bounds are inputs, attributes before opset 11."""
    given = read_attributes(node, min=-np.inf, max=np.inf)
    low, high = (_bound(node, operands, position, given[name]) for position, name in ((1, "min"), (2, "max")))
    if low != 0:
        raise node.error(f"min is {'not given' if low == -np.inf else f'{low:g}'}; supported: 0")
    if not high > 0:
        raise node.error(f"max is {high:g}; supported: above 0")
    layer = Relu(node.name, None if high == np.inf else high)
    return graph.append(layer, data(node, operands), negative=False)


def _bound(node: Node, operands: Operands, position: int, attribute: float) -> float:
    """Return a bound of Clip: its input, or its attribute where that is left out."""
    if len(operands) <= position or operands[position] is None:
        return attribute
    value = np.asarray(operands[position])
    if value.size != 1 or np.isnan(value).any():
        raise node.error(f"input {position} holds {value.tolist()}; supported: one number")
    return float(value.reshape(()))


def _leaky_relu(graph: GraphBuilder, node: Node, operands: Operands) -> Tensor:
    """LeakyRelu whose slope is a shift: alpha = 2^−slope_shift."""
    tensor = data(node, operands)
    alpha = read_attributes(node, alpha=0.01)["alpha"]
    mantissa, exponent = frexp(alpha)  # alpha = mantissa·2^exponent, 1/2 ≤ mantissa < 1
    if mantissa != 0.5 or 1 - exponent not in SLOPE_SHIFTS:
        above = min(max(-exponent, SLOPE_SHIFTS[0]), SLOPE_SHIFTS[-2]) if alpha > 0 else SLOPE_SHIFTS[-2]
        raise node.error(
            f"attribute alpha is {alpha:g}; supported: a power of two from 2^-1 to 2^-{SLOPE_SHIFTS[-1]}: "
            f"train it with {2.0**-above:g} (2^-{above}) or {2.0 ** -(above + 1):g} (2^-{above + 1})"
        )
    return graph.append(LeakyRelu(node.name, 1 - exponent), tensor, negative=tensor.negative)


def _tanh(graph: GraphBuilder, node: Node, operands: Operands) -> Tensor:
    read_attributes(node)
    tensor = data(node, operands)
    return graph.append(Tanh(node.name), tensor, negative=tensor.negative)


def _sigmoid(graph: GraphBuilder, node: Node, operands: Operands) -> Tensor:
    read_attributes(node)
    return graph.append(Sigmoid(node.name), data(node, operands), negative=False)


def _pool(graph: GraphBuilder, node: Node, operands: Operands) -> Tensor:
    tensor = data(node, operands)
    tensor.need_map(node)
    geometry = pool_geometry(node, tensor.map_shape)
    if geometry.kind == "sum" and tensor.negative:
        raise node.error(
            f"reads '{node.inputs[0]}', which may be negative; it adds magnitudes, and is supported where these are "
            "the values: after a Relu, a Clip or a Sigmoid"
        )
    return graph.append(Pool(node.name, geometry), tensor, negative=tensor.negative)


def _flatten(_: GraphBuilder, node: Node, operands: Operands) -> Tensor:
    tensor = data(node, operands)
    known = read_attributes(node, axis=1)
    rank = len(tensor.shape) + 1
    if known["axis"] not in (1, 1 - rank):
        raise node.error(f"attribute axis is {known['axis']}; supported: 1")
    return replace(tensor, flat=True)


def _reshape(_: GraphBuilder, node: Node, operands: Operands) -> Tensor:
    tensor = data(node, operands)
    check_value(node, read_attributes(node, allowzero=0), "allowzero", 0)
    target = operands[1] if len(operands) > 1 else None
    if not isinstance(target, np.ndarray) or target.dtype.kind != "i" or target.ndim != 1 or len(target) < 2:
        raise node.error("its shape must be a constant list of two or more integers; export with fixed sizes")
    shape = _resolved(node, [int(size) for size in target], tensor.shape)
    if len(shape) == 1:
        return replace(tensor, flat=True)
    if shape != tensor.map_shape and (tensor.layer or len(shape) > 4):
        raise node.error(f"reshapes {tensor.shape} to {shape}; supported: to flat features, or the input to a map")
    return replace(tensor, map_shape=shape, flat=False)


def _resolved(node: Node, target: list[int], source: Axes) -> Axes:
    """Return a Reshape's target without the frame axis, 0 and −1 replaced by what they stand for."""
    copied = zip(target[1:], (*source, *target), strict=False)
    sizes = [size or original for size, original in copied]
    total = prod(source)
    if sizes.count(-1) == 1:
        rest = prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = total // rest if rest > 0 else 0
    if prod(sizes) != total or min(sizes) < 1:
        raise node.error(f"reshapes {source} to {target}; supported: frames first, as many elements in each")
    return tuple(sizes)


def _softmax(graph: GraphBuilder, node: Node, operands: Operands) -> Tensor:
    tensor = data(node, operands)
    known = read_attributes(node, axis=1)
    if not tensor.flat or known["axis"] not in (1, -1):
        raise node.error(f"attribute axis is {known['axis']} over {tensor.shape}; supported: 1 over flat features")
    graph.notices.append(f"node '{node.name}' ({node.op}) is dropped: the outputs are the logits before it")
    return replace(tensor, ended_by=node.name)


def _pass(_: GraphBuilder, node: Node, operands: Operands) -> Tensor:
    """Identity, and Dropout outside of training."""
    known: dict[str, Any] = {"ratio": 0.5, "seed": 0} if node.op == "Dropout" else {}
    read_attributes(node, **known)
    training = operands[2] if len(operands) > 2 else None
    if isinstance(training, np.ndarray) and training.any():
        raise node.error("input training_mode is true; supported: false")
    return data(node, operands)


OPERATORS: dict[str, Callable[[GraphBuilder, Node, Operands], Tensor]] = {
    "Add": add,
    "AveragePool": _pool,
    "BatchNormalization": batch_normalization,
    "Clip": _clip,
    "Conv": conv,
    "Dropout": _pass,
    "Flatten": _flatten,
    "Gemm": gemm,
    "GlobalAveragePool": _pool,
    "GlobalLpPool": _pool,
    "Identity": _pass,
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": _softmax,
    "LpPool": _pool,
    "MatMul": matmul,
    "MaxPool": _pool,
    "Relu": _relu,
    "Reshape": _reshape,
    "Sigmoid": _sigmoid,
    "Softmax": _softmax,
    "Tanh": _tanh,
}
