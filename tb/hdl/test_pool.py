"""Pools equal golden bit for bit, in exactly the predicted cycles."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import pytest
from crosstile import pool_axis
from crosstile.joints import Join, Split
from crosstile.pool import Pool
from crosstile.pool_axis import PoolAxis
from crosstile.pool_plan import PoolPlan, pool_stages
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import PoolGeometry
from crosstile_golden.network import PoolLayer
from crosstile_golden.numbers import Integers, NumberFormat
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from .bench import INT8, STALLS, UINT8, BenchError, Port, StreamBench, convolution, frames_of, pack, plan_of, pool
from .bench import prove as prove_network
from .blocks import Row, counted_cycles, predicted_ends

KINDS = ["max", "average", "sum"]
FORMATS = [UINT8, INT8, NumberFormat(4, False), NumberFormat(12, True), NumberFormat(1, False), NumberFormat(1, True)]


def random_frames(layer: PoolLayer, count: int, seed: int) -> Integers:
    """Return frames over the format's whole range, its two ends made frequent."""
    legal, generator = layer.input_format, np.random.default_rng(seed)
    shape = (count, layer.geometry.in_channels, *layer.geometry.input_size)
    extreme = generator.choice([legal.minimum, legal.maximum], shape)
    return np.where(generator.random(shape) < 0.3, extreme, generator.integers(legal.minimum, legal.maximum + 1, shape))


