"""Activations as tables of integers: the hyperbolic tangent, the sigmoid, and any other bounded function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .activation import Activation
from .float_layers import Reals
from .numbers import NumberFormat, quantise
from .scales import Scale

MOST_ADDRESS_BITS = 12
SAMPLES = 1 << 16  # of the calibration that ranges are compared on

Function = Callable[[Reals], Reals]


def address_format(activation_bits: int) -> NumberFormat:
    """Return the format of a table's address: signed, `activation_bits` wide, 12 bits at most."""
    return NumberFormat(min(activation_bits, MOST_ADDRESS_BITS), signed=True)


def table(function: Function, address: NumberFormat, scales: tuple[float, float], given: NumberFormat) -> Activation:
    """Return function(a / s_sum)·s_given for every address a, rounded once (US 2020/0117986 [0033]).

    scales  s_sum of the requantised sum, which is the address, and s_given of the output, in `given`
    """
    sums, output = scales
    addresses = np.arange(address.minimum, address.maximum + 1) / sums
    return Activation("table", table=tuple(quantise(function(addresses), output, given).tolist()))


def best_range(function: Function, total: Reals, address: NumberFormat) -> float:
    """Return the greatest |x| that a table's addresses should reach, from the least squared error.

        Σ (function(x) − function(x̂))²,  x̂ the nearest address of x, over (a sample of) the calibration's sums

    A bounded function is flat far out, and finer steps near zero are worth more than the reach: candidates are
    max|x| / 2^(i/4). About 4 for the hyperbolic tangent and 8 for the sigmoid where sums go beyond.

    total  float64, any shape, not all zero
    """
    values = np.sort(total.ravel())
    values = values[:: -(-len(values) // SAMPLES)]
    exact = function(values)
    candidates = [float(np.abs(total).max()) * 2.0 ** (-index / 4) for index in range(24)]

    def error(reach: float) -> float:
        scale = Scale.for_largest(reach, address).value
        return float(((function(quantise(values, scale, address) / scale) - exact) ** 2).sum())

    return min(candidates, key=error)
