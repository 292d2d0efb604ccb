"""Dynamic fixed point after US 12014273: scales s = q·2^n, and filters whose requantisation is one shift."""

from __future__ import annotations

import numpy as np

from .activation import Activation
from .errors import CrosstileError
from .float_layers import Convolution, Reals
from .layers import ConvolutionLayer, Residual
from .numbers import Integers, NumberFormat
from .scales import Scale

Formats = tuple[NumberFormat, NumberFormat]  # of a layer's input and of its output
NEGLIGIBLE = 2.0**-900  # counts as zero: its inverse would leave float64's range
WIDEST_BIASED_SUM = 60  # bits: the bias saturates inside of them, so that int64 holds every sum


def quantise_convolution(
    layer: Convolution,
    activation: Activation,
    weight_bits: int,
    scales: tuple[Scale, Scale],
    formats: Formats,
    residual: tuple[NumberFormat, Scale] | None = None,
) -> ConvolutionLayer:
    """Return the layer in integers, with `scales` and `formats` those of its input and of its output.

    The mantissas fold into w' = w·q_l/q_(l−1) and b' = b·q_l; per filter f

        m_f = ⌊log2((2^(p−1) − 1) / max|w'_f|)⌋,  ŵ = round(w'·2^(m_f)),  b̂ = round(b'·2^(m_f + n_(l−1))),
        shift_f = m_f + n_(l−1) − n_l,

    so Σ ŵ·x̂ + b̂, shifted right, is the output in its own scale: US 12014273, coarse and fine quantisation.

    A residual r̂ of scale q_l·2^n_r, with the output's mantissa, joins at align_f = m_f + n_(l−1) − n_r. Where the
    activation is a table, the second scale is that of the address, n_l its exponent.

    Raises `CrosstileError` for a filter that no shift fits, or a residual too far from the sums.
    """
    before, after = scales
    summed = (formats[0], activation.address_format if activation.kind == "table" else formats[1])
    folded = layer.weight * (after.q / before.q)
    most = _most_useful_shift(folded[0].size, weight_bits, summed, activation)
    shift = _shifts(layer, folded, before.n - after.n, weight_bits, most, summed[1])
    fractional = shift - before.n + after.n
    weight = _rounded_weights(folded, fractional, weight_bits)
    align = shift + after.n - residual[1].n if residual else shift[:0]
    added = _reach(weight, formats[0]) + (np.ldexp(float(residual[0].reach), align) if residual else 0)
    span = np.ldexp(float(summed[1].maximum - summed[1].minimum + 1), np.maximum(shift, 0) + activation.slope_shift)
    _check_residual(layer, align, span + 2 * added)
    bias = np.floor(np.ldexp(layer.bias * after.q, fractional + before.n) + 0.5)
    # Beyond these bounds the output saturates for every input: results stay, and sums narrow.
    bias = np.clip(bias, -span - added, span + added).astype(np.int64)
    joined = Residual(residual[0], align) if residual else None
    return ConvolutionLayer(
        layer.name, layer.geometry, weight, bias, shift, weight_bits, *formats, activation, joined
    )


def fractional_bits(largest: float, weight_bits: int) -> int:
    """Return m = ⌊log2((2^(p−1) − 1) / largest)⌋: the most by which 2^m·largest still fits p bits."""
    return Scale.of(((1 << (weight_bits - 1)) - 1) / largest).n


def _shifts(
    layer: Convolution, folded: Reals, exponent: int, weight_bits: int, most: int, summed: NumberFormat
) -> Integers:
    """Return shift_f = m_f + `exponent` per filter, `most` at most; `exponent` is n_(l−1) − n_l."""
    largest = np.abs(folded.reshape(len(folded), -1)).max(axis=1).tolist()
    shifts = {
        index: min(fractional_bits(value, weight_bits) + exponent, most)
        for index, value in enumerate(largest)
        if value > NEGLIGIBLE
    }
    # A filter of zeros gives its bias at any shift; the others' greatest keeps the stage uniform.
    empty = max(shifts.values(), default=0)
    result = np.array([shifts.get(index, empty) for index in range(len(largest))], dtype=np.int64)
    if result.min() < -summed.bits:
        raise CrosstileError(
            f"layer '{layer.name}': filter {result.argmin()} needs a left shift by {-result.min()}; "
            f"supported: {summed.bits} at most; use other calibration frames or more weight_bits"
        )
    return result


def _most_useful_shift(taps: int, weight_bits: int, formats: Formats, activation: Activation) -> int:
    """Return the shift beyond which a filter's products together stay below a quarter of an output step.

    More fractional bits would widen the bias and the accumulator for nothing.
    """
    read, given = formats
    products = taps * read.reach << (weight_bits - 1)
    return min(products.bit_length() + 2, WIDEST_BIASED_SUM - given.bits - activation.slope_shift)


def _rounded_weights(folded: Reals, fractional: Integers, weight_bits: int) -> Integers:
    """Return round(w'·2^(m_f)), within ±(2^(p−1) − 1)."""
    greatest = (1 << (weight_bits - 1)) - 1
    per_filter = (-1, *(1 for _ in folded.shape[1:]))
    scaled = np.floor(np.ldexp(folded, fractional.reshape(per_filter)) + 0.5)
    return np.clip(scaled, -greatest, greatest).astype(np.int64)


def _reach(weight: Integers, read: NumberFormat) -> Reals:
    """Return the greatest |Σ ŵ·x̂| per filter."""
    return np.abs(weight).reshape(len(weight), -1).sum(axis=1) * float(read.reach)


def _check_residual(layer: Convolution, align: Integers, largest: Reals) -> None:
    """Raise `CrosstileError` where the sums, in units in which the residual is whole, leave 62 bits."""
    lift = max(0, -int(align.min(initial=0)))
    if np.abs(align).max(initial=0) > 62 or np.ldexp(largest.max(), lift) >= 2.0**61:
        raise CrosstileError(
            f"layer '{layer.name}': its residual joins shifted by {align.min()} to {align.max()} bits, too far from "
            "its sums for 62 bits; use calibration frames typical of the use"
        )
