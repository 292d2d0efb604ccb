"""The reuse-grouped engine equals golden, in the predicted cycles, and reads each activation as often as predicted."""

import re
from dataclasses import replace
from typing import Any

import pytest
from crosstile.frame_memory import FrameMemory
from crosstile.reuse_fold import ReuseFold, legal_windows, reuse_folds
from crosstile.reuse_plan import ReusePlan
from crosstile_golden.errors import CrosstileError
from crosstile_golden.numbers import NumberFormat
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from .bench import INT8, UINT8, convolution
from .reuse_bench import LAYERS, prove, whole, window_of


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
def test_every_kernel_and_step_along_one_axis(kernel: int, stride: int) -> None:
    for begin, end, more, halo in ((0, 0, 0, True), (0, 0, 0, False), (kernel // 2, (kernel - 1) // 2, 1, True)):
        layer = convolution(1, 1, (kernel + 7 * stride,), (kernel,), stride=(stride,), begin=(begin,), end=(end,))
        reach = (kernel - 1) // stride
        prove(ReusePlan(layer, ReuseFold(1, 1, window_of(layer, reach + 1 + more)), halo))


@pytest.mark.parametrize("window", range(3, 15))
def test_every_macro_window(window: int) -> None:
    layer = convolution(1, 2, (14,), (3,), seed=window)
    prove(ReusePlan(layer, ReuseFold(1, 1, (window,))))


@pytest.mark.parametrize(
    ("window", "cut", "halo"), [("whole", 1, True), ("small", 1, True), ("small", 0, False)],
    ids=["whole, in turn", "small, in turn", "read again, at once"],
)  # fmt: skip
@pytest.mark.parametrize("name", LAYERS)
def test_every_shape(name: str, window: str, cut: int, halo: bool) -> None:
    layer = LAYERS[name]
    plan = whole(layer, cut, cut, halo=halo)
    prove(plan if window == "whole" else replace(plan, fold=replace(plan.fold, window=window_of(layer))))


@pytest.mark.parametrize("latency", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["3x3, padded", "stride 2", "3D"])
def test_every_latency_of_the_memory(name: str, latency: int) -> None:
    layer = LAYERS[name]
    prove(ReusePlan(layer, ReuseFold(2, 1, window_of(layer)), latency=latency))


@pytest.mark.parametrize(
    "fold", reuse_folds(LAYERS["3x3"].geometry), ids=lambda fold: f"{fold.channels}x{fold.filters}"
)
def test_every_legal_fold(fold: ReuseFold) -> None:
    prove(ReusePlan(LAYERS["3x3"], fold))
    prove(ReusePlan(LAYERS["3x3"], replace(fold, window=(5, 6))))


@pytest.mark.parametrize("reads", [INT8, NumberFormat(4, False), NumberFormat(12, True)], ids=str)
@pytest.mark.parametrize("weight_bits", [2, 8, 13])
def test_every_width(weight_bits: int, reads: NumberFormat) -> None:
    layer = convolution(2, 2, (5, 6), (3, 2), begin=(1, 1), weight_bits=weight_bits, reads=reads, writes=reads,
                        relu=False, seed=weight_bits)  # fmt: skip
    prove(ReusePlan(layer, ReuseFold(1, 2, window_of(layer))), 1)


def test_a_padded_layer_keeps_every_multiplier_busy() -> None:
    """3x3, 16 to 16 planes, 32x32, p = 34: each activation once, and a cycle per output."""
    layer = convolution(16, 16, (32, 32), (3, 3), begin=(1, 1), end=(1, 1))
    for channels in (1, 4, 16):
        plan = ReusePlan(layer, ReuseFold(channels, 16, (34, 34)))
        assert plan.activation_reads * channels == 32 * 32 * 16  # each once; the sliding window's: 94 · 94 · 16
        assert plan.compute_cycles == 32 * 32 * plan.channel_groups  # 100 %
        assert plan.cycles_per_frame == plan.compute_cycles + 33
        assert plan.utilisation >= 0.968
    windows = ReusePlan(layer, ReuseFold(4, 4, (10, 10)))
    assert windows.activation_reads == replace(windows, halo=False).activation_reads * 1024 // 38**2
    assert windows.cycles_per_frame == 4 * 33 * 33 + 3 * 4 * 32 * 32 + 4 * (2 * 32 + 2)  # first filters, others, drain
    assert windows.utilisation == 16 * 32 * 32 / windows.cycles_per_frame >= 0.968


@st.composite
def plans(draw: Any) -> ReusePlan:
    """Return a plan of a random layer of one to three axes, in random macro windows."""
    dimensions = draw(st.integers(1, 3))

    def axes(low: int, high: int) -> Any:
        return tuple(draw(st.integers(low, high)) for _ in range(dimensions))

    channels, filters = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([1, 2, 3]))
    try:
        layer = convolution(
            channels, filters, axes(1, (16, 7, 4)[dimensions - 1]), axes(1, (5, 4, 2)[dimensions - 1]),
            stride=axes(1, 3), dilation=axes(1, 2), begin=axes(0, 2), end=axes(0, 2), seed=draw(st.integers(0, 99)),
            reads=draw(st.sampled_from([UINT8, INT8])), weight_bits=draw(st.sampled_from([4, 8])),
        )  # fmt: skip
    except CrosstileError:
        assume(False)
    window = tuple(draw(st.sampled_from(sizes)) for sizes in legal_windows(layer.geometry))
    cut = draw(st.sampled_from(reuse_folds(layer.geometry)))
    return ReusePlan(layer, replace(cut, window=window), draw(st.booleans()), draw(st.integers(1, 4)))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(plans(), st.sampled_from(["none", "sink"]))
def test_random_geometry(plan: ReusePlan, stall: str) -> None:
    prove(plan, stall=stall)


@pytest.mark.slow
@settings(max_examples=400, deadline=None, derandomize=True)
@given(plans(), st.sampled_from(["none", "sink"]))
def test_much_random_geometry(plan: ReusePlan, stall: str) -> None:
    prove(plan, stall=stall)


LAYER = LAYERS["stride 2"]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (
            lambda: ReusePlan(convolution(2, 2, (4,), (2,), groups=2), ReuseFold(1, 1, (4,))),
            "layer convolution: groups must be 1 for the reuse engine, not 2; use the crosspoint engine",
        ),
        (lambda: whole(LAYER, latency=0), "layer convolution: latency must be 1 or more, not 0"),
        (lambda: whole(LAYER, channels=3), "layer convolution: fold's channels must divide 4, not 3"),
        (lambda: whole(LAYER, filters=-1), "layer convolution: fold's filters must divide 2, not -1"),
        (
            lambda: ReusePlan(LAYER, ReuseFold(1, 1, (9,))),
            "layer convolution: window must have 2 entries, not (9,)",
        ),
        (
            lambda: ReusePlan(LAYER, ReuseFold(1, 1, (9, 6))),
            "layer convolution: window on spatial axis 1 must be from 3 to 9 in steps of 2, not 6",
        ),
        (
            lambda: ReusePlan(LAYERS["3x3"], ReuseFold(1, 1, (2, 8))),
            "layer convolution: window on spatial axis 0 must be from 3 to 7, not 2",
        ),
        (lambda: FrameMemory(UINT8, 1, 4, frames=3), "frames must be 1 or 2, not 3"),
        (lambda: FrameMemory(UINT8, 1, 0), "words must be 1 or more, not 0"),
        (lambda: FrameMemory(UINT8, 1, 4, latency=0), "latency must be 1 or more, not 0"),
    ],
)
def test_refusals(action: Any, message: str) -> None:
    with pytest.raises(CrosstileError, match=f"^{re.escape(message)}$"):
        action()
