# amaranth: UnusedElaboratable=no
"""The transforms as gates equal the golden ones, switched in every cycle; and they hold what their plans say."""

import itertools
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
from crosstile.winograd_network import SWITCHED, Term, bits_for
from crosstile.winograd_transform import tile_layout, transform_of
from crosstile.winograd_transform_plan import ActivationTransformPlan, PartialSumTransformPlan, WeightTransformPlan
from crosstile_cli.synthesis import synthesize
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes
from crosstile_golden.numbers import Integers, NumberFormat
from crosstile_golden.winograd import transform_activations, transform_partial_sums, transform_weights

from .bench import clocked
from .linear_netlist import fits, netlist_of

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
            if plan.switched_axes and cycle + 1 < len(tiles):
                bits = [kernels[cycle + 1][axis] == 2 for axis in plan.switched_axes]
                context.set(dut.size_two, sum(bit << index for index, bit in enumerate(bits)))
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
        results = transform_partial_sums(whole, kernel)
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


UNIFORM = [(size,) * axes for axes in (1, 2, 3) for size in (3, 2, SWITCHED)]
MIXED = [*UNIFORM, (3, 2), (SWITCHED, 3), (2, SWITCHED), (2, 3, SWITCHED)]


@pytest.mark.parametrize("kernel", MIXED, ids=str)
def test_weight_transform_equals_golden(kernel: Axes) -> None:
    check(WeightTransformPlan(kernel))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("number_format", [INT8, UINT8], ids=str)
def test_activation_transform_equals_golden(dimensions: int, number_format: NumberFormat) -> None:
    check(ActivationTransformPlan(dimensions, number_format))


@pytest.mark.parametrize("kernel", MIXED, ids=str)
def test_partial_sum_transform_equals_golden(kernel: Axes) -> None:
    check(PartialSumTransformPlan.of_bits(kernel, 21))


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_pipeline_equals_golden(pipeline: str) -> None:
    kernel = (SWITCHED, 2)
    plans = [
        WeightTransformPlan(kernel, pipeline=pipeline),
        ActivationTransformPlan(2, INT8, pipeline),
        PartialSumTransformPlan.of_bits(kernel, 18, pipeline=pipeline),
    ]
    for plan in plans:
        check(plan)
    cycles = {"none": (0, 0, 0), "axis": (2, 2, 2), "adder": (3, 2, 4)}
    assert tuple(plan.latency for plan in plans) == cycles[pipeline]
    depth = {"none": (3, 2, 4), "axis": (2, 1, 2), "adder": (1, 1, 1)}
    assert tuple(plan.levels_per_cycle for plan in plans) == depth[pipeline]


def test_known_results_come_out_whole_though_sums_inside_wrap() -> None:
    """Results of 10 bits from sums of 12: every one that fits is right, every other is right modulo 2^10."""
    plan = PartialSumTransformPlan.of_bits((3, SWITCHED), 12, output_bits=10)
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
    "weights, symmetric, 5 bits": WeightTransformPlan((3, SWITCHED), 5, symmetric=True),
    **{f"activations {axes}D": ActivationTransformPlan(axes, UINT8) for axes in (1, 2, 3)},
    **{f"partial sums {kernel}": PartialSumTransformPlan.of_bits(kernel, 20) for kernel in MIXED},
    "weights, all adders registered": WeightTransformPlan((SWITCHED, 2), pipeline="adder"),
    "activations, no registers": ActivationTransformPlan(2, INT8, "none"),
    "partial sums, all adders registered": PartialSumTransformPlan.of_bits((SWITCHED, 3), 20, pipeline="adder"),
    "partial sums of unlike ranges": PartialSumTransformPlan((SWITCHED,), ((-5, 9), (-100, 0), (0, 7), (-1, 1))),
}


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

    return max(map(depth, module["cells"]))


@pytest.mark.parametrize("name", PLANS)
def test_the_netlist_holds_the_adders_selectors_and_registers_of_the_plan_and_nothing_else(name: str) -> None:
    """On Yosys's cells before technology mapping: above all, nothing multiplies."""
    plan = PLANS[name]
    module = netlist_of(emit(transform_of(plan), "dut"), "dut", "opt")
    cells = Counter(cell["type"] for cell in module["cells"].values())
    assert set(cells) <= {"$add", "$sub", "$mux", "$dff"}
    assert cells["$add"] + cells["$sub"] == plan.adders
    assert cells["$mux"] == plan.selectors
    switches = {"none": 1, "axis": 2, "adder": 3}
    registers = [len(c["connections"]["Q"]) for c in module["cells"].values() if c["type"] == "$dff"]
    control = sum(bits == 1 for bits in registers)
    assert sum(registers) - control == plan.data_register_bits
    assert control <= switches[plan.pipeline] * len(plan.sizes) * 2
    assert bool(control) == bool(plan.switched_axes)
    assert (depth_of(module, False), depth_of(module, True)) == (plan.levels, plan.levels_per_cycle)


