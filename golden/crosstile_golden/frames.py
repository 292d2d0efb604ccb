"""Arrays that come from outside: checked before anything is computed from them."""

import numpy as np
from numpy.typing import NDArray

from .errors import CrosstileError
from .geometry import Axes


def check_frames(array: NDArray[np.generic], shape: Axes, what: str) -> NDArray[np.float64]:
    """Return the array as float64 once it is known to be frames for a model.

    array  shape (frames, *shape), at least one frame; any real or integer type
    shape  the model's input shape without the frame axis
    what   names the array in messages, for example "calibration array"

    Raises `CrosstileError` for another type, another shape, no frame, or a value that is not finite.
    """
    if array.dtype.kind not in "iuf":
        raise CrosstileError(f"{what}: type {array.dtype} is not a real number; give floats or integers")
    if array.shape[1:] != tuple(shape) or array.ndim != len(shape) + 1:
        expected = ", ".join(["frames", *map(str, shape)])
        raise CrosstileError(f"{what}: shape {array.shape} does not match the model's input ({expected})")
    if not array.size:
        raise CrosstileError(f"{what}: it holds no frame; give at least one")
    finite = np.isfinite(array)
    if not finite.all():
        where = tuple(int(index) for index in np.argwhere(~finite)[0])
        raise CrosstileError(f"{what}: element {where} is {array[where]}; every value must be finite")
    return array.astype(np.float64)
