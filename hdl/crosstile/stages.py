"""Stages: the blocks of an accelerator, and what each of them reads."""

from dataclasses import dataclass, replace
from math import gcd
from typing import NamedTuple

import numpy as np
from crosstile_golden.network import IntegerNetwork
from crosstile_golden.numbers import NumberFormat

from .crosspoint_plan import CrosspointPlan
from .layer_plan import LayerPlan, PoolingPlan
from .line_buffer_plan import LineBufferPlan
from .pool_plan import PoolPlan
from .pulse_plan import PulsePlan
from .reuse_stage_plan import ReuseStagePlan
from .same_format import SameFormat
from .tile_integrators_plan import TileIntegratorPlan
from .timing import Operations
from .winograd_plan import WinogradPlan

LINKS = ("digits", "durations")


@dataclass(frozen=True)
class StreamPlan(SameFormat):
    """Beats handed on, `beats` a frame: to several readers (a fork), or `join` of them as one (a join).

    number_format, lanes   of the beats taken
    """

    number_format: NumberFormat
    lanes: int
    beats: int
    join: int = 1

    pipeline_cycles = 1
    memory_bits = 0

    @property
    def lanes_out(self) -> int:
        """Channels per beat sent."""
        return self.lanes * self.join

    @property
    def operations(self) -> Operations:
        """A beat per cycle; every `join`-th completes one."""
        sends = np.arange(self.beats) % self.join == self.join - 1
        return Operations(np.ones(self.beats, np.bool_), sends)


BlockPlan = (
    CrosspointPlan | PoolPlan | LineBufferPlan | PulsePlan | StreamPlan | WinogradPlan | TileIntegratorPlan
    | ReuseStagePlan
)


class Source(NamedTuple):
    """A queue that a stage reads: the stage that fills it (`INPUT`: the network's input), and which of its queues."""

    stage: int
    queue: int = 0


INPUT = -1


@dataclass(frozen=True)
class Stage:
    """A block: its plan, the queues it reads, how many it fills, and the layer whose tensor it sends, if any.

    A main beat that is wider than the plan takes is split; `residual` is for engines that add one.
    """

    plan: BlockPlan
    main: Source
    residual: Source | None = None
    queues: int = 1
    layer: int | None = None


class StageList:
    """Builds the stages of a network: layers in order, forks where a tensor has several readers."""

    def __init__(self, network: IntegerNetwork, layers: tuple[LayerPlan, ...], links: str) -> None:
        self.stages: list[Stage] = []
        self._links = links
        self._tensors: dict[str, list[Source]] = {}
        self._network = network
        self._readers = network.readers
        first = next(plan for plan, read in zip(layers, network.sources, strict=True) if read.main == "")
        self.input_lanes = first.stages[0].lanes_in
        reads = zip(layers, network.sources, strict=True)
        pooled_first = {
            read.main for plan, read in reads
            if isinstance(plan, PoolingPlan) and plan.local and self._readers[read.main] == 1
        }
        self._offer("", Source(INPUT))
        for index, (layer, read) in enumerate(zip(layers, network.sources, strict=True)):
            residual = self._tensors[read.residual].pop() if read.residual is not None else None
            source = self._tensors[read.main].pop(0)
            for plan in layer.stages:
                source = self._add(plan, source, residual if plan is layer.stages[-1] else None)
            self._mark(index)
            final = index + 1 == len(layers)
            name = network.layers[index].name
            self._offer(name, source if final or name in pooled_first else self._linked(source))

    def _offer(self, name: str, source: Source) -> None:
        """Make a tensor known to its readers."""
        readers = self._readers[name]
        if readers > 1:
            lanes, number_format, beats = self._beats(source)
            self._append(Stage(StreamPlan(number_format, lanes, beats), source, queues=readers))
            self._tensors[name] = [Source(len(self.stages) - 1, queue) for queue in range(readers)]
        else:
            self._tensors[name] = [source]

    def _beats(self, source: Source) -> tuple[int, NumberFormat, int]:
        """Return lanes, format and beats per frame of what a queue holds."""
        if source.stage == INPUT:
            geometry, lanes = self._network.layers[0].geometry, self.input_lanes
            beats = geometry.in_channels // lanes * int(np.prod(geometry.input_size))
            return lanes, self._network.input_format, beats
        plan = self.stages[source.stage].plan
        return plan.lanes_out, plan.output_format, plan.operations.beats_out

    def _add(self, plan: BlockPlan, source: Source, residual: Source | None) -> Source:
        main = self._adapted(source, plan.lanes_in)
        added = None if residual is None else self._adapted(residual, plan.lanes_out)
        return self._append(Stage(plan, main, added))

    def _adapted(self, source: Source, lanes: int) -> Source:
        """Return a queue whose beats hold `lanes` lanes, or whole multiples that the reader splits."""
        before, number_format, beats = self._beats(source)
        if before % lanes == 0:
            return source
        between = gcd(before, lanes)
        join = StreamPlan(number_format, between, beats * (before // between), lanes // between)
        return self._append(Stage(join, source))

    def _linked(self, source: Source) -> Source:
        """Return the queue behind the link to the next layer: as digits nothing is between."""
        if self._links == "digits":
            return source
        lanes, number_format, beats = self._beats(source)
        return self._append(Stage(PulsePlan(number_format, lanes, beats), source))

    def _append(self, stage: Stage) -> Source:
        self.stages.append(stage)
        return Source(len(self.stages) - 1)

    def _mark(self, layer: int) -> None:
        self.stages[-1] = replace(self.stages[-1], layer=layer)
