"""Every plan of a convolution, whatever is kept and however it is folded, equals golden in the predicted cycles."""

from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from crosstile import layer_plan
from crosstile.fold import Fold
from crosstile.layer_plan import ARCHITECTURES, ConvolutionPlan, architecture_folds, convolution_plans
from crosstile.line_buffer_plan import LineBufferPlan
from crosstile.network_plan import NetworkPlan
from crosstile_golden.convolution import convolution as convolve
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from .bench import INT8, STALLS, convolution, network, prove, random_frames, results_of

LAYERS: dict[str, ConvolutionLayer] = {
    "1D": convolution(2, 2, (6,), (3,), begin=(1,), end=(2,), seed=1),
    "1D, stride 2, dilation 2": convolution(2, 2, (8,), (3,), stride=(2,), dilation=(2,), begin=(1,), seed=2),
    "2D": convolution(2, 2, (4, 3), (3, 2), begin=(1, 0), end=(0, 1), reads=INT8, seed=3),
    "2D, stride 2, dilation 2": convolution(
        2, 1, (6, 4), (3, 2), stride=(2, 1), dilation=(2, 1), begin=(2, 1), end=(1, 0), seed=4
    ),
    "2D, stride over kernel": convolution(2, 2, (7, 4), (2, 1), stride=(3, 2), seed=5),
    "2D, depthwise": convolution(3, 3, (4, 3), (3, 2), begin=(1, 1), end=(1, 0), groups=3, seed=6),
    "2D, two groups": convolution(4, 4, (3, 3), (2, 2), begin=(1, 0), groups=2, seed=7),
    "2D, 1 x 1": convolution(2, 2, (3, 3), (1, 1), seed=8),
    "2D, covered by the kernel": convolution(2, 2, (3, 2), (3, 2), seed=9),
    "2D, one row": convolution(2, 2, (1, 4), (3, 2), begin=(1, 0), end=(1, 1), seed=10),
    "2D, as many channels as taps": convolution(3, 1, (3, 2), (3, 1), begin=(1, 0), end=(1, 0), seed=11),
}

VOLUMES: dict[str, ConvolutionLayer] = {
    "3D": convolution(1, 2, (3, 3, 3), (2, 2, 2), begin=(1, 0, 1), seed=21),
    "3D, kernel 3": convolution(1, 1, (3, 4, 3), (3, 3, 3), begin=(1, 1, 1), end=(1, 1, 1), reads=INT8, seed=22),
    "3D, stride 2": convolution(1, 2, (4, 4, 3), (2, 3, 2), stride=(2, 2, 1), begin=(0, 1, 1), seed=23),
    "3D, dilation 2": convolution(1, 2, (4, 4, 3), (2, 2, 2), dilation=(2, 2, 1), begin=(1, 0, 1), seed=24),
    "3D, padding behind the last slice": convolution(1, 1, (2, 3, 2), (2, 2, 1), end=(3, 1, 0), seed=25),
    "3D, stride over kernel": convolution(2, 1, (5, 3, 3), (1, 2, 1), stride=(3, 3, 2), seed=26),
    "3D, depthwise": convolution(2, 2, (3, 3, 2), (2, 2, 1), begin=(1, 1, 0), groups=2, seed=27),
    "3D, two groups": convolution(4, 2, (2, 2, 2), (2, 2, 1), begin=(1, 0, 0), groups=2, seed=28),
    "3D, 1 x 1 x 1": convolution(2, 2, (2, 2, 3), (1, 1, 1), seed=29),
    "3D, covered by the kernel": convolution(2, 2, (2, 2, 2), (2, 2, 2), seed=30),
    "3D, kernel only along the depth": convolution(2, 1, (3, 2, 2), (3, 1, 1), begin=(2, 0, 0), end=(2, 0, 0), seed=31),
    "3D, one slice": convolution(1, 2, (1, 3, 3), (3, 2, 2), begin=(1, 0, 0), end=(1, 0, 0), seed=32),
}


def every_plan(layers: dict[str, ConvolutionLayer]) -> list[Any]:
    """Return each plan of each layer as a case, every other one with a stall, all in turn; half of them are slow."""
    cases: list[Any] = []
    for name, layer in layers.items():
        for plan in convolution_plans(layer):
            stall = ("none", "source", "none", "sink", "none", "both")[len(cases) % 6]
            fold = "x".join(map(str, astuple(plan.fold)))
            marks = [pytest.mark.slow] if len(cases) // 2 % 2 else []
            identity = f"{name}, {plan.architecture} {fold}, stalls {stall}"
            cases.append(pytest.param(plan, stall, id=identity, marks=marks))
    return cases


def alone(plan: ConvolutionPlan) -> NetworkPlan:
    return NetworkPlan(network([plan.layer]), (plan,))


def widest(layer: ConvolutionLayer, architecture: str, **settings: Any) -> ConvolutionPlan:
    folds = architecture_folds(layer, architecture)
    return ConvolutionPlan(layer, architecture, max(folds, key=lambda fold: fold.multipliers), **settings)


