"""Everything about a Winograd transform that is known before a gate exists, role by role.

Adders, selectors, levels, widths and cycles are properties of `NestedPlan`; here is what each role takes.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes
from crosstile_golden.numbers import Integers, NumberFormat
from crosstile_golden.winograd import ACTIVATION_MATRIX, PARTIAL_SUM_MATRIX, TILE, WEIGHT_MATRIX, outputs_along

from .winograd_nested_plan import LARGEST_BITS, NestedPlan
from .winograd_network import Ends, Kernel, Network, Term, activation_line, axis_links, partial_sum_line, weight_line


@dataclass(frozen=True)
class WeightTransformPlan(NestedPlan):
    """G·w: raw weights to a tile of 4 along each axis, the middle ones doubled (`crosstile_golden.winograd`).

    kernel        the sizes that each of 1 to 3 axes serves, like ((3,), (3, 2)). An axis takes as many taps as its
                  largest size; of a smaller size they are the first, and the others must then be 0. That saves an
                  AND gate per bit of every such tap.
    weight_bits   two's complement, 2 to 32
    symmetric     the most negative weight does not occur
    pipeline      registers: "none", behind each "axis" that has adders, or behind each "adder"

    Raises `CrosstileError` for what is not legal.
    """

    kernel: Kernel
    weight_bits: int = 8
    symmetric: bool = False
    pipeline: str = "axis"
    matrices: ClassVar[Mapping[int, Integers]] = WEIGHT_MATRIX

    def __post_init__(self) -> None:
        if not 2 <= self.weight_bits <= 32:
            raise CrosstileError(f"weight_bits must be from 2 to 32, not {self.weight_bits}")
        self._check_kernel()
        self._check()

    @property
    def input_shape(self) -> Axes:
        """Taps along each axis."""
        return tuple(sizes[0] for sizes in self.kernel)

    @property
    def input_ranges(self) -> tuple[Ends, ...]:
        """Least and greatest value of each tap."""
        high = (1 << self.weight_bits - 1) - 1
        return ((-high - (not self.symmetric), high),) * prod(self.input_shape)

    def line(self, network: Network, axis: int, terms: list[Term]) -> list[Term]:
        """Return G·terms."""
        return weight_line(network, axis, self.kernel[axis], terms)


@dataclass(frozen=True)
class ActivationTransformPlan(NestedPlan):
    """Bᵀ·x: a tile of 4 activations along each axis to as many positions; the same for kernels of 3 and of 2.

    kernel         the sizes that each of 1 to 3 axes serves; only whether 1 is among them matters, alone or not
    input_format   of the activations
    pipeline       registers: "none", behind each "axis" that has adders, or behind each "adder" (here the same)

    Raises `CrosstileError` for what is not legal.
    """

    kernel: Kernel
    input_format: NumberFormat
    pipeline: str = "axis"
    matrices: ClassVar[Mapping[int, Integers]] = ACTIVATION_MATRIX

    def __post_init__(self) -> None:
        self._check_kernel()
        self._check()

    @property
    def switched(self) -> bool:
        """Whether an axis serves 1 beside another size: else there is nothing to switch."""
        return any(1 in self.kernel[axis] for axis in self.switched_axes)

    @property
    def input_shape(self) -> Axes:
        """4 along each axis."""
        return (TILE,) * len(self.kernel)

    @property
    def input_ranges(self) -> tuple[Ends, ...]:
        """The format's range."""
        return ((self.input_format.minimum, self.input_format.maximum),) * TILE ** len(self.kernel)

    def line(self, network: Network, axis: int, terms: list[Term]) -> list[Term]:
        """Return Bᵀ·terms."""
        return activation_line(network, axis, self.kernel[axis], terms)


@dataclass(frozen=True)
class PartialSumTransformPlan(NestedPlan):
    """Aᵀ·m: partial sums of a tile of 4 along each axis to 2^D times its outputs (`crosstile_golden.winograd`).

    D counts the axes that serve any size above 1: along those, size 1 is doubled as well, by wires. Along an axis
    size 3 has 2 outputs, size 2 has 3 and size 1 has 4; an axis has as many links as its smallest size needs. Every
    size begins at the first link, and only size 3 beside size 2 leaves one out: that saves a selector per line.

    kernel        the sizes that each of 1 to 3 axes serves, like ((3,), (3, 2))
    sum_ranges    least and greatest partial sum of every position, row-major; or `sum_bits`, two's complement, of all
    output_bits   None: every output as wide as any partial sums can need. A number from D + 1 to 64: the results are
                  known to fit so many bits, and what is above is left out everywhere; a result that does not fit
                  comes out modulo 2^output_bits. `crosstile_golden.winograd.TileRanges.result` bounds them.
    pipeline      registers: "none", behind each "axis" that has adders, or behind each "adder"

    Raises `CrosstileError` for what is not legal.
    """

    kernel: Kernel
    sum_ranges: tuple[Ends, ...]
    output_bits: int | None = None
    pipeline: str = "axis"
    matrices: ClassVar[Mapping[int, Integers]] = PARTIAL_SUM_MATRIX

    @classmethod
    def of_bits(
        cls, kernel: Kernel, sum_bits: int, output_bits: int | None = None, pipeline: str = "axis"
    ) -> "PartialSumTransformPlan":
        """Return the plan for partial sums of `sum_bits`, 2 to 64, at every position."""
        if not 2 <= sum_bits <= LARGEST_BITS:
            raise CrosstileError(f"sum_bits must be from 2 to {LARGEST_BITS}, not {sum_bits}")
        ends = -(1 << sum_bits - 1), (1 << sum_bits - 1) - 1
        return cls(kernel, (ends,) * TILE ** len(kernel), output_bits, pipeline)

    def __post_init__(self) -> None:
        self._check_kernel()
        positions = TILE ** len(self.kernel)
        if len(self.sum_ranges) != positions:
            raise CrosstileError(f"sum_ranges must have {positions} entries, not {len(self.sum_ranges)}")
        for low, high in self.sum_ranges:
            if low > 0 or high < 0 or low == high:
                raise CrosstileError(f"every one of sum_ranges must hold 0 and more, not {(low, high)}")
        self._check()

    @property
    def input_shape(self) -> Axes:
        """4 along each axis."""
        return (TILE,) * len(self.kernel)

    @property
    def input_ranges(self) -> tuple[Ends, ...]:
        """Those of the partial sums."""
        return self.sum_ranges

    def line(self, network: Network, axis: int, terms: list[Term]) -> list[Term]:
        """Return Aᵀ·terms."""
        return partial_sum_line(network, axis, self.kernel[axis], terms)

    def axis_matrix(self, axis: int, size: int) -> Integers:
        """Return Aᵀ along an axis, size 1 doubled beside others."""
        return self.matrices[size] * (2 if size == 1 and self.kernel[axis] != (1,) else 1)

    @property
    def link_shape(self) -> Axes:
        """Links of a tile along each axis."""
        return tuple(outputs_along(sizes[-1]) for sizes in self.kernel)

    def axis_links(self, axis: int, size: int) -> Axes:
        """Return the links along an axis that hold the outputs of one of its sizes, in order."""
        return axis_links(self.kernel[axis], size)

    def links(self, kernel: Axes) -> list[int]:
        """Return the outputs that are valid for one of `kernels`, row-major: the method's effective output link."""
        along = [self.axis_links(axis, size) for axis, size in enumerate(kernel)]
        return [int(np.ravel_multi_index(place, self.link_shape)) for place in itertools.product(*along)]
