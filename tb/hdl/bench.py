"""What the block tests share: a source, a sink and a watchdog around a stream, and random layers and plans.

A run ends well only if as many results came as expected, every beat was taken, nothing is left over, no offered
beat changed before it was taken, and the watchdog did not fire; anything else raises `BenchError`.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from amaranth.hdl import ClockDomain, Elaboratable, Module, Value
from amaranth.lib import stream
from amaranth.sim import Simulator
from crosstile.accelerator import Accelerator, lane_bits
from crosstile.crosspoint import CrosspointEngine
from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.fold import Fold, PlaneGeometry, legal_folds
from crosstile.layer_plan import ConvolutionPlan, LayerPlan, PoolingPlan
from crosstile.network_plan import NetworkPlan
from crosstile.timing import QUEUE_CYCLES
from crosstile_golden.activation import NONE, RELU
from crosstile_golden.geometry import Axes, ConvolutionGeometry, PoolGeometry
from crosstile_golden.network import ConvolutionLayer, IntegerNetwork, Layer, PoolLayer
from crosstile_golden.numbers import Integers, NumberFormat, signed_bits_for

STALLS = {"none": (0.0, 0.0), "source": (0.4, 0.0), "sink": (0.0, 0.4), "both": (0.3, 0.3)}
WATCHDOG_CYCLES = 1000  # far more than any of these small stages is silent
IDLE_CYCLES = 40  # watched after the end for results that nobody asked for

UINT8, INT8 = NumberFormat(8, signed=False), NumberFormat(8, signed=True)


class BenchError(AssertionError):
    """The verdict on a design that does not behave."""


@dataclass(frozen=True)
class Port:
    """One stream as the bench drives or watches it; `last` only where the port has one."""

    payload: Value
    valid: Value
    ready: Value
    last: Value | None = None

    @classmethod
    def of(cls, interface: stream.Interface) -> "Port":
        return cls(Value.cast(interface.p), interface.valid, interface.ready)


@dataclass
class Run:
    """What a run saw: the cycle of every beat taken, and cycle, payload and last of every result."""

    taken: list[int] = field(default_factory=list)
    cycles: list[int] = field(default_factory=list)
    beats: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    flags: dict[str, int] = field(default_factory=dict)


@dataclass
class StreamBench:
    """Offers `beats`, each with its `last` bit, and expects `expected` results.

    `stall` is a key of `STALLS`; `reset_at` is a cycle in which reset is held and after which all starts anew,
    cycle 0 included; `watched` are signals whose values at the end are wanted.
    """

    dut: Elaboratable
    source: Port
    sink: Port
    beats: Sequence[int]
    expected: int
    stall: str = "none"
    seed: int = 1
    last: Sequence[int] = ()
    reset_at: int | None = None
    watched: dict[str, Value] = field(default_factory=dict)
    record: Run = field(default_factory=Run)
    _held: tuple[int, int] | None = None

    def run(self) -> Run:
        """Simulate until all is over; raise `BenchError` on the first thing that is wrong."""
        m = Module()
        m.domains.sync = self.domain = ClockDomain()
        m.submodules.dut = self.dut
        simulator = Simulator(m)
        simulator.add_clock(1e-6)
        simulator.add_testbench(self._process)
        simulator.run()
        return self.record

    async def _process(self, context: Any) -> None:
        if self.reset_at is not None:
            await self._interrupted(context)
        self.record = Run()
        await self._cycles(context, None)
        self.record.flags = {name: context.get(signal) for name, signal in self.watched.items()}

    async def _interrupted(self, context: Any) -> None:
        """Run up to the reset, hold it for a cycle, and forget all that was seen."""
        await self._cycles(context, self.reset_at)
        context.set(self.domain.rst, 1)
        await context.tick()
        context.set(self.domain.rst, 0)
        self._held = None

    async def _cycles(self, context: Any, end: int | None) -> None:
        chances, generator, record = STALLS[self.stall], random.Random(self.seed), self.record
        offering, silent, idle, cycle = False, 0, 0, 0
        while idle < IDLE_CYCLES and cycle != end:
            offering = offering or (len(record.taken) < len(self.beats) and generator.random() >= chances[0])
            self._offer(context, offering, len(record.taken))
            ready = generator.random() >= chances[1]
            context.set(self.sink.ready, ready)
            taken = offering and bool(context.get(self.source.ready))
            given = self._watch(context, ready, cycle)
            if taken:
                record.taken.append(cycle)
                offering = False
            over = len(record.taken) == len(self.beats) and len(record.beats) == self.expected
            silent, idle, cycle = 0 if taken or given or over else silent + 1, idle + over, cycle + 1
            if silent > WATCHDOG_CYCLES:
                raise BenchError(self._verdict())
            await context.tick()

    def _offer(self, context: Any, offering: bool, index: int) -> None:
        context.set(self.source.valid, offering)
        if offering:
            context.set(self.source.payload, self.beats[index])
            if self.source.last is not None:
                context.set(self.source.last, self.last[index])

    def _watch(self, context: Any, ready: bool, cycle: int) -> bool:
        """Record a result that is taken; refuse one too many, or one that changed while it waited."""
        valid = bool(context.get(self.sink.valid))
        last = 0 if self.sink.last is None else context.get(self.sink.last)
        beat = (context.get(self.sink.payload), last)
        if self._held is not None and (not valid or beat != self._held):
            raise BenchError(f"cycle {cycle}: an offered beat changed before it was taken")
        self._held = beat if valid and not ready else None
        if not (valid and ready):
            return False
        if len(self.record.beats) == self.expected:
            raise BenchError(f"cycle {cycle}: a result is left over after all {self.expected}")
        self.record.cycles.append(cycle)
        self.record.beats.append(beat[0])
        self.record.last.append(beat[1])
        return True

    def _verdict(self) -> str:
        taken, given = len(self.record.taken), len(self.record.beats)
        return f"watchdog: {taken} of {len(self.beats)} beats taken, {given} of {self.expected} results given"


def clocked(dut: Elaboratable, process: Callable[[Any], Any]) -> None:
    """Run one process against a block without handshakes; it ends itself."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()


