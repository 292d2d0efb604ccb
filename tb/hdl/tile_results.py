"""The results of tiles from the definition of a convolution, and the bench of the block that adds them up."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from crosstile.joints import Join
from crosstile.requantise import constant_contents
from crosstile.tile_integrators import TileIntegrators
from crosstile.tile_integrators_plan import TileIntegratorPlan, tile_integrator_nodes
from crosstile.timing import FREE_CYCLES, QUEUE_CYCLES, Input, Node, Operations, Queue, predict, queue_cycles
from crosstile.winograd_program import TileStep, axis_programs
from crosstile_golden.accumulator import filter_ranges
from crosstile_golden.geometry import Axes
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import Integers, signed_bits_for

from .bench import INT8, Port, Run, StreamBench, beats_of, convolution, frames_of, pack
from .blocks import Row

LINKS: dict[Axes, dict[int, Axes]] = {
    (3,): {3: (0, 1)}, (2,): {2: (0, 1, 2)}, (1,): {1: (0, 1, 2, 3)}, (3, 2): {3: (0, 2), 2: (0, 1, 2)},
    (3, 1): {3: (0, 1), 1: (0, 1, 2, 3)}, (2, 1): {2: (0, 1, 2), 1: (0, 1, 2, 3)},
    (3, 2, 1): {3: (0, 2), 2: (0, 1, 2), 1: (0, 1, 2, 3)},
}  # fmt: skip
"""Where the partial-sum transform sends a tile's outputs, by the sizes along the axis."""

INPUT_PLACES = Join.PIPELINE_CYCLES + QUEUE_CYCLES + FREE_CYCLES


