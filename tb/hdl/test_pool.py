"""Pools equal golden bit for bit, in exactly the predicted cycles."""

from typing import Any

import pytest
from crosstile.pool_plan import PoolAxis, PoolPlan
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import PoolGeometry
from crosstile_golden.network import PoolLayer
from crosstile_golden.numbers import NumberFormat
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from .bench import INT8, STALLS, UINT8, convolution, plan_of, pool, prove

FORMATS = [UINT8, INT8, NumberFormat(4, False), NumberFormat(12, True)]


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_every_window_and_stride(kernel: int, stride: int, kind: str) -> None:
    layer = pool(2, (6, 7), (kernel, kernel), kind, stride=(stride, stride), reads=INT8)
    prove(plan_of([layer], lanes=1))


POOLS: dict[str, PoolLayer] = {
    "unlike axes": pool(2, (7, 6), (3, 2), "max", stride=(1, 2)),
    "tall average": pool(2, (7, 4), (4, 1), "average", stride=(3, 1)),
    "stride over window": pool(1, (8, 9), (2, 2), "max", stride=(3, 4)),
    "padded": pool(2, (5, 5), (3, 3), "max", stride=(2, 2), begin=(1, 1), end=(1, 1), reads=INT8),
    "padded before": pool(2, (4, 5), (3, 2), "max", stride=(1, 1), begin=(2, 1), reads=INT8),
    "padded after": pool(2, (4, 5), (2, 3), "max", stride=(2, 2), end=(1, 2), reads=INT8),
    "padded average": pool(2, (5, 5), (3, 3), "average", stride=(2, 2), begin=(1, 1), end=(1, 1), reads=INT8),
    "1D": pool(2, (9,), (3,), "max", stride=(2,)),
    "1D average": pool(2, (9,), (2,), "average"),
    "one row": pool(2, (1, 8), (1, 3), "average", stride=(1, 2)),
    "one column": pool(2, (8, 1), (3, 1), "max", stride=(1, 1)),
    "global average": pool(4, (4, 4), (4, 4), "average", reads=INT8),
    "global average, odd": pool(3, (3, 5), (3, 5), "average"),
    "global maximum": pool(4, (3, 4), (3, 4), "max", reads=INT8),
    "one pixel": pool(3, (1, 1), (1, 1), "max"),
}


@pytest.mark.parametrize("lanes", ["one", "all"])
@pytest.mark.parametrize("name", POOLS)
def test_every_shape(name: str, lanes: str) -> None:
    layer = POOLS[name]
    prove(plan_of([layer], lanes=layer.geometry.in_channels if lanes == "all" else 1), 3)


@pytest.mark.parametrize("stall", [stall for stall in STALLS if stall != "none"])
@pytest.mark.parametrize("name", ["unlike axes", "padded", "1D average", "global average", "one column", "one pixel"])
def test_stalls_lose_and_repeat_nothing(name: str, stall: str) -> None:
    prove(plan_of([POOLS[name]], lanes=1), 3, stall=stall, seed=len(name))


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("number_format", FORMATS, ids=str)
def test_every_format(number_format: NumberFormat, kind: str) -> None:
    prove(plan_of([pool(2, (4, 4), (3, 2), kind, reads=number_format)], lanes=2), 2)


@pytest.mark.parametrize("shift", [2, 3, 4])
def test_an_average_halves_upwards_whatever_its_shift(shift: int) -> None:
    layer = pool(1, (4, 6), (2, 2), "average", reads=INT8)
    prove(plan_of([PoolLayer("pool", layer.geometry, shift, INT8)]), 3)


def test_a_pool_behind_a_convolution_keeps_its_pace() -> None:
    layer = convolution(2, 4, (6, 6), (3, 3), begin=(1, 1), end=(1, 1))
    plan = plan_of([layer, pool(4, (6, 6), (2, 2), "max")])
    prove(plan, 3)
    assert plan.cycles_per_frame == plan.slowest


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_any_depth_of_queue_keeps_values_and_prediction(depth: int) -> None:
    prove(plan_of([POOLS["unlike axes"]], depths=[depth]))


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


REFUSED: dict[str, tuple[Any, int, str]] = {
    "three axes": (
        PoolGeometry(2, (2, 2, 2), *[(1, 1, 1)] * 3, *[(0, 0, 0)] * 2), 1,
        "pool p: 3 spatial axes; a pool runs 1 or 2",
    ),
    "dilation": (
        PoolGeometry(2, (5,), (2,), (1,), (2,), (0,), (0,)), 1, "pool p: dilation (2,); a pool runs dilation 1",
    ),
    "lanes": (PoolGeometry(4, (5,), (2,), (1,), (1,), (0,), (0,)), 3, "lanes must divide 4, not 3"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_pools_that_the_stage_does_not_run_are_refused(name: str) -> None:
    geometry, lanes, message = REFUSED[name]
    with pytest.raises(CrosstileError) as error:
        PoolPlan(PoolLayer("p", geometry, 0, UINT8), lanes)
    assert str(error.value) == message
