"""Everything about a line buffer that is known before a gate exists: programs, cycles, memory."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from crosstile_golden.errors import CrosstileError
from crosstile_golden.numbers import NumberFormat

from .same_format import SameFormat
from .timing import DECIDED_CYCLE, Operations

DEEP = 16  # words from which a memory's output gets a register of its own


def strided_starts(outputs: int, stride: int, padding: int) -> tuple[int, ...]:
    """Return the first row of every window of a convolution: o·stride − padding, o < outputs."""
    return tuple(range(-padding, outputs * stride - padding, stride))


@dataclass(frozen=True)
class LineBufferPlan(SameFormat):
    """Rows in, and under each position of a window's last row the `kernel` activations above one another out.

        out[n, x, i] = in[starts[n] + i·dilation, x], zero outside of the rows there are

    This is the buffered arrangement: (kernel − 1)·dilation rows of activations are kept, and sums are finished
    at once, where steering keeps rows of partial sums (US 2020/0117986 [0072]). "Rows" may be whole slices of a
    volume, whose positions are then all of a slice.

    A window is sent as its last row arrives, or in a row of padding behind the last one. Where it is sent again,
    a pass over the stored rows follows in which no row arrives; only then is one row more kept.

    rows, positions   rows per frame, and positions per row, of which each has `channels` / `lanes` beats
    kernel, dilation  rows of a window, and the distance between two of them
    starts            first row of each window, in the order sent: ascending, a window sent again named again;
                      below 0 or from `rows` on is padding. An ordinary convolution's are `strided_starts`
    lanes             channels per beat taken; a divisor of the channels. A beat sent has kernel · lanes
    run               a divisor of the lanes: consecutive channels that stay together. A beat sent is ordered
                      (lanes / run, kernel row, run)
    frames            frames of `rows` rows in a frame of the network

    Raises `CrosstileError` for lanes or a run that do not divide, for starts that are none or do not ascend, and
    for a first start below −(kernel − 1)·dilation, whose window ends before any row arrives.
    """

    name: str
    number_format: NumberFormat
    rows: int
    positions: int
    kernel: int
    dilation: int
    starts: tuple[int, ...]
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
        if not self.starts or any(start > following for start, following in pairwise(self.starts)):
            raise CrosstileError(
                f"layer {self.name}: starts must be one or more rows, each the one before or a later one, "
                f"not {self.starts}"
            )
        if -self.starts[0] > self.reach:
            raise CrosstileError(
                f"layer {self.name}: padding {-self.starts[0]} leaves the first output without any activation; at "
                f"most (kernel - 1) * dilation = {self.reach} is supported"
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
    def reach(self) -> int:
        """Distance from a window's first row to its last: (kernel − 1) · dilation."""
        return (self.kernel - 1) * self.dilation

    @property
    def repeats(self) -> bool:
        """Whether any window is sent more than once."""
        return len(set(self.starts)) < len(self.starts)

    @property
    def kept_rows(self) -> int:
        """Rows of activations kept: (kernel − 1) · dilation, and the last one too where a window is sent again."""
        return self.reach + self.repeats

    @property
    def steps_fetched(self) -> bool:
        """Whether a row takes so long that the next row's step is fetched meanwhile."""
        return self.words > 1

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
        """The passes over a row's words: one per row that arrives, then per row of padding up to the last window's.

        Behind each of them comes one more per further window that has the same last row.
        """
        windows = Counter(start + self.reach for start in self.starts)
        last = max(self.rows - 1, self.starts[-1] + self.reach)
        return tuple(step for row in range(last + 1) for step in self._steps_of(row, windows[row]))

    def _steps_of(self, row: int, windows: int) -> list["RowStep"]:
        first = row - self.reach
        taps = tuple(0 <= first + tap * self.dilation < self.rows for tap in range(self.kernel))
        again = RowStep(intake=False, emit=True, again=True, taps=taps)
        return [RowStep(row < self.rows, windows > 0, False, taps), *[again] * (windows - 1)]

    @cached_property
    def operations(self) -> Operations:
        """One frame: takes in passes in which a row arrives, sends in passes that send a window."""
        takes = np.repeat([step.intake for step in self.row_steps], self.words)
        sends = np.repeat([step.emit for step in self.row_steps], self.words)
        return Operations(takes, sends, first=1 if self.steps_fetched else DECIDED_CYCLE).repeated(self.frames)

    @property
    def cycles_per_frame(self) -> int:
        """Cycles per frame when never kept waiting."""
        return self.frames * self.words * len(self.row_steps)

    @property
    def burst_beats(self) -> int:
        """Beats that wait at most for a consumer of steady pace, where this stage is just as fast as it must be.

        words · (E' − A'·E/A) of the run of A' passes, E' of which send, with the most above a frame's E in A.
        """
        steps = [step.emit for step in self.row_steps]
        sending, passes = sum(steps), len(steps)
        walk = np.cumsum([0, *(emit * passes - sending for emit in 2 * steps)])
        most = int(np.max(walk - np.minimum.accumulate(walk)))
        return -(-self.words * most // passes)


@dataclass(frozen=True)
class RowStep:
    """What one pass over a row's words does.

    intake  a row arrives
    emit    a window is sent
    again   it is the one sent last, from what is stored: nothing moves
    taps    kernel rows of the window that see data
    """

    intake: bool
    emit: bool
    again: bool
    taps: tuple[bool, ...]
