"""Pooling on a stream: maximum or average, kept up as activations pass."""

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .pool_plan import PoolAxis, PoolPlan
from .program import Program
from .requantise import clamp
from .storage import Storage
from .streams import CreditQueue, beat_layout, delay, shape_of


class OpenWindows(wiring.Component):
    """Folds values into the windows open along one axis, and gives the value of the one that ends.

    A memory of `depth` words holds the `slots` open windows of each of `depth` interleaved sequences. In the
    cycle after `address` the value comes with `opens` (per slot: start anew) and `slot` (the one to give).

    Members: `address` and `step` one cycle before `value`; `result` in the same cycle as `value`.
    Timing: combinational from `value` to `result`; a word may be addressed again two steps later (one where
    depth is 1).
    """

    def __init__(self, shape: object, lanes: int, slots: int, depth: int, combine: Callable[[Value, Value], Value]):
        self.layout = data.ArrayLayout(shape, lanes)
        self.slots, self.depth, self.combine = slots, depth, combine
        super().__init__({
            "address": In(range(depth)), "valid": In(1), "value": In(self.layout),
            "opens": In(slots), "slot": In(range(slots)), "result": Out(self.layout),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the words, and one combiner per slot and lane."""
        m = Module()
        word = data.ArrayLayout(self.layout, self.slots)
        before, after = Signal(word), Signal(word)
        self._words(m, before.as_value(), after.as_value())
        for slot in range(self.slots):
            for lane in range(self.layout.length):
                value = self.value[lane]
                combined = self.combine(before[slot][lane], value)
                m.d.comb += after[slot][lane].eq(Mux(self.opens[slot], value, combined))
        m.d.comb += self.result.eq(after[self.slot])
        return m

    def _words(self, m: Module, before: Value, after: Value) -> None:
        if self.depth == 1:
            kept = Signal.like(before, name="kept", reset_less=True)
            m.d.comb += before.eq(kept)
            with m.If(self.valid):
                m.d.sync += kept.eq(after)
            return
        m.submodules.storage = storage = Storage(len(before), self.depth)
        m.d.comb += [
            storage.read_address.eq(self.address),
            before.eq(storage.read_data),
            storage.write_address.eq(delay(m, self.address, 1, "address")),
            storage.write_data.eq(after),
            storage.write.eq(self.valid),
        ]


def axis_program(axis: PoolAxis) -> Program:
    """Return the program of one axis: a word per position."""
    layout = data.StructLayout({
        "real": 1, "opens": axis.slots, "closes": 1, "slot": range(axis.slots), "last": 1,
    })
    words = []
    for position in range(axis.positions):
        slot = axis.closes(position)
        words.append({
            "real": position < axis.size,
            "opens": sum(opens << n for n, opens in enumerate(axis.opens(position))),
            "closes": slot is not None, "slot": slot or 0, "last": position == axis.positions - 1,
        })
    return Program(layout, words)


class Pool(wiring.Component):
    """Pools a stream of rows as they pass (US 2020/0117986 [0065], [0072]).

    Values meet first along the row, then from row to row; only open windows are kept. An average is the sum,
    shifted right by the layer's `shift`, halves up; the scale carries what is missing to the true mean.

    Parameters: `plan`; `depth`, places of the output queue.
    Timing: one beat per cycle; positions in the padding take a cycle each; `PoolPlan.pipeline_cycles` from a
    window's last beat to its result entering the queue.
    """

    input: stream.Interface
    output: stream.Interface

    def __init__(self, plan: PoolPlan, depth: int):
        self.plan = plan
        self.depth = depth
        self.layout = beat_layout(plan.layer.number_format, plan.lanes)
        super().__init__({"input": In(stream.Signature(self.layout)), "output": Out(stream.Signature(self.layout))})

    def _combine(self, a: Value, b: Value) -> Value:
        return Mux(a > b, a, b) if self.plan.layer.geometry.kind == "max" else a + b

    def elaborate(self, _platform: object) -> Module:
        """Return the sequencer, the two axes and the final shift."""
        m = Module()
        plan = self.plan
        m.submodules.queue = queue = CreditQueue(self.layout, self.depth)
        wiring.connect(m, queue.output, wiring.flipped(self.output))
        m.submodules.rows = rows = axis_program(plan.rows)
        m.submodules.columns = columns = axis_program(plan.columns)
        row, column = rows.word, columns.word
        group = Signal(range(plan.groups), name="group")
        group_last = group == plan.groups - 1
        go, take = Signal(), Signal()
        sends = row.closes & column.closes
        free = rows.ready & (~sends | queue.credit)
        m.d.comb += [
            take.eq(row.real & column.real),
            self.input.ready.eq(take & free),
            go.eq(free & (~take | self.input.valid)),
            queue.reserve.eq(go & sends),
            columns.advance.eq(go & group_last),
            rows.advance.eq(go & group_last & column.last),
        ]
        with m.If(go):
            m.d.sync += group.eq(Mux(group_last, 0, group + 1))
        across = self._across(m, column, group, go, take)
        down = self._down(m, row, column, go, across)
        m.d.comb += [
            queue.beat.eq(self._finish(m, down)),
            queue.push.eq(delay(m, queue.reserve, plan.pipeline_cycles, "push", resets=True)),
        ]
        return m

    def _across(self, m: Module, column: data.View, group: Value, go: Value, take: Value) -> data.View:
        """Fold along the row; return the ending window's value two cycles after `go`."""
        plan = self.plan
        shape = shape_of(plan.row_format)
        lowest = plan.layer.number_format.minimum if plan.layer.geometry.kind == "max" else 0
        m.submodules.across = windows = OpenWindows(
            shape, plan.lanes, plan.columns.slots, plan.groups, self._combine
        )
        value = Signal(self.layout, reset_less=True)
        for lane in range(plan.lanes):
            empty = Const(lowest, shape_of(plan.layer.number_format))
            m.d.sync += value[lane].eq(Mux(take, self.input.p[lane], empty))
            m.d.comb += windows.value[lane].eq(value[lane])
        m.d.comb += [
            windows.address.eq(group),
            windows.valid.eq(delay(m, go, 1, "across_valid", resets=True)),
            windows.opens.eq(delay(m, column.opens, 1, "across_opens")),
            windows.slot.eq(delay(m, column.slot, 1, "across_slot")),
        ]
        result = Signal(windows.layout, name="across_result", reset_less=True)
        m.d.sync += result.eq(windows.result)
        return result

    def _down(self, m: Module, row: data.View, column: data.View, go: Value, across: data.View) -> data.View:
        """Fold from row to row; return the ending window's value three cycles after `go`."""
        plan = self.plan
        m.submodules.down = windows = OpenWindows(
            shape_of(plan.sum_format), plan.lanes, plan.rows.slots, plan.columns.outputs * plan.groups, self._combine
        )
        step = Signal()
        m.d.comb += step.eq(delay(m, go & column.closes, 1, "down_step", resets=True))
        depth = plan.columns.outputs * plan.groups
        address = Signal(range(depth), name="down_address")
        with m.If(step):
            m.d.sync += address.eq(Mux(address == depth - 1, 0, address + 1))
        for lane in range(plan.lanes):
            m.d.comb += windows.value[lane].eq(across[lane])
        m.d.comb += [
            windows.address.eq(address),
            windows.valid.eq(delay(m, step, 1, "down_valid", resets=True)),
            windows.opens.eq(delay(m, row.opens, 2, "down_opens")),
            windows.slot.eq(delay(m, row.slot, 2, "down_slot")),
        ]
        result = Signal(windows.layout, name="down_result", reset_less=True)
        m.d.sync += result.eq(windows.result)
        return result

    def _finish(self, m: Module, down: data.View) -> Value:
        """Return the beat: the window's value, shifted and clamped, one cycle later."""
        plan = self.plan
        number_format, shift = plan.layer.number_format, plan.layer.shift
        half = (1 << shift) >> 1
        lanes = []
        for lane in range(plan.lanes):
            rounded = Value.cast(down[lane] + half) >> shift if shift else Value.cast(down[lane])
            signed_value = Cat(rounded, rounded[-1] if number_format.signed else Const(0, 1)).as_signed()
            finished = Signal(number_format.bits, name=f"finished_{lane}", reset_less=True)
            m.d.sync += finished.eq(clamp(signed_value, number_format, relu=False))
            lanes.append(finished)
        return Cat(*lanes)

