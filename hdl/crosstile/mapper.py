"""Mapping: which fold each layer gets, and how deep each queue is."""

from collections.abc import Sequence
from dataclasses import replace

from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer, IntegerNetwork, PoolLayer

from .crosspoint_plan import CrosspointPlan
from .fold import PlaneGeometry, legal_folds
from .network_plan import NetworkPlan, StagePlan, lanes_out, least_depth
from .pool_plan import PoolPlan

SLACK = 1.01  # a mapping this much slower than the fastest is taken when it is smaller
DEPTH_LIMIT = 1024


def estimated_cells(plan: CrosspointPlan) -> int:
    """Return a rough count of logic cells, to choose between folds of nearly equal speed.

    An adder per product at the width of a sum, an accumulator with its multiplexer per column, an adder,
    a shifter and a clamp per filter, and the operands' registers and multiplexers.
    """
    layer, fold = plan.layer, plan.fold
    sum_bits = layer.weight_bits + layer.input_format.bits + plan.tree_levels
    adders = plan.columns * (plan.products_per_column - 1) * sum_bits
    accumulators = plan.columns * plan.accumulator_bits * (1 if plan.pass_cycles == 1 else 2)
    lanes = fold.lanes_out * 4 * plan.accumulator_bits
    operands = fold.kernel_columns * fold.lanes_in * layer.input_format.bits * 3
    return adders + accumulators + lanes + operands


def candidates(layer: ConvolutionLayer) -> list[CrosspointPlan]:
    """Return the layer's plans that no other beats in cycles, multipliers and cells together."""
    plans = [CrosspointPlan(layer, fold) for fold in legal_folds(PlaneGeometry.of(layer.geometry, layer.name))]
    plans.sort(key=lambda plan: (plan.fold.multipliers, plan.cycles_per_frame, estimated_cells(plan)))
    kept: list[CrosspointPlan] = []
    for plan in plans:
        if not any(_as_good(other, plan) for other in kept):
            kept.append(plan)
    return kept


def _as_good(a: CrosspointPlan, b: CrosspointPlan) -> bool:
    return a.cycles_per_frame <= b.cycles_per_frame and estimated_cells(a) <= estimated_cells(b)


def most_multipliers(options: Sequence[Sequence[CrosspointPlan]]) -> int:
    """Return the multipliers of the fastest plans, the fewest of these: more would not be used."""
    total = 0
    for plans in options:
        fastest = min(plan.cycles_per_frame for plan in plans)
        total += min(plan.fold.multipliers for plan in plans if plan.cycles_per_frame == fastest)
    return total


def _within(plans: Sequence[CrosspointPlan], cycles: float) -> list[CrosspointPlan]:
    return [plan for plan in plans if plan.cycles_per_frame <= cycles]


def spread(options: Sequence[Sequence[CrosspointPlan]], multipliers: int) -> list[CrosspointPlan]:
    """Return one plan per layer, so that the slowest is as fast as `multipliers` in all allow.

    Of plans that keep the pace (within 1 %), the fewest multipliers and then the fewest cells are taken.
    """
    paces = sorted({plan.cycles_per_frame for plans in options for plan in plans})

    def chosen(pace: float) -> list[CrosspointPlan] | None:
        fitting = [_within(plans, pace) for plans in options]
        if not all(fitting):
            return None
        picks = [min(plans, key=lambda p: (p.fold.multipliers, estimated_cells(p))) for plans in fitting]
        return picks if sum(pick.fold.multipliers for pick in picks) <= multipliers else None

    low, high = 0, len(paces) - 1
    while low < high:
        middle = (low + high) // 2
        if chosen(paces[middle]) is None:
            low = middle + 1
        else:
            high = middle
    return chosen(paces[low] * SLACK) or chosen(paces[low]) or []


def for_pace(options: Sequence[Sequence[CrosspointPlan]], cycles: int) -> list[CrosspointPlan]:
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
        picks.append(min(fitting, key=lambda plan: (plan.fold.multipliers, estimated_cells(plan))))
    return picks


def map_network(network: IntegerNetwork, multipliers: int | None, cycles: int | None = None) -> NetworkPlan:
    """Return the fastest mapping onto `multipliers` multipliers, or the smallest that takes `cycles` a frame.

    With neither, as many multipliers as the layers have kernel columns. Raises `CrosstileError` for fewer
    multipliers than layers, more than the layers can use, or cycles that cannot be met.
    """
    convolutions = [layer for layer in network.layers if isinstance(layer, ConvolutionLayer)]
    options = [candidates(layer) for layer in convolutions]
    if cycles is not None:
        return _with_stages(network, for_pace(options, cycles))
    least, most = len(options), most_multipliers(options)
    budget = sum(layer.geometry.kernel[-1] for layer in convolutions) if multipliers is None else multipliers
    budget = min(budget, most) if multipliers is None else budget
    if not least <= budget <= most:
        raise CrosstileError(
            f"--multipliers must be from {least} to {most} for the {least} convolution layers of {network.name}, "
            f"not {budget}"
        )
    return _with_stages(network, spread(options, budget))


def _with_stages(network: IntegerNetwork, convolutions: list[CrosspointPlan]) -> NetworkPlan:
    """Return the network's plan, pools and queues added."""
    picks = iter(convolutions)
    stages: list[StagePlan] = []
    for layer in network.layers:
        if isinstance(layer, PoolLayer):
            lanes = lanes_out(stages[-1]) if stages else 1
            stages.append(PoolPlan(layer, lanes))
        else:
            stages.append(next(picks))
    return deepen(NetworkPlan(network, tuple(stages), tuple(least_depth(plan) for plan in stages)))


def deepen(plan: NetworkPlan) -> NetworkPlan:
    """Return the plan with queues deep enough that no stage slows another, each no deeper than it must.

    The timing model is exact, so a depth is tried by predicting, never by simulating hardware.
    """
    least, best = plan.depths, plan
    while best.cycles_per_frame > plan.slowest and max(best.depths) < DEPTH_LIMIT:
        deeper = replace(best, depths=tuple(2 * depth for depth in best.depths))
        if deeper.cycles_per_frame >= best.cycles_per_frame and max(best.depths) > 4 * max(least):
            break
        best = deeper
    for index in range(len(least)):
        for depth in _between(least[index], best.depths[index]):
            shallower = replace(best, depths=(*best.depths[:index], depth, *best.depths[index + 1 :]))
            if shallower.cycles_per_frame <= best.cycles_per_frame:
                best = shallower
                break
    return best


def _between(least: int, most: int) -> list[int]:
    depths = []
    while least < most:
        depths.append(least)
        least *= 2
    return depths
