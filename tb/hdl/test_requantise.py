"""Requantisation equals `crosstile_golden.requantise` for whole sums of every size, half-way ones included."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.fold import Fold
from crosstile.requantise import Requantise, left_shift, offsets
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import Integers, NumberFormat
from crosstile_golden.requantise import requantise

from .bench import INT8, clocked, convolution, pack, unpack

FILTERS = 6
SHIFTS = {
    "one shift": [5] * FILTERS,
    "none": [0] * FILTERS,
    "unlike": [0, 1, 4, 7, 9, 3],
    "to the left": [-1, -3, -2, -1, -1, -2],
    "both ways": [-2, 6, 0, 8, -1, 1],
    "all out": [15, 20, 24, 30, 17, 40],
}
FORMATS = [NumberFormat(bits, signed) for bits in (4, 9, 16) for signed in (False, True)]


def layer_of(shift: list[int], writes: NumberFormat, relu: bool) -> ConvolutionLayer:
    """Return a 1×1 layer with a filter of positive weights, one of negative ones and one of zeros."""
    layer = convolution(5, FILTERS, (2, 2), (1, 1), weight_bits=7, reads=INT8, writes=writes, relu=relu, seed=11)
    weight = layer.weight.copy()
    weight[0], weight[1], weight[2] = abs(weight[0]), -abs(weight[1]), 0
    bias = np.array([-301, 250, 77, 0, -1, 4096])
    return replace(layer, weight=weight, bias=bias, shift=np.array(shift))


def totals_of(layer: ConvolutionLayer, low: int, high: int, index: int) -> list[int]:
    """Return sums of one filter within its proved range: the ends, about zero, about every edge of rounding."""
    shift, bias = int(layer.shift[index]), int(layer.bias[index])
    generator = np.random.default_rng(index)
    edges = [0, low, high, -bias]
    results = {layer.output_format.minimum, layer.output_format.maximum, -2, -1, 0, 1, 2}
    for result in sorted(results):
        whole = result << shift if shift >= 0 else result >> -shift
        edges += [whole - bias, whole - bias + ((1 << shift) >> 1 if shift > 0 else 0)]
    near = [edge + step for edge in edges for step in (-1, 0, 1)]
    values = [value for value in near if low <= value <= high] + generator.integers(low, high + 1, 60).tolist()
    return generator.choice(values, 130).tolist() + values


def hardware(plan: CrosspointPlan, totals: Integers) -> Integers:
    """Return the beats' lanes for totals (operation, filter): filter groups in turn, one per cycle."""
    dut: Any = Requantise(plan)
    lanes, bits, legal = plan.fold.filters, plan.integrator_bits[-1], plan.layer.output_format
    words = [pack(word, bits) for word in totals.reshape(-1, lanes).tolist()]
    found: list[list[int]] = []

    async def process(context: Any) -> None:
        for cycle in range(len(words) + 1 + Requantise.LATENCY):
            context.set(dut.filter, cycle % plan.filter_groups)
            if 1 <= cycle <= len(words):
                context.set(dut.totals.as_value(), words[cycle - 1])
            if cycle > Requantise.LATENCY:
                found.append(unpack(context.get(dut.beat.as_value()), lanes, legal.bits, legal.signed))
            await context.tick()

    clocked(dut, process)
    return np.array(found).reshape(totals.shape)


@pytest.mark.parametrize("filters", [2, 6], ids=lambda n: f"{FILTERS // n} groups")
@pytest.mark.parametrize("relu", [False, True], ids=["plain", "relu"])
@pytest.mark.parametrize("writes", FORMATS, ids=str)
@pytest.mark.parametrize("shift", SHIFTS)
def test_requantise_equals_golden(shift: str, writes: NumberFormat, relu: bool, filters: int) -> None:
    layer = layer_of(SHIFTS[shift], writes, relu)
    plan = CrosspointPlan(layer, Fold(1, 1, 1, filters))
    low, high = plan.total_range
    columns = [totals_of(layer, int(low[f]), int(high[f]), f) for f in range(FILTERS)]
    count = max(map(len, columns))
    totals = np.array([np.resize(column, count) for column in columns])
    golden = requantise(totals[np.newaxis], layer.bias, layer.shift, writes, layer.activation)[0]
    np.testing.assert_array_equal(hardware(plan, totals.T), golden.T)


@pytest.mark.parametrize("relu", [False, True], ids=["plain", "relu"])
@pytest.mark.parametrize("half", range(-11, 12, 2))
def test_half_way_sums_go_up_whatever_their_sign(half: int, relu: bool) -> None:
    layer = replace(layer_of([1] * FILTERS, INT8, relu), bias=np.zeros(FILTERS, np.int64))
    plan = CrosspointPlan(layer, Fold(1, 1, 5, 3))
    rounded = (half + 1) // 2
    totals = np.array([[half, half, 0, half, half, half]])
    totals = np.clip(totals, plan.total_range[0], plan.total_range[1])
    found = hardware(plan, totals)
    assert found[0, 3] == max(rounded, 0 if relu else rounded)


@pytest.mark.parametrize("shift", SHIFTS)
def test_offsets_hold_bias_and_half(shift: str) -> None:
    layer = layer_of(SHIFTS[shift], INT8, relu=False)
    left = max(0, -min(SHIFTS[shift]))
    assert left_shift(layer) == left
    expected = [
        (bias << left) + (1 << (right + left - 1) if right + left > 0 else 0)
        for bias, right in zip(layer.bias.tolist(), SHIFTS[shift], strict=True)
    ]
    assert offsets(layer).tolist() == expected
