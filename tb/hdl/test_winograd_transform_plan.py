# amaranth: UnusedElaboratable=no
"""What the plans of the transforms say: counts, switch words, links; and what they refuse."""

import itertools
from typing import Any

import pytest
from crosstile.winograd_nested_plan import AXIS_SIZES, NestedPlan
from crosstile.winograd_transform_plan import ActivationTransformPlan, PartialSumTransformPlan, WeightTransformPlan
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes
from crosstile_golden.numbers import NumberFormat

from .winograd_kernels import MIXED, Kernel

INT8 = NumberFormat(8, True)

# Adders, selectors, levels, textbook: 1D, 2D, 3D
COUNTS = {
    ("weights", (3,)): ([3, 21, 111], [0, 0, 0], [2, 4, 6], [4, 48, 448]),
    ("weights", (2,)): ([2, 12, 56], [0, 0, 0], [1, 2, 3], [2, 20, 152]),
    ("weights", (1,)): ([0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]),
    ("weights", (3, 2)): ([3, 21, 111], [1, 7, 37], [2, 4, 6], [6, 132, 2232]),
    ("weights", (2, 1)): ([2, 12, 56], [1, 6, 28], [1, 2, 3], [2, 36, 488]),
    ("weights", (3, 2, 1)): ([3, 21, 111], [2, 14, 74], [2, 4, 6], [6, 180, 4104]),
    ("activations", (3,)): ([4, 32, 192], [0, 0, 0], [1, 2, 3], [4, 48, 448]),
    ("activations", (3, 2)): ([4, 32, 192], [0, 0, 0], [1, 2, 3], [4, 48, 448]),
    ("activations", (1,)): ([0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]),
    ("activations", (3, 2, 1)): ([4, 32, 192], [3, 24, 144], [1, 2, 3], [4, 80, 1216]),
    ("partial sums", (3,)): ([4, 24, 112], [0, 0, 0], [2, 4, 6], [4, 32, 208]),
    ("partial sums", (2,)): ([4, 28, 148], [0, 0, 0], [2, 4, 6], [5, 55, 485]),
    ("partial sums", (1,)): ([0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]),
    ("partial sums", (3, 2)): ([4, 28, 148], [1, 7, 37], [2, 4, 6], [9, 171, 2619]),
    ("partial sums", (2, 1)): ([4, 32, 192], [3, 24, 144], [2, 4, 6], [5, 95, 1385]),
    ("partial sums", (3, 2, 1)): ([4, 32, 192], [4, 32, 192], [2, 4, 6], [9, 243, 5103]),
}


def plan_of(role: str, kernel: Kernel) -> NestedPlan:
    match role:
        case "weights":
            return WeightTransformPlan(kernel)
        case "activations":
            return ActivationTransformPlan(kernel, INT8)
    return PartialSumTransformPlan.of_bits(kernel, 20)


@pytest.mark.parametrize(("role", "sizes"), COUNTS, ids=str)
def test_counts_are_those_of_the_documentation(role: str, sizes: Axes) -> None:
    plans = [plan_of(role, (sizes,) * axes) for axes in (1, 2, 3)]
    figures = ("adders", "selectors", "levels", "textbook_adders")
    assert tuple([getattr(plan, figure) for plan in plans] for figure in figures) == COUNTS[role, sizes]


def test_unlike_axes_are_taken_in_the_cheapest_order() -> None:
    """Whatever the order of the axes, the adders are those of the best."""
    for kernel in itertools.permutations(((3,), (2,), (3, 2))):
        weights, sums = WeightTransformPlan(kernel), PartialSumTransformPlan.of_bits(kernel, 20)
        assert (weights.adders, weights.selectors) == (3 * 6 + 3 * 8 + 2 * 16, 6)
        assert (sums.adders, sums.selectors) == (4 * 16 + 4 * 8 + 4 * 6, 6)


def test_copies_of_weights_are_made_last() -> None:
    """Along an axis of size 1 a weight is copied: what comes before is not done four times."""
    for kernel in (((1,), (3,)), ((3,), (1,))):
        plan = WeightTransformPlan(kernel)
        assert (plan.adders, plan.data_register_bits) == (3, 8 + 10 + 10 + 8)


