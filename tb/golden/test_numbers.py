"""Rounding and saturation are what the table in `numbers` says."""

import re
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from crosstile_golden.errors import CrosstileError
from crosstile_golden.numbers import NumberFormat, quantise, round_shift, saturate, signed_bits_for

HALVES = [(-2.5, -2), (-1.5, -1), (-0.5, 0), (0.5, 1), (1.5, 2), (2.5, 3)]


@pytest.mark.parametrize("shift", [1, 2, 7, 31])
@pytest.mark.parametrize(("quotient", "rounded"), HALVES)
def test_halves_round_towards_plus_infinity(quotient: float, rounded: int, shift: int) -> None:
    value = np.array([int(quotient * 2**shift)])
    assert round_shift(value, shift).tolist() == [rounded]
    assert quantise(np.array([quotient]), 1.0, NumberFormat(8, True)).tolist() == [rounded]


@pytest.mark.parametrize("shift", [-5, -1, 0, 1, 2, 3, 9])
def test_round_shift_is_the_floor_of_the_exact_quotient_plus_a_half(shift: int) -> None:
    values = range(-600, 601)
    half = Fraction(1, 2) if shift > 0 else 0
    expected = [floor(Fraction(value) / Fraction(2) ** shift + half) for value in values]
    assert round_shift(np.array(values), shift).tolist() == expected


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [1, 4, 8, 16, 32])
def test_saturation_clamps_and_never_wraps(bits: int, signed: bool) -> None:
    legal = NumberFormat(bits, signed)
    assert (legal.minimum, legal.maximum) == (
        (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    )
    values = np.array([-(2**40), legal.minimum - 1, legal.minimum, legal.maximum, legal.maximum + 1, 2**40])
    low, high = legal.minimum, legal.maximum
    assert saturate(values, legal).tolist() == [low, low, low, high, high, high]


@pytest.mark.parametrize(
    ("least", "greatest", "bits"),
    [(0, 0, 1), (-1, 0, 1), (0, 1, 2), (-2, 1, 2), (-128, 127, 8), (-129, 0, 9), (0, 128, 9), (-5, 255, 9)],
)
def test_signed_bits_are_as_few_as_hold_the_range(least: int, greatest: int, bits: int) -> None:
    assert signed_bits_for(least, greatest) == bits


@pytest.mark.parametrize("bits", [0, 65])
def test_bits_out_of_range_are_refused(bits: int) -> None:
    with pytest.raises(CrosstileError, match=f"^{re.escape(f'bits must be from 1 to 64, not {bits}')}$"):
        NumberFormat(bits, True)