def beats_in(frames: Integers, plan: PoolPlan) -> list[int]:
    """Return frames as the plan takes them: rows that fill no beat left out, a beat ordered (row, lane)."""
    together, lanes = plan.rows_per_beat, plan.lanes
    pixels = np.moveaxis(frames, 1, -1)
    if together > 1:
        pixels = pixels[..., : pixels.shape[-3] // together * together, :, :]
        split = pixels.reshape(-1, together, pixels.shape[-2], pixels.shape[-1] // lanes, lanes)
        pixels = split.transpose(0, 2, 3, 1, 4)  # group of rows, column, channel group, row, lane
    return [pack(beat, plan.input_format.bits) for beat in pixels.reshape(-1, plan.lanes_in).tolist()]


def prove(
    stages: Sequence[PoolPlan], frames: int = 2, depth: int = 3, seed: int = 1, broken: Sequence[PoolPlan] = (),
    **settings: Any,
) -> None:
    """Hold a row of pools equal to golden bit for bit and, where nothing stalls, to two counts of its cycles."""
    layer = stages[0].layer
    inputs = random_frames(layer, frames, seed)
    row = Row([Pool(plan, depth) for plan in broken or stages])
    expected = frames * stages[-1].operations.beats_out
    beats = beats_in(inputs, stages[0])
    run = StreamBench(row, Port.of(row.input), Port.of(row.output), beats, expected, seed=seed, **settings).run()
    legal = layer.output_format
    assert stages[-1].output_format == legal
    found = frames_of(run.beats, layer.output_shape, stages[-1].lanes, legal.bits, legal.signed)
    np.testing.assert_array_equal(found, layer.run(inputs))
    if settings.get("stall", "none") == "none":
        depths = [depth] * len(stages)
        assert run.cycles == counted_cycles(stages, depths, frames)
        assert tuple(run.cycles[expected // frames - 1 :: expected // frames]) == predicted_ends(stages, depths, frames)


# One stage


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_every_window_and_stride(kernel: int, stride: int, kind: str) -> None:
    prove(pool_stages(pool(2, (6, 7), (kernel, kernel), kind, stride=(stride, stride), reads=INT8), 1))


POOLS: dict[str, PoolLayer] = {
    "unlike axes": pool(2, (7, 6), (3, 2), "max", stride=(1, 2)),
    "tall average": pool(2, (7, 4), (4, 1), "average", stride=(3, 1)),
    "wide sum": pool(2, (4, 7), (1, 4), "sum", stride=(1, 3)),
    "stride over window": pool(1, (8, 9), (2, 2), "max", stride=(3, 4)),
    "padded": pool(2, (5, 5), (3, 3), "max", stride=(2, 2), begin=(1, 1), end=(1, 1), reads=INT8),
    "padded before": pool(2, (4, 5), (3, 2), "max", stride=(1, 1), begin=(2, 1), reads=INT8),
    "padded after": pool(2, (4, 5), (2, 3), "max", stride=(2, 2), end=(1, 2), reads=INT8),
    "padded average": pool(2, (5, 5), (3, 3), "average", stride=(2, 2), begin=(1, 1), end=(1, 1), reads=INT8),
    "padded sum": pool(2, (5, 5), (3, 2), "sum", stride=(2, 1), begin=(2, 1), end=(1, 1), reads=INT8),
    "1D": pool(2, (9,), (3,), "max", stride=(2,)),
    "1D average": pool(2, (9,), (2,), "average"),
    "one row": pool(2, (1, 8), (1, 3), "average", stride=(1, 2)),
    "one column": pool(2, (8, 1), (3, 1), "max", stride=(1, 1)),
    "global average": pool(4, (4, 4), (4, 4), "average", reads=INT8),
    "global average, odd": pool(3, (3, 5), (3, 5), "average"),
    "global maximum": pool(4, (3, 4), (3, 4), "max", reads=INT8),
    "global sum": pool(4, (3, 4), (3, 4), "sum", reads=INT8),
    "one pixel": pool(3, (1, 1), (1, 1), "max"),
}


@pytest.mark.parametrize("lanes", ["one", "all"])
@pytest.mark.parametrize("name", POOLS)
def test_every_shape(name: str, lanes: str) -> None:
    layer = POOLS[name]
    prove(pool_stages(layer, layer.geometry.in_channels if lanes == "all" else 1), 3)


@pytest.mark.parametrize("stall", [stall for stall in STALLS if stall != "none"])
@pytest.mark.parametrize("name", ["unlike axes", "padded", "1D average", "global sum", "one column", "one pixel"])
def test_stalls_lose_and_repeat_nothing(name: str, stall: str) -> None:
    prove(pool_stages(POOLS[name], 1), 3, stall=stall, seed=len(name))


@pytest.mark.parametrize("reset_at", range(8, 20))
@pytest.mark.parametrize("name", ["unlike axes", "padded sum"])
def test_a_reset_in_mid_frame_leaves_nothing_behind(name: str, reset_at: int) -> None:
    prove(pool_stages(POOLS[name], 1), reset_at=reset_at)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number_format", FORMATS, ids=str)
def test_every_format(number_format: NumberFormat, kind: str) -> None:
    prove(pool_stages(pool(2, (4, 4), (3, 2), kind, reads=number_format), 2), 3)


@pytest.mark.parametrize("shift", [2, 3, 4, 12])
def test_an_average_halves_upwards_whatever_its_shift(shift: int) -> None:
    layer = replace(pool(1, (4, 6), (2, 2), "average", reads=INT8), shift=shift)
    prove(pool_stages(layer, 1), 3)


@pytest.mark.parametrize("number_format", [UINT8, INT8], ids=str)
@pytest.mark.parametrize(("shift", "wider"), [(0, 4), (1, 3), (2, 2), (4, 0), (6, 0)])
def test_a_sum_is_as_much_wider_as_its_shift_leaves(shift: int, wider: int, number_format: NumberFormat) -> None:
    """US 2020/0117986 [0065]: the sum of the output excitations, of nine values here."""
    layer = replace(pool(2, (6, 6), (3, 3), "sum", reads=number_format), shift=shift)
    assert layer.output_format.bits == 8 + wider
    prove(pool_stages(layer, 2), 3)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_any_depth_of_queue_keeps_values_and_prediction(depth: int) -> None:
    prove(pool_stages(POOLS["unlike axes"], 1), depth=depth)


def test_a_pool_behind_a_convolution_keeps_its_pace() -> None:
    layer = convolution(2, 4, (6, 6), (3, 3), begin=(1, 1), end=(1, 1))
    plan = plan_of([layer, pool(4, (6, 6), (2, 2), "max")])
    prove_network(plan, 3)
    assert plan.cycles_per_frame == plan.slowest


# Several rows per beat


TOGETHER = {
    "2 x 2": pool(4, (6, 5), (2, 2), "max"),
    "odd height": pool(2, (7, 5), (2, 3), "max", stride=(2, 2), reads=INT8),
    "odd height, average": pool(2, (5, 6), (2, 2), "average"),
    "three rows": pool(2, (7, 5), (3, 2), "sum", stride=(3, 1), reads=INT8),
    "five rows": pool(2, (10, 4), (5, 2), "average", reads=INT8),
    "padded columns": pool(2, (4, 5), (2, 3), "max", stride=(2, 2), begin=(0, 2), end=(0, 1), reads=INT8),
    "padded columns, sum": pool(2, (4, 5), (2, 3), "sum", stride=(2, 2), begin=(0, 1), end=(0, 1), reads=INT8),
    "one row out": pool(2, (3, 4), (3, 4), "average"),
}


@pytest.mark.parametrize("lanes", ["one", "all"])
@pytest.mark.parametrize("name", TOGETHER)
def test_rows_together_in_a_beat(name: str, lanes: str) -> None:
    """US 2020/0117986 [0073]: a 2 x 2 pooling operation performed simultaneously, using the two output rows."""
    layer = TOGETHER[name]
    (plan,) = pool_stages(layer, layer.geometry.in_channels if lanes == "all" else 1, layer.geometry.kernel[0])
    assert plan.operations.beats_in == prod(layer.geometry.input_size[1:]) * layer.output_shape[1] * plan.groups
    prove([plan], 3)


@pytest.mark.parametrize("stall", [stall for stall in STALLS if stall != "none"])
@pytest.mark.parametrize("name", ["2 x 2", "three rows", "five rows", "padded columns"])
def test_rows_together_lose_and_repeat_nothing(name: str, stall: str) -> None:
    layer = TOGETHER[name]
    prove(pool_stages(layer, 1, layer.geometry.kernel[0]), 3, stall=stall, seed=len(name))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_together_keep_no_row_and_take_half_the_cycles(kind: str) -> None:
    """US 2020/0117986 [0072], [0073]: storage for a row of outputs, or, with two rows at once, for none."""
    layer = pool(16, (32, 32), (2, 2), kind)
    alone, together = PoolPlan(layer, 16), PoolPlan(layer, 16, 2)
    sums = 0 if kind == "max" else 1
    assert alone.memory_bits == 16 * 8 + 16 * 16 * (8 + sums)
    assert together.memory_bits == 16 * (8 + sums)
    assert alone.cycles_per_frame == 2 * together.cycles_per_frame == 32 * 32


# Volumes


VOLUMES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "2 x 2 x 2": ((4, 4, 4), (2, 2, 2), {}),
    "odd": ((5, 3, 7), (2, 2, 3), {}),
    "overlapping": ((5, 4, 5), (3, 3, 2), {"stride": (1, 2, 1)}),
    "padded": ((4, 5, 3), (3, 3, 3), {"stride": (2, 2, 2), "begin": (1, 1, 1), "end": (1, 1, 1)}),
    "padded before": ((3, 3, 4), (2, 2, 3), {"stride": (1, 1, 2), "begin": (1, 1, 2)}),
    "padded after": ((3, 4, 3), (3, 2, 2), {"stride": (2, 2, 1), "end": (2, 1, 1)}),
    "depth alone": ((4, 2, 3), (3, 1, 1), {"stride": (1, 1, 1)}),
    "slices alone": ((3, 4, 4), (1, 2, 2), {}),
    "global": ((3, 2, 3), (3, 2, 3), {}),
    "skips": ((7, 5, 5), (1, 2, 1), {"stride": (3, 3, 2)}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", VOLUMES)
def test_a_volume_is_pooled_in_two_stages(name: str, kind: str) -> None:
    size, kernel, more = VOLUMES[name]
    for lanes, reads in ((1, INT8), (2, UINT8)):
        layer = pool(2, size, kernel, kind, reads=reads, **more)
        stages = pool_stages(layer, lanes)
        assert [stage.part for stage in stages] == ["slices", "depth"]
        assert stages[0].operations.beats_in == 2 // lanes * prod(size)
        assert stages[0].operations.beats_out == stages[1].operations.beats_in
        prove(stages, 2)


@pytest.mark.parametrize("stall", [stall for stall in STALLS if stall != "none"])
@pytest.mark.parametrize("kind", KINDS)
def test_two_stages_lose_and_repeat_nothing(kind: str, stall: str) -> None:
    size, kernel, more = VOLUMES["padded"]
    prove(pool_stages(pool(2, size, kernel, kind, reads=INT8, **more), 1), 2, stall=stall)


@pytest.mark.parametrize("shift", [3, 4, 7])
def test_a_volume_is_shifted_once(shift: int) -> None:
    layer = replace(pool(2, (4, 4, 4), (2, 2, 2), "average", reads=INT8), shift=shift)
    prove(pool_stages(layer, 2), 3)
    prove(pool_stages(replace(layer, geometry=replace(layer.geometry, kind="sum"), shift=shift - 3), 2), 3)


@pytest.mark.parametrize("reset_at", [9, 40, 77])
def test_a_reset_in_mid_volume_leaves_nothing_behind(reset_at: int) -> None:
    size, kernel, more = VOLUMES["overlapping"]
    prove(pool_stages(pool(2, size, kernel, "average", **more), 1), reset_at=reset_at)


def test_rows_of_slices_may_come_together_too() -> None:
    stages = pool_stages(pool(2, (3, 5, 4), (2, 2, 2), "sum", reads=INT8), 1, 2)
    assert [stage.rows_per_beat for stage in stages] == [2, 1]
    prove(stages, 2)


# Lanes before and after


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("before", "after"), [(4, 2), (6, 1), (2, 6), (1, 3), (12, 4)])
def test_a_pool_with_the_lanes_of_the_next_stage_or_of_the_one_before(before: int, after: int, kind: str) -> None:
    """US 2020/0117986 [0065], [0080]: pooled where it is computed and then sent, or sent and then pooled."""
    layer = pool(12, (4, 5), (2, 2), kind, stride=(2, 1), reads=INT8)
    inputs = random_frames(layer, 2, 1)

    def adapter(number_format: NumberFormat) -> Split | Join:
        return Join(number_format, before, after, 3) if after > before else Split(number_format, before, after)

    results = []
    for blocks in (
        [Pool(PoolPlan(layer, before), 3), adapter(layer.output_format)],
        [adapter(layer.input_format), Pool(PoolPlan(layer, after), 3)],
    ):
        row = Row(blocks)
        expected = 2 * PoolPlan(layer, after).operations.beats_out
        beats = beats_in(inputs, PoolPlan(layer, before))
        results.append(StreamBench(row, Port.of(row.input), Port.of(row.output), beats, expected).run().beats)
    assert results[0] == results[1]
    legal = layer.output_format
    found = frames_of(results[0], layer.output_shape, after, legal.bits, legal.signed)
    np.testing.assert_array_equal(found, layer.run(inputs))


# Programs


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(1, 6), st.integers(0, 5), st.integers(0, 5))
def test_windows_open_and_close_once_each_in_order(size: int, kernel: int, stride: int, begin: int, end: int) -> None:
    outputs = (size + begin + end - kernel) // stride + 1
    assume(begin < kernel and end < kernel and outputs >= 1 and (outputs - 1) * stride - begin < size)
    axis = PoolAxis(size, kernel, stride, begin, outputs)
    starts = [max(window * stride - begin, 0) for window in range(outputs)]
    ends = [window * stride - begin + kernel - 1 for window in range(outputs)]
    assert [axis.closes(position) for position in ends] == [window % axis.slots for window in range(outputs)]
    assert sum(axis.closes(position) is not None for position in range(axis.positions)) == outputs
    assert axis.positions == max(size, ends[-1] + 1)
    for position in range(axis.positions):
        opened = {window % axis.slots for window in range(outputs) if starts[window] == position}
        assert {slot for slot, opens in enumerate(axis.opens(position)) if opens} == opened
        live = [w for w in range(outputs) if starts[w] <= position <= ends[w]]
        assert len({window % axis.slots for window in live}) == len(live)


# Broken on purpose


def fails(stages: Sequence[PoolPlan], **settings: Any) -> bool:
    try:
        prove(stages, **settings)
    except (AssertionError, BenchError):
        return True
    return False


def test_windows_that_never_open_anew_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_axis.PoolAxis, "opens", lambda axis, position: [position == 0] * axis.slots)
    assert fails(pool_stages(POOLS["unlike axes"], 1))
    assert fails(pool_stages(pool(2, (4, 4, 4), (2, 1, 1), "max"), 1))


def test_a_shift_by_one_more_is_seen() -> None:
    layer = POOLS["global average"]
    assert fails(pool_stages(layer, 1), broken=pool_stages(replace(layer, shift=layer.shift + 1), 1))


@pytest.mark.parametrize("name", ["kept_row_format", "kept_sum_format"])
def test_a_bit_too_few_of_what_is_kept_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = getattr(PoolPlan, name).fget
    narrower = property(lambda plan: replace(right(plan), bits=right(plan).bits - 1))
    monkeypatch.setattr(PoolPlan, name, narrower)
    assert fails(pool_stages(pool(2, (4, 4), (3, 3), "sum", stride=(1, 1)), 1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_the_beat_that_is_left_out_is_seen(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pool, "_pairs", lambda _pool, values: list(values[::2]))
    assert fails(pool_stages(pool(2, (4, 4), (2, 2), kind), 1, 2))


# Refusals


def refused(size: Sequence[int], kernel: Sequence[int], **changes: Any) -> PoolLayer:
    layer = pool(4, tuple(size), tuple(kernel), changes.pop("kind", "max"), **changes)
    return replace(layer, name="p")


REFUSED: dict[str, tuple[PoolLayer, dict[str, Any], str]] = {
    "three axes": (
        refused((2, 2, 2), (1, 1, 1)), {},
        "pool p: 3 spatial axes; a stage pools 1 or 2, use pool_stages for more",
    ),
    "dilation": (
        PoolLayer("p", PoolGeometry(2, (5,), (2,), (1,), (2,), (0,), (0,)), 0, UINT8), {},
        "pool p: dilation (2,); a pool runs dilation 1",
    ),
    "padding": (
        refused((5, 5), (3, 2), begin=(1, 2), kind="sum"), {},
        "pool p: padding (1, 2) before the first position; it must be less than the kernel (3, 2) on every axis",
    ),
    "lanes": (refused((5,), (2,)), {"lanes": 3}, "lanes must divide 4, not 3"),
    "wide sums": (
        refused((8, 8), (8, 8), kind="sum", reads=NumberFormat(27, True)), {},
        "pool p: sums of 64 int27 take 33 bits; a pool sums in at most 32",
    ),
    "part": (
        refused((4, 4), (2, 2)), {"part": "rows"}, "pool p: part must be one of whole, slices, depth, not 'rows'",
    ),
    "part of an image": (
        refused((4, 4), (2, 2)), {"part": "depth"}, "pool p: part 'depth' is for 3 spatial axes, not 2",
    ),
    "no rows": (
        refused((4, 4), (2, 2)), {"rows_per_beat": 0},
        "pool p: rows_per_beat must be 1, or the rows of a window over rows, not 0",
    ),
    "rows of a line": (
        refused((4,), (2,)), {"rows_per_beat": 2},
        "pool p: rows_per_beat must be 1, or the rows of a window over rows, not 2",
    ),
    "rows of another window": (
        refused((6, 6), (3, 2)), {"rows_per_beat": 2},
        "pool p: rows_per_beat 2 needs kernel and stride 2 and no padding along rows, "
        "not kernel 3, stride 3, padding (0, 0)",
    ),
    "rows that overlap": (
        refused((6, 6), (2, 2), stride=(1, 2)), {"rows_per_beat": 2},
        "pool p: rows_per_beat 2 needs kernel and stride 2 and no padding along rows, "
        "not kernel 2, stride 1, padding (0, 0)",
    ),
    "padded rows": (
        refused((5, 6), (2, 2), end=(1, 0)), {"rows_per_beat": 2},
        "pool p: rows_per_beat 2 needs kernel and stride 2 and no padding along rows, "
        "not kernel 2, stride 2, padding (0, 1)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_pools_that_the_stage_does_not_run_are_refused(name: str) -> None:
    layer, changes, message = REFUSED[name]
    with pytest.raises(CrosstileError) as error:
        PoolPlan(layer, **{"lanes": 1, **changes})
    assert str(error.value) == message
