"""The sequencer of the Winograd engine: one operation per cycle, in a fixed order."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .counters import counter
from .program import Program
from .streams import delay
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

    Parameters: `early`: `advance` is a register, or nearly, and fetches in its own cycle.
    Members: `word`, see `step_layout`, in registers; `advance`, the next from the next cycle on, after the last the
    first again.
    Timing: `advance` in any cycle but the first after reset if `early`, else every second cycle at most.
    """

    advance: Signal

    def __init__(self, plan: WinogradPlan, axis: int, early: bool = False):
        self.early = early
        self.layout = step_layout(plan, axis)
        steps, reach = plan.programs[axis].steps, _reach(plan, axis)
        self.words = [
            {
                "base": step.part * reach, "last": int(step is steps[-1]),
                "switch": plan.numbers.kernel[axis].index(step.size) if len(plan.numbers.kernel[axis]) > 1 else 0,
            }
            for step in steps
        ]
        super().__init__({"word": Out(self.layout, init=self.words[0]), "advance": In(1)})

    def elaborate(self, _platform: object) -> Module:
        """Return the stored steps, from the second on, and a register that begins with the first."""
        m = Module()
        m.submodules.program = program = Program(self.layout, [*self.words[1:], self.words[0]])
        m.d.comb += program.advance.eq(self.advance if self.early else delay(m, self.advance, 1, "fetch", resets=True))
        with m.If(self.advance):
            m.d.sync += self.word.as_value().eq(program.word.as_value())
        return m


class WinogradSequencer(wiring.Component):
    """Walks tiles, outermost axis first; of each all filters, and of each filter all channels.

    Members: `complete`, the next tile is there, and `taken`, with its first operation; `credit` and `reserve`, the
    places of the output queue; in the cycle of issue `issue`, `last` of a pass, `weight`, `word` and `tile`, addresses;
    `base`, what the tile's part adds to the weights' address; `switch`, its sizes.
    Timing: an operation per cycle unless a tile's first waits for `complete` or `reserve` for `credit`; see
    `WinogradPlan.operations`.
    """

    complete: Signal
    taken: Signal
    credit: Signal
    reserve: Signal
    issue: Signal
    last: Signal
    weight: Signal
    word: Signal
    tile: Signal
    base: Signal
    switch: Signal

    def __init__(self, plan: WinogradPlan):
        self.plan = plan
        super().__init__({
            "complete": In(1), "taken": Out(1), "credit": In(1), "reserve": Out(1),
            "issue": Out(1), "last": Out(1), "weight": Out(range(plan.pass_operations)),
            "word": Out(range(plan.words)), "tile": Out(range(plan.store_tiles)),
            "base": Out(range(len(plan.numbers.weight_words))),
            "switch": Out(sum(plan.numbers.activation_transform.switch_bits)),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the counters: operations of a tile, and tiles along each axis."""
        m = Module()
        plan = self.plan
        go, first = Signal(), Signal(init=1)
        cycle, end = counter(m, plan.slot_cycles, go, "cycle")
        works = self._works(m, cycle, end, go)
        base, switch = tile_steps(m, plan, "tile", go & end)
        word, pass_end = self._words(m, go & works)
        m.d.comb += [
            go.eq((~first | self.complete) & (~(works & pass_end) | self.credit)),
            self.taken.eq(go & first),
            self.reserve.eq(go & works & pass_end),
            self.issue.eq(go & works),
            self.last.eq(pass_end),
            self.weight.eq(cycle),
            self.word.eq(word),
            self.base.eq(base),
            self.switch.eq(switch),
        ]
        with m.If(go):
            m.d.sync += [first.eq(end), self.tile.eq(self.tile + end)]
        return m

    def _works(self, m: Module, cycle: Value, end: Value, go: Value) -> Value:
        """Return a register that is high in a tile's operations, and not while only the next one arrives."""
        plan = self.plan
        if plan.slot_cycles == plan.pass_operations:
            return Const(1, 1)
        works = Signal(init=1)
        with m.If(go):
            m.d.sync += works.eq(end | (works & (cycle != plan.pass_operations - 1)))
        return works

    def _words(self, m: Module, step: Value) -> tuple[Value, Value]:
        """Return the tile store's word, and whether it ends a pass: channel groups, passes, then turns over groups."""
        plan = self.plan
        channel, pass_end = counter(m, plan.channel_groups, step, "channel")
        if plan.group_turns == 1:
            return channel, pass_end
        _, passes_end = counter(m, plan.filter_passes, step & pass_end, "pass")
        turn = Signal(range(plan.words), name="turn")
        with m.If(step & pass_end & passes_end):
            m.d.sync += turn.eq(Mux(turn == plan.words - plan.channel_groups, 0, turn + plan.channel_groups))
        return (turn + channel)[: len(self.word)], pass_end


def tile_steps(
    m: Module, plan: WinogradPlan, name: str, advance: Value, early: bool = False
) -> tuple[Value, Value]:
    """Return of the present tile the weights' base and the switch; `advance` goes to the next, innermost axis first."""
    steps = [TileSteps(plan, axis, early) for axis in range(len(plan.programs))]
    for axis in reversed(range(len(steps))):
        m.submodules[f"{name}_{axis}"] = steps[axis]
        m.d.comb += steps[axis].advance.eq(advance)
        advance = advance & steps[axis].word.last
    base = Signal(range(len(plan.numbers.weight_words)), name=f"{name}_base")
    m.d.comb += base.eq(sum((step.word.base for step in steps), Const(0)))
    return base, Cat(step.word.switch for step in steps)
