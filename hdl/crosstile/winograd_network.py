"""The adder networks of the Winograd transforms along one axis, each written once.

`Network` counts what a network is made of and bounds its terms; `winograd_transform` makes gates of the same calls.

    weights       h = g0 + g2;  g0, h + g1, h − g1, g2      size 3: 3 adders
                  g0, g0 + g1, g0 − g1, g1                  size 2: 2 adders
                  g0, g0, g0, g0                            size 1: wires
                  the largest with zeros; last, g2, g1 or g0
    activations   x0 − x2, x1 + x2, x2 − x1, x1 − x3        sizes 3 and 2: 4 adders
                  x0, x1, x2, x3                            size 1: wires
                  x1 and x2 or 0; last, x1 − x3 or x3       with 1: 4 adders, 3 selectors
    partial sums  s = m1 + m2, d = m1 − m2
                  2·m0 + s, d − 2·m3                        size 3: 4 adders
                  2·m0 + s, d, s − 2·m3                     size 2: 4 adders
                  m0, m1, m2, m3                            size 1: wires
                  2·m0 + s, d, (d or s) − 2·m3              3 or 2: 4 adders, 1 selector
                  2·m0 + (s or 0), (d − 2·m3) or 2·m1,
                      2·m2, 2·m3                            3 or 1: 4 adders, 2 selectors
                  2·m0 + (s or 0), d or 2·m1,
                      (s − 2·m3) or 2·m2, 2·m3              2 or 1: 4 adders, 3 selectors
                  with (d or s) in place of that s          3, 2 or 1: 4 adders, 4 selectors

An inverter shares the gates of its adder. Doubling is wires, and the lowest bit of a + 2·b is that of a: the adder is
a bit shorter (and synthesis cannot merge it with the one before into a sum of three, which takes more LUTs). No two
terms of a sum depend on the same input, along one axis or all: so intervals are exact, both ends of each are attained,
and no word could be narrower.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from crosstile_golden.geometry import Axes
from crosstile_golden.numbers import signed_bits_for

Ends = tuple[int, int]
Kernel = tuple[Axes, ...]
"""Per axis, outermost first, the sizes that it serves, the largest first: of several, an input says which."""


@dataclass(frozen=True)
class Term:
    """A value in a network: its least and greatest value, its width, and what it took to make it.

    ranges    its ends, for each combination of sizes that the network serves
    zeros     of its `bits`, the lowest ones that are always 0: wires
    levels    adders on the longest path to it from the inputs; `depth`: from the last register
    cycle     registers on the way to it
    value     its signal, where gates are made
    """

    ranges: tuple[Ends, ...]
    bits: int
    zeros: int = 0
    levels: int = 0
    depth: int = 0
    cycle: int = 0
    value: Any = None

    @property
    def low(self) -> int:
        """The least value for any kernel."""
        return min(low for low, _ in self.ranges)

    @property
    def high(self) -> int:
        """The greatest value for any kernel."""
        return max(high for _, high in self.ranges)


ADDERS = ("add", "subtract", "add_twice", "subtract_twice")


def bits_for(low: int, high: int) -> int:
    """Return the width of a value: unsigned where it cannot be negative, else two's complement."""
    return high.bit_length() if low >= 0 else signed_bits_for(low, high)


@dataclass
class Network:
    """Adds, subtracts, selects and registers terms, and counts that; a subclass makes the gates as well.

    kernels          every combination of sizes that it serves
    limit            bits that no term passes: those above are dropped, so terms are right modulo 2^limit
    every_adder      registers stand between adders that follow each other along an axis
    deepest          most adders on a path between registers
    """

    kernels: Sequence[Axes]
    limit: int
    every_adder: bool = False
    adders: int = 0
    adder_bits: int = 0
    selectors: int = 0
    selector_bits: int = 0
    register_bits: int = 0
    deepest: int = 0

    def add(self, a: Term, b: Term) -> Term:
        """Return a + b."""
        return self._adder("add", a, b, 1)

    def subtract(self, a: Term, b: Term) -> Term:
        """Return a − b."""
        return self._adder("subtract", a, b, -1)

    def add_twice(self, a: Term, b: Term) -> Term:
        """Return a + 2·b."""
        return self._adder("add_twice", a, b, 2)

    def subtract_twice(self, a: Term, b: Term) -> Term:
        """Return a − 2·b."""
        return self._adder("subtract_twice", a, b, -2)

    def select(self, axis: int, size: int, chosen: Term, other: Term) -> Term:
        """Return one term where an axis has this size, which must not be its largest, else another."""
        of_kernels = zip(self.kernels, chosen.ranges, other.ranges, strict=True)
        ranges = tuple(ends[kernel[axis] != size] for kernel, *ends in of_kernels)
        made = self._made("select", (chosen, other), ranges, (axis, size))
        self.selectors += 1
        self.selector_bits += made.bits - made.zeros
        return made

    def clear(self, axis: int, size: int, term: Term) -> Term:
        """Return 0 where an axis has this size, which must not be its largest, else the term."""
        nothing = replace(term, ranges=((0, 0),) * len(self.kernels), value=0)
        return self.select(axis, size, nothing, term)

    def unused(self, axis: int, size: int, term: Term) -> Term:
        """Return the term without its range where an axis has this size: what becomes of it there is not used."""
        of_kernels = zip(self.kernels, term.ranges, strict=True)
        return replace(term, ranges=tuple((0, 0) if kernel[axis] == size else ends for kernel, ends in of_kernels))

    def twice(self, term: Term) -> Term:
        """Return 2·term."""
        ranges = tuple((2 * low, 2 * high) for low, high in term.ranges)
        return self._made("twice", (term,), ranges, zeros=term.zeros + 1)

    def register(self, term: Term) -> Term:
        """Return the term one cycle later."""
        made = self._made("register", (term,), term.ranges)
        self.register_bits += made.bits - made.zeros
        return made

    def between(self, *terms: Term) -> tuple[Term, ...]:
        """Return what passes from one adder of a line to the next, registered where every adder is."""
        return tuple(map(self.register, terms)) if self.every_adder else terms

    def gate(self, _kind: str, _operands: tuple[Term, ...], _made: Term, _choice: tuple[int, int] | None) -> Any:
        """Return the signal of a term that is made so of the operands; `_choice` is a selector's axis and size."""
        return None

    def _adder(self, kind: str, a: Term, b: Term, factor: int) -> Term:
        pairs = ((left, sorted((factor * right[0], factor * right[1])))
                 for left, right in zip(a.ranges, b.ranges, strict=True))  # fmt: skip
        made = self._made(kind, (a, b), tuple((left[0] + right[0], left[1] + right[1]) for left, right in pairs))
        self.adders += 1
        self.adder_bits += made.bits - made.zeros - (abs(factor) == 2)
        self.deepest = max(self.deepest, made.depth)
        return made

    def _made(
        self, kind: str, operands: tuple[Term, ...], ranges: tuple[Ends, ...], choice: tuple[int, int] | None = None,
        zeros: int | None = None,
    ) -> Term:
        adders, registers = int(kind in ADDERS), int(kind == "register")
        made = Term(
            ranges, 0, min(term.zeros for term in operands) if zeros is None else zeros,
            max(term.levels for term in operands) + adders,
            0 if registers else max(term.depth for term in operands) + adders,
            operands[0].cycle + registers,
        )
        made = replace(made, bits=min(bits_for(made.low, made.high), self.limit))
        return replace(made, value=self.gate(kind, operands, made, choice))


