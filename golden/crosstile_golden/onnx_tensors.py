"""The graph that an import builds, node by node, and what is known of each tensor in it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from .float_layers import Convolution, FloatLayer, Reals, output_shape
from .geometry import Axes
from .onnx_model import Constant, Node


@dataclass(frozen=True)
class Tensor:
    """A computed tensor: an ONNX value, and the layer of the float network that gives it.

    layer      its layer's name, "" for the model's input
    map_shape  (channels, *spatial): how the tensor is laid out
    flat       whether ONNX sees it as (features,), which is the same order of elements
    negative   whether an element may be below zero
    shared     whether several nodes read it, or a tensor of the same layer that it was
    ended_by   the softmax that was dropped before it, "" for none
    """

    layer: str
    map_shape: Axes
    flat: bool
    negative: bool = True
    shared: bool = False
    ended_by: str = ""

    @property
    def shape(self) -> Axes:
        """Shape of the tensor in ONNX, without the frame axis."""
        return (prod(self.map_shape),) if self.flat else self.map_shape

    def need_map(self, node: Node) -> None:
        """Raise `CrosstileError` where the tensor is flat."""
        if self.flat:
            raise node.error(f"its input {self.shape} is flat; supported: (channels, *spatial)")


Operand = Tensor | Constant | None
Operands = list[Operand]


class GraphBuilder:
    """The layers so far, by name in topological order, what each reads, and what the user is to know."""

    def __init__(self) -> None:
        self.layers: dict[str, FloatLayer] = {}
        self.sources: dict[str, tuple[str, ...]] = {}
        self.notices: list[str] = []

    def append(self, layer: FloatLayer, *tensors: Tensor, negative: bool = True) -> Tensor:
        """Add a layer that reads the tensors; return what it gives."""
        self.layers[layer.name] = layer
        self.sources[layer.name] = tuple(tensor.layer for tensor in tensors)
        first = tensors[0]
        return Tensor(layer.name, output_shape(layer, first.map_shape), first.flat, negative)

    def convolution(self, node: Node, tensor: Tensor) -> Convolution:
        """Return the convolution that gives the tensor, for the node to change.

        Raises `CrosstileError` where another layer gives it, or another node reads it, too.
        """
        layer = self.layers.get(tensor.layer)
        if not isinstance(layer, Convolution) or (tensor.flat and prod(tensor.map_shape[1:]) > 1):
            raise node.error("supported: directly after a convolution or a fully connected layer only")
        if tensor.shared:
            raise node.error(
                f"reads the output of '{tensor.layer}', which others read too; supported: where only this node does"
            )
        return layer

    def change(self, layer: Convolution, tensor: Tensor) -> Tensor:
        """Put a changed convolution in its place; return the tensor, which it gives now."""
        self.layers[layer.name] = layer
        return tensor


def data(node: Node, operands: Operands) -> Tensor:
    """Return a node's first input; raises `CrosstileError` unless it is computed."""
    first = operands[0]
    if not isinstance(first, Tensor):
        raise node.error(f"its first input '{node.inputs[0]}' is constant; supported: a computed first input")
    return first


def weights(node: Node, operands: Operands, position: int, what: str) -> Reals:
    """Return an operand as float64.

    Raises `CrosstileError` where it is missing, not a float tensor, or holds NaN or an infinity.
    """
    value = operands[position] if position < len(operands) else None
    if value is None or isinstance(value, Tensor):
        raise node.error(f"its {what} (input {position}) is missing or computed; supported: a constant")
    name = node.inputs[position]
    if value.dtype.kind != "f":
        raise node.error(f"tensor '{name}' has type {value.dtype}; supported: float16, float32, float64")
    real = value.astype(np.float64)
    wrong = real[~np.isfinite(real)]
    if wrong.size:
        raise node.error(f"tensor '{name}' holds {wrong.flat[0]}; every weight must be finite")
    return real
