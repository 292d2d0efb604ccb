"""Mapping: which fold each layer gets, and how deep each queue is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import inf
from typing import TypeVar

from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer, IntegerNetwork, PoolLayer

from .cost import estimated_cells
from .layer_plan import ARCHITECTURES, ConvolutionPlan, EnginePlan, LayerPlan, PoolingPlan, convolution_plans
from .line_buffer_plan import LineBufferPlan
from .network_plan import Depths, NetworkPlan
from .reuse_layer_plan import reuse_plans
from .reuse_stage_plan import ReuseStagePlan
from .stages import Source
from .timing import DeadlockError, predict
from .winograd_fold import runs_winograd
from .winograd_layer_plan import WinogradLayerPlan, winograd_plans

ENGINES = ("crosspoint", "winograd", "reuse")
FASTEST = ("crosspoint", "winograd")  # of them: the reuse engine saves reads of a memory, not cycles
Plan = TypeVar("Plan", bound=EnginePlan)
OF_MANY_ROWS = (ConvolutionPlan, WinogradLayerPlan)  # engines that may send several rows at once
SLACK = 1.01  # a mapping this much slower than the fastest is taken when it is smaller
DEPTH_LIMIT = 1024
FRAMES_TO_COMPARE = 6  # by which depths are judged


@dataclass(frozen=True)
class Options:
    """What the user decides about every layer.

    engines        those to choose from; None: `FASTEST`, or the crosspoint engine alone where one of its own options
                   (architectures, loadable, steering) is not at its default. A layer that none of them runs gets a
                   crosspoint engine
    architectures  of crosspoint engines: those to choose from, see `ConvolutionPlan`
    winograd_weights  of Winograd engines, see `WinogradPlan`
    loadable       weights are written at run time
    links          see `NetworkPlan`
    pooling        "local", in the lanes of the stage before, or "after" sending, in those of the stage behind
    rows_at_once   where a pool's windows lie side by side, all rows of a window leave the convolution before it at
                   once, and the pool stores none (US 2020/0117986 [0073])
    steering       of engines whose kernel rows run together: "chain", "computed" or "stored", see `CrosspointPlan`
    """

    engines: tuple[str, ...] | None = None
    architectures: tuple[str, ...] = ARCHITECTURES
    winograd_weights: str = "transformed"
    loadable: bool = False
    links: str = "digits"
    pooling: str = "local"
    rows_at_once: bool = False
    steering: str = "chain"

    @property
    def to_choose_from(self) -> tuple[str, ...]:
        """The engines, `None` resolved."""
        if self.engines is not None:
            return self.engines
        own = self.architectures != ARCHITECTURES or self.loadable or self.steering != "chain"
        return ("crosspoint",) if own else FASTEST


DEFAULTS = Options()


def candidates(layer: ConvolutionLayer, options: Options = DEFAULTS) -> list[EnginePlan]:
    """Return the layer's plans that no other beats in cycles, multipliers and cells together."""
    plans = [(plan.multipliers, plan.cycles_per_frame, estimated_cells(plan), plan) for plan in _plans(layer, options)]
    plans.sort(key=lambda entry: entry[:3])
    kept: list[tuple[int, int, int, EnginePlan]] = []
    for entry in plans:
        if not any(other[1] <= entry[1] and other[2] <= entry[2] for other in kept):
            kept.append(entry)
    return [entry[3] for entry in kept]


def _plans(layer: ConvolutionLayer, options: Options) -> list[EnginePlan]:
    """Return every plan of the engines to choose from that run the layer."""
    plans: list[EnginePlan] = []
    if "winograd" in options.to_choose_from and runs_winograd(layer.geometry, layer.name):
        plans += winograd_plans(layer, options.winograd_weights)
    if "reuse" in options.to_choose_from:
        plans += reuse_plans(layer)
    if "crosspoint" in options.to_choose_from or not plans:
        plans += [_chosen(plan, options) for plan in convolution_plans(layer, options.architectures)]
    return plans


def _chosen(plan: ConvolutionPlan, options: Options) -> ConvolutionPlan:
    steering = options.steering if plan.engine.rows_together else "chain"
    return replace(plan, loadable=options.loadable, steering=steering)


def most_multipliers(options: Sequence[Sequence[EnginePlan]]) -> int:
    """Return the multipliers of the fastest plans, the fewest of these: more would not be used."""
    total = 0
    for plans in options:
        fastest = min(plan.cycles_per_frame for plan in plans)
        total += min(plan.multipliers for plan in plans if plan.cycles_per_frame == fastest)
    return total


def _within(plans: Sequence[Plan], cycles: float) -> list[Plan]:
    return [plan for plan in plans if plan.cycles_per_frame <= cycles]


