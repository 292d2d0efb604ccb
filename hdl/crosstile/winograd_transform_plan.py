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
from .winograd_network import SWITCHED, Ends, Network, Term, activation_line, partial_sum_line, weight_line


@dataclass(frozen=True)
class WeightTransformPlan(NestedPlan):
    """G·w: raw weights to a tile of 4 along each axis, the middle ones doubled (`crosstile_golden.winograd`).

    kernel        3, 2 or `SWITCHED` along each of 1 to 3 axes. A switched axis takes 3 taps: those of size 2 are the
                  first two, and the third must then be 0. That saves an AND gate per bit of every such tap.
    weight_bits   two's complement, 2 to 32
    symmetric     the most negative weight does not occur
    pipeline      registers: "none", behind each "axis", or behind each "adder"

    Raises `CrosstileError` for what is not legal.
    """

    kernel: Axes
    weight_bits: int = 8
    symmetric: bool = False
    pipeline: str = "axis"
    matrices: ClassVar[Mapping[int, Integers]] = WEIGHT_MATRIX

    def __post_init__(self) -> None:
        if not 2 <= self.weight_bits <= 32:
            raise CrosstileError(f"weight_bits must be from 2 to 32, not {self.weight_bits}")
        self._check()

    @property
    def sizes(self) -> Axes:
        """The kernel."""
        return self.kernel

    @property
    def input_shape(self) -> Axes:
        """Taps along each axis."""
        return tuple(size or 3 for size in self.kernel)

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

    dimensions     axes, 1 to 3
    input_format   of the activations
    pipeline       registers: "none", behind each "axis", or behind each "adder" (here the same)

    Raises `CrosstileError` for what is not legal.
    """

    dimensions: int
    input_format: NumberFormat
    pipeline: str = "axis"
    matrices: ClassVar[Mapping[int, Integers]] = ACTIVATION_MATRIX

    def __post_init__(self) -> None:
        if not 1 <= self.dimensions <= 3:
            raise CrosstileError(f"dimensions must be 1, 2 or 3, not {self.dimensions}")
        self._check()

    @property
    def sizes(self) -> Axes:
        """3 along each axis, which stands for both."""
        return (3,) * self.dimensions

    @property
    def input_shape(self) -> Axes:
        """4 along each axis."""
        return (TILE,) * self.dimensions

    @property
    def input_ranges(self) -> tuple[Ends, ...]:
        """The format's range."""
        return ((self.input_format.minimum, self.input_format.maximum),) * TILE**self.dimensions

    def line(self, network: Network, _axis: int, terms: list[Term]) -> list[Term]:
        """Return Bᵀ·terms."""
        return activation_line(network, terms)


@dataclass(frozen=True)
class PartialSumTransformPlan(NestedPlan):
    """Aᵀ·m: partial sums of a tile of 4 along each axis to 2^D times its outputs (`crosstile_golden.winograd`).

    Along an axis a kernel of 3 has 2 outputs and a kernel of 2 has 3; a switched axis has 3 links, and size 3 gives
    its outputs on the first and the last of them: that saves a selector per line.

    kernel        3, 2 or `SWITCHED` along each of 1 to 3 axes
    sum_ranges    least and greatest partial sum of every position, row-major; or `sum_bits`, two's complement, of all
    output_bits   None: every output as wide as any partial sums can need. A number from 2 to 64: the results are
                  known to fit so many bits, and what is above is left out everywhere; a result that does not fit
                  comes out modulo 2^output_bits. `crosstile_golden.winograd.TileRanges.result` bounds them.
    pipeline      registers: "none", behind each "axis", or behind each "adder"

    Raises `CrosstileError` for what is not legal.
    """

    kernel: Axes
    sum_ranges: tuple[Ends, ...]
    output_bits: int | None = None
    pipeline: str = "axis"
    matrices: ClassVar[Mapping[int, Integers]] = PARTIAL_SUM_MATRIX

    @classmethod
    def of_bits(
        cls, kernel: Axes, sum_bits: int, output_bits: int | None = None, pipeline: str = "axis"
    ) -> "PartialSumTransformPlan":
        """Return the plan for partial sums of `sum_bits`, 2 to 64, at every position."""
        if not 2 <= sum_bits <= LARGEST_BITS:
            raise CrosstileError(f"sum_bits must be from 2 to {LARGEST_BITS}, not {sum_bits}")
        ends = -(1 << sum_bits - 1), (1 << sum_bits - 1) - 1
        return cls(kernel, (ends,) * TILE ** len(kernel), output_bits, pipeline)

    def __post_init__(self) -> None:
        positions = TILE ** len(self.kernel)
        if len(self.sum_ranges) != positions:
            raise CrosstileError(f"sum_ranges must have {positions} entries, not {len(self.sum_ranges)}")
        for low, high in self.sum_ranges:
            if low > 0 or high < 0 or low == high:
                raise CrosstileError(f"every one of sum_ranges must hold 0 and more, not {(low, high)}")
        self._check()

    @property
    def sizes(self) -> Axes:
        """The kernel."""
        return self.kernel

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

    def links(self, kernel: Axes) -> list[int]:
        """Return the outputs that are valid for one of `kernels`, row-major: the method's effective output link."""
        counts = [3 if size == SWITCHED else outputs_along(size) for size in self.kernel]
        along = [
            (0, 2) if own == SWITCHED and size == 3 else range(count)
            for own, size, count in zip(self.kernel, kernel, counts, strict=True)
        ]
        return [int(np.ravel_multi_index(place, counts)) for place in itertools.product(*along)]
