"""Winograd convolution of tiles of 4, exact in integers, nested over one, two or three axes.

Along an axis F(2,3) makes 2 outputs from a kernel of 3 and F(3,2) makes 3 outputs from a kernel of 2, each with 4
multiplications: both interpolate at 0, 1, −1 and ∞, so they share one activation transform (the Winograd method
compatible with multi-dimensional networks, claims 3 to 5, switches only the other two). A kernel of 1 is the third
of the family: no transform, 4 outputs from 4 multiplications.

    y · 2^D = Aᵀ [ (G w) ⊙ (Bᵀ x) ]        per axis; D counts the axes whose kernel is 3 or 2

These are the letters of Lavin and Gray (2015); the method's own text writes A, B and G for G, Bᵀ and Aᵀ. The halves
of G are left out, and Aᵀ doubles its outer columns in their stead: weights stay narrow, and 2^D divides every result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from types import MappingProxyType

import numpy as np

from .errors import CrosstileError
from .geometry import Axes
from .numbers import Integers, NumberFormat

TILE = 4
"""Inputs of a tile, and multipliers, along an axis."""

_SHARED = [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]
_ALONE = np.eye(TILE, dtype=int).tolist()


def _matrices(**rows: list[list[int]]) -> MappingProxyType[int, Integers]:
    return MappingProxyType({int(size[1:]): np.array(matrix, np.int64) for size, matrix in rows.items()})


ACTIVATION_MATRIX = _matrices(k3=_SHARED, k2=_SHARED, k1=_ALONE)
"""Bᵀ by kernel size: (position, input)."""

WEIGHT_MATRIX = _matrices(
    k3=[[1, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 1]],
    k2=[[1, 0], [1, 1], [1, -1], [0, 1]],
    k1=[[1], [1], [1], [1]],
)
"""G by kernel size, its middle rows doubled for 3 and 2: (position, tap)."""

PARTIAL_SUM_MATRIX = _matrices(
    k3=[[2, 1, 1, 0], [0, 1, -1, -2]],
    k2=[[2, 1, 1, 0], [0, 1, -1, 0], [0, 1, 1, -2]],
    k1=_ALONE,
)
"""Aᵀ by kernel size, its outer columns doubled for 3 and 2: (output, position)."""


def outputs_along(size: int) -> int:
    """Return the outputs of a tile along an axis: 5 − size."""
    return TILE - size + 1


def check_kernel(kernel: Axes, sizes: Axes = (3, 2, 1)) -> None:
    """Raise `CrosstileError` unless the kernel has 1 to 3 axes, each of one of these sizes."""
    if not 1 <= len(kernel) <= 3 or not set(kernel) <= set(sizes):
        raise CrosstileError(f"kernel must have 1 to 3 axes, each of size {_either(sizes)}, not {kernel}")


def _either(sizes: Axes) -> str:
    return f"{', '.join(map(str, sizes[:-1]))} or {sizes[-1]}"


def scale_bits(kernel: Axes) -> int:
    """Return D: transformed partial sums are 2^D times the convolution."""
    return sum(size > 1 for size in kernel)


def transformed(array: Integers, matrices: Sequence[Integers]) -> Integers:
    """Multiply the last axes of an array by one matrix each, the first matrix along the outermost of them."""
    for axis, matrix in enumerate(matrices, array.ndim - len(matrices)):
        array = np.moveaxis(np.tensordot(array, matrix, axes=(axis, 1)), -1, axis)
    return array


def transform_activations(tiles: Integers, kernel: Axes) -> Integers:
    """Return Bᵀ x along every axis: shape (..., 4, ...) to the same shape."""
    return transformed(tiles, [ACTIVATION_MATRIX[size] for size in kernel])


def transform_weights(weight: Integers, kernel: Axes) -> Integers:
    """Return G w along every axis: shape (..., *kernel) to (..., 4, ...)."""
    return transformed(weight, [WEIGHT_MATRIX[size] for size in kernel])


def transform_partial_sums(partial_sums: Integers, kernel: Axes) -> Integers:
    """Return Aᵀ m along every axis, 2^D times the convolution: shape (..., 4, ...) to (..., *outputs)."""
    return transformed(partial_sums, [PARTIAL_SUM_MATRIX[size] for size in kernel])


def divide_exactly(scaled: Integers, kernel: Axes) -> Integers:
    """Return scaled / 2^D.

    Raises `CrosstileError` where something remains: then these are no transformed sums of products.
    """
    bits = scale_bits(kernel)
    if (scaled & (1 << bits) - 1).any():
        raise CrosstileError(f"partial sums of kernel {kernel} must be multiples of {1 << bits}: some are not")
    return scaled >> bits


def convolve_tiles(tiles: Integers, weight: Integers) -> Integers:
    """Convolve tiles: Y[n, f, o] = Σ_{c, t} W[f, c, t] · X[n, c, o + t], channels added up before Aᵀ.

    tiles    int64, shape (tiles, channels, 4, ...): one axis of 4 per axis of the kernel
    weight   int64, shape (filters, channels, *kernel), the kernel 3, 2 or 1 along each of 1 to 3 axes
    returns  int64, shape (tiles, filters, *outputs), 5 − size outputs along an axis; exact

    Raises `CrosstileError` for other shapes, or sums that may pass 64 bits.
    """
    kernel = weight.shape[2:]
    check_kernel(kernel)
    expected = (weight.shape[1], *[TILE] * len(kernel))
    if tiles.shape[1:] != expected:
        raise CrosstileError(f"tiles of shape {tiles.shape} do not match {('tiles', *expected)}".replace("'", ""))
    positions = TILE ** len(kernel)
    activations = transform_activations(tiles, kernel).reshape(*tiles.shape[:2], positions)
    weights = transform_weights(weight, kernel).reshape(*weight.shape[:2], positions)
    sums = _channel_sums(activations, weights, TILE ** scale_bits(kernel))
    scaled = transform_partial_sums(sums.reshape(*sums.shape[:2], *expected[1:]), kernel)
    return divide_exactly(scaled, kernel)


def _channel_sums(activations: Integers, weights: Integers, growth: int) -> Integers:
    """Return Σ_c (n, c, position) · (f, c, position) as (n, f, position); Aᵀ multiplies them by `growth` at most."""
    if not activations.size:
        return np.zeros((len(activations), len(weights), weights.shape[2]), np.int64)
    largest = weights.shape[1] * int(abs(activations).max()) * int(abs(weights).max())
    if largest * growth >= 1 << 63:
        raise CrosstileError(f"transformed sums may need {(largest * growth).bit_length() + 1} bits; supported: 64")
    # Float64 holds every integer below 2^53, so every partial sum in any order: its matrix product is exact.
    number_type = np.float64 if largest < 1 << 53 else np.int64
    left, right = activations.transpose(2, 0, 1).astype(number_type), weights.transpose(2, 1, 0).astype(number_type)
    return (left @ right).astype(np.int64).transpose(1, 2, 0)


def winograd_convolution(frames: Integers, weight: Integers) -> Integers:
    """Convolve frames tile by tile, stride 1 and no padding; equals `convolution.convolution`.

    frames   int64, shape (frames, channels, *size)
    weight   int64, shape (filters, channels, *kernel), as in `convolve_tiles`
    returns  int64, shape (frames, filters, *(size − kernel + 1)); the last tile's surplus is cut off
    """
    kernel = weight.shape[2:]
    check_kernel(kernel)
    steps = [outputs_along(size) for size in kernel]
    outputs = [size - taps + 1 for size, taps in zip(frames.shape[2:], kernel, strict=True)]
    counts = [-(-count // step) for count, step in zip(outputs, steps, strict=True)]
    ends = [(count - 1) * step + TILE for count, step in zip(counts, steps, strict=True)]
    pads = [(0, max(end - size, 0)) for end, size in zip(ends, frames.shape[2:], strict=True)]
    padded = np.pad(frames, [(0, 0), (0, 0), *pads])
    axes = tuple(range(2, frames.ndim))
    view = np.lib.stride_tricks.sliding_window_view(padded, [TILE] * len(kernel), axis=axes)
    first = [slice(0, end - TILE + 1, step) for end, step in zip(ends, steps, strict=True)]
    view = view[(slice(None), slice(None), *first)]
    tiles = np.moveaxis(view, 1, 1 + len(kernel)).reshape(-1, frames.shape[1], *[TILE] * len(kernel))
    return _assembled(convolve_tiles(tiles, weight), len(frames), counts, steps, outputs)


def _assembled(
    results: Integers, frames: int, counts: list[int], steps: list[int], outputs: list[int]
) -> Integers:
    """Return tiles' results (frame · tile, filter, *outputs) as whole maps (frame, filter, *outputs)."""
    axes = len(counts)
    grid = np.moveaxis(results.reshape(frames, *counts, results.shape[1], *steps), 1 + axes, 1)
    order = [index for axis in range(axes) for index in (2 + axis, 2 + axes + axis)]
    whole = grid.transpose(0, 1, *order).reshape(frames, results.shape[1], *map(prod, zip(counts, steps, strict=True)))
    return whole[(slice(None), slice(None), *map(slice, outputs))]