def test_the_switch_word_has_a_field_per_switched_axis_the_outermost_lowest() -> None:
    plan = WeightTransformPlan(((3, 1), (2,), (3, 2, 1)))
    assert (plan.switched_axes, plan.switch_bits) == ((0, 2), (1, 0, 2))
    words = {(3, 2, 3): 0, (1, 2, 3): 0b1, (3, 2, 2): 0b10, (1, 2, 2): 0b11, (3, 2, 1): 0b100, (1, 2, 1): 0b101}
    assert {kernel: plan.switch_word(kernel) for kernel in plan.kernels} == words
    assert [plan.switch_bit(*choice) for choice in ((0, 1), (2, 2), (2, 1))] == [0, 1, 2]


@pytest.mark.parametrize("sizes", AXIS_SIZES, ids=str)
def test_every_size_of_an_axis_has_links_of_its_own(sizes: Axes) -> None:
    plan = PartialSumTransformPlan.of_bits(((3,), sizes), 9)
    links = {3: (0, 2) if 2 in sizes else (0, 1), 2: (0, 1, 2), 1: (0, 1, 2, 3)}
    assert plan.link_shape == (2, 5 - min(sizes))
    for size in sizes:
        assert plan.axis_links(1, size) == links[size]
        assert plan.links((3, size)) == [row * plan.link_shape[1] + link for row in (0, 1) for link in links[size]]


@pytest.mark.parametrize("kernel", MIXED, ids=str)
def test_activations_are_switched_only_where_1_meets_another_size(kernel: Kernel) -> None:
    plan = ActivationTransformPlan(kernel, INT8)
    assert plan.switched == bool(plan.selectors) == any(len(sizes) > 1 and 1 in sizes for sizes in kernel)


# Refusals


NO_KERNEL = (
    "kernel must have 1 to 3 axes, each with one or more of the sizes 3, 2 and 1, the largest first, "
    "like ((3,), (3, 2)), not {}"
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WeightTransformPlan(((3,), (4,))), NO_KERNEL.format("((3,), (4,))")),
        (lambda: WeightTransformPlan(((2, 3),)), NO_KERNEL.format("((2, 3),)")),
        (lambda: PartialSumTransformPlan.of_bits(((3, 3),), 9), NO_KERNEL.format("((3, 3),)")),
        (lambda: WeightTransformPlan(((3,), ())), NO_KERNEL.format("((3,), ())")),
        (lambda: ActivationTransformPlan(((3,),) * 4, INT8), NO_KERNEL.format("((3,), (3,), (3,), (3,))")),
        (lambda: ActivationTransformPlan((), INT8), NO_KERNEL.format("()")),
        (lambda: WeightTransformPlan(((3,),), 1), "weight_bits must be from 2 to 32, not 1"),
        (lambda: WeightTransformPlan(((3,),), 33), "weight_bits must be from 2 to 32, not 33"),
        (lambda: WeightTransformPlan(((3,),), pipeline="axes"),
         "pipeline must be one of none, axis, adder, not 'axes'"),
        (lambda: PartialSumTransformPlan.of_bits(((3,),), 65), "sum_bits must be from 2 to 64, not 65"),
        (lambda: PartialSumTransformPlan.of_bits(((3,),), 20, 65), "output_bits must be from 2 to 64, not 65"),
        (lambda: PartialSumTransformPlan.of_bits(((3,), (1,), (2, 1)), 20, 2),
         "output_bits must be from 3 to 64, not 2"),
        (lambda: PartialSumTransformPlan.of_bits(((3,),), 63),
         "a transform's outputs may have 64 bits, not 65; give it narrower inputs"),
        (lambda: PartialSumTransformPlan(((3,),), ((-1, 1),) * 3), "sum_ranges must have 4 entries, not 3"),
        (lambda: PartialSumTransformPlan(((3,),), ((-1, 1), (2, 3), (-1, 1), (-1, 1))),
         "every one of sum_ranges must hold 0 and more, not (2, 3)"),
        (lambda: WeightTransformPlan(((3,), (2, 1))).switch_word((3, 3)),
         "sizes (3, 3) are not among those of kernel ((3,), (2, 1))"),
        (lambda: WeightTransformPlan(((3,), (2, 1))).switch_word((3,)),
         "sizes (3,) are not among those of kernel ((3,), (2, 1))"),
    ],
)  # fmt: skip
def test_refusals_name_what_is_wrong(make: Any, message: str) -> None:
    with pytest.raises(CrosstileError) as error:
        make()
    assert str(error.value) == message
