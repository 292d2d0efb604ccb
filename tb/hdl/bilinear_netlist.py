"""Proves that a netlist of transforms, multipliers and sums is a convolution: by its structure, for all inputs.

Up to the multipliers every word is a linear form of the activations or of the weights; behind them it is a bilinear
form, a matrix (weight, activation) for each tile of the sum. Reading the netlist gives the factors. What is left to
show is that no word is too narrow, as in `linear_netlist`: every operand that is extended must hold its whole form.

A bilinear form falls apart into products of a form of weights and one of activations that have no input in common,
wherever each connected block of its matrix has rank 1; so its ends are exact. Half a form is a form where all its
factors are even; and where two forms are odd together, the halves of both without the lowest bits differ by half their
difference.

A variable is an input so many cycles ago. What selects is read as it was in the cycles of the tiles of one sum, and in
no other: so nothing depends on any tile before, between or after them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .linear_netlist import EXACT, OLDEST, Lane, NotProvedError, fits

Controls = Mapping[tuple[str, int], Mapping[int, int]]  # port and bit: what it was so many cycles ago
Source = tuple[str, str, int]
DATA = ("activations", "weights")


@dataclass(frozen=True)
class Form:
    """Factors by cycles ago: of the inputs of a port, or, of kind "products", of each pair (weight, activation).

    right   low bits that follow it
    half    of `factors` half is meant, without the lowest bit
    count   tiles of which as many may be added up in it
    """

    kind: str
    factors: Mapping[int, np.ndarray]
    right: int = EXACT
    half: bool = False
    count: int = 1


@dataclass
class BilinearNetlist:
    """A netlist as forms, for one sum of tiles.

    lanes      of the ports `activations` and `weights`
    controls   of every other port
    tiles      most tiles that are added up: words behind the sums hold as many
    zeros      weights that are 0
    known      words that were read before: cell and cycles ago
    """

    module: dict[str, Any]
    lanes: Mapping[str, list[Lane]]
    controls: Controls
    tiles: int
    zeros: Collection[int] = ()
    sources: dict[Any, tuple[Source, int]] = field(default_factory=dict)
    known: dict[tuple[str, int], Form] = field(default_factory=dict)
    ends: dict[int, tuple[np.ndarray, tuple[int, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, port in self.module["ports"].items():
            if port["direction"] != "input":
                continue
            if name in DATA:
                for position, lane in enumerate(self.lanes[name]):
                    for index in range(lane.bits):
                        self.sources[port["bits"][lane.offset + index]] = (("input", name, position), index)
            else:
                for index, bit in enumerate(port["bits"]):
                    self.sources[bit] = (("control", name, index), 0)
        for name, cell in self.module["cells"].items():
            outputs = cell["connections"].get("Y") or cell["connections"].get("Q", [])  # none: notes on the hierarchy
            for index, bit in enumerate(outputs):
                self.sources[bit] = (("cell", name, 0), index)

    def output(self, lane: Lane) -> Form:
        """Return a lane of port `outputs`."""
        bits = self.module["ports"]["outputs"]["bits"][lane.offset : lane.offset + lane.bits]
        return self._operand(bits, lane.low < 0, 0)

    def flag(self, port: str) -> int:
        """Return what an output of one bit is."""
        return self._control(self.module["ports"][port]["bits"][0], 0)

    def bounds(self, form: Form) -> tuple[int, int]:
        """Return the least and the greatest value of a form, over all inputs and as many tiles as it may have."""
        ends = [self._known_ends(form.kind, factors) for factors in form.factors.values()]
        low, high = min((end[0] for end in ends), default=0), max((end[1] for end in ends), default=0)
        return low * form.count >> form.half, high * form.count >> form.half

    def _known_ends(self, kind: str, factors: np.ndarray) -> tuple[int, int]:
        """Return the ends of factors: registers pass them on, so they are asked for again and again."""
        if id(factors) not in self.ends:
            self.ends[id(factors)] = factors, self._ends(kind, factors)
        return self.ends[id(factors)][1]

    def _ends(self, kind: str, factors: np.ndarray) -> tuple[int, int]:
        if kind != "products":
            return _linear_ends(factors, self.lanes[kind][0])
        low = high = 0
        for weights, activations in _blocks(factors):
            ends = [
                left * right
                for left in _linear_ends(weights, self.lanes["weights"][0])
                for right in _linear_ends(activations, self.lanes["activations"][0])
            ]
            low, high = low + min(ends), high + max(ends)
        return low, high

    # Words

    def _operand(self, bits: list[Any], signed: bool, age: int) -> Form:
        """Return what bits stand for: zeros, or a word or its half, with its sign or zeros above."""
        if set(bits) == {"0"}:
            return Form("", {})
        if bits[0] not in self.sources:
            raise NotProvedError(f"nothing drives bit {bits[0]}")
        source, first = self.sources[bits[0]]
        taken = 1
        while taken < len(bits) and self.sources.get(bits[taken]) == (source, first + taken):
            taken += 1
        extension = bits[taken:]
        if first > 1 or set(extension) not in (set(), {"0"}, {bits[taken - 1]}):
            raise NotProvedError(f"{bits} are not a word")
        form = self._word(source, age)
        if first:
            form = _half(form)
        if form.right < taken:
            return form
        sign = extension[0] != "0" if extension else signed
        exact = fits(*self.bounds(form), taken, sign) and (signed or not sign)
        whole = fits(*self.bounds(form), taken, sign)
        right = EXACT if exact else len(bits) if whole else taken
        return Form(form.kind, form.factors, right, form.half, form.count)

    def _word(self, source: Source, age: int) -> Form:
        kind, name, position = source
        if kind == "input":
            lanes = self.lanes[name]
            if name == "weights" and position in self.zeros:
                return Form("", {})
            return Form(name, {age: np.eye(len(lanes), dtype=np.int64)[position]}, lanes[position].bits)
        if kind == "control" or age > OLDEST:
            raise NotProvedError(f"{name} is not a word, or is part of a loop")
        if (name, age) not in self.known:
            self.known[name, age] = self._cell(name, age)
        return self.known[name, age]

    def _cell(self, name: str, age: int) -> Form:
        """Return the form of a cell's output."""
        cell = self.module["cells"][name]
        wires, signed = cell["connections"], bool(int(cell["parameters"].get("A_SIGNED", "0"), 2))
        match cell["type"]:
            case "$dff":
                form = self._operand(wires["D"], False, age + 1)
            case "$mux":
                form = self._operand(wires["B" if self._control(wires["S"][0], age) else "A"], False, age)
            case "$add" | "$sub":
                a, b = (self._operand(wires[port], signed, age) for port in "AB")
                form = self._sum(a, b, 1 if cell["type"] == "$add" else -1)
            case "$mul":
                form = _product(*(self._operand(wires[port], signed, age) for port in "AB"))
            case kind:
                raise NotProvedError(f"{name} is a {kind}, not of a transform, a multiplier or a sum")
        bits = len(wires.get("Y") or wires["Q"])
        return Form(form.kind, form.factors, min(form.right, bits), form.half, form.count)

    def _sum(self, a: Form, b: Form, sign: int) -> Form:
        kind = a.kind or b.kind
        if {a.kind, b.kind} - {kind, ""}:
            raise NotProvedError(f"{a.kind} and {b.kind} are added")
        factors = {age: a.factors.get(age, 0) + sign * b.factors.get(age, 0) for age in {**a.factors, **b.factors}}
        factors = {age: value for age, value in factors.items() if np.any(value)}
        count = self.tiles if kind == "products" else 1
        form = Form(kind, factors, min(a.right, b.right), a.half, count)
        if not a.half and not b.half:
            return form
        if sign > 0 or not (a.half and b.half) or any((value % 2).any() for value in factors.values()):
            raise NotProvedError("halves whose lowest bits are not alike are added")
        return _half(Form(kind, factors, form.right + 1, False, count))

    # What selects

    def _control(self, bit: Any, age: int) -> int:
        """Return what a bit is, so many cycles ago."""
        if bit in ("0", "1"):
            return int(bit)
        (kind, name, index), place = self.sources[bit]
        if kind == "control":
            if age not in self.controls[name, index]:
                raise NotProvedError(f"bit {index} of {name} matters {age} cycles before")
            return self.controls[name, index][age]
        if kind == "input" or age > OLDEST:
            raise NotProvedError(f"{name} selects")
        cell = self.module["cells"][name]
        wires = cell["connections"]
        match cell["type"]:
            case "$dff":
                return self._control(wires["D"][place], age + 1)
            case "$mux":
                return self._control(wires["B" if self._control(wires["S"][0], age) else "A"][place], age)
            case "$and" | "$or" | "$logic_and" | "$logic_or":
                a, b = (self._control(wires[port][place], age) for port in "AB")
                return a & b if "and" in cell["type"] else a | b
            case "$not" | "$logic_not":
                if cell["type"] == "$not" or len(wires["A"]) == 1:
                    return 1 - self._control(wires["A"][place], age)
                return int(not any(self._control(bit, age) for bit in wires["A"]))
            case "$reduce_or" | "$reduce_bool":
                return int(any(self._control(bit, age) for bit in wires["A"]))
            case "$eq":
                pairs = zip(wires["A"], wires["B"], strict=True)
                return int(all(self._control(a, age) == self._control(b, age) for a, b in pairs))
        raise NotProvedError(f"{name}, a {cell['type']}, selects")


