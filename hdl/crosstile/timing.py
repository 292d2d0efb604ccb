"""Cycle-exact timing of stages joined by queues: what simulation must equal.

A node issues at most one operation per cycle, in a fixed order that repeats every frame. An operation that
takes a beat waits until its input queue shows one; an operation that sends a beat waits until its output queues
have a free place, which it holds from then on. (Some take or send several, or send later than they reserve.)
Everything between issue and the queue is a fixed pipeline.

So the cycle of every operation is the greatest of a few earlier cycles plus constants, and each node runs ahead
as far as the cycles that it needs are known: no clock ticks in the model, only beats are counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np
from crosstile_golden.numbers import Integers
from numpy.typing import NDArray

QUEUE_CYCLES = 2  # from a beat entering a queue to its showing at the output
FREE_CYCLES = 2  # from a beat's leaving a queue to its place being free
DEEP_QUEUE = 32  # places beyond which a queue's memory is a block RAM: registers follow it
DEEP_QUEUE_CYCLES = 5  # through such a queue
DECIDED_CYCLE = 2  # first operation after reset: one cycle for a program's first word, one for what it decides
FRAMES_TO_SETTLE = 12
UNKNOWN = 1 << 62  # a cycle that is not known yet
FIRST_RUN = 4  # frames after which to look whether all has settled

Counts = NDArray[Any]  # bool or int64


class DeadlockError(AssertionError):
    """Nodes wait for each other for ever."""


@dataclass(frozen=True)
class Operations:
    """One frame of a node: for each operation, whether it takes a beat and whether it sends one, or how many.

    takes   beats taken, or parts of them (`Input.split`)
    sends   places that it reserves in the output queues
    shows   beats that enter those queues with it, of places reserved so far; left out, those of its own
    first   cycle of the first operation after reset, if it need not wait
    """

    takes: Counts
    sends: Counts
    shows: Counts | None = None
    first: int = 1

    @property
    def cycles(self) -> int:
        """Operations per frame, one per cycle when nothing waits."""
        return len(self.takes)

    @property
    def beats_in(self) -> int:
        """Beats taken per frame."""
        return int(self.takes.sum())

    @property
    def beats_out(self) -> int:
        """Beats sent per frame."""
        return int(self.sends.sum())

    def repeated(self, times: int) -> "Operations":
        """Return these operations again and again, as one frame."""
        shows = None if self.shows is None else np.tile(self.shows, times)
        return Operations(np.tile(self.takes, times), np.tile(self.sends, times), shows, self.first)

    @property
    def counted(self) -> bool:
        """Some operation takes or sends several, or sends at another time than it reserves."""
        return self.shows is not None or max(int(self.takes.max()), int(self.sends.max())) > 1


def queue_cycles(depth: int) -> int:
    """Return the cycles from a beat entering a queue of `depth` places to its showing at the output."""
    return DEEP_QUEUE_CYCLES if depth > DEEP_QUEUE else QUEUE_CYCLES


@dataclass
class Queue:
    """A first-in first-out queue of `depth` places: when each beat shows, and when its place is free again.

    cycles   from a beat's entering to its showing
    frees    from its leaving to its place being free
    """

    depth: int
    cycles: int = QUEUE_CYCLES
    frees: int = FREE_CYCLES
    reserved: list[int] = field(default_factory=list)
    shows: list[int] = field(default_factory=list)
    freed: list[int] = field(default_factory=list)

    def place(self, count: int = 1) -> int:
        """Return the first cycle with free places for the next beats, `UNKNOWN` if not known yet."""
        index = len(self.reserved) + count - 1 - self.depth
        if index < 0:
            return 0
        return self.freed[index] + self.frees if index < len(self.freed) else UNKNOWN

    def peak(self) -> int:
        """Return the most places that were ever held at once."""
        freed = np.searchsorted(self.freed, np.array(self.reserved, np.int64) - self.frees, side="right")
        return int((np.arange(1, len(self.reserved) + 1) - freed).max(initial=1))


@dataclass(frozen=True)
class Input:
    """A queue that a node reads; each beat is taken in `split` parts.

    No queue: the source, which offers beats from cycle `start` on and never waits.
    late    cycles from the taking of a last part until its place counts as free
    """

    queue: Queue | None
    split: int = 1
    start: int = 0
    late: int = 0


@dataclass
class Node:
    """A sequencer, its pipeline of `pipeline_cycles`, and its output queues; each beat goes to all of them.

    `inputs` holds the main input, and perhaps a residual one, of which each operation that sends takes a beat.
    """

    operations: Operations
    pipeline_cycles: int
    outputs: list[Queue]
    inputs: list[Input]
    cycles: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        takes, sends = self.operations.takes, self.operations.sends
        shows = sends if self.operations.shows is None else self.operations.shows
        at = np.flatnonzero((takes != 0) | (sends != 0) | (shows != 0))
        steps = np.diff(at, prepend=at[-1] - len(takes)).tolist()
        self.events = list(zip(steps, takes[at].tolist(), sends[at].tolist(), strict=True))
        self._shows = shows[at].tolist() if self.operations.counted else None
        self._first = int(at[0]) + self.operations.first
        self._readers = [_Reader(entry) for entry in self.inputs]

    def advance(self, frames: int) -> bool:
        """Run on until something is not known yet, or all frames are done; tell whether anything happened.

        One loop, plain and long: every beat of every frame passes here, but for nodes that count.
        """
        if self._shows is not None:
            return self._advance_counted(frames, self._shows)
        cycles, events, outputs = self.cycles, self.events, self.outputs
        main, residuals = self._readers[0], self._readers[1:]
        shows, queue, alone = main.shows, outputs[0], len(outputs) == 1 and not residuals
        latencies = [self.pipeline_cycles + output.cycles for output in outputs]
        start, per_frame, total = len(cycles), len(events), frames * len(events)
        cycle = cycles[-1] if cycles else self._first - events[0][0]
        for done in range(start, total):
            step, takes, sends = events[done % per_frame]
            cycle += step
            if takes:
                if main.beat >= len(shows):
                    break
                cycle = max(cycle, shows[main.beat])
            if sends:
                cycle = max(cycle, queue.place() if alone else self._place())
                if cycle >= UNKNOWN:
                    break
                for output, latency in zip(outputs, latencies, strict=True):
                    output.reserved.append(cycle)
                    output.shows.append(cycle + latency)
                for reader in residuals:
                    reader.take(cycle)
            if takes:
                main.take(cycle)
            cycles.append(cycle)
        return len(cycles) > start

    def _advance_counted(self, frames: int, shows: list[int]) -> bool:
        """Run on like `advance`, several places and beats at a time."""
        main, residuals = self._readers[0], self._readers[1:]
        start, per_frame = len(self.cycles), len(self.events)
        cycle = self.cycles[-1] if self.cycles else self._first - self.events[0][0]
        for done in range(start, frames * per_frame):
            step, takes, sends = self.events[done % per_frame]
            cycle = max(cycle + step, main.ready(takes) if takes else 0, self._place(sends) if sends else 0)
            if cycle >= UNKNOWN:
                break
            for output in self.outputs:
                output.reserved += [cycle] * sends
                output.shows += [cycle + self.pipeline_cycles + output.cycles] * shows[done % per_frame]
            for reader in residuals if sends else []:
                reader.take(cycle)
            for _ in range(takes):
                main.take(cycle)
            self.cycles.append(cycle)
        return len(self.cycles) > start

    def _place(self, count: int = 1) -> int:
        """Return the first cycle in which every output has places and every residual shows a beat."""
        places = [queue.place(count) for queue in self.outputs]
        return max(*places, *(reader.ready() for reader in self._readers[1:]), 0)


class _Reader:
    """Where a node stands in one of its inputs."""

    def __init__(self, entry: Input) -> None:
        self.split, self.part, self.beat, self.late = entry.split, 0, 0, entry.late
        self.shows: Sequence[int] = _Always(entry.start) if entry.queue is None else entry.queue.shows
        self.freed: list[int] = [] if entry.queue is None else entry.queue.freed

    def ready(self, parts: int = 1) -> int:
        """Return the first cycle that shows all of the next parts, `UNKNOWN` if not known yet."""
        beat = self.beat + (self.part + parts - 1) // self.split
        return self.shows[beat] if beat < len(self.shows) else UNKNOWN

    def take(self, cycle: int) -> None:
        """Take a part of the beat; with the last of them its place is free again."""
        self.part += 1
        if self.part == self.split:
            self.part, self.beat = 0, self.beat + 1
            self.freed.append(cycle + self.late)


class _Always(Sequence[int]):
    """The source's beats: all of them show as soon as the input queue can."""

    def __init__(self, start: int) -> None:
        self.first = start + QUEUE_CYCLES

    def __len__(self) -> int:
        return UNKNOWN

    def __getitem__(self, index: Any) -> Any:
        return self.first