Range = tuple[Integers, Integers]


def ranges_after(matrices: Sequence[Integers], low: Integers, high: Integers) -> Range:
    """Return the least and greatest value at each position, for inputs that take any values from low to high.

    Each position is a linear form of inputs that do not depend on each other, so both ends are attained:
    Σ max(k, 0)·low + min(k, 0)·high, and the same with low and high exchanged.
    """
    whole: Integers = reduce(np.kron, matrices).astype(np.int64)
    above: Integers = whole.clip(min=0)
    below: Integers = whole.clip(max=0)
    least, greatest = low.ravel(), high.ravel()
    shape = [len(matrix) for matrix in matrices]
    return (above @ least + below @ greatest).reshape(shape), (above @ greatest + below @ least).reshape(shape)


@dataclass(frozen=True)
class TileRanges:
    """The least and the greatest value at each position of a tile; every end is attained.

    kernel         3, 2 or 1 along each of 1 to 3 axes
    input_format   the activations; `weights_from`, `weights_to`: the least and the greatest weight
    channels       that add up before the partial sums are transformed
    """

    kernel: Axes
    input_format: NumberFormat
    weights_from: int
    weights_to: int
    channels: int = 1

    @property
    def activations(self) -> Range:
        """Transformed activations, shape (4, ...)."""
        tile, matrices = (TILE,) * len(self.kernel), [ACTIVATION_MATRIX[size] for size in self.kernel]
        return ranges_after(
            matrices, np.full(tile, self.input_format.minimum), np.full(tile, self.input_format.maximum)
        )

    @property
    def weights(self) -> Range:
        """Transformed weights, shape (4, ...)."""
        matrices = [WEIGHT_MATRIX[size] for size in self.kernel]
        return ranges_after(matrices, np.full(self.kernel, self.weights_from), np.full(self.kernel, self.weights_to))

    @property
    def partial_sums(self) -> Range:
        """Sums of products over the channels, shape (4, ...)."""
        corners = [left * right for left in self.activations for right in self.weights]
        low, high = reduce(np.minimum, corners), reduce(np.maximum, corners)
        return low * self.channels, high * self.channels

    @property
    def result(self) -> tuple[int, int]:
        """2^D times the convolution: what `transform_partial_sums` gives, the same for every output."""
        ends = self.input_format.minimum, self.input_format.maximum
        corners = [left * right for left in ends for right in (self.weights_from, self.weights_to)]
        terms = self.channels * prod(self.kernel) << scale_bits(self.kernel)
        return min(corners) * terms, max(corners) * terms
