"""The windows of a tensor as a view: what convolution and pooling share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CrosstileError
from .geometry import WindowGeometry


def windows(frames: NDArray[Any], geometry: WindowGeometry, padding_value: int | float) -> NDArray[Any]:
    """Return every window of the padded frames: V[n, c, o, t] = X[n, c, o·stride + t·dilation − begin].

    frames   shape (frames, in_channels, *input_size), any number type
    returns  shape (frames, in_channels, *output_size, *kernel): a read-only view of the padded frames

    Raises `CrosstileError` where the frames do not have the geometry's shape.
    """
    check_shape(frames, geometry)
    pads = [(0, 0), (0, 0), *zip(geometry.padding_begin, geometry.padding_end, strict=True)]
    if any(map(any, pads)):
        frames = np.pad(frames, pads, constant_values=padding_value)
    axes = tuple(range(2, 2 + geometry.dimensions))
    span = [(taps - 1) * step + 1 for taps, step in zip(geometry.kernel, geometry.dilation, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(frames, span, axis=axes)
    steps = [slice(None, None, step) for step in (*geometry.stride, *geometry.dilation)]
    return view[(slice(None), slice(None), *steps)]


def check_shape(frames: NDArray[Any], geometry: WindowGeometry) -> None:
    """Raise `CrosstileError` unless the frames have shape (frames, in_channels, *input_size)."""
    expected = (geometry.in_channels, *geometry.input_size)
    if frames.shape[1:] != expected:
        needed = ", ".join(["frames", *map(str, expected)])
        raise CrosstileError(f"frames of shape {frames.shape} do not match the layer's input ({needed})")
