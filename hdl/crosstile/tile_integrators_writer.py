"""The writer's sequencer: where the next tile's results go."""

from math import prod

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .tile_integrators_plan import TileIntegratorPlan
from .tile_integrators_reader import count_up
from .tile_integrators_steps import StoredSteps, step_layout, step_words


class TileWriter(wiring.Component):
    """The writer's sequencer: an operation per beat, in the order of the tiles, gaps between them where needed.

    Members: `input_valid` and `take`, the handshake of the beats; `issue`, an operation; `shows`, rows that it
    completes; `freed`, `frees` places of the queue of rows are free again; in the operation's cycle `group`, the filter
    group, and `steps`, `step_layout` of each axis, where `sent` is the place itself: frames lie one behind the other in
    the row store.
    Timing: an operation per cycle unless it waits for its beat, for places, or in a gap.
    """

    input_valid: Signal
    take: Signal
    issue: Signal
    freed: Signal
    frees: Signal
    shows: Signal
    group: Signal

    def __init__(self, plan: TileIntegratorPlan):
        self.plan = plan
        self.layouts = [step_layout(plan, axis) for axis in range(len(plan.axes))]
        super().__init__({
            "input_valid": In(1), "take": Out(1), "issue": Out(1), "shows": Out(range(plan.ring + 1)),
            "freed": In(1), "frees": In(range(plan.rows.beyond + 2)), "group": Out(range(plan.filter_groups)),
            **{f"step_{axis}": Out(layout) for axis, layout in enumerate(self.layouts)},
        })

    @property
    def steps(self) -> list[data.View]:
        """The present step of each axis."""
        return [getattr(self, f"step_{axis}") for axis in range(len(self.layouts))]

    def elaborate(self, _platform: object) -> Module:
        """Return the filter group's counter and each axis' steps."""
        m = Module()
        plan, go, begin = self.plan, self.issue, Signal(init=1)
        group_end = count_up(m, self.group, plan.filter_groups, go)
        with m.If(go):
            m.d.sync += begin.eq(0)
        ready, end = self._axes(m, go, group_end)
        row_end = Signal()
        room = self._room(m, ready, begin, go & begin)
        m.d.comb += [
            self.take.eq(ready & ~self._gap(m, go & group_end) & (~begin | room)),
            go.eq(self.take & self.input_valid),
            row_end.eq(go & end),
            self.shows.eq(Mux(row_end, self.steps[0].shows, 0)),
        ]
        with m.If(row_end):
            m.d.sync += begin.eq(1)
        return m

    def _room(self, m: Module, ready: Value, begin: Value, begins: Value) -> Value:
        """Return a register: as many places are free as the next step to begin reserves.

        What will be free, and whether that is enough, is worked out for all that may happen: what both sequencers do
        is known late in the cycle.
        """
        step, ring = self.steps[0], self.plan.ring
        free = Signal(range(ring + 1), init=ring, name="free_rows")
        room = Signal(init=1)
        more, wanted = free + self.frees, Mux(begin, step.reserves, step.then)
        with m.If(ready):
            m.d.sync += [
                free.eq(Mux(
                    begins, Mux(self.freed, more - step.reserves, free - step.reserves), Mux(self.freed, more, free)
                )),
                room.eq(Mux(
                    begins, Mux(self.freed, more >= step.both, free >= step.both),
                    Mux(self.freed, more >= wanted, free >= wanted),
                )),
            ]
        return room

    def _axes(self, m: Module, go: Value, group_end: Value) -> tuple[Value, Value]:
        """Step the axes, innermost first; return that all are there, and that the outermost's step ends."""
        ready: Value = Const(1, 1)
        end = group_end
        for axis in reversed(range(len(self.layouts))):
            cycles = prod(len(program.steps) for program in self.plan.programs[axis + 1 :]) * self.plan.filter_groups
            stored = StoredSteps(self.layouts[axis], step_words(self.plan, axis), cycles)
            m.submodules[f"axis_{axis}"] = stored
            m.d.comb += [stored.advance.eq(go & end), self.steps[axis].eq(stored.word)]
            if axis == 0:
                self._frames_follow(m, stored.word.sent, go & end & stored.word.last)
            ready = ready & stored.ready
            end = end & stored.word.last if axis else end
        return ready, end

    def _frames_follow(self, m: Module, sent: data.View, frame_end: Value) -> None:
        """Begin each frame in the row store where the one before it ended."""
        rows = self.plan.rows
        if rows.rounds % rows.store_rounds == 0:
            return
        first = Signal(range(rows.store_rounds), name="first_round")
        with m.If(frame_end):
            m.d.sync += first.eq(_modulo(first + rows.rounds % rows.store_rounds, rows.store_rounds))
        for bank in range(self.plan.axes[0].banks):
            m.d.comb += self.steps[0].sent[bank].eq(_modulo(sent[bank] + first, rows.store_rounds))

    def _gap(self, m: Module, step: Value) -> Value:
        """Return a flag that holds operations back after a tile whose sums the next ones read."""
        gaps = self.plan.gaps
        if not max(gaps):
            return Const(0, 1)
        layout = data.StructLayout({"gap": range(max(gaps) + 1)})
        words = [{"gap": [gap]} for gap in gaps]
        m.submodules.gaps = stored = StoredSteps(layout, words, self.plan.filter_groups)
        remaining = Signal(range(max(gaps) + 1), name="remaining")
        m.d.comb += stored.advance.eq(step)
        with m.If(step):
            m.d.sync += remaining.eq(stored.word.gap)
        with m.Elif(remaining != 0):
            m.d.sync += remaining.eq(remaining - 1)
        return remaining != 0


def _modulo(value: Value, size: int) -> Value:
    """Return a value below 2·size modulo size."""
    return Mux(value >= size, value - size, value)[: (size - 1).bit_length()]
