"""The sequencer of the Winograd engine: one operation per cycle, in a fixed order."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .program import Program
from .winograd_plan import WinogradPlan


def step_layout(plan: WinogradPlan, axis: int) -> data.StructLayout:
    """Return what is stored of each tile along an axis.

    base     what its part adds to the weights' address
    switch   its field of the transforms' switch
    last     it is the axis' last tile
    """
    return data.StructLayout({
        "base": range(_reach(plan, axis) * (len(plan.programs[axis].split.parts) - 1) + 1),
        "switch": plan.numbers.activation_transform.switch_bits[axis], "last": 1,
    })


def _reach(plan: WinogradPlan, axis: int) -> int:
    """Return the addresses from one part along an axis to the next."""
    parts = len(plan.numbers.combinations)
    for program in plan.programs[: axis + 1]:
        parts //= len(program.split.parts)
    return parts * plan.pass_operations


class TileSteps(wiring.Component):
    """Presents the present tile along one axis; the next is fetched meanwhile.

    Members: `word`, see `step_layout`, in registers; `ready`, it is there; `advance`, the next from the next cycle on,
    after the last the first again.
    Timing: `ready` rises two cycles after reset; `advance` every second cycle at most.
    """

    ready: Signal
    advance: Signal

    def __init__(self, plan: WinogradPlan, axis: int):
        self.layout = step_layout(plan, axis)
        steps, reach = plan.programs[axis].steps, _reach(plan, axis)
        self.words = [
            {
                "base": step.part * reach, "last": step is steps[-1],
                "switch": plan.numbers.kernel[axis].index(step.size) if len(plan.numbers.kernel[axis]) > 1 else 0,
            }
            for step in steps
        ]
        super().__init__({"word": Out(self.layout), "ready": Out(1), "advance": In(1)})

    def elaborate(self, _platform: object) -> Module:
        """Return the stored steps and a register."""
        m = Module()
        m.submodules.program = program = Program(self.layout, self.words)
        step = program.ready & (self.advance | ~self.ready)
        fetch = Signal()  # a cycle late: whatever advances is late in its cycle, too
        m.d.comb += program.advance.eq(fetch)
        m.d.sync += fetch.eq(step)
        with m.If(step):
            m.d.sync += [self.word.as_value().eq(program.word.as_value()), self.ready.eq(1)]
        return m


class WinogradSequencer(wiring.Component):
    """Walks tiles, outermost axis first; of each all filters, and of each filter all channels.

    While a tile is multiplied the next one arrives: `WinogradPlan.operations` has every cycle.

    Members: `input_valid` and `take`, the handshake of the beats; `credit` and `reserve`, the places of the output
    queue; in the cycle of issue `issue`, `last` of a pass, `weight` and `word`, addresses; `base`, what the tile's part
    adds to the weights' address; `parity`, which of two tiles is multiplied; `switch`, its sizes; in the cycle of a
    beat `arrival_switch`, the sizes of the tile that arrives.
    Timing: an operation per cycle unless `take` waits for `input_valid` or `reserve` for `credit`.
    """

    input_valid: Signal
    take: Signal
    credit: Signal
    reserve: Signal
    issue: Signal
    last: Signal
    weight: Signal
    word: Signal
    base: Signal
    parity: Signal
    switch: Signal
    arrival_switch: Signal

    def __init__(self, plan: WinogradPlan):
        self.plan = plan
        switch_bits = sum(plan.numbers.activation_transform.switch_bits)
        super().__init__({
            "input_valid": In(1), "take": Out(1), "credit": In(1), "reserve": Out(1),
            "issue": Out(1), "last": Out(1), "weight": Out(range(plan.pass_operations)),
            "word": Out(range(plan.words)), "base": Out(range(len(plan.numbers.weight_words))), "parity": Out(1),
            "switch": Out(switch_bits), "arrival_switch": Out(switch_bits),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the counters: operations of a tile, and tiles along each axis."""
        m = Module()
        plan = self.plan
        cycle = Signal(range(plan.slot_cycles), init=plan.arrival)
        computes, frame_end, go = Signal(), Signal(), Signal()

        def due(name: str, first: int, count: int) -> Value:
            return self._due(m, name, cycle, range(first, first + count), go, frame_end)

        end = due("end", plan.slot_cycles - 1, 1)
        base, switch, ready, last_tile = self._steps(m, "tile", go & end & computes)
        arrives = due("arrives", plan.arrival, plan.beats_per_tile) & ~frame_end
        works = due("works", 0, plan.pass_operations) & computes
        word, pass_end = self._words(m, go & works)
        m.d.comb += [
            frame_end.eq(computes & last_tile),
            self.take.eq(arrives & ready & (~(works & pass_end) | self.credit)),
            go.eq(ready & (~arrives | self.input_valid) & (~(works & pass_end) | self.credit)),
            self.reserve.eq(go & works & pass_end),
            self.issue.eq(go & works),
            self.last.eq(pass_end),
            self.weight.eq(cycle),
            self.word.eq(word),
            self.base.eq(base),
            self.switch.eq(switch),
        ]
        with m.If(go):
            m.d.sync += cycle.eq(cycle + 1)
            with m.If(end):
                m.d.sync += [
                    cycle.eq(Mux(frame_end, plan.arrival, 0)),
                    computes.eq(~frame_end),
                    self.parity.eq(self.parity ^ ~frame_end),
                ]
        if len(self.arrival_switch):
            m.d.comb += self.arrival_switch.eq(self._steps(m, "arrival", go & end & ~frame_end)[1])
        return m

    def _due(self, m: Module, name: str, cycle: Value, when: range, go: Value, frame_end: Value) -> Value:
        """Return a register that is high in the operations `when` of a tile: nothing is compared in their cycle."""
        size, arrival = self.plan.slot_cycles, self.plan.arrival
        if len(when) == size:
            return Const(1, 1)
        flag = Signal(name=f"{name}_due", init=arrival in when)
        with m.If(go):
            with m.If(cycle == size - 1):
                m.d.sync += flag.eq(Mux(frame_end, arrival in when, 0 in when))
            with m.Elif(cycle == (when.start - 1) % size):
                m.d.sync += flag.eq(1)
            with m.Elif(cycle == when.stop - 1):
                m.d.sync += flag.eq(0)
        return flag

    def _steps(self, m: Module, name: str, advance: Value) -> tuple[Value, Value, Value, Value]:
        """Return of the present tile the weights' base, the switch, that it is there, and that it is the last."""
        steps = [TileSteps(self.plan, axis) for axis in range(len(self.plan.programs))]
        inner_last: Value = Const(1, 1)
        for axis in reversed(range(len(steps))):
            m.submodules[f"{name}_{axis}"] = steps[axis]
            m.d.comb += steps[axis].advance.eq(advance & inner_last)
            inner_last = inner_last & steps[axis].word.last
        bases = Signal(len(self.base), name=f"{name}_base")
        switch = Signal(len(self.switch), name=f"{name}_switch")
        m.d.comb += bases.eq(sum((step.word.base for step in steps), Const(0)))
        offset = 0
        for step in steps:
            m.d.comb += switch[offset : offset + len(step.word.switch)].eq(step.word.switch)
            offset += len(step.word.switch)
        return bases, switch, steps[0].ready, inner_last

    def _words(self, m: Module, step: Value) -> tuple[Value, Value]:
        """Return the tile store's word, and whether it ends a pass: channel groups, passes, then turns over groups."""
        plan = self.plan
        channel, pass_end = _counter(m, plan.channel_groups, step, "channel")
        if plan.group_turns == 1:
            return channel, pass_end
        _, passes_end = _counter(m, plan.filter_passes, step & pass_end, "pass")
        turn = Signal(range(plan.words), name="turn")
        with m.If(step & pass_end & passes_end):
            m.d.sync += turn.eq(Mux(turn == plan.words - plan.channel_groups, 0, turn + plan.channel_groups))
        return (turn + channel)[: len(self.word)], pass_end


def _counter(m: Module, size: int, step: Value, name: str) -> tuple[Value, Value]:
    """Return a counter 0..size−1 and whether it is at its end, in a register as well."""
    if size == 1:
        return Const(0, 1), Const(1, 1)
    counter, last = Signal(range(size), name=name), Signal(name=f"{name}_last")
    with m.If(step):
        m.d.sync += [counter.eq(Mux(last, 0, counter + 1)), last.eq(counter == size - 2)]
    return counter, last
