"""What each ONNX operator adds to the chain of float layers, every attribute checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from .errors import CrosstileError
from .geometry import Axes, ConvolutionGeometry
from .graph import Convolution, FloatLayer, Pool, Reals, Relu
from .onnx_model import Constant, Node
from .onnx_windows import check_value, pool_geometry, read_attributes, window_fields

Operands = list[Constant | None]


class Chain:
    """The layers so far, and the shape of the tensor they give.

    map_shape  (channels, *spatial): how the tensor is laid out
    flat       whether ONNX sees it as (features,), which is the same order of elements
    """

    def __init__(self, input_shape: Axes) -> None:
        self.flat = len(input_shape) == 1
        self.map_shape = (*input_shape, 1, 1) if self.flat else input_shape
        self.layers: list[FloatLayer] = []
        self.notices: list[str] = []
        self.ended_by = ""

    @property
    def tensor_shape(self) -> Axes:
        """Shape of the tensor in ONNX, without the frame axis."""
        return (prod(self.map_shape),) if self.flat else self.map_shape

    def need_map(self, node: Node) -> None:
        """Raise `CrosstileError` where the tensor is flat."""
        if self.flat:
            raise node.error(f"its input {self.tensor_shape} is flat; supported: (channels, *spatial)")

    def last_convolution(self, node: Node) -> Convolution:
        """Return the layer just before; raises `CrosstileError` unless it is a convolution."""
        last = self.layers[-1] if self.layers else None
        if not isinstance(last, Convolution) or (self.flat and prod(self.map_shape[1:]) > 1):
            raise node.error("supported: directly after a convolution or a fully connected layer only")
        return last


def weights(node: Node, operands: Operands, position: int, what: str) -> Reals:
    """Return an operand as float64.

    Raises `CrosstileError` where it is missing, not a float tensor, or holds NaN or an infinity.
    """
    value = operands[position] if position < len(operands) else None
    if value is None:
        raise node.error(f"its {what} (input {position}) is missing or computed; supported: a constant")
    name = node.inputs[position]
    if value.dtype.kind != "f":
        raise node.error(f"tensor '{name}' has type {value.dtype}; supported: float16, float32, float64")
    real = value.astype(np.float64)
    wrong = real[~np.isfinite(real)]
    if wrong.size:
        raise node.error(f"tensor '{name}' holds {wrong.flat[0]}; every weight must be finite")
    return real


def _conv(chain: Chain, node: Node, operands: Operands) -> None:
    chain.need_map(node)
    known = read_attributes(
        node, auto_pad="NOTSET", dilations=None, group=1, kernel_shape=None, pads=None, strides=None
    )
    weight = weights(node, operands, 1, "weight")
    dimensions = len(chain.map_shape) - 1
    if weight.ndim != dimensions + 2:
        raise node.error(
            f"weight has {weight.ndim} axes; its input of {dimensions} spatial axes needs {dimensions + 2}"
        )
    kernel = weight.shape[2:]
    if known["kernel_shape"] not in (None, list(kernel)):
        raise node.error(f"attribute kernel_shape is {known['kernel_shape']}; its weight has {list(kernel)}")
    fields = window_fields(node, known, kernel, chain.map_shape)
    try:
        geometry = ConvolutionGeometry(**fields, out_channels=len(weight), groups=known["group"])
    except CrosstileError as error:
        raise node.error(str(error)) from error
    bias = weights(node, operands, 2, "bias") if _is_given(node, 2) else np.zeros(len(weight))
    _append(chain, node, geometry, weight, bias)


def _is_given(node: Node, position: int) -> bool:
    return len(node.inputs) > position and node.inputs[position] != ""


def _append(chain: Chain, node: Node, geometry: ConvolutionGeometry, weight: Reals, bias: Reals) -> None:
    if weight.shape != geometry.weight_shape:
        raise node.error(f"weight has shape {weight.shape}; its input and group need {geometry.weight_shape}")
    if bias.shape != (geometry.out_channels,):
        raise node.error(f"bias has shape {bias.shape}; its weight needs {(geometry.out_channels,)}")
    chain.layers.append(Convolution(node.name, geometry, weight, bias))
    chain.map_shape = (geometry.out_channels, *geometry.output_size)


def _fully_connected(chain: Chain, node: Node, weight: Reals, bias: Reals) -> None:
    """Append weight (outputs, features) as a convolution whose kernel covers the whole map."""
    if not chain.flat:
        raise node.error(f"its input {chain.tensor_shape} is not flat; supported: a Flatten before it")
    features = prod(chain.map_shape)
    if weight.ndim != 2 or weight.shape[1] != features:
        raise node.error(f"tensor '{node.inputs[1]}' does not match its {features} input features")
    channels, *spatial = chain.map_shape
    kernel, ones, zeros = tuple(spatial), (1,) * len(spatial), (0,) * len(spatial)
    geometry = ConvolutionGeometry(channels, kernel, kernel, ones, ones, zeros, zeros, len(weight))
    _append(chain, node, geometry, weight.reshape(geometry.weight_shape), bias)


def _gemm(chain: Chain, node: Node, operands: Operands) -> None:
    known = read_attributes(node, alpha=1.0, beta=1.0, transA=0, transB=0)
    check_value(node, known, "transA", 0)
    check_value(node, known, "transB", 0, 1)
    weight = weights(node, operands, 1, "weight")
    weight = weight if known["transB"] else weight.T
    bias = np.zeros(len(weight))
    if _is_given(node, 2):
        bias = known["beta"] * _per_channel(node, operands, 2, (len(weight),))
    _fully_connected(chain, node, known["alpha"] * weight, bias)


def _matmul(chain: Chain, node: Node, operands: Operands) -> None:
    read_attributes(node)
    weight = weights(node, operands, 1, "weight").T
    _fully_connected(chain, node, weight, np.zeros(len(weight) if weight.ndim else 1))


def _per_channel(node: Node, operands: Operands, position: int, tensor_shape: Axes) -> Reals:
    """Broadcast a constant to one number per channel; refuse one that differs along other axes."""
    value = weights(node, operands, position, "bias")
    legal = (1, tensor_shape[0], *(1 for _ in tensor_shape[1:]))
    aligned = (1,) * (len(legal) - value.ndim) + value.shape
    if aligned not in (legal, tuple(1 for _ in legal)):
        found = f"tensor '{node.inputs[position]}' has shape {value.shape}"
        raise node.error(f"{found}; supported: one number per channel, {legal}")
    return np.broadcast_to(value.reshape(-1), (tensor_shape[0],)).copy()


def _add(chain: Chain, node: Node, operands: Operands) -> None:
    read_attributes(node)
    position = 0 if operands[0] is not None else 1
    last = chain.last_convolution(node)
    value = _per_channel(node, operands, position, chain.tensor_shape)
    chain.layers[-1] = replace(last, bias=last.bias + value)


def _batch_normalization(chain: Chain, node: Node, operands: Operands) -> None:
    """Fold scale·(x − mean)/√(variance + ε) + shift into the convolution before it."""
    known = read_attributes(node, epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1)
    check_value(node, known, "training_mode", 0)
    check_value(node, known, "spatial", 1)
    last = chain.last_convolution(node)
    channels = (last.geometry.out_channels,)
    roles = ("scale", "bias", "mean", "variance")
    values = [weights(node, operands, position, role) for position, role in enumerate(roles, start=1)]
    for value, name in zip(values, node.inputs[1:], strict=False):
        if value.shape != channels:
            raise node.error(f"tensor '{name}' has shape {value.shape}; its input's channels need {channels}")
    scale, shift, mean, variance = values
    if not (variance + known["epsilon"] > 0).all():
        raise node.error(f"tensor '{node.inputs[4]}' holds {variance.min()}; a variance must not be negative")
    factor = scale / np.sqrt(variance + known["epsilon"])
    weight = last.weight * factor.reshape(-1, *(1 for _ in last.weight.shape[1:]))
    chain.layers[-1] = replace(last, weight=weight, bias=(last.bias - mean) * factor + shift)


def _relu(chain: Chain, node: Node, _: Operands) -> None:
    read_attributes(node)
    chain.layers.append(Relu(node.name))


def _clip(chain: Chain, node: Node, operands: Operands) -> None:
    """Clip from 0: a Relu with a maximum. The bounds are inputs, attributes before opset 11."""
    given = read_attributes(node, min=-np.inf, max=np.inf)
    low, high = (_bound(node, operands, position, given[name]) for position, name in ((1, "min"), (2, "max")))
    if low != 0:
        raise node.error(f"min is {'not given' if low == -np.inf else f'{low:g}'}; supported: 0")
    if not high > 0:
        raise node.error(f"max is {high:g}; supported: above 0")
    chain.layers.append(Relu(node.name, None if high == np.inf else high))


def _bound(node: Node, operands: Operands, position: int, attribute: float) -> float:
    """Return a bound of Clip: its input, or its attribute where that is left out."""
    if len(operands) <= position or operands[position] is None:
        return attribute
    value = np.asarray(operands[position])
    if value.size != 1 or np.isnan(value).any():
        raise node.error(f"input {position} holds {value.tolist()}; supported: one number")
    return float(value.reshape(()))


def _pool(chain: Chain, node: Node, _: Operands) -> None:
    chain.need_map(node)
    geometry = pool_geometry(node, chain.map_shape)
    chain.layers.append(Pool(node.name, geometry))
    chain.map_shape = (geometry.in_channels, *geometry.output_size)


def _flatten(chain: Chain, node: Node, _: Operands) -> None:
    known = read_attributes(node, axis=1)
    rank = len(chain.tensor_shape) + 1
    if known["axis"] not in (1, 1 - rank):
        raise node.error(f"attribute axis is {known['axis']}; supported: 1")
    chain.flat = True


def _reshape(chain: Chain, node: Node, operands: Operands) -> None:
    check_value(node, read_attributes(node, allowzero=0), "allowzero", 0)
    target = operands[1] if len(operands) > 1 else None
    if target is None or target.dtype.kind != "i" or target.ndim != 1 or len(target) < 2:
        raise node.error("its shape must be a constant list of two or more integers; export with fixed sizes")
    shape = _resolved(node, [int(size) for size in target], chain.tensor_shape)
    if len(shape) == 1:
        chain.flat = True
    elif shape == chain.map_shape or (not chain.layers and len(shape) <= 4):
        chain.map_shape, chain.flat = shape, False
    else:
        raise node.error(
            f"reshapes {chain.tensor_shape} to {shape}; supported: to flat features, or the input to a map"
        )


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


def _softmax(chain: Chain, node: Node, _: Operands) -> None:
    known = read_attributes(node, axis=1)
    if not chain.flat or known["axis"] not in (1, -1):
        shape = chain.tensor_shape
        raise node.error(f"attribute axis is {known['axis']} over {shape}; supported: 1 over flat features")
    chain.ended_by = node.name
    chain.notices.append(f"node '{node.name}' ({node.op}) is dropped: the outputs are the logits before it")


def _pass(_: Chain, node: Node, operands: Operands) -> None:
    """Identity, and Dropout outside of training."""
    known: dict[str, Any] = {"ratio": 0.5, "seed": 0} if node.op == "Dropout" else {}
    read_attributes(node, **known)
    if len(operands) > 2 and operands[2] is not None and bool(operands[2]):
        raise node.error("input training_mode is true; supported: false")


OPERATORS: dict[str, Callable[[Chain, Node, Operands], None]] = {
    "Add": _add,
    "AveragePool": _pool,
    "BatchNormalization": _batch_normalization,
    "Clip": _clip,
    "Conv": _conv,
    "Dropout": _pass,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _pool,
    "Identity": _pass,
    "LogSoftmax": _softmax,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "Relu": _relu,
    "Reshape": _reshape,
    "Softmax": _softmax,
}
