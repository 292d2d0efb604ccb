"""Integrators equal a dictionary of sums, and hold extreme activations at exactly their proved width."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from crosstile.crosspoint_plan import TURNAROUND, CrosspointPlan
from crosstile.fold import Fold
from crosstile.integrators import Integrators
from crosstile_golden.activation import NONE
from crosstile_golden.convolution import convolution as convolve
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import NumberFormat, signed_bits_for

from .bench import INT8, UINT8, clocked, convolution, folds_of, pack, plan_of, prove, sums_width, unpack

SUM_BITS = 12
LAYERS = {
    "3x3": convolution(2, 2, (6, 5), (3, 3), weight_bits=8, seed=1),
    "5x1, stride 2": convolution(2, 2, (9, 4), (5, 1), stride=(2, 1), seed=2),
    "1x3": convolution(2, 2, (4, 6), (1, 3), seed=3),
    "one integrator": convolution(4, 1, (2, 1), (2, 1), seed=4),
}


def cases() -> list[Any]:
    return [
        pytest.param(layer, fold, id=f"{name}, {fold.kernel_rows}x{fold.kernel_columns}x{fold.channels}x{fold.filters}")
        for name, layer in LAYERS.items()
        for fold in folds_of(layer)
    ]


class Model:
    """What the integrators hold, as one list of sums per address."""

    def __init__(self, plan: CrosspointPlan):
        self.plan, self.kept = plan, {}

    def add(self, bank: int, position: int, fresh: bool, sums: list[int]) -> list[int]:
        """Add one pass's whole sums (kernel row, filter); return the totals per filter."""
        filters, rows = self.plan.fold.filters, self.plan.fold.kernel_rows
        chain = self.plan.rows_together
        zero = [0] * filters * rows
        before = zero if fresh or not self.plan.banks else self.kept.get((bank, position), zero)
        shifted = [0] * filters + before[:-filters] if chain else before
        self.kept[bank, position] = [a + b for a, b in zip(shifted, sums, strict=True)]
        return self.kept[bank, position][-filters:]


def random_passes(plan: CrosspointPlan, generator: random.Random) -> Iterator[tuple[int, int, bool, int]]:
    """Yield bank, position, fresh and idle cycles before each pass; an address rests for `TURNAROUND` cycles."""
    cycle, adds, ends = 0, {}, {}
    for _ in range(120):
        bank = 0 if plan.rows_together else generator.randrange(max(plan.banks, 1))
        position = generator.randrange(plan.integrator_positions)
        address = bank, position
        rested = ends.get(address, -TURNAROUND) + TURNAROUND
        idle = max(rested - cycle, 0) if plan.banks else 0
        idle += generator.choice([0, 0, 0, 1, 3])
        fresh = address not in adds or adds[address] >= plan.plane.kernel_height or generator.random() < 0.1
        adds[address] = 1 if fresh else adds[address] + 1
        yield bank, position, fresh, idle
        cycle += idle + plan.pass_cycles
        ends[address] = cycle - 1


def schedule(plan: CrosspointPlan, generator: random.Random) -> tuple[list[dict[str, Any]], dict[int, list[int]]]:
    """Return the members' values per cycle, and the totals expected by cycle."""
    model, cycles, totals = Model(plan), [], {}
    most = (1 << (plan.integrator_bits[0] - 1)) // (plan.pass_cycles * plan.plane.kernel_height) - 1
    most = min(most, (1 << (SUM_BITS - 1)) - 1)
    for bank, position, fresh, idle in random_passes(plan, generator):
        noise = {"bank": generator.randrange(max(plan.banks, 1)), "fresh": generator.randrange(2)}
        cycles += [{"issue": 0, "last": 1, "first": 1, **noise, "sums": [most] * plan.columns}] * idle
        parts = [[generator.randint(-most, most) for _ in range(plan.columns)] for _ in range(plan.pass_cycles)]
        for index, sums in enumerate(parts):
            cycles.append({
                "issue": 1, "first": index == 0, "last": index == plan.pass_cycles - 1, "fresh": fresh,
                "bank": bank, "position": position, "sums": sums,
            })  # fmt: skip
        whole = [sum(column) for column in zip(*parts, strict=True)]
        totals[len(cycles) - 1 + Integrators.LEAD + 1] = model.add(bank, position, fresh, whole)
    return cycles, totals


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("layer", "fold"), cases())
def test_integrators_equal_a_dictionary_of_sums(layer: ConvolutionLayer, fold: Fold, seed: int) -> None:
    plan = CrosspointPlan(layer, fold)
    cycles, totals = schedule(plan, random.Random(seed))
    dut: Any = Integrators(plan, SUM_BITS)
    found: dict[int, list[int]] = {}

    async def process(context: Any) -> None:
        for cycle in range(len(cycles) + Integrators.LEAD + 1):
            now = cycles[cycle] if cycle < len(cycles) else {"issue": 0}
            for name in ("issue", "first", "last", "fresh", "bank", "position"):
                context.set(getattr(dut, name), now.get(name, 0))
            sums = cycles[cycle - Integrators.LEAD]["sums"] if 0 <= cycle - Integrators.LEAD < len(cycles) else []
            context.set(dut.sums.as_value(), pack(sums, SUM_BITS))
            word = context.get(dut.totals.as_value())
            found[cycle] = unpack(word, plan.fold.filters, plan.integrator_bits[-1], signed=True)
            await context.tick()

    clocked(dut, process)
    assert {cycle: found[cycle] for cycle in totals} == totals


