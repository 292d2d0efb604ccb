"""No other choice of plans within the budget makes the slowest layer faster; queues are as deep as they must."""

from dataclasses import replace
from itertools import product

import pytest
from crosstile.layer_plan import ARCHITECTURES, ConvolutionPlan, EnginePlan, convolution_plans
from crosstile.mapper import DEPTH_LIMIT, SLACK, Options, candidates, map_network, most_multipliers
from crosstile.network_plan import NetworkPlan, least_depth
from crosstile.stages import Source
from crosstile.winograd_fold import runs_winograd
from crosstile.winograd_layer_plan import WinogradLayerPlan, winograd_plans
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer, Layer

from .bench import convolution, network, pool, prove
from .stepped import Machine, StoppedError, graph_of, stepped
from .test_stages import NETWORKS as GRAPHS

NETWORKS: dict[str, list[Layer]] = {
    "one layer": [convolution(2, 4, (5, 5), (3, 3), begin=(1, 1), end=(1, 1), name="a")],
    "two layers": [
        convolution(1, 2, (6, 6), (3, 3), name="a"),
        convolution(2, 2, (4, 4), (2, 2), stride=(2, 2), name="b"),
    ],
    "with pools": [
        convolution(1, 4, (6, 6), (3, 3), begin=(1, 1), end=(1, 1), name="a"),
        pool(4, (6, 6), (2, 2), "max", name="p"),
        convolution(4, 2, (3, 3), (3, 3), name="d"),
    ],
    "three layers": [
        convolution(1, 2, (6, 5), (3, 2), name="a"),
        convolution(2, 2, (4, 4), (1, 1), name="b"),
        convolution(2, 3, (4, 4), (4, 4), name="d"),
    ],
}


def every_plan(layers: list[Layer], architectures: tuple[str, ...] = ARCHITECTURES) -> list[list[EnginePlan]]:
    """Return per convolution its plans: of all engines, or of crosspoint engines of these architectures."""
    convolutions = [layer for layer in layers if isinstance(layer, ConvolutionLayer)]
    both = architectures == ARCHITECTURES
    return [
        [*convolution_plans(layer, architectures), *(tiled(layer) if both else [])] for layer in convolutions
    ]


def tiled(layer: ConvolutionLayer) -> list[WinogradLayerPlan]:
    """Return every plan of a Winograd engine."""
    return winograd_plans(layer) if runs_winograd(layer.geometry, layer.name) else []


def pace(plans: tuple[EnginePlan, ...]) -> int:
    return max(plan.cycles_per_frame for plan in plans)


def best_paces(layers: list[Layer], architectures: tuple[str, ...] = ARCHITECTURES) -> list[tuple[int, int]]:
    """Return (multipliers, cycles of the slowest layer) of every combination of plans."""
    return [
        (sum(plan.multipliers for plan in plans), pace(plans))
        for plans in product(*reduced(every_plan(layers, architectures)))
    ]


def reduced(options: list[list[EnginePlan]]) -> list[list[EnginePlan]]:
    """Leave out plans with the multipliers and the cycles of another: they change neither figure."""
    return [list({(plan.multipliers, plan.cycles_per_frame): plan for plan in plans}.values()) for plans in options]


def convolutions_of(plan: NetworkPlan) -> tuple[EnginePlan, ...]:
    return tuple(layer for layer in plan.layers if isinstance(layer, EnginePlan))


ALLOWED = {"both": ARCHITECTURES, "steered": ("steered",), "buffered": ("buffered",)}


