"""A layer that reads every activation once equals golden in the predicted cycles, alone and in whole networks."""

from dataclasses import replace
from typing import Any

import crosstile.cyclic_chain
import crosstile.reuse
import crosstile.reuse_gather
import numpy as np
import pytest
from amaranth.hdl import Fragment
from crosstile.accelerator import Accelerator
from crosstile.layer_plan import ConvolutionPlan, PoolingPlan, convolution_plans
from crosstile.mapper import Options, candidates, deepen, map_network
from crosstile.network_plan import NetworkPlan
from crosstile.reuse import ReuseEngine
from crosstile.reuse_fold import ReuseFold
from crosstile.reuse_layer_plan import ReuseLayerPlan, reuse_plans
from crosstile.step_delay import StepDelay
from crosstile.verilog import emit
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer, IntegerNetwork, Residual, Sources
from crosstile_golden.reuse import layer_reads, layer_reads_sliding

from .bench import STALLS, Run, accelerator_bench, convolution, network, pool, prove, random_frames, results_of
from .reuse_bench import window_of

LAYERS = {
    "3x3, padded": convolution(2, 2, (4, 4), (3, 3), begin=(1, 1), end=(1, 1), seed=1),
    "3x3": convolution(2, 2, (5, 5), (3, 3), seed=2),
    "5x2, unlike padding": convolution(1, 2, (6, 4), (5, 2), begin=(3, 0), end=(0, 1), seed=3),
    "stride 2": convolution(2, 2, (7, 6), (3, 3), stride=(2, 2), begin=(1, 1), end=(0, 1), seed=4),
    "stride over kernel": convolution(2, 2, (5, 6), (2, 1), stride=(3, 2), seed=5),
    "dilation 2": convolution(1, 2, (6, 5), (3, 2), dilation=(2, 2), begin=(2, 1), end=(2, 0), seed=6),
    "1x1": convolution(4, 4, (3, 3), (1, 1), seed=8),
    "one row": convolution(2, 2, (1, 7), (3, 3), begin=(1, 1), end=(1, 1), seed=9),
    "one pixel": convolution(4, 2, (1, 1), (1, 1), seed=11),
    "fully connected": convolution(2, 4, (3, 2), (3, 2), seed=12),
    "3D": convolution(1, 2, (3, 3, 4), (3, 2, 2), begin=(1, 0, 1), end=(1, 0, 0), seed=13),
}


def alone(plan: Any) -> NetworkPlan:
    """Return the accelerator of one layer."""
    return NetworkPlan(network([plan.layer]), (plan,))


def plan_of(name: str, share: float = 0.5, outputs: int = 0, **fields: Any) -> ReuseLayerPlan:
    """Return a plan: of the smallest array (share 0) to the largest (1), of so many outputs or the whole frame."""
    plans = reuse_plans(LAYERS[name])
    fold = plans[int(share * (len(plans) - 1))].fold
    window = window_of(LAYERS[name], outputs) if outputs else fold.window
    return ReuseLayerPlan(LAYERS[name], replace(fold, window=window), **fields)


def counted(plan: NetworkPlan, frames: int, **settings: Any) -> Run:
    """Run frames and hold the activations that the top level has counted to those predicted."""
    inputs = random_frames(plan, frames)
    bench = accelerator_bench(plan, inputs, **settings)
    dut: Any = bench.dut
    bench.watched["activation_reads"] = dut.activation_reads
    run = bench.run()
    np.testing.assert_array_equal(results_of(plan, run), plan.network.run(inputs))
    assert run.flags["activation_reads"] == frames * plan.activation_reads
    return run


