"""Everything about a pool that is known before a gate exists: programs, widths, cycles, memory."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import PoolGeometry
from crosstile_golden.network import PoolLayer
from crosstile_golden.numbers import NumberFormat

from .pool_axis import SINGLE, PoolAxis
from .timing import Operations

PARTS = ("whole", "slices", "depth")
WIDEST_SUM = 32


@dataclass(frozen=True)
class PoolPlan:
    """A pool of one stream (US 2020/0117986 [0065], [0072]): incremental, one output row per open window kept.

    lanes          channels per beat; a divisor of the channels
    rows_per_beat  image rows per beat ([0073]): 1, or the height of the window, which must then be the stride
                   as well, without padding of rows. A beat is ordered (row, lane), and rows meet within it, so
                   that no row is ever kept. Rows that fill no beat never arrive.
    part           "whole": a pool over one or two axes. A pool over a volume runs in two stages (`pool_stages`):
                   "slices" pools the rows and columns of every slice, sums not shifted yet; "depth" pools
                   slice with slice, and shifts

    Raises `CrosstileError` for what the stage does not run.
    """

    layer: PoolLayer
    lanes: int
    rows_per_beat: int = 1
    part: str = "whole"

    def __post_init__(self) -> None:
        geometry, name = self.layer.geometry, self.layer.name
        _check_part(self.part, geometry, name)
        if max(geometry.dilation) != 1:
            raise CrosstileError(f"pool {name}: dilation {geometry.dilation}; a pool runs dilation 1")
        if any(padding >= kernel for padding, kernel in zip(geometry.padding_begin, geometry.kernel, strict=True)):
            raise CrosstileError(
                f"pool {name}: padding {geometry.padding_begin} before the first position; it must be less than "
                f"the kernel {geometry.kernel} on every axis"
            )
        if geometry.in_channels % self.lanes:
            raise CrosstileError(f"lanes must divide {geometry.in_channels}, not {self.lanes}")
        if self.rows_per_beat != 1:
            _check_rows_per_beat(self.rows_per_beat, self.part, geometry, name)
        if self._bits(prod(geometry.kernel)) > WIDEST_SUM:
            raise CrosstileError(
                f"pool {name}: sums of {prod(geometry.kernel)} {self.layer.number_format} take "
                f"{self._bits(prod(geometry.kernel))} bits; a pool sums in at most {WIDEST_SUM}"
            )

    # What enters and leaves

    @property
    def lanes_in(self) -> int:
        """Values per beat taken: channels, of each of the rows."""
        return self.rows_per_beat * self.lanes

    @property
    def lanes_out(self) -> int:
        """Channels per beat sent."""
        return self.lanes

    @property
    def input_format(self) -> NumberFormat:
        """Format of the activations taken: in the depth part, that of what the slices part sends."""
        return self._format(self._terms)

    @property
    def output_format(self) -> NumberFormat:
        """Format of the activations sent: the layer's, or in the slices part that of sums not shifted yet."""
        return self.sum_format if self.part == "slices" else self.layer.output_format

    @property
    def kind(self) -> str:
        """What becomes of a window: "max", or a sum."""
        return "max" if self.layer.geometry.kind == "max" else "sum"

    @property
    def shift(self) -> int:
        """The right shift of a whole sum."""
        return 0 if self.part == "slices" else self.layer.shift

    # How the layer is cut

    def _axis(self, index: int) -> PoolAxis:
        geometry = self.layer.geometry
        if geometry.dimensions + index < 0:
            return SINGLE
        return PoolAxis(
            geometry.input_size[index], geometry.kernel[index], geometry.stride[index],
            geometry.padding_begin[index], geometry.output_size[index],
        )

    @cached_property
    def rows(self) -> PoolAxis:
        """The pool from row to row; in the depth part from slice to slice; with rows together, of nothing."""
        if self.rows_per_beat > 1:
            outputs = self.layer.geometry.output_size[-2]
            return PoolAxis(outputs, 1, 1, 0, outputs)
        return self._axis(-3 if self.part == "depth" else -2)

    @cached_property
    def columns(self) -> PoolAxis:
        """The pool from column to column; in the depth part of nothing."""
        return SINGLE if self.part == "depth" else self._axis(-1)

    @property
    def groups(self) -> int:
        """Beats per pixel; in the depth part per slice, all of whose pixels are alike to it."""
        pixels = prod(self.layer.geometry.output_size[1:]) if self.part == "depth" else 1
        return pixels * self.layer.geometry.in_channels // self.lanes

    @property
    def padded(self) -> bool:
        """Some positions are padding, and bring no beat."""
        return any(axis.positions > axis.size for axis in (self.rows, self.columns))

    @property
    def frames(self) -> int:
        """Frames of rows and columns in a frame of the network: the slices, in the slices part."""
        return self.layer.geometry.input_size[0] if self.part == "slices" else 1

    @property
    def _terms(self) -> int:
        """Activations of the layer in each value taken."""
        return prod(self.layer.geometry.kernel[1:]) if self.part == "depth" else 1

    @property
    def _window(self) -> int:
        """Activations of the layer in a whole window of this stage."""
        return prod(self.layer.geometry.kernel[self.part == "slices" :])

    # Widths

    @property
    def row_format(self) -> NumberFormat:
        """Format of a window's value within a row: wider than the activations only for sums."""
        return self._format(self._terms * self.rows_per_beat * self.columns.kernel)

    @property
    def sum_format(self) -> NumberFormat:
        """Format of a whole window's value."""
        return self._format(self._window)

    @property
    def kept_row_format(self) -> NumberFormat:
        """Format of what is kept of a window within a row: all but its last position."""
        return self._format(self._terms * self.rows_per_beat * max(1, self.columns.kernel - 1))

    @property
    def kept_sum_format(self) -> NumberFormat:
        """Format of what is kept of a window from row to row: all but its last row."""
        return self._format(self._window // self.rows.kernel * max(1, self.rows.kernel - 1))

    def _format(self, terms: int) -> NumberFormat:
        return NumberFormat(self._bits(terms), self.layer.number_format.signed)

    def _bits(self, terms: int) -> int:
        return self.layer.number_format.bits + (0 if self.kind == "max" else (terms - 1).bit_length())

    # Time

    @property
    def beat_cycles(self) -> int:
        """Cycles until the rows of a beat are one value: a register per level of a balanced tree, at least one."""
        return max(1, (self.rows_per_beat - 1).bit_length())

    @property
    def pipeline_cycles(self) -> int:
        """Cycles from a window's last beat to its result entering the queue: one per axis to pool, one to shift."""
        return self.beat_cycles + self.columns.folds + self.rows.folds + (self.shift > 0)

    @cached_property
    def operations(self) -> Operations:
        """One frame: takes at real positions, sends where a row's and a column's window end."""
        rows, columns = self.rows, self.columns
        real = np.outer(np.arange(rows.positions) < rows.size, np.arange(columns.positions) < columns.size)
        row_ends = [rows.closes(row) is not None for row in range(rows.positions)]
        ends = np.outer(row_ends, [columns.closes(column) is not None for column in range(columns.positions)])
        frame = Operations(np.repeat(real.ravel(), self.groups), np.repeat(ends.ravel(), self.groups))
        return frame.repeated(self.frames)

    @property
    def cycles_per_frame(self) -> int:
        """Cycles per frame when never kept waiting."""
        return self.operations.cycles

    # Memory

    @property
    def memory_bits(self) -> int:
        """Bits kept: open windows of one pixel, and of one row of outputs, where there is anything to pool."""
        pixel = self.columns.folds * self.columns.slots * self.kept_row_format.bits
        row = self.rows.folds * self.rows.slots * self.kept_sum_format.bits * self.columns.outputs
        return (pixel + row) * self.groups * self.lanes


def pool_stages(layer: PoolLayer, lanes: int, rows_per_beat: int = 1) -> tuple[PoolPlan, ...]:
    """Return the stages of a pool, in order: one for 1 or 2 spatial axes, two for a volume.

    Over a volume the first pools each slice, and the second the slices; the window's value is the same, bit for
    bit, as a maximum of maxima or a sum of sums, shifted once. Raises `CrosstileError` as `PoolPlan` does.
    """
    parts = ("slices", "depth") if layer.geometry.dimensions == 3 else ("whole",)
    return tuple(PoolPlan(layer, lanes, 1 if part == "depth" else rows_per_beat, part) for part in parts)


def _check_part(part: str, geometry: PoolGeometry, name: str) -> None:
    if part not in PARTS:
        raise CrosstileError(f"pool {name}: part must be one of {', '.join(PARTS)}, not {part!r}")
    if part == "whole" and geometry.dimensions > 2:
        raise CrosstileError(
            f"pool {name}: {geometry.dimensions} spatial axes; a stage pools 1 or 2, use pool_stages for more"
        )
    if part != "whole" and geometry.dimensions != 3:
        raise CrosstileError(f"pool {name}: part {part!r} is for 3 spatial axes, not {geometry.dimensions}")


def _check_rows_per_beat(rows: int, part: str, geometry: PoolGeometry, name: str) -> None:
    """Raise `CrosstileError` unless windows of `rows` rows, side by side, are what the layer pools."""
    if rows < 1 or geometry.dimensions < 2 or part == "depth":
        raise CrosstileError(f"pool {name}: rows_per_beat must be 1, or the rows of a window over rows, not {rows}")
    kernel, stride, padding = geometry.kernel[-2], geometry.stride[-2], (
        geometry.padding_begin[-2], geometry.padding_end[-2]
    )
    if (kernel, stride, padding) != (rows, rows, (0, 0)):
        raise CrosstileError(
            f"pool {name}: rows_per_beat {rows} needs kernel and stride {rows} and no padding along rows, "
            f"not kernel {kernel}, stride {stride}, padding {padding}"
        )
