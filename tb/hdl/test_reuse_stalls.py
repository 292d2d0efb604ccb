"""The reuse-grouped engine loses nothing to stalls, recovers from reset, and a broken one is found."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from crosstile.reuse_axis import ReuseAxis
from crosstile.reuse_fold import ReuseFold
from crosstile.reuse_plan import ReusePlan
from crosstile.step_delay import StepDelay
from crosstile.timing import QUEUE_CYCLES
from crosstile_golden.layers import Residual

from .bench import STALLS, UINT8, BenchError, Port, StreamBench, beats_of, convolution
from .reuse_bench import LAYERS, FromMemory, framed, frames_for, prove, results, whole, window_of


@pytest.mark.parametrize("stall", [stall for stall in STALLS if stall != "none"])
@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("name", ["3x3, padded", "3x3", "stride 2", "one pixel"])
def test_stalls_and_frames_in_a_row_lose_and_repeat_nothing(name: str, frames: int, stall: str) -> None:
    layer = LAYERS[name]
    fold = ReuseFold(2, 1, window_of(layer))
    framed(ReusePlan(layer, fold, latency=frames), frames, depth=3, stall=stall, seed=len(name))


@pytest.mark.parametrize("stall", ["none", "source"])
@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("name", ["3x3, padded", "3x3", "stride 2", "1x1", "one pixel"])
def test_a_frame_starts_as_soon_as_it_is_in_memory(name: str, frames: int, stall: str) -> None:
    plan = whole(LAYERS[name], latency=2)
    run = framed(plan, frames, plan.pipeline_cycles + 4, stall=stall)
    expected, free = [], 1
    for last in run.taken[plan.frame_words - 1 :: plan.frame_words]:
        start = max(free, last + 1)
        expected += (start + np.flatnonzero(plan.operations.sends) + plan.pipeline_cycles + QUEUE_CYCLES).tolist()
        free = start + plan.cycles_per_frame
    assert run.cycles == expected


@pytest.mark.parametrize(("name", "reset_at"), [("3x3", 0), ("3x3", 61), ("3D", 30), ("stride 2", 1), ("stride 2", 47)])
def test_reset_in_mid_frame_recovers(name: str, reset_at: int) -> None:
    plan = ReusePlan(LAYERS[name], ReuseFold(2, 1, window_of(LAYERS[name])))
    prove(plan, reset_at=reset_at)
    framed(plan, 2, 5, stall="both", reset_at=reset_at)


@pytest.mark.parametrize("stall", ["none", "sink"])
@pytest.mark.parametrize("depth", [1, 2, 7])
def test_any_depth_of_queue(depth: int, stall: str) -> None:
    framed(whole(LAYERS["3x3, padded"]), 2, depth, stall=stall)


@pytest.mark.parametrize("stall", ["none", "both"])
def test_a_residual_joins_before_the_activation(stall: str) -> None:
    """The stream brings the residual, one beat per output; the memory is full from the start."""
    layer = replace(LAYERS["3x3, padded"], residual=Residual(UINT8, np.array([3, 0, 5, 2])))
    plan = ReusePlan(layer, ReuseFold(2, 2, (5, 6)))
    frames, residual = frames_for(plan, 2), np.random.default_rng(5).integers(0, 256, (2, *layer.output_shape))
    dut: Any = FromMemory(plan, frames)
    beats = beats_of(residual, plan.lanes_out, 8)
    bench = StreamBench(dut, Port.of(dut.engine.residual), Port.of(dut.output), beats, len(beats), stall=stall)
    np.testing.assert_array_equal(results(plan, bench.run()), layer.run(frames, residual))


def test_a_memory_that_answers_late_is_noticed() -> None:
    plan = ReusePlan(LAYERS["3x3"], ReuseFold(2, 2, (5, 6)))
    with pytest.raises(AssertionError):
        prove(plan, hardware=replace(plan, latency=2))


def test_reads_that_are_not_saved_are_noticed() -> None:
    plan = ReusePlan(LAYERS["3x3"], ReuseFold(2, 2, (5, 6)))
    with pytest.raises(AssertionError, match="words read"):
        prove(plan, hardware=replace(plan, halo=False), stall="sink")


def shortened(block: Any) -> Module:
    """Return a delay of one step, whatever was asked for."""
    m = Module()
    with m.If(block.step):
        m.d.sync += block.late.eq(block.value)
    return m


MUTATIONS: dict[str, tuple[type, str, Any]] = {
    "sums that wait never return": (ReuseAxis, "wraps", property(lambda _: False)),
    "classes start too late": (ReuseAxis, "first", property(lambda axis: axis.reach)),
    "the halo store fills no slot": (ReuseAxis, "restored", property(lambda _: ())),
    "words come back too soon": (StepDelay, "elaborate", lambda self, _: shortened(self)),
    "padding is not masked": (ReuseAxis, "separate", lambda *_: True),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_engine_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = convolution(2, 2, (7, 8), (3, 3), begin=(1, 0), seed=15)
    padded = convolution(2, 2, (4, 5), (3, 3), begin=(3, 1), end=(1, 1), seed=16)
    owner, attribute, value = MUTATIONS[name]
    monkeypatch.setattr(owner, attribute, value)
    with pytest.raises((AssertionError, BenchError, ValueError)):
        prove(ReusePlan(windows, ReuseFold(1, 1, window_of(windows))), 1)
        prove(whole(padded), 1)
