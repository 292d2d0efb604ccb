"""The weight port: an AXI4-Lite peripheral through which another training is loaded."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .load_bus import WORD_BITS, load_bus
from .load_map import FINGERPRINT_ADDRESS, IDENTIFICATION, IDENTIFICATION_ADDRESS, LoadMap, Region

OKAY, SLVERR = 0b00, 0b10


class WeightPort(wiring.Component):
    """Writes words to loadable memories, and tells which accelerator it is; AXI4-Lite, 32 bits.

        write  to a word of a region, with all four strobes   OKAY
        read   of the identification word or the fingerprint  OKAY
        else   nothing is written, zeros are read             SLVERR

    Addresses are bytes, of `LoadMap.address_bits`; their lowest two bits are not looked at. Address and data of
    a write may come in either order. Load between frames: results of a frame under way are undefined.

    Members: `s_axil_*`; `load_{n}`, a `load_bus` for region n of `load_map.regions`.
    Timing: a write takes effect in the cycle after its response rises; one write in 3 cycles, one
    read in 2, if the master does not wait.
    """

    def __init__(self, load_map: LoadMap):
        self.load_map = load_map
        address_bits = load_map.address_bits
        loads = {
            f"load_{index}": Out(load_bus(region.contents.address_bits))
            for index, region in enumerate(load_map.regions)
        }
        super().__init__({
            "s_axil_awaddr": In(address_bits), "s_axil_awvalid": In(1), "s_axil_awready": Out(1),
            "s_axil_wdata": In(WORD_BITS), "s_axil_wstrb": In(WORD_BITS // 8),
            "s_axil_wvalid": In(1), "s_axil_wready": Out(1),
            "s_axil_bresp": Out(2), "s_axil_bvalid": Out(1), "s_axil_bready": In(1),
            "s_axil_araddr": In(address_bits), "s_axil_arvalid": In(1), "s_axil_arready": Out(1),
            "s_axil_rdata": Out(WORD_BITS), "s_axil_rresp": Out(2), "s_axil_rvalid": Out(1), "s_axil_rready": In(1),
            **loads,
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the write and the read channels, which share nothing."""
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _write(self, m: Module) -> None:
        """Hold an address and a word until both are there, write for one cycle, and respond."""
        port = self.load_map
        address, addressed = self._held(m, self.s_axil_awaddr, self.s_axil_awvalid, self.s_axil_awready, "address")
        word = Cat(self.s_axil_wdata, self.s_axil_wstrb.all())
        held, given = self._held(m, word, self.s_axil_wvalid, self.s_axil_wready, "word")
        writing = Signal()
        legal = Signal(reset_less=True)
        hits = [self._hits(address, region) & held[-1] for region in port.regions]
        begin = addressed & given & ~writing & ~self.s_axil_bvalid
        m.d.sync += [writing.eq(begin), legal.eq(Cat(*hits).any())]
        for index, (region, hit) in enumerate(zip(port.regions, hits, strict=True)):
            load = getattr(self, f"load_{index}")
            m.d.sync += load.write.eq(begin & hit)
            m.d.comb += [
                load.address.eq(address[2 : 2 + region.contents.address_bits]), load.data.eq(held[:WORD_BITS]),
            ]
        with m.If(writing):
            m.d.sync += [addressed.eq(0), given.eq(0), self.s_axil_bvalid.eq(1)]
            m.d.sync += self.s_axil_bresp.eq(Mux(legal, OKAY, SLVERR))
        with m.If(self.s_axil_bvalid & self.s_axil_bready):
            m.d.sync += self.s_axil_bvalid.eq(0)

    @staticmethod
    def _held(m: Module, payload: Value, valid: Value, ready: Value, name: str) -> tuple[Signal, Signal]:
        """Return a register for a channel's payload, and whether it is full; to empty it, clear that."""
        register, full = Signal(len(payload), name=name, reset_less=True), Signal(name=f"{name}_full")
        m.d.comb += ready.eq(~full)
        with m.If(ready):
            m.d.sync += [register.eq(payload), full.eq(valid)]
        return register, full

    @staticmethod
    def _hits(address: Value, region: Region) -> Value:
        """Return whether a byte address is that of a word that the region holds."""
        contents, bits = region.contents, (region.size - 1).bit_length()
        word = address[2:bits]
        part, row = word[: contents.part_bits], word[contents.part_bits :]
        hit: Value = address[bits:] == region.base >> bits
        if len(contents.widths) < 1 << len(part):
            hit &= part < len(contents.widths)
        if len(contents.rows) < 1 << len(row):
            hit &= row < len(contents.rows)
        return hit

    def _read(self, m: Module) -> None:
        """Answer a read one cycle later."""
        known = {IDENTIFICATION_ADDRESS: IDENTIFICATION, FINGERPRINT_ADDRESS: self.load_map.fingerprint}
        word: Value = Const(0, WORD_BITS)
        found: Value = Const(0, 1)
        for address, value in known.items():
            hit = self.s_axil_araddr[2:] == address >> 2
            word, found = Mux(hit, value, word), found | hit
        m.d.comb += self.s_axil_arready.eq(~self.s_axil_rvalid)
        with m.If(self.s_axil_arready):
            m.d.sync += [
                self.s_axil_rvalid.eq(self.s_axil_arvalid), self.s_axil_rdata.eq(word),
                self.s_axil_rresp.eq(Mux(found, OKAY, SLVERR)),
            ]
        with m.Elif(self.s_axil_rready):
            m.d.sync += self.s_axil_rvalid.eq(0)
