"""The stored steps of tiles along one axis, and the writer that walks them."""

from collections.abc import Sequence
from math import prod

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .streams import delay
from .tile_integrators_plan import TileIntegratorPlan
from .tile_integrators_reader import count_up

FETCH_CYCLES = 3  # of a step: pointer -> memory -> its register

Field = tuple[str, int]
"""A field's name, and the bank it is for."""


def step_layout(plan: TileIntegratorPlan, axis: int) -> data.StructLayout:
    """Return what is stored of each step along an axis; of the lists an entry per bank.

    last       it is the axis' last step
    choices    which of the links that the bank hears it takes; `valid`: it takes one
    fresh      its output starts from zero
    run        index of the outputs' run; `rounds`: round of its output
    And of the outermost axis:
    open, sent   round in the integrators, and in the row store, frames beginning at 0; `ends`: it goes to the row store
    reserves, shows   rows, see `RowQueue`
    """
    banks = plan.axes[axis]

    def each(values: int) -> data.ArrayLayout:
        return data.ArrayLayout(Shape.cast(range(values)), banks.banks)

    fields = {
        "last": 1, "choices": each(max(map(len, banks.heard))), "valid": each(2), "fresh": each(2),
        "run": range(banks.interleaved), "rounds": each(banks.rounds),
    }
    if axis == 0:
        fields |= {
            "open": each(plan.rows.open_rounds), "sent": each(plan.rows.store_rounds), "ends": each(2),
            "reserves": range(plan.ring + 1), "shows": range(plan.ring + 1),
        }
    return data.StructLayout(fields)


def step_words(plan: TileIntegratorPlan, axis: int) -> list[dict[str, list[int]]]:
    """Return the fields of `step_layout`, step by step."""
    banks, rows, words = plan.axes[axis], plan.rows, []
    for index, step in enumerate(banks.program.steps):
        rounds = banks.taken_rounds(step)
        word = {
            "last": [int(index == len(banks.program.steps) - 1)], "choices": banks.choices(step),
            "valid": banks.valid(step), "fresh": banks.fresh(step), "run": [step.outputs[0] % banks.interleaved],
            "rounds": rounds,
        }
        if axis == 0:
            word |= {
                "open": [turn % rows.open_rounds for turn in rounds],
                "sent": [turn % rows.store_rounds for turn in rounds], "ends": rows.ends(index),
                "reserves": [rows.reserves[index]], "shows": [rows.shows[index]],
            }
        words.append(word)
    return words


