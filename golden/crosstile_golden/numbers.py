"""Integer formats, rounding and saturation: decided here and nowhere else.

Rounding is to nearest, halves towards plus infinity: round_shift(v, s) = ⌊v / 2^s + 1/2⌋ = (v + 2^(s−1)) >> s.

    v / 2^s    −2.5  −1.5  −0.5   0.5   1.5   2.5
    rounded      −2    −1     0     1     2     3

It is the nearest rounding that costs hardware nothing: the half joins the bias before the shift.
Saturation then clamps to the format's range; it never wraps.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import CrosstileError

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class NumberFormat:
    """An integer of `bits` bits, two's complement where `signed`; legal: 1 to 64 bits."""

    bits: int
    signed: bool

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 64:
            raise CrosstileError(f"bits must be from 1 to 64, not {self.bits}")

    @property
    def minimum(self) -> int:
        """Least value."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def maximum(self) -> int:
        """Greatest value."""
        return (1 << (self.bits - self.signed)) - 1

    @property
    def reach(self) -> int:
        """Greatest magnitude."""
        return max(self.maximum, -self.minimum)

    def __str__(self) -> str:
        return f"{'int' if self.signed else 'uint'}{self.bits}"


def signed_bits_for(minimum: int, maximum: int) -> int:
    """Return the width in bits of the narrowest two's complement integer that holds minimum..maximum."""
    magnitudes = (~value if value < 0 else value for value in (minimum, maximum))
    return max(magnitude.bit_length() for magnitude in magnitudes) + 1


def round_shift(value: Integers, shift: Integers | int) -> Integers:
    """Divide by 2^shift, rounding to nearest, halves towards plus infinity; a negative shift multiplies."""
    shift = np.asarray(shift, dtype=np.int64)
    right, left = np.maximum(shift, 0), np.maximum(-shift, 0)
    half = np.where(right > 0, np.int64(1) << np.maximum(right - 1, 0), 0)
    return ((value << left) + half) >> right


def saturate(value: Integers, number_format: NumberFormat) -> Integers:
    """Clamp to the range of the format."""
    return np.clip(value, number_format.minimum, number_format.maximum)


def quantise(value: NDArray[np.float64], scale: float, number_format: NumberFormat) -> Integers:
    """Return saturate(⌊value·scale + 1/2⌋): the same rounding as `round_shift`, from real numbers."""
    rounded = np.floor(np.asarray(value, dtype=np.float64) * scale + 0.5)
    return np.clip(rounded, number_format.minimum, number_format.maximum).astype(np.int64)