def layer_of(
    size: Axes, kernel: Axes, stride: Axes = (), dilation: Axes = (), filters: int = 2, padded: bool = True,
    channels: int = 1, **settings: Any,
) -> ConvolutionLayer:  # fmt: skip
    """Return a random layer, its padding half the kernel's reach, one more at the end where that is odd."""
    reaches = [(k - 1) * d for k, d in zip(kernel, dilation or (1,) * len(kernel), strict=True)]
    begin, end = tuple(reach // 2 * padded for reach in reaches), tuple((reach + 1) // 2 * padded for reach in reaches)
    return convolution(
        channels, filters, size, kernel, stride=stride, dilation=dilation, begin=begin, end=end, seed=sum(size),
        reads=INT8, **settings,
    )


def plan_of(layer: ConvolutionLayer, lanes: int = 1, more_bits: int = 0, **settings: Any) -> TileIntegratorPlan:
    """Return the plan of a layer whose results are as wide as whole sums, and `more_bits` more."""
    programs, ranges = axis_programs(layer.geometry), np.array(filter_ranges(layer))
    bits = signed_bits_for(int(ranges.min()), int(ranges.max())) + more_bits
    links: tuple[Mapping[int, Axes], ...] = tuple(LINKS[program.sizes] for program in programs)
    return TileIntegratorPlan(layer, programs, lanes, links, bits, (ranges[:, 0], ranges[:, 1]), **settings)


def frames_for(layer: ConvolutionLayer, count: int, seed: int = 3) -> Integers:
    legal, generator = layer.input_format, np.random.default_rng(seed)
    shape = (count, layer.geometry.in_channels, *layer.geometry.input_size)
    return generator.integers(legal.minimum, legal.maximum + 1, shape)


# Tiles


def results_of(plan: TileIntegratorPlan, frame: Integers, steps: tuple[TileStep, ...]) -> Integers:
    """Return what a tile's part of the kernel adds to its outputs, (filter, *outputs): tap after tap."""
    layer, counts = plan.layer, [5 - step.size for step in steps]
    made = np.zeros((layer.geometry.out_channels, *counts), np.int64)
    for taps in itertools.product(*(range(step.size) for step in steps)):
        inputs, weight = frame, layer.weight
        for axis, (program, step, tap) in enumerate(zip(plan.programs, steps, taps, strict=True)):
            of_kernel = program.split.parts[step.part].tap + tap * program.split.step
            outputs = step.outputs[0] + np.arange(5 - step.size) * program.output_spacing
            places = outputs * program.split.stride + of_kernel * program.split.dilation - program.padding
            inside = ((places >= 0) & (places < program.inputs)).reshape(-1, *[1] * (len(steps) - axis - 1))
            inputs = np.take(inputs, places.clip(0, program.inputs - 1), axis=1 + axis) * inside
            weight = np.take(weight, [of_kernel], axis=2 + axis)
        groups = layer.geometry.groups
        taken = weight.reshape(weight.shape[:2])
        pairs = zip(np.split(inputs, groups), np.split(taken, groups), strict=True)
        made += np.concatenate([np.tensordot(w, x, axes=1) for x, w in pairs])
    return made


def tile_beats(plan: TileIntegratorPlan, frames: Integers) -> list[int]:
    """Return the beats of frames (frames, channels, *spatial); links that no output is on hold rubbish."""
    generator, lanes, beats = np.random.default_rng(7), plan.filter_lanes, []
    for frame, steps in itertools.product(frames, itertools.product(*(program.steps for program in plan.programs))):
        made = results_of(plan, frame, steps)
        links = generator.integers(0, 1 << plan.tile_bits, (len(made), prod(plan.link_counts)))
        for outputs in itertools.product(*(range(len(step.outputs)) for step in steps)):
            along = zip(plan.links, steps, outputs, strict=True)
            place = np.ravel_multi_index([axis[step.size][at] for axis, step, at in along], plan.link_counts)
            links[:, place] = made.reshape(len(made), -1)[:, np.ravel_multi_index(outputs, made.shape[1:])]
        for first in range(0, len(made), lanes):
            beats.append(pack(links[first : first + lanes].T.ravel().tolist(), plan.tile_bits))
    return beats


# The bench


class Surrounded(wiring.Component):
    """A block with what else it reads: beats of a residual, and constants that are loaded before its first beat.

    `late` residuals show three cycles after the one before them was taken.
    """

    input: stream.Interface
    output: stream.Interface

    def __init__(self, block: Any, residuals: Sequence[int], words: Sequence[tuple[int, int]], late: bool):
        self.block, self.residuals, self.words, self.late = block, residuals, words, late
        super().__init__({"input": In(block.input.signature.flip()), "output": Out(block.output.signature)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.block = block = self.block
        wiring.connect(m, block.output, wiring.flipped(self.output))
        loaded = self._load(m) if self.words else 1
        m.d.comb += [
            block.input.p.eq(self.input.p),
            block.input.valid.eq(self.input.valid & loaded),
            self.input.ready.eq(block.input.ready & loaded),
        ]
        if self.residuals:
            self._residuals(m)
        return m

    def _load(self, m: Module) -> Value:
        step, bus = Signal(range(len(self.words) + 4)), self.block.load_constants
        with m.If(step != len(self.words) + 3):
            m.d.sync += step.eq(step + 1)
        with m.Switch(step):
            for index, (address, word) in enumerate(self.words):
                with m.Case(index):
                    m.d.comb += [bus.write.eq(1), bus.address.eq(address), bus.data.eq(word)]
        return step == len(self.words) + 3

    def _residuals(self, m: Module) -> None:
        index, wait, read = Signal(range(len(self.residuals) + 1)), Signal(2), self.block.residual
        bits, beats = len(read.p.as_value()), self.residuals
        m.submodules.memory = memory = Memory(shape=bits, depth=len(beats), init=beats)
        port = memory.read_port(domain="comb")
        m.d.comb += [port.addr.eq(index), read.p.as_value().eq(port.data)]
        m.d.comb += read.valid.eq((index != len(self.residuals)) & (wait == 0))
        m.d.sync += wait.eq(Mux(wait == 0, 0, wait - 1))
        with m.If(read.valid & read.ready):
            m.d.sync += [index.eq(index + 1), wait.eq(2 if self.late else 0)]


@dataclass
class TileBench:
    """Holds the block of a plan equal to golden, bit for bit, and, where nothing stalls, to its predicted cycles.

    depth      places of its output queue; 0: as many as let it run
    hardware   the plan that is built, if another
    loads      the layer whose constants are loaded first, if any
    """

    plan: TileIntegratorPlan
    count: int = 2
    depth: int = 0
    hardware: TileIntegratorPlan | None = None
    loads: ConvolutionLayer | None = None

    def prove(self, **settings: Any) -> Run:
        """Run the block; `settings` are those of `StreamBench`."""
        plan, layer = self.plan, self.loads or self.plan.layer
        frames, stall = frames_for(layer, self.count), settings.get("stall", "none")
        residuals = self._residuals()
        row = self._row(residuals, late=stall in ("source", "both"))
        expected = self.count * plan.operations.beats_out
        port = Port.of(row.input)
        run = StreamBench(row, port, Port.of(row.output), tile_beats(plan, frames), expected, **settings).run()
        np.testing.assert_array_equal(self.received(run), self.leaving(layer.run(frames, residuals)))
        if stall == "none" and self.loads is None:
            nodes = self.nodes()
            predict(nodes, self.count)
            assert run.cycles == nodes[-1].outputs[0].shows
        return run

    @property
    def places(self) -> int:
        return self.depth or self.plan.pipeline_cycles + 4

    def nodes(self) -> list[Node]:
        """Return the timing model: the queue before the block, writer and reader."""
        plan = self.plan
        each = np.ones(plan.writer_operations.beats_in, np.bool_)
        first = Node(Operations(each, each), Join.PIPELINE_CYCLES, [Queue(INPUT_PLACES)], [Input(None)])
        inputs = [Input(first.outputs[0])] + [Input(None)] * (plan.layer.residual is not None)
        behind = Queue(self.places, queue_cycles(self.places))
        return [first, *tile_integrator_nodes(plan, inputs, [behind])]

    def _row(self, residuals: Integers | None, late: bool) -> Row:
        plan = self.hardware or self.plan
        block: Any = TileIntegrators(plan, self.places)
        words: list[tuple[int, int]] = []
        if self.loads is not None:
            words = constant_contents(plan_of(self.loads, plan.filter_lanes, loadable=True)).words
        beats: list[int] = []
        if residuals is not None and plan.layer.residual is not None:
            beats = beats_of(residuals, plan.lanes_out, plan.layer.residual.number_format.bits)
        if beats or words:
            block = Surrounded(block, beats, words, late)
        return Row([Join(plan.input_format, plan.lanes_in, plan.lanes_in, INPUT_PLACES), block])

    def _residuals(self) -> Integers | None:
        layer = self.plan.layer
        if layer.residual is None:
            return None
        legal, shape = layer.residual.number_format, (self.count, *layer.output_shape)
        return np.random.default_rng(5).integers(legal.minimum, legal.maximum + 1, shape)

    def leaving(self, golden: Integers) -> Integers:
        """Return golden's frames without the rows that never leave."""
        axis, rows = golden.ndim - 2, self.plan.rows_at_once
        return golden.take(np.arange(golden.shape[axis] // rows * rows), axis=axis) if rows > 1 else golden

    def received(self, run: Run) -> Integers:
        """Return a run's beats (rows, column, filter group; row, filter) as frames (filter, *outputs)."""
        plan, legal, rows = self.plan, self.plan.output_format, self.plan.rows_at_once
        filters, *shape = plan.layer.output_shape
        if rows == 1:
            return frames_of(run.beats, (filters, *shape), plan.lanes_out, legal.bits, legal.signed)
        beats = frames_of(run.beats, (plan.lanes_out, len(run.beats)), plan.lanes_out, legal.bits, legal.signed)[0].T
        split = beats.reshape(-1, shape[-1], plan.filter_groups, rows, plan.filter_lanes).transpose(0, 3, 1, 2, 4)
        shape[-2] = shape[-2] // rows * rows
        return np.moveaxis(split.reshape(-1, *shape, filters), -1, 1)
