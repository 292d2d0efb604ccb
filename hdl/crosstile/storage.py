"""A memory with one port to read and one to write, as block RAMs have them."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class Storage(wiring.Component):
    """Words of `width` bits at `depth` addresses; starts as zeros, and is not cleared by reset.

    What is read of an address in the cycle in which it is written is undefined, and never used. Block RAMs differ in
    that case, and synthesis would build logic around them to agree with the Verilog there, before their enables and
    behind their outputs; the memory's attribute tells it not to.

    Members: `read_address`; `read_data` one cycle later; `write_address`, `write_data`, `write`.
    """

    def __init__(self, width: int, depth: int):
        self.width, self.depth = width, depth
        super().__init__({
            "read_address": In(range(depth)), "read_data": Out(width),
            "write_address": In(range(depth)), "write_data": In(width), "write": In(1),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the memory."""
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=self.width, depth=self.depth, init=[], attrs={"no_rw_check": 1}
        )
        read, write = memory.read_port(domain="sync"), memory.write_port()
        m.d.comb += [
            read.addr.eq(self.read_address),
            self.read_data.eq(read.data),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            write.en.eq(self.write),
        ]
        return m


class LongDelay(wiring.Component):
    """Returns `value` as it was `cycles` clock cycles ago, from a memory and not a chain of registers.

    late(t) = value(t − cycles): the word of a ring of `cycles` words that is about to be written again.
    Parameters: `width` in bits; `cycles`, 2 or more. What was before reset comes first, and means nothing.
    """

    def __init__(self, width: int, cycles: int):
        self.cycles = cycles
        super().__init__({"value": In(width), "late": Out(width)})

    def elaborate(self, _platform: object) -> Module:
        """Return the ring and its one address."""
        m = Module()
        m.submodules.ring = ring = Storage(len(self.value), self.cycles)
        address, following = Signal(range(self.cycles)), Signal(range(self.cycles))
        m.d.comb += [
            following.eq(Mux(address == self.cycles - 1, 0, address + 1)),
            ring.write_address.eq(address),
            ring.write_data.eq(self.value),
            ring.write.eq(1),
            ring.read_address.eq(following),
            self.late.eq(ring.read_data),
        ]
        m.d.sync += address.eq(following)
        return m
