# amaranth: UnusedElaboratable=no
"""The array's sums equal NumPy's for every address, and no narrower width would hold them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from crosstile import multiplier_array
from crosstile.crosspoint_plan import OPERAND_CYCLES, CrosspointPlan
from crosstile.fold import Fold
from crosstile.load_bus import Contents
from crosstile.multiplier_array import Bounded, MultiplierArray, weight_contents
from crosstile.row_window import RowWindow
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import Integers, NumberFormat

from .bench import INT8, clocked, convolution, folds_of, pack, sums_width, unpack
from .loading import write

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


def sums_of(
    plan: CrosspointPlan, addresses: list[int], operands: Integers, load: CrosspointPlan | None = None
) -> Integers:
    """Return the array's sums (operation, column), one operation per cycle; `load` has the weights to write first."""
    dut: Any = MultiplierArray(plan)
    lead, latency = RowWindow.LATENCY, OPERAND_CYCLES + plan.tree_levels
    bits = plan.layer.input_format.bits
    words = [pack(operand, bits) for operand in operands.tolist()]
    sums: list[list[int]] = []

    async def process(context: Any) -> None:
        if load is not None:
            await write(context, dut.load, weight_contents(load).words)
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


def retrained(layer: ConvolutionLayer) -> ConvolutionLayer:
    """Return the layer with other weights, the ends of their range among them."""
    bits = layer.weight_bits
    weight = np.random.default_rng(99).integers(-(1 << bits - 1), 1 << bits - 1, layer.weight.shape)
    weight.reshape(-1)[:2] = [-(1 << bits - 1), (1 << bits - 1) - 1]
    return replace(layer, weight=weight, shift=abs(layer.shift))


def loadable(layer: ConvolutionLayer, fold: Fold) -> CrosspointPlan:
    return CrosspointPlan(replace(layer, shift=abs(layer.shift)), fold, loadable=True)


@pytest.mark.parametrize(("layer", "fold"), cases())
def test_loadable_weights_start_as_the_layer_s_own(layer: ConvolutionLayer, fold: Fold) -> None:
    plan = loadable(layer, fold)
    addresses, operands = operations(plan)
    expected = np.einsum("ncp,np->nc", plan.weight_words[addresses], operands)
    np.testing.assert_array_equal(sums_of(plan, addresses, operands), expected)


@pytest.mark.parametrize(("layer", "fold"), cases())
def test_loaded_weights_take_the_place_of_the_first(layer: ConvolutionLayer, fold: Fold) -> None:
    plan, trained = loadable(layer, fold), loadable(retrained(layer), fold)
    addresses, operands = operations(trained)
    expected = np.einsum("ncp,np->nc", trained.weight_words[addresses], operands)
    np.testing.assert_array_equal(sums_of(plan, addresses, operands, load=trained), expected)


@pytest.mark.parametrize("name", LAYERS)
def test_every_weight_at_its_least_or_greatest_fits_the_loadable_sums(name: str) -> None:
    layer = LAYERS[name]
    plan = loadable(layer, max(folds_of(layer), key=lambda fold: fold.multipliers))
    legal, reads = NumberFormat(layer.weight_bits, signed=True), layer.input_format
    for weight in (legal.minimum, legal.maximum):
        extreme = replace(plan, layer=replace(plan.layer, weight=np.full_like(layer.weight, weight)))
        for operand in (reads.minimum, reads.maximum):
            operands = np.full((len(plan.weight_words), plan.products_per_column), operand)
            addresses = list(range(len(operands)))
            expected = np.einsum("ncp,np->nc", extreme.weight_words[addresses], operands)
            np.testing.assert_array_equal(sums_of(plan, addresses, operands, load=extreme), expected)


@pytest.mark.parametrize(("bits", "words"), [(1, 32), (5, 6), (8, 4), (9, 3), (16, 2), (18, 1)])
def test_no_weight_is_cut_between_words(bits: int, words: int) -> None:
    layer = convolution(4, 2, (4, 4), (3, 3), weight_bits=max(bits, 2), seed=bits)
    layer = replace(layer, weight_bits=bits, weight=np.clip(layer.weight, -(1 << bits - 1), (1 << bits - 1) - 1))
    plan = loadable(layer, max(folds_of(layer), key=lambda fold: fold.multipliers))
    contents = weight_contents(plan)
    assert contents.widths[:-1] == (words * bits,) * (len(contents.widths) - 1)
    assert sum(contents.widths) == 72 * bits
    assert contents.rows[0][0] & (1 << bits) - 1 == int(plan.weight_words[0, 0, 0]) & (1 << bits) - 1


def test_a_word_written_to_the_wrong_place_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = LAYERS["int8"]
    plan = loadable(layer, folds_of(layer)[0])
    trained = loadable(retrained(layer), plan.fold)
    addresses, operands = operations(trained)
    right = weight_contents(trained).words
    (a, first), (b, second) = right[:2]
    monkeypatch.setattr(Contents, "words", property(lambda _: [(a, second), (b, first), *right[2:]]))
    expected = np.einsum("ncp,np->nc", trained.weight_words[addresses], operands)
    assert (sums_of(plan, addresses, operands, load=trained) != expected).any()
