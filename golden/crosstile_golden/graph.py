"""The float network as a chain of layers: what an import gives and a quantiser takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray

from .errors import CrosstileError
from .geometry import Axes, ConvolutionGeometry, PoolGeometry

Reals = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Convolution:
    """A real convolution with bias; a fully connected layer is one whose kernel covers the whole map.

    weight  float64, shape `geometry.weight_shape`
    bias    float64, shape (out_channels,)
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


@dataclass(frozen=True)
class Relu:
    """min(max(x, 0), maximum), element by element; without a maximum max(x, 0). ReLU6 has the maximum 6."""

    name: str
    maximum: float | None = None

    def run(self, tensor: Reals) -> Reals:
        """Return the activations of a tensor."""
        return np.clip(tensor, 0, self.maximum)


@dataclass(frozen=True)
class Pool:
    """A pool; padding never wins a maximum and counts as zero in an average (ONNX count_include_pad = 1)."""

    name: str
    geometry: PoolGeometry


FloatLayer = Convolution | Relu | Pool


@dataclass(frozen=True)
class FloatGraph:
    """A chain of float layers.

    input_shape, output_shape  the model's shapes without the frame axis: (channels, *spatial) or (features,)
    layers   in order; each has a name of its own
    notices  one line each: what the import left out, for the user to know

    Raises `CrosstileError` where no layer is a convolution, or the first does not take the input's elements.
    """

    name: str
    input_shape: Axes
    layers: tuple[FloatLayer, ...]
    output_shape: Axes
    notices: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not any(isinstance(layer, Convolution) for layer in self.layers):
            raise CrosstileError(f"model '{self.name}' has no convolution and no fully connected layer")
        if prod(self.frame_shape) != prod(self.input_shape):
            raise CrosstileError(
                f"model '{self.name}': input_shape {self.input_shape} does not hold {self.frame_shape}"
            )

    @property
    def frame_shape(self) -> Axes:
        """Shape of one frame as the first layer reads it: (channels, *spatial)."""
        geometry = next(layer.geometry for layer in self.layers if not isinstance(layer, Relu))
        return (geometry.in_channels, *geometry.input_size)