def pack(values: Iterable[int], step: int) -> int:
    """Return values side by side, `step` bits each, the first in the least significant bits."""
    return sum((int(value) & ((1 << step) - 1)) << (step * index) for index, value in enumerate(values))


def unpack(word: int, lanes: int, step: int, signed: bool) -> list[int]:
    """Return the lanes of a word, `step` bits each."""
    values = [word >> (step * lane) & ((1 << step) - 1) for lane in range(lanes)]
    return [value - (1 << step) if signed and value >> (step - 1) else value for value in values]


def beats_of(frames: Integers, lanes: int, step: int) -> list[int]:
    """Return frames (frames, channels, *spatial) as beats: row, column, channel group, lane."""
    pixels = np.moveaxis(frames.reshape(*frames.shape[:2], -1), 1, 2)
    return [pack(beat, step) for beat in pixels.reshape(-1, lanes).tolist()]


def frames_of(beats: Sequence[int], shape: Axes, lanes: int, step: int, signed: bool) -> Integers:
    """Return beats as frames of (channels, *spatial): the inverse of `beats_of`."""
    values = np.array([unpack(beat, lanes, step, signed) for beat in beats], np.int64)
    return np.moveaxis(values.reshape(-1, prod(shape[1:]), shape[0]), 2, 1).reshape(-1, *shape)


# Layers


