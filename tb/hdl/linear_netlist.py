"""Proves that a netlist of adders, selectors and registers is a matrix: by its structure, for all inputs.

Every word of such a netlist is a linear form of the inputs, so reading the netlist gives its coefficients. What is
left to show is that no word is too narrow: a word stands for its form modulo 2^(its bits) as long as every operand
that is extended holds its whole form, which the interval of the form over all inputs decides.

Of an adder whose operand is doubled the lowest bit is the other operand's: there a word without its lowest bit is
half the form less that bit, which is a variable of its own until the two meet again.

The netlist is the one that Yosys reads from the emitted Verilog, registers and all: a variable of a form is an input
so many cycles ago, and so is every switch.
"""

import copy
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from pathlib import Path
from typing import Any

EXACT = 1 << 16  # as many low bits are right as there may be: the value is the form itself
OLDEST = 64  # registers on a path: more is a loop

PARITY = -1

Variable = tuple[int, Any]  # position, cycles ago; or `PARITY` and the variables whose sum's lowest bit it is
Form = Mapping[Variable, Any]
Source = tuple[str, str, int]  # "input" or "cell", name or "", position


class NotProvedError(AssertionError):
    """What the netlist does otherwise, or may do."""


def netlist_of(verilog: str, top: str, *passes: str) -> dict[str, Any]:
    """Return module `top` as Yosys reads it, `proc` and further passes done: its JSON."""
    lines = ["read_verilog d.v", f"hierarchy -check -top {top}", "proc", *passes, "opt_clean", "write_json d.json"]
    script = "from pyosys import libyosys as y\nd = y.Design()\n"
    script += f"for line in {lines!r}: y.Pass.call(d, 'tee -q ' + line)"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "d.v").write_text(verilog)
        done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        module: dict[str, Any] = json.loads((Path(folder) / "d.json").read_text())["modules"][top]
    return module


@dataclass(frozen=True)
class Lane:
    """A word of a port: its bits in the port, and the least and greatest value that it is to hold."""

    offset: int
    bits: int
    low: int
    high: int


def fits(low: int, high: int, bits: int, signed: bool) -> bool:
    """Return whether low..high are all integers of so many bits."""
    return -(1 << bits - 1) <= low and high < 1 << bits - 1 if signed else low >= 0 and high < 1 << bits


def _sum(a: Form, b: Form, sign: int = 1) -> Form:
    total = {key: a.get(key, 0) + sign * b.get(key, 0) for key in {**a, **b}}
    return {key: factor for key, factor in total.items() if factor}


def _parity(form: Form) -> Form:
    """Return the lowest bit of a form: a variable of its own, the same for all forms that are odd together."""
    if any(factor != int(factor) for factor in form.values()):
        raise NotProvedError(f"the lowest bit of {form} is not known")
    odd = frozenset(variable for variable, factor in form.items() if factor % 2)
    return {(PARITY, odd): 1} if odd else {}


