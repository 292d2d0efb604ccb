"""Everything about a layer's requantisation that is known before a gate exists: constants, widths, cycles."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from crosstile_golden.accumulator import filter_ranges
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import Integers, saturate, signed_bits_for
from numpy.typing import NDArray

HEADROOM_BITS = 2  # by which loadable biased sums may be wider than the widest sum of any weights
ACTIVATION_CYCLES = {"none": 1, "relu": 1, "leaky": 2, "table": 3}

Exact = NDArray[Any]  # Python integers: however far a sum moves left, nothing overflows
Range = tuple[Exact, Exact]


def requantise_cycles(layer: ConvolutionLayer, loadable: bool) -> int:
    """Return the cycles from a total to its activation: add, add the residual if any, shift, activate.

    Loadable shifts take two steps: with any shift possible, one would cost more than twice the LUTs.
    """
    return 2 + (layer.residual is not None) + loadable + ACTIVATION_CYCLES[layer.activation.kind]


@dataclass(frozen=True, eq=False)
class RequantisePlan:
    """The steps (total·2^left + offset [+ residual·2^align]) >> shift, then the activation, filter by filter.

    `left` lifts every shift and align to 0 or more, and the half that `numbers.round_shift` adds is part of the
    offset, (bias << left) + 2^(shift−1): rounding costs no adder, and nothing is lost before it.

    total_range  least and greatest whole sum of each filter, bias left out: of its own weights or, where
                 loadable, of any weights
    loadable     offset, shift and align are written at run time. Sums then have `summed_bits`: those of
                 `total_range` and 2 more (with a residual: of the wider of both, and 3 more). Legal is any bias,
                 shift and align with which the layer's own sums fit that width, neither shift nor align being
                 negative. A shift of that width or more leaves 0, whatever the sum.

    Raises `CrosstileError` for a table with values outside of the output format, and, where loadable, for what
    is not legal.
    """

    layer: ConvolutionLayer
    total_range: tuple[Integers, Integers]
    loadable: bool = False

    def __post_init__(self) -> None:
        table = np.array(self.layer.activation.table, np.int64)
        outside = table[table != saturate(table, self.layer.output_format)]
        if outside.size:
            raise CrosstileError(
                f"layer {self.layer.name}: value {outside[0]} of its activation's table must fit the output's "
                f"{self.layer.output_format}"
            )
        if self.loadable:
            self._check_loadable()

    def _check_loadable(self) -> None:
        layer = self.layer
        for field, values in (("shift", layer.shift), ("align", self._own_align)):
            if values.min() < 0:
                raise CrosstileError(
                    f"layer {layer.name}: {field} {values.min()} of filter {values.argmin()} must be 0 or more to be "
                    "loadable; use more --weight-bits, or compile with fixed weights"
                )
        own = np.array(filter_ranges(layer), object)
        low, high = self._added((own[:, 0], own[:, 1]), self._exact_offset, self._own_align)
        limit = 1 << self.summed_bits - 1
        for index in np.flatnonzero((low < -limit) | (high >= limit)).tolist():
            raise CrosstileError(
                f"layer {layer.name}: filter {index} (bias {layer.bias[index]}, shift {layer.shift[index]}) sums to "
                f"{low[index]}..{high[index]}, legal with loadable weights: {-limit}..{limit - 1}; lower its shift, "
                "or compile without loadable weights"
            )

    # Constants of each filter

    @property
    def _own_align(self) -> Integers:
        residual = self.layer.residual
        return residual.align if residual is not None else np.zeros_like(self.layer.shift)

    @property
    def left(self) -> int:
        """Bits by which sums move left before anything else."""
        return max(0, -int(self.layer.shift.min()), -int(self._own_align.min()))

    @property
    def _vanishes(self) -> NDArray[np.bool_]:
        return self.layer.shift >= self.summed_bits if self.loadable else np.zeros(len(self.layer.shift), np.bool_)

    @property
    def _exact_offset(self) -> Exact:
        right = np.where(self._vanishes, 0, self.layer.shift + self.left)
        half = np.array([1 << value - 1 if value else 0 for value in right.tolist()], object)
        return (self.layer.bias.astype(object) << self.left) + half

    @cached_property
    def shift(self) -> Integers:
        """Bits by which each filter's sum moves right, 0 or more."""
        return np.where(self._vanishes, self.summed_bits - 1, self.layer.shift + self.left)

    @cached_property
    def offset(self) -> Exact:
        """What is added to each filter's sum."""
        # Lifted to 0 or more, what vanishes is below 2^(summed_bits − 1): so that shift brings it to zero.
        lift = -(self.total_range[0].astype(object) + self.residual_range[0])
        return np.where(self._vanishes, lift, self._exact_offset)

    @cached_property
    def align(self) -> Integers:
        """Bits by which each filter's residual moves left, 0 or more."""
        return np.where(self._vanishes, 0, self._own_align + self.left)

    # Ranges and widths

    @property
    def residual_range(self) -> tuple[int, int]:
        """Least and greatest residual; zeros where there is none."""
        residual = self.layer.residual
        return (residual.number_format.minimum, residual.number_format.maximum) if residual is not None else (0, 0)

    def _added(self, total: Range, offset: Exact, align: Integers) -> Range:
        """Return the range of total·2^left + offset + residual·2^align of each filter."""
        low, high = ((bound << self.left) + offset for bound in total)
        least, greatest = (
            np.array([bound << bits for bits in align.tolist()], object) for bound in self.residual_range
        )
        return low + least, high + greatest

    @cached_property
    def _totals(self) -> Range:
        return self.total_range[0].astype(object), self.total_range[1].astype(object)

    @cached_property
    def biased_bits(self) -> int:
        """Width of a sum with its offset."""
        low, high = ((bound << self.left) + self.offset for bound in self._totals)
        return self.summed_bits if self.loadable else signed_bits_for(low.min(), high.max())

    @cached_property
    def summed_bits(self) -> int:
        """Width of what is shifted: a sum with its offset and its residual."""
        if not self.loadable:
            low, high = self._added(self._totals, self.offset, self.align)
            return signed_bits_for(low.min(), high.max())
        total_bits = signed_bits_for(int(self.total_range[0].min()), int(self.total_range[1].max()))
        residual = self.layer.residual is not None
        return max(total_bits, signed_bits_for(*self.residual_range)) + HEADROOM_BITS + residual

    @property
    def aligned_bits(self) -> int:
        """Width of an aligned residual, but for the bits of `common_align`."""
        if self.loadable:
            return self.summed_bits
        return signed_bits_for(*self.residual_range) + int(self.align.max()) - self.common_align

    @cached_property
    def shifted_bits(self) -> int:
        """Width after the shift, the worst filter's."""
        if self.loadable:
            return self.summed_bits
        bounds = self._added(self._totals, self.offset, self.align)
        low, high = (bound >> self.shift.astype(object) for bound in bounds)
        return signed_bits_for(low.min(), high.max())

    @property
    def common_shift(self) -> int:
        """Bits that every filter shifts by: wires."""
        return 0 if self.loadable else int(self.shift.min())

    @property
    def common_align(self) -> int:
        """Bits that every residual is aligned by: wires."""
        return 0 if self.loadable else int(self.align.min())

    @property
    def offset_bits(self) -> int:
        """Width of an offset, two's complement."""
        return self.summed_bits if self.loadable else signed_bits_for(self.offset.min(), self.offset.max())

    @property
    def shift_bits(self) -> int:
        """Width of a filter's shift beyond the common one."""
        greatest = self.summed_bits - 1 if self.loadable else int(self.shift.max()) - self.common_shift
        return greatest.bit_length()

    @property
    def align_bits(self) -> int:
        """Width of a filter's align beyond the common one."""
        if not self.loadable:
            return (int(self.align.max()) - self.common_align).bit_length()
        if self.layer.residual is None:
            return 0
        return (self.summed_bits - signed_bits_for(*self.residual_range)).bit_length()

    @property
    def constant_bits(self) -> int:
        """Width of a filter's constants together."""
        return self.offset_bits + self.shift_bits + self.align_bits

    @property
    def constants(self) -> list[int]:
        """Each filter's constants in one word: offset in the least significant bits, then shift, then align."""
        mask = (1 << self.offset_bits) - 1
        shifts, aligns = (self.shift - self.common_shift).tolist(), (self.align - self.common_align).tolist()
        return [
            offset & mask | (shift | align << self.shift_bits) << self.offset_bits
            for offset, shift, align in zip(self.offset.tolist(), shifts, aligns, strict=True)
        ]
