"""What the tests of the reuse-grouped engine share: memories before it, layers, and the proof of a plan."""

from dataclasses import replace
from typing import Any

import numpy as np
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from crosstile.frame_memory import FrameMemory
from crosstile.reuse import ReuseEngine
from crosstile.reuse_fold import legal_windows, reuse_folds
from crosstile.reuse_plan import ReusePlan
from crosstile.streams import delay
from crosstile.timing import QUEUE_CYCLES
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import Integers
from crosstile_golden.reuse import layer_reads

from .bench import Port, Run, StreamBench, beats_of, convolution, frames_of

Axes = tuple[int, ...]


class FromMemory(wiring.Component):
    """An engine before a memory that holds all frames from the start, and counts every word that leaves it."""

    def __init__(self, plan: ReusePlan, frames: Integers, depth: int | None = None) -> None:
        self.plan, self.count = plan, len(frames)
        self.engine: Any = ReuseEngine(plan, depth or plan.pipeline_cycles + 4)
        self.words = beats_of(frames, plan.lanes_in, plan.input_format.bits)
        self.unused = Signal(name="source_payload"), Signal(name="source_valid"), Signal(name="source_ready")
        self.given = Signal(32)
        super().__init__({"output": Out(self.engine.output.signature)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.engine = engine = self.engine
        m.submodules.memory = memory = Memory(shape=len(engine.word.as_value()), depth=len(self.words), init=self.words)
        read = memory.read_port(domain="sync")
        frame = Signal(range(self.count + 1))
        wiring.connect(m, engine.output, wiring.flipped(self.output))
        m.d.comb += [
            engine.frame_ready.eq(frame != self.count),
            read.addr.eq(frame * self.plan.frame_words + engine.address),
            engine.word.as_value().eq(delay(m, read.data, self.plan.latency - 1, "word")),
        ]
        m.d.sync += [frame.eq(frame + engine.frame_done), self.given.eq(self.given + engine.read)]
        return m


class Framed(wiring.Component):
    """A frame memory, and an engine that reads it."""

    def __init__(self, plan: ReusePlan, frames: int, depth: int) -> None:
        self.memory: Any = FrameMemory(plan.input_format, plan.lanes_in, plan.frame_words, frames, plan.latency)
        self.engine: Any = ReuseEngine(plan, depth)
        residual = {} if plan.layer.residual is None else {"residual": In(self.engine.residual.signature.flip())}
        super().__init__({
            "input": In(self.memory.input.signature.flip()), "output": Out(self.engine.output.signature), **residual
        })

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.memory, m.submodules.engine = memory, engine = self.memory, self.engine
        wiring.connect(m, wiring.flipped(self.input), memory.input)
        wiring.connect(m, engine.output, wiring.flipped(self.output))
        m.d.comb += [
            memory.address.eq(engine.address), memory.frame_done.eq(engine.frame_done),
            engine.word.eq(memory.word), engine.frame_ready.eq(memory.frame_ready),
        ]
        return m


def frames_for(plan: ReusePlan, count: int, seed: int = 1) -> Integers:
    legal, geometry = plan.input_format, plan.layer.geometry
    shape = count, geometry.in_channels, *geometry.input_size
    return np.random.default_rng(seed).integers(legal.minimum, legal.maximum + 1, shape)


def results(plan: ReusePlan, run: Run) -> Integers:
    legal = plan.output_format
    return frames_of(run.beats, plan.layer.output_shape, plan.lanes_out, legal.bits, legal.signed)


def prove(plan: ReusePlan, count: int = 2, hardware: ReusePlan | None = None, **fields: Any) -> Run:
    """Hold an engine equal to golden, to its predicted reads, and, where nothing stalls, each beat to its cycle."""
    frames = frames_for(plan, count, fields.get("seed", 1))
    dut: Any = FromMemory(hardware or plan, frames, fields.pop("depth", None))
    watched = {"given": dut.given, "reads": dut.engine.reads}
    expected = count * plan.operations.beats_out
    bench = StreamBench(dut, Port(*dut.unused), Port.of(dut.output), [], expected, watched=watched, **fields)
    run = bench.run()
    np.testing.assert_array_equal(results(plan, run), plan.layer.run(frames))
    reads = {"given": count * plan.activation_reads, "reads": plan.activation_reads}
    assert run.flags == reads, f"words read: {run.flags}, predicted {reads}"
    lengths = tuple(axis.length for axis in plan.axes[-plan.layer.geometry.dimensions :])
    assert plan.activation_reads == layer_reads(plan.layer.geometry, lengths, plan.halo) * plan.channel_groups
    if fields.get("stall", "none") == "none":
        assert plan.operations.cycles == plan.cycles_per_frame
        sends = np.flatnonzero(np.tile(plan.operations.sends, count))
        assert run.cycles == (sends + 1 + plan.pipeline_cycles + QUEUE_CYCLES).tolist()
    return run


def whole(layer: ConvolutionLayer, channels: int = 0, filters: int = 0, **fields: Any) -> ReusePlan:
    """Return a plan with one macro window over the whole frame."""
    widest = reuse_folds(layer.geometry)[-1]
    fold = replace(widest, channels=channels or widest.channels, filters=filters or widest.filters)
    return ReusePlan(layer, fold, **fields)


def framed(plan: ReusePlan, frames: int, depth: int, **fields: Any) -> Run:
    """Hold an engine behind a frame memory equal to golden."""
    inputs = frames_for(plan, 3)
    dut: Any = Framed(plan, frames, depth)
    beats = beats_of(inputs, plan.lanes_in, plan.input_format.bits)
    expected = 3 * plan.operations.beats_out
    run = StreamBench(dut, Port.of(dut.input), Port.of(dut.output), beats, expected, **fields).run()
    np.testing.assert_array_equal(results(plan, run), plan.layer.run(inputs))
    return run


LAYERS = {
    "3x3, padded": convolution(4, 4, (6, 7), (3, 3), begin=(1, 1), end=(1, 1), seed=1),
    "3x3": convolution(4, 4, (7, 8), (3, 3), seed=2),
    "5x2, unlike padding": convolution(2, 4, (9, 6), (5, 2), begin=(3, 0), end=(0, 1), seed=3),
    "stride 2": convolution(4, 2, (9, 8), (3, 3), stride=(2, 2), begin=(1, 1), end=(0, 1), seed=4),
    "stride over kernel": convolution(2, 2, (8, 9), (2, 1), stride=(3, 2), seed=5),
    "dilation 2": convolution(2, 2, (9, 8), (3, 2), dilation=(2, 2), begin=(2, 1), end=(2, 0), seed=6),
    "stride 2, dilation 3": convolution(2, 2, (14, 9), (3, 2), stride=(2, 2), dilation=(3, 1), begin=(1, 0), seed=7),
    "1x1": convolution(4, 4, (3, 3), (1, 1), seed=8),
    "one row": convolution(2, 2, (1, 9), (3, 3), begin=(1, 1), end=(1, 1), seed=9),
    "one column": convolution(2, 2, (9, 1), (3, 1), begin=(1, 0), seed=10),
    "one pixel": convolution(4, 2, (1, 1), (1, 1), seed=11),
    "fully connected": convolution(2, 4, (3, 2), (3, 2), seed=12),
    "3D": convolution(2, 2, (4, 4, 5), (3, 2, 2), begin=(1, 0, 1), end=(1, 0, 0), seed=13),
    "3D, strides": convolution(2, 2, (5, 4, 6), (2, 2, 3), stride=(2, 1, 2), seed=14),
}


def window_of(layer: ConvolutionLayer, outputs: int | None = None) -> Axes:
    """Return a macro window of `outputs` q along every axis, else of q = J + 1; nowhere of more than the layer's."""
    geometry = layer.geometry
    fields = zip(geometry.kernel, geometry.dilation, geometry.stride, strict=True)
    reaches = [(kernel - 1) * dilation // stride for kernel, dilation, stride in fields]
    lengths = [reach + 1 if outputs is None else outputs for reach in reaches]
    legal = legal_windows(geometry)
    return tuple(sizes[min(length, len(sizes)) - 1] for sizes, length in zip(legal, lengths, strict=True))
