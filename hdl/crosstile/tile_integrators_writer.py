"""The writer's sequencer: where the next tile's results go."""

from math import prod

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .counters import count_up
from .tile_integrators_plan import TileIntegratorPlan
from .tile_integrators_steps import StoredSteps, spare_bits, step_layout, step_words


class TileWriter(wiring.Component):
    """The writer's sequencer: an operation per beat, in the order of the tiles, gaps between them where needed.

    Members: `input_valid` and `take`, the handshake of the beats; `issue`, an operation; `shows`, rows that it
    completes; `freed`, the reader frees a row, and `freed_last`, it is a frame's last; in the operation's cycle
    `group`, the filter group, and `steps`, `step_layout` of each axis, where `sent` is the place itself: frames lie one
    behind the other in the row store.
    Timing: an operation per cycle unless it waits for its beat, for places, or in a gap.
    """

    input_valid: Signal
    take: Signal
    issue: Signal
    freed: Signal
    freed_last: Signal
    shows: Signal
    group: Signal

    def __init__(self, plan: TileIntegratorPlan):
        self.plan = plan
        self.layouts = [step_layout(plan, axis) for axis in range(len(plan.axes))]
        super().__init__({
            "input_valid": In(1), "take": Out(1), "issue": Out(1), "shows": Out(range(plan.ring + 1)),
            "freed": In(1), "freed_last": In(1), "group": Out(range(plan.filter_groups)),
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
        room = self._room(m, go & begin)
        m.d.comb += [
            self.take.eq(ready & ~self._gap(m, go & group_end) & (~begin | room)),
            go.eq(self.take & self.input_valid),
            row_end.eq(go & end),
            self.shows.eq(Mux(row_end, self.steps[0].shows, 0)),
        ]
        with m.If(row_end):
            m.d.sync += begin.eq(1)
        return m

    def _room(self, m: Module, begins: Value) -> Value:
        """Return that as many places are free as the next step to begin reserves.

        Only the difference is kept, and its sign tells: a step that begins spends what the step after it reserves.
        Both sequencers decide late in the cycle; what comes of it is worked out for all that they may do.
        """
        rows, step, bits = self.plan.rows, self.steps[0], spare_bits(self.plan)
        spare = Signal(bits, init=rows.depth - rows.reserves[0], name="spare_rows")
        beyond = self.freed_last if rows.beyond else Const(0, 1)
        m.d.sync += spare.eq(Mux(
            begins,
            Mux(self.freed, spare + Mux(beyond, step.spends_last, step.spends_freed), spare + step.spends),
            Mux(self.freed, spare + Mux(beyond, 1 + rows.beyond, 1), spare),
        ))
        return ~spare[-1]

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