def spread(options: Sequence[Sequence[Plan]], multipliers: int) -> list[Plan]:
    """Return one plan per layer, so that the slowest is as fast as `multipliers` in all allow.

    Of plans that keep the pace (within 1 %), the fewest multipliers and then the fewest cells are taken.
    """
    paces = sorted({plan.cycles_per_frame for plans in options for plan in plans})

    def chosen(pace: float) -> list[Plan] | None:
        fitting = [_within(plans, pace) for plans in options]
        if not all(fitting):
            return None
        picks = [min(plans, key=lambda p: (p.multipliers, estimated_cells(p))) for plans in fitting]
        return picks if sum(pick.multipliers for pick in picks) <= multipliers else None

    low, high = 0, len(paces) - 1
    while low < high:
        middle = (low + high) // 2
        if chosen(paces[middle]) is None:
            low = middle + 1
        else:
            high = middle
    return chosen(paces[low] * SLACK) or chosen(paces[low]) or []


def for_pace(options: Sequence[Sequence[EnginePlan]], cycles: int) -> list[EnginePlan]:
    """Return the fewest multipliers, then the fewest cells, with which every layer takes at most `cycles` a frame.

    Raises `CrosstileError` where a layer cannot be that fast.
    """
    picks = []
    for plans in options:
        fitting = _within(plans, cycles)
        if not fitting:
            fastest = min(plan.cycles_per_frame for plan in plans)
            raise CrosstileError(
                f"layer {plans[0].layer.name} takes {fastest} cycles per frame at its fastest, more than the "
                f"{cycles} that the frame rate and the clock allow"
            )
        picks.append(min(fitting, key=lambda plan: (plan.multipliers, estimated_cells(plan))))
    return picks


def map_network(
    network: IntegerNetwork, multipliers: int | None, cycles: int | None = None, options: Options = DEFAULTS
) -> NetworkPlan:
    """Return the fastest mapping onto `multipliers` multipliers, or the smallest that takes `cycles` a frame.

    With neither, as many multipliers as the layers have kernel columns, or the fewest there can be. Raises
    `CrosstileError` for fewer than that, more than the layers can use, or cycles that cannot be met.
    """
    convolutions = [layer for layer in network.layers if isinstance(layer, ConvolutionLayer)]
    choices = [candidates(layer, options) for layer in convolutions]
    if cycles is not None:
        return _whole(network, for_pace(choices, cycles), options)
    least = sum(min(plan.multipliers for plan in plans) for plans in choices)
    most = most_multipliers(choices)
    columns = sum(layer.geometry.kernel[-1] for layer in convolutions)
    budget = max(least, min(columns, most)) if multipliers is None else multipliers
    if not least <= budget <= most:
        raise CrosstileError(
            f"--multipliers must be from {least} to {most} for the {len(choices)} convolution layers of "
            f"{network.name}, not {budget}"
        )
    return _whole(network, spread(choices, budget), options)


def _whole(network: IntegerNetwork, convolutions: list[EnginePlan], options: Options) -> NetworkPlan:
    """Return the network's plan, pools and queues added."""
    picks = iter(convolutions)
    plans: dict[str, LayerPlan] = {
        layer.name: next(picks) for layer in network.layers if isinstance(layer, ConvolutionLayer)
    }
    order = network.layers if options.pooling == "local" else tuple(reversed(network.layers))
    for layer in order:
        if isinstance(layer, PoolLayer):
            lanes = _pool_lanes(network, layer, plans, options.pooling)
            plans[layer.name] = PoolingPlan(layer, lanes, local=options.pooling == "local")
    if options.rows_at_once:
        _join_rows(network, plans)
    return deepen(NetworkPlan(network, tuple(plans[layer.name] for layer in network.layers), options.links))


def _join_rows(network: IntegerNetwork, plans: dict[str, LayerPlan]) -> None:
    """Let all rows of a pool's window leave at once, where the convolution before it can."""
    readers = network.readers
    for layer, read in zip(network.layers, network.sources, strict=True):
        before = plans.get(read.main)
        if isinstance(layer, PoolLayer) and isinstance(before, OF_MANY_ROWS) and readers[read.main] == 1:
            try:
                rows = layer.geometry.kernel[-2] if layer.geometry.dimensions > 1 else 1
                joined, pool = replace(before, rows_at_once=rows), PoolingPlan(layer, before.stages[-1].lanes_out, rows)
                assert joined.stages and pool.stages
            except CrosstileError:
                continue  # one row at a time, as everywhere else
            plans[read.main], plans[layer.name] = joined, pool


def _pool_lanes(network: IntegerNetwork, pool: PoolLayer, plans: dict[str, LayerPlan], pooling: str) -> int:
    """Return the lanes of a pool: of the stage before it (1 behind the network's input), or of the stage behind."""
    for layer, read in zip(network.layers, network.sources, strict=True):
        if pooling == "local" and layer is pool:
            return plans[read.main].stages[-1].lanes_out if read.main in plans else 1
        if pooling == "after" and read.main == pool.name:
            return plans[layer.name].stages[0].lanes_in
    return _pool_lanes(network, pool, plans, "local") if pooling == "after" else 1


