"""The reuse-grouped engine as a stage between streams: a frame memory before it, and the timing of both together."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
from crosstile_golden.numbers import NumberFormat

from .reuse_plan import ADDRESS_CYCLES, ReusePlan
from .timing import Input, Node, Operations, Queue

FRAMES = (1, 2)  # that a frame memory may hold
PARTS = 2  # in which the engine takes a frame: as it starts it, and with its last address
READY_CYCLES = 1  # from a frame's last beat, taken, to its showing at the engine


@dataclass(frozen=True)
class ReuseStagePlan:
    """A frame memory and the engine that reads it.

    engine   see `ReusePlan`
    frames   that the memory holds: 2 to fill one while the other is read, or 1
    """

    engine: ReusePlan
    frames: int = 2

    @property
    def lanes_in(self) -> int:
        """Channels of a beat taken: of a word."""
        return self.engine.lanes_in

    @property
    def lanes_out(self) -> int:
        """Filters of a beat sent."""
        return self.engine.lanes_out

    @property
    def output_format(self) -> NumberFormat:
        """Format of the activations sent."""
        return self.engine.output_format

    @property
    def memory_bits(self) -> int:
        """Bits of the frame memory."""
        return self.frames * self.engine.frame_words * self.lanes_in * self.engine.input_format.bits

    @property
    def pipeline_cycles(self) -> int:
        """Cycles from the operation that sends an output to its beat entering the queue."""
        return self.engine.pipeline_cycles

    @property
    def last_fetch(self) -> int:
        """The operation, from 0, of the last class's first filter group, which reads the frame's last word."""
        engine = self.engine
        return engine.cycles_per_frame - engine.drain_cycles - engine.pixel_cycles - 1

    @cached_property
    def operations(self) -> Operations:
        """The engine's: it takes a frame in `PARTS` parts, with its first operation and with `last_fetch`."""
        takes = np.zeros(self.engine.cycles_per_frame, np.int64)
        np.add.at(takes, [0, self.last_fetch], 1)
        return Operations(takes, self.engine.operations.sends)

    @property
    def writer_operations(self) -> Operations:
        """The memory's: a frame's place is reserved with its first beat, and it shows with its last."""
        words = np.arange(self.engine.frame_words)
        first, last = words == 0, words == len(words) - 1
        return Operations(np.ones(len(words), np.int64), first.astype(np.int64), last.astype(np.int64))

    @property
    def cycles_per_frame(self) -> int:
        """Cycles per frame, never kept waiting: of the engine, of the beats, or of both in turn.

        A frame's place is taken again `frame_words` + `last_fetch` + 2 cycles later, at the least.
        """
        words = self.engine.frame_words
        turn = words + READY_CYCLES + self.last_fetch + ADDRESS_CYCLES
        return max(words, self.engine.cycles_per_frame, ceil(turn / self.frames))


def reuse_stage_nodes(plan: ReuseStagePlan, inputs: list[Input], outputs: list[Queue]) -> list[Node]:
    """Return the timing model: memory and engine, joined by the queue of frames.

    inputs   the activations, then the residual where the layer has one
    """
    frames = Queue(plan.frames, READY_CYCLES, frees=1)
    held = Input(frames, PARTS, late=ADDRESS_CYCLES)  # `frame_done` comes with the last address
    return [
        Node(plan.writer_operations, 0, [frames], inputs[:1]),
        Node(plan.operations, plan.pipeline_cycles, outputs, [held, *inputs[1:]]),
    ]
