"""The integer network: what the hardware must equal, bit for bit."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .activation import NONE, Activation
from .convolution import convolution
from .errors import CrosstileError
from .frames import check_frames
from .geometry import Axes, ConvolutionGeometry, PoolGeometry
from .numbers import Integers, NumberFormat, quantise
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
            check_shift(self.shift[:0] if self.residual is None else self.residual.align)
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


@dataclass(frozen=True)
class Sources:
    """What a layer reads: names of layers before it, "" for the network's input."""

    main: str
    residual: str | None = None


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """Integer layers, with the scales that lead in and out of them: a chain, or branches that meet as residuals.

    `sources` says what each layer reads, all of it before itself; left out, each reads the one before. Every
    layer but the last is read at least once.

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
    sources: tuple[Sources, ...] = ()

    def __post_init__(self) -> None:
        if not self.layers:
            raise CrosstileError(f"network '{self.name}' has no layer")
        name, uses = Counter(layer.name for layer in self.layers).most_common(1)[0]
        if uses > 1:
            raise CrosstileError(f"network '{self.name}' has {uses} layers named '{name}'; names must differ")
        if not self.sources:
            names = ["", *(layer.name for layer in self.layers)]
            object.__setattr__(self, "sources", tuple(Sources(name) for name in names[:-1]))
        self._check_sources()
        self._check_elements("input_shape", self.input_shape, self.frame_shape)
        self._check_elements("output_shape", self.output_shape, self.layers[-1].output_shape)

    def _check_sources(self) -> None:
        """Raise `CrosstileError` unless every layer reads earlier tensors of the shape and format it needs."""
        if len(self.sources) != len(self.layers):
            raise CrosstileError(f"sources must have an entry for each of {len(self.layers)} layers")
        known = {"": (self.input_format, self.frame_shape)}
        unread: set[str] = set()
        for layer, source in zip(self.layers, self.sources, strict=True):
            reads = (layer.input_format, (layer.geometry.in_channels, *layer.geometry.input_size))
            self._check_read(layer.name, reads, source.main, known)
            residual = layer.residual if isinstance(layer, ConvolutionLayer) else None
            if (source.residual is None) != (residual is None):
                raise CrosstileError(f"layer '{layer.name}' must have both a residual and a source of it, or neither")
            if residual is not None and source.residual is not None:
                self._check_read(layer.name, (residual.number_format, layer.output_shape), source.residual, known)
            known[layer.name] = layer.output_format, layer.output_shape
            unread = (unread | {layer.name}) - {source.main, source.residual}
        if unread != {self.layers[-1].name}:
            raise CrosstileError(f"layers {sorted(unread)} of network '{self.name}' are not read; only the last may be")

    @staticmethod
    def _check_read(
        name: str, reads: tuple[NumberFormat, Axes], source: str, known: dict[str, tuple[NumberFormat, Axes]]
    ) -> None:
        if source not in known:
            raise CrosstileError(f"layer '{name}' reads '{source}', which is no layer before it")
        if known[source] != reads:
            found = "{} {}".format(*known[source])
            raise CrosstileError("layer '{}' reads {} {}, not {}".format(name, *reads, found))

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
        outputs = {"": self._checked(frames)}
        for layer, source in zip(self.layers, self.sources, strict=True):
            frames = outputs[source.main]
            if isinstance(layer, ConvolutionLayer) and source.residual is not None:
                outputs[layer.name] = layer.run(frames, outputs[source.residual])
            else:
                outputs[layer.name] = layer.run(frames)
        del outputs[""]
        return outputs

    def run(self, frames: Integers) -> Integers:
        """Run integer frames; return the last layer's output, reshaped to (frames, *output_shape)."""
        return self.tensors(frames)[self.layers[-1].name].reshape(len(frames), *self.output_shape)

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
