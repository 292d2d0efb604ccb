# amaranth: UnusedElaboratable=no
"""The Winograd array equals plain convolution, its dimension and its sizes switched in every cycle."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module
from crosstile.winograd_array import WinogradArray
from crosstile.winograd_array_plan import WinogradArrayPlan
from crosstile.winograd_network import Term
from crosstile.winograd_transform import tile_layout
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes
from crosstile_golden.numbers import Integers, NumberFormat, signed_bits_for
from crosstile_golden.winograd_array import array_convolution, array_winograd

from .bench import clocked, pack

INT8, UINT8 = NumberFormat(8, True), NumberFormat(8, False)


@dataclass(frozen=True)
class Tile:
    """What one cycle gives to the array."""

    kernel: Axes
    activations: Integers
    weights: Integers
    first: bool = True
    last: bool = True


Cycle = Tile | None  # None: nothing is valid


def unpacked(terms: Sequence[Term], word: int) -> list[int]:
    layout, values = tile_layout(terms), []
    for index, term in enumerate(terms):
        value = word >> layout[index].offset & (1 << term.bits) - 1
        values.append(value - (1 << term.bits) if term.low < 0 and value >> term.bits - 1 else value)
    return values


def switch(context: Any, dut: Any, kernel: Axes) -> None:
    """Set what comes in the cycle before a tile."""
    plan = dut.plan
    if len(plan.dimensions) > 1:
        context.set(dut.mode, sum(size > 1 for size in kernel))
    context.set(dut.size_two, sum(int(kernel[axis] == 2) << bit for bit, axis in enumerate(plan.axes)))


def offer(context: Any, dut: Any, tile: Cycle, noise: np.random.Generator) -> None:
    """Set what comes with a tile; where none is valid, anything but `valid`."""
    plan = dut.plan
    context.set(dut.valid, tile is not None)
    if plan.channels > 1:
        context.set(dut.first, tile.first if tile else int(noise.integers(2)))
        context.set(dut.last, tile.last if tile else int(noise.integers(2)))
    given = tile.activations if tile else noise.integers(0, 2, 64)
    context.set(dut.activations.as_value(), pack(given.ravel().tolist(), plan.input_format.bits))
    given = tile.weights if tile else noise.integers(0, 2, prod(plan.shape))
    context.set(dut.weights.as_value(), pack(given.ravel().tolist(), plan.weight_bits))


def simulated(
    plan: WinogradArrayPlan, cycles: Sequence[Cycle], reset_at: int | None = None
) -> list[tuple[int, list[int]]]:
    """Return cycle and outputs wherever outputs are valid, one entry of `cycles` per cycle."""
    dut: Any = WinogradArray(plan)
    m = Module()
    m.domains.sync = domain = ClockDomain("sync")
    m.submodules.dut = dut
    found: list[tuple[int, list[int]]] = []
    noise = np.random.default_rng(5)

    async def process(context: Any) -> None:
        for cycle in range(-1, len(cycles) + plan.latency + 2):
            following = cycles[cycle + 1] if cycle + 1 < len(cycles) else None
            switch(context, dut, following.kernel if following else plan.kernels[noise.integers(len(plan.kernels))])
            offer(context, dut, cycles[cycle] if 0 <= cycle < len(cycles) else None, noise)
            context.set(domain.rst, cycle == reset_at)
            if context.get(dut.outputs_valid):
                found.append((cycle, unpacked(plan.outputs, context.get(dut.outputs.as_value()))))
            await context.tick()

    clocked(m, process)
    return found


def expected(plan: WinogradArrayPlan, cycles: Sequence[Cycle], golden: Any) -> list[tuple[int, dict[int, int]]]:
    """Return the cycle of every sum's outputs, and those that are valid."""
    results, activations, weights = [], [], []
    for cycle, tile in enumerate(cycles):
        if tile is None:
            continue
        activations, weights = ([], []) if tile.first else (activations, weights)
        activations, weights = [*activations, tile.activations], [*weights, tile.weights]
        if tile.last:
            outputs = golden(np.stack(activations), np.stack(weights), tile.kernel).ravel().tolist()
            results.append((cycle + plan.latency, {link: outputs[link] for link in plan.links(tile.kernel)}))
    return results


def check(plan: WinogradArrayPlan, cycles: Sequence[Cycle], golden: Any = array_convolution) -> None:
    found, wanted = simulated(plan, cycles), expected(plan, cycles, golden)
    assert wanted
    assert [cycle for cycle, _ in found] == [cycle for cycle, _ in wanted]
    for (_, outputs), (cycle, links) in zip(found, wanted, strict=True):
        assert {link: outputs[link] for link in links} == links, f"cycle {cycle}"


# Stimulus


