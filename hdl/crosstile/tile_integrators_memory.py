"""A bank of integrators: a block RAM with its output register."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .streams import delay


class BankMemory(wiring.Component):
    """Words of `width` bits at `depth` addresses; starts as zeros, and is not cleared by reset.

    What is read of an address in the cycle in which it is written is undefined, and never used. The memory's attribute
    tells synthesis so: it builds no logic to agree with the Verilog there, and no comparator of addresses stands
    before the memory's enable, where the banks' addresses would have to come from afar.

    Members: `read_address`; `read_data` two cycles later; `write_address`, `write_data`, `write`.
    """

    def __init__(self, width: int, depth: int):
        self.width, self.depth = width, depth
        super().__init__({
            "read_address": In(range(depth)), "read_data": Out(width),
            "write_address": In(range(depth)), "write_data": In(width), "write": In(1),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the memory and the register, which block RAMs have within."""
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=self.width, depth=self.depth, init=[], attrs={"no_rw_check": 1}
        )
        read, write = memory.read_port(domain="sync"), memory.write_port()
        m.d.comb += [
            read.addr.eq(self.read_address),
            self.read_data.eq(delay(m, read.data, 1, "word")),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            write.en.eq(self.write),
        ]
        return m
