"""The crosspoint engine equals golden bit for bit, in exactly the predicted cycles, whatever its layer and fold."""

from dataclasses import astuple
from typing import Any

import pytest
from crosstile.fold import Fold
from crosstile.layer_plan import ConvolutionPlan, architecture_folds
from crosstile.network_plan import NetworkPlan
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import NumberFormat
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from .bench import INT8, STALLS, UINT8, convolution, folds_of, network, plan_of, prove, widest

KERNELS = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (1, 7), (7, 1), (2, 5)]


def mixed(layer: ConvolutionLayer) -> Fold:
    """Return a fold with kernel rows, filters and half the channels in turn."""
    channels = layer.geometry.in_channels
    return max(
        (fold for fold in folds_of(layer) if fold.kernel_rows == 1 and fold.filters == 1),
        key=lambda fold: (fold.kernel_columns, fold.channels < channels, fold.channels),
    )


PICKS = {"widest": widest, "mixed": mixed}


@pytest.mark.parametrize("pick", PICKS)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: f"{kernel[0]}x{kernel[1]}")
def test_every_kernel_and_stride_with_unlike_padding(kernel: tuple[int, int], stride: int, pick: str) -> None:
    """US 2020/0117986 [0050], [0074]: k can be any value."""
    begin = tuple(taps // 2 for taps in kernel)
    end = tuple((taps - 1) // 3 for taps in kernel)
    size = tuple(max(taps - before - after, 3) + 2 for taps, before, after in zip(kernel, begin, end, strict=True))
    layer = convolution(2, 2, size, kernel, stride=(stride, stride), begin=begin, end=end, seed=sum(kernel) + stride)
    prove(plan_of([layer], [PICKS[pick](layer)]))


SHAPES: dict[str, ConvolutionLayer] = {
    "unlike strides": convolution(2, 3, (7, 8), (3, 3), stride=(1, 2), begin=(1, 0), end=(0, 1)),
    "stride over kernel": convolution(2, 2, (8, 9), (2, 1), stride=(3, 4)),
    "dilation 2": convolution(2, 2, (8, 7), (3, 2), dilation=(2, 2), begin=(1, 1), end=(2, 0)),
    "dilation 2, stride 2": convolution(2, 2, (9, 8), (3, 3), stride=(2, 2), dilation=(2, 2), begin=(2, 2), end=(2, 2)),
    "dilation 2, stride 3": convolution(1, 2, (10, 9), (3, 2), stride=(3, 3), dilation=(2, 2), begin=(1, 0)),
    "padding all round": convolution(1, 2, (3, 3), (3, 3), begin=(2, 2), end=(2, 2)),
    "1D": convolution(3, 2, (11,), (3,), begin=(1,), end=(2,)),
    "1D, stride 2, dilation 2": convolution(2, 3, (12,), (4,), stride=(2,), dilation=(2,), begin=(3,)),
    "one row": convolution(2, 2, (1, 7), (3, 3), begin=(1, 1), end=(1, 1)),
    "one row, flat kernel": convolution(2, 2, (1, 7), (1, 3), stride=(1, 2)),
    "one column": convolution(2, 2, (8, 1), (3, 3), begin=(1, 1), end=(1, 1)),
    "one column, upright kernel": convolution(2, 2, (8, 1), (3, 1), stride=(2, 1), begin=(1, 0)),
    "one output column": convolution(1, 1, (8, 3), (3, 3)),
    "one pixel": convolution(3, 4, (1, 1), (1, 1)),
    "one plane": convolution(1, 4, (5, 5), (3, 3), begin=(1, 1), end=(1, 1)),
    "one filter": convolution(4, 1, (5, 5), (3, 3), begin=(1, 1), end=(1, 1)),
    "one plane, one filter": convolution(1, 1, (4, 5), (2, 2)),
    "rows unused": convolution(2, 2, (9, 9), (2, 2), stride=(3, 3)),
    "depthwise": convolution(4, 4, (5, 4), (3, 3), begin=(1, 1), end=(1, 1), groups=4),
    "depthwise, 1D, stride 2": convolution(3, 3, (9,), (3,), stride=(2,), begin=(1,), groups=3),
    "depthwise, two filters each": convolution(2, 4, (5, 4), (3, 2), stride=(2, 1), dilation=(1, 2), groups=2),
    "two groups": convolution(4, 6, (4, 5), (3, 3), begin=(1, 0), end=(1, 2), groups=2),
    "kernel 11": convolution(1, 2, (13, 12), (11, 11), begin=(2, 1)),
}


@pytest.mark.parametrize("pick", PICKS)
@pytest.mark.parametrize("name", SHAPES)
def test_every_shape(name: str, pick: str) -> None:
    prove(plan_of([SHAPES[name]], [PICKS[pick](SHAPES[name])]), 3)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", [4, 5, 8, 12, 16])
@pytest.mark.parametrize("weight_bits", [2, 3, 8, 13, 16])
def test_every_width(weight_bits: int, bits: int, signed: bool) -> None:
    reads = NumberFormat(bits, signed)
    layer = convolution(
        2, 2, (3, 4), (2, 3), begin=(1, 1), weight_bits=weight_bits, reads=reads, writes=reads, relu=False,
        seed=weight_bits * bits,
    )  # fmt: skip
    prove(plan_of([layer], [Fold(2, 3, 1, 2)]), 1)


@pytest.mark.parametrize("relu", [False, True], ids=["plain", "relu"])
@pytest.mark.parametrize("writes", [INT8, UINT8, NumberFormat(4, True), NumberFormat(16, True)], ids=str)
def test_every_output(writes: NumberFormat, relu: bool) -> None:
    layer = convolution(2, 3, (4, 4), (3, 3), reads=INT8, writes=writes, relu=relu, seed=21)
    prove(plan_of([layer], [Fold(1, 3, 2, 1)]))


FOLDED = {
    "stride 1": convolution(4, 2, (4, 4), (3, 2), begin=(1, 1), end=(1, 0), seed=5),
    "stride 2, dilation 2": convolution(2, 4, (5, 5), (3, 2), stride=(2, 2), dilation=(1, 2), begin=(1, 1), seed=6),
    "groups": convolution(8, 4, (4, 3), (2, 2), begin=(1, 0), groups=4, seed=7),
    "groups, stride 2": convolution(4, 8, (5, 4), (3, 2), stride=(2, 2), begin=(1, 1), groups=2, seed=8),
}


@pytest.mark.parametrize(
    ("layer", "fold"),
    [
        pytest.param(layer, fold, id=f"{name}, {'x'.join(map(str, astuple(fold)))}")
        for name, layer in FOLDED.items()
        for fold in folds_of(layer)
    ],
)
def test_every_legal_fold(layer: ConvolutionLayer, fold: Fold) -> None:
    prove(plan_of([layer], [fold]))


DENSE = {
    "of one pixel": convolution(6, 4, (1, 1), (1, 1), seed=1),
    "of an image": convolution(2, 4, (3, 2), (3, 2), writes=INT8, relu=False, seed=2),
    "of a line": convolution(2, 3, (5,), (5,), seed=3),
    "to one": convolution(4, 1, (2, 2), (2, 2), seed=4),
}


@pytest.mark.parametrize(
    ("layer", "fold"),
    [
        pytest.param(layer, fold, id=f"{name}, {fold.channels}x{fold.filters}")
        for name, layer in DENSE.items()
        for fold in folds_of(layer)
    ],
)
def test_fully_connected_layers(layer: ConvolutionLayer, fold: Fold) -> None:
    prove(plan_of([layer], [fold]), 3)


@pytest.mark.parametrize("stall", [stall for stall in STALLS if stall != "none"])
@pytest.mark.parametrize("pick", PICKS)
@pytest.mark.parametrize("name", ["unlike strides", "dilation 2", "1D", "one column", "padding all round", "one pixel",
                                  "depthwise", "two groups"])
def test_stalls_lose_and_repeat_nothing(name: str, pick: str, stall: str) -> None:
    prove(plan_of([SHAPES[name]], [PICKS[pick](SHAPES[name])]), 3, stall=stall, seed=len(name))


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 9])
def test_any_depth_of_queue_keeps_values_and_prediction(depth: int) -> None:
    layer = SHAPES["one plane"]
    prove(plan_of([layer], depths=[depth]))
    prove(plan_of([layer], depths=[depth]), stall="both")