# Widths

EXTREMES = {
    "uint8": convolution(2, 2, (4, 4), (3, 3), seed=5),
    "int8": convolution(2, 2, (4, 4), (3, 3), reads=INT8, seed=6),
    "uint4, 3-bit weights": convolution(3, 2, (3, 3), (2, 2), weight_bits=3, reads=NumberFormat(4, False), seed=7),
    "int6, column": convolution(2, 2, (5, 1), (5, 1), weight_bits=5, reads=NumberFormat(6, True), seed=8),
}


def extreme_frames(layer: ConvolutionLayer) -> np.ndarray[Any, Any]:
    """Return per filter the frames whose first window gives its greatest and its least sum."""
    legal, kernel = layer.input_format, layer.geometry.kernel
    frames = np.zeros((2 * len(layer.weight), layer.geometry.in_channels, *layer.geometry.input_size), np.int64)
    window = (slice(None), *(slice(0, taps) for taps in kernel))
    for index, weight in enumerate(layer.weight):
        frames[2 * index][window] = np.where(weight > 0, legal.maximum, legal.minimum)
        frames[2 * index + 1][window] = np.where(weight > 0, legal.minimum, legal.maximum)
    return frames


def whole_sums(layer: ConvolutionLayer) -> ConvolutionLayer:
    """Return the layer with its sums as outputs, untouched."""
    zero = np.zeros(len(layer.weight), np.int64)
    return replace(layer, bias=zero, shift=zero, output_format=NumberFormat(24, True), activation=NONE)


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_activations_reach_the_last_integrators_width(name: str) -> None:
    layer = EXTREMES[name]
    sums = convolve(extreme_frames(layer), layer.weight, layer.geometry)
    for fold in folds_of(layer):
        plan = CrosspointPlan(layer, fold)
        assert plan.integrator_bits[-1] == sums_width(sums)
        low, high = plan.total_range
        assert (int(low.min()), int(high.max())) == (int(sums.min()), int(sums.max()))


@pytest.mark.parametrize("name", EXTREMES)
def test_each_integrator_of_a_chain_is_as_wide_as_its_kernel_rows_need(name: str) -> None:
    layer = EXTREMES[name]
    legal = layer.input_format
    most = np.maximum(layer.weight * legal.maximum, layer.weight * legal.minimum).sum(axis=(1, 3)).cumsum(axis=1)
    least = np.minimum(layer.weight * legal.maximum, layer.weight * legal.minimum).sum(axis=(1, 3)).cumsum(axis=1)
    for fold in folds_of(layer):
        plan = CrosspointPlan(layer, fold)
        if plan.rows_together:
            bounds = zip(least.min(axis=0).tolist(), most.max(axis=0).tolist(), strict=True)
            assert plan.integrator_bits == tuple(signed_bits_for(low, high) for low, high in bounds)


@pytest.mark.parametrize("together", [False, True], ids=["in turn", "together"])
@pytest.mark.parametrize("name", ["uint8", "int8", "uint4, 3-bit weights"])
def test_extreme_sums_pass_and_one_bit_narrower_they_do_not(
    name: str, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = whole_sums(EXTREMES[name])
    folds = [fold for fold in folds_of(layer) if (fold.kernel_rows > 1) == together]
    frames = extreme_frames(layer)
    prove(plan_of([layer], folds[-1:]), frames)
    bits = CrosspointPlan(layer, folds[-1]).integrator_bits
    for place in range(len(bits)):
        narrower = tuple(width - (index == place) for index, width in enumerate(bits))
        monkeypatch.setattr(CrosspointPlan, "integrator_bits", narrower)
        with pytest.raises(AssertionError, match="Arrays are not equal"):
            prove(plan_of([layer], folds[-1:]), frames)


@pytest.mark.parametrize("reads", [UINT8, INT8], ids=str)
def test_bias_counts_in_the_accumulators_width(reads: NumberFormat) -> None:
    layer = replace(convolution(1, 1, (3, 3), (2, 2), reads=reads, seed=2), bias=np.array([1 << 20]))
    plan = CrosspointPlan(layer, Fold(1, 1, 1, 1))
    assert plan.accumulator_bits == 22
    assert plan.integrator_bits[-1] < 20
