"""The stored steps of tiles along one axis: the mode words of the integrators."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .streams import delay
from .tile_integrators_plan import TileIntegratorPlan

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
    shows   rows, see `RowQueue`
    spends, spends_freed, spends_last   minus what the next step reserves: that, with the 1 row that the reader frees,
                  and with what it frees with a frame's last row; two's complement
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
            "shows": range(plan.ring + 1),
            **dict.fromkeys(("spends", "spends_freed", "spends_last"), spare_bits(plan)),
        }
    return data.StructLayout(fields)


def spare_bits(plan: TileIntegratorPlan) -> int:
    """Return the width of the places that are free beyond what the next step reserves: −ring to ring."""
    return plan.ring.bit_length() + 1


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
            mask = (1 << spare_bits(plan)) - 1
            then = rows.reserves[(index + 1) % len(rows.reserves)]
            word |= {
                "open": [turn % rows.open_rounds for turn in rounds],
                "sent": [turn % rows.store_rounds for turn in rounds], "ends": rows.ends(index),
                "shows": [rows.shows[index]], "spends": [-then & mask], "spends_freed": [1 - then & mask],
                "spends_last": [1 + rows.beyond - then & mask],
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
