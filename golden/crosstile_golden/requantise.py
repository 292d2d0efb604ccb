"""From an accumulator to an activation: bias, shift, round, saturate."""

import numpy as np

from .activation import Activation
from .errors import CrosstileError
from .numbers import Integers, NumberFormat, round_shift


def requantise(
    accumulator: Integers, bias: Integers, shift: Integers, output_format: NumberFormat, activation: Activation,
    residual: tuple[Integers, Integers] | None = None,
) -> Integers:
    """Return activation(round_shift(accumulator + bias + residual·2^align, shift)), saturated to the format.

    accumulator  int64, shape (frames, filters, *spatial)
    bias, shift  int64, shape (filters,): accumulator units; bits to the right, negative ones to the left
    residual     what is added before the activation (US 2020/0117986 [0047]), int64, the accumulator's shape;
                 and `align`, int64, shape (filters,): bits that move it left, negative ones right, into
                 accumulator units. Exact: nothing is lost before the one rounding.
    returns      int64, the accumulator's shape, within `output_format`

    The shift is m_f + n_(l−1) − n_l of US 12014273's s = q·2^n: no multiplier is left.
    Raises `CrosstileError` for a shift outside −62..62, or a left shift that 64 bits do not hold.
    """
    per_filter = (1, -1, *(1 for _ in accumulator.shape[2:]))
    check_shift(shift)
    biased = accumulator + bias.reshape(per_filter)
    if residual is not None:
        values, align = residual
        check_shift(align, "align")
        lift = np.maximum(-align, 0)  # finer units, in which the residual is whole
        _check_left_shift(biased, -lift)
        _check_left_shift(values, -np.maximum(align, 0))
        biased = (biased << lift.reshape(per_filter)) + (values << np.maximum(align, 0).reshape(per_filter))
        shift = shift + lift
    _check_left_shift(biased, shift)
    return activation.run(round_shift(biased, shift.reshape(per_filter)), output_format)


def check_shift(shift: Integers, what: str = "shift") -> None:
    """Raise `CrosstileError` that names `what` unless every shift is from −62 to 62."""
    outside = shift[np.abs(shift) > 62]
    if outside.size:
        raise CrosstileError(f"{what} must be from -62 to 62, not {outside[0]}")


def _check_left_shift(biased: Integers, shift: Integers) -> None:
    left = max(0, -int(shift.min(initial=0)))
    largest = max(abs(int(biased.max(initial=0))), abs(int(biased.min(initial=0))))
    if left and largest << left >= 1 << 63:
        raise CrosstileError(f"a left shift by {left} of {largest} does not fit 64 bits")
