# amaranth: UnusedElaboratable=no
"""Every Winograd transform equals its matrix for all inputs, by proof; and what is broken is not proved."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from crosstile.verilog import emit
from crosstile.winograd_nested_plan import PIPELINES, NestedPlan
from crosstile.winograd_network import Kernel, Term
from crosstile.winograd_transform import tile_layout, transform_of
from crosstile.winograd_transform_plan import ActivationTransformPlan, PartialSumTransformPlan, WeightTransformPlan
from crosstile_golden.geometry import Axes
from crosstile_golden.numbers import NumberFormat, signed_bits_for
from crosstile_golden.winograd import TileRanges

from .linear_netlist import Lane, LinearNetlist, NotProvedError, fits, netlist_of, with_cell
from .winograd_kernels import ACTIVATIONS, MIXED, UNIFORM

INT8, UINT8 = NumberFormat(8, True), NumberFormat(8, False)


def lanes(terms: Sequence[Term]) -> list[Lane]:
    layout = tile_layout(terms)
    return [Lane(layout[index].offset, term.bits, term.low, term.high) for index, term in enumerate(terms)]


def unused(plan: NestedPlan, kernel: Axes) -> set[int]:
    """Return the taps that a kernel of these sizes does not have: they must be 0."""
    if not isinstance(plan, WeightTransformPlan):
        return set()
    taps = itertools.product(*map(range, plan.input_shape))
    return {
        index for index, tap in enumerate(taps) if any(place >= size for place, size in zip(tap, kernel, strict=True))
    }


def expected_rows(plan: NestedPlan, kernel: Axes) -> dict[int, dict[int, int]]:
    """Return, for every output that is valid, the factor of each input: from the golden matrices."""
    zeros = unused(plan, kernel)
    inputs = [index for index in range(len(plan.input_ranges)) if index not in zeros]
    matrix = plan.matrix(kernel)
    links = plan.links(kernel) if isinstance(plan, PartialSumTransformPlan) else range(len(matrix))
    return {
        link: {inputs[index]: int(factor) for index, factor in enumerate(row) if factor}
        for link, row in zip(links, matrix.tolist(), strict=True)
    }


def prove(plan: NestedPlan, module: dict[str, Any]) -> int:
    """Prove every output for every setting of the switches; return how many proofs that was."""
    proofs = 0
    for kernel in plan.kernels:
        zeros = unused(plan, kernel)
        inputs = [
            Lane(lane.offset, lane.bits, 0, 0) if index in zeros else lane
            for index, lane in enumerate(lanes(plan.inputs()))
        ]
        word = plan.switch_word(kernel)
        switches = [word >> bit & 1 for bit in range(sum(plan.switch_bits))]
        netlist = LinearNetlist(module, inputs, switches, plan.latency + 1)
        outputs = lanes(plan.outputs)
        for link, row in expected_rows(plan, kernel).items():
            form, right = netlist.output(outputs[link])
            if form != {(position, plan.latency): factor for position, factor in row.items()}:
                raise NotProvedError(f"output {link} of kernel {kernel} is {form}, not {row}")
            lane = outputs[link]
            if right < lane.bits:
                raise NotProvedError(f"output {link} of kernel {kernel} is right in {right} of its {lane.bits} bits")
            if plan.output_bits is None and not fits(*netlist.bounds(form), lane.bits, lane.low < 0):
                raise NotProvedError(f"output {link} of kernel {kernel} does not fit its {lane.bits} bits")
            proofs += 1
    return proofs


def proved(plan: NestedPlan) -> int:
    return prove(plan, netlist_of(emit(transform_of(plan), "dut"), "dut"))


SWITCHED = (3, 2)


@pytest.mark.parametrize("kernel", MIXED, ids=str)
def test_weight_transform_is_its_matrix(kernel: Kernel) -> None:
    plan = WeightTransformPlan(kernel)
    assert proved(plan) == 4 ** len(kernel) * len(plan.kernels)


@pytest.mark.parametrize("kernel", UNIFORM, ids=str)
@pytest.mark.parametrize("bits", [2, 8])
def test_weight_transform_of_symmetric_weights_is_its_matrix(kernel: Kernel, bits: int) -> None:
    proved(WeightTransformPlan(kernel, bits, symmetric=True))


@pytest.mark.parametrize("kernel", ACTIVATIONS, ids=str)
def test_activation_transform_is_its_matrix(kernel: Kernel) -> None:
    plan = ActivationTransformPlan(kernel, UINT8)
    assert proved(plan) == 4 ** len(kernel) * len(plan.kernels)


@pytest.mark.parametrize("number_format", [INT8, NumberFormat(16, True), NumberFormat(1, False)], ids=str)
@pytest.mark.parametrize("kernel", [((3,), (2,)), ((2, 1), (3,))], ids=str)
def test_activation_transform_of_any_format_is_its_matrix(kernel: Kernel, number_format: NumberFormat) -> None:
    proved(ActivationTransformPlan(kernel, number_format))


def sums_of(kernel: Kernel, channels: int = 16) -> tuple[tuple[int, int], ...]:
    """Return the ranges of the partial sums of 8-bit activations and weights: the worst of all sizes."""
    bounds = [TileRanges(choice, UINT8, -128, 127, channels).partial_sums for choice in itertools.product(*kernel)]
    lows = [min(ends) for ends in zip(*(low.ravel().tolist() for low, _ in bounds), strict=True)]
    highs = [max(ends) for ends in zip(*(high.ravel().tolist() for _, high in bounds), strict=True)]
    return tuple(zip(lows, highs, strict=True))


@pytest.mark.parametrize("kernel", MIXED, ids=str)
def test_partial_sum_transform_is_its_matrix(kernel: Kernel) -> None:
    proved(PartialSumTransformPlan(kernel, sums_of(kernel)))


@pytest.mark.parametrize("kernel", UNIFORM, ids=str)
def test_partial_sum_transform_of_known_results_is_its_matrix_modulo(kernel: Kernel) -> None:
    """Every wrap inside is harmless: all bits of every output follow the matrix."""
    wide = PartialSumTransformPlan(kernel, sums_of(kernel))
    results = [TileRanges(choice, UINT8, -128, 127, 16).result for choice in wide.kernels]
    bits = max(signed_bits_for(*ends) for ends in results)
    plan = replace(wide, output_bits=bits)
    assert max(term.bits for term in plan.outputs) == bits
    assert plan.adder_bits < wide.adder_bits or not plan.adders
    proved(plan)


@pytest.mark.parametrize("kernel", [((3, 1),) * 3, ((2, 1), (3, 2, 1))], ids=str)
def test_partial_sum_transform_of_the_fewest_bits_is_its_matrix_modulo(kernel: Kernel) -> None:
    """One bit more than what is always 0."""
    proved(PartialSumTransformPlan.of_bits(kernel, 5, len(kernel) + 1))


@pytest.mark.parametrize("pipeline", [pipeline for pipeline in PIPELINES if pipeline != "axis"])
@pytest.mark.parametrize("kernel", [(SWITCHED,), ((2,), SWITCHED, (3,)), ((3, 1), (2, 1)), ((1,), (3, 2, 1))], ids=str)
def test_every_pipeline_is_proved_cycle_by_cycle(kernel: Kernel, pipeline: str) -> None:
    """Outputs depend on one tile alone, and on the switches of the cycle before it."""
    for plan in (
        WeightTransformPlan(kernel, 8, False, pipeline),
        ActivationTransformPlan(kernel, INT8, pipeline),
        PartialSumTransformPlan.of_bits(kernel, 20, None, pipeline),
    ):
        proved(plan)


# What is broken

BREAKABLE = {
    "weights": WeightTransformPlan((SWITCHED, (3,))),
    "weights, with 1": WeightTransformPlan(((2, 1), (3, 2, 1))),
    "weights, all adders registered": WeightTransformPlan(((2,), SWITCHED), pipeline="adder"),
    "activations": ActivationTransformPlan(((3,), (3,)), UINT8),
    "activations, with 1": ActivationTransformPlan(((3, 1), (3,)), UINT8),
    "partial sums": PartialSumTransformPlan(((3,), SWITCHED), sums_of(((3,), SWITCHED))),
    "partial sums, with 1": PartialSumTransformPlan.of_bits(((2, 1), (3, 1)), 6),
    "partial sums, all adders registered": PartialSumTransformPlan.of_bits((SWITCHED,), 20, None, "adder"),
    "partial sums, with 1, all registered": PartialSumTransformPlan.of_bits(((3, 2, 1),), 20, None, "adder"),
    "partial sums of known results": PartialSumTransformPlan.of_bits((SWITCHED, (2,)), 20, 21),
    "partial sums of known results, with 1": PartialSumTransformPlan.of_bits(((3, 2, 1), (3,)), 8, 9),
}
KINDS = {"sign": {"$add", "$sub"}, "exchange": {"$mux"}, "narrower": {"$add", "$sub", "$mux", "$dff"}}


@pytest.mark.parametrize("change", KINDS)
@pytest.mark.parametrize("name", BREAKABLE)
def test_no_cell_can_be_broken_or_be_narrower(name: str, change: str) -> None:
    """Cell by cell: a sign turned, a selector's inputs exchanged, any word one bit narrower.

    Amaranth writes an adder as wide as its operands ask for and then leaves out the top; `wreduce` takes that away,
    as every synthesis does.
    """
    plan = BREAKABLE[name]
    module = netlist_of(emit(transform_of(plan), "dut"), "dut", "wreduce", "opt_clean", "wreduce")
    prove(plan, module)
    for cell, content in module["cells"].items():
        bits = len(content["connections"].get("Y") or content["connections"]["Q"])
        if content["type"] in KINDS[change] and bits > 1:
            with pytest.raises(NotProvedError):
                prove(plan, with_cell(module, cell, change))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("axis_0_size_2_1 <= axis_0_size_2_0", "axis_0_size_2_1 <= switch_word", "a switch is 2 cycles old, not 3"),
        ("? register_4 : register_5", "? register_4 : register_6", "output 2 of kernel"),
        ("{ add_twice_7, register_4[0] }", "{ add_twice_7, register_6[0] }", "output 0 of kernel"),
        ("{ add_twice_7, register_4[0] }", "{ add_twice_7, 1'h1 }", "nothing drives bit 1"),
        ("register_4[12:1]", "register_4[12:2]", "are not a word"),
        ("register_4 <= add_1", "register_4 <= add_1 * 2'd3", "is a $mul, not an adder, a selector or a register"),
        ("register_4 <= add_1", "register_4 <= register_4", "loop"),
    ],
)
def test_a_broken_verilog_is_told(old: str, new: str, message: str) -> None:
    plan = PartialSumTransformPlan.of_bits((SWITCHED,), 12, None, "adder")
    verilog = emit(transform_of(plan), "dut")
    prove(plan, netlist_of(verilog, "dut"))
    assert verilog.count(old) == 1
    with pytest.raises(NotProvedError) as error:
        prove(plan, netlist_of(verilog.replace(old, new), "dut"))
    assert message in str(error.value)
