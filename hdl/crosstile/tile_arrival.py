"""Tiles as they arrive: a place for each before its first beat, and word of it when it can be multiplied."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .counters import counter, several, tally
from .streams import delay
from .timing import FREE_CYCLES
from .winograd_plan import WinogradPlan
from .winograd_sequencer import tile_steps


class TileArrival(wiring.Component):
    """Promises the line buffer a place for each tile, and tells when the tile is there.

    The tile store is so the queue between both: beats need none, and no path leads through one.

    Members: `credit`, there is room for a beat, and `reserve`, it will come; as it comes `take`, and `last` of its
    tile; `switch`, its sizes, a cycle before; `complete`, a tile is there that was not `taken` yet.
    Timing: a beat per cycle, see `WinogradPlan.arrival_operations`; a tile is complete
    `WinogradPlan.arrival_pipeline_cycles` + 1 after its last `reserve`; a place is free
    `timing.FREE_CYCLES` after `taken`.
    """

    credit: Signal
    reserve: Signal
    take: Signal
    last: Signal
    switch: Signal
    complete: Signal
    taken: Signal

    def __init__(self, plan: WinogradPlan):
        self.plan = plan
        super().__init__({
            "credit": Out(1, init=1), "reserve": In(1), "take": Out(1), "last": Out(1),
            "switch": Out(sum(plan.numbers.activation_transform.switch_bits)), "complete": Out(1), "taken": In(1),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the counts of free places and of complete tiles."""
        m = Module()
        plan = self.plan
        cycles, places = plan.buffers[-1].pipeline_cycles, plan.store_tiles - 1
        first, last = self._beats(m)
        free, held = Signal(range(places + 1), init=places, name="free"), Signal(range(places + 1), name="held")
        ends = delay(m, self.reserve & last, cycles - 1, "ends", resets=True)
        settled = delay(m, ends, 1 + plan.settle_cycles, "settled", resets=True)
        begins, freed = self.reserve & first, delay(m, self.taken, FREE_CYCLES - 1, "freed", resets=True)
        left = several(free) if plan.beats_per_tile == 1 else free.any()  # behind a tile's last beat
        m.d.comb += [
            self.take.eq(delay(m, self.reserve, cycles, "take", resets=True)),
            self.switch.eq(tile_steps(m, plan, "arrival", ends, early=True)[1]),
        ]
        # `reserve` and `taken` come late in their cycle, so what follows from either is worked out beside them.
        m.d.sync += [
            self.last.eq(ends),
            free.eq(free + freed - begins),
            self.credit.eq(freed | Mux(self.reserve, ~last | left, self.credit)),
        ]
        tally(m, held, self.complete, settled, self.taken)
        return m

    def _beats(self, m: Module) -> tuple[Value, Value]:
        """Return whether the beat is a tile's first, and whether it is its last."""
        if self.plan.beats_per_tile == 1:
            return Const(1, 1), Const(1, 1)
        _, last = counter(m, self.plan.beats_per_tile, self.reserve, "beat")
        first = Signal(init=1)
        with m.If(self.reserve):
            m.d.sync += first.eq(last)
        return first, last
