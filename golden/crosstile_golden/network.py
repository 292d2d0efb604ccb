"""The integer network: what the hardware must equal, bit for bit."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import CrosstileError
from .frames import check_frames
from .geometry import Axes
from .layers import ConvolutionLayer, Layer, PoolLayer, Residual
from .numbers import Integers, NumberFormat, quantise

__all__ = ["ConvolutionLayer", "IntegerNetwork", "Layer", "PoolLayer", "Residual", "Sources"]


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
    def readers(self) -> Counter[str]:
        """How many times each tensor is read, by its layer's name, "" for the input; residuals count, too."""
        reads = (name for read in self.sources for name in (read.main, read.residual))
        return Counter(name for name in reads if name is not None)

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
