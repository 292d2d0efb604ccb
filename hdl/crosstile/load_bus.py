"""Memories that are written at run time, 32 bits at a time."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

WORD_BITS = 32


@dataclass(frozen=True)
class Contents:
    """What a loadable memory holds: per row as many words as `widths` has, each its own width of 1 to 32 bits.

    `rows` are what it starts with. Word `part` of row `row` has the word address (row << part_bits) + part.
    """

    widths: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]

    @property
    def part_bits(self) -> int:
        """Address bits that choose the word of a row."""
        return (len(self.widths) - 1).bit_length()

    @property
    def address_bits(self) -> int:
        """Bits of a word address."""
        return self.part_bits + (len(self.rows) - 1).bit_length()

    @property
    def words(self) -> list[tuple[int, int]]:
        """Every word as (word address, value)."""
        rows = enumerate(self.rows)
        return [((row << self.part_bits) + part, word) for row, words in rows for part, word in enumerate(words)]


def load_bus(address_bits: int) -> wiring.Signature:
    """Return the bus that writes a loadable memory: where `write`, `data` goes to word `address`. It never waits."""
    return wiring.Signature({"write": Out(1), "address": Out(address_bits), "data": Out(WORD_BITS)})


class LoadedMemory(wiring.Component):
    """A memory whose rows are read whole and written in words; it starts with `contents`, and reset leaves it.

    A word is a memory of its own with one port to read and one to write, so that any block RAM will do. It is
    not read in a cycle in which it is written, which spares the logic for reading what is just being written:
    rows read while their memory is loaded are undefined.

    Members: `address`; `data`, the row one cycle later, least significant word first; `load`, see `load_bus`.
    Timing: a word per cycle, read by an `address` given 2 cycles after the write, or later.
    A memory of one row is registers, and needs no address.
    """

    load: wiring.PureInterface

    def __init__(self, contents: Contents, block: bool = False):
        self.contents, self.block = contents, block
        super().__init__({
            "address": In(range(len(contents.rows))), "data": Out(sum(contents.widths)),
            "load": In(load_bus(contents.address_bits)),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the bus behind a register, and the words."""
        m = Module()
        # The bus comes from afar: here it starts anew.
        write = Signal()
        address = Signal(self.contents.address_bits, name="load_address", reset_less=True)
        word = Signal(WORD_BITS, reset_less=True)
        m.d.sync += [write.eq(self.load.write), address.eq(self.load.address), word.eq(self.load.data)]
        part, row = address[: self.contents.part_bits], address[self.contents.part_bits :]
        stored = []
        for index, width in enumerate(self.contents.widths):
            enable = Signal(name=f"enable_{index}")
            m.d.comb += enable.eq(write & (part == index))
            stored.append(self._word(m, index, enable, row, word[:width]))
        m.d.comb += self.data.eq(Cat(*stored))
        return m

    def _word(self, m: Module, index: int, enable: Value, row: Value, value: Value) -> Value:
        """Return word `index` of the row addressed; write it where `enable`."""
        init = [words[index] for words in self.contents.rows]
        if len(init) == 1:
            register = Signal(len(value), name=f"word_{index}", init=init[0], reset_less=True)
            with m.If(enable):
                m.d.sync += register.eq(value)
            return register
        attributes = {"ram_style": "block"} if self.block else {}
        memory = Memory(shape=len(value), depth=len(init), init=init, attrs=attributes)
        m.submodules[f"word_{index}"] = memory
        read, write = memory.read_port(domain="sync"), memory.write_port()
        m.d.comb += [
            read.addr.eq(self.address), read.en.eq(~enable),
            write.addr.eq(row), write.data.eq(value), write.en.eq(enable),
        ]
        return read.data