def tile_of(plan: WinogradArrayPlan, kernel: Axes, generator: np.random.Generator, extreme: bool) -> Tile:
    """Return a tile of anything, or of least and greatest values alone; words that no tap has are anything too."""
    legal, high = plan.input_format, (1 << plan.weight_bits - 1) - 1
    if extreme:
        activations = generator.choice([legal.minimum, legal.maximum], (4, 4, 4))
        weights = generator.choice([-high - 1, high], plan.shape)
    else:
        activations = generator.integers(legal.minimum, legal.maximum + 1, (4, 4, 4))
        weights = generator.integers(-high - 1, high + 1, plan.shape)
    return without_third_taps(Tile(kernel, activations, weights))


def without_third_taps(tile: Tile) -> Tile:
    weights = tile.weights.copy()
    for axis, size in enumerate(tile.kernel):
        if size == 2:
            np.moveaxis(weights, axis, 0)[-1] = 0
    return replace(tile, weights=weights)


def sums(plan: WinogradArrayPlan, kernels: Sequence[Axes], seed: int = 1, gaps: float = 0.0) -> list[Cycle]:
    """Return the cycles of one sum of 1 to `channels` tiles for each kernel, with cycles between that are idle."""
    generator = np.random.default_rng(seed)
    cycles: list[Cycle] = []
    for kernel in kernels:
        count = int(generator.integers(1, plan.channels + 1))
        for channel in range(count):
            tile = tile_of(plan, kernel, generator, extreme=bool(generator.random() < 0.4))
            cycles.append(replace(tile, first=channel == 0, last=channel == count - 1))
            cycles += [None] * int(generator.random() < gaps)
    return cycles


def every_pair(kernels: Sequence[Axes]) -> list[Axes]:
    """Return kernels in an order in which each follows each, itself too."""
    ahead = {kernel: list(kernels) for kernel in kernels}
    path, walk = [kernels[0]], list[Axes]()
    while path:
        if ahead[path[-1]]:
            path.append(ahead[path[-1]].pop())
        else:
            walk.append(path.pop())
    return walk[::-1]


# Equality


def test_every_kernel_follows_every_other_tile_by_tile() -> None:
    """1D, 2D and 3D, sizes 3 and 2 along each axis: all 14 · 14 successions, a tile per cycle, a result per cycle."""
    plan = WinogradArrayPlan(UINT8, 8, channels=1)
    kernels = every_pair(plan.kernels)
    assert len(set(pairwise(kernels))) == 14**2
    check(plan, sums(plan, kernels))


def test_sums_over_channels_follow_each_other_at_once_or_with_idle_cycles_anywhere() -> None:
    plan = WinogradArrayPlan(INT8, 8, channels=3)
    for gaps in (0.0, 0.4):
        check(plan, sums(plan, plan.kernels * 2, seed=2, gaps=gaps), array_winograd)


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize("bits", [4, 5, 6, 7, 8, 16])
def test_every_width_of_operands(bits: int, signed: bool) -> None:
    plan = WinogradArrayPlan(NumberFormat(bits, signed), bits, channels=2)
    check(plan, sums(plan, plan.kernels, seed=bits))


@pytest.mark.parametrize("pipeline", ["none", "adder"])
def test_every_pipeline(pipeline: str) -> None:
    plan = WinogradArrayPlan(INT8, 6, channels=2, pipeline=pipeline)
    check(plan, sums(plan, plan.kernels, seed=3, gaps=0.3))


@pytest.mark.parametrize("dimensions", [(1,), (2,), (3,), (1, 2), (1, 3), (2, 3)], ids=str)
def test_arrays_of_fewer_dimensions(dimensions: Axes) -> None:
    plan = WinogradArrayPlan(UINT8, 5, channels=2, dimensions=dimensions)
    check(plan, sums(plan, every_pair(plan.kernels), seed=4))


@pytest.mark.parametrize("number_format", [INT8, UINT8], ids=str)
def test_the_least_and_the_greatest_sum_of_every_kernel(number_format: NumberFormat) -> None:
    """All activations and all weights at one end, as often as there are channels: nothing wraps."""
    plan = WinogradArrayPlan(number_format, 8, channels=3)
    cycles: list[Cycle] = []
    for kernel in plan.kernels:
        for activation in (number_format.minimum, number_format.maximum):
            for weight in (-128, 127):
                whole = Tile(kernel, np.full((4, 4, 4), activation), np.full(plan.shape, weight))
                tile = without_third_taps(whole)
                cycles += [replace(tile, first=index == 0, last=index == 2) for index in range(3)]
    check(plan, cycles)