@dataclass
class LinearNetlist:
    """A netlist as forms, for one setting of its switches.

    inputs     the lanes of port `inputs`; a lane from 0 to 0 is taken to be zero
    switches   what each bit of port `switch_word` was, `switched` cycles before the outputs
    """

    module: dict[str, Any]
    inputs: Sequence[Lane]
    switches: Sequence[int]
    switched: int
    sources: dict[int, tuple[Source, int]] = field(default_factory=dict)
    known: dict[tuple[str, int], tuple[Form, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bits = self.module["ports"]["inputs"]["bits"]
        for position, lane in enumerate(self.inputs):
            for index in range(lane.bits):
                self.sources[bits[lane.offset + index]] = (("input", "", position), index)
        for name, cell in self.module["cells"].items():
            for index, bit in enumerate(cell["connections"].get("Y") or cell["connections"]["Q"]):
                self.sources[bit] = (("cell", name, 0), index)

    def output(self, lane: Lane) -> tuple[Form, int]:
        """Return a lane of port `outputs`: its form, and how many of its low bits follow it."""
        bits = self.module["ports"]["outputs"]["bits"][lane.offset : lane.offset + lane.bits]
        return self._operand(bits, lane.low < 0, 0)

    def bounds(self, form: Form) -> tuple[int, int]:
        """Return the least and the greatest whole number that a form can be, over all inputs."""
        low = high = Fraction()
        for (position, _), factor in form.items():
            least, greatest = (0, 1) if position == PARITY else (self.inputs[position].low, self.inputs[position].high)
            ends = factor * least, factor * greatest
            low, high = low + min(ends), high + max(ends)
        return ceil(low), floor(high)

    def _operand(self, bits: list[Any], signed: bool, age: int) -> tuple[Form, int]:
        """Return what bits stand for: zeros, at most one lowest bit, a word or its half, its sign or zeros again."""
        zeros = next((index for index, bit in enumerate(bits) if bit != "0"), len(bits))
        if zeros:
            form, right = self._operand(bits[zeros:], signed, age) if zeros < len(bits) else ({}, EXACT)
            return {variable: factor * (1 << zeros) for variable, factor in form.items()}, min(right + zeros, EXACT)
        source, first = self._source(bits[0])
        form, right = self._word(source, age)
        if len(bits) > 1 and not first and bits[1] in self.sources and self._source(bits[1])[0] != source:
            if right < 1:
                raise NotProvedError(f"bit {bits[0]} is not right")
            high, right = self._operand(bits[1:], signed, age)
            return _sum(_parity(form), _sum(high, high)), min(right + 1, EXACT)
        if first:
            form = {key: Fraction(factor, 2) for key, factor in _sum(form, _parity(form), -1).items()}
        return self._extended(bits, signed, source, first, form, right - first)

    def _extended(
        self, bits: list[Any], signed: bool, source: Source, first: int, form: Form, right: int
    ) -> tuple[Form, int]:
        """Return a form whose bits, from the word's `first` on, are followed by its sign or by zeros."""
        taken = 1
        while taken < len(bits) and self.sources.get(bits[taken]) == (source, first + taken):
            taken += 1
        extension = bits[taken:]
        if first > 1 or set(extension) not in (set(), {"0"}, {bits[taken - 1]}):
            raise NotProvedError(f"{bits} are not a word")
        if right < taken:
            return form, right
        sign = extension[0] != "0" if extension else signed
        if not fits(*self.bounds(form), taken, sign):
            return form, taken
        return form, EXACT if signed or not sign else len(bits)

    def _source(self, bit: Any) -> tuple[Source, int]:
        if bit not in self.sources:
            raise NotProvedError(f"nothing drives bit {bit}")
        return self.sources[bit]

    def _word(self, source: Source, age: int) -> tuple[Form, int]:
        kind, name, position = source
        if kind == "input":
            lane = self.inputs[position]
            return ({(position, age): 1} if lane.low != lane.high else {}), lane.bits
        if age > OLDEST:
            raise NotProvedError(f"{name} is part of a loop")
        if (name, age) not in self.known:
            self.known[name, age] = self._cell(name, age)
        return self.known[name, age]

    def _cell(self, name: str, age: int) -> tuple[Form, int]:
        """Return the form of a cell's output, and how many of its low bits follow it."""
        cell = self.module["cells"][name]
        wires, signed = cell["connections"], bool(int(cell["parameters"].get("A_SIGNED", "0"), 2))
        match cell["type"]:
            case "$dff":
                return self._narrowed(self._operand(wires["D"], False, age + 1), wires["Q"])
            case "$mux":
                chosen = "B" if self._switch(wires["S"][0], age) else "A"
                return self._narrowed(self._operand(wires[chosen], False, age), wires["Y"])
            case "$add" | "$sub":
                (a, right_a), (b, right_b) = (self._operand(wires[port], signed, age) for port in "AB")
                form = _sum(a, b, 1 if cell["type"] == "$add" else -1)
                return self._narrowed((form, min(right_a, right_b)), wires["Y"])
        raise NotProvedError(f"{name} is a {cell['type']}, not an adder, a selector or a register")

    def _narrowed(self, value: tuple[Form, int], bits: list[Any]) -> tuple[Form, int]:
        return value[0], min(value[1], len(bits))

    def _switch(self, bit: Any, age: int) -> int:
        """Return what a switch is: it must come from its port by registers, at the right age."""
        ports = self.module["ports"]
        while bit in self.sources:
            (kind, name, _), _ = self.sources[bit]
            if kind != "cell" or self.module["cells"][name]["type"] != "$dff" or age > OLDEST:
                raise NotProvedError(f"bit {bit} that selects is not a switch")
            bit, age = self.module["cells"][name]["connections"]["D"][0], age + 1
        if age != self.switched:
            raise NotProvedError(f"a switch is {age} cycles old, not {self.switched}")
        return self.switches[ports["switch_word"]["bits"].index(bit)]


def with_cell(module: dict[str, Any], name: str, change: str) -> dict[str, Any]:
    """Return the netlist with one cell broken: its sign turned, its operands exchanged, or a bit narrower."""
    broken = copy.deepcopy(module)
    cell = broken["cells"][name]
    wires = cell["connections"]
    if change == "sign":
        cell["type"] = {"$add": "$sub", "$sub": "$add"}[cell["type"]]
    elif change == "exchange":
        wires["A"], wires["B"] = wires["B"], wires["A"]
    else:
        port = "Q" if cell["type"] == "$dff" else "Y"
        top, below = wires[port][-1], wires[port][-2]
        wires[port] = wires[port][:-1]
        for other in broken["cells"].values():
            for pin, bits in other["connections"].items():
                other["connections"][pin] = [below if bit == top else bit for bit in bits]
        for port_bits in broken["ports"].values():
            port_bits["bits"] = [below if bit == top else bit for bit in port_bits["bits"]]
    return broken
