"""Accumulator ranges are attained, so no narrower width would do, and hold every partial sum."""

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from crosstile_golden.accumulator import accumulator_range, biased_range, residual_lift, residual_ranges
from crosstile_golden.geometry import ConvolutionGeometry
from crosstile_golden.layers import ConvolutionLayer, Residual
from crosstile_golden.numbers import NumberFormat

SIGNED, UNSIGNED = NumberFormat(4, True), NumberFormat(4, False)


def random_layer(seed: int, read: NumberFormat) -> ConvolutionLayer:
    generator = np.random.default_rng(seed)
    geometry = ConvolutionGeometry(2, (3,), (3,), (1,), (1,), (1,), (1,), 3)
    weight = generator.integers(-7, 8, geometry.weight_shape)
    bias, shift = generator.integers(-50, 51, 3), np.array([0, 3, -1])
    return ConvolutionLayer("c", geometry, weight, bias, shift, 4, read, SIGNED)


@pytest.mark.parametrize("read", [SIGNED, UNSIGNED], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_ranges_are_what_the_extreme_inputs_attain(seed: int, read: NumberFormat) -> None:
    layer = random_layer(seed, read)
    extremes = (read.minimum, 0, read.maximum)
    inputs = np.array(list(itertools.product(extremes, repeat=6)))
    sums = inputs @ layer.weight.reshape(3, 6).T
    assert accumulator_range(layer) == (sums.min(), sums.max())
    biased = sums + layer.bias + np.array([0, 4, 0])
    assert biased_range(layer) == (biased.min(), biased.max())


@pytest.mark.parametrize("read", [SIGNED, UNSIGNED], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_every_partial_sum_in_any_order_is_inside(seed: int, read: NumberFormat) -> None:
    layer = random_layer(seed, read)
    low, high = accumulator_range(layer)
    generator = np.random.default_rng(seed)
    for taps in layer.weight.reshape(3, 6):
        inputs = generator.choice([read.minimum, read.maximum], (200, 6))
        partial = np.cumsum(inputs * generator.permuted(np.tile(taps, (200, 1)), axis=1), axis=1)
        assert low <= partial.min()
        assert partial.max() <= high


@pytest.mark.parametrize("align", [[0, 2, 5], [-3, 1, 0], [-1, -4, -2]], ids=str)
@pytest.mark.parametrize("arriving", [SIGNED, NumberFormat(5, False)], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_a_residuals_range_is_what_the_extremes_attain(seed: int, arriving: NumberFormat, align: list[int]) -> None:
    layer = replace(random_layer(seed, UNSIGNED), residual=Residual(arriving, np.array(align)))
    inputs = np.array(list(itertools.product((0, UNSIGNED.maximum), repeat=6)))
    sums = inputs @ layer.weight.reshape(3, 6).T + layer.bias
    lift = max(0, -min(align))
    assert residual_lift(layer) == lift
    totals: list[Fraction] = []
    for index, shift in enumerate(layer.shift.tolist()):
        half = Fraction(2) ** (shift + lift - 1) if shift + lift > 0 else Fraction(0)
        for value in (arriving.minimum, arriving.maximum):
            added = value * Fraction(2) ** (align[index] + lift)
            assert added in residual_ranges(layer)[index]
            totals += [int(total) * Fraction(2) ** lift + added + half for total in sums[:, index]]
    assert biased_range(layer) == (min(totals), max(totals))
    assert accumulator_range(layer) == accumulator_range(replace(layer, residual=None))
