"""Tiles' results, added up, requantised and sent in order, equal the convolution, in the predicted cycles."""

import itertools
import re
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import pytest
from crosstile.tile_integrators_axis import AxisBanks, Places
from crosstile.tile_integrators_plan import TileIntegratorPlan
from crosstile.tile_integrators_rows import RowQueue
from crosstile.tile_integrators_writer import TileWriter
from crosstile.timing import predict
from crosstile.winograd_program import axis_programs
from crosstile_golden.convolution import convolution as golden_convolution
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer, Residual

from .bench import STALLS, UINT8, BenchError, convolution
from .stepped import stepped
from .tile_results import TileBench, frames_for, layer_of, plan_of, results_of

# size, kernel, stride, dilation, filters, filters per beat
GEOMETRIES: dict[str, tuple[Any, ...]] = {
    "1D": ((9,), (3,), (1,), (1,), 2, 1),
    "1D, one tap": ((9,), (1,), (1,), (1,), 2, 2),
    "1D, 2 taps": ((10,), (2,), (1,), (1,), 3, 1),
    "1D, 4 = 2 + 2": ((11,), (4,), (1,), (1,), 2, 1),
    "1D, 5 = 3 + 2": ((13,), (5,), (1,), (1,), 1, 1),
    "1D, 9 taps": ((17,), (9,), (1,), (1,), 6, 2),
    "1D, stride 2": ((16,), (3,), (2,), (1,), 4, 2),
    "1D, stride 3, dilation 2": ((20,), (5,), (3,), (2,), 2, 1),
    "1D, dilation 2": ((15,), (5,), (1,), (2,), 2, 1),
    "1D, fewer outputs than a tile": ((2,), (3,), (2,), (1,), 1, 1),
    "2D": ((5, 6), (3, 3), (1, 1), (1, 1), 4, 2),
    "2D, 5x5": ((7, 6), (5, 5), (1, 1), (1, 1), 2, 1),
    "2D, 5x5, many groups": ((6, 5), (5, 5), (1, 1), (1, 1), 5, 1),
    "2D, 7x2": ((8, 7), (7, 2), (1, 1), (1, 1), 2, 2),
    "2D, 1x5": ((3, 9), (1, 5), (1, 1), (1, 1), 2, 1),
    "2D, 4x3": ((9, 5), (4, 3), (1, 1), (1, 1), 1, 1),
    "2D, stride 2": ((7, 8), (3, 3), (2, 2), (1, 1), 2, 1),
    "2D, stride 2x3": ((9, 8), (7, 5), (2, 3), (1, 1), 2, 1),
    "2D, dilation 2": ((9, 8), (3, 5), (1, 1), (2, 2), 2, 2),
    "2D, stride 2, dilation 3": ((9, 10), (3, 3), (2, 2), (3, 1), 1, 1),
    "2D, one column": ((7, 1), (5, 1), (1, 1), (1, 1), 1, 1),
    "3D": ((4, 3, 5), (3, 3, 3), (1, 1, 1), (1, 1, 1), 2, 2),
    "3D, mixed": ((5, 3, 4), (5, 2, 3), (1, 1, 1), (1, 1, 1), 2, 1),
    "3D, stride 2": ((5, 4, 4), (3, 1, 4), (2, 1, 1), (1, 2, 1), 1, 1),
    "3D, all axes mixed": ((3, 4, 3), (5, 5, 5), (1, 1, 1), (1, 1, 1), 1, 1),
}


def layer_named(name: str, padded: bool = True) -> ConvolutionLayer:
    size, kernel, stride, dilation, filters, _ = GEOMETRIES[name]
    return layer_of(size, kernel, stride, dilation, filters, padded)


def plan_named(name: str, **settings: Any) -> TileIntegratorPlan:
    return plan_of(layer_named(name), GEOMETRIES[name][-1], **settings)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_tiles_add_up_to_golden_in_the_predicted_cycles(name: str) -> None:
    TileBench(plan_named(name), 2 + name.startswith("1D")).prove()


