"""Compiled runs of an emitted AXI4-Stream design: what every simulator is given and gives back."""

from dataclasses import dataclass

import numpy as np
from crosstile_golden.errors import CrosstileError
from numpy.typing import NDArray

RESET_CYCLES = 4
"""Clock edges with `rst` high before cycle 0."""

IDLE_CYCLES = 200
"""Cycles that a run goes on after the last expected output, sink ready, to catch what should not come."""

ANSWER_CYCLES = 100
"""Cycles within which a write through the weight port must be answered."""

NO_ANSWER, UNDEFINED_ANSWER = 4, 5
ANSWERS = ("OKAY", "EXOKAY", "SLVERR", "DECERR", f"nothing for {ANSWER_CYCLES} cycles", "undefined bits")
"""What a write was answered by: the four values of `s_axil_bresp`, and what is none."""

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint32]
Cycles = NDArray[np.int64]


@dataclass(frozen=True)
class StallPattern:
    """How often each side of the design holds back, from its own 32-bit xorshift generator.

    source   probability, each cycle that nothing is offered yet, that `s_axis_tvalid` stays low
    sink     probability, each cycle, that `m_axis_tready` is low
    seed     any whole number from 0; the same seed stalls alike in every simulator
    A probability is 0 or more and below 1 (at 1 nothing would ever move); raises `CrosstileError` for others.
    An offered beat stays offered until it is taken, as AXI4-Stream demands.
    """

    source: float = 0.0
    sink: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for side in ("source", "sink"):
            probability = getattr(self, side)
            if not 0 <= probability < 1:
                legal = "from 0 to below 1"
                raise CrosstileError(f"the {side}'s stall probability must be {legal}, not {probability}")
        if self.seed < 0:
            raise CrosstileError(f"the stall seed must be 0 or more, not {self.seed}")

    @property
    def thresholds(self) -> tuple[int, int]:
        """⌊probability·2^32⌋ of source and sink: a side stalls where its generator's word is below that."""
        return int(self.source * 2**32), int(self.sink * 2**32)

    @property
    def states(self) -> tuple[int, int]:
        """First states of the source's and the sink's generator: 32 bits, never 0."""
        source, sink = np.random.SeedSequence(self.seed).generate_state(2).tolist()
        return source or 1, sink or 1


@dataclass(frozen=True)
class SimulationResult:
    """What a run did.

    Cycle 0 is the first edge after reset, or after the last word was loaded; a handshake at cycle c is valid
    and ready both 1 just before edge c.

    output_beats      uint8, shape (beats, output bytes), least significant byte first; the expected ones only
    output_last       bool, shape (beats,): `m_axis_tlast` of each
    input_cycles      int64, shape (input beats taken,): the cycle of each input handshake
    output_cycles     int64, shape (beats,): the cycle of each output handshake
    frames            frames offered
    input_expected    input beats offered
    output_expected   output beats waited for
    extra_beats       output handshakes in the `IDLE_CYCLES` after the last expected one
    cycles_run        cycles from 0 to the end of the run, idle ones included
    timed_out         no handshake on either side for `watchdog_cycles` cycles, with outputs still missing
    watchdog_cycles   that limit
    protocol_errors   one line each, with the cycle; the first 100
    seconds           wall time of the run alone, without the build
    load_cycles       cycles before cycle 0, in which weights were loaded; 0 where none were
    load_problem      the write that went wrong, in one line; then no frame was offered
    activation_reads  what the port of that name has counted at the end; None where there is none, or it is undefined
    """

    output_beats: Bytes
    output_last: NDArray[np.bool_]
    input_cycles: Cycles
    output_cycles: Cycles
    frames: int
    input_expected: int
    output_expected: int
    extra_beats: int
    cycles_run: int
    timed_out: bool
    watchdog_cycles: int
    protocol_errors: tuple[str, ...]
    seconds: float
    load_cycles: int = 0
    load_problem: str | None = None
    activation_reads: int | None = None

    @property
    def first_input_cycle(self) -> int | None:
        """Cycle of the first input handshake; None where there was none."""
        return int(self.input_cycles[0]) if self.input_cycles.size else None

    @property
    def last_output_cycle(self) -> int | None:
        """Cycle of the last output handshake that was expected; None where there was none."""
        return int(self.output_cycles[-1]) if self.output_cycles.size else None

    @property
    def misplaced_last(self) -> int | None:
        """Index of the first output beat whose `m_axis_tlast` is wrong; None where all are right."""
        per_frame = self.output_expected // self.frames
        due = np.arange(1, len(self.output_last) + 1) % per_frame == 0
        wrong = np.flatnonzero(due != self.output_last)
        return int(wrong[0]) if wrong.size else None

    def problems(self) -> tuple[str, ...]:
        """Return one line for each thing wrong with the streams, whatever the data; none on a good run."""
        lines = [self.load_problem] if self.load_problem is not None else []
        if self.timed_out:
            lines.append(f"timed out: no beat moved for {self.watchdog_cycles} cycles")
        if len(self.output_beats) < self.output_expected:
            lines.append(f"{len(self.output_beats)} of {self.output_expected} output beats came")
        if self.extra_beats:
            lines.append(f"{self.extra_beats} output beats came after the expected {self.output_expected}")
        if len(self.input_cycles) < self.input_expected:
            lines.append(f"{len(self.input_cycles)} of {self.input_expected} input beats were taken")
        if self.misplaced_last is not None:
            lines.append(f"m_axis_tlast is wrong at output beat {self.misplaced_last}")
        return (*lines, *self.protocol_errors)
