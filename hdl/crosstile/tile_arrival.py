"""Tiles as they arrive: a place for each before its first beat, and word of it when it can be multiplied."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .counters import tally
from .streams import delay
from .timing import FREE_CYCLES
from .winograd_plan import WinogradPlan
from .winograd_sequencer import tile_steps


class TileArrival(wiring.Component):
    """Promises the line buffer a place for each tile, and tells when the tile is there.

    The tile store is so the queue between both: beats need none, and no path leads through one.

    Members: `credit`, there is a place, and `reserve`, it is taken, with a tile's first beat; `emits`, a beat comes,
    and `ends`, the tile's last; as it comes `take`, and `last` of its tile; `switch`, its sizes, a cycle before;
    `complete`, a tile is there that was not `taken` yet.
    Timing: a beat per cycle, see `WinogradPlan.arrival_operations`; a tile is complete
    `WinogradPlan.arrival_pipeline_cycles` + 1 after `ends`; a place is free `timing.FREE_CYCLES` after `taken`.
    `credit` heeds `reserve` in time for the next tile's first beat.
    """

    credit: Signal
    reserve: Signal
    emits: Signal
    ends: Signal
    take: Signal
    last: Signal
    switch: Signal
    complete: Signal
    taken: Signal

    def __init__(self, plan: WinogradPlan):
        self.plan = plan
        super().__init__({
            "credit": Out(1, init=1), "reserve": In(1), "emits": In(1), "ends": In(1), "take": Out(1), "last": Out(1),
            "switch": Out(sum(plan.numbers.activation_transform.switch_bits)), "complete": Out(1), "taken": In(1),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the counts of free places and of complete tiles."""
        m = Module()
        plan = self.plan
        cycles, places = plan.buffers[-1].pipeline_cycles, plan.store_tiles - 1
        free, held = Signal(range(places + 1), init=places, name="free"), Signal(range(places + 1), name="held")
        ends = delay(m, self.ends, cycles - 1, "ends", resets=True)
        settled = delay(m, ends, 1 + plan.settle_cycles, "settled", resets=True)
        freed = delay(m, self.taken, FREE_CYCLES - 1, "freed", resets=True)
        # Where the next tile begins a cycle later at the soonest, `credit` need not wait for what it decides.
        begins = delay(m, self.reserve, int(plan.beats_per_tile > 1), "begins", resets=True)
        m.d.comb += [
            self.take.eq(delay(m, self.emits, cycles, "take", resets=True)),
            self.switch.eq(tile_steps(m, plan, "arrival", ends, early=True)[1]),
        ]
        m.d.sync += self.last.eq(ends)
        tally(m, free, self.credit, freed, begins)
        tally(m, held, self.complete, settled, self.taken)
        return m
