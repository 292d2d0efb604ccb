"""From an accumulator to an activation: bias, shift, round, saturate."""

import numpy as np

from .errors import CrosstileError
from .numbers import Integers, NumberFormat, round_shift, saturate


def requantise(
    accumulator: Integers, bias: Integers, shift: Integers, output_format: NumberFormat, relu: bool
) -> Integers:
    """Return saturate(round_shift(accumulator + bias, shift)), and zero for what is below it where `relu`.

    accumulator  int64, shape (frames, filters, *spatial)
    bias, shift  int64, shape (filters,): accumulator units; bits to the right, negative ones to the left
    returns      int64, the accumulator's shape, within `output_format`

    The shift is m_f + n_(l−1) − n_l of US 12014273's s = q·2^n: no multiplier is left.
    Raises `CrosstileError` for a shift outside −62..62, or a left shift that 64 bits do not hold.
    """
    per_filter = (1, -1, *(1 for _ in accumulator.shape[2:]))
    check_shift(shift)
    biased = accumulator + bias.reshape(per_filter)
    _check_left_shift(biased, shift)
    result = saturate(round_shift(biased, shift.reshape(per_filter)), output_format)
    return np.maximum(result, 0) if relu else result


def check_shift(shift: Integers) -> None:
    """Raise `CrosstileError` unless every shift is from −62 to 62."""
    outside = shift[np.abs(shift) > 62]
    if outside.size:
        raise CrosstileError(f"shift must be from -62 to 62, not {outside[0]}")


def _check_left_shift(biased: Integers, shift: Integers) -> None:
    left = max(0, -int(shift.min(initial=0)))
    largest = max(abs(int(biased.max(initial=0))), abs(int(biased.min(initial=0))))
    if left and largest << left >= 1 << 63:
        raise CrosstileError(f"a left shift by {left} of {largest} does not fit 64 bits")
