"""The layers of the integer network: convolutions and pools, each exact on its own."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from .activation import NONE, Activation
from .convolution import convolution
from .errors import CrosstileError
from .geometry import Axes, ConvolutionGeometry, PoolGeometry
from .numbers import Integers, NumberFormat
from .pool import check_pool, pool
from .requantise import check_shift, requantise


@dataclass(frozen=True, eq=False)
class Residual:
    """A second input of a convolution, added before its activation (US 2020/0117986 [0047]).

    number_format  of what arrives: the shape of the convolution's output
    align          int64, shape (out_channels,): bits to the left into accumulator units, −62 to 62
    """

    number_format: NumberFormat
    align: Integers


@dataclass(frozen=True, eq=False)
class ConvolutionLayer:
    """An integer convolution and its requantisation: y = activation(round_shift(Σ w·x + bias [+ r·2^align], shift)).

    weight    int64, shape `geometry.weight_shape`, each within `weight_bits` bits signed
    bias      int64, shape (out_channels,), in units of the accumulator
    shift     int64, shape (out_channels,): right shift per filter; a negative one shifts left
    output_format  what `saturate` clamps to, after the activation

    Raises `CrosstileError` that names the layer for arrays of another shape or type, or weights out of range.
    """

    name: str
    geometry: ConvolutionGeometry
    weight: Integers
    bias: Integers
    shift: Integers
    weight_bits: int
    input_format: NumberFormat
    output_format: NumberFormat
    activation: Activation = NONE
    residual: Residual | None = None

    def __post_init__(self) -> None:
        per_filter = (self.geometry.out_channels,)
        self._check_array("weight", self.weight, self.geometry.weight_shape)
        self._check_array("bias", self.bias, per_filter)
        self._check_array("shift", self.shift, per_filter)
        if self.residual is not None:
            self._check_array("align", self.residual.align, per_filter)
        try:
            check_shift(self.shift)
            if self.residual is not None:
                check_shift(self.residual.align, "align")
        except CrosstileError as error:
            raise CrosstileError(f"layer '{self.name}': {error}") from error
        legal = NumberFormat(self.weight_bits, signed=True)
        least, greatest = int(self.weight.min()), int(self.weight.max())
        if least < legal.minimum or greatest > legal.maximum:
            raise CrosstileError(f"layer '{self.name}': weights {least}..{greatest} do not fit {legal}")

    def _check_array(self, field: str, array: Integers, shape: Axes) -> None:
        if array.shape != shape or array.dtype != np.int64:
            found = f"{array.dtype} of {array.shape}"
            raise CrosstileError(f"layer '{self.name}': {field} must be int64 of shape {shape}, not {found}")

    def run(self, frames: Integers, residual: Integers | None = None) -> Integers:
        """Return the layer's output, int64, shape (frames, out_channels, *output_size).

        `residual`, of that shape, is for a layer that has one.
        """
        accumulator = convolution(frames, self.weight, self.geometry)
        added = None if residual is None or self.residual is None else (residual, self.residual.align)
        return requantise(accumulator, self.bias, self.shift, self.output_format, self.activation, added)

    @property
    def output_shape(self) -> Axes:
        """Shape of one frame of the output: (out_channels, *output_size)."""
        return (self.geometry.out_channels, *self.geometry.output_size)


@dataclass(frozen=True)
class PoolLayer:
    """An integer pool: max, or average and sum as round_shift(sum, shift), whose missing factor the scale carries.

    `number_format` is that of the input, and of the output too but for sums. A max pool's shift is 0; an
    average's 2^shift is at least the window's count, so that no average leaves the format; a sum's shift is
    free, and its output as many bits wider as it falls short of that. Raises `CrosstileError` for another shift.
    """

    name: str
    geometry: PoolGeometry
    shift: int
    number_format: NumberFormat

    def __post_init__(self) -> None:
        try:
            check_pool(self.geometry, self.shift)
        except CrosstileError as error:
            raise CrosstileError(f"layer '{self.name}': {error}") from error
        count = prod(self.geometry.kernel)
        if self.geometry.kind == "average" and 1 << self.shift < count:
            raise CrosstileError(
                f"layer '{self.name}': shift {self.shift} is too small for the average of {count} values; "
                f"it must be {(count - 1).bit_length()} or more"
            )

    @property
    def input_format(self) -> NumberFormat:
        """Format of the input."""
        return self.number_format

    @property
    def output_format(self) -> NumberFormat:
        """Format of the output: the input's, wider by ⌈log2 count⌉ − shift bits where a sum needs them."""
        wider = max(0, (prod(self.geometry.kernel) - 1).bit_length() - self.shift)
        wider = wider if self.geometry.kind == "sum" else 0
        return NumberFormat(self.number_format.bits + wider, self.number_format.signed)

    def run(self, frames: Integers) -> Integers:
        """Return the layer's output, int64, shape (frames, in_channels, *output_size)."""
        return pool(frames, self.geometry, self.shift)

    @property
    def output_shape(self) -> Axes:
        """Shape of one frame of the output: (in_channels, *output_size)."""
        return (self.geometry.in_channels, *self.geometry.output_size)


Layer = ConvolutionLayer | PoolLayer
