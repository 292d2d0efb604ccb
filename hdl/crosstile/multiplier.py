"""The multiplier: one small block, so that a device's own can take its place."""

from dataclasses import dataclass, field

from amaranth.hdl import ClockSignal, Instance, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from crosstile_golden.errors import CrosstileError

LARGEST_BITS = 36


@dataclass
class VerilogPlatform:
    """What blocks are elaborated for when Verilog is wanted: it gives multipliers modules of their own, by width.

    A flow that has a better multiplier than the one it infers can replace the module `{prefix}_multiplier_{a}x{b}`.
    """

    prefix: str
    widths: set[tuple[int, int]] = field(default_factory=set)

    def multiplier(self, a_bits: int, b_bits: int) -> str:
        """Return the name of the module for these widths."""
        self.widths.add((a_bits, b_bits))
        return f"{self.prefix}_multiplier_{a_bits}x{b_bits}"

    def verilog(self) -> str:
        """Return the modules that were asked for."""
        return "".join(
            _MODULE.format(name=self.multiplier(a, b), a=a - 1, b=b - 1, y=a + b - 1) for a, b in sorted(self.widths)
        )


class Multiplier(wiring.Component):
    """y = a·b, signed, with a register at each input and one at the output.

    Parameters: `a_bits`, `b_bits`, each from 1 to 36; beyond 18, synthesis takes several of a small device's blocks.
    Timing: y comes two cycles after a and b.
    """

    LATENCY = 2

    def __init__(self, a_bits: int, b_bits: int):
        for name, bits in (("a_bits", a_bits), ("b_bits", b_bits)):
            if not 1 <= bits <= LARGEST_BITS:
                raise CrosstileError(f"{name} must be from 1 to {LARGEST_BITS}, not {bits}")
        self.a_bits, self.b_bits = a_bits, b_bits
        super().__init__({
            "a": In(signed(a_bits)), "b": In(signed(b_bits)), "y": Out(signed(a_bits + b_bits)),
        })

    def elaborate(self, platform: object) -> Module | Instance:
        """Return the product of registers, or the Verilog module that holds the same."""
        if isinstance(platform, VerilogPlatform):
            name = platform.multiplier(self.a_bits, self.b_bits)
            return Instance(name, i_clk=ClockSignal(), i_a=self.a, i_b=self.b, o_y=self.y)
        m = Module()
        a, b = Signal(signed(self.a_bits), reset_less=True), Signal(signed(self.b_bits), reset_less=True)
        product = Signal(signed(self.a_bits + self.b_bits), reset_less=True)
        m.d.sync += [a.eq(self.a), b.eq(self.b), product.eq(a * b)]
        m.d.comb += self.y.eq(product)
        return m


_MODULE = """\
/* A registered multiplier: y is the product of a and b two clocks ago. */
module {name} (
    input clk,
    input signed [{a}:0] a,
    input signed [{b}:0] b,
    output signed [{y}:0] y
);
    reg signed [{a}:0] a_register;
    reg signed [{b}:0] b_register;
    reg signed [{y}:0] product;
    assign y = product;
    always @(posedge clk) begin
        a_register <= a;
        b_register <= b;
        product <= a_register * b_register;
    end
endmodule

"""
