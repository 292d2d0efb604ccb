"""Faults put into emitted Verilog, to see the benches find them."""

from __future__ import annotations

import re


def module(text: str, name: str) -> str:
    """Return the text of one module, whose name may be an escaped one."""
    found = re.search(rf"^module \\?{re.escape(name)} ?\(.*?^endmodule$", text, re.DOTALL | re.MULTILINE)
    assert found, f"no module {name}"
    return found.group()


def replace(text: str, within: str, pattern: str, replacement: str) -> str:
    """Replace the one place in module `within` that the pattern matches; fail where there is not just one."""
    intact = module(text, within)
    broken, places = re.subn(pattern, replacement, intact)
    assert places == 1, f"{pattern} matches {places} places of {within}"
    assert broken != intact
    return text.replace(intact, broken)


def add(text: str, within: str, lines: str) -> str:
    """Put lines of Verilog at the end of a module."""
    return replace(text, within, r"\nendmodule$", f"\n{lines}\nendmodule")


def rewire(text: str, top: str, port: str, bits: int, lines: str) -> str:
    """Cut an output port off the instance that drives it: that drives wire `inner`, and `lines` the port.

    The lines may use `odd`, a register that toggles in every cycle.
    """
    cut = replace(text, top, rf"\.(\w+)\({port}\)", r".\1(inner)")
    declared = f"  wire [{bits - 1}:0] inner;\n  reg odd = 1'b0;\n  always @(posedge clk) odd <= ~odd;\n"
    return add(replace(cut, top, r"\A(module [^;]*;\n)", rf"\1{declared}"), top, lines)


def flip_constant(text: str, within: str, word: int) -> str:
    """Flip the top bit of one word of a memory's contents."""
    intact = module(text, within)
    found = re.findall(rf"( \w+\[{word}\] = )(\d+)'h([0-9a-f]+);", intact)
    assert len(found) == 1, f"{len(found)} memories in {within}"
    (name, bits, digits), = found
    wrong = int(digits, 16) ^ (1 << (int(bits) - 1))
    return text.replace(intact, intact.replace(f"{name}{bits}'h{digits};", f"{name}{bits}'h{wrong:x};"))
