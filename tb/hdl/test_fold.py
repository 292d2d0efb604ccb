"""Folds and planes: what is legal is exactly what the definition says, and what is not is named."""

from typing import Any

import pytest
from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.fold import Fold, PlaneGeometry, banks_needed, divisors, legal_folds, rows_may_run_together
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import ConvolutionGeometry

from .bench import convolution


def geometry(size: Any, kernel: Any, stride: Any = 1, dilation: Any = 1, begin: Any = 0, end: Any = 0) -> Any:
    n = len(size)
    axes = [value if isinstance(value, tuple) else (value,) * n for value in (stride, dilation, begin, end)]
    return ConvolutionGeometry(4, size, kernel, *axes, 6)


PLANES = [
    geometry((6, 5), (3, 3), begin=1, end=1),
    geometry((6, 5), (3, 3), stride=2),
    geometry((9, 5), (3, 2), dilation=2),
    geometry((6, 5), (1, 4)),
    geometry((9,), (3,)),
    geometry((4, 3), (4, 3)),
    geometry((3, 6), (3, 3)),
    geometry((12, 4), (5, 1), stride=(3, 1)),
    geometry((12, 4), (2, 2), stride=3),
]


@pytest.mark.parametrize("number", range(1, 40))
def test_divisors_divide(number: int) -> None:
    assert divisors(number) == [n for n in range(1, 100) if number % n == 0]


@pytest.mark.parametrize("shape", PLANES, ids=lambda g: f"{g.input_size} by {g.kernel}")
def test_legal_folds_are_all_that_the_definition_allows(shape: ConvolutionGeometry) -> None:
    plane = PlaneGeometry.of(shape, "x")
    together = plane.row_stride == plane.row_dilation == 1 and plane.out_height > 1
    expected = {
        Fold(rows, columns, channels, filters)
        for rows in range(1, 10) if rows == 1 or (together and rows == plane.kernel_height)
        for columns in range(1, 10) if columns in (1, plane.kernel_width)
        for channels in (1, 2, 4)
        for filters in (1, 2, 3, 6)
    }  # fmt: skip
    if plane.in_channels == 4:
        assert set(legal_folds(plane)) == expected
    assert len(set(legal_folds(plane))) == len(legal_folds(plane))
    assert rows_may_run_together(plane) == together


def test_groups_run_one_after_the_other_in_parts_or_several_whole_ones_at_once() -> None:
    shape = ConvolutionGeometry(12, (5,), (3,), (1,), (1,), (0,), (0,), 18, groups=6)  # 2 channels, 3 filters each
    cuts = {(fold.channels, fold.filters, fold.groups) for fold in legal_folds(PlaneGeometry.of(shape, "x"))}
    assert cuts == {(1, 1, 1), (1, 3, 1), (2, 1, 1), (2, 3, 1), (2, 3, 2), (2, 3, 3), (2, 3, 6)}


@pytest.mark.parametrize("shape", PLANES, ids=lambda g: f"{g.input_size} by {g.kernel}")
def test_banks_are_the_output_rows_open_at_once(shape: ConvolutionGeometry) -> None:
    plane = PlaneGeometry.of(shape, "x")
    starts = [o * plane.row_stride - plane.padding_top for o in range(plane.out_height)]
    span = (plane.kernel_height - 1) * plane.row_dilation
    last = starts[-1] + span
    most = max(sum(start <= row <= start + span for start in starts) for row in range(starts[0], last + 1))
    assert banks_needed(plane) == most


@pytest.mark.parametrize("size", [(12,), (4, 3), (2, 3, 2)])
def test_a_kernel_over_the_whole_input_is_a_single_column(size: tuple[int, ...]) -> None:
    plane = PlaneGeometry.of(geometry(size, size), "dense")
    assert (plane.height, plane.width, plane.kernel_height, plane.kernel_width) == (12, 1, 12, 1)
    assert (plane.out_height, plane.out_width, plane.macs) == (1, 1, 12 * 4 * 6)


@pytest.mark.parametrize("shape", PLANES, ids=lambda g: f"{g.input_size} by {g.kernel}")
def test_a_plane_has_the_layers_multiplications(shape: ConvolutionGeometry) -> None:
    assert PlaneGeometry.of(shape, "x").macs == shape.macs


REFUSED = {
    "three axes": (
        geometry((3, 3, 3), (2, 2, 2)), "layer c: 3 spatial axes; the crosspoint engine runs 1 or 2",
    ),
    "padding before": (
        geometry((4, 4), (2, 2), begin=(0, 2)),
        "layer c: padding 2 and 0 on spatial axis 1 leaves output 0 without any activation; "
        "every output must see at least one of the 4",
    ),
    "padding after": (
        geometry((4, 4), (2, 2), end=(2, 0)),
        "layer c: padding 0 and 2 on spatial axis 0 leaves output 4 without any activation; "
        "every output must see at least one of the 4",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_layers_that_the_engine_does_not_run_are_refused(name: str) -> None:
    shape, message = REFUSED[name]
    with pytest.raises(CrosstileError) as error:
        PlaneGeometry.of(shape, "c")
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("layer", "fold"),
    [
        (convolution(4, 6, (6, 5), (3, 3), name="c"), Fold(2, 3, 4, 6)),
        (convolution(4, 6, (6, 5), (3, 3), name="c"), Fold(3, 2, 4, 6)),
        (convolution(4, 6, (6, 5), (3, 3), name="c"), Fold(1, 1, 3, 1)),
        (convolution(4, 6, (6, 5), (3, 3), name="c"), Fold(1, 1, 1, 4)),
        (convolution(4, 6, (7, 5), (3, 3), stride=(2, 1), name="c"), Fold(3, 3, 1, 1)),
        (convolution(4, 6, (7, 5), (3, 3), dilation=(2, 1), name="c"), Fold(3, 3, 1, 1)),
    ],
)
def test_folds_that_do_not_divide_the_layer_are_refused(layer: Any, fold: Fold) -> None:
    with pytest.raises(CrosstileError) as error:
        CrosspointPlan(layer, fold)
    assert str(error.value) == (
        f"layer c: fold {fold} is not legal; kernel_rows must be 1 or (stride and dilation 1) 3, "
        "kernel_columns 1 or 3, channels a divisor of 4, filters a divisor of 6, groups a divisor of 1 with all "
        "channels and filters of a group"
    )
