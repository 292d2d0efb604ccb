"""Pooling on a stream: maximum, average or sum, kept up as activations pass."""

from collections.abc import Callable, Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .pool_axis import PoolAxis
from .pool_plan import PoolPlan
from .program import Program
from .storage import Storage
from .streams import CreditQueue, beat_layout, delay, shape_of


class OpenWindows(wiring.Component):
    """Folds values into the windows open along one axis, and gives the value of the one that ends.

    A memory of `depth` words holds the `slots` open windows of each of `depth` interleaved sequences. In the
    cycle after `address` the value comes with `opens` (per slot: start anew) and `slot` (the one to give).

    Parameters: `shape` of a window's value, `kept_shape` of what is kept of it, which is never all of it.
    Members: `address` one cycle before `value` and `valid`; `result` in the same cycle as `value`.
    Timing: combinational from `value` to `result`; a word may be addressed again two steps later (one where
    depth is 1).
    """

    def __init__(
        self, shape: Shape, kept_shape: Shape, lanes: int, slots: int, depth: int,
        combine: Callable[[Value, Value], Value],
    ):  # fmt: skip
        self.layout, self.kept_layout = data.ArrayLayout(shape, lanes), data.ArrayLayout(kept_shape, lanes)
        self.slots, self.depth, self.combine = slots, depth, combine
        super().__init__({
            "address": In(range(depth)), "valid": In(1), "value": In(self.layout),
            "opens": In(slots), "slot": In(range(slots)), "result": Out(self.layout),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the words, and one combiner per slot and lane."""
        m = Module()
        kept = data.ArrayLayout(self.kept_layout, self.slots)
        before, keep, after = Signal(kept), Signal(kept), Signal(data.ArrayLayout(self.layout, self.slots))
        self._words(m, before.as_value(), keep.as_value())
        for slot in range(self.slots):
            for lane in range(self.layout.length):
                value = self.value[lane]
                combined = self.combine(before[slot][lane], value)
                m.d.comb += [
                    after[slot][lane].eq(Mux(self.opens[slot], value, combined)),
                    keep[slot][lane].eq(after[slot][lane]),  # cut off only where the window is over
                ]
        m.d.comb += self.result.eq(after[self.slot])
        return m

    def _words(self, m: Module, before: Value, keep: Value) -> None:
        if self.depth == 1:
            kept = Signal.like(before, name="kept", reset_less=True)
            m.d.comb += before.eq(kept)
            with m.If(self.valid):
                m.d.sync += kept.eq(keep)
            return
        m.submodules.storage = storage = Storage(len(before), self.depth)
        m.d.comb += [
            storage.read_address.eq(self.address),
            before.eq(storage.read_data),
            storage.write_address.eq(delay(m, self.address, 1, "address")),
            storage.write_data.eq(keep),
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

        input ─▶ rows of a beat ─▶ along the row ─▶ from row to row ─▶ shift ─▶ queue ─▶ output

    Only open windows are kept, and what has nothing to pool is left out: a window one column wide needs no step
    along the row; one row high, or all of whose rows come in each beat ([0073]), none from row to row. An average
    is the sum, shifted right by the layer's `shift`, halves up; the scale carries what is missing to the true
    mean. Nothing saturates: what a shift leaves always fits the format sent.

    Parameters: `plan`; `depth`, places of the output queue.
    Timing: one beat per cycle; positions in the padding take a cycle each; `PoolPlan.pipeline_cycles` from a
    window's last beat to its result entering the queue.
    """

    input: stream.Interface
    output: stream.Interface

    def __init__(self, plan: PoolPlan, depth: int):
        self.plan = plan
        self.depth = depth
        self.output_layout = beat_layout(plan.output_format, plan.lanes_out)
        super().__init__({
            "input": In(stream.Signature(beat_layout(plan.input_format, plan.lanes_in))),
            "output": Out(stream.Signature(self.output_layout)),
        })

    def _combine(self, a: Value, b: Value) -> Value:
        return Mux(a > b, a, b) if self.plan.kind == "max" else a + b

    def elaborate(self, _platform: object) -> Module:
        """Return the sequencer, the axes and the final shift."""
        m = Module()
        plan = self.plan
        m.submodules.queue = queue = CreditQueue(self.output_layout, self.depth)
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
        values, age = self._beat(m, take), plan.beat_cycles
        if plan.columns.folds:
            values, age = self._across(m, column, group, go, values, age), age + 1
        if plan.rows.folds:
            values, age = self._down(m, row, column, go, values, age), age + 1
        m.d.comb += [
            queue.beat.as_value().eq(self._finish(m, values)),
            queue.push.eq(delay(m, queue.reserve, plan.pipeline_cycles, "push", resets=True)),
        ]
        return m

    def _beat(self, m: Module, take: Value) -> list[Value]:
        """Return each lane's value of the beat, its rows combined, `beat_cycles` after `go`; empty in the padding."""
        plan = self.plan
        terms: list[list[Value]] = [
            [self.input.p[row * plan.lanes + lane] for row in range(plan.rows_per_beat)] for lane in range(plan.lanes)
        ]
        empty = Const(plan.input_format.minimum if plan.kind == "max" else 0, shape_of(plan.input_format))
        for level in range(plan.beat_cycles):
            for lane, values in enumerate(terms):
                pairs = self._pairs(values)
                if level == 0 and plan.padded:
                    pairs = [Mux(take, value, empty) for value in pairs]
                registers = [
                    Signal(value.shape(), name=f"beat_{level}_{lane}_{index}", reset_less=True)
                    for index, value in enumerate(pairs)
                ]
                m.d.sync += [register.eq(value) for register, value in zip(registers, pairs, strict=True)]
                terms[lane] = list(registers)
        return [value for (value,) in terms]

    def _pairs(self, values: Sequence[Value]) -> list[Value]:
        """Return neighbours combined, two by two: one level of a balanced tree."""
        return [
            self._combine(*values[index : index + 2]) if index + 1 < len(values) else values[index]
            for index in range(0, len(values), 2)
        ]

    def _across(
        self, m: Module, column: data.View, group: Value, go: Value, values: list[Value], age: int
    ) -> list[Value]:
        """Fold values that come `age` cycles after `go` along the row; return the ending window's a cycle later."""
        plan = self.plan
        m.submodules.across = windows = OpenWindows(
            shape_of(plan.row_format), shape_of(plan.kept_row_format), plan.lanes, plan.columns.slots, plan.groups,
            self._combine,
        )
        m.d.comb += [
            windows.address.eq(delay(m, group, age - 1, "across_address")),
            windows.valid.eq(delay(m, go, age, "across_valid", resets=True)),
            windows.opens.eq(delay(m, column.opens, age, "across_opens")),
            windows.slot.eq(delay(m, column.slot, age, "across_slot")),
        ]
        return _through(m, windows, values, "across_result")

    def _down(
        self, m: Module, row: data.View, column: data.View, go: Value, values: list[Value], age: int
    ) -> list[Value]:
        """Fold values that come `age` cycles after `go` from row to row; return the ending window's a cycle later."""
        plan = self.plan
        depth = plan.columns.outputs * plan.groups
        m.submodules.down = windows = OpenWindows(
            shape_of(plan.sum_format), shape_of(plan.kept_sum_format), plan.lanes, plan.rows.slots, depth,
            self._combine,
        )
        step = Signal(name="down_step")
        m.d.comb += step.eq(delay(m, go & column.closes, age - 1, "down_step", resets=True))
        address = Signal(range(depth), name="down_address")
        with m.If(step):
            m.d.sync += address.eq(Mux(address == depth - 1, 0, address + 1))
        m.d.comb += [
            windows.address.eq(address),
            windows.valid.eq(delay(m, step, 1, "down_valid", resets=True)),
            windows.opens.eq(delay(m, row.opens, age, "down_opens")),
            windows.slot.eq(delay(m, row.slot, age, "down_slot")),
        ]
        return _through(m, windows, values, "down_result")

    def _finish(self, m: Module, values: list[Value]) -> Value:
        """Return the beat: the windows' values, and where they are shifted, one cycle later."""
        bits, shift = self.plan.output_format.bits, self.plan.shift
        if not shift:
            return Cat(value[:bits] for value in values)
        lanes = []
        for lane, value in enumerate(values):
            finished = Signal(bits, name=f"finished_{lane}", reset_less=True)
            m.d.sync += finished.eq(((value >> (shift - 1)) + 1) >> 1)  # the bits below the half never matter
            lanes.append(finished)
        return Cat(*lanes)


def _through(m: Module, windows: OpenWindows, values: list[Value], name: str) -> list[Value]:
    """Give the lanes' values to the windows; return what these give, registered."""
    result = Signal(windows.layout, name=name, reset_less=True)
    m.d.comb += [windows.value[lane].eq(value) for lane, value in enumerate(values)]
    m.d.sync += result.eq(windows.result)
    return [Value.cast(result[lane]) for lane in range(len(values))]
