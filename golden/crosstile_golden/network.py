"""The integer network: what the hardware must equal, bit for bit."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .convolution import convolution
from .errors import CrosstileError
from .frames import check_frames
from .geometry import Axes, ConvolutionGeometry, PoolGeometry
from .numbers import Integers, NumberFormat, quantise
from .pool import check_pool, pool
from .requantise import check_shift, requantise


@dataclass(frozen=True, eq=False)
class ConvolutionLayer:
    """An integer convolution and its requantisation: y = saturate(round_shift(Σ w·x + bias, shift)).

    weight    int64, shape `geometry.weight_shape`, each within `weight_bits` bits signed
    bias      int64, shape (out_channels,), in units of the accumulator
    shift     int64, shape (out_channels,): right shift per filter; a negative one shifts left
    output_format  what `saturate` clamps to; `relu` clamps below at zero too

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
    relu: bool

    def __post_init__(self) -> None:
        per_filter = (self.geometry.out_channels,)
        self._check_array("weight", self.weight, self.geometry.weight_shape)
        self._check_array("bias", self.bias, per_filter)
        self._check_array("shift", self.shift, per_filter)
        try:
            check_shift(self.shift)
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

    def run(self, frames: Integers) -> Integers:
        """Return the layer's output, int64, shape (frames, out_channels, *output_size)."""
        accumulator = convolution(frames, self.weight, self.geometry)
        return requantise(accumulator, self.bias, self.shift, self.output_format, self.relu)

    @property
    def output_shape(self) -> Axes:
        """Shape of one frame of the output: (out_channels, *output_size)."""
        return (self.geometry.out_channels, *self.geometry.output_size)


@dataclass(frozen=True)
class PoolLayer:
    """An integer pool: max, or average as round_shift(sum, shift), whose missing factor the scale carries.

    `number_format` is that of the input and of the output. A max pool's shift is 0; an average's 2^shift is
    at least the window's count, so that no average leaves the format. Raises `CrosstileError` for another
    shift.
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
        """Format of the output: the input's."""
        return self.number_format

    def run(self, frames: Integers) -> Integers:
        """Return the layer's output, int64, shape (frames, in_channels, *output_size)."""
        return pool(frames, self.geometry, self.shift)

    @property
    def output_shape(self) -> Axes:
        """Shape of one frame of the output: (in_channels, *output_size)."""
        return (self.geometry.in_channels, *self.geometry.output_size)


Layer = ConvolutionLayer | PoolLayer


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """A chain of integer layers, with the scales that lead in and out of it.

    Tensors are int64, shape (frames, channels, *spatial); layer n reads the output of layer n−1.
    A real input is quantised by `input_scale`: x̂ = saturate(⌊input_scale·x + 1/2⌋), and
    real ≈ integer / `output_scale`. `input_shape` and `output_shape` are the ONNX model's shapes without the
    frame axis: as many elements, in the same order, as the first layer reads and the last one gives, but
    perhaps other axes (flat features, for example).

    Raises `CrosstileError` for no layer, two layers of one name, or layers that do not fit each other.
    """

    name: str
    input_shape: Axes
    input_format: NumberFormat
    input_scale: float
    layers: tuple[Layer, ...]
    output_scale: float
    output_shape: Axes
    scheme: str

    def __post_init__(self) -> None:
        if not self.layers:
            raise CrosstileError(f"network '{self.name}' has no layer")
        name, uses = Counter(layer.name for layer in self.layers).most_common(1)[0]
        if uses > 1:
            raise CrosstileError(f"network '{self.name}' has {uses} layers named '{name}'; names must differ")
        shape, number_format = self.frame_shape, self.input_format
        for layer in self.layers:
            reads = (layer.geometry.in_channels, *layer.geometry.input_size)
            if (reads, layer.input_format) != (shape, number_format):
                found = f"{number_format} {shape}"
                raise CrosstileError(f"layer '{layer.name}' reads {layer.input_format} {reads}, not {found}")
            shape, number_format = layer.output_shape, layer.output_format
        self._check_elements("input_shape", self.input_shape, self.frame_shape)
        self._check_elements("output_shape", self.output_shape, shape)

    def _check_elements(self, field: str, given: Axes, needed: Axes) -> None:
        if prod(given) != prod(needed):
            raise CrosstileError(f"{field} {given} of network '{self.name}' does not hold {needed}")

    @property
    def frame_shape(self) -> Axes:
        """Shape of one frame as the first layer reads it: (channels, *spatial)."""
        geometry = self.layers[0].geometry
        return (geometry.in_channels, *geometry.input_size)

    def quantise_input(self, frames: NDArray[np.float64]) -> Integers:
        """Return the integer input (frames, channels, *spatial) for real frames (frames, *input_shape).

        Raises `CrosstileError` for another shape, another type than real or integer, no frame, or NaN.
        """
        real = check_frames(frames, self.input_shape, "input array")
        legal = self.input_format
        # Far outside the format a float does not fit int64; one step beyond it saturates to the same.
        real = np.clip(real, (legal.minimum - 1) / self.input_scale, (legal.maximum + 1) / self.input_scale)
        return quantise(real, self.input_scale, legal).reshape(len(real), *self.frame_shape)

    def tensors(self, frames: Integers) -> dict[str, Integers]:
        """Run integer frames through every layer; return every layer's output by layer name, in order.

        frames  int64, shape (frames, channels, *spatial), within `input_format`

        Raises `CrosstileError` for another type or shape, or values outside of `input_format`.
        """
        frames = self._checked(frames)
        outputs: dict[str, Integers] = {}
        for layer in self.layers:
            frames = outputs[layer.name] = layer.run(frames)
        return outputs

    def run(self, frames: Integers) -> Integers:
        """Run integer frames; return the last layer's output, reshaped to (frames, *output_shape)."""
        frames = self._checked(frames)
        for layer in self.layers:
            frames = layer.run(frames)
        return frames.reshape(len(frames), *self.output_shape)

    def _checked(self, frames: Integers) -> Integers:
        legal = self.input_format
        if frames.dtype.kind not in "iu":
            raise CrosstileError(f"integer frames must be integers, not {frames.dtype}; use quantise_input")
        if frames.size and (int(frames.min()) < legal.minimum or int(frames.max()) > legal.maximum):
            found = f"{frames.min()}..{frames.max()}"
            raise CrosstileError(f"integer frames {found} do not fit the input's {legal}")
        return frames.astype(np.int64)

    def save(self, path: Path) -> None:
        """Write the network to an .npz file (no pickles): arrays per layer, and its record as JSON."""
        from .network_file import save_network

        save_network(self, path)

    @staticmethod
    def load(path: Path) -> IntegerNetwork:
        """Read what `save` wrote; raises `CrosstileError` that names the file where it is not such a file."""
        from .network_file import load_network

        return load_network(path)
