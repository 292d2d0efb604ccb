"""Steered integrators equal a dictionary of sums under any legal mode words, and cost what the plan says."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Value
from crosstile.crosspoint_plan import TURNAROUND, CrosspointPlan
from crosstile.crosspoint_program import ModeWord
from crosstile.fold import Fold
from crosstile.steered_integrators import SteeredIntegrators
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer

from .bench import clocked, convolution, folds_of, pack, unpack

SUM_BITS = 10


def together(layer: ConvolutionLayer) -> list[Fold]:
    return [fold for fold in folds_of(layer) if fold.kernel_rows > 1]


def random_word(plan: CrosspointPlan, generator: random.Random) -> ModeWord:
    """Return a legal mode word; it need be no rotation."""
    order = generator.sample(range(max(plan.banks, plan.columns)), plan.fold.kernel_rows)
    steered = tuple(integrator < plan.banks and generator.random() < 0.8 for integrator in order)
    integrators = tuple(integrator % plan.banks for integrator in order)
    fresh = tuple(generator.random() < 0.3 for _ in range(plan.banks))
    return ModeWord(integrators, steered, fresh, generator.randrange(plan.banks))


class Model:
    """What the integrators hold: per position the sums as (bank, filter)."""

    def __init__(self, plan: CrosspointPlan):
        self.plan = plan
        self.kept = np.zeros((plan.integrator_positions, plan.banks, plan.lanes_out), np.int64)

    def add(self, word: ModeWord, position: int, sums: list[list[int]]) -> list[int]:
        """Steer one pass's whole sums, given as passes of (kernel row · filter); return the totals."""
        self.kept[position][list(word.fresh)] = 0
        whole = np.sum(sums, axis=0).reshape(self.plan.fold.kernel_rows, self.plan.lanes_out)
        for row, (integrator, steered) in enumerate(zip(word.integrators, word.steered, strict=True)):
            if steered:
                self.kept[position][integrator] += whole[row]
        bits = self.plan.integrator_bits[-1]
        self.kept = ((self.kept + (1 << bits - 1)) % (1 << bits)) - (1 << bits - 1)
        return self.kept[position][word.complete].tolist()


def schedule(plan: CrosspointPlan, generator: random.Random) -> Iterator[tuple[int, ModeWord, list[list[int]]]]:
    """Yield positions, words and sums pass by pass; a position rests for `TURNAROUND` cycles, first all are fresh."""
    ends: dict[int, int] = {}
    cycle = 0
    word = random_word(plan, generator)
    for _ in range(100):
        if generator.random() < 0.3:
            word = random_word(plan, generator)
        position = generator.randrange(plan.integrator_positions)
        now = word if position in ends else replace(word, fresh=(True,) * plan.banks)
        idle = max(ends.get(position, -TURNAROUND) + TURNAROUND - cycle, 0) + generator.choice([0, 0, 0, 1, 4])
        for _ in range(idle):
            yield -1, now, [[generator.randrange(-511, 511) for _ in range(plan.columns)]]
        sums = [[generator.randrange(-511, 511) for _ in range(plan.columns)] for _ in range(plan.pass_cycles)]
        yield position, now, sums
        cycle += idle + plan.pass_cycles
        ends[position] = cycle - 1


LAYERS = {
    "3x3": convolution(2, 2, (6, 5), (3, 3), seed=1),
    "5x1": convolution(2, 2, (9, 4), (5, 1), seed=2),
    "two output rows": convolution(1, 2, (4, 4), (3, 3), seed=3),
    "one position": convolution(2, 1, (6, 1), (2, 1), seed=4),
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("layer", "fold"),
    [pytest.param(layer, fold, id=f"{name}, {fold}") for name, layer in LAYERS.items() for fold in together(layer)],
)
def test_integrators_equal_a_dictionary_of_sums(layer: ConvolutionLayer, fold: Fold, seed: int) -> None:
    """Each integration capacitor aggregates one of the wires in a step, and holds over many steps ([0077])."""
    plan = CrosspointPlan(layer, fold, "external")
    model, generator = Model(plan), random.Random(seed)
    dut: Any = SteeredIntegrators(plan, SUM_BITS)
    cycles: list[tuple[dict[str, int], ModeWord, list[int]]] = []
    expected, found = {}, {}
    for position, word, parts in schedule(plan, generator):
        for index, sums in enumerate(parts):
            flags = {
                "issue": position >= 0, "first": index == 0, "last": index == len(parts) - 1,
                "position": max(position, 0),
            }  # fmt: skip
            cycles.append((flags, word, sums))
        if position >= 0:
            expected[len(cycles) - 1 + SteeredIntegrators.LEAD + 3] = model.add(word, position, parts)

    async def process(context: Any) -> None:
        idle = {"issue": 0}, cycles[-1][1], [0] * plan.columns
        padded = [*cycles, *[idle] * 8]
        for cycle in range(len(padded)):
            for name, value in padded[cycle][0].items():
                context.set(getattr(dut, name), value)
            word = padded[max(cycle - SteeredIntegrators.LEAD + SteeredIntegrators.MODE_LEAD, 0)][1]
            context.set(Value.cast(dut.mode), dut.mode.shape().const(word.fields()).as_value().value)
            context.set(Value.cast(dut.sums), pack(padded[max(cycle - SteeredIntegrators.LEAD, 0)][2], SUM_BITS))
            total = context.get(Value.cast(dut.totals))
            found[cycle] = unpack(total, plan.lanes_out, plan.integrator_bits[-1], signed=True)
            await context.tick()

    clocked(dut, process)
    assert {cycle: found[cycle] for cycle in expected} == expected


# What the plan says, and what is not legal


@pytest.mark.parametrize("height", [4, 8])
def test_memory_is_every_integrator_of_the_open_rows(height: int) -> None:
    """An integrator for each output row that is open at once, per output column and filter ([0066])."""
    layer = convolution(2, 2, (height, 6), (3, 3))
    chain, steered = (CrosspointPlan(layer, Fold(3, 3, 2, 2), steering) for steering in ("chain", "stored"))
    open_rows = min(3, height - 2)
    assert steered.banks == open_rows
    assert steered.integrator_bits == chain.integrator_bits[-1:] * open_rows
    assert steered.integrator_memory_bits == open_rows * chain.integrator_bits[-1] * 4 * 2
    assert chain.integrator_memory_bits == sum(chain.integrator_bits[:2]) * 4 * 2
    assert steered.pipeline_cycles == chain.pipeline_cycles + 2


@pytest.mark.parametrize(
    ("fold", "steering", "text"),
    [
        (Fold(3, 3, 1, 1), "rotation",
         "layer convolution: steering must be one of chain, computed, stored, external, not 'rotation'"),
        (Fold(1, 3, 2, 1), "stored",
         r"layer convolution: steering 'stored' needs more than one kernel row together \(stride and dilation 1\), "
         r"not fold Fold\(kernel_rows=1, kernel_columns=3, channels=2, filters=1, groups=1\); use 'chain'"),
    ],
)  # fmt: skip
def test_errors(fold: Fold, steering: str, text: str) -> None:
    with pytest.raises(CrosstileError, match=f"^{text}$"):
        CrosspointPlan(LAYERS["3x3"], fold, steering)