NETWORKS = {
    "two layers": [
        convolution(2, 3, (6, 5), (3, 3), begin=(1, 1), end=(1, 1), name="a", seed=31),
        convolution(3, 2, (6, 5), (2, 3), begin=(1, 0), name="b", seed=32),
    ],
    "a volume": [convolution(1, 2, (3, 5, 4), (2, 3, 3), begin=(0, 1, 1), end=(0, 1, 1), seed=33)],
}


@pytest.mark.parametrize("stall", ["none", "both"])
@pytest.mark.parametrize("steering", ["computed", "stored"])
@pytest.mark.parametrize("name", NETWORKS)
def test_output_controllers_in_a_network(name: str, steering: str, stall: str) -> None:
    """Layers follow one another with nothing stored between them, each steered anew (US 2020/0117986 [0072])."""
    layers = NETWORKS[name]
    plans = []
    for layer in layers:
        folds = architecture_folds(layer, "steered")
        fold = max((fold for fold in folds if fold.kernel_rows > 1), key=lambda fold: fold.multipliers)
        plans.append(ConvolutionPlan(layer, "steered", fold, steering))
    prove(NetworkPlan(network(layers), tuple(plans)), stall=stall)


@pytest.mark.parametrize("filters", [1, 2])
@pytest.mark.parametrize("size", [(9, 1), (9, 2), (9, 3), (9, 4)], ids=lambda size: f"{size[1]} wide")
@pytest.mark.parametrize("kernel", [(3, 1), (5, 1)], ids=lambda kernel: f"{kernel[0]} high")
def test_rows_shorter_than_the_integrators_turnaround(
    kernel: tuple[int, int], size: tuple[int, int], filters: int
) -> None:
    layer = convolution(1, 2, size, kernel, begin=(1, 0), end=(2, 0), seed=size[1])
    for rows in (1, kernel[0]):
        prove(plan_of([layer], [Fold(rows, 1, 1, filters)]), 3)