@pytest.mark.parametrize(("plan", "stall"), every_plan(LAYERS))
def test_every_plan_of_lines_and_images(plan: ConvolutionPlan, stall: str) -> None:
    """US 2020/0117986 [0050], [0074]: one and two spatial axes, any kernel."""
    prove(alone(plan), 2, stall=stall)


@pytest.mark.parametrize(("plan", "stall"), every_plan(VOLUMES))
def test_every_plan_of_volumes_as_us_2020_0117986_0050_and_0074_allow(plan: ConvolutionPlan, stall: str) -> None:
    # [0050]: D input maps of any number; [0074]: k may be any value. A volume's slices are such maps, k at a time.
    prove(alone(plan), 2, stall=stall)


@pytest.mark.parametrize("cycle", [0, 1, 2, 5, 11, 23, 40, 71])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", ["2D", "3D"])
def test_reset_in_mid_frame_recovers(name: str, architecture: str, cycle: int) -> None:
    prove(alone(widest((LAYERS | VOLUMES)[name], architecture)), 2, reset_at=cycle, stall="both")


@pytest.mark.parametrize("name", [*LAYERS, *VOLUMES])
def test_both_architectures_give_identical_results(name: str) -> None:
    layer = (LAYERS | VOLUMES)[name]
    plans = [alone(max(convolution_plans(layer, (kind,)), key=lambda plan: plan.multipliers)) for kind in ARCHITECTURES]
    frames = random_frames(plans[0], 2, 5)
    steered, buffered = (results_of(plan, prove(plan, frames)) for plan in plans)
    np.testing.assert_array_equal(steered, buffered)


# Memory: k − 1 rows, of partial sums or of activations

MEMORY = {
    "2D": convolution(3, 4, (7, 5), (3, 3), begin=(1, 1), end=(1, 1), seed=41),
    "2D, kernel 5": convolution(2, 3, (10, 6), (5, 2), seed=42),
    "3D": convolution(3, 4, (4, 7, 5), (2, 3, 3), begin=(0, 1, 1), end=(0, 1, 1), seed=43),
}


@pytest.mark.parametrize("name", MEMORY)
def test_steering_keeps_k_minus_1_rows_of_partial_sums(name: str) -> None:
    """US 2020/0117986 [0072]: what is stored between two layers, counted."""
    layer = MEMORY[name]
    kernel, width, filters = layer.geometry.kernel[-2], layer.geometry.output_size[-1], layer.geometry.out_channels
    together = widest(layer, "steered").engine
    assert len(together.integrator_bits) == kernel
    assert together.integrator_memory_bits == sum(together.integrator_bits[:-1]) * width * filters
    assert together.integrator_memory_bits <= (kernel - 1) * width * filters * together.accumulator_bits
    fold = min(architecture_folds(layer, "steered"), key=lambda fold: fold.multipliers)
    in_turn = ConvolutionPlan(layer, "steered", fold).engine
    assert in_turn.integrator_memory_bits == kernel * width * filters * in_turn.integrator_bits[0]


@pytest.mark.parametrize("name", MEMORY)
def test_buffering_keeps_k_minus_1_rows_of_activations_and_no_sums(name: str) -> None:
    geometry = MEMORY[name].geometry
    depth, kernel = (1, *geometry.kernel[:-1])[-2:]
    slices = (depth - 1) * int(np.prod(geometry.input_size[-2:])) * geometry.in_channels * 8
    rows = (kernel - 1) * geometry.input_size[-1] * geometry.in_channels * depth * 8
    for fold in architecture_folds(MEMORY[name], "buffered"):
        plan = ConvolutionPlan(MEMORY[name], "buffered", fold)
        assert plan.buffer_bits == slices + rows
        assert plan.engine.integrator_memory_bits == 0


def test_a_steered_volume_keeps_k_minus_1_slices_of_activations() -> None:
    assert widest(MEMORY["3D"], "steered").buffer_bits == (2 - 1) * 7 * 5 * 3 * 8
    assert widest(MEMORY["2D"], "steered").buffer_bits == 0


@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_dilation_keeps_as_many_rows_more(dilation: int) -> None:
    layer = convolution(2, 2, (9, 4), (3, 1), dilation=(dilation, 1))
    assert widest(layer, "buffered").buffer_bits == 2 * dilation * 4 * 2 * 8


# What there is to choose from


@pytest.mark.parametrize("name", ["1D", "2D, 1 x 1", "2D, covered by the kernel", "3D, covered by the kernel",
                                  "3D, kernel only along the depth"])
def test_where_nothing_more_would_be_buffered_there_is_one_architecture(name: str) -> None:
    assert {plan.architecture for plan in convolution_plans((LAYERS | VOLUMES)[name])} == {"steered"}


@pytest.mark.parametrize("name", ["2D", "2D, depthwise", "3D", "3D, two groups"])
def test_else_there_are_both_and_no_plan_twice(name: str) -> None:
    plans = convolution_plans((LAYERS | VOLUMES)[name])
    assert {plan.architecture for plan in plans} == set(ARCHITECTURES)
    assert len({(plan.architecture, plan.fold) for plan in plans}) == len(plans)


