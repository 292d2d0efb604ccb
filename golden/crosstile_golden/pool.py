"""Maximum and average pools, exact in integers, over one, two or three spatial axes."""

import numpy as np

from .errors import CrosstileError
from .geometry import PoolGeometry
from .numbers import Integers, round_shift
from .windows import windows


def pool(frames: Integers, layer_geometry: PoolGeometry, shift: int) -> Integers:
    """Pool each channel alone: max over the window's real inputs, or round_shift(Σ window, shift).

    frames   int64, shape (frames, in_channels, *input_size)
    shift    average: the right shift that stands for the division, the scale carries what it misses; max: 0
    returns  int64, shape (frames, in_channels, *output_size)

    Padding never wins a maximum and counts as zero in an average.
    Raises `CrosstileError` for frames of another shape, or a max pool with a window of padding alone.
    """
    check_pool(layer_geometry, shift)
    axes = tuple(range(-layer_geometry.dimensions, 0))
    if layer_geometry.kind == "max":
        return windows(frames, layer_geometry, np.iinfo(np.int64).min).max(axis=axes)
    return round_shift(windows(frames, layer_geometry, 0).sum(axis=axes), shift)


def check_pool(geometry: PoolGeometry, shift: int) -> None:
    """Raise `CrosstileError` for a max pool's window of padding alone, or a shift the kind does not have."""
    if not 0 <= shift <= 62:
        raise CrosstileError(f"shift of a pool must be from 0 to 62, not {shift}")
    if geometry.kind != "max":
        return
    if shift:
        raise CrosstileError(f"shift of a max pool must be 0, not {shift}")
    for axis, size in enumerate(geometry.input_size):
        places = _tap_places(geometry, axis)
        empty = np.flatnonzero(~((places >= 0) & (places < size)).any(axis=1))
        if empty.size:
            raise CrosstileError(
                "padding of a max pool must leave every window an input; "
                f"window {empty[0]} of axis {axis} has none"
            )


def _tap_places(geometry: PoolGeometry, axis: int) -> Integers:
    """Return where each tap of each window falls along an axis: int64, shape (windows, taps)."""
    starts = np.arange(geometry.output_size[axis]) * geometry.stride[axis] - geometry.padding_begin[axis]
    return starts[:, np.newaxis] + np.arange(geometry.kernel[axis]) * geometry.dilation[axis]
