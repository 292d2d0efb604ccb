"""Blocks in a row, tried alone: the row behind an input queue, and its cycles counted one by one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

from amaranth.hdl import Module, Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out
from crosstile.timing import FREE_CYCLES, QUEUE_CYCLES, Input, Node, Operations, Queue, predict

INPUT_DEPTH = 3


class Plan(Protocol):
    """What every plan of a stage tells of its timing."""

    @property
    def operations(self) -> Operations: ...
    @property
    def pipeline_cycles(self) -> int: ...


class Row(wiring.Component):
    """Blocks with `input` and `output`, joined in order, behind a queue as an accelerator's input has it."""

    input: stream.Interface
    output: stream.Interface

    def __init__(self, blocks: Sequence[Any]):
        self.blocks = blocks
        layout = blocks[0].input.p.shape()
        super().__init__({
            "input": In(stream.Signature(layout)),
            "output": Out(stream.Signature(blocks[-1].output.p.shape())),
        })

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        first = self.blocks[0]
        m.submodules.queue = queue = fifo.SyncFIFOBuffered(width=len(Value.cast(self.input.p)), depth=INPUT_DEPTH)
        m.d.comb += [
            queue.w_data.eq(Value.cast(self.input.p)),
            queue.w_en.eq(self.input.valid),
            self.input.ready.eq(queue.w_rdy),
            Value.cast(first.input.p).eq(queue.r_data),
            first.input.valid.eq(queue.r_rdy),
            queue.r_en.eq(first.input.ready),
        ]
        for index, block in enumerate(self.blocks):
            m.submodules[f"block_{index}"] = block
            if index:
                assert self.blocks[index - 1].output.p.shape() == block.input.p.shape()
                wiring.connect(m, self.blocks[index - 1].output, block.input)
        wiring.connect(m, self.blocks[-1].output, wiring.flipped(self.output))
        return m


@dataclass
class Counted:
    """A stage as the count sees it: its operations, and the cycles in which the beats of its queue show."""

    plan: Plan
    depth: int
    done: int = 0
    held: int = 0
    shows: list[int] = field(default_factory=list)


def counted_cycles(plans: Sequence[Plan], depths: Sequence[int], frames: int) -> list[int]:
    """Return the cycle of every result, source and sink never waiting, by going through the cycles one by one."""
    stages = [Counted(plan, depth) for plan, depth in zip(plans, depths, strict=True)]
    results: list[int] = []
    expected = frames * plans[-1].operations.beats_out
    leaving: dict[int, list[Counted]] = {}
    for cycle in count(1):
        freed: list[Counted] = []
        for index, stage in enumerate(stages):
            before = stages[index - 1] if index else None
            operations = stage.plan.operations
            takes, sends = (bool(kind[stage.done % operations.cycles]) for kind in (operations.takes, operations.sends))
            shows = cycle >= QUEUE_CYCLES if before is None else bool(before.shows) and before.shows[0] <= cycle
            if stage.done == frames * operations.cycles or takes > shows or sends > (stage.held < stage.depth):
                continue
            stage.done += 1
            if takes and before is not None:
                before.shows.pop(0)
                freed.append(before)
            if sends:
                stage.held += 1
                stage.shows.append(cycle + stage.plan.pipeline_cycles + QUEUE_CYCLES)
        if stages[-1].shows and stages[-1].shows[0] <= cycle:
            results.append(stages[-1].shows.pop(0))
            freed.append(stages[-1])
        leaving[cycle + FREE_CYCLES - 1] = freed
        for stage in leaving.pop(cycle, []):
            stage.held -= 1
        if len(results) == expected:
            return results
    raise AssertionError


def predicted_ends(plans: Sequence[Plan], depths: Sequence[int], frames: int) -> tuple[int, ...]:
    """Return the cycle of every frame's last result, as `crosstile.timing.predict` has it."""
    nodes: list[Node] = []
    for plan, depth in zip(plans, depths, strict=True):
        source = nodes[-1].outputs[0] if nodes else None
        nodes.append(Node(plan.operations, plan.pipeline_cycles, [Queue(depth)], [Input(source)]))
    return predict(nodes, frames).frame_ends
