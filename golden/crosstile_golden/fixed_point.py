"""Dynamic fixed point after US 12014273: scales s = q·2^n, and filters whose requantisation is one shift."""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp, ldexp

import numpy as np

from .activation import Activation
from .errors import CrosstileError
from .graph import Convolution, Reals
from .network import ConvolutionLayer
from .numbers import Integers, NumberFormat

Formats = tuple[NumberFormat, NumberFormat]  # of a layer's input and of its output
NEGLIGIBLE = 2.0**-900  # counts as zero: its inverse would leave float64's range
WIDEST_BIASED_SUM = 60  # bits: the bias saturates inside of them, so that int64 holds every sum


@dataclass(frozen=True)
class Scale:
    """A scale s = q·2^n with 1 ≤ q < 2 and whole n: integer = real·s (US 12014273, equation 3)."""

    q: float
    n: int

    @staticmethod
    def of(value: float) -> Scale:
        """Split a positive scale exactly: n = ⌊log2 s⌋, q = s / 2^n."""
        mantissa, exponent = frexp(value)
        return Scale(2 * mantissa, exponent - 1)

    @staticmethod
    def for_largest(largest: float, number_format: NumberFormat) -> Scale:
        """Return s = (greatest integer) / max|v|: 2^(p−1) − 1 where signed, 2^p − 1 where unsigned."""
        return Scale.of(number_format.maximum / largest)

    @property
    def value(self) -> float:
        """The scale itself, q·2^n."""
        return ldexp(self.q, self.n)


def quantise_convolution(
    layer: Convolution,
    activation: Activation,
    weight_bits: int,
    scales: tuple[Scale, Scale],
    formats: Formats,
) -> ConvolutionLayer:
    """Return the layer in integers, with `scales` and `formats` those of its input and of its output.

    The mantissas fold into w' = w·q_l/q_(l−1) and b' = b·q_l; per filter f

        m_f = ⌊log2((2^(p−1) − 1) / max|w'_f|)⌋,  ŵ = round(w'·2^(m_f)),  b̂ = round(b'·2^(m_f + n_(l−1))),
        shift_f = m_f + n_(l−1) − n_l,

    so Σ ŵ·x̂ + b̂, shifted right, is the output in its own scale: US 12014273, coarse and fine quantisation.

    Raises `CrosstileError` for a filter that no shift fits.
    """
    before, after = scales
    folded = layer.weight * (after.q / before.q)
    shift = _shifts(layer, folded, weight_bits, before.n - after.n, formats)
    fractional = shift - before.n + after.n
    per_filter = (-1, *(1 for _ in folded.shape[1:]))
    greatest = (1 << (weight_bits - 1)) - 1
    scaled = np.floor(np.ldexp(folded, fractional.reshape(per_filter)) + 0.5)
    weight = np.clip(scaled, -greatest, greatest).astype(np.int64)
    exact_bias = np.floor(np.ldexp(layer.bias * after.q, fractional + before.n) + 0.5)
    bias = _saturate_bias(exact_bias, weight, shift, formats)
    return ConvolutionLayer(layer.name, layer.geometry, weight, bias, shift, weight_bits, *formats, activation)


def fractional_bits(largest: float, weight_bits: int) -> int:
    """Return m = ⌊log2((2^(p−1) − 1) / largest)⌋: the most by which 2^m·largest still fits p bits."""
    return Scale.of(((1 << (weight_bits - 1)) - 1) / largest).n


def _shifts(
    layer: Convolution, folded: Reals, weight_bits: int, exponent: int, formats: Formats
) -> Integers:
    """Return shift_f = m_f + `exponent` per filter, where `exponent` is n_(l−1) − n_l."""
    filters = np.abs(folded.reshape(len(folded), -1))
    most = _most_useful_shift(filters.shape[1], weight_bits, formats)
    largest = filters.max(axis=1).tolist()
    shifts = {
        index: min(fractional_bits(value, weight_bits) + exponent, most)
        for index, value in enumerate(largest)
        if value > NEGLIGIBLE
    }
    # A filter of zeros gives its bias at any shift; the others' greatest keeps the stage uniform.
    empty = max(shifts.values(), default=0)
    result = np.array([shifts.get(index, empty) for index in range(len(largest))], dtype=np.int64)
    if result.min() < -formats[1].bits:
        raise CrosstileError(
            f"layer '{layer.name}': filter {result.argmin()} needs a left shift by {-result.min()}; "
            f"supported: {formats[1].bits} at most; use other calibration frames or more weight_bits"
        )
    return result


def _most_useful_shift(taps: int, weight_bits: int, formats: Formats) -> int:
    """Return the shift beyond which a filter's products together stay below a quarter of an output step.

    More fractional bits would widen the bias and the accumulator for nothing.
    """
    read, given = formats
    products = taps * max(read.maximum, -read.minimum) << (weight_bits - 1)
    return min(products.bit_length() + 2, WIDEST_BIASED_SUM - given.bits)


def _saturate_bias(
    bias: Reals, weight: Integers, shift: Integers, formats: Formats
) -> Integers:
    """Clamp each bias where the output saturates for every input, so that results stay and sums narrow."""
    read, given = formats
    products = np.abs(weight).reshape(len(weight), -1).sum(axis=1) * max(read.maximum, -read.minimum)
    limit = (np.int64(given.maximum - given.minimum + 1) << np.maximum(shift, 0)) + products
    return np.clip(bias, -limit.astype(np.float64), limit.astype(np.float64)).astype(np.int64)
