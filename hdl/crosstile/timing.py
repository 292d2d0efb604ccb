"""Cycle-exact timing of stages joined by queues: what simulation must equal.

A node issues at most one operation per cycle, in a fixed order that repeats every frame. An operation that
takes a beat waits until its input queue shows one; an operation that sends a beat waits until its output queue
has a free place, which it holds from then on. Everything between issue and the queue is a fixed pipeline.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

QUEUE_CYCLES = 2  # from a beat entering a queue to its showing at the output
START_CYCLES = 1  # from reset to the first operation that needs no beat


@dataclass(frozen=True)
class Operations:
    """One frame of a node: for each operation, whether it takes a beat and whether it sends one."""

    takes: NDArray[np.bool_]
    sends: NDArray[np.bool_]

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


@dataclass
class Node:
    """A sequencer, its pipeline of `pipeline_cycles`, and its output queue of `depth` places.

    Where `split` is over 1, each beat of the input queue is taken in that many parts.
    """

    operations: Operations
    pipeline_cycles: int
    depth: int
    split: int = 1
    part: int = 0
    index: int = 0
    frame: int = 0
    credits: int = field(init=False)
    flight: deque[int] = field(init=False)

    def __post_init__(self) -> None:
        self.credits = self.depth
        self.flight = deque()
        self._takes = self.operations.takes.tolist()
        self._sends = self.operations.sends.tolist()

    def shows(self, cycle: int) -> bool:
        """Tell whether the output queue shows a beat in this cycle."""
        return bool(self.flight) and self.flight[0] <= cycle


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
    """Return the exact timing of `frames` frames through a chain of nodes, source and sink never waiting.

    Node 0 reads an input queue that the source keeps full from cycle 0 on; the last node's queue is emptied at
    once. Runs cycle by cycle, in Python; once two successive frames leave every node in the same state, the
    rest repeat and are not run.
    """
    ends: list[int] = []
    first_output, beats, cycle = -1, 0, START_CYCLES
    beats_per_frame = nodes[-1].operations.beats_out
    states: list[tuple[object, ...]] = []
    # However shallow the queues, an operation waits at most one way through pipeline and queue for its turn.
    longest = sum(node.operations.cycles * (node.pipeline_cycles + QUEUE_CYCLES + 1) for node in nodes)
    while len(ends) < frames:
        if cycle > (len(ends) + 2) * longest:
            raise AssertionError("the stages wait for each other: their beats per frame do not match")
        popped = _step(nodes, cycle, frames)
        if popped:
            first_output = cycle if first_output < 0 else first_output
            beats += 1
            if beats % beats_per_frame == 0:
                ends.append(cycle)
                states.append(_state(nodes, cycle, len(ends)))
                if len(states) > 1 and states[-1] == states[-2]:
                    break
        cycle += 1
    interval = ends[-1] - ends[-2] if len(ends) > 1 else ends[-1] + 1
    while len(ends) < frames:
        ends.append(ends[-1] + interval)
    return Timing(first_output, tuple(ends), interval)


def _step(nodes: list[Node], cycle: int, frames: int) -> bool:
    """Advance every node by one cycle; tell whether the sink took a beat."""
    returned = []
    for position, node in enumerate(nodes):
        if node.frame >= frames:
            continue
        source = nodes[position - 1] if position else None
        takes, sends = node._takes[node.index], node._sends[node.index]
        if takes and not (source.shows(cycle) if source else cycle >= QUEUE_CYCLES):
            continue
        if sends and node.credits == 0:
            continue
        if takes and source is not None:
            node.part = (node.part + 1) % node.split
            if node.part == 0:
                source.flight.popleft()
                returned.append(source)
        if sends:
            node.credits -= 1
            node.flight.append(cycle + node.pipeline_cycles + QUEUE_CYCLES)
        node.index += 1
        if node.index == len(node._takes):
            node.index, node.frame = 0, node.frame + 1
    last = nodes[-1]
    popped = last.shows(cycle)
    if popped:
        last.flight.popleft()
        returned.append(last)
    for node in returned:
        node.credits += 1
    return popped


def _state(nodes: list[Node], cycle: int, frames_out: int) -> tuple[object, ...]:
    """Return all that decides the future, relative to this cycle and this frame."""
    return tuple(
        (node.index, node.part, node.frame - frames_out, node.credits, *(max(due - cycle, 0) for due in node.flight))
        for node in nodes
    )
