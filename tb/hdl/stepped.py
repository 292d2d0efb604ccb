"""A timing model of another kind than the design's: it steps every clock. And random graphs to hold both to."""

import random
from collections import deque
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from crosstile.network_plan import NetworkPlan
from crosstile.stages import INPUT
from crosstile.tile_integrators_plan import TileIntegratorPlan, tile_integrator_nodes
from crosstile.timing import QUEUE_CYCLES, Counts, Input, Node, Operations, Queue, Timing, queue_cycles
from crosstile.winograd_plan import WinogradPlan, winograd_nodes

START_CYCLES = 1  # from reset to the first operation that needs no beat
LATE_BEATS = 20  # of a frame, at most, where random graphs let them show later than their places are reserved


class StoppedError(Exception):
    """Nothing moves in this cycle, and nothing ever will."""


@dataclass
class Places:
    """A queue as its free places and the cycles in which its beats show; what is freed is free `frees` cycles later."""

    free: int
    cycles: int
    frees: int
    beats: deque[int] = field(default_factory=deque)
    freed: deque[int] = field(default_factory=deque)
    held: int = 0
    most: int = 0

    def shows(self, cycle: int, count: int = 1) -> bool:
        return len(self.beats) >= count and self.beats[count - 1] <= cycle

    def reserve(self, count: int) -> None:
        self.free, self.held = self.free - count, self.held + count
        self.most = max(self.most, self.held)

    def take(self, cycle: int) -> None:
        self.beats.popleft()
        self.freed.append(cycle + self.frees)

    def tick(self, following: int) -> None:
        while self.freed and self.freed[0] <= following:
            self.freed.popleft()
            self.free, self.held = self.free + 1, self.held - 1


def shown(operations: Operations) -> Counts:
    """Return the beats that enter the queues with each operation."""
    return operations.sends if operations.shows is None else operations.shows


