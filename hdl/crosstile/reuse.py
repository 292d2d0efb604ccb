"""The reuse-grouped engine: a convolution that reads every activation from memory once."""

from math import prod

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from crosstile_golden.geometry import Axes

from .cyclic_chain import CyclicChain
from .requantise import Requantise
from .reuse_array import WEIGHT_CYCLES, ReuseArray, accumulated
from .reuse_gather import Gather
from .reuse_plan import ADDRESS_CYCLES, ReusePlan
from .reuse_sequencer import ReuseSequencer
from .step_delay import StepDelay
from .storage import LongDelay
from .streams import CreditQueue, beat_layout, delay


class ReuseEngine(wiring.Component):
    """Convolves, requantises and activates a feature map that lies in a memory (US 2023/0162007 [0033]-[0072]).

        sequencer ─ address ─▶ memory ─ word ─▶ gather (depth, row, column) ─▶ taps ─▶ array
            │                                       ▲ halo stores                       │ sums
            └ operation ────────────────────────────┴───────────▶ chains (column, row, depth) ─▶ requantise ─▶ queue

    Macro window by macro window, each class of inputs is read, handed to every tap that needs it, and each tap's
    sum goes to output (a − j) mod q. Outputs leave in the order row, column, filter group.

    Parameters: `plan`; `depth`, places of the output queue, 1 or more.
    Members: `read` and `address`, a word is wanted; `word`, `ReusePlan.latency` cycles later, no later and no sooner.
    `frame_ready`, the feature map is in memory, until `frame_done` is high for a cycle: with its last address; in
    the cycle after that `frame_ready` must tell of the next one. `reads`, the words read of the present frame, and of
    the last one until another starts. `output`, a stream of beats; `residual`, where the layer has one, another.
    Timing: see `ReusePlan.operations`; a result enters the queue `ReusePlan.pipeline_cycles` after its operation.
    """

    output: stream.Interface
    residual: stream.Interface
    frame_ready: Signal
    frame_done: Signal
    read: Signal
    address: Signal
    word: data.View
    reads: Signal

    def __init__(self, plan: ReusePlan, depth: int):
        self.plan, self.depth = plan, depth
        self.output_layout = beat_layout(plan.output_format, plan.lanes_out)
        residual = plan.layer.residual
        ports = {} if residual is None else {
            "residual": In(stream.Signature(beat_layout(residual.number_format, plan.lanes_out)))
        }  # fmt: skip
        super().__init__({
            "frame_ready": In(1), "frame_done": Out(1),
            "read": Out(1), "address": Out(range(max(plan.frame_words, 2))),
            "word": In(beat_layout(plan.input_format, plan.lanes_in)),
            "reads": Out(range(plan.activation_reads + 1)),
            "output": Out(stream.Signature(self.output_layout)), **ports,
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the blocks, joined by delays that match their pipelines."""
        m = Module()
        plan = self.plan
        m.submodules.sequencer = sequencer = ReuseSequencer(plan)
        m.submodules.requantise = requantise = Requantise(plan)
        m.submodules.queue = queue = CreditQueue(self.output_layout, self.depth)
        wiring.connect(m, queue.output, wiring.flipped(self.output))
        operation = sequencer.operation
        totals = self._totals(m, operation, self._sums(m, operation, self._vectors(m, operation)))
        credit: Value = queue.credit
        if plan.layer.residual is not None:
            credit = credit & self.residual.valid
            wait = LongDelay(len(self.residual.p.as_value()), plan.total_cycles)
            m.submodules.residual_delay = wait
            m.d.comb += [
                self.residual.ready.eq(sequencer.reserve),
                wait.value.eq(self.residual.p), requantise.residual.eq(wait.late),
            ]
        m.d.comb += [
            sequencer.frame_ready.eq(self.frame_ready), self.frame_done.eq(sequencer.frame_done),
            self.read.eq(operation.read), self.address.eq(operation.address),
            sequencer.credit.eq(credit), queue.reserve.eq(sequencer.reserve),
            requantise.filter.eq(delay(m, operation.filter, plan.total_cycles - 1, "filter")),
            requantise.totals.eq(totals),
            queue.beat.eq(requantise.beat),
            queue.push.eq(delay(m, sequencer.reserve, plan.pipeline_cycles, "push", resets=True)),
        ]
        self._count(m, delay(m, sequencer.start, ADDRESS_CYCLES, "start", resets=True))
        return m

    def _count(self, m: Module, start: Value) -> None:
        """Count the words that are read of a frame."""
        counted = Signal.like(self.reads)
        with m.If(start):
            m.d.sync += counted.eq(self.read)
        with m.Elif(self.read):
            m.d.sync += counted.eq(counted + 1)
        m.d.comb += self.reads.eq(counted)

    def _vectors(self, m: Module, operation: data.View) -> Value:
        """Return every slot of the class: words gathered along each axis, kept for the filter groups that follow."""
        plan = self.plan
        vector: Value = self.word.as_value()
        lead = ADDRESS_CYCLES + plan.latency
        for index in plan.gathers:
            m.submodules[f"gather_{index}"] = gather = Gather(plan, index, len(vector))
            m.d.comb += [
                gather.operation.eq(delay(m, operation[f"gather_{index}"], lead, f"gather_{index}", resets=True)),
                gather.vector.eq(vector),
            ]
            vector, lead = gather.vectors, lead + 1
        if plan.filter_groups == 1:
            return vector
        m.submodules.replay = replay = StepDelay(len(vector), plan.channel_groups)
        replays = delay(m, operation.replay, lead, "replay")
        operands = Signal(len(vector))
        m.d.comb += [
            operands.eq(Mux(replays, replay.late, vector)),
            replay.step.eq(delay(m, operation.multiply, lead, "multiply", resets=True)),
            replay.value.eq(operands),
        ]
        return operands

    def _sums(self, m: Module, operation: data.View, vectors: Value) -> Value:
        """Return the sums of every column, all channels added up."""
        plan = self.plan
        m.submodules.array = array = ReuseArray(plan)
        lead = plan.operand_cycles
        further, live = (
            [delay(m, operation[f"{what}_{n}"], lead, f"{what}_{n}") for n in range(len(plan.axes))]
            for what in ("further", "live")
        )
        found: dict[Axes, Value] = {(): vectors}
        for number, tap in enumerate(plan.taps):
            m.d.comb += getattr(array, f"operand_{number}").eq(self._operand(m, tap, found, further, live))
        m.d.comb += array.address.eq(delay(m, operation.weight, lead - WEIGHT_CYCLES, "weight"))
        if plan.channel_groups == 1:
            return array.sums.as_value()
        first = delay(m, operation.first, plan.sum_cycles - 1, "first")
        add = delay(m, operation.multiply, plan.sum_cycles - 1, "add", resets=True)
        return accumulated(m, array.sums, first, add)

    def _operand(
        self, m: Module, tap: Axes, found: dict[Axes, Value], further: list[Value], live: list[Value]
    ) -> Value:
        """Return the input of a tap: the nearer or the further one of its phase along each axis, or zero.

        `found` holds, for the column, then the row and column, of taps before, what they have chosen.
        """
        plan = self.plan
        alive = []
        for index in reversed(range(len(plan.axes))):
            axis, i = plan.axes[index], tap[index]
            near, far = axis.slot_of(i, False), axis.slot_of(i, True)
            if tap[index:] not in found:
                vectors = found[tap[index + 1 :]]
                size = len(vectors) // len(axis.slots)
                chosen = Signal(size, name="_".join(["chosen", *map(str, tap[index:])]))
                nearer, further_one = vectors.word_select(near, size), vectors.word_select(far, size)
                m.d.comb += chosen.eq(nearer if near == far else Mux(further[index][i], further_one, nearer))
                found[tap[index:]] = chosen
            if not all(step.live[i] for step in axis.steps):
                alive.append(live[index][i])
        value = found[tap]
        return value & Cat(alive).all().replicate(len(value)) if alive else value

    def _totals(self, m: Module, operation: data.View, sums: Value) -> Value:
        """Return the whole sums: those of the columns, added up along one axis after the other."""
        plan = self.plan
        step = delay(m, operation.step, plan.sum_cycles, "step", resets=True)
        last = delay(m, operation.last, plan.sum_cycles, "last", resets=True)
        for index in plan.chains:
            lanes = prod(len(axis.reaches) for axis in plan.axes[:index]) * plan.fold.filters
            m.submodules[f"chain_{index}"] = chain = CyclicChain(plan, index, lanes)
            size = len(chain.sums.as_value()) // (lanes * len(chain.axis.reaches))
            rearranged = self._by_reach(sums, size, len(chain.axis.reaches))
            m.d.comb += [chain.step.eq(step), chain.last.eq(last), chain.sums.as_value().eq(rearranged)]
            sums, step, last = chain.totals.as_value(), chain.total_step, chain.total_last
        return sums

    def _by_reach(self, sums: Value, size: int, reaches: int) -> Value:
        """Return sums, of `size` bits each, with the reach that varied fastest but for the filters slowest."""
        filters = self.plan.fold.filters
        outer = len(sums) // (size * reaches * filters)
        places = ((o * reaches + j) * filters for j in range(reaches) for o in range(outer))
        return Cat(sums[place * size : (place + filters) * size] for place in places)