class StoredSteps(wiring.Component):
    """Presents the present step of one axis in registers, while the next is fetched.

    What is the same in all steps is a constant, and what is the same as another field is stored once. A large memory
    is a block RAM: late in its cycle, and far from all that decides on the next step. Where steps last long enough, its
    address and its word are registers that nothing holds back.

    Parameters: `layout`; `words`, its fields step by step; `cycles`, of the shortest step.
    Members: `word`, of `layout`; `ready`, it is there; `advance`, the next from the next cycle on, after the last the
    first again.
    Timing: `ready` rises `READY_CYCLES` after reset.
    """

    READY_CYCLES = 3

    ready: Signal
    advance: Signal

    def __init__(self, layout: data.StructLayout, words: Sequence[dict[str, list[int]]], cycles: int):
        self.columns: dict[Field, tuple[int, ...]] = {
            (name, index): tuple(word[name][index] for word in words)
            for name, values in words[0].items() for index in range(len(values))
        }
        self.cycles = cycles
        super().__init__({"word": Out(layout), "ready": Out(1), "advance": In(1)})

    def elaborate(self, _platform: object) -> Module:
        """Return the memory of the steps, and the present one in registers."""
        m = Module()
        different = list(dict.fromkeys(column for column in self.columns.values() if len(set(column)) > 1))
        registers = {
            column: Signal(max(column).bit_length(), name=f"field_{index}", reset_less=True)
            for index, column in enumerate(different)
        }
        for (name, index), column in self.columns.items():
            several = isinstance(self.word.shape().members[name], data.ArrayLayout)
            field = self.word[name][index] if several else self.word[name]
            m.d.comb += field.eq(registers.get(column, column[0]))
        fetched, filling = Signal(), Signal()
        m.d.sync += [fetched.eq(1), filling.eq(fetched), self.ready.eq(filling)]
        if different:
            step = self.advance | (filling & ~self.ready)
            following = self._following(m, different, step, fetched)
            with m.If(step):
                m.d.sync += Cat(*registers.values()).eq(following)
        return m

    def _following(self, m: Module, columns: list[tuple[int, ...]], step: Value, fetched: Value) -> Value:
        """Return the step after the present one."""
        widths = [max(column).bit_length() for column in columns]
        starts = [sum(widths[:index]) for index in range(len(widths))]
        words = [
            sum(value << start for value, start in zip(values, starts, strict=True))
            for values in zip(*columns, strict=True)
        ]
        m.submodules.memory = memory = Memory(shape=sum(widths), depth=len(words), init=words)
        read = memory.read_port(domain="sync")
        pointer = Signal(range(len(words)))
        short = self.cycles < FETCH_CYCLES
        step = step | ~fetched if short else step
        with m.If(step):
            m.d.sync += pointer.eq(Mux(pointer == len(words) - 1, 0, pointer + 1))
        m.d.comb += [read.addr.eq(pointer), read.en.eq(step if short else 1)]
        return read.data if short else delay(m, read.data, 1, "following")


class TileWriter(wiring.Component):
    """The writer's sequencer: an operation per beat, in the order of the tiles, gaps between them where needed.

    Members: `input_valid` and `take`, the handshake of the beats; `free`, places of the queue of rows; `issue`, an
    operation; `begins`, it reserves `reserves` of them, and `shows`, those that it completes; in its cycle `group`, the
    filter group, and `steps`, `step_layout` of each axis, where `sent` is the place itself: frames lie one behind the
    other in the row store; `frame_end`, it is the frame's last.
    Timing: an operation per cycle unless it waits for its beat, for places, or in a gap.
    """

    input_valid: Signal
    take: Signal
    issue: Signal
    free: Signal
    begins: Signal
    reserves: Signal
    shows: Signal
    group: Signal
    frame_end: Signal

    def __init__(self, plan: TileIntegratorPlan):
        self.plan = plan
        self.layouts = [step_layout(plan, axis) for axis in range(len(plan.axes))]
        rows = range(plan.ring + 1)
        super().__init__({
            "input_valid": In(1), "take": Out(1), "issue": Out(1), "free": In(rows),
            "begins": Out(1), "reserves": Out(rows), "shows": Out(rows), "frame_end": Out(1),
            "group": Out(range(plan.filter_groups)),
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
        outer = self.steps[0]
        row_end = Signal()
        m.d.comb += [
            self.take.eq(ready & ~self._gap(m, go & group_end) & (~begin | (self.free >= outer.reserves))),
            go.eq(self.take & self.input_valid),
            row_end.eq(go & end),
            self.begins.eq(go & begin),
            self.reserves.eq(outer.reserves),
            self.shows.eq(Mux(row_end, outer.shows, 0)),
            self.frame_end.eq(row_end & outer.last),
        ]
        with m.If(row_end):
            m.d.sync += begin.eq(1)
        return m

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
                self._frames_follow(m, stored.word.sent)
            ready = ready & stored.ready
            end = end & stored.word.last if axis else end
        return ready, end

    def _frames_follow(self, m: Module, sent: data.View) -> None:
        """Begin each frame in the row store where the one before it ended."""
        rows = self.plan.rows
        if rows.rounds % rows.store_rounds == 0:
            return
        first = Signal(range(rows.store_rounds), name="first_round")
        with m.If(self.frame_end):
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
