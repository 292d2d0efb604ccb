"""Several output rows leave together, and a pool behind them stores none (US 2020/0117986 [0073])."""

import pytest
from crosstile.layer_plan import ConvolutionPlan, PoolingPlan
from crosstile.mapper import Options, map_network
from crosstile.network_plan import NetworkPlan
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer, PoolLayer

from .bench import BenchError, Fold, convolution, network, pool, prove

# height, kernel, padding, rows at once, pool
CASES = [
    (8, 3, 1, 2, "max"), (7, 3, 0, 2, "average"), (9, 3, 1, 3, "sum"), (6, 5, 2, 2, "max"), (5, 2, 0, 2, "sum"),
    (7, 3, 1, 2, "max"), (6, 3, 1, 6, "max"),
]


def layers(height: int, kernel: int, padding: int, rows: int, kind: str) -> tuple[ConvolutionLayer, PoolLayer]:
    ends = (padding, padding)
    first = convolution(2, 4, (height, 6), (kernel, kernel), begin=ends, end=ends, name="a", seed=height)
    return first, pool(4, first.output_shape[1:], (rows, 2), kind, name="p")


def plan_of(height: int, kernel: int, padding: int, rows: int, kind: str, together: bool = True) -> NetworkPlan:
    """Return the plan whose engine computes all kernel rows together."""
    first, behind = layers(height, kernel, padding, rows, kind)
    at_once = rows if together else 1
    engine = ConvolutionPlan(first, "steered", Fold(kernel, kernel, 1, 2), rows_at_once=at_once)
    return NetworkPlan(network([first, behind]), (engine, PoolingPlan(behind, 2, at_once)))


@pytest.mark.parametrize("stall", ["none", "source", "sink", "both"])
@pytest.mark.parametrize("case", CASES)
def test_rows_that_leave_together_are_pooled_to_golden(case: tuple[int, int, int, int, str], stall: str) -> None:
    """Rows that do not fill a window never leave; the cycles are those predicted."""
    prove(plan_of(*case), 2, stall=stall)


def test_the_mapper_joins_rows_where_windows_lie_side_by_side() -> None:
    plan = map_network(network(layers(*CASES[0])), 18, None, Options(architectures=("steered",), rows_at_once=True))
    engine, behind = plan.layers
    assert isinstance(engine, ConvolutionPlan)
    assert isinstance(behind, PoolingPlan)
    assert (engine.rows_at_once, behind.rows_per_beat) == (2, 2)
    prove(plan, 2)


@pytest.mark.parametrize("case", CASES)
def test_the_pool_stores_no_row_and_the_integrators_hold_what_waits(case: tuple[int, int, int, int, str]) -> None:
    together, apart = plan_of(*case), plan_of(*case, together=False)
    (engine, pools), (alone, stored) = ((plan.stages[0].plan, plan.stages[1].plan) for plan in (together, apart))
    assert pools.memory_bits < stored.memory_bits
    waiting = (case[3] - 1) * engine.integrator_bits[-1] * engine.plane.out_width * 4
    assert engine.integrator_memory_bits == alone.integrator_memory_bits + waiting


def test_a_reset_in_mid_frame_is_recovered_from() -> None:
    prove(plan_of(*CASES[0]), 2, reset_at=40)


def test_a_bench_sees_rows_in_the_wrong_order() -> None:
    """The mutation: the pool takes two rows, but sums windows of one row and the next one's."""
    plan = plan_of(*CASES[1])
    other = plan_of(8, *CASES[1][1:])
    with pytest.raises((AssertionError, BenchError)):
        prove(plan, 2, hardware=other)


@pytest.mark.parametrize("rows", [0, 9])
def test_other_numbers_of_rows_are_refused(rows: int) -> None:
    layer = layers(8, 3, 1, 2, "max")[0]
    with pytest.raises(CrosstileError) as error:
        ConvolutionPlan(layer, "steered", Fold(3, 3, 1, 1), rows_at_once=rows)
    assert str(error.value) == (
        "layer a: rows_at_once must be 1, or up to 8 with kernel rows together in a chain and no residual, "
        f"not {rows}"
    )


def test_kernel_rows_in_turn_cannot_wait() -> None:
    layer = layers(8, 3, 1, 2, "max")[0]
    with pytest.raises(CrosstileError, match=r"^layer a: rows_at_once must be 1, "):
        ConvolutionPlan(layer, "steered", Fold(1, 3, 1, 1), rows_at_once=2)
