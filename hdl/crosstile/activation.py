"""Activations: from a requantised sum to the value that leaves, lane by lane."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from crosstile_golden.activation import Activation
from crosstile_golden.numbers import NumberFormat

from .requantise_plan import ACTIVATION_CYCLES
from .streams import beat_layout

BLOCK_BITS = 2048  # from this size on, a table asks for block RAM: in LUTs it costs as much


def clamp(value: Value, number_format: NumberFormat, relu: bool) -> Value:
    """Return a signed value held to the range of the format, and above zero where `relu`."""
    bits, sign = len(value), value[-1]
    maximum, minimum = number_format.maximum, 0 if relu else number_format.minimum
    magnitude_bits = maximum.bit_length()
    low, high = value[:magnitude_bits], value[min(magnitude_bits, bits - 1) : bits - 1]
    if minimum == 0:
        return Mux(sign, Const(0, magnitude_bits), Mux(high.any(), Const(maximum, magnitude_bits), low))
    if not len(high):
        return value
    # Both ends are the sign turned over: one LUT per bit.
    outside = (high ^ sign.replicate(len(high))).any()
    return Cat(Mux(outside, (~sign).replicate(magnitude_bits), low), sign).as_signed()


class Activate(wiring.Component):
    """beat[lane] = activation(values[lane]): `crosstile_golden.activation.Activation.run` as gates.

        none, relu   clamp                                     1 cycle
        leaky        add the half and shift where v < 0; clamp 2 cycles
        table        clamp to the address; read; hold          3 cycles

    Parameters: `activation`; `value_bits`, the width of the signed sums; `number_format`, what leaves; `lanes`.
    A table's values must fit `number_format`. Two lanes share the memory of a table: block RAMs have two ports.
    Timing: a value per lane and cycle, `LATENCY` cycles by kind (`ACTIVATION_CYCLES`).
    """

    def __init__(self, activation: Activation, value_bits: int, number_format: NumberFormat, lanes: int):
        self.activation, self.number_format, self.lanes = activation, number_format, lanes
        self.latency = ACTIVATION_CYCLES[activation.kind]
        super().__init__({
            "values": In(data.ArrayLayout(signed(value_bits), lanes)),
            "beat": Out(beat_layout(number_format, lanes)),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the lanes."""
        m = Module()
        values = [self.values[lane] for lane in range(self.lanes)]
        if self.activation.kind == "leaky":
            values = [self._leaky(m, lane, value) for lane, value in enumerate(values)]
        table = self.activation.kind == "table"
        number_format = self.activation.address_format if table else self.number_format
        clamped = [self._clamped(m, lane, value, number_format) for lane, value in enumerate(values)]
        results = self._looked_up(m, clamped) if table else clamped
        for lane, result in enumerate(results):
            m.d.comb += self.beat[lane].eq(result)
        return m

    def _leaky(self, m: Module, lane: int, value: Value) -> Value:
        shift = self.activation.slope_shift
        sloped = Signal.like(value, name=f"sloped_{lane}", reset_less=True)
        m.d.sync += sloped.eq(Mux(value[-1], (value + (1 << shift - 1)) >> shift, value))
        return sloped

    def _clamped(self, m: Module, lane: int, value: Value, number_format: NumberFormat) -> Value:
        clamped = Signal(number_format.bits, name=f"clamped_{lane}", reset_less=True)
        m.d.sync += clamped.eq(clamp(value, number_format, self.activation.kind == "relu"))
        return clamped

    def _looked_up(self, m: Module, addresses: list[Value]) -> list[Value]:
        """Return the table's values at signed addresses, two cycles later."""
        bits = self.number_format.bits
        init = [value & (1 << bits) - 1 for value in self.activation.table]
        attributes = {"rom_style": "block"} if bits * len(init) >= BLOCK_BITS else {}
        results = []
        for lane, address in enumerate(addresses):
            if lane % 2 == 0:
                memory = Memory(shape=bits, depth=len(init), init=init, attrs=attributes)
                m.submodules[f"table_{lane}"] = memory
            read = memory.read_port(domain="sync")
            # Less the least address: the sign turned over.
            m.d.comb += read.addr.eq(Cat(address[:-1], ~address[-1]))
            result = Signal(bits, name=f"looked_up_{lane}", reset_less=True)
            m.d.sync += result.eq(read.data)
            results.append(result)
        return results
