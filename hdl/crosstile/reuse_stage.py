"""The reuse-grouped engine between streams: a frame memory that a stream fills, and the engine that reads it."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .frame_memory import FrameMemory
from .reuse import ReuseEngine
from .reuse_stage_plan import ReuseStagePlan


class ReuseStage(wiring.Component):
    """Keeps frames in a memory and convolves them, each word read once (US 2023/0162007).

    Parameters: `plan`; `depth`, places of the output queue, 1 or more.
    Members: `input` and `output`, streams of beats; `residual`, where the layer has one, another; `read`, a word is
    read in this cycle.
    Timing: see `reuse_stage_nodes`.
    """

    input: stream.Interface
    output: stream.Interface
    residual: stream.Interface
    read: Signal

    def __init__(self, plan: ReuseStagePlan, depth: int):
        engine = plan.engine
        memory: Any = FrameMemory(engine.input_format, engine.lanes_in, engine.frame_words, plan.frames, engine.latency)
        self.plan, self._memory, self._engine = plan, memory, ReuseEngine(engine, depth)
        residual = engine.layer.residual
        ports = {} if residual is None else {"residual": In(self._engine.residual.signature.flip())}
        super().__init__({
            "input": In(memory.input.signature.flip()), "output": Out(self._engine.output.signature), "read": Out(1),
            **ports,
        })

    def elaborate(self, _platform: object) -> Module:
        """Return both, joined."""
        m = Module()
        m.submodules.memory, m.submodules.engine = memory, engine = self._memory, self._engine
        wiring.connect(m, wiring.flipped(self.input), memory.input)
        wiring.connect(m, engine.output, wiring.flipped(self.output))
        if self.plan.engine.layer.residual is not None:
            wiring.connect(m, wiring.flipped(self.residual), engine.residual)
        m.d.comb += [
            memory.address.eq(engine.address), memory.frame_done.eq(engine.frame_done),
            engine.word.eq(memory.word), engine.frame_ready.eq(memory.frame_ready), self.read.eq(engine.read),
        ]
        return m
