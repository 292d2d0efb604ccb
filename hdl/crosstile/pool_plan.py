"""Everything about a pool that is known before a gate exists: programs, cycles, memory."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod

import numpy as np
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import PoolLayer
from crosstile_golden.numbers import NumberFormat

from .timing import Operations


@dataclass(frozen=True)
class PoolAxis:
    """A pool along one axis: windows open at `start + n·stride`, each `kernel` positions long.

    Window n runs in slot n mod `slots`; `slots` windows are open at once. Positions below 0 do not exist;
    positions from `size` on are padding that only completes windows.
    """

    size: int
    kernel: int
    stride: int
    padding: int
    outputs: int

    @property
    def slots(self) -> int:
        """Windows open at once: ⌈kernel / stride⌉, or all there are."""
        return min(self.outputs, ceil(self.kernel / self.stride))

    @property
    def positions(self) -> int:
        """Positions to visit: the real ones, then padding up to the last window's end."""
        return max(self.size, (self.outputs - 1) * self.stride - self.padding + self.kernel)

    def opens(self, position: int) -> list[bool]:
        """Tell per slot whether its window starts here (or started in the padding before the first position)."""
        starts = [False] * self.slots
        for window in range(self.outputs):
            if max(window * self.stride - self.padding, 0) == position:
                starts[window % self.slots] = True
        return starts

    def closes(self, position: int) -> int | None:
        """Return the slot whose window ends here, if one does."""
        window, rest = divmod(position + self.padding - self.kernel + 1, self.stride)
        return window % self.slots if rest == 0 and 0 <= window < self.outputs else None


@dataclass(frozen=True)
class PoolPlan:
    """A pool of one stream (US 2020/0117986 [0065], [0072]): incremental, one output row per open window kept.

    `lanes` channels come in each beat. Raises `CrosstileError` for what the stage does not run.
    """

    layer: PoolLayer
    lanes: int

    pipeline_cycles = 4

    def __post_init__(self) -> None:
        geometry = self.layer.geometry
        if geometry.dimensions > 2:
            raise CrosstileError(f"pool {self.layer.name}: {geometry.dimensions} spatial axes; a pool runs 1 or 2")
        if max(geometry.dilation) != 1:
            raise CrosstileError(f"pool {self.layer.name}: dilation {geometry.dilation}; a pool runs dilation 1")
        if geometry.in_channels % self.lanes:
            raise CrosstileError(f"lanes must divide {geometry.in_channels}, not {self.lanes}")

    @property
    def lanes_in(self) -> int:
        """Channels per beat taken."""
        return self.lanes

    @property
    def lanes_out(self) -> int:
        """Channels per beat sent."""
        return self.lanes

    @property
    def input_format(self) -> NumberFormat:
        """Format of the activations taken."""
        return self.layer.input_format

    @property
    def output_format(self) -> NumberFormat:
        """Format of the activations sent."""
        return self.layer.output_format

    def _axis(self, index: int) -> PoolAxis:
        geometry = self.layer.geometry
        if geometry.dimensions + index < 0:
            return PoolAxis(1, 1, 1, 0, 1)
        return PoolAxis(
            geometry.input_size[index], geometry.kernel[index], geometry.stride[index],
            geometry.padding_begin[index], geometry.output_size[index],
        )

    @cached_property
    def rows(self) -> PoolAxis:
        """The pool from row to row."""
        return self._axis(-2)

    @cached_property
    def columns(self) -> PoolAxis:
        """The pool from column to column."""
        return self._axis(-1)

    @property
    def groups(self) -> int:
        """Beats per pixel."""
        return self.layer.geometry.in_channels // self.lanes

    @property
    def row_format(self) -> NumberFormat:
        """Format of a window's value within a row: wider than the activations only for sums."""
        return self._format(self.columns.kernel)

    @property
    def sum_format(self) -> NumberFormat:
        """Format of a whole window's value."""
        return self._format(self.columns.kernel * self.rows.kernel)

    def _format(self, terms: int) -> NumberFormat:
        number_format = self.layer.number_format
        if self.layer.geometry.kind == "max":
            return number_format
        return NumberFormat(number_format.bits + (terms - 1).bit_length(), number_format.signed)

    @cached_property
    def operations(self) -> Operations:
        """One frame: takes at real positions, sends where a row's and a column's window end."""
        rows, columns = self.rows, self.columns
        real = np.outer(np.arange(rows.positions) < rows.size, np.arange(columns.positions) < columns.size)
        row_ends = [rows.closes(row) is not None for row in range(rows.positions)]
        ends = np.outer(row_ends, [columns.closes(column) is not None for column in range(columns.positions)])
        return Operations(np.repeat(real.ravel(), self.groups), np.repeat(ends.ravel(), self.groups))

    @property
    def cycles_per_frame(self) -> int:
        """Cycles per frame when never kept waiting."""
        return self.operations.cycles

    @property
    def memory_bits(self) -> int:
        """Bits kept: open windows of one pixel, and of one row of outputs."""
        pixel = self.columns.slots * self.row_format.bits
        row = self.rows.slots * self.sum_format.bits * self.columns.outputs
        return (pixel + row) * prod((self.layer.geometry.in_channels,))
