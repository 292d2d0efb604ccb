"""No other choice of legal folds within the budget makes the slowest stage faster; queues are as deep as they must."""

from dataclasses import replace
from itertools import product

import pytest
from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.mapper import DEPTH_LIMIT, SLACK, candidates, map_network, most_multipliers
from crosstile.network_plan import NetworkPlan, least_depth
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer, Layer

from .bench import INT8, UINT8, convolution, folds_of, network, plan_of, pool, prove

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


def every_plan(layers: list[Layer]) -> list[list[CrosspointPlan]]:
    """Return per convolution the plans of all its legal folds."""
    convolutions = [layer for layer in layers if isinstance(layer, ConvolutionLayer)]
    return [[CrosspointPlan(layer, fold) for fold in folds_of(layer)] for layer in convolutions]


def pace(plans: tuple[CrosspointPlan, ...]) -> int:
    return max(plan.cycles_per_frame for plan in plans)


def best_paces(layers: list[Layer]) -> list[tuple[int, int]]:
    """Return (multipliers, cycles of the slowest layer) of every combination of legal folds."""
    return [
        (sum(plan.fold.multipliers for plan in plans), pace(plans)) for plans in product(*reduced(every_plan(layers)))
    ]


def reduced(options: list[list[CrosspointPlan]]) -> list[list[CrosspointPlan]]:
    """Leave out plans with the multipliers and the cycles of another: they change neither figure."""
    return [
        list({(plan.fold.multipliers, plan.cycles_per_frame): plan for plan in plans}.values()) for plans in options
    ]


def convolutions_of(plan: NetworkPlan) -> tuple[CrosspointPlan, ...]:
    return tuple(stage for stage in plan.stages if isinstance(stage, CrosspointPlan))


@pytest.mark.parametrize("name", NETWORKS)
def test_no_combination_of_folds_within_the_budget_is_faster(name: str) -> None:
    layers = NETWORKS[name]
    combinations, options = best_paces(layers), [candidates(plans[0].layer) for plans in every_plan(layers)]
    least, most = len(options), most_multipliers(options)
    for budget in sorted({least, least + 1, least + 3, (least + most) // 3, (least + most) // 2, most - 1, most}):
        if not least <= budget <= most:
            continue
        plan = map_network(network(layers), budget)
        assert plan.multipliers <= budget
        fastest = min(cycles for multipliers, cycles in combinations if multipliers <= budget)
        assert pace(convolutions_of(plan)) <= fastest * SLACK


@pytest.mark.parametrize("name", NETWORKS)
def test_the_most_usable_multipliers_are_the_fewest_of_the_fastest(name: str) -> None:
    layers = NETWORKS[name]
    fastest = [min(plan.cycles_per_frame for plan in plans) for plans in every_plan(layers)]
    expected = sum(
        min(plan.fold.multipliers for plan in plans if plan.cycles_per_frame == cycles)
        for plans, cycles in zip(every_plan(layers), fastest, strict=True)
    )
    assert most_multipliers([candidates(plans[0].layer) for plans in every_plan(layers)]) == expected


@pytest.mark.parametrize("name", NETWORKS)
def test_candidates_hold_the_fastest_plan_of_every_budget(name: str) -> None:
    for plans in every_plan(NETWORKS[name]):
        kept = candidates(plans[0].layer)
        for plan in plans:
            assert any(
                other.fold.multipliers <= plan.fold.multipliers and other.cycles_per_frame <= plan.cycles_per_frame
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
            fitting = [plan.fold.multipliers for plan in plans if plan.cycles_per_frame <= cycles]
            assert stage.cycles_per_frame <= cycles
            assert stage.fold.multipliers == min(fitting)


def test_a_pace_that_a_layer_cannot_keep_is_refused() -> None:
    layers = NETWORKS["one layer"]
    fastest = min(plan.cycles_per_frame for plan in every_plan(layers)[0])
    with pytest.raises(CrosstileError) as error:
        map_network(network(layers), None, fastest - 1)
    assert str(error.value) == (
        f"layer a takes {fastest} cycles per frame at its fastest, more than the {fastest - 1} that the frame "
        "rate and the clock allow"
    )


@pytest.mark.parametrize("budget", [4, 9, 14, 20])
@pytest.mark.parametrize("name", ["two layers", "with pools", "three layers"])
def test_queues_allow_the_pace_of_the_slowest_stage_where_any_depth_does(name: str, budget: int) -> None:
    plan = map_network(network(NETWORKS[name]), budget)
    deepest = replace(plan, depths=tuple(DEPTH_LIMIT for _ in plan.depths))
    assert plan.cycles_per_frame == max(plan.slowest, deepest.cycles_per_frame)


@pytest.mark.parametrize("budget", [4, 9, 14, 20])
@pytest.mark.parametrize("name", ["two layers", "with pools", "three layers"])
def test_no_queue_is_twice_as_deep_as_it_must(name: str, budget: int) -> None:
    plan = map_network(network(NETWORKS[name]), budget)
    for index, (stage, depth) in enumerate(zip(plan.stages, plan.depths, strict=True)):
        if depth > least_depth(stage):
            half = (*plan.depths[:index], depth // 2, *plan.depths[index + 1 :])
            assert replace(plan, depths=half).cycles_per_frame > plan.cycles_per_frame


@pytest.mark.parametrize("name", NETWORKS)
def test_a_mapped_network_equals_golden_in_the_predicted_cycles(name: str) -> None:
    prove(map_network(network(NETWORKS[name]), None), 3)
    prove(map_network(network(NETWORKS[name]), None), 2, stall="both")


def test_neighbours_of_unlike_formats_are_refused() -> None:
    layers = [convolution(1, 2, (4, 4), (1, 1), name="a"), convolution(2, 1, (4, 4), (1, 1), reads=UINT8, name="b")]
    plan = plan_of(layers)
    stage = CrosspointPlan(replace(layers[1], input_format=INT8), plan.stages[1].fold)  # type: ignore[union-attr]
    with pytest.raises(CrosstileError) as error:
        replace(plan, stages=(plan.stages[0], stage))
    assert str(error.value) == "layer b takes int8, but a sends uint8"


def test_a_plan_with_too_few_queues_is_refused() -> None:
    plan = plan_of(NETWORKS["two layers"])
    with pytest.raises(CrosstileError) as error:
        replace(plan, depths=(3,))
    assert str(error.value) == "2 layers need as many stages and queues, not 2 and 1"
