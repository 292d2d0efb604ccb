"""Tiles as they arrive: a place for each before its first beat, and word of it when it can be multiplied."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .streams import delay
from .winograd_plan import WinogradPlan
from .winograd_sequencer import tile_steps


class TileArrival(wiring.Component):
    """Takes the beats of a tile while the tile store has a place for it, and tells when the tile is there.

    Members: `valid` and `ready`, the handshake of the beats, of which `ready` is a register: so no path leads from the
    engine through the queue before it; `last`, with a tile's last beat; `switch`, the sizes of the tile that arrives;
    `complete`, a tile is there that was not `taken` yet.
    Timing: a beat per cycle, a tile of a single beat every second; see `WinogradPlan.arrival_operations`. A tile is
    complete `WinogradPlan.settle_cycles` + 1 after its last beat; a place is free a cycle after `taken`.
    """

    valid: Signal
    ready: Signal
    last: Signal
    switch: Signal
    complete: Signal
    taken: Signal

    def __init__(self, plan: WinogradPlan):
        self.plan = plan
        super().__init__({
            "valid": In(1), "ready": Out(1), "last": Out(1),
            "switch": Out(sum(plan.numbers.activation_transform.switch_bits)), "complete": Out(1), "taken": In(1),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the counts of free places and of complete tiles."""
        m = Module()
        plan = self.plan
        take = self.valid & self.ready
        first, last, first_next = self._beats(m, take)
        places = plan.store_tiles - 1
        free, free_next = (Signal(range(places + 1), init=places, name=f"free{end}") for end in ("", "_next"))
        held, held_next = (Signal(range(places + 1), name=f"complete_count{end}") for end in ("", "_next"))
        settled = delay(m, take & last, plan.settle_cycles, "settled", resets=True)
        pauses = take if plan.beats_per_tile == 1 else Const(0)
        m.d.comb += [
            self.last.eq(last),
            free_next.eq(free + self.taken - (take & first)),
            held_next.eq(held + settled - self.taken),
            self.switch.eq(tile_steps(m, plan, "arrival", take & last)[1]),
        ]
        m.d.sync += [
            free.eq(free_next),
            held.eq(held_next),
            self.ready.eq(~pauses & (~first_next | (free_next != 0))),
            self.complete.eq(held_next != 0),
        ]
        return m

    def _beats(self, m: Module, take: Value) -> tuple[Value, Value, Value]:
        """Return whether the beat is a tile's first, its last, and whether the next cycle's is a first."""
        count = self.plan.beats_per_tile
        if count == 1:
            return Const(1, 1), Const(1, 1), Const(1, 1)
        beat, first, last = Signal(range(count)), Signal(init=1), Signal()
        first_next = Mux(take, last, first)
        with m.If(take):
            m.d.sync += [beat.eq(Mux(last, 0, beat + 1)), last.eq(beat == count - 2)]
        m.d.sync += first.eq(first_next)
        return first, last, first_next