def test_the_results_of_tiles_are_those_of_the_convolution() -> None:
    for name in GEOMETRIES:
        plan = plan_named(name)
        frame = frames_for(plan.layer, 1)
        found = np.zeros((1, *plan.layer.output_shape), np.int64)
        for steps in itertools.product(*(program.steps for program in plan.programs)):
            made = results_of(plan, frame[0], steps)
            valid = tuple(slice(len(step.outputs)) for step in steps)
            found[0][np.ix_(range(len(made)), *(step.outputs for step in steps))] += made[:, *valid]
        np.testing.assert_array_equal(found, golden_convolution(frame, plan.layer.weight, plan.layer.geometry))


WITHOUT_PADDING = ["1D, 5 = 3 + 2", "2D, 5x5", "2D, stride 2x3", "3D, mixed"]


@pytest.mark.parametrize("name", WITHOUT_PADDING)
def test_without_padding_and_with_wide_results(name: str) -> None:
    TileBench(plan_of(layer_named(name, padded=name.startswith("3D")), 1, more_bits=3)).prove()


def test_groups_and_channels_are_the_engine_s() -> None:
    layer = convolution(4, 6, (5, 6), (3, 5), begin=(1, 2), end=(1, 2), groups=2, seed=4)
    TileBench(plan_of(layer, 3)).prove()


STALLED = ["1D, 5 = 3 + 2", "2D, 7x2", "2D, dilation 2"]


@pytest.mark.parametrize("stall", [stall for stall in STALLS if stall != "none"])
@pytest.mark.parametrize("name", STALLED)
def test_stalls_lose_and_repeat_nothing(name: str, stall: str) -> None:
    TileBench(plan_named(name), 2, depth=2).prove(stall=stall, seed=len(name))


@pytest.mark.parametrize(("name", "reset_at"), [
    ("1D, 5 = 3 + 2", 0), ("1D, 5 = 3 + 2", 23), ("1D, dilation 2", 31), ("2D", 40), ("2D, 7x2", 61), ("2D, 7x2", 90),
])
def test_a_reset_in_mid_frame_is_recovered_from(name: str, reset_at: int) -> None:
    TileBench(plan_named(name)).prove(reset_at=reset_at)


@pytest.mark.parametrize("depth", [1, 5])
@pytest.mark.parametrize("name", ["1D", "2D, stride 2"])
def test_a_short_output_queue_takes_the_predicted_cycles(name: str, depth: int) -> None:
    TileBench(plan_named(name), 3, depth).prove()


@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_stepped_model_agrees_with_writer_and_reader(name: str) -> None:
    for depth in (2, 30):
        bench = TileBench(plan_named(name), depth=depth)
        assert predict(bench.nodes(), 9) == stepped(bench.nodes(), 9)


# Residuals, loading, rows at once


def with_residual(layer: ConvolutionLayer) -> ConvolutionLayer:
    return replace(layer, residual=Residual(UINT8, layer.shift + layer.output_format.bits - 8))


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("name", ["1D", "2D, 4x3"])
def test_a_residual_joins_each_beat(name: str, stall: str) -> None:
    plan = plan_of(with_residual(layer_named(name)), GEOMETRIES[name][-1])
    TileBench(plan).prove(stall=stall)


@pytest.mark.parametrize("name", ["1D, 5 = 3 + 2", "2D"])
def test_constants_are_loaded(name: str) -> None:
    layer, lanes = layer_named(name), GEOMETRIES[name][-1]
    layer = replace(layer, shift=np.maximum(layer.shift, 0))
    other = replace(layer, bias=layer.bias - 77, shift=layer.shift + 1)
    plan = plan_of(layer, lanes, loadable=True)
    TileBench(plan).prove()
    TileBench(plan, loads=other).prove()
    with pytest.raises(AssertionError):  # until they are loaded, they are the plan's own
        TileBench(replace(plan, layer=other), hardware=plan).prove()


# size, kernel, rows at once, filters per beat
TOGETHER = [
    ((4, 5), (3, 3), 2, 1), ((5, 4), (3, 5), 2, 2), ((9, 4), (2, 3), 3, 1), ((6, 4), (4, 2), 3, 2),
    ((6, 4), (1, 3), 4, 2), ((3, 5, 4), (3, 3, 2), 2, 2), ((4, 6, 3), (5, 2, 3), 3, 1), ((8, 3), (6, 2), 2, 1),
]


