"""The sequencer of the Winograd engine: one operation per cycle, in a fixed order."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .counters import counter
from .operation_register import OperationRegister
from .program import PrefetchedProgram
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


def _steps(plan: WinogradPlan, axis: int, early: bool) -> PrefetchedProgram:
    """Return the tiles along one axis: after the last the first again."""
    steps, reach, sizes = plan.programs[axis].steps, _reach(plan, axis), plan.numbers.kernel[axis]
    words = [
        {
            "base": step.part * reach, "last": int(step is steps[-1]),
            "switch": sizes.index(step.size) if len(sizes) > 1 else 0,
        }
        for step in steps
    ]
    return PrefetchedProgram(step_layout(plan, axis), words, early)


def operation_layout(plan: WinogradPlan) -> data.StructLayout:
    """Return what an operation tells the datapath in the cycle it is issued.

    arrive      the operation is a tile's first: it is taken from the tile store
    issue       an operation is issued
    last        last of a pass
    weight      address of the weights
    word, tile  address in the tile store
    switch      sizes of the tile's part
    """
    return data.StructLayout({
        "arrive": 1, "issue": 1, "last": 1, "weight": range(len(plan.numbers.weight_words)),
        "word": range(plan.words), "tile": range(plan.store_tiles),
        "switch": sum(plan.numbers.activation_transform.switch_bits),
    })


class WinogradSequencer(wiring.Component):
    """Walks tiles, outermost axis first; of each all filters, and of each filter all channels.

    Members: `complete`, the next tile is there; `credit` and `reserve`, the places of the output queue; `operation`,
    see `operation_layout`.
    Timing: an operation per cycle unless a tile's first waits for `complete` or `reserve` for `credit`, each decided a
    cycle before; see `WinogradPlan.operations`.
    """

    complete: Signal
    credit: Signal
    reserve: Signal
    operation: data.View

    def __init__(self, plan: WinogradPlan):
        self.plan = plan
        super().__init__({
            "complete": In(1), "credit": In(1), "reserve": Out(1), "operation": Out(operation_layout(plan)),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the counters: operations of a tile, and tiles along each axis."""
        m = Module()
        plan = self.plan
        m.submodules.register = register = OperationRegister(self.operation.shape(), ("issue",))
        go, following = ~register.held, register.following
        cycle, end = counter(m, plan.slot_cycles, go, "cycle")
        works = self._works(m, cycle, end, go)
        base, switch = tile_steps(m, plan, "tile", go & end)
        word, pass_end = self._words(m, go & works)
        first, tile = Signal(init=1), Signal(range(plan.store_tiles))
        with m.If(go):
            m.d.sync += [first.eq(end), tile.eq(tile + end)]
        m.d.comb += [
            register.sends.eq(works & pass_end),
            following.arrive.eq(first),
            following.issue.eq(works),
            following.last.eq(pass_end),
            following.weight.eq(base + cycle),
            following.word.eq(word),
            following.tile.eq(tile),
            following.switch.eq(switch),
            register.input_valid.eq(self.complete),
            register.credit.eq(self.credit), self.reserve.eq(register.reserve),
            self.operation.eq(register.operation),
        ]
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
        return (turn + channel)[: len(turn)], pass_end


def tile_steps(
    m: Module, plan: WinogradPlan, name: str, advance: Value, early: bool = False
) -> tuple[Value, Value]:
    """Return of the present tile the weights' base and the switch; `advance` goes to the next, innermost axis first."""
    steps = [_steps(plan, axis, early) for axis in range(len(plan.programs))]
    for axis in reversed(range(len(steps))):
        m.submodules[f"{name}_{axis}"] = steps[axis]
        m.d.comb += steps[axis].advance.eq(advance)
        advance = advance & steps[axis].word.last
    base = Signal(range(len(plan.numbers.weight_words)), name=f"{name}_base")
    m.d.comb += base.eq(sum((step.word.base for step in steps), Const(0)))
    return base, Cat(step.word.switch for step in steps)
