"""Everything about a line buffer that is known before a gate exists: programs, cycles, memory."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from crosstile_golden.errors import CrosstileError
from crosstile_golden.numbers import NumberFormat

from .same_format import SameFormat
from .timing import Operations

DEEP = 16  # words from which a memory's output gets a register of its own


@dataclass(frozen=True)
class LineBufferPlan(SameFormat):
    """Rows in, and under each position of an output row the `kernel` activations above one another out.

        out[o, x, i] = in[o·stride − padding + i·dilation, x], zero outside of the rows there are

    This is the buffered arrangement: (kernel − 1)·dilation rows of activations are kept, and sums are finished
    at once, where steering keeps rows of partial sums (US 2020/0117986 [0072]). "Rows" may be whole slices of a
    volume, whose positions are then all of a slice.

    rows, positions   rows per frame, and positions per row, of which each has `channels` / `lanes` beats
    kernel, stride, dilation, padding, outputs   along the rows, as in a convolution
    lanes             channels per beat taken; a divisor of the channels. A beat sent has kernel · lanes
    run               a divisor of the lanes: consecutive channels that stay together. A beat sent is ordered
                      (lanes / run, kernel row, run)
    frames            frames of `rows` rows in a frame of the network

    Raises `CrosstileError` for lanes or a run that do not divide, and for padding above the first row that leaves
    an output without any activation.
    """

    name: str
    number_format: NumberFormat
    rows: int
    positions: int
    kernel: int
    stride: int
    dilation: int
    padding: int
    outputs: int
    channels: int
    lanes: int
    run: int
    frames: int = 1

    def __post_init__(self) -> None:
        if self.channels % self.lanes or self.lanes % self.run:
            raise CrosstileError(
                f"layer {self.name}: lanes must divide {self.channels} channels and run must divide the lanes, "
                f"not {self.lanes} and {self.run}"
            )
        if self.padding > self.kept_rows:
            raise CrosstileError(
                f"layer {self.name}: padding {self.padding} leaves the first output without any activation; at most "
                f"(kernel - 1) * dilation = {self.kept_rows} is supported"
            )

    @property
    def lanes_out(self) -> int:
        """Channels per beat sent: each once per kernel row."""
        return self.lanes * self.kernel

    @property
    def words(self) -> int:
        """Beats per row."""
        return self.positions * (self.channels // self.lanes)

    @property
    def kept_rows(self) -> int:
        """Rows of activations kept: (kernel − 1) · dilation."""
        return (self.kernel - 1) * self.dilation

    @property
    def read_cycles(self) -> int:
        """Cycles from an address to its word."""
        return 2 if self.words >= DEEP else 1

    @property
    def pipeline_cycles(self) -> int:
        """Cycles from a beat's arrival to what it completes entering the queue."""
        return self.read_cycles + 1

    @property
    def memory_bits(self) -> int:
        """Bits of activations kept."""
        return self.kept_rows * self.positions * self.channels * self.number_format.bits

    @cached_property
    def row_steps(self) -> tuple["RowStep", ...]:
        """One word per row that arrives, then per row of padding that completes outputs."""
        last = (self.outputs - 1) * self.stride - self.padding + self.kept_rows
        return tuple(self._row_step(row) for row in range(max(self.rows, last + 1)))

    def _row_step(self, row: int) -> "RowStep":
        output, rest = divmod(row - self.kept_rows + self.padding, self.stride)
        taps = [row - self.kept_rows + tap * self.dilation for tap in range(self.kernel)]
        emit = rest == 0 and 0 <= output < self.outputs
        return RowStep(row < self.rows, emit, tuple(0 <= tap < self.rows for tap in taps))

    @cached_property
    def operations(self) -> Operations:
        """One frame: takes on rows that arrive, sends on rows that complete an output row."""
        takes = np.repeat([step.intake for step in self.row_steps], self.words)
        sends = np.repeat([step.emit for step in self.row_steps], self.words)
        return Operations(takes, sends).repeated(self.frames)

    @property
    def cycles_per_frame(self) -> int:
        """Cycles per frame when never kept waiting."""
        return self.frames * self.words * len(self.row_steps)


@dataclass(frozen=True)
class RowStep:
    """What one row does: arrive, complete an output row, and which kernel rows then see data."""

    intake: bool
    emit: bool
    taps: tuple[bool, ...]