@pytest.mark.parametrize("stall", ["none", "sink"])
@pytest.mark.parametrize(("size", "kernel", "rows", "lanes"), TOGETHER)
def test_rows_leave_together(size: tuple[int, ...], kernel: tuple[int, ...], rows: int, lanes: int, stall: str) -> None:
    """Rows that do not fill a beat never leave (US 2020/0117986 [0073])."""
    plan = plan_of(layer_of(size, kernel), lanes, rows_at_once=rows)
    assert plan.lanes_out == rows * lanes
    TileBench(plan).prove(stall=stall)


# What the plan says


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_tile_s_outputs_lie_in_different_banks_and_no_two_live_outputs_share_a_word(name: str) -> None:
    for banks in plan_named(name).axes:
        for step in banks.program.steps:
            assert len(banks.by_bank(step)) == len(step.outputs)
        positions = [banks.position(output) for output in range(banks.program.outputs)]
        assert len(set(positions)) == len(positions)
        assert all(
            run < banks.interleaved and bank < banks.banks and turn < banks.rounds for run, bank, turn in positions
        )


@pytest.mark.parametrize("name", GEOMETRIES)
def test_links_are_steered_only_where_sizes_mix_and_nothing_is_added_where_one_part_is_all(name: str) -> None:
    plan = plan_named(name)
    for banks in plan.axes:
        assert not banks.rotates or len(banks.program.sizes) > 1
    parts = prod(len(program.split.parts) for program in plan.programs)
    assert plan.adds == (parts > 1)
    assert plan.adds or (max(plan.gaps), plan.store_cycles, plan.rotations) == (0, 1, 0)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_beat_per_tile_and_filter_group_in_and_one_per_output_out(name: str) -> None:
    plan, outputs = plan_named(name), layer_named(name).geometry.output_size
    tiles = prod(len(program.steps) for program in plan.programs)
    assert plan.writer_operations.beats_in == tiles * plan.filter_groups
    assert plan.operations.beats_out == prod(outputs) * plan.filter_groups
    reserved, shown = plan.writer_operations.sends, plan.writer_operations.shows
    assert shown is not None
    assert reserved.sum() == shown.sum() == plan.operations.takes.sum() / 2
    assert (np.cumsum(reserved) >= np.cumsum(shown)).all()


@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_row_store_is_the_smallest_that_costs_no_more_than_a_64th(name: str) -> None:
    bench = TileBench(plan_named(name), depth=60)
    rows = bench.plan.rows
    best = bench.plan.cycles_per_frame
    assert rows._interval(rows.store_rounds) <= best * 65 / 64
    assert rows.store_rounds == 1 or rows._interval(rows.store_rounds - 1) > best * 65 / 64
    assert predict(bench.nodes(), 12).interval <= best * 65 / 64 + plan_named(name).filter_groups


@pytest.mark.parametrize("groups", [1, 2, 4, 5, 6])
def test_gaps_are_those_that_settling_takes(groups: int) -> None:
    plan = plan_of(layer_of((12,), (5,), filters=groups))
    assert max(plan.gaps) == max(0, 5 - groups)
    assert max(plan_of(layer_of((12,), (3,), filters=groups)).gaps) == 0


def test_memory_is_what_is_built() -> None:
    plan = plan_of(layer_of((6, 8), (3, 3), filters=3), 1)
    assert plan.memory_bits == (2 * 2) * (2 * 4 * 3) * plan.total_bits  # banks; rounds, columns of a bank, filters


@pytest.mark.parametrize("sizes", [(3, 5, 2), (4, 1, 7), (9,), (1, 1), (6, 16, 3)])
def test_places_are_all_different(sizes: tuple[int, ...]) -> None:
    places, found = Places(sizes), set()
    for fields in itertools.product(*map(range, sizes)):
        address, low = 0, 0
        for index in places.order:
            address += fields[index] << low
            low += places.bits(index)
        found.add(address)
    assert len(found) == prod(sizes)
    assert max(found) + 1 == places.words


# Refusals


def refusal(layer: ConvolutionLayer, lanes: int = 1, **settings: Any) -> str:
    with pytest.raises(CrosstileError) as error:
        plan_of(layer, lanes, **settings)
    return str(error.value)


