"""Activations on integers: what happens between a requantised sum and the activation that leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import CrosstileError
from .numbers import Integers, NumberFormat, round_shift, saturate

KINDS = ("none", "relu", "leaky", "table")
SLOPE_SHIFTS = range(1, 16)


@dataclass(frozen=True)
class Activation:
    """A function of the requantised sum v, before it is saturated (US 2020/0117986 [0033], [0048]).

        none    y = saturate(v)
        relu    y = max(saturate(v), 0)
        leaky   y = saturate(v) where v ≥ 0, else saturate(round_shift(v, slope_shift)): slope 2^−slope_shift
        table   y = table[saturate(v) − minimum], where that v saturates to `address_format`

    slope_shift  1 to 15; leaky only
    table        2^n values, n from 2 to 12, the first for the least address; table only

    A rectifier with a maximum (ReLU6) needs nothing more than `relu`: saturation holds it.
    Raises `CrosstileError` for another kind, a slope or a table that the kind does not have or that is not legal.
    """

    kind: str = "none"
    slope_shift: int = 0
    table: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise CrosstileError(f"kind of an activation must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if (self.kind == "leaky") != (self.slope_shift != 0) or self.slope_shift not in (0, *SLOPE_SHIFTS):
            raise CrosstileError(f"slope_shift must be 1 to 15 for leaky, 0 for others, not {self.slope_shift}")
        sizes = [1 << bits for bits in range(2, 13)] if self.kind == "table" else [0]
        if len(self.table) not in sizes:
            raise CrosstileError(f"table of a {self.kind} activation has {len(self.table)} values; legal: {sizes}")

    @property
    def address_format(self) -> NumberFormat:
        """Format of a table's address: signed, log2(values) bits."""
        return NumberFormat(len(self.table).bit_length() - 1, signed=True)

    def run(self, value: Integers, output_format: NumberFormat) -> Integers:
        """Return the activations of requantised sums; int64, any shape."""
        if self.kind == "table":
            address = saturate(value, self.address_format) - self.address_format.minimum
            return np.array(self.table, dtype=np.int64)[address]
        if self.kind == "leaky":
            value = np.where(value < 0, round_shift(value, self.slope_shift), value)
        result = saturate(value, output_format)
        return np.maximum(result, 0) if self.kind == "relu" else result


NONE, RELU = Activation(), Activation("relu")
