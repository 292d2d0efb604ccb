"""Networks as graphs of stages: residuals, branches and links equal golden in the cycles of the stepped model."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from crosstile.fold import Fold
from crosstile.layer_plan import ConvolutionPlan, LayerPlan, PoolingPlan, convolution_plans
from crosstile.mapper import Options, deepen, map_network
from crosstile.network_plan import NetworkPlan
from crosstile.pool_plan import PoolPlan
from crosstile.pulse_plan import PulsePlan
from crosstile.stages import INPUT, Source, StreamPlan
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer, IntegerNetwork, Layer, PoolLayer, Residual, Sources
from crosstile_golden.numbers import NumberFormat

from .bench import INT8, STALLS, UINT8, convolution, network, plan_of, pool, prove
from .stepped import StoppedError, graph_of, stepped

Read = tuple[str, str | None]


def same(name: str, channels: int = 2, filters: int = 2, size: tuple[int, ...] = (4, 3), **more: Any) -> Layer:
    """Return a 3x3 convolution of this size in and out."""
    return convolution(channels, filters, size, (3, 3), begin=(1, 1), end=(1, 1), name=name, seed=ord(name[0]), **more)


def point(name: str, channels: int = 2, filters: int = 2, size: tuple[int, ...] = (4, 3), **more: Any) -> Layer:
    return convolution(channels, filters, size, (1, 1), name=name, seed=ord(name[0]), **more)


def plus(layer: Layer, reads: NumberFormat = UINT8) -> Layer:
    """Return the layer with a residual, aligned so that it counts as much as the convolution does."""
    assert isinstance(layer, ConvolutionLayer)
    align = layer.shift + layer.output_format.bits - reads.bits
    return replace(layer, residual=Residual(reads, align))


def graph(layers: Sequence[Layer], reads: Sequence[Read]) -> IntegerNetwork:
    first, last = layers[0], layers[-1]
    shape, sources = (first.geometry.in_channels, *first.geometry.input_size), tuple(Sources(*read) for read in reads)
    return IntegerNetwork(
        "graph", shape, first.input_format, 1.0, tuple(layers), 1.0, last.output_shape, "shift", sources
    )


NETWORKS: dict[str, IntegerNetwork] = {
    "diamond": graph(
        [same("a"), same("b"), plus(same("c"))], [("", None), ("a", None), ("b", "a")]
    ),
    "downsample": graph(
        [
            same("a", 1), convolution(2, 4, (4, 3), (3, 3), stride=(2, 2), begin=(1, 1), end=(1, 1), name="b", seed=2),
            convolution(2, 4, (4, 3), (1, 1), stride=(2, 2), name="d", seed=3, writes=INT8, relu=False),
            plus(same("c", 4, 4, (2, 2)), INT8),
        ],
        [("", None), ("a", None), ("a", None), ("b", "d")],
    ),
    "residual longer than the main branch": graph(
        [same("a", 1), same("b"), same("c"), plus(point("d"))], [("", None), ("a", None), ("b", None), ("a", "c")]
    ),
    "input as residual": graph([same("a", reads=INT8), plus(same("b"), INT8)], [("", None), ("a", "")]),
    "main as residual": graph([plus(same("a")), point("b", 2, 3)], [("", ""), ("a", None)]),
    "two blocks": graph(
        [same("a", 1), same("b"), plus(same("c")), same("d"), plus(same("e")), point("f", 2, 1)],
        [("", None), ("a", None), ("b", "a"), ("c", None), ("d", "c"), ("e", None)],
    ),
    "one tensor read three times": graph(
        [same("a"), plus(same("b")), plus(point("c"))], [("", None), ("a", "a"), ("b", "a")]
    ),
    "behind a pool, before a dense layer": graph(
        [
            same("a", 1, 2, (6, 4)), pool(2, (6, 4), (2, 2), "max", name="p"), plus(same("b", 2, 2, (3, 2))),
            convolution(2, 3, (3, 2), (3, 2), name="d", seed=4),
        ],
        [("", None), ("a", None), ("p", "p"), ("b", None)],
    ),
    "lines": graph(
        [
            convolution(2, 2, (6,), (3,), begin=(1,), end=(1,), name="a", seed=1),
            plus(convolution(2, 2, (6,), (5,), begin=(2,), end=(2,), name="b", seed=2)),
        ],
        [("", None), ("a", "a")],
    ),
    "volumes": graph(
        [
            convolution(1, 2, (2, 3, 2), (2, 1, 1), begin=(1, 0, 0), name="a", seed=1),
            plus(convolution(2, 2, (2, 3, 2), (3, 3, 1), begin=(1, 1, 0), end=(1, 1, 0), name="b", seed=2)),
        ],
        [("", None), ("a", "a")],
    ),
}  # fmt: skip


def mapped(name: str, **options: Any) -> NetworkPlan:
    return map_network(NETWORKS[name], None, options=Options(**options))


def randomly_planned(name: str, seed: int) -> NetworkPlan:
    """Return a plan of any architecture and fold per layer, so that lanes differ everywhere."""
    generator = random.Random(seed)
    plans: list[LayerPlan] = []
    for layer in NETWORKS[name].layers:
        if isinstance(layer, PoolLayer):
            plans.append(PoolingPlan(layer, generator.choice([1, 2])))
        else:
            plans.append(generator.choice(convolution_plans(layer)))
    return deepen(NetworkPlan(NETWORKS[name], tuple(plans)))


@pytest.mark.parametrize("name", NETWORKS)
def test_residual_networks_equal_golden_in_the_predicted_cycles(name: str) -> None:
    """US 2020/0117986 [0047]: results of an earlier layer join those of a later one, before its activation."""
    prove(mapped(name), 3)


@pytest.mark.parametrize("seed", range(1))
@pytest.mark.parametrize("name", NETWORKS)
def test_any_lanes_on_both_sides_of_a_sum(name: str, seed: int) -> None:
    prove(randomly_planned(name, seed + len(name)), 2)


@pytest.mark.parametrize("stall", [stall for stall in STALLS if stall != "none"])
@pytest.mark.parametrize("name", NETWORKS)
def test_stalls_lose_and_repeat_nothing(name: str, stall: str) -> None:
    prove(mapped(name), 2, stall=stall, seed=len(name))


@pytest.mark.parametrize("cycle", [0, 2, 7, 19, 33, 60])
@pytest.mark.parametrize("name", ["diamond", "input as residual", "downsample"])
def test_reset_in_mid_frame_recovers(name: str, cycle: int) -> None:
    prove(mapped(name), 2, reset_at=cycle, stall="both")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_graph_s_timing_equals_the_stepped_model(name: str) -> None:
    for plan in (mapped(name), *(randomly_planned(name, seed) for seed in range(3))):
        for frames in (1, 2, 5):
            assert plan.timing(frames) == stepped(graph_of(plan), frames)


@pytest.mark.parametrize("name", ["diamond", "input as residual", "two blocks"])
def test_a_residual_counts(name: str) -> None:
    # The same network with other residuals gives other results: a bench that did not see them could not tell.
    plan = mapped(name)
    index = max(index for index, read in enumerate(plan.network.sources) if read.residual is not None)
    layer = plan.network.layers[index]
    assert isinstance(layer, ConvolutionLayer) and layer.residual is not None
    other = replace(layer, residual=replace(layer.residual, align=layer.residual.align - 1))
    layers = list(plan.layers)
    layers[index] = replace(layers[index], layer=other)
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        prove(plan, 2, hardware=replace(plan, layers=tuple(layers)))


def test_a_sum_is_refused_that_reads_another_tensor() -> None:
    plan = mapped("two blocks")
    wrong = replace(plan.network, sources=(*plan.network.sources[:4], Sources("d", "a"), plan.network.sources[5]))
    hardware = deepen(NetworkPlan(wrong, plan.layers))
    with pytest.raises(AssertionError):
        prove(plan, 2, hardware=hardware)


# Queues of residuals


@pytest.mark.parametrize("name", ["diamond", "downsample", "input as residual", "two blocks"])
def test_too_shallow_a_residual_s_queue_stops_or_slows_the_network(name: str) -> None:
    plan = mapped(name)
    for stage in plan.stages:
        if stage.residual is None:
            continue
        depths = [list(queues) for queues in plan.depths]
        depths[stage.residual.stage][stage.residual.queue] = 1
        shallow = replace(plan, depths=tuple(map(tuple, depths)))
        try:
            assert stepped(graph_of(shallow), 12).interval > plan.cycles_per_frame
            assert shallow.cycles_per_frame > plan.cycles_per_frame
        except StoppedError:
            with pytest.raises(AssertionError, match=r"^the stages wait for each other"):
                shallow.timing(2)


# The stages themselves


def test_a_tensor_read_once_needs_no_fork_and_one_read_twice_has_a_queue_per_reader() -> None:
    assert all(stage.queues == 1 for stage in plan_of([same("a"), same("b")]).stages)
    plan = mapped("one tensor read three times")
    forks = [(index, stage) for index, stage in enumerate(plan.stages) if stage.queues > 1]
    assert [stage.queues for _, stage in forks] == [3]
    read = [source for stage in plan.stages for source in (stage.main, stage.residual) if source is not None]
    assert sorted(source.queue for source in read if source.stage == forks[0][0]) == [0, 1, 2]
    assert len(set(read)) == len(read)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_queue_but_the_last_is_read_once_by_a_later_stage(name: str) -> None:
    plan = mapped(name)
    read: list[Source] = []
    for index, stage in enumerate(plan.stages):
        sources = [source for source in (stage.main, stage.residual) if source is not None]
        assert all(INPUT <= source.stage < index for source in sources)
        read += sources
    filled = [Source(index, queue) for index, stage in enumerate(plan.stages) for queue in range(stage.queues)]
    assert sorted(read) == sorted([Source(INPUT), *filled[:-1]])
    assert [stage.layer for stage in plan.stages if stage.layer is not None] == list(range(len(plan.layers)))


@pytest.mark.parametrize(
    ("before", "after", "split", "join"), [(1, 1, 1, 1), (6, 2, 3, 1), (2, 6, 1, 3), (4, 6, 2, 3), (3, 2, 3, 2)]
)
def test_neighbours_split_to_the_greatest_common_lanes_and_join(before: int, after: int, split: int, join: int) -> None:
    layers = [point("a", 1, 12), point("b", 12, 1)]
    plan = plan_of(layers, [Fold(1, 1, 1, before), Fold(1, 1, after, 1)])
    joins = [stage.plan for stage in plan.stages if isinstance(stage.plan, StreamPlan)]
    assert [stage.join for stage in joins] == ([join] if join > 1 else [])
    reader = plan.stages[1]
    assert plan.split_of(reader.main, reader.plan.lanes_in) == split
    assert plan.lanes_of(reader.main) == before
    assert plan.lanes_of(plan.stages[-1].main) // (1 if joins else split) == after
    prove(plan, 2)
    prove(plan, 2, stall="both")


@pytest.mark.parametrize(("lanes", "beats", "join"), [(3, 8, 1), (2, 12, 3)])
def test_a_stream_s_plan_is_a_beat_per_cycle(lanes: int, beats: int, join: int) -> None:
    plan = StreamPlan(INT8, lanes, beats, join)
    assert (plan.lanes_in, plan.lanes_out, plan.memory_bits) == (lanes, lanes * join, 0)
    assert (plan.cycles_per_frame, plan.operations.beats_in, plan.operations.beats_out) == (beats, beats, beats // join)
    assert np.flatnonzero(plan.operations.sends).tolist() == list(range(join - 1, beats, join))


# Links as durations, and pools behind them (US 2020/0117986 [0077], [0080])

NIBBLE, SIGNED = NumberFormat(4, signed=False), NumberFormat(4, signed=True)
LINKED: dict[str, IntegerNetwork] = {
    "unsigned": network([same("a", 1, writes=NIBBLE), same("b", reads=NIBBLE)]),
    "signed": network([same("a", 1, writes=SIGNED, relu=False), point("b", reads=SIGNED)]),
    "with a pool": network([
        same("a", 1, writes=NIBBLE), pool(2, (4, 3), (2, 1), "max", reads=NIBBLE, name="p"),
        convolution(2, 2, (2, 3), (2, 3), reads=NIBBLE, name="d"),
    ]),
    "with an average": network([
        same("a", 1, writes=SIGNED, relu=False), pool(2, (4, 3), (2, 2), "average", reads=SIGNED, name="p"),
        point("d", 2, 1, (2, 1), reads=SIGNED),
    ]),
    "with a residual": graph(
        [same("a", writes=NIBBLE), same("b", reads=NIBBLE, writes=NIBBLE), plus(same("c", reads=NIBBLE), NIBBLE)],
        [("", None), ("a", None), ("b", "a")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("pooling", ["local", "after"])
@pytest.mark.parametrize("name", LINKED)
def test_links_as_durations_equal_golden(name: str, pooling: str, stall: str) -> None:
    plan = map_network(LINKED[name], None, options=Options(links="durations", pooling=pooling))
    links = [stage.plan for stage in plan.stages if isinstance(stage.plan, PulsePlan)]
    pools = sum(isinstance(layer, PoolLayer) for layer in plan.network.layers)
    assert len(links) == len(plan.layers) - 1 - (pools if pooling == "local" else 0)
    prove(plan, 2, stall=stall)
    if stall == "none":
        assert plan.timing(3) == stepped(graph_of(plan), 3)


@pytest.mark.parametrize("cycle", [0, 5, 40, 111, 200])
def test_links_as_durations_recover_from_reset(cycle: int) -> None:
    prove(map_network(LINKED["signed"], None, options=Options(links="durations")), 1, reset_at=cycle, stall="both")


POOLED = network([
    same("a", 1, 4), pool(4, (4, 3), (2, 2), "max", stride=(1, 1), name="p"), point("b", 4, 2, (3, 2)),
    pool(2, (3, 2), (3, 2), "average", name="q"),
])  # fmt: skip


@pytest.mark.parametrize("budget", [3, 8, 20])
@pytest.mark.parametrize("pooling", ["local", "after"])
def test_a_pool_has_the_lanes_of_its_neighbour(pooling: str, budget: int) -> None:
    plan = map_network(POOLED, budget, options=Options(pooling=pooling))
    first, second = (stage.plan for stage in plan.stages if isinstance(stage.plan, PoolPlan))
    engines = [layer.engine for layer in plan.layers if isinstance(layer, ConvolutionPlan)]
    assert first.lanes == (engines[0].lanes_out if pooling == "local" else engines[1].lanes_in)
    assert second.lanes == engines[1].lanes_out  # nothing is behind the last
    prove(plan, 2)
    prove(plan, 2, stall="both")


# What is refused


def test_a_plan_too_few_is_refused() -> None:
    plan = plan_of([same("a"), same("b")])
    with pytest.raises(CrosstileError) as error:
        NetworkPlan(plan.network, plan.layers[:1])
    assert str(error.value) == "2 layers need as many plans, not 1"


def test_other_links_are_refused() -> None:
    plan = plan_of([same("a"), same("b")])
    with pytest.raises(CrosstileError) as error:
        replace(plan, links="analog")
    assert str(error.value) == "links must be one of digits, durations, not 'analog'"


@pytest.mark.parametrize("depths", [((3,),), ((3,), (3, 3)), ((3,), (3,), (3,))])
def test_other_numbers_of_depths_are_refused(depths: Any) -> None:
    plan = plan_of([same("a"), same("b")], [Fold(1, 1, 1, 1)] * 2)
    with pytest.raises(CrosstileError) as error:
        replace(plan, depths=depths)
    assert str(error.value) == f"2 stages need a depth for each of their queues, not {depths}"