def test_what_is_not_legal_is_refused() -> None:
    layer = layer_of((5, 6), (3, 3), filters=4)
    assert refusal(layer, 3) == "layer convolution: filter_lanes must divide 4, not 3"
    assert refusal(layer, rows_at_once=3) == "layer convolution: rows_at_once must be 1 or 2, not 3"
    assert refusal(layer_of((5, 6), (5, 3)), rows_at_once=2) == "layer convolution: rows_at_once must be 1, not 2"
    assert refusal(with_residual(layer), rows_at_once=2) == "layer convolution: rows_at_once must be 1, not 2"
    plan = plan_of(layer)
    with pytest.raises(CrosstileError, match=r"^layer convolution: axis 1: links of size 3 must be 2 different ones, "):
        replace(plan, links=(plan.links[0], {3: (1, 1)}))
    other = axis_programs(layer_of((5, 9), (3, 3)).geometry)
    text = "layer convolution: programs and links must be those of outputs (5, 6), not (5, 9) and 2"
    with pytest.raises(CrosstileError, match=f"^{re.escape(text)}$"):
        replace(plan, programs=other)


def test_padding_alone_is_refused() -> None:
    layer = convolution(1, 1, (4,), (3,), begin=(8,), end=(1,))
    assert refusal(layer) == (
        "layer convolution: axis 0: padding leaves outputs without any activation; use less padding, or another engine"
    )


# Mutations


def always(value: int) -> Any:
    return lambda banks, _step: [value] * banks.banks


def turned(banks: AxisBanks, step: Any) -> list[int]:
    choices = zip(plain_choices(banks, step), banks.heard, strict=True)
    return [(choice + 1) % max(1, len(heard)) for choice, heard in choices]


def sums_not_settled(plan: TileIntegratorPlan) -> tuple[int, ...]:
    return (0,) * len(plan.programs[-1].steps)


plain_choices, plain_rounds = AxisBanks.choices, AxisBanks.taken_rounds
plain_shows, plain_open = RowQueue.shows, RowQueue.open_rounds


def early(rows: RowQueue) -> list[int]:
    shows = plain_shows.__get__(rows)
    return [*shows[1:], shows[0]]


DEFECTS: dict[str, tuple[Any, str, Any, str]] = {
    "fresh is ignored": (AxisBanks, "fresh", always(0), "2D, 5x5"),
    "everything is fresh": (AxisBanks, "fresh", always(1), "2D, 5x5"),
    "links are turned by one": (AxisBanks, "choices", turned, "1D, 5 = 3 + 2"),
    "what is not valid is written": (AxisBanks, "valid", always(1), "1D, 5 = 3 + 2"),
    "every row goes to the store at once": (RowQueue, "ends", lambda rows, _step: [1] * rows.axis.banks, "2D, 7x2"),
    "gaps are left out": (TileIntegratorPlan, "gaps", property(sums_not_settled), "1D, 5 = 3 + 2"),
    "rounds are one further": (
        AxisBanks, "taken_rounds", lambda banks, step: [turn + 1 for turn in plain_rounds(banks, step)], "2D",
    ),
    "rows show a step early": (RowQueue, "shows", property(early), "2D, 5x5"),
    "rows of integrators are too few": (
        RowQueue, "open_rounds", property(lambda rows: plain_open.__get__(rows) - 1), "2D, 7x2",
    ),
    "the queue of rows is deeper than the store": (
        RowQueue, "depth", property(lambda rows: 2 * rows.store_rounds * rows.axis.round_outputs), "2D",
    ),
    "frames begin at the store's first round": (TileWriter, "_frames_follow", lambda *_: None, "1D"),
    "rows show before they are stored": (
        TileIntegratorPlan, "writer_pipeline_cycles", property(lambda plan: plan.store_cycles - 2), "1D, 5 = 3 + 2",
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_bench_finds_that(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, change, geometry = DEFECTS[defect]
    monkeypatch.setattr(owner, name, change)
    with pytest.raises((AssertionError, BenchError, ValueError, IndexError)):
        TileBench(plan_named(geometry), 3).prove(stall="none")
        TileBench(plan_named(geometry), 3, depth=1).prove(stall="sink")