def test_known_results_come_out_whole_and_others_modulo() -> None:
    """12 bits: sums inside wrap, results that fit are right, others are right modulo 2^12."""
    plan = WinogradArrayPlan(INT8, 8, channels=4, output_bits=12)
    cycles = [
        replace(tile, activations=tile.activations // 16, weights=tile.weights // 16) if tile and index % 3 else tile
        for index, tile in enumerate(sums(plan, plan.kernels * 3, seed=6))
    ]
    fitting = wrapped = 0
    wanted = expected(plan, cycles, array_convolution)
    for (cycle, outputs), (due, links) in zip(simulated(plan, cycles), wanted, strict=True):
        assert cycle == due
        for link, value in links.items():
            bits = plan.outputs[link].bits
            assert (outputs[link] - value) % (1 << bits) == 0
            fits = -(1 << bits - 1) <= value < 1 << bits - 1
            assert outputs[link] == value or not fits
            fitting, wrapped = fitting + fits, wrapped + (not fits)
    assert min(fitting, wrapped) > 100
    assert {term.bits for term in plan.outputs} == {12}


def test_after_a_reset_nothing_comes_out_and_the_next_sum_is_right() -> None:
    plan = WinogradArrayPlan(UINT8, 4, channels=4)
    before = [replace(tile, last=False) for tile in sums(plan, plan.kernels[:3], seed=7) if tile]
    lost = sums(plan, plan.kernels[3:5], seed=8)
    after = sums(plan, plan.kernels[::-1], seed=9)
    cycles: list[Cycle] = [*before, *lost, None, *after]
    reset_at = len(before) + len(lost)
    found = simulated(plan, cycles, reset_at)
    wanted = [entry for entry in expected(plan, cycles, array_convolution) if entry[0] > reset_at + plan.latency]
    assert len(wanted) == len(plan.kernels)
    assert [cycle for cycle, _ in found] == [cycle for cycle, _ in wanted]
    for (_, outputs), (_, links) in zip(found, wanted, strict=True):
        assert {link: outputs[link] for link in links} == links


# What the plan says


def test_latency_and_rate() -> None:
    """Per axis a register each for operands and sums; 2 of the multiplier; 1 of the sums over channels."""
    latency = {
        (pipeline, channels, dimensions): WinogradArrayPlan(
            UINT8, 8, channels, dimensions=dimensions, pipeline=pipeline
        ).latency
        for pipeline in ("none", "axis", "adder") for channels in (1, 9) for dimensions in ((1,), (1, 2), (1, 2, 3))
    }  # fmt: skip
    steps = {"none": 0, "axis": 2, "adder": 4}
    for (pipeline, channels, dimensions), cycles in latency.items():
        assert cycles == steps[pipeline] * len(dimensions) + 2 + (channels > 1)


@pytest.mark.parametrize("number_format", [INT8, UINT8], ids=str)
@pytest.mark.parametrize("dimensions", [(1,), (2, 3), (1, 2, 3)], ids=str)
def test_every_output_is_as_wide_as_the_widest_of_its_kernels(number_format: NumberFormat, dimensions: Axes) -> None:
    plan = WinogradArrayPlan(number_format, 8, channels=5, dimensions=dimensions)
    corners = [a * w for a in (number_format.minimum, number_format.maximum) for w in (-128, 127)]
    for link, term in enumerate(plan.outputs):
        terms = 5 * max(prod(kernel) for kernel in plan.kernels if link in plan.links(kernel))
        assert (term.low, term.high) == (min(corners) * terms, max(corners) * terms)
        assert term.bits == signed_bits_for(term.low, term.high)


def test_all_dimensions_take_the_adders_of_three() -> None:
    """Selectors alone are added: words that pass an axis by take no adder, and none is wider."""
    one, two, three, all_of_them = (
        WinogradArrayPlan(UINT8, dimensions=dimensions).counted for dimensions in ((1,), (2,), (3,), (1, 2, 3))
    )
    assert [counted.adders for counted in (one, two, three)] == [11 * 16, 81 * 4, 451]
    assert (all_of_them.adders, all_of_them.adder_bits) == (three.adders, three.adder_bits)
    assert (three.selectors, all_of_them.selectors) == (74, 243)


def test_multiply_accumulates_per_multiplier_and_cycle() -> None:
    plan = WinogradArrayPlan(UINT8)
    found = {sum(size > 1 for size in kernel): plan.multiply_accumulates(kernel) for kernel in plan.kernels}
    assert found == {1: 1.5, 2: 2.25, 3: 3.375}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_format": NumberFormat(17, True)}, "input_format must have up to 16 bits, not int17"),
        ({"weight_bits": 1}, "weight_bits must be from 2 to 16, not 1"),
        ({"weight_bits": 17}, "weight_bits must be from 2 to 16, not 17"),
        ({"channels": 0}, "channels must be from 1 to 65536, not 0"),
        ({"output_bits": 1}, "output_bits must be from 2 to 64, not 1"),
        ({"output_bits": 65}, "output_bits must be from 2 to 64, not 65"),
        ({"dimensions": (2, 1)}, "dimensions must be 1, 2 and 3 or some of them, ascending, not (2, 1)"),
        ({"pipeline": "all"}, "pipeline must be one of none, axis, adder, not 'all'"),
    ],
)
def test_refusals_name_what_is_wrong(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(CrosstileError) as error:
        WinogradArrayPlan(**{"input_format": UINT8, **settings})
    assert str(error.value) == message