def weight_line(network: Network, axis: int, sizes: Axes, taps: list[Term]) -> list[Term]:
    """Return G·taps along a line of an axis that serves these sizes: as many taps as the largest, 4 positions."""
    if sizes[0] == 1:
        return taps * 4
    if sizes[0] == 2:
        g0, g1 = taps
        outer, last = g0, g1
    else:
        g0, g1, last, outer = network.between(*taps, network.add(taps[0], taps[2]))
    for size in sizes[1:]:
        last = network.select(axis, size, g1 if size == 2 else g0, last)
    return [g0, network.add(outer, g1), network.subtract(outer, g1), last]


def activation_line(network: Network, axis: int, sizes: Axes, inputs: list[Term]) -> list[Term]:
    """Return Bᵀ·inputs along a line of an axis that serves these sizes: 4 positions."""
    if sizes == (1,):
        return inputs
    x0, x1, x2, x3 = inputs
    last = network.subtract(x1, x3)
    first, second = x1, x2
    if 1 in sizes:
        first, second = network.clear(axis, 1, x1), network.clear(axis, 1, x2)
        last = network.select(axis, 1, x3, last)
    return [network.subtract(x0, second), network.add(x1, second), network.subtract(x2, first), last]


def axis_links(sizes: Axes, size: int) -> Axes:
    """Return the links of a line that serves `sizes` which hold the outputs of one of them, in order."""
    return (0, 2) if size == 3 and 2 in sizes else tuple(range(5 - size))


def partial_sum_line(network: Network, axis: int, sizes: Axes, sums: list[Term]) -> list[Term]:
    """Return Aᵀ·sums along a line of an axis that serves these sizes: its links, as many as the smallest needs."""
    if sizes == (1,):
        return sums
    m0, m1, m2, m3 = sums
    total, difference = network.add(m1, m2), network.subtract(m1, m2)
    if 1 in sizes:
        return _also_direct(network, axis, sizes, sums, total, difference)
    m0, total, difference, m3 = network.between(m0, total, difference, m3)
    first = network.add_twice(total, m0)
    if sizes == (3,):
        return [first, network.subtract_twice(difference, m3)]
    inner = network.select(axis, 2, total, difference) if 3 in sizes else total
    return [first, difference, network.subtract_twice(inner, m3)]


def _also_direct(
    network: Network, axis: int, sizes: Axes, sums: list[Term], total: Term, difference: Term
) -> list[Term]:
    """Return the links of an axis that serves 1 beside other sizes, given their sum and difference."""
    m0, m1, m2, m3 = sums
    base = network.clear(axis, 1, total)
    if 2 not in sizes:
        m0, m1, m2, m3, base, difference = network.between(m0, m1, m2, m3, base, difference)
        outer = network.subtract_twice(network.unused(axis, 1, difference), network.unused(axis, 1, m3))
        second, third = network.select(axis, 1, network.twice(m1), outer), network.twice(m2)
    else:
        second = network.select(axis, 1, network.twice(m1), difference)
        m0, m2, m3, base, second = network.between(m0, m2, m3, base, second)
        if network.every_adder:  # fewer registers; else a selector less on the path, and fewer LUTs
            total, difference = base, second
        inner = network.select(axis, 2, total, network.unused(axis, 1, difference)) if 3 in sizes else total
        outer = network.subtract_twice(network.unused(axis, 1, inner), network.unused(axis, 1, m3))
        third = network.select(axis, 1, network.twice(m2), outer)
    return [network.add_twice(base, m0), second, third, network.twice(m3)]
