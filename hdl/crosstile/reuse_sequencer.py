"""The sequencer of the reuse-grouped engine: reads, products and sums, one operation per cycle, in a fixed order."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .counters import counter
from .program import Program
from .reuse_axis import AxisStep
from .reuse_layout import AXES
from .reuse_operation import operation_layout
from .reuse_plan import ReusePlan


class ReuseSequencer(wiring.Component):
    """Walks depth, row and column classes, filter groups, channel groups and a class's reads, innermost last.

    Each axis has a program with a word per class: so padding, strides and macro windows cost no arithmetic.

    Members: `frame_ready`, a feature map is in memory and stays; `frame_done`, high with the last address that is
    read of it; `credit` and `reserve`, the places of the output queue; `operation`, see `operation_layout`, of
    which `read` and `address` come a cycle later than the rest.
    Timing: an operation per cycle unless a frame's first waits for `frame_ready` or `reserve` for `credit`.
    """

    frame_ready: Signal
    frame_done: Signal
    credit: Signal
    reserve: Signal

    def __init__(self, plan: ReusePlan):
        self.plan = plan
        super().__init__({
            "frame_ready": In(1), "frame_done": Out(1), "credit": In(1), "reserve": Out(1),
            "start": Out(1), "operation": Out(operation_layout(plan)),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the nested counters, from the innermost out."""
        m = Module()
        plan, operation = self.plan, self.operation
        draining, go, advance = Signal(), Signal(), [Signal(name=f"advance_{n}") for n in range(AXES)]
        words = self._programs(m, advance)
        lasts = [word.last for word in words]
        ready = Signal()
        replay = Signal()
        single = replay | draining
        turns, fetched = self._turns(m, words, go, single)
        channel, channel_last = counter(m, plan.channel_groups, go & fetched, "channel", draining)
        pass_end = Signal()
        m.d.comb += pass_end.eq(fetched & channel_last)
        filters, filter_last = counter(m, plan.filter_groups, go & pass_end, "filter", draining)
        pixel_end = go & pass_end & filter_last & ~draining
        frame_computed = pixel_end & lasts[0] & lasts[1] & lasts[2]
        start = Signal(init=1)
        step, stepping = Signal(), Signal()
        frame_end = self._drain(m, go, draining, frame_computed)
        emit = self._emit(m, step, frame_end)
        m.d.comb += [
            *(line.eq(pixel_end & within) for line, within in zip(advance, _within(lasts), strict=True)),
            replay.eq(filters != 0),
            stepping.eq(pass_end & (Const(1) if plan.drain_steps else ~draining)),
            go.eq(ready & (~start | self.frame_ready) & (~(emit & stepping) | self.credit)),
            step.eq(go & stepping),
            self.reserve.eq(step & emit),
            self.start.eq(start & go),
            operation.multiply.eq(go & fetched & ~draining),
            operation.replay.eq(replay),
            operation.weight.eq(self._weight(m, go & fetched & ~draining, pixel_end)),
            operation.first.eq(channel == 0),
            operation.step.eq(step),
            operation.last.eq(frame_end),
        ]
        m.d.sync += [
            ready.eq(1),  # and the programs show their first words
            start.eq(Mux(go, frame_end, start)),
            self.frame_done.eq(go & ~single & pass_end & lasts[0] & lasts[1] & lasts[2]),
        ]
        fetch = Signal()
        m.d.comb += fetch.eq(go & ~single)
        self._gather(m, words, turns, fetch)
        self._address(m, words, turns, channel, fetch)
        return m

    def _programs(self, m: Module, advance: list[Signal]) -> list[data.View]:
        """Return each axis' word."""
        words: list[data.View] = []
        for n, axis in enumerate(self.plan.axes):
            layout, steps = self._layout(n), [self._word(n, step) for step in axis.steps]
            for step, word in zip(axis.steps, steps, strict=True):
                word["last"] = int(step is axis.steps[-1])
            if len(steps) == 1:
                words.append(data.View(layout, layout.const(steps[0]).as_value()))
                continue
            m.submodules[f"axis_{n}"] = program = Program(layout, steps)
            m.d.comb += program.advance.eq(advance[n])
            words.append(program.word)
        return words

    def _layout(self, n: int) -> data.StructLayout:
        axis = self.plan.axes[n]
        slots, reads = len(axis.slots), axis.most_reads
        return data.StructLayout({
            "bases": data.ArrayLayout(range(max(self.plan.frame_words, 2)), reads),
            "slots": data.ArrayLayout(range(max(slots, 2)), reads), "last_read": range(reads), "reads": 1,
            "halos": slots, "zeros": slots, "visit": 1, "further": axis.kernel, "live": axis.kernel, "last": 1,
        })

    def _word(self, n: int, step: AxisStep) -> dict[str, Any]:
        plan, axis = self.plan, self.plan.axes[n]
        pitch = plan.channel_groups
        for within in plan.axes[n + 1 :]:
            pitch *= within.size
        reads = [*step.reads, *[(0, 0)] * (axis.most_reads - len(step.reads))]
        return {
            "bases": [coordinate * pitch for _, coordinate in reads], "slots": [slot for slot, _ in reads],
            "last_read": max(len(step.reads) - 1, 0), "reads": int(bool(step.reads)), "visit": int(step.visit),
            **{name: bits(getattr(step, name)) for name in ("halos", "zeros", "further", "live")},
        }

    def _turns(
        self, m: Module, words: list[data.View], go: Signal, single: Value
    ) -> tuple[list[tuple[Value, Value]], Value]:
        """Return per axis the read in turn and whether it is the class's last, depth innermost; and the last of all."""
        turns, fetched = [], Const(1)
        for n, axis in enumerate(self.plan.axes):
            turn, last = Signal(range(axis.most_reads), name=f"turn_{n}"), Signal(name=f"turn_{n}_last")
            m.d.comb += last.eq((turn == words[n].last_read) | single)
            with m.If(go & fetched):
                m.d.sync += turn.eq(Mux(last, 0, turn + 1))
            turns.append((turn, last))
            fetched = fetched & last
        return turns, fetched

    def _gather(self, m: Module, words: list[data.View], turns: list[tuple[Value, Value]], fetch: Signal) -> None:
        """Drive what the slots are told, and the taps' choice among them."""
        arrive: Value = fetch
        for n, word in enumerate(words):
            gather = self.operation[f"gather_{n}"]
            turn, last = turns[n]
            final = arrive & last
            visit = final & word.visit
            for outer in words[n + 1 :]:
                visit = visit & outer.reads
            m.d.comb += [
                gather.arrive.eq(arrive & word.reads), gather.slot.eq(word.slots[turn]), gather.final.eq(final),
                gather.visit.eq(visit), gather.halos.eq(word.halos), gather.zeros.eq(word.zeros),
                self.operation[f"further_{n}"].eq(word.further), self.operation[f"live_{n}"].eq(word.live),
            ]
            arrive = final

    def _address(
        self, m: Module, words: list[data.View], turns: list[tuple[Value, Value]], channel: Value, fetch: Signal
    ) -> None:
        """Drive the address: the sum of each axis' share, registered."""
        shares = [word.bases[turn] for word, (turn, _) in zip(words, turns, strict=True)]
        read = Signal()
        address = Signal(self.operation.address.shape(), reset_less=True)
        m.d.sync += [
            address.eq(shares[0] + shares[1] + shares[2] + channel),
            read.eq(fetch & words[0].reads & words[1].reads & words[2].reads),
        ]
        m.d.comb += [self.operation.address.eq(address), self.operation.read.eq(read)]

    def _weight(self, m: Module, step: Value, pixel_end: Value) -> Value:
        """Return the weights' address: it counts through a pixel's operations."""
        address = Signal(range(len(self.plan.weight_words)), name="weight")
        with m.If(step):
            m.d.sync += address.eq(Mux(pixel_end, 0, address + 1))
        return address

    def _drain(self, m: Module, go: Signal, draining: Signal, frame_computed: Value) -> Value:
        """Count the cycles after a frame's last class; return the flag of the frame's last operation."""
        cycles = self.plan.drain_cycles
        if not cycles:
            return frame_computed
        _, last = counter(m, cycles, go & draining, "drain")
        with m.If(frame_computed):
            m.d.sync += draining.eq(1)
        with m.Elif(go & last):
            m.d.sync += draining.eq(0)
        return go & draining & last

    def _emit(self, m: Module, step: Signal, frame_end: Value) -> Value:
        """Return whether a step sends an output of the layer: the outputs follow the classes by `drain_steps`."""
        plan = self.plan
        emitting = Signal(init=int(not plan.drain_steps))
        if plan.drain_steps:
            _, lag_last = counter(m, plan.drain_steps, step & ~emitting, "lag")
            with m.If(frame_end):
                m.d.sync += emitting.eq(0)
            with m.Elif(step & lag_last):
                m.d.sync += emitting.eq(1)
        filters, onward = counter(m, plan.filter_groups, step & emitting, "sent_filter")
        m.d.comb += self.operation.filter.eq(filters)
        valid: Value = emitting
        for axis in reversed(plan.axes):
            position, last = counter(m, axis.positions, step & emitting & onward, "sent")
            onward = onward & last
            if axis.positions > axis.outputs:
                valid = valid & (position < axis.outputs)
        return valid


def bits(flags: tuple[bool, ...]) -> int:
    """Return flags as a word, the first in the least significant bit."""
    return sum(flag << n for n, flag in enumerate(flags))


def _within(lasts: list[Value]) -> list[Value]:
    """Return per axis whether all axes within are at their last."""
    return [lasts[1] & lasts[2], lasts[2], Const(1, 1)]