@pytest.mark.parametrize("allowed", ALLOWED)
@pytest.mark.parametrize("name", NETWORKS)
def test_no_combination_of_architectures_and_folds_within_the_budget_is_faster(name: str, allowed: str) -> None:
    layers, options = NETWORKS[name], Options(architectures=ALLOWED[allowed])
    combinations = best_paces(layers, ALLOWED[allowed])
    choices = [candidates(plans[0].layer, options) for plans in every_plan(layers)]
    least, most = len(choices), most_multipliers(choices)
    for budget in sorted({least, least + 1, least + 3, (least + most) // 3, (least + most) // 2, most - 1, most}):
        if not least <= budget <= most:
            continue
        plan = map_network(network(layers), budget, options=options)
        assert plan.multipliers <= budget
        fastest = min(cycles for multipliers, cycles in combinations if multipliers <= budget)
        assert pace(convolutions_of(plan)) <= fastest * SLACK


@pytest.mark.parametrize("name", NETWORKS)
def test_only_the_architectures_allowed_are_taken(name: str) -> None:
    for allowed in ARCHITECTURES:
        plan = map_network(network(NETWORKS[name]), None, options=Options(architectures=(allowed,)))
        for chosen in convolutions_of(plan):
            assert isinstance(chosen, ConvolutionPlan)
            unlike = {other.architecture for other in convolution_plans(chosen.layer)} == set(ARCHITECTURES)
            assert chosen.architecture == (allowed if unlike else "steered")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_most_usable_multipliers_are_the_fewest_of_the_fastest(name: str) -> None:
    layers = NETWORKS[name]
    fastest = [min(plan.cycles_per_frame for plan in plans) for plans in every_plan(layers)]
    expected = sum(
        min(plan.multipliers for plan in plans if plan.cycles_per_frame == cycles)
        for plans, cycles in zip(every_plan(layers), fastest, strict=True)
    )
    assert most_multipliers([candidates(plans[0].layer) for plans in every_plan(layers)]) == expected


@pytest.mark.parametrize("name", NETWORKS)
def test_candidates_hold_the_fastest_plan_of_every_budget(name: str) -> None:
    for plans in every_plan(NETWORKS[name]):
        kept = candidates(plans[0].layer)
        for plan in plans:
            assert any(
                other.multipliers <= plan.multipliers and other.cycles_per_frame <= plan.cycles_per_frame
                for other in kept
            )


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("beyond", ["zero", "least", "most"])
def test_budgets_out_of_range_are_refused_with_the_range(name: str, beyond: str) -> None:
    layers = NETWORKS[name]
    options = [candidates(plans[0].layer) for plans in every_plan(layers)]
    least, most = len(options), most_multipliers(options)
    budget = {"zero": 0, "least": least - 1, "most": most + 1}[beyond]
    with pytest.raises(CrosstileError) as error:
        map_network(network(layers), budget)
    assert str(error.value) == (
        f"--multipliers must be from {least} to {most} for the {least} convolution layers of chain, not {budget}"
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_without_a_budget_there_are_as_many_multipliers_as_kernel_columns_at_most(name: str) -> None:
    layers = NETWORKS[name]
    columns = sum(layer.geometry.kernel[-1] for layer in layers if isinstance(layer, ConvolutionLayer))
    assert map_network(network(layers), None).multipliers <= columns


@pytest.mark.parametrize("name", NETWORKS)
def test_for_a_pace_no_layer_has_a_smaller_fold_that_keeps_it(name: str) -> None:
    layers = NETWORKS[name]
    options = every_plan(layers)
    fastest = max(min(plan.cycles_per_frame for plan in plans) for plans in options)
    for cycles in (fastest, 2 * fastest, 100 * fastest):
        for stage, plans in zip(convolutions_of(map_network(network(layers), None, cycles)), options, strict=True):
            fitting = [plan.multipliers for plan in plans if plan.cycles_per_frame <= cycles]
            assert stage.cycles_per_frame <= cycles
            assert stage.multipliers == min(fitting)


def test_a_pace_that_a_layer_cannot_keep_is_refused() -> None:
    layers = NETWORKS["one layer"]
    fastest = min(plan.cycles_per_frame for plan in every_plan(layers)[0])
    with pytest.raises(CrosstileError) as error:
        map_network(network(layers), None, fastest - 1)
    assert str(error.value) == (
        f"layer a takes {fastest} cycles per frame at its fastest, more than the {fastest - 1} that the frame "
        "rate and the clock allow"
    )


QUEUED = {name: network(NETWORKS[name]) for name in ("two layers", "with pools", "three layers")}
BRANCHED = {name: GRAPHS[name] for name in ("diamond", "downsample", "two blocks", "main as residual")}
LONGER = GRAPHS["residual longer than the main branch"]


def with_depth(plan: NetworkPlan, source: Source, depth: int) -> NetworkPlan:
    """Return the plan with another depth of one queue."""
    depths = [list(queues) for queues in plan.depths]
    depths[source.stage][source.queue] = depth
    return replace(plan, depths=tuple(map(tuple, depths)))


def slower(plan: NetworkPlan, than: NetworkPlan) -> bool:
    """Tell whether a plan's frames take longer than another's, or stop."""
    try:
        return stepped(graph_of(plan), 12).interval > than.cycles_per_frame
    except StoppedError:
        return True


def deepest(plan: NetworkPlan) -> NetworkPlan:
    return replace(plan, depths=tuple((DEPTH_LIMIT,) * len(queues) for queues in plan.depths))


@pytest.mark.parametrize("budget", [6, 9, 14, 20])
@pytest.mark.parametrize("name", [*QUEUED, *BRANCHED])
def test_queues_allow_the_pace_of_the_slowest_stage_where_any_depth_does(name: str, budget: int) -> None:
    plan = map_network((QUEUED | BRANCHED)[name], budget)
    assert plan.cycles_per_frame == max(plan.slowest, deepest(plan).cycles_per_frame)


@pytest.mark.parametrize("budget", [6, 9, 14, 20])
@pytest.mark.parametrize("name", [*QUEUED, *BRANCHED])
def test_no_queue_is_twice_as_deep_as_it_must(name: str, budget: int) -> None:
    plan = map_network((QUEUED | BRANCHED)[name], budget)
    for index, (stage, queues) in enumerate(zip(plan.stages, plan.depths, strict=True)):
        for queue, depth in enumerate(queues):
            if depth > least_depth(stage.plan):
                assert slower(with_depth(plan, Source(index, queue), depth // 2), plan)


@pytest.mark.parametrize("budget", [6, 9, 14])
@pytest.mark.parametrize("name", BRANCHED)
def test_a_residual_s_queue_is_as_deep_as_it_is_ever_full_and_no_frame_waits_for_it(name: str, budget: int) -> None:
    plan = map_network(BRANCHED[name], budget)
    machine = Machine(graph_of(plan), 12)
    machine.run()
    peaks = iter(machine.peaks())
    most = [[next(peaks) for _ in queues] for queues in plan.depths]
    residuals = [stage.residual for stage in plan.stages if stage.residual is not None]
    assert residuals
    for source in residuals:
        assert plan.depths[source.stage][source.queue] == most[source.stage][source.queue]
        assert plan.timing(12) == with_depth(plan, source, DEPTH_LIMIT).timing(12)


@pytest.mark.parametrize("budget", [6, 9, 14, 20])
def test_a_branch_shorter_than_its_residual_s_waits_behind_the_fork(budget: int) -> None:
    plan = map_network(LONGER, budget)
    fork = next(index for index, stage in enumerate(plan.stages) if stage.queues > 1)
    assert plan.cycles_per_frame == max(plan.slowest, deepest(plan).cycles_per_frame)
    for queue, depth in enumerate(plan.depths[fork]):
        if depth > 1:
            assert slower(with_depth(plan, Source(fork, queue), depth - 1), plan)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_mapped_network_equals_golden_in_the_predicted_cycles(name: str) -> None:
    for allowed in ALLOWED.values():
        plan = map_network(network(NETWORKS[name]), None, options=Options(architectures=allowed))
        prove(plan, 3)
        prove(plan, 2, stall="both")
