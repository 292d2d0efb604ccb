"""Requantisation equals its definition in exact fractions."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from crosstile_golden.activation import NONE, RELU, Activation
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


@pytest.mark.parametrize("activation", [NONE, RELU, Activation("leaky", 3)], ids=lambda activation: activation.kind)
@pytest.mark.parametrize("align", [[0] * 5, [7, 5, 3, 1, 0], [-1, -4, -9, 2, -20], [-40, -3, -3, -3, -3]], ids=str)
def test_a_residual_joins_exactly_whatever_its_alignment(align: list[int], activation: Activation) -> None:
    generator, legal = np.random.default_rng(6), NumberFormat(8, True)
    shift = np.array([-3, 0, 1, 5, 12])
    accumulator = generator.integers(-(2**11), 2**11, (2, len(shift), 40))
    bias, residual = generator.integers(-(2**8), 2**8, len(shift)), generator.integers(-128, 128, (2, len(shift), 40))
    result = requantise(accumulator, bias, shift, legal, activation, (residual, np.array(align)))
    for index in np.ndindex(accumulator.shape):
        f = index[1]
        exact = Fraction(int(accumulator[index] + bias[f])) + int(residual[index]) * Fraction(2) ** align[f]
        rounded = floor(exact / Fraction(2) ** int(shift[f]) + Fraction(1, 2))
        if activation.kind == "leaky" and rounded < 0:
            rounded = floor(Fraction(rounded, 8) + Fraction(1, 2))
        least = 0 if activation == RELU else legal.minimum
        assert int(result[index]) == max(least, min(legal.maximum, rounded))


@pytest.mark.parametrize(
    ("accumulator", "residual", "shift", "expected"),
    [(0, 3, 1, 0), (1, -1, 1, 0), (0, 3, 0, 1)],
    ids=["3/8, rounded first 1", "3/8, rounded first 1/2", "3/4, cut off first 0"],
)
def test_a_fine_residual_is_neither_rounded_nor_cut_off_first(
    accumulator: int, residual: int, shift: int, expected: int
) -> None:
    quarters = (np.array([[[residual]]]), np.array([-2]))
    result = requantise(
        np.array([[[accumulator]]]), np.array([0]), np.array([shift]), NumberFormat(8, True), NONE, quarters
    )
    assert result.tolist() == [[[expected]]]


@pytest.mark.parametrize(
    ("accumulator", "residual", "align", "message"),
    [
        (0, 1, 63, "align must be from -62 to 62, not 63"),
        (0, 1, -63, "align must be from -62 to 62, not -63"),
        (2**40, 1, -30, "a left shift by 30 of 1099511627776 does not fit 64 bits"),
        (0, 2**40, 30, "a left shift by 30 of 1099511627776 does not fit 64 bits"),
    ],
)
def test_alignments_that_int64_does_not_hold_are_refused(
    accumulator: int, residual: int, align: int, message: str
) -> None:
    zero = np.array([0])
    with pytest.raises(CrosstileError) as error:
        requantise(
            np.array([[[accumulator]]]), zero, zero, NumberFormat(8, True), NONE,
            (np.array([[[residual]]]), np.array([align])),
        )  # fmt: skip
    assert str(error.value) == message


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
