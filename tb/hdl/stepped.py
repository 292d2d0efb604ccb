"""A timing model of another kind than the design's: it steps every clock. And random graphs to hold both to."""

import random
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from crosstile.network_plan import NetworkPlan
from crosstile.stages import INPUT
from crosstile.timing import QUEUE_CYCLES, Input, Node, Operations, Queue, Timing

START_CYCLES = 1  # from reset to the first operation that needs no beat


class StoppedError(Exception):
    """Nothing moves in this cycle, and nothing ever will."""


@dataclass
class Places:
    """A queue as its free places and the cycles in which its beats show; what is freed is free a cycle later."""

    free: int
    beats: deque[int] = field(default_factory=deque)
    freed: int = 0
    held: int = 0
    most: int = 0

    def shows(self, cycle: int) -> bool:
        return bool(self.beats) and self.beats[0] <= cycle

    def reserve(self, due: int) -> None:
        self.free, self.held = self.free - 1, self.held + 1
        self.most = max(self.most, self.held)
        self.beats.append(due)

    def take(self) -> None:
        self.beats.popleft()
        self.freed += 1

    def tick(self) -> None:
        self.free, self.held, self.freed = self.free + self.freed, self.held - self.freed, 0


class Machine:
    """A graph of nodes, stepped: in each cycle every node issues its next operation, unless it must wait."""

    def __init__(self, nodes: list[Node], frames: int):
        self.nodes, self.frames, self.cycle = nodes, frames, START_CYCLES
        self.queues = {id(queue): Places(queue.depth) for node in nodes for queue in node.outputs}
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
            sink.take()
            moved = True
        later = any(places.beats and places.beats[0] > self.cycle for places in self.queues.values())
        if not moved and not later and self.cycle > QUEUE_CYCLES:
            raise StoppedError
        for places in self.queues.values():
            places.tick()
        self.cycle += 1

    def _issue(self, index: int) -> bool:
        """Issue a node's next operation if it need not wait; tell whether it did."""
        node, number = self.nodes[index], self.issued[index]
        if number == self.frames * node.operations.cycles:
            return False
        takes = bool(node.operations.takes[number % node.operations.cycles])
        sends = bool(node.operations.sends[number % node.operations.cycles])
        reads = [entry for entry in range(len(node.inputs)) if (takes if entry == 0 else sends)]
        outputs = [self.queues[id(queue)] for queue in node.outputs] if sends else []
        if not all(self._shows(node.inputs[entry]) for entry in reads) or not all(queue.free for queue in outputs):
            return False
        for entry in reads:
            self._take(index, entry)
        for queue in outputs:
            queue.reserve(self.cycle + node.pipeline_cycles + QUEUE_CYCLES)
        if takes or sends:
            self.events[index].append(self.cycle)
        self.issued[index] += 1
        return True

    def _shows(self, entry: Input) -> bool:
        if entry.queue is None:
            return self.cycle >= entry.start + QUEUE_CYCLES
        return self.queues[id(entry.queue)].shows(self.cycle)

    def _take(self, index: int, entry: int) -> None:
        source = self.nodes[index].inputs[entry]
        self.parts[index][entry] = (self.parts[index][entry] + 1) % source.split
        if self.parts[index][entry] == 0 and source.queue is not None:
            self.queues[id(source.queue)].take()


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
        if len(self.nodes[-1].outputs) > 1:
            self.stage(source, beats)

    def depth(self) -> int:
        return self.random.randint(30, 60) if self.deep else self.random.randint(1, 6)

    def split(self, source: Input) -> int:
        return self.random.choice([1, 1, 2, 3]) if source.queue is not None else 1

    def add(self, beats_in: int, beats_out: int, inputs: list[Input], queues: int = 1) -> list[Queue]:
        """Add a node with that many beats in, out, and idle operations, in any order; return its queues."""
        length = max(beats_in, beats_out) + self.random.randint(0, 8)
        takes = [True] * beats_in + [False] * (length - beats_in)
        sends = [True] * beats_out + [False] * (length - beats_out)
        self.random.shuffle(takes)
        self.random.shuffle(sends)
        outputs = [Queue(self.depth()) for _ in range(queues)]
        operations = Operations(np.array(takes), np.array(sends))
        self.nodes.append(Node(operations, self.random.randint(1, 9), outputs, inputs))
        return outputs

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
    nodes: list[Node] = []
    for stage, depths in zip(plan.stages, plan.depths, strict=True):
        taken = [(stage.main, stage.plan.operations.beats_in)]
        if stage.residual is not None:
            taken.append((stage.residual, stage.plan.operations.beats_out))
        inputs = []
        for source, beats in taken:
            held = plan.beats_in if source.stage == INPUT else nodes[source.stage].operations.beats_out
            queue = None if source.stage == INPUT else nodes[source.stage].outputs[source.queue]
            assert beats % held == 0
            inputs.append(Input(queue, beats // held))
        outputs = [Queue(depth) for depth in depths]
        nodes.append(Node(stage.plan.operations, stage.plan.pipeline_cycles, outputs, inputs))
    return nodes