def deepen(plan: NetworkPlan) -> NetworkPlan:
    """Return the plan with queues deep enough that no stage slows another, each no deeper than it must.

    The timing model is exact, so a depth is tried by predicting, never by simulating hardware. A residual waits
    for its sum in the queue it is read from, which is given what it holds at most.
    """
    least, slowest = plan.depths, plan.slowest
    best, pace = _with_residuals(plan, least)
    start, factor = _for_bursts(plan), 2
    if pace > slowest and start != least:
        best, pace = _with_residuals(plan, start)
    while pace > slowest and max(map(max, least)) * factor < 2 * DEPTH_LIMIT:
        deeper, pace_now = _with_residuals(plan, tuple(tuple(factor * depth for depth in queues) for queues in start))
        if pace_now >= pace and factor > 4:
            break
        best, pace, factor = (deeper, pace_now, factor * 2) if pace_now < pace else (best, pace, factor * 2)
    for index, queues in enumerate(least):
        depths = _between(queues[0], best[index][0])
        low, high = 0, len(depths)  # deeper is never slower
        while low < high:
            middle = (low + high) // 2
            trial = (*best[:index], (depths[middle],) * len(queues), *best[index + 1 :])
            shallower, pace_now = _filled(plan, trial, _residuals(plan))
            if pace_now <= pace:
                best, high = shallower, middle
            else:
                low = middle + 1
    return replace(plan, depths=_forks_shrunk(plan, best, pace)[0])


def _for_bursts(plan: NetworkPlan) -> Depths:
    """Return the least depths, but behind line buffers what they send at once and is read at a steady pace."""
    stages = zip(plan.stages, plan.depths, strict=True)
    return tuple(
        (queues[0] + stage.plan.burst_beats,) if isinstance(stage.plan, LineBufferPlan) else queues
        for stage, queues in stages
    )


def _residuals(plan: NetworkPlan) -> list[Source]:
    return [stage.residual for stage in plan.stages if stage.residual is not None]


def _with_residuals(plan: NetworkPlan, depths: Depths) -> tuple[Depths, float]:
    """Return the depths with queues in which beats wait for a sum as deep as they must, and the cycles per frame.

    Where a residual's branch takes longer than the main one, beats of the main one wait too, behind the fork.
    """
    residuals = _residuals(plan)
    best, pace = _filled(plan, depths, residuals)
    if pace < inf:
        return best, pace
    best, pace = _filled(plan, depths, residuals + _forks(plan))
    return _forks_shrunk(plan, best, pace)


def _forks(plan: NetworkPlan) -> list[Source]:
    stages = enumerate(plan.stages)
    return [Source(index, queue) for index, stage in stages for queue in range(stage.queues) if stage.queues > 1]


def _forks_shrunk(plan: NetworkPlan, depths: Depths, pace: float) -> tuple[Depths, float]:
    """Return the depths with queues behind forks no deeper than the pace needs, and the cycles per frame.

    Those of residuals are what they then hold at most. Without a fork there is nothing to predict.
    """
    forks, residuals = _forks(plan), _residuals(plan)
    for source in sorted(set(forks) - set(residuals)):
        depths = _shrunk(plan, depths, source, pace)
    return _filled(plan, depths, residuals) if forks else (depths, pace)


def _filled(plan: NetworkPlan, depths: Depths, waiting: list[Source]) -> tuple[Depths, float]:
    """Return the depths with those of `waiting` what is held there at most, and the cycles per frame.

    Infinite are the cycles of stages that wait for each other for ever.
    """
    frames = 2 + sum(isinstance(stage.plan, ReuseStagePlan) for stage in plan.stages)  # each is a frame behind
    for source in waiting:
        depths = _with_depth(depths, source, frames * plan.stages[source.stage].plan.operations.beats_out)
    nodes = plan.nodes(depths)
    try:
        pace = predict(list(chain.from_iterable(nodes)), FRAMES_TO_COMPARE).interval
    except DeadlockError:
        return depths, inf
    for source in waiting:
        depths = _with_depth(depths, source, nodes[source.stage][-1].outputs[source.queue].peak())
    return depths, pace


def _shrunk(plan: NetworkPlan, depths: Depths, source: Source, pace: float) -> Depths:
    """Return the depths with the least of one queue that keeps the pace: deeper is never slower, so by halving."""
    low, high = 1, depths[source.stage][source.queue]
    while low < high:
        middle = (low + high) // 2
        if _filled(plan, _with_depth(depths, source, middle), [])[1] <= pace:
            high = middle
        else:
            low = middle + 1
    return _with_depth(depths, source, high)


def _with_depth(depths: Depths, source: Source, depth: int) -> Depths:
    queues = depths[source.stage]
    changed = (*queues[: source.queue], depth, *queues[source.queue + 1 :])
    return (*depths[: source.stage], changed, *depths[source.stage + 1 :])


def _between(least: int, most: int) -> list[int]:
    depths = []
    while least < most:
        depths.append(least)
        least *= 2
    return depths
