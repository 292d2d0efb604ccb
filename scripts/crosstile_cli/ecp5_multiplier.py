"""The multiplier block of ECP5, in place of the multiplier that Yosys infers."""

import re

MULTIPLIER = re.compile(r"^module (\w+_multiplier_(\d+)x(\d+)) \(", re.MULTILINE)
BLOCK_BITS = 18


def modules(verilog: str) -> dict[str, tuple[int, int]]:
    """Return the registered multipliers of an emitted design that one block holds: module name to operand widths."""
    widths = ((name, int(a), int(b)) for name, a, b in MULTIPLIER.findall(verilog))
    return {name: (a, b) for name, a, b in widths if max(a, b) <= BLOCK_BITS}


def ecp5_map(found: dict[str, tuple[int, int]]) -> str:
    """Return a Yosys technology map from each module to a MULT18X18D that holds its three registers.

    Yosys infers the block without them: then operands and product cross the fabric in the multiplier's own
    cycle. What a block does not need stays open: tied to ground, it could not be routed.
    """
    ports = ",\n        ".join(_ports())
    return "".join(
        _MAP.format(name=name, a=a - 1, b=b - 1, y=a + b - 1, ports=ports) for name, (a, b) in found.items()
    )


def _ports() -> list[str]:
    """Return the block's connections: operands sign-extended to 18 bits, clock 0, no cascade."""
    groups = [[f".{port}{bit}({wire}[{bit}])" for bit in range(18)] for port, wire in (("A", "a18"), ("B", "b18"))]
    groups += [[f".P{bit}(p[{bit}])" for bit in range(36)]]
    groups += [[".CLK0(clk)", ".CE0(1'b1)", ".RST0(1'b0)"]]
    groups += [[".SIGNEDA(1'b1)", ".SIGNEDB(1'b1)", ".SOURCEA(1'b0)", ".SOURCEB(1'b0)"]]
    return [", ".join(group) for group in groups]


_MAP = """\
module {name} (input clk, input signed [{a}:0] a, input signed [{b}:0] b, output signed [{y}:0] y);
    wire signed [17:0] a18 = a;
    wire signed [17:0] b18 = b;
    wire [35:0] p;
    assign y = p[{y}:0];
    MULT18X18D #(
        .REG_INPUTA_CLK("CLK0"), .REG_INPUTB_CLK("CLK0"), .REG_OUTPUT_CLK("CLK0")
    ) _TECHMAP_REPLACE_ (
        {ports}
    );
endmodule
"""
