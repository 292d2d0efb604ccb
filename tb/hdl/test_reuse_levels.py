"""Macro windows of no more outputs than the greatest reach: classes of many levels, columns of many taps."""

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from crosstile.reuse_axis import ReuseAxis
from crosstile.reuse_fold import ReuseFold
from crosstile.reuse_gather import Gather
from crosstile.reuse_layer_plan import ReuseLayerPlan
from crosstile.reuse_plan import ReusePlan
from crosstile.reuse_windows import MacroWindows
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.reuse import schedule

from .bench import STALLS, BenchError, convolution
from .reuse_bench import Axes, framed, prove, window_of


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


STEPS = {"plain": {}, "stride 2": {"stride": 2}, "dilation 2": {"dilation": 2}}


def layer_of(kernel: int, dimensions: int, stride: int = 1, dilation: int = 1) -> ConvolutionLayer:
    """Return a layer whose last axis has the kernel; the others have fewer taps, and all have padding somewhere."""
    kernels = {1: (kernel,), 2: (3, kernel), 3: (2, 2, kernel)}[dimensions]
    spans = [(taps - 1) * dilation + 1 for taps in kernels]
    more = {1: 5, 2: 2, 3: 1}[dimensions]
    size = tuple(span - 1 + more * stride for span in spans)
    ones = (1,) * dimensions
    return convolution(
        1, 2, size, kernels, stride=(stride,) * dimensions, dilation=(dilation,) * dimensions, begin=ones,
        end=(0,) * (dimensions - 1) + (1,), seed=10 * kernel + dimensions,
    )  # fmt: skip


@pytest.mark.parametrize(("halo", "latency"), [(True, 1), (False, 3), slow(True, 3), slow(False, 1)])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_a_macro_window_of_one_or_two_outputs(
    dimensions: int, kernel: int, outputs: int, step: str, halo: bool, latency: int
) -> None:
    layer = layer_of(kernel, dimensions, **STEPS[step])
    prove(ReusePlan(layer, ReuseFold(1, 2, window_of(layer, outputs)), halo, latency))


@pytest.mark.parametrize("outputs", range(1, 10))
def test_seven_taps_under_every_macro_window(outputs: int) -> None:
    for dilation, begin, end, halo in ((1, 0, 0, True), (2, 2, 4, True), (1, 3, 3, False)):
        layer = convolution(1, 1, (6 * dilation + 9 - begin - end,), (7,), dilation=(dilation,), begin=(begin,),
                            end=(end,))  # fmt: skip
        assert layer.geometry.output_size == (9,)
        prove(ReusePlan(layer, ReuseFold(1, 1, window_of(layer, outputs)), halo))


def windows_of(*lengths: Axes) -> list[ReusePlan]:
    """Return a padded 3x3 layer in macro windows of these outputs, its channels and filters in turn."""
    layer = convolution(2, 2, (4, 3), (3, 3), begin=(1, 1), end=(1, 1), seed=3)
    folds = [ReuseFold(1, 1, (rows + 2, columns + 2)) for rows, columns in lengths]
    return [ReusePlan(layer, fold, latency=2) for fold in folds]


@pytest.mark.parametrize("plan", windows_of((2, 2), (1, 3), (4, 1), (3, 2)), ids=lambda plan: str(plan.fold.window))
def test_each_axis_has_its_own(plan: ReusePlan) -> None:
    prove(plan, 3)


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("plan", windows_of((1, 1), (2, 2)), ids=["q = 1", "q = 2"])
def test_stalls_and_resets_lose_and_repeat_nothing(plan: ReusePlan, stall: str) -> None:
    framed(plan, 2, 3, stall=stall, reset_at=70 if stall == "both" else None, seed=2)
    prove(plan, stall=stall)


def test_a_fully_connected_layer_drops_no_class() -> None:
    """Its one output takes one class, of all activations: a read and then one product of each filter."""
    layer = convolution(2, 4, (3, 4), (3, 4), seed=12)
    plan = ReuseLayerPlan(layer, ReuseFold(1, 1, (3, 4)))
    engine = plan.engine
    assert [axis.positions for axis in engine.axes] == [1, 1, 1]
    assert (engine.activation_reads, engine.chains) == (2 * 12, ())
    assert engine.cycles_per_frame == 2 * 12 + 3 * 2
    assert plan.losses(plan.cycles_per_frame)["edges"] == 0
    prove(engine)