class Machine:
    """A graph of nodes, stepped: in each cycle every node issues its next operation, unless it must wait."""

    def __init__(self, nodes: list[Node], frames: int):
        self.nodes, self.frames, self.cycle = nodes, frames, START_CYCLES
        self.queues = {
            id(queue): Places(queue.depth, queue.cycles, queue.frees) for node in nodes for queue in node.outputs
        }
        self.issued = [0] * len(nodes)
        self.parts = [[0] * len(node.inputs) for node in nodes]
        self.events: list[list[int]] = [[] for _ in nodes]
        self.left: list[int] = []

    def run(self) -> Timing:
        """Step until every operation is issued and every beat has left."""
        last = self.nodes[-1].operations
        total = [self.frames * node.operations.cycles for node in self.nodes]
        while self.issued != total or len(self.left) < self.frames * last.beats_out:
            self._step()
        ends = self.left[last.beats_out - 1 :: last.beats_out]
        return Timing(self.left[0], tuple(ends), ends[-1] - ends[-2] if len(ends) > 1 else ends[-1] + 1)

    def peaks(self) -> list[int]:
        return [places.most for places in self.queues.values()]

    def _step(self) -> None:
        moved = sum(self._issue(index) for index in range(len(self.nodes))) > 0
        sink = self.queues[id(self.nodes[-1].outputs[0])]
        if sink.shows(self.cycle):
            self.left.append(self.cycle)
            sink.take(self.cycle)
            moved = True
        later = any(places.freed or (places.beats and places.beats[-1] > self.cycle) for places in self.queues.values())
        if not moved and not later and self.cycle > QUEUE_CYCLES:
            raise StoppedError
        for places in self.queues.values():
            places.tick(self.cycle + 1)
        self.cycle += 1

    def _issue(self, index: int) -> bool:
        """Issue a node's next operation if it need not wait; tell whether it did."""
        node, number = self.nodes[index], self.issued[index]
        if number == self.frames * node.operations.cycles or self.cycle < node.operations.first:
            return False
        takes, sends, shows = (
            int(kind[number % node.operations.cycles])
            for kind in (node.operations.takes, node.operations.sends, shown(node.operations))
        )
        reads = [takes, *(int(sends > 0) for _ in node.inputs[1:])]
        outputs = [self.queues[id(queue)] for queue in node.outputs]
        if not all(self._shows(index, entry, parts) for entry, parts in enumerate(reads) if parts):
            return False
        if any(queue.free < sends for queue in outputs):
            return False
        for entry, parts in enumerate(reads):
            for _ in range(parts):
                self._take(index, entry)
        for queue in outputs:
            queue.reserve(sends)
            queue.beats.extend([self.cycle + node.pipeline_cycles + queue.cycles] * shows)
        if takes or sends or shows:
            self.events[index].append(self.cycle)
        self.issued[index] += 1
        return True

    def _shows(self, index: int, entry: int, parts: int) -> bool:
        source = self.nodes[index].inputs[entry]
        if source.queue is None:
            return self.cycle >= source.start + QUEUE_CYCLES
        beats = -(-(self.parts[index][entry] + parts) // source.split)
        return self.queues[id(source.queue)].shows(self.cycle, beats)

    def _take(self, index: int, entry: int) -> None:
        source = self.nodes[index].inputs[entry]
        self.parts[index][entry] = (self.parts[index][entry] + 1) % source.split
        if self.parts[index][entry] == 0 and source.queue is not None:
            self.queues[id(source.queue)].take(self.cycle)


def stepped(nodes: list[Node], frames: int) -> Timing:
    """Return the timing by counting clock cycles; raise `StoppedError` where the nodes wait for each other for ever."""
    return Machine(nodes, frames).run()


class Graph:
    """A random graph of nodes whose beats per frame match: stages one behind the other, and diamonds."""

    def __init__(self, seed: int, deep: bool):
        self.random, self.deep, self.nodes = random.Random(seed), deep, list[Node]()
        source, beats = Input(None), self.random.randint(1, 8)
        for _ in range(self.random.randint(1, 3)):
            build = self.random.choice([self.stage, self.diamond, self.diamond])
            source, beats = build(source, beats)
        if len(self.nodes[-1].outputs) > 1 or self.nodes[-1].operations.counted:
            self.add(beats, self.random.randint(1, 8), [source], plain=True)  # the sink takes a beat at a time

    def depth(self) -> int:
        return self.random.randint(30, 60) if self.deep else self.random.randint(1, 6)

    def split(self, source: Input) -> int:
        return self.random.choice([1, 1, 2, 3]) if source.queue is not None else 1

    def add(
        self, beats_in: int, beats_out: int, inputs: list[Input], queues: int = 1, plain: bool = False
    ) -> list[Queue]:
        """Add a node with that many beats in, out, and idle operations, in any order; return its queues."""
        length = max(beats_in, beats_out) + self.random.randint(0, 8)
        takes = [True] * beats_in + [False] * (length - beats_in)
        sends = [True] * beats_out + [False] * (length - beats_out)
        self.random.shuffle(takes)
        self.random.shuffle(sends)
        choose = self.random.choice
        outputs = [Queue(self.depth(), choose([2, 2, 5]), choose([1, 2])) for _ in range(queues)]
        operations = Operations(np.array(takes), np.array(sends), first=self.random.randint(1, 2))
        if not plain and self.random.random() < 0.4:
            operations = self.counted(operations, several=len(inputs) == 1)
        self.nodes.append(Node(operations, self.random.randint(1, 9), outputs, inputs))
        return outputs

    def counted(self, operations: Operations, several: bool) -> Operations:
        """Return operations that take several parts, perhaps reserve several places, and let some beats show later."""
        takes, sends = (kind.astype(np.int64) for kind in (operations.takes, operations.sends))
        for kind in [takes, sends][: 1 + several]:
            for index in self.random.sample(range(len(kind)), len(kind) // 3):
                other = self.random.randrange(len(kind))
                if index != other and kind[index] + kind[other] <= 3:
                    kind[other] += kind[index]
                    kind[index] = 0
        shows = sends.copy()
        for index in range(len(shows) - 1):
            if self.random.random() < 0.3 and shows.sum() <= LATE_BEATS:
                shows[index + 1] += shows[index]
                shows[index] = 0
        return Operations(takes, sends, shows if self.random.random() < 0.7 else None, operations.first)

    def stage(self, source: Input, beats: int) -> tuple[Input, int]:
        split, out = self.split(source), self.random.randint(1, 8)
        return Input(self.add(beats * split, out, [Input(source.queue, split)])[0]), out

    def diamond(self, source: Input, beats: int) -> tuple[Input, int]:
        """Fork, run some branches, and add them up one after the other in what the main branch sends."""
        split = self.split(source)
        queues = self.add(beats * split, beats * split, [Input(source.queue, split)], self.random.choice([2, 2, 3]))
        main, count = Input(queues[0]), beats * split
        for queue in queues[1:]:
            other, residuals = Input(queue), beats * split
            for _ in range(self.random.choice([0, 0, 1, 2])):
                other, residuals = self.stage(other, residuals)
            for _ in range(self.random.choice([0, 1])):
                main, count = self.stage(main, count)
            parts, residual_parts = self.split(main), self.split(other)
            inputs = [Input(main.queue, parts), Input(other.queue, residual_parts)]
            main = Input(self.add(count * parts, residuals * residual_parts, inputs)[0])
            count = residuals * residual_parts
        return main, count


def graph_of(plan: NetworkPlan) -> list[Node]:
    """Return a network's stages as nodes, straight from its stages: splits from beats, not from lanes."""
    nodes: list[list[Node]] = []
    for stage, depths in zip(plan.stages, plan.depths, strict=True):
        reads = {TileIntegratorPlan: "writer_operations", WinogradPlan: "arrival_operations"}
        first = getattr(stage.plan, reads.get(type(stage.plan), "operations"))
        taken = [(stage.main, first.beats_in)]
        if stage.residual is not None:
            taken.append((stage.residual, stage.plan.operations.beats_out))
        inputs = []
        for source, beats in taken:
            before = None if source.stage == INPUT else nodes[source.stage][-1]
            held = plan.beats_in if before is None else before.operations.beats_out
            assert beats % held == 0
            inputs.append(Input(None if before is None else before.outputs[source.queue], beats // held))
        outputs = [Queue(depth, queue_cycles(depth)) for depth in depths]
        if isinstance(stage.plan, TileIntegratorPlan):
            nodes.append(tile_integrator_nodes(stage.plan, inputs, outputs))
        elif isinstance(stage.plan, WinogradPlan):
            nodes.append(winograd_nodes(stage.plan, inputs, outputs))
        else:
            nodes.append([Node(stage.plan.operations, stage.plan.pipeline_cycles, outputs, inputs)])
    return list(chain.from_iterable(nodes))
