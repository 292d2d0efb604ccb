"""A layer by Winograd's tiles equals golden and the crosspoint engine, bit for bit, in the predicted cycles."""

from typing import Any

import numpy as np
import pytest
from crosstile.layer_plan import PoolingPlan, convolution_plans
from crosstile.mapper import Options, deepen, map_network
from crosstile.network_plan import NetworkPlan
from crosstile.stages import INPUT, Source
from crosstile.winograd_fold import TileFold, legal_tile_folds
from crosstile.winograd_layer_plan import WinogradLayerPlan
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import NumberFormat

from .bench import INT8, STALLS, UINT8, convolution, network, pool, prove, random_frames, results_of

LAYERS: dict[str, Any] = {
    "1D k3": ((4, 6, (9,), (3,)), {"begin": (1,), "end": (1,)}),
    "1D k2": ((3, 4, (8,), (2,)), {}),
    "1D k4": ((2, 2, (11,), (4,)), {"begin": (1,), "end": (2,)}),
    "1D k5": ((2, 4, (12,), (5,)), {"begin": (2,), "end": (2,)}),
    "1D k9": ((1, 2, (14,), (9,)), {"begin": (4,), "end": (4,)}),
    "1D k3 stride 2": ((2, 4, (13,), (3,)), {"stride": (2,), "begin": (1,)}),
    "1D k5 stride 3": ((2, 2, (16,), (5,)), {"stride": (3,), "begin": (2,), "end": (1,)}),
    "1D k3 dilation 2": ((2, 2, (11,), (3,)), {"dilation": (2,)}),
    "1D one filter, one output": ((1, 1, (3,), (3,)), {"begin": (0,), "end": (1,)}),
    "2D 3x3": ((4, 4, (6, 7), (3, 3)), {"begin": (1, 1), "end": (1, 1)}),
    "2D 3x3, padding of one side": ((2, 3, (5, 4), (3, 3)), {"begin": (2, 0), "end": (0, 1)}),
    "2D 2x2": ((2, 4, (5, 6), (2, 2)), {}),
    "2D 3x2": ((2, 2, (6, 6), (3, 2)), {"begin": (1, 0), "end": (1, 1)}),
    "2D 4x4": ((2, 2, (7, 6), (4, 4)), {"begin": (1, 2), "end": (2, 1)}),
    "2D 5x5": ((2, 2, (8, 8), (5, 5)), {"begin": (2, 2), "end": (2, 2)}),
    "2D 7x7": ((1, 2, (9, 8), (7, 7)), {"begin": (3, 3), "end": (3, 3)}),
    "2D 3x3 stride 2": ((2, 2, (9, 9), (3, 3)), {"stride": (2, 2), "begin": (1, 1), "end": (1, 1)}),
    "2D 3x3 stride 1, 2": ((2, 2, (6, 9), (3, 3)), {"stride": (1, 2), "begin": (1, 1), "end": (1, 1)}),
    "2D 3x3 dilation 2": ((2, 2, (8, 9), (3, 3)), {"dilation": (2, 2), "begin": (2, 2), "end": (2, 2)}),
    "2D 3x3 stride 2 dilation 3": ((1, 2, (9, 11), (3, 3)), {"stride": (2, 2), "dilation": (3, 3), "begin": (1, 1)}),
    "2D 1x3": ((2, 2, (5, 8), (1, 3)), {}),
    "2D 3x1": ((2, 2, (7, 3), (3, 1)), {"begin": (1, 0)}),
    "2D one row": ((2, 2, (1, 8), (3, 3)), {"begin": (1, 1), "end": (1, 1)}),
    "2D stride beyond the kernel": ((2, 2, (9, 9), (2, 2)), {"stride": (3, 3)}),
    "2D depthwise": ((4, 4, (5, 6), (3, 3)), {"groups": 4}),
    "2D groups": ((6, 4, (5, 4), (3, 3)), {"groups": 2}),
    "3D 3x3x3": ((2, 2, (4, 5, 4), (3, 3, 3)), {"begin": (1, 1, 1), "end": (1, 1, 1)}),
    "3D 2x3x2": ((1, 2, (4, 4, 5), (2, 3, 2)), {}),
    "3D 3x3x3 stride 2": ((1, 2, (5, 5, 6), (3, 3, 3)), {"stride": (2, 2, 2), "begin": (1, 1, 1)}),
    "3D 1x3x3": ((2, 2, (3, 4, 4), (1, 3, 3)), {}),
}


def layer_of(name: str, **more: Any) -> ConvolutionLayer:
    positional, settings = LAYERS[name]
    return convolution(*positional, **settings, **more, seed=len(name))


def alone(plan: Any) -> NetworkPlan:
    """Return the accelerator of one layer."""
    return NetworkPlan(network([plan.layer]), (plan,))


