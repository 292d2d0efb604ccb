# amaranth: UnusedElaboratable=no
"""The array's sums equal NumPy's for every address, and no narrower width would hold them."""

from typing import Any

import numpy as np
import pytest
from crosstile import multiplier_array
from crosstile.crosspoint_plan import OPERAND_CYCLES, CrosspointPlan
from crosstile.fold import Fold
from crosstile.multiplier_array import Bounded, MultiplierArray
from crosstile.row_window import RowWindow
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import Integers, NumberFormat

from .bench import INT8, clocked, convolution, folds_of, pack, sums_width, unpack

LAYERS = {
    "int8": convolution(4, 2, (4, 4), (3, 3), reads=INT8, seed=1),
    "uint4, 2-bit weights": convolution(3, 4, (4, 4), (2, 3), weight_bits=2, reads=NumberFormat(4, False), seed=2),
    "int16, 16-bit weights": convolution(2, 2, (3, 3), (1, 3), weight_bits=16, reads=NumberFormat(16, True), seed=3),
    "uint5, one filter": convolution(5, 1, (3, 3), (1, 1), weight_bits=5, reads=NumberFormat(5, False), seed=4),
}


def cases() -> list[Any]:
    return [
        pytest.param(layer, fold, id=f"{name}, {fold.kernel_rows}x{fold.kernel_columns}x{fold.channels}x{fold.filters}")
        for name, layer in LAYERS.items()
        for fold in folds_of(layer)
    ]


def sums_of(plan: CrosspointPlan, addresses: list[int], operands: Integers) -> Integers:
    """Return the array's sums (operation, column), one operation per cycle."""
    dut: Any = MultiplierArray(plan)
    lead, latency = RowWindow.LATENCY, OPERAND_CYCLES + plan.tree_levels
    bits = plan.layer.input_format.bits
    words = [pack(operand, bits) for operand in operands.tolist()]
    sums: list[list[int]] = []

    async def process(context: Any) -> None:
        for cycle in range(len(addresses) + latency):
            if cycle < len(addresses):
                context.set(dut.address, addresses[cycle])
            if lead <= cycle < lead + len(words):
                context.set(dut.operands.as_value(), words[cycle - lead])
            if cycle >= latency:
                found = context.get(dut.sums.as_value())
                sums.append(unpack(found, plan.columns, dut.sum_bits, signed=True))
            await context.tick()

    clocked(dut, process)
    return np.array(sums)


def operations(plan: CrosspointPlan) -> tuple[list[int], Integers]:
    """Return addresses and operands: at random, and for every address and column those of the extreme sums."""
    legal, generator = plan.layer.input_format, np.random.default_rng(7)
    words = plan.weight_words
    address = generator.permuted(np.repeat(np.arange(len(words)), 3))
    operand = generator.integers(legal.minimum, legal.maximum + 1, (len(address), plan.products_per_column))
    most = np.where(words > 0, legal.maximum, legal.minimum).reshape(-1, plan.products_per_column)
    least = np.where(words > 0, legal.minimum, legal.maximum).reshape(-1, plan.products_per_column)
    every = np.repeat(np.arange(len(words)), plan.columns)
    return np.concatenate([address, every, every]).tolist(), np.concatenate([operand, most, least])


@pytest.mark.parametrize(("layer", "fold"), cases())
def test_sums_equal_numpy_and_reach_their_width(layer: ConvolutionLayer, fold: Fold) -> None:
    plan = CrosspointPlan(layer, fold)
    addresses, operands = operations(plan)
    expected = np.einsum("ncp,np->nc", plan.weight_words[addresses], operands)
    np.testing.assert_array_equal(sums_of(plan, addresses, operands), expected)
    assert sums_width(expected) == MultiplierArray(plan).sum_bits


@pytest.mark.parametrize("name", LAYERS)
def test_products_and_partial_sums_one_bit_narrower_are_wrong(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = CrosspointPlan(LAYERS[name], max(folds_of(LAYERS[name]), key=lambda fold: fold.multipliers))
    addresses, operands = operations(plan)
    plain = Bounded.bits
    monkeypatch.setattr(multiplier_array.Bounded, "bits", property(lambda bounded: max(plain.fget(bounded) - 1, 1)))
    expected = np.einsum("ncp,np->nc", plan.weight_words[addresses], operands)
    assert (sums_of(plan, addresses, operands) != expected).any()


@pytest.mark.parametrize(("layer", "fold"), cases())
def test_weight_words_hold_every_weight_once(layer: ConvolutionLayer, fold: Fold) -> None:
    plan = CrosspointPlan(layer, fold)
    assert plan.weight_words.size == layer.weight.size
    assert sorted(plan.weight_words.ravel().tolist()) == sorted(layer.weight.ravel().tolist())
    assert plan.weight_words.shape[1] * plan.weight_words.shape[2] == fold.multipliers
    assert plan.weight_memory_bits == layer.weight.size * layer.weight_bits