@st.composite
def plans(draw: Any) -> Any:
    """Return a plan with a legal fold of a random layer of one or two axes."""
    dimensions = draw(st.integers(1, 2))

    def axes(low: int, high: int) -> Any:
        return tuple(draw(st.integers(low, high)) for _ in range(dimensions))

    groups = draw(st.sampled_from([1, 1, 2, 3]))
    try:
        layer = convolution(
            groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3)), axes(1, 6), axes(1, 5),
            stride=axes(1, 3), dilation=axes(1, 2), begin=axes(0, 2), end=axes(0, 2),
            weight_bits=draw(st.sampled_from([2, 4, 8, 12])), relu=draw(st.booleans()),
            reads=draw(st.sampled_from([UINT8, INT8, NumberFormat(4, False)])),
            writes=draw(st.sampled_from([UINT8, INT8, NumberFormat(5, True)])), seed=draw(st.integers(0, 99)),
            groups=groups,
        )  # fmt: skip
        fold = draw(st.sampled_from(folds_of(layer)))
    except CrosstileError:
        assume(False)
    return plan_of([layer], [fold])


@settings(max_examples=25, deadline=None, derandomize=True)
@given(plans(), st.sampled_from(list(STALLS)))
def test_random_geometry(plan: Any, stall: str) -> None:
    prove(plan, 2, stall=stall)


@pytest.mark.slow
@settings(max_examples=600, deadline=None, derandomize=True)
@given(plans(), st.sampled_from(list(STALLS)), st.integers(1, 3))
def test_much_random_geometry(plan: Any, stall: str, frames: int) -> None:
    prove(plan, frames, stall=stall)