def some_folds(layer: ConvolutionLayer, count: int) -> list[TileFold]:
    """Return folds from the smallest array to the largest."""
    folds = sorted(legal_tile_folds(layer.geometry), key=lambda fold: (fold.products, fold.lanes))
    return list(dict.fromkeys(folds[index * (len(folds) - 1) // max(count - 1, 1)] for index in range(count)))


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_equals_golden_in_the_predicted_cycles(name: str) -> None:
    layer = layer_of(name)
    for fold, weights in zip(some_folds(layer, 2), ("transformed", "raw"), strict=False):
        prove(alone(WinogradLayerPlan(layer, fold, weights)))


@pytest.mark.parametrize("name", ["1D k3", "2D 3x3", "2D 3x3 stride 2", "2D 5x5", "2D depthwise", "3D 3x3x3"])
def test_a_layer_is_bit_identical_to_the_crosspoint_engine(name: str) -> None:
    layer = layer_of(name)
    plans = [alone(some_folds_plan(layer)), alone(convolution_plans(layer)[0])]
    frames = random_frames(plans[0], 2)
    found = [results_of(plan, prove(plan, frames)) for plan in plans]
    np.testing.assert_array_equal(*found)


def some_folds_plan(layer: ConvolutionLayer) -> WinogradLayerPlan:
    """Return a plan between the extremes."""
    return WinogradLayerPlan(layer, some_folds(layer, 3)[1])


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("name", ["1D k5", "2D 3x3", "2D 5x5", "2D 3x3 stride 2", "3D 3x3x3"])
def test_stalls_lose_and_repeat_nothing(name: str, stall: str) -> None:
    prove(alone(some_folds_plan(layer_of(name))), stall=stall, seed=7)


@pytest.mark.parametrize("reset_at", [0, 25, 180, 400])
@pytest.mark.parametrize("name", ["1D k3 stride 2", "2D 5x5", "2D 3x3"])
def test_a_reset_in_mid_frame_recovers(name: str, reset_at: int) -> None:
    prove(alone(some_folds_plan(layer_of(name))), stall="both", reset_at=reset_at)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [4, 5, 8, 12, 16])
def test_operands_of_4_to_16_bits_are_exact(bits: int, signed: bool) -> None:
    reads = NumberFormat(bits, signed)
    for name in ("1D k3", "2D 3x3", "2D 3x3 stride 2"):
        prove(alone(some_folds_plan(layer_of(name, reads=reads, weight_bits=bits))), 1)


def test_extreme_weights_and_activations_are_exact() -> None:
    layer = layer_of("2D 3x3", reads=INT8)
    layer.weight[...] = -128
    frames = np.full((2, 4, 6, 7), -128)
    frames[1] = 127
    prove(alone(WinogradLayerPlan(layer, TileFold(2, 2))), frames)


@pytest.mark.parametrize("name", ["1D k3", "2D 3x3", "2D 5x5"])
def test_queues_deep_enough_let_the_slowest_stage_set_the_pace(name: str) -> None:
    plan = deepen(alone(some_folds_plan(layer_of(name))))
    assert plan.cycles_per_frame == plan.slowest
    prove(plan, 3)


@pytest.mark.parametrize(("name", "count"), [("1D k3", 1), ("2D 5x5", 2), ("3D 3x3x3", 3)])
def test_links_within_a_layer_are_late_and_cost_no_cycle(
    name: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = layer_of(name)
    plan = alone(WinogradLayerPlan(layer, some_folds(layer, 1)[0]))
    assert plan.late == {Source(INPUT), *(Source(index) for index in range(count))}
    late = prove(plan)
    monkeypatch.setattr(NetworkPlan, "late", frozenset())
    assert prove(alone(plan.layers[0])).cycles == late.cycles


def test_layers_of_both_engines_and_pools_follow_each_other() -> None:
    first = convolution(3, 4, (8, 8), (3, 3), begin=(1, 1), end=(1, 1), name="first")
    between = pool(4, (8, 8), (2, 2), "max", name="between")
    second = convolution(4, 6, (4, 4), (3, 3), begin=(1, 1), end=(1, 1), reads=first.output_format, name="second")
    last = convolution(6, 3, (4, 4), (4, 4), reads=second.output_format, name="last")
    chain = network([first, between, second, last])
    plan = map_network(chain, None, None, Options(engines=("winograd",)))
    kinds = [type(layer).__name__ for layer in plan.layers]
    assert kinds == ["WinogradLayerPlan", "PoolingPlan", "WinogradLayerPlan", "ConvolutionPlan"]
    prove(plan, 3)
    prove(plan, 2, stall="both")


def test_rows_leave_together_into_a_pool_that_stores_none() -> None:
    first = convolution(2, 4, (6, 8), (3, 3), begin=(1, 1), end=(1, 1), name="first")
    between = pool(4, (6, 8), (2, 2), "max", name="between")
    chain = network([first, between])
    plan = map_network(chain, None, None, Options(engines=("winograd",), rows_at_once=True))
    joined = plan.layers[1]
    assert isinstance(joined, PoolingPlan) and joined.rows_per_beat == 2
    prove(plan, 3)


@pytest.mark.parametrize("limit", [("1D k3", 1.5), ("2D 3x3", 2.25), ("2D 5x5", 2.25), ("3D 3x3x3", 3.375)])
def test_losses_add_up_and_the_limit_is_winograd_s(limit: tuple[str, float]) -> None:
    plan = some_folds_plan(layer_of(limit[0]))
    assert plan.limit == limit[1]
    losses = plan.losses(plan.cycles_per_frame + 10)
    assert sum(losses.values()) == pytest.approx(1)
    assert losses["waiting"] > 0
    effective = plan.layer.geometry.macs / plan.multipliers / (plan.cycles_per_frame + 10)
    assert losses["work"] * plan.limit == pytest.approx(effective)


def test_a_layer_without_tiles_is_refused_with_its_name() -> None:
    layer = convolution(2, 2, (4, 4), (1, 1), name="pointwise", reads=UINT8)
    with pytest.raises(CrosstileError, match=r"layer pointwise: kernel .* use crosspoint"):
        WinogradLayerPlan(layer, TileFold(1, 1))
