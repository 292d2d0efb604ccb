"""Requantisation equals its definition in exact fractions."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from crosstile_golden.activation import NONE, RELU
from crosstile_golden.errors import CrosstileError
from crosstile_golden.numbers import NumberFormat
from crosstile_golden.requantise import requantise


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    "legal", [NumberFormat(8, True), NumberFormat(8, False), NumberFormat(16, True)], ids=str
)
@pytest.mark.parametrize("spatial", [(5,), (3, 4), (2, 3, 2)])
def test_requantise_equals_exact_fractions(spatial: tuple[int, ...], legal: NumberFormat, relu: bool) -> None:
    generator = np.random.default_rng(4)
    shift = np.array([-3, 0, 1, 5, 12])
    accumulator = generator.integers(-(2**14), 2**14, (2, len(shift), *spatial))
    bias = generator.integers(-(2**10), 2**10, len(shift))
    result = requantise(accumulator, bias, shift, legal, RELU if relu else NONE)
    for index in np.ndindex(accumulator.shape):
        exact = Fraction(int(accumulator[index] + bias[index[1]])) / Fraction(2) ** int(shift[index[1]])
        rounded = floor(exact + Fraction(1, 2))
        clamped = max(0 if relu else legal.minimum, legal.minimum, min(legal.maximum, rounded))
        assert int(result[index]) == clamped


@pytest.mark.parametrize("twice", range(-9, 10, 2))
def test_half_way_sums_round_towards_plus_infinity(twice: int) -> None:
    accumulator, zero, one = np.array([[[twice]]]), np.array([0]), np.array([1])
    expected = (twice + 1) // 2
    assert requantise(accumulator, zero, one, NumberFormat(8, True), NONE).tolist() == [[[expected]]]


@pytest.mark.parametrize(
    ("accumulator", "shift", "message"),
    [
        (0, 63, "shift must be from -62 to 62, not 63"),
        (0, -63, "shift must be from -62 to 62, not -63"),
        (2**40, -30, "a left shift by 30 of 1099511627776 does not fit 64 bits"),
    ],
)
def test_shifts_that_int64_does_not_hold_are_refused(accumulator: int, shift: int, message: str) -> None:
    with pytest.raises(CrosstileError) as error:
        requantise(
            np.array([[[accumulator]]]), np.array([0]), np.array([shift]), NumberFormat(8, True), NONE
        )
    assert str(error.value) == message
