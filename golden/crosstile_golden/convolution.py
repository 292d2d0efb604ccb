"""The convolution, exact in integers, over one, two or three spatial axes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CrosstileError
from .geometry import ConvolutionGeometry
from .numbers import Integers
from .windows import check_shape, windows

COLUMN_ELEMENTS = 1 << 22  # a chunk of frames unfolds to about this many numbers: 32 MB


def convolution(frames: Integers, weight: Integers, geometry: ConvolutionGeometry) -> Integers:
    """Convolve integers: Y[n, f, o] = Σ_{c, t} W[f, c, t] · X[n, g(f) + c, o·stride + t·dilation − begin].

    frames   int64, shape (frames, in_channels, *input_size); 0 outside of it (the padding)
    weight   int64, shape (out_channels, in_channels/groups, *kernel), as in US 12014273, equation 1
    returns  int64, shape (frames, out_channels, *output_size); exact

    Raises `CrosstileError` for shapes that are not the geometry's, types other than integers, or sums beyond
    64 bits.
    """
    for what, array in (("frames", frames), ("weight", weight)):
        if array.dtype.kind not in "iu":
            raise CrosstileError(f"{what} of an integer convolution must be integers, not {array.dtype}")
    largest = largest_sum(frames, weight)
    if largest >= 1 << 63:
        bits = largest.bit_length() + 1
        raise CrosstileError(f"a convolution's sums may need {bits} bits; supported: 64")
    # Float64 holds every integer below 2^53, so every partial sum in any order: its matrix product is exact.
    number_type = np.float64 if largest < 1 << 53 else np.int64
    return convolve(frames.astype(number_type), weight.astype(number_type), geometry).astype(np.int64)


def largest_sum(frames: Integers, weight: Integers) -> int:
    """Bound every partial sum's magnitude: max_f Σ|W[f]| · max|X|, as a Python integer."""
    if not frames.size or not weight.size:
        return 0
    taps = weight[0].size
    magnitude = max(abs(int(weight.max())), abs(int(weight.min())))
    if taps * magnitude < 1 << 62:
        per_filter = int(np.abs(weight.astype(np.int64)).reshape(len(weight), taps).sum(axis=1).max())
    else:
        per_filter = taps * magnitude
    return per_filter * max(abs(int(frames.max())), abs(int(frames.min())))


def convolve(frames: NDArray[Any], weight: NDArray[Any], geometry: ConvolutionGeometry) -> NDArray[Any]:
    """Convolve in the operands' own number type (float64 or int64); shapes as in `convolution`.

    Raises `CrosstileError` for shapes that are not the geometry's.
    """
    check_shape(frames, geometry)
    if weight.shape != geometry.weight_shape:
        raise CrosstileError(f"weight must have shape {geometry.weight_shape}, not {weight.shape}")
    filters = weight.reshape(geometry.groups, geometry.out_channels // geometry.groups, -1).swapaxes(1, 2)
    result = np.empty((len(frames), geometry.out_channels, *geometry.output_size), dtype=frames.dtype)
    per_frame = geometry.groups * filters.shape[1] * int(np.prod(geometry.output_size))
    chunk = max(1, COLUMN_ELEMENTS // per_frame)
    for start in range(0, len(frames), chunk):
        part = slice(start, start + chunk)
        result[part] = _multiply(frames[part], filters, geometry)
    return result


def _multiply(frames: NDArray[Any], filters: NDArray[Any], geometry: ConvolutionGeometry) -> NDArray[Any]:
    """Unfold frames into columns and multiply: (groups, rows, taps) by (groups, taps, filters of a group)."""
    count, dimensions, groups = len(frames), geometry.dimensions, geometry.groups
    view = windows(frames, geometry, 0)
    view = view.reshape(count, groups, -1, *view.shape[2:])  # (frames, groups, channels, *output, *kernel)
    output_axes = range(3, 3 + dimensions)
    tap_axes = (2, *range(3 + dimensions, 3 + 2 * dimensions))
    columns = view.transpose(1, 0, *output_axes, *tap_axes).reshape(groups, -1, filters.shape[1])
    product = (columns @ filters).reshape(groups, count, *geometry.output_size, -1)
    # (groups, frames, *output, filters) to (frames, groups, filters, *output)
    product = np.moveaxis(np.moveaxis(product, -1, 1), 2, 0)
    return product.reshape(count, geometry.out_channels, *geometry.output_size)
