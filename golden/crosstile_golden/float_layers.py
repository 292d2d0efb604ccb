"""The layers of the float network: what an import gives, each on float64 tensors (frames, channels, *spatial)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .convolution import convolve
from .errors import CrosstileError
from .geometry import Axes, ConvolutionGeometry, PoolGeometry
from .windows import windows

Reals = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Convolution:
    """A real convolution with bias; a fully connected layer is one whose kernel covers the whole map.

    weight  float64, shape `geometry.weight_shape`
    bias    float64, shape (out_channels,)

    Raises `CrosstileError` for arrays of another shape.
    """

    name: str
    geometry: ConvolutionGeometry
    weight: Reals
    bias: Reals

    def __post_init__(self) -> None:
        if self.weight.shape != self.geometry.weight_shape:
            raise CrosstileError(
                f"layer '{self.name}': weight must have shape {self.geometry.weight_shape}, "
                f"not {self.weight.shape}"
            )
        if self.bias.shape != (self.geometry.out_channels,):
            raise CrosstileError(
                f"layer '{self.name}': bias must have shape {(self.geometry.out_channels,)}, "
                f"not {self.bias.shape}"
            )

    def run(self, tensor: Reals) -> Reals:
        """Return Σ w·x + bias."""
        per_filter = (-1, *(1 for _ in self.geometry.output_size))
        return convolve(tensor, self.weight, self.geometry) + self.bias.reshape(per_filter)


@dataclass(frozen=True)
class Pool:
    """A maximum, average or sum; padding never wins a maximum and counts as zero in the others.

    In an average it counts as an element, too (ONNX count_include_pad = 1).
    """

    name: str
    geometry: PoolGeometry

    def run(self, tensor: Reals) -> Reals:
        """Return the pooled windows."""
        axes = tuple(range(-self.geometry.dimensions, 0))
        if self.geometry.kind == "max":
            return windows(tensor, self.geometry, -np.inf).max(axis=axes)
        view = windows(tensor, self.geometry, 0)
        return view.sum(axis=axes) if self.geometry.kind == "sum" else view.mean(axis=axes)


@dataclass(frozen=True)
class Add:
    """The sum of two computed tensors of one shape: where a residual joins (US 2020/0117986 [0047])."""

    name: str

    def run(self, first: Reals, second: Reals) -> Reals:
        """Return the sum, element by element."""
        return first + second


@dataclass(frozen=True)
class Relu:
    """min(max(x, 0), maximum), element by element; without a maximum max(x, 0). ReLU6 has the maximum 6."""

    name: str
    maximum: float | None = None

    def run(self, tensor: Reals) -> Reals:
        """Return the activations of a tensor."""
        return np.clip(tensor, 0, self.maximum)


@dataclass(frozen=True)
class LeakyRelu:
    """x where x ≥ 0, else slope·x, with slope = 2^−slope_shift; legal shifts are 1 to 15."""

    name: str
    slope_shift: int

    def run(self, tensor: Reals) -> Reals:
        """Return the activations of a tensor."""
        return np.where(tensor < 0, np.ldexp(tensor, -self.slope_shift), tensor)


@dataclass(frozen=True)
class Tanh:
    """The hyperbolic tangent (US 2020/0117986 [0033])."""

    name: str

    def run(self, tensor: Reals) -> Reals:
        """Return the activations of a tensor."""
        return np.tanh(tensor)


@dataclass(frozen=True)
class Sigmoid:
    """1 / (1 + e^−x)."""

    name: str

    def run(self, tensor: Reals) -> Reals:
        """Return the activations of a tensor; no x overflows."""
        return np.exp(-np.logaddexp(0, -tensor))


FloatActivation = Relu | LeakyRelu | Tanh | Sigmoid
FloatLayer = Convolution | Pool | Add | FloatActivation


def output_shape(layer: FloatLayer, input_shape: Axes) -> Axes:
    """Return the shape of one frame of the layer's output, given the one it reads."""
    if isinstance(layer, Convolution):
        return (layer.geometry.out_channels, *layer.geometry.output_size)
    if isinstance(layer, Pool):
        return (layer.geometry.in_channels, *layer.geometry.output_size)
    return input_shape