def convolution(
    channels: int, filters: int, size: Axes, kernel: Axes, *, stride: Axes = (), dilation: Axes = (),
    begin: Axes = (), end: Axes = (), weight_bits: int = 8, reads: NumberFormat = UINT8,
    writes: NumberFormat = UINT8, relu: bool = True, seed: int = 0, name: str = "convolution",
    groups: int = 1,
) -> ConvolutionLayer:  # fmt: skip
    """Return a random layer whose outputs spread over the output format; empty axes stand for 1 or no padding."""
    generator = np.random.default_rng(seed)
    ones, zeros = (1,) * len(size), (0,) * len(size)
    geometry = ConvolutionGeometry(
        channels, size, kernel, stride or ones, dilation or ones, begin or zeros, end or zeros, filters, groups
    )
    largest = (1 << (weight_bits - 1)) - 1
    weight = generator.integers(-largest - 1, largest + 1, geometry.weight_shape)
    typical = int(np.abs(weight).sum() * reads.maximum / filters) // 4
    shift = max(typical.bit_length() - writes.bits, 0) + generator.integers(-3, 1, filters)
    bias = generator.integers(-typical // 8 - 1, typical // 8 + 2, filters)
    return ConvolutionLayer(name, geometry, weight, bias, shift, weight_bits, reads, writes, RELU if relu else NONE)


def pool(
    channels: int, size: Axes, kernel: Axes, kind: str, *, stride: Axes = (), begin: Axes = (), end: Axes = (),
    reads: NumberFormat = UINT8, name: str = "pool",
) -> PoolLayer:  # fmt: skip
    """Return a pool; an average's shift is the least that its window allows."""
    ones, zeros = (1,) * len(size), (0,) * len(size)
    geometry = PoolGeometry(
        channels, size, kernel, stride or kernel, ones, begin or zeros, end or zeros, kind=kind
    )
    return PoolLayer(name, geometry, (prod(kernel) - 1).bit_length() if kind == "average" else 0, reads)


def network(layers: Sequence[Layer]) -> IntegerNetwork:
    """Return a chain of layers as a network."""
    first, last = layers[0], layers[-1]
    shape = (first.geometry.in_channels, *first.geometry.input_size)
    return IntegerNetwork("chain", shape, first.input_format, 1.0, tuple(layers), 1.0, last.output_shape, "shift")


def folds_of(layer: ConvolutionLayer) -> list[Fold]:
    """Return every legal fold of a layer."""
    return legal_folds(PlaneGeometry.of(layer.geometry, layer.name))


def widest(layer: ConvolutionLayer) -> Fold:
    """Return the legal fold with the most multipliers."""
    return max(folds_of(layer), key=lambda fold: fold.multipliers)


def plan_of(
    layers: Sequence[Layer], folds: Sequence[Fold] = (), depths: Sequence[int] = (), lanes: int = 1
) -> NetworkPlan:
    """Return a chain's plan: `folds` for its convolutions (else the widest), `lanes` into a first pool."""
    convolutions = [layer for layer in layers if isinstance(layer, ConvolutionLayer)]
    picks = iter(folds or [widest(layer) for layer in convolutions])
    plans: list[LayerPlan] = []
    for layer in layers:
        if isinstance(layer, PoolLayer):
            plans.append(PoolingPlan(layer, plans[-1].stages[-1].lanes_out if plans else lanes))
        else:
            plans.append(ConvolutionPlan(layer, "steered", next(picks)))
    plan = NetworkPlan(network(layers), tuple(plans))
    return with_depths(plan, depths) if depths else plan


def with_depths(plan: NetworkPlan, depths: Sequence[int]) -> NetworkPlan:
    """Return the plan with the given queue depth behind each layer; what stands between layers keeps its own."""
    given = iter(depths)
    stages = zip(plan.stages, plan.depths, strict=True)
    return replace(plan, depths=tuple(own if stage.layer is None else (next(given),) for stage, own in stages))


def random_frames(plan: NetworkPlan, count: int, seed: int = 0) -> Integers:
    """Return frames over the input format's whole range, its two ends made frequent."""
    legal, generator = plan.network.input_format, np.random.default_rng(seed)
    frames = generator.integers(legal.minimum, legal.maximum + 1, (count, *plan.network.frame_shape))
    extreme = generator.choice([legal.minimum, legal.maximum], frames.shape)
    return np.where(generator.random(frames.shape) < 0.2, extreme, frames)


# The accelerator


def accelerator_bench(plan: NetworkPlan, frames: Integers, **settings: Any) -> StreamBench:
    """Return the bench of a plan's accelerator, for frames (frames, channels, *spatial)."""
    dut: Any = Accelerator(plan)
    beats = beats_of(frames, plan.lanes_in, lane_bits(plan.input_format))
    last = [int((index + 1) % plan.beats_in == 0) for index in range(len(beats))]
    source = Port(dut.s_axis_tdata, dut.s_axis_tvalid, dut.s_axis_tready, dut.s_axis_tlast)
    sink = Port(dut.m_axis_tdata, dut.m_axis_tvalid, dut.m_axis_tready, dut.m_axis_tlast)
    bench = StreamBench(dut, source, sink, beats, len(frames) * plan.beats_out, last=last)
    return replace(bench, watched={"frame_error": dut.frame_error}, **settings)


def results_of(plan: NetworkPlan, run: Run) -> Integers:
    """Return a run's results as frames of the network's output shape."""
    legal = plan.output_format
    shape = plan.network.layers[-1].output_shape
    found = frames_of(run.beats, shape, plan.lanes_out, lane_bits(legal), legal.signed)
    return found.reshape(-1, *plan.network.output_shape)


def prove(
    plan: NetworkPlan, frames: Integers | int = 2, hardware: NetworkPlan | None = None, **settings: Any
) -> Run:
    """Hold an accelerator equal to golden, bit for bit, and, where nothing stalls, to its predicted cycles.

    `hardware` is the plan that is built, where that is not the plan it is held to.
    """
    inputs = random_frames(plan, frames, settings.get("seed", 1)) if isinstance(frames, int) else frames
    bench = accelerator_bench(hardware or plan, inputs, **settings)
    bench.expected = len(inputs) * plan.beats_out
    run = bench.run()
    np.testing.assert_array_equal(results_of(plan, run), plan.network.run(inputs))
    ends = run.cycles[plan.beats_out - 1 :: plan.beats_out]
    assert [index for index, last in enumerate(run.last) if last] == [
        (frame + 1) * plan.beats_out - 1 for frame in range(len(inputs))
    ]
    assert run.flags["frame_error"] == 0
    if settings.get("stall", "none") == "none":
        timing = plan.timing(len(inputs))
        assert (run.cycles[0], tuple(ends)) == (timing.first_output, timing.frame_ends)
    return run


def sums_width(values: Integers) -> int:
    """Return the width that these values need, two's complement."""
    return signed_bits_for(int(values.min()), int(values.max()))


# One engine alone


def engine_bench(plan: CrosspointPlan, frames: Integers, dut: Any = None, **settings: Any) -> StreamBench:
    """Return the bench of one engine, for frames (frames, channels, *spatial), its queue never full unstalled.

    `dut` is what stands in the engine's place, with its two streams.
    """
    engine = dut or CrosspointEngine(plan, plan.pipeline_cycles + 4)
    beats = beats_of(frames, plan.lanes_in, plan.input_format.bits)
    expected = len(frames) * plan.operations.beats_out
    return StreamBench(engine, Port.of(engine.input), Port.of(engine.output), beats, expected, **settings)


def engine_results(plan: CrosspointPlan, run: Run) -> Integers:
    """Return a run's results as frames of the layer's output shape."""
    legal = plan.output_format
    return frames_of(run.beats, plan.layer.output_shape, plan.lanes_out, legal.bits, legal.signed)


def prove_engine(plan: CrosspointPlan, frames: Integers | int = 2, dut: Any = None, **settings: Any) -> Run:
    """Hold an engine equal to golden, bit for bit, and, where nothing stalls, every beat to its predicted cycle."""
    legal, geometry = plan.input_format, plan.layer.geometry
    inputs = frames
    if isinstance(inputs, int):
        generator = np.random.default_rng(settings.get("seed", 1))
        shape = inputs, geometry.in_channels, *geometry.input_size
        inputs = generator.integers(legal.minimum, legal.maximum + 1, shape)
    run = engine_bench(plan, inputs, dut, **settings).run()
    np.testing.assert_array_equal(engine_results(plan, run), plan.layer.run(inputs))
    if settings.get("stall", "none") == "none":
        sends = np.flatnonzero(np.tile(plan.operations.sends, len(inputs)))
        assert run.cycles == (sends + plan.operations.first + plan.pipeline_cycles + QUEUE_CYCLES).tolist()
    return run