@pytest.mark.parametrize("frames", [pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_equals_golden_in_the_predicted_cycles(name: str, frames: int) -> None:
    windows = len(name) % 2 == frames % 2
    outputs = len(name) % 3 + 1 if windows else 0
    prove(alone(plan_of(name, share=(0.0, 1.0)[windows], outputs=outputs, latency=frames, frames=frames)), 3)


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("name", ["3x3, padded", "stride 2", "1x1", "one pixel"])
def test_queues_deep_enough_let_the_stage_set_the_pace(name: str, frames: int) -> None:
    plan = deepen(alone(plan_of(name, frames=frames)))
    assert plan.cycles_per_frame == plan.slowest
    prove(plan, 4)


def test_a_frame_comes_in_while_the_one_before_is_read() -> None:
    one, two = (plan_of("3x3", share=1, frames=frames) for frames in (1, 2))
    assert two.cycles_per_frame == two.engine.cycles_per_frame < one.cycles_per_frame


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("name", ["3x3, padded", "stride 2"])
def test_reads_are_counted_exactly_even_where_all_wait(name: str, stall: str) -> None:
    plan = plan_of(name)
    assert plan.activation_reads == plan.layer.geometry.in_channels * layer_reads(
        plan.layer.geometry, plan.layer.geometry.output_size, True
    )
    counted(alone(plan), 2, stall=stall, seed=3)


def test_without_a_halo_store_the_overlap_is_read_again_and_counted() -> None:
    sliding = LAYERS["3x3, padded"].geometry.in_channels * layer_reads_sliding(LAYERS["3x3, padded"].geometry)
    for outputs in (3, 1):
        plan, kept = (plan_of("3x3, padded", outputs=outputs, halo=halo) for halo in (False, True))
        assert kept.activation_reads < plan.activation_reads
        assert (plan.activation_reads == sliding) == (outputs == 1)
    counted(alone(plan), 2)


@pytest.mark.parametrize("reset_at", [0, 40, 80])
def test_a_reset_in_mid_frame_recovers_and_counts_anew(reset_at: int) -> None:
    counted(alone(plan_of("3x3, padded")), 2, stall="both", reset_at=reset_at)


def test_other_engines_have_no_count() -> None:
    for plan, counts in ((convolution_plans(LAYERS["1x1"])[0], False), (plan_of("1x1"), True)):
        text = emit(Accelerator(alone(plan)), "top")
        assert ("activation_reads" in text) == counts


def chain() -> IntegerNetwork:
    """Return convolutions, a pool, one with groups, and a fully connected layer."""
    first = convolution(1, 2, (4, 6), (3, 3), begin=(1, 1), end=(1, 1), name="first")
    between = pool(2, (4, 6), (2, 2), "max", name="between")
    second = convolution(2, 2, (2, 3), (3, 3), begin=(1, 1), end=(1, 1), reads=first.output_format, name="second")
    third = convolution(2, 2, (2, 3), (1, 2), groups=2, reads=second.output_format, name="third")
    last = convolution(2, 3, (2, 2), (2, 2), reads=third.output_format, name="last")
    return network([first, between, second, third, last])


def test_layers_of_both_engines_and_pools_follow_each_other() -> None:
    plan = map_network(chain(), None, None, Options(engines=("reuse",), rows_at_once=True))
    kinds = [type(layer).__name__ for layer in plan.layers]
    assert kinds == ["ReuseLayerPlan", "PoolingPlan", "ReuseLayerPlan", "ConvolutionPlan", "ReuseLayerPlan"]
    assert isinstance(plan.layers[1], PoolingPlan) and plan.layers[1].rows_per_beat == 1
    prove(plan, 3)
    counted(plan, 1, stall="both")


def test_left_alone_the_mapper_never_takes_it() -> None:
    assert not any(isinstance(plan, ReuseLayerPlan) for plan in candidates(LAYERS["3x3, padded"]))


def test_a_residual_waits_for_a_frame_to_be_read() -> None:
    first = convolution(1, 2, (4, 4), (3, 3), begin=(1, 1), end=(1, 1), name="first", seed=1)
    more: dict[str, Any] = {"begin": (1, 1), "end": (1, 1), "reads": first.output_format}
    one = convolution(2, 2, (4, 4), (3, 3), name="one", seed=2, **more)
    added = Residual(first.output_format, np.full(2, 3))
    two = replace(convolution(2, 2, (4, 4), (3, 3), name="two", seed=3, **more), residual=added)
    sources = (Sources(""), Sources("first"), Sources("one", "first"))
    whole = IntegerNetwork("add", (1, 4, 4), first.input_format, 1.0, (first, one, two), 1.0, two.output_shape, "shift",
                           sources)  # fmt: skip
    plan = map_network(whole, 45, None, Options(engines=("reuse",)))
    assert plan.cycles_per_frame == plan.slowest
    prove(plan, 4)
    counted(plan, 1, stall="both")


@pytest.mark.parametrize("name", ["3x3, padded", "stride 2", "3D", "dilation 2"])
def test_losses_add_up(name: str) -> None:
    for outputs in (0, 1, 2, 3):
        plan = plan_of(name, outputs=outputs)
        losses = plan.losses(plan.cycles_per_frame + 10)
        assert sum(losses.values()) == pytest.approx(1)
        assert min(losses.values()) >= 0
        assert losses["work"] == pytest.approx(plan.utilisation * plan.cycles_per_frame / (plan.cycles_per_frame + 10))


@pytest.mark.parametrize("name", ["3x3, padded", "5x2, unlike padding", "stride 2", "3D"])
@pytest.mark.parametrize("outputs", [0, 1, 2, 3])
def test_memory_is_what_is_built(name: str, outputs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    built: dict[str, list[int]] = {}

    def recorded(module: str) -> Any:
        def make(width: int, steps: int) -> StepDelay:
            built.setdefault(module, []).append(width * steps)
            return StepDelay(width, steps)

        return make

    for module in (crosstile.cyclic_chain, crosstile.reuse_gather, crosstile.reuse):
        monkeypatch.setattr(module, "StepDelay", recorded(module.__name__))
    plan = plan_of(name, outputs=outputs)
    engine: Any = ReuseEngine(plan.engine, 8)
    Fragment.get(engine, None)  # elaborates all below it, too
    assert plan.integrator_memory_bits == sum(built.pop("crosstile.cyclic_chain", []))
    assert plan.window_memory_bits == sum(sum(bits) for bits in built.values())


@pytest.mark.parametrize(
    ("fields", "text"),
    [({"frames": 3}, "layer {}: frames must be 1 or 2, not 3"),
     ({"latency": 0}, "layer {}: latency must be 1 or more, not 0")],
)  # fmt: skip
def test_what_is_not_legal_is_refused_with_the_layer_s_name(fields: dict[str, int], text: str) -> None:
    layer = LAYERS["3x3"]
    with pytest.raises(CrosstileError) as refusal:
        ReuseLayerPlan(layer, reuse_plans(layer)[0].fold, **fields)  # type: ignore[arg-type]
    assert str(refusal.value) == text.format(layer.name)


def test_a_layer_in_groups_is_refused_and_has_no_plans() -> None:
    layer: ConvolutionLayer = convolution(4, 4, (5, 5), (3, 3), groups=2, name="split")
    assert reuse_plans(layer) == []
    with pytest.raises(CrosstileError, match=r"layer split: groups must be 1 for the reuse engine, not 2"):
        ReuseLayerPlan(layer, ReuseFold(1, 1, (5, 5)))
    assert all(isinstance(plan, ConvolutionPlan) for plan in candidates(layer, Options(engines=("reuse",))))
