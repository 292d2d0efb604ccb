"""The output controller's mode program: every sum is steered once, every output row leaves once, in order."""

from math import gcd
from typing import Any

import pytest
from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.crosspoint_program import bank_step, kernel_row_step
from crosstile.fold import Fold
from crosstile_golden.errors import CrosstileError
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from .bench import convolution, folds_of

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)
Axis = tuple[int, int, int, int, int, int]  # size, kernel, stride, dilation, begin, end


@st.composite
def axes(draw: Any, most_kernel: int = 7) -> Axis:
    kernel, stride, dilation = draw(st.integers(1, most_kernel)), draw(st.integers(1, 4)), draw(st.integers(1, 2))
    span = (kernel - 1) * dilation + 1
    begin, end = draw(st.integers(0, span - 1)), draw(st.integers(0, span - 1))
    return max(1, span - begin - end) + draw(st.integers(0, 8)), kernel, stride, dilation, begin, end


@st.composite
def plans(draw: Any) -> CrosspointPlan:
    row, column = draw(axes()), draw(axes(3))
    pairs = list(zip(row, column, strict=True))
    layer = None
    try:
        layer = convolution(
            2, 2, pairs[0], pairs[1], stride=pairs[2], dilation=pairs[3], begin=pairs[4], end=pairs[5]
        )
        folds = folds_of(layer)
    except CrosstileError:
        assume(False)
    assert layer is not None
    return CrosspointPlan(layer, draw(st.sampled_from(folds)))


def steered(plan: CrosspointPlan) -> dict[tuple[int, int], int]:
    """Return the bank of each (activation row, kernel row), as the sequencer walks the mode words."""
    found: dict[tuple[int, int], int] = {}
    for row, step in enumerate(plan.row_steps):
        for turn in range(step.passes if step.intake else 0):
            pair = row, step.kernel_row + turn * kernel_row_step(plan.plane)
            assert pair not in found
            found[pair] = (step.bank - turn * bank_step(plan.plane)) % max(plan.banks, 1)
    return found


def meetings(plan: CrosspointPlan) -> dict[tuple[int, int], int]:
    """Return the output row of each (activation row, kernel row) that has one, by its definition."""
    plane = plan.plane
    return {
        (output * plane.row_stride - plane.padding_top + i * plane.row_dilation, i): output
        for output in range(plane.out_height)
        for i in range(plane.kernel_height)
        if 0 <= output * plane.row_stride - plane.padding_top + i * plane.row_dilation < plane.height
    }


@SETTINGS
@given(plans())
def test_kernel_rows_in_turn_cover_every_pair_once_and_meet_their_bank(plan: CrosspointPlan) -> None:
    expected = meetings(plan)
    if plan.rows_together:
        assert {row for row, step in enumerate(plan.row_steps) if step.intake and step.passes} == {
            row for row, _ in expected
        }
        return
    assert steered(plan) == {pair: output % max(plan.banks, 1) for pair, output in expected.items()}


@SETTINGS
@given(plans())
def test_rows_open_at_once_never_share_a_bank(plan: CrosspointPlan) -> None:
    plane = plan.plane
    if plan.rows_together or not plan.banks:
        return
    for row in range(plane.height):
        first = [o * plane.row_stride - plane.padding_top for o in range(plane.out_height)]
        span = (plane.kernel_height - 1) * plane.row_dilation
        open_rows = [o for o, start in enumerate(first) if start <= row <= start + span]
        assert len({o % plan.banks for o in open_rows}) == len(open_rows)


@SETTINGS
@given(plans())
def test_an_output_row_leaves_once_in_order_when_its_last_kernel_row_is_in(plan: CrosspointPlan) -> None:
    plane = plan.plane
    final = (plane.kernel_height - 1) * plane.row_dilation - plane.padding_top
    expected = [output * plane.row_stride + final for output in range(plane.out_height)]
    assert [row for row, step in enumerate(plan.row_steps) if step.emit] == expected
    assert plan.operations.beats_out == plane.out_height * plan.integrator_positions
    for row in expected:
        step = plan.row_steps[row]
        if not plan.rows_together and step.intake:
            assert step.kernel_row + (step.passes - 1) * kernel_row_step(plan.plane) == plane.kernel_height - 1


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 7])
def test_stride_1_steers_kernel_row_i_at_row_y_to_bank_y_plus_padding_minus_i(kernel: int, padding: int) -> None:
    layer = convolution(1, 1, (16, 3), (kernel, 1), begin=(min(padding, kernel - 1), 0))
    plan = CrosspointPlan(layer, Fold(1, 1, 1, 1))
    assert plan.banks == kernel
    for (y, i), bank in steered(plan).items():
        assert bank == (y + plan.plane.padding_top - i) % plan.banks


@SETTINGS
@given(plans())
def test_every_activation_is_taken_once(plan: CrosspointPlan) -> None:
    """US 2020/0117986, claims 6 and 15: input is presented one row at a time, each row once."""
    plane = plan.plane
    beats = plane.height * plane.width * plan.channel_groups
    assert plan.operations.beats_in == beats
    assert [step.intake for step in plan.row_steps] == [row < plane.height for row in range(len(plan.row_steps))]
    assert [step.intake for step in plan.column_steps][: plane.width] == [True] * plane.width
    assert sum(step.output for step in plan.column_steps) == plane.out_width


@SETTINGS
@given(plans())
def test_taps_mask_exactly_the_padding(plan: CrosspointPlan) -> None:
    plane = plan.plane
    outputs = [step.taps for step in plan.column_steps if step.output]
    expected = [
        tuple(
            0 <= output * plane.column_stride - plane.padding_left + j * plane.column_dilation < plane.width
            for j in range(plane.kernel_width)
        )
        for output in range(plane.out_width)
    ]
    assert outputs == expected


@SETTINGS
@given(plans())
def test_utilisation_is_at_most_one_and_counts_every_multiplication(plan: CrosspointPlan) -> None:
    assert 0 < plan.utilisation <= 1 or plan.plane.padding_top or plan.plane.padding_left or padded_after(plan)
    work = plan.utilisation * plan.fold.multipliers * plan.cycles_per_frame
    assert round(work) == plan.layer.geometry.macs


def padded_after(plan: CrosspointPlan) -> bool:
    return any(plan.layer.geometry.padding_end)


@pytest.mark.parametrize(("stride", "dilation"), [(s, d) for s in range(1, 5) for d in range(1, 4)])
def test_kernel_rows_of_one_activation_row_are_a_fixed_step_apart(stride: int, dilation: int) -> None:
    layer = convolution(1, 1, (24, 2), (6, 1), stride=(stride, 1), dilation=(dilation, 1))
    plan = CrosspointPlan(layer, Fold(1, 1, 1, 1))
    assert kernel_row_step(plan.plane) == stride // gcd(stride, dilation)
    assert bank_step(plan.plane) * stride == kernel_row_step(plan.plane) * dilation


@pytest.mark.parametrize("fold", [Fold(1, 1, 1, 1), Fold(1, 3, 2, 1), Fold(3, 3, 2, 2)])
def test_memory_is_what_the_method_keeps(fold: Fold) -> None:
    plan = CrosspointPlan(convolution(2, 2, (8, 6), (3, 3), begin=(1, 1), end=(1, 1)), fold)
    bits = plan.integrator_bits
    kept = bits[0] + bits[1] if fold.kernel_rows == 3 else 3 * bits[0]
    assert plan.integrator_memory_bits == kept * 6 * 2
    assert plan.window_memory_bits == 3 * fold.kernel_columns * 2 * 8