def test_the_widest_buffered_plan_takes_a_pixel_per_cycle() -> None:
    layer = convolution(2, 4, (6, 6), (3, 3), begin=(1, 1), end=(1, 1))
    plan = widest(layer, "buffered")
    assert plan.multipliers == 2 * 4 * 9
    assert [stage.cycles_per_frame for stage in plan.stages] == [7 * 6, 6 * 7]  # a row, and a column, of padding


@pytest.mark.parametrize("name", [*LAYERS, *VOLUMES])
def test_useful_multiplications_are_those_of_taps_within_the_input(name: str) -> None:
    layer = (LAYERS | VOLUMES)[name]
    shape = layer.geometry
    ones = np.ones((1, shape.in_channels, *shape.input_size), np.int64)
    useful = convolve(ones, np.ones(shape.weight_shape, np.int64), shape).sum()
    for plan in convolution_plans(layer):
        assert plan.useful_macs == useful
        assert round(plan.utilisation * plan.multipliers * plan.cycles_per_frame) == shape.macs


@pytest.mark.parametrize("architecture", ["stored", ""])
def test_other_architectures_are_refused(architecture: str) -> None:
    with pytest.raises(CrosstileError) as error:
        ConvolutionPlan(LAYERS["2D"], architecture, Fold(1, 1, 1, 1))
    assert str(error.value) == (
        f"layer convolution: architecture must be one of steered, buffered, not {architecture!r}"
    )


@pytest.mark.parametrize(
    ("name", "architecture", "fold"),
    [("2D", "buffered", Fold(1, 1, 4, 1)), ("3D, two groups", "steered", Fold(1, 1, 3, 1))],
)
def test_channels_that_are_no_whole_taps_are_refused(name: str, architecture: str, fold: Fold) -> None:
    with pytest.raises(CrosstileError) as error:
        ConvolutionPlan((LAYERS | VOLUMES)[name], architecture, fold)
    assert str(error.value) == f"layer convolution: fold {fold} is not legal for {architecture}"


def test_buffered_rows_are_no_kernel_rows_of_the_engine() -> None:
    with pytest.raises(CrosstileError, match=r"^layer convolution: fold .* is not legal; kernel_rows must be 1 "):
        ConvolutionPlan(LAYERS["2D"], "buffered", Fold(3, 2, 2, 2))


# At random


@st.composite
def plans(draw: Any) -> ConvolutionPlan:
    dimensions = draw(st.integers(1, 3))

    def axes(low: int, high: int) -> Any:
        return tuple(draw(st.integers(low, high)) for _ in range(dimensions))

    groups = draw(st.sampled_from([1, 1, 2, 3]))
    options: list[ConvolutionPlan] = []
    try:
        layer = convolution(
            groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 2)), axes(1, 4), axes(1, 3),
            stride=axes(1, 3), dilation=axes(1, 2), begin=axes(0, 2), end=axes(0, 2), groups=groups,
            seed=draw(st.integers(0, 99)),
        )  # fmt: skip
        options = [plan for plan in convolution_plans(layer) if plan.cycles_per_frame <= 250]
    except CrosstileError:
        assume(False)
    assume(options)
    return draw(st.sampled_from(options))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(plans(), st.sampled_from(list(STALLS)))
def test_random_plans(plan: ConvolutionPlan, stall: str) -> None:
    prove(alone(plan), 2, stall=stall)


@pytest.mark.slow
@settings(max_examples=600, deadline=None, derandomize=True)
@given(plans(), st.sampled_from(list(STALLS)), st.integers(1, 3))
def test_many_random_plans(plan: ConvolutionPlan, stall: str, frames: int) -> None:
    prove(alone(plan), frames, stall=stall)


@pytest.mark.parametrize("defect", ["orders taps as weights do", "shares no run", "reads a row above"])
def test_a_plan_is_refused_that(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = convolution(2, 2, (4, 3), (3, 2), begin=(1, 0), end=(1, 0), seed=3)
    plan = widest(layer, "buffered")
    prove(alone(plan))
    if defect == "orders taps as weights do":
        monkeypatch.setattr(layer_plan, "_regrouped", lambda weight, _run: weight.reshape(*_flat(weight)))
    elif defect == "shares no run":
        monkeypatch.setattr(layer_plan, "_run", lambda _geometry, lanes: 1 if lanes > 1 else lanes)
        plain = layer_plan._regrouped
        monkeypatch.setattr(layer_plan, "_regrouped", lambda weight, _run: plain(weight, 2))
    else:
        steps = LineBufferPlan.row_steps.func  # type: ignore[attr-defined]
        monkeypatch.setattr(LineBufferPlan, "row_steps", property(lambda plan: (*steps(plan)[1:], steps(plan)[0])))
    with pytest.raises(AssertionError):
        prove(alone(ConvolutionPlan(layer, "buffered", plan.fold)))


def _flat(weight: Any) -> tuple[int, ...]:
    filters, channels, kernel, *rest = weight.shape
    return (filters, channels * kernel, 1, *rest)