def downstream(module: dict[str, Any], name: str) -> set[str]:
    """Return a cell and all whose outputs may depend on its own."""
    readers: dict[Any, list[str]] = {}
    for reader, cell in module["cells"].items():
        for port in "ABDS":
            for bit in cell["connections"].get(port, []):
                readers.setdefault(bit, []).append(reader)
    reached, ahead = {name}, [name]
    while ahead:
        wires = module["cells"][ahead.pop()]["connections"]
        for bit in wires.get("Y") or wires["Q"]:
            new = {reader for reader in readers.get(bit, []) if reader not in reached}
            reached |= new
            ahead += new
    return reached


def _half(form: Form) -> Form:
    """Return half a form, its lowest bit left out."""
    if form.half:
        raise NotProvedError("half of a half whose lowest bit is not 0")
    if any((factors % 2).any() for factors in form.factors.values()):
        return Form(form.kind, form.factors, form.right - 1, True, form.count)
    factors = {age: value // 2 for age, value in form.factors.items()}
    return Form(form.kind, factors, EXACT if form.right == EXACT else form.right - 1, False, form.count)


def _product(a: Form, b: Form) -> Form:
    activations, weights = (a, b) if a.kind == "activations" else (b, a)
    if (activations.kind, weights.kind) != DATA or a.half or b.half or min(a.right, b.right) < EXACT:
        raise NotProvedError(f"{a.kind} and {b.kind} are multiplied, or not all their bits are right")
    if len(a.factors) != 1 or a.factors.keys() != b.factors.keys():
        raise NotProvedError(f"operands are {list(a.factors)} and {list(b.factors)} cycles old")
    ((age, left),) = weights.factors.items()
    return Form("products", {age: np.outer(left, activations.factors[age])})


def _linear_ends(factors: np.ndarray, lane: Lane) -> tuple[int, int]:
    up, down = int(factors[factors > 0].sum()), -int(factors[factors < 0].sum())
    return up * lane.low - down * lane.high, up * lane.high - down * lane.low


def _blocks(matrix: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return pairs of vectors, no two with a row or a column in common, whose outer products add up to a matrix."""
    left, blocks = matrix.copy(), []
    while left.any():
        row = int(np.flatnonzero(left.any(axis=1))[0])
        columns = left[row] != 0
        rows = (left[:, columns] != 0).any(axis=1)
        block = left[rows]
        pivot = int(np.flatnonzero(columns)[0])
        factors = left[:, pivot]
        divisor = int(np.gcd.reduce(factors[rows]))
        other = left[row] * divisor // factors[row]
        if (block[:, ~columns] != 0).any() or (np.outer(factors // divisor, other) != left * rows[:, None]).any():
            raise NotProvedError("a form is not a sum of products without an input in common")
        blocks.append((factors // divisor, other))
        left[rows] = 0
    return blocks
