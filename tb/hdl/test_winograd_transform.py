# amaranth: UnusedElaboratable=no
"""The transforms as gates equal the golden ones, switched in every cycle; and they hold what their plans say."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from crosstile.verilog import emit
from crosstile.winograd_nested_plan import PIPELINES, NestedPlan
from crosstile.winograd_network import Kernel, Term, bits_for
from crosstile.winograd_transform import tile_layout, transform_of
from crosstile.winograd_transform_plan import ActivationTransformPlan, PartialSumTransformPlan, WeightTransformPlan
from crosstile_cli.synthesis import synthesize
from crosstile_golden.geometry import Axes
from crosstile_golden.numbers import Integers, NumberFormat
from crosstile_golden.winograd import convolve_tiles, transform_activations, transform_partial_sums, transform_weights

from .bench import clocked
from .linear_netlist import fits, netlist_of
from .winograd_kernels import ACTIVATIONS, FEW, MIXED

INT8, UINT8 = NumberFormat(8, True), NumberFormat(8, False)


def packed(terms: Sequence[Term], values: Sequence[int]) -> int:
    fields = [layout_field for _, layout_field in tile_layout(terms)]
    pairs = zip(fields, values, strict=True)
    return sum((value & (1 << field.width) - 1) << field.offset for field, value in pairs)


def unpacked(terms: Sequence[Term], word: int) -> list[int]:
    layout, values = tile_layout(terms), []
    for index, term in enumerate(terms):
        value = word >> layout[index].offset & (1 << term.bits) - 1
        values.append(value - (1 << term.bits) if term.low < 0 and value >> term.bits - 1 else value)
    return values


def simulated(plan: NestedPlan, tiles: Integers, kernels: Sequence[Axes]) -> list[list[int]]:
    """Return the outputs of tiles (tile, input), one per cycle, each with the sizes of its kernel."""
    dut: Any = transform_of(plan)
    found: list[list[int]] = []

    async def process(context: Any) -> None:
        for cycle in range(-1, len(tiles) + plan.latency):
            if plan.switched and cycle + 1 < len(tiles):
                context.set(dut.switch_word, plan.switch_word(kernels[cycle + 1]))
            if 0 <= cycle < len(tiles):
                context.set(dut.inputs.as_value(), packed(plan.inputs(), tiles[cycle].tolist()))
            if cycle >= plan.latency:
                found.append(unpacked(plan.outputs, context.get(dut.outputs.as_value())))
            await context.tick()

    m = Module()
    m.domains.sync = ClockDomain("sync")
    m.submodules.dut = dut
    clocked(m, process)
    return found


def golden(plan: NestedPlan, tile: Integers, kernel: Axes) -> dict[int, int]:
    """Return the outputs that are valid, from the golden transform."""
    whole = tile.reshape(plan.input_shape)
    if isinstance(plan, WeightTransformPlan):
        results = transform_weights(whole[tuple(map(slice, kernel))], kernel)
    elif isinstance(plan, ActivationTransformPlan):
        results = transform_activations(whole, kernel)
    else:
        alone = zip(kernel, plan.kernel, strict=True)
        results = transform_partial_sums(whole, kernel) << sum(size == 1 and sizes != (1,) for size, sizes in alone)
    links = plan.links(kernel) if isinstance(plan, PartialSumTransformPlan) else range(results.size)
    return dict(zip(links, results.ravel().tolist(), strict=True))


def only_taps(plan: NestedPlan, tile: Integers, kernel: Axes) -> Integers:
    """Return a tile of weights with zeros where this kernel has no taps; any other as it is."""
    if not isinstance(plan, WeightTransformPlan):
        return tile
    mask = np.zeros(plan.input_shape, np.int64)
    mask[tuple(map(slice, kernel))] = 1
    return tile * mask.ravel()


def extreme_tiles(plan: NestedPlan, kernel: Axes) -> list[Integers]:
    """Return for every output the inputs that bring it to its least and to its greatest value."""
    low, high = np.array(plan.input_ranges).T
    rows = np.zeros((len(plan.outputs), len(low)), np.int64)
    for index in range(len(low)):
        unit = only_taps(plan, np.eye(len(low), dtype=np.int64)[index], kernel)
        for link, value in golden(plan, unit, kernel).items():
            rows[link, index] = value
    return [np.where(sign * row > 0, high, np.where(row == 0, 0, low)) for row in rows for sign in (1, -1)]


def stimulus(plan: NestedPlan, count: int = 24) -> tuple[Integers, list[Axes]]:
    """Return tiles at random, and the extreme ones of some kernels, with kernels that change all the time."""
    generator = np.random.default_rng(3)
    low, high = np.array(plan.input_ranges).T
    tiles = [generator.integers(low, high + 1) for _ in range(count)]
    tiles += [np.where(generator.random(len(low)) < 0.5, low, high) for _ in range(count)]
    kernels = [plan.kernels[index] for index in generator.integers(0, len(plan.kernels), len(tiles))]
    for kernel in plan.kernels:
        extremes = extreme_tiles(plan, kernel)[:: max(1, len(plan.outputs) // 8)]
        tiles, kernels = [*tiles, *extremes], [*kernels, *[kernel] * len(extremes)]
    order = generator.permutation(len(tiles))
    masked = [only_taps(plan, tiles[index], kernels[index]) for index in order]
    return np.array(masked), [kernels[index] for index in order]


def check(plan: NestedPlan) -> None:
    tiles, kernels = stimulus(plan)
    found = simulated(plan, tiles, kernels)
    assert len(found) == len(tiles)
    for tile, kernel, outputs in zip(tiles, kernels, found, strict=True):
        expected = golden(plan, tile, kernel)
        assert {link: outputs[link] for link in expected} == expected




@pytest.mark.parametrize("kernel", FEW, ids=str)
def test_weight_transform_equals_golden(kernel: Kernel) -> None:
    check(WeightTransformPlan(kernel))


@pytest.mark.parametrize("kernel", FEW, ids=str)
def test_activation_transform_equals_golden(kernel: Kernel) -> None:
    check(ActivationTransformPlan(kernel, INT8 if len(kernel) == 2 else UINT8))


@pytest.mark.parametrize("kernel", FEW, ids=str)
def test_partial_sum_transform_equals_golden(kernel: Kernel) -> None:
    check(PartialSumTransformPlan.of_bits(kernel, 21))


@pytest.mark.parametrize("kernel", [((2, 1), (3, 2, 1)), ((3,), (3, 1))], ids=str)
def test_one_switch_word_serves_all_three(kernel: Kernel) -> None:
    """Side by side as in an engine: the same word, and every size of an axis at the same scale."""
    weights, activations = WeightTransformPlan(kernel, 4), ActivationTransformPlan(kernel, NumberFormat(4, True))
    sums = PartialSumTransformPlan.of_bits(kernel, 16)
    assert weights.switch_bits == activations.switch_bits == sums.switch_bits
    assert weights.kernels == activations.kernels == sums.kernels
    generator = np.random.default_rng(5)
    for own in weights.kernels:
        assert weights.switch_word(own) == activations.switch_word(own) == sums.switch_word(own)
        x, g = generator.integers(-8, 8, (1, 1, 4, 4)), generator.integers(-8, 8, (1, 1, *own))
        taps = np.zeros(weights.input_shape, np.int64)
        taps[tuple(map(slice, own))] = g[0, 0]
        pair = (simulated(weights, taps.reshape(1, -1), [own]), simulated(activations, x.reshape(1, -1), [own]))
        (found,) = simulated(sums, np.prod(pair, axis=0), [own])
        direct = convolve_tiles(x, g)[0, 0]
        assert [found[link] for link in sums.links(own)] == (direct << sums.scale_bits).ravel().tolist()


def roles(kernel: Kernel, pipeline: str) -> list[NestedPlan]:
    return [
        WeightTransformPlan(kernel, pipeline=pipeline),
        ActivationTransformPlan(kernel, INT8, pipeline),
        PartialSumTransformPlan.of_bits(kernel, 18, pipeline=pipeline),
    ]


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_pipeline_equals_golden(pipeline: str) -> None:
    plans = roles(((3, 2), (2,)), pipeline)
    for plan in plans:
        check(plan)
    cycles = {"none": (0, 0, 0), "axis": (2, 2, 2), "adder": (3, 2, 4)}
    assert tuple(plan.latency for plan in plans) == cycles[pipeline]
    depth = {"none": (3, 2, 4), "axis": (2, 1, 2), "adder": (1, 1, 1)}
    assert tuple(plan.levels_per_cycle for plan in plans) == depth[pipeline]


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_an_axis_of_wires_has_no_register_and_size_1_beside_others_no_adder_more(pipeline: str) -> None:
    alone, fewer, more = roles(((1,), (1,)), pipeline), roles(((3,), (1,)), pipeline), roles(((3, 1), (1,)), pipeline)
    for plan in (*fewer, *more):
        check(plan)
    assert [plan.latency for plan in alone] == [0, 0, 0]
    cycles = {"none": [0, 0, 0], "axis": [1, 1, 1], "adder": [2, 1, 2]}
    assert [plan.latency for plan in fewer] == [plan.latency for plan in more] == cycles[pipeline]
    assert [plan.adders for plan in fewer] == [plan.adders for plan in more] == [3, 16, 16]


def test_known_results_come_out_whole_though_sums_inside_wrap() -> None:
    """Results of 10 bits from sums of 12: every one that fits is right, every other is right modulo 2^10."""
    plan = PartialSumTransformPlan.of_bits(((3,), (3, 2, 1)), 12, output_bits=10)
    tiles, kernels = stimulus(plan)
    tiles[::2] //= 40
    fitting = 0
    for tile, kernel, outputs in zip(tiles, kernels, simulated(plan, tiles, kernels), strict=True):
        for link, value in golden(plan, tile, kernel).items():
            assert (outputs[link] - value) % (1 << 10) == 0
            fitting += outputs[link] == value
    assert fitting > 50


# What the plan says


PLANS = {
    **{f"weights {kernel}": WeightTransformPlan(kernel) for kernel in MIXED},
    "weights, symmetric, 5 bits": WeightTransformPlan(((3,), (3, 2)), 5, symmetric=True),
    **{f"activations {kernel}": ActivationTransformPlan(kernel, UINT8) for kernel in ACTIVATIONS},
    **{f"partial sums {kernel}": PartialSumTransformPlan.of_bits(kernel, 20) for kernel in MIXED},
    "weights, all adders registered": WeightTransformPlan(((3, 2, 1), (2,)), pipeline="adder"),
    "activations, no registers": ActivationTransformPlan(((3,), (2, 1)), INT8, "none"),
    "partial sums, all adders registered": PartialSumTransformPlan.of_bits(((3, 2), (3, 1)), 20, pipeline="adder"),
    "partial sums, with 2 and 1, all registered": PartialSumTransformPlan.of_bits(((2, 1),), 20, pipeline="adder"),
    "partial sums of unlike ranges": PartialSumTransformPlan(((3, 2),), ((-5, 9), (-100, 0), (0, 7), (-1, 1))),
    "partial sums, with 1, of unlike ranges":
        PartialSumTransformPlan(((3, 2, 1),), ((-5, 9), (-100, 0), (0, 7), (-1, 1))),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_every_output_reaches_both_ends_of_its_range_and_needs_its_width(name: str) -> None:
    plan = PLANS[name]
    low, high = [2**62] * len(plan.outputs), [-(2**62)] * len(plan.outputs)
    for kernel in plan.kernels:
        for tile in extreme_tiles(plan, kernel):
            for link, value in golden(plan, only_taps(plan, tile, kernel), kernel).items():
                low[link], high[link] = min(low[link], value), max(high[link], value)
    assert [(term.low, term.high) for term in plan.outputs] == list(zip(low, high, strict=True))
    for term in plan.outputs:
        assert bits_for(term.low, term.high) == term.bits
        sign = term.low < 0
        assert not fits(term.low, term.high, term.bits - 1, sign), "one bit fewer would do"


def depth_of(module: dict[str, Any], registers: bool) -> int:
    """Return the adders on the longest path of a netlist, from register to register or from port to port."""
    drivers = {
        bit: name for name, cell in module["cells"].items()
        for bit in cell["connections"].get("Y") or cell["connections"]["Q"]
    }  # fmt: skip
    known: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in known:
            cell = module["cells"][name]
            pins = {drivers[bit] for pin in "ABD" for bit in cell["connections"].get(pin, []) if bit in drivers}
            above = 0 if registers and cell["type"] == "$dff" else max(map(depth, pins), default=0)
            known[name] = above + (cell["type"] in ("$add", "$sub"))
        return known[name]

    return max(map(depth, module["cells"]), default=0)


@pytest.mark.parametrize("name", PLANS)
def test_the_netlist_holds_the_adders_selectors_and_registers_of_the_plan_and_nothing_else(name: str) -> None:
    """On Yosys's cells before technology mapping: above all, nothing multiplies.

    Without `-nosdff` a selector of zeros before a register becomes that register's reset.
    """
    plan = PLANS[name]
    module = netlist_of(emit(transform_of(plan), "dut"), "dut", "opt -nosdff")
    cells = Counter(cell["type"] for cell in module["cells"].values())
    assert set(cells) <= {"$add", "$sub", "$mux", "$dff"}
    assert cells["$add"] + cells["$sub"] == plan.adders
    assert cells["$mux"] == plan.selectors
    switches = {"none": 1, "axis": 2, "adder": 3}
    registers = [len(c["connections"]["Q"]) for c in module["cells"].values() if c["type"] == "$dff"]
    control = sum(bits == 1 for bits in registers)
    assert sum(registers) - control == plan.data_register_bits
    assert control <= switches[plan.pipeline] * len(plan.kernel) * sum(plan.switch_bits)
    assert bool(control) == ("switch_word" in module["ports"]) == plan.switched
    assert (depth_of(module, False), depth_of(module, True)) == (plan.levels, plan.levels_per_cycle)


class Trio(wiring.Component):
    """One block of each role, side by side."""

    def __init__(self) -> None:
        names = [f"{role} {((3, 2, 1),) * 2}" for role in ("weights", "activations", "partial sums")]
        self.parts = {f"part_{index}": transform_of(PLANS[name]) for index, name in enumerate(names)}
        super().__init__({name: Out(part.signature) for name, part in self.parts.items()})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        for name, part in self.parts.items():
            m.submodules[name] = part
            wiring.connect(m, part, wiring.flipped(getattr(self, name)))
        return m


@pytest.mark.parametrize("target", ["ecp5", "xilinx"])
def test_mapped_to_a_device_there_is_no_multiplier_either(target: str, tmp_path: Path) -> None:
    verilog, trio = tmp_path / "dut.v", Trio()
    verilog.write_text(emit(trio, "dut"))
    result = synthesize(verilog, "dut", target, tmp_path)
    assert (result.dsps, result.brams, result.lutrams, result.other) == (0, 0, 0, {})
    luts = {f"LUT{inputs}" for inputs in range(1, 7)}
    kinds = {"ecp5": {"LUT4", "PFUMX", "CCU2C", "TRELLIS_FF"}, "xilinx": {"CARRY4", "FDRE", *luts}}
    assert set(result.cell_counts) <= kinds[target]
    plans = [part.plan for part in trio.parts.values()]
    assert result.cells < sum(plan.adder_bits + plan.selector_bits for plan in plans) * 1.1
    assert result.ffs <= sum(plan.data_register_bits for plan in plans) + 6 * len(plans)