@dataclass(frozen=True)
class Timing:
    """When things happen, in cycles from the first clock edge after reset."""

    first_output: int
    frame_ends: tuple[int, ...]
    interval: int

    @property
    def cycles(self) -> int:
        """Cycles until the last beat of the last frame has left: its handshake's cycle + 1."""
        return self.frame_ends[-1] + 1


def predict(nodes: list[Node], frames: int) -> Timing:
    """Return the exact timing of `frames` frames through nodes in order, source and sink never waiting.

    Nodes without inputs' queue read a source that has beats from its `start` on; the last node's queue is emptied at
    once, so its beats must enter one by one. Once all nodes repeat a frame's cycles, the rest follow and are not run.
    Raises `DeadlockError` where the nodes wait for each other for ever.
    """
    sink = nodes[-1].outputs[0]
    sink.freed = sink.shows  # the sink takes each beat as it shows
    per_frame = nodes[-1].operations.beats_out
    run, period = min(frames, FIRST_RUN), 0
    while True:
        _run(nodes, run)
        period = _period(nodes, run)
        if period or run == frames:
            break
        run = min(2 * run, frames)
    ends = sink.shows[per_frame - 1 :: per_frame][:run]
    period = period or (ends[-1] - ends[-2] if len(ends) > 1 else ends[-1] + 1)
    ends += [ends[-1] + period * extra for extra in range(1, frames - len(ends) + 1)]
    return Timing(sink.shows[0], tuple(ends), period)


def _run(nodes: list[Node], frames: int) -> None:
    while sum(node.advance(frames) for node in nodes):
        pass
    if any(len(node.cycles) < frames * len(node.events) for node in nodes):
        raise DeadlockError("the stages wait for each other: their beats per frame or their queues do not match")


def _period(nodes: list[Node], frames: int) -> int:
    """Return the cycles after which everything repeats, frame by frame; 0 where that is not proved.

    A frame's cycles depend on this frame and on as many before it as a queue can hold: if so many in a row lie
    the same distance apart at every node, then all later ones do.
    """
    reach = 2
    for node in nodes:
        reach = max(reach, 2 + max(ceil(queue.depth / node.operations.beats_out) for queue in node.outputs))
    if frames <= reach:
        return 0
    distances: set[int] = set()
    for node in nodes:
        cycles: Integers = np.array(node.cycles).reshape(frames, -1)
        distances |= set(np.unique(np.diff(cycles[-reach - 1 :], axis=0)).tolist())
    return distances.pop() if len(distances) == 1 else 0