def test_a_layer_that_reads_only_padding_along_an_axis_keeps_no_halo() -> None:
    layer = convolution(1, 2, (7, 1), (3, 2), dilation=(1, 3), stride=(1, 3), begin=(1, 2), end=(1, 3))
    plan = ReusePlan(layer, ReuseFold(1, 2, window_of(layer, 2)))
    assert plan.activation_reads == 0
    prove(plan)


def test_one_output_at_a_time_takes_one_column_no_sums_and_a_read_each() -> None:
    """3x3, 16 to 16 planes, 32x32: the halo stores of p = 3 are two rows and two columns, and sums leave at once."""
    layer = convolution(16, 16, (32, 32), (3, 3), begin=(1, 1), end=(1, 1))
    plan, four = (ReuseLayerPlan(layer, ReuseFold(4, 4, (inputs, inputs))) for inputs in (3, 4))
    assert (len(plan.engine.columns), plan.integrator_memory_bits) == (1, 0)
    assert plan.engine.cycles_per_frame == 4 * 33 * 33 + 3 * 4 * 32 * 32
    assert four.engine.cycles_per_frame == 4 * 33 * 33 + 3 * 4 * 32 * 32 + 4 * (32 + 1)
    for each in (plan, four):
        assert each.activation_reads == 16 * 32 * 32


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", range(1, 8))
def test_it_is_golden_s_schedule(kernel: int, stride: int) -> None:
    """In class a each tap takes the input, and feeds the output, that golden's schedule has in cycle a."""
    for outputs in range(1, 8):
        inputs = (outputs - 1) * stride + kernel
        axis = ReuseAxis(inputs, kernel, stride, 1, 0, outputs, outputs, halo=True)
        golden = schedule((inputs,), (kernel,), (stride,))
        order = np.argsort([a for _, a in axis.order])
        levels = np.array([axis.steps[step].further for step in order]) + np.array(axis.taps)[:, 1] // outputs
        classes = np.arange(outputs)[:, None]
        phases = np.array(axis.taps)[:, 0]
        np.testing.assert_array_equal(stride * (classes + outputs * levels) + phases, golden.inputs)
        np.testing.assert_array_equal((classes - np.array(axis.links)) % outputs, golden.outputs)


def unkept(gather: Any, m: Module, slots: Any, arrives: Any) -> Any:
    """Build a halo store that keeps what slots held a class ago where it should keep what it restores."""
    gather.operation = gather.operation.shape()(gather.operation.as_value())
    operation = {name: getattr(gather.operation, name) for name in ("visit", "halos")}
    operation["halos"] = operation["halos"] & 0
    gather.operation = type("Operation", (), operation)
    return HALO(gather, m, slots, arrives)


HALO = Gather._halo
MUTATIONS: dict[str, tuple[type, str, Any]] = {
    "the halo is restored to the same level": (ReuseAxis, "restored", property(lambda axis: axis.kept)),
    "what is restored is not kept": (Gather, "_halo", unkept),
    "the halo store is as long as J": (MacroWindows, "halo_classes", property(lambda axis: axis.taps[-1][1])),
    "taps of a column take one level": (
        ReuseAxis, "slot_of", lambda axis, _, further: next((n for n in axis.restored if n and further), 0)
    ),
    "classes start too late": (MacroWindows, "first", property(lambda axis: axis.reach)),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_engine_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = convolution(1, 3, (11,), (5,), seed=4)
    plan = ReusePlan(layer, ReuseFold(1, 1, (6,)))
    prove(plan, 1)
    owner, attribute, value = MUTATIONS[name]
    monkeypatch.setattr(owner, attribute, value)
    with pytest.raises((AssertionError, BenchError)):
        prove(ReusePlan(layer, plan.fold), 1)