class Trio(wiring.Component):
    """One block of each role, side by side."""

    def __init__(self) -> None:
        names = ("weights (0, 0)", "activations 2D", "partial sums (0, 0)")
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
    kinds = {"ecp5": {"LUT4", "CCU2C", "TRELLIS_FF"}, "xilinx": {"CARRY4", "FDRE", *(f"LUT{n}" for n in range(1, 7))}}
    assert set(result.cell_counts) <= kinds[target]
    plans = [part.plan for part in trio.parts.values()]
    assert result.cells < sum(plan.adder_bits + plan.selector_bits for plan in plans) * 1.1
    assert result.ffs <= sum(plan.data_register_bits for plan in plans) + 8


# Adders, selectors, levels: 1D, 2D, 3D
COUNTS = {
    "weights of 3": ([3, 21, 111], [0, 0, 0], [2, 4, 6], [4, 48, 448]),
    "weights of 2": ([2, 12, 56], [0, 0, 0], [1, 2, 3], [2, 20, 152]),
    "weights switched": ([3, 21, 111], [1, 7, 37], [2, 4, 6], [6, 132, 2232]),
    "activations": ([4, 32, 192], [0, 0, 0], [1, 2, 3], [4, 48, 448]),
    "partial sums of 3": ([4, 24, 112], [0, 0, 0], [2, 4, 6], [4, 32, 208]),
    "partial sums of 2": ([4, 28, 148], [0, 0, 0], [2, 4, 6], [5, 55, 485]),
    "partial sums switched": ([4, 28, 148], [1, 7, 37], [2, 4, 6], [9, 171, 2619]),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_those_of_the_documentation(name: str) -> None:
    role, size = name.split()[0], {"3": 3, "2": 2, "switched": SWITCHED}.get(name.split()[-1], 3)
    plans: list[NestedPlan] = []
    for axes in (1, 2, 3):
        kernel = (size,) * axes
        plans.append(
            WeightTransformPlan(kernel) if role == "weights"
            else ActivationTransformPlan(axes, INT8) if role == "activations"
            else PartialSumTransformPlan.of_bits(kernel, 20)
        )  # fmt: skip
    figures = ("adders", "selectors", "levels", "textbook_adders")
    assert tuple([getattr(plan, figure) for plan in plans] for figure in figures) == COUNTS[name]


def test_unlike_axes_are_taken_in_the_cheapest_order() -> None:
    """Whatever the order of the axes, the adders are those of the best."""
    for kernel in itertools.permutations((3, 2, SWITCHED)):
        weights, sums = WeightTransformPlan(kernel), PartialSumTransformPlan.of_bits(kernel, 20)
        assert (weights.adders, weights.selectors) == (3 * 6 + 3 * 8 + 2 * 16, 6)
        assert (sums.adders, sums.selectors) == (4 * 16 + 4 * 8 + 4 * 6, 6)


# Refusals


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WeightTransformPlan((3, 4)),
         "a transform's kernel must have 1 to 3 axes, each 3, 2 or 0 (switched), not (3, 4)"),
        (lambda: WeightTransformPlan((3,) * 4),
         "a transform's kernel must have 1 to 3 axes, each 3, 2 or 0 (switched), not (3, 3, 3, 3)"),
        (lambda: WeightTransformPlan(()),
         "a transform's kernel must have 1 to 3 axes, each 3, 2 or 0 (switched), not ()"),
        (lambda: WeightTransformPlan((3,), 1), "weight_bits must be from 2 to 32, not 1"),
        (lambda: WeightTransformPlan((3,), 33), "weight_bits must be from 2 to 32, not 33"),
        (lambda: WeightTransformPlan((3,), pipeline="axes"), "pipeline must be one of none, axis, adder, not 'axes'"),
        (lambda: ActivationTransformPlan(4, INT8), "dimensions must be 1, 2 or 3, not 4"),
        (lambda: PartialSumTransformPlan.of_bits((3,), 65), "sum_bits must be from 2 to 64, not 65"),
        (lambda: PartialSumTransformPlan.of_bits((3,), 20, 65), "output_bits must be from 2 to 64, not 65"),
        (lambda: PartialSumTransformPlan.of_bits((3,), 63),
         "a transform's outputs may have 64 bits, not 65; give it narrower inputs"),
        (lambda: PartialSumTransformPlan((3,), ((-1, 1),) * 3), "sum_ranges must have 4 entries, not 3"),
        (lambda: PartialSumTransformPlan((3,), ((-1, 1), (2, 3), (-1, 1), (-1, 1))),
         "every one of sum_ranges must hold 0 and more, not (2, 3)"),
    ],
)  # fmt: skip
def test_refusals_name_what_is_wrong(make: Any, message: str) -> None:
    with pytest.raises(CrosstileError) as error:
        make()
    assert str(error.value) == message
