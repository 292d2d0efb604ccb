"""The adder networks of the Winograd transforms along one axis, each written once.

`Network` counts what a network is made of and bounds its terms; `winograd_transform` makes gates of the same calls.

    weights       h = g0 + g2;  g0, h + g1, h − g1, g2      size 3: 3 adders
                  g0, g0 + g1, g0 − g1, g1                  size 2: 2 adders
                  size 3 with g2 = 0; last, g2 or g1        switched: 3 adders, 1 selector
    activations   x0 − x2, x1 + x2, x2 − x1, x1 − x3        any size: 4 adders
    partial sums  s = m1 + m2, d = m1 − m2
                  2·m0 + s, d − 2·m3                        size 3: 4 adders
                  2·m0 + s, d, s − 2·m3                     size 2: 4 adders
                  2·m0 + s, d, (d or s) − 2·m3              switched: 4 adders, 1 selector

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

SWITCHED = 0
"""The size of an axis of which an input says, in the cycle before a tile, whether it is 3 or 2."""


@dataclass(frozen=True)
class Term:
    """A value in a network: its least and greatest value, its width, and what it took to make it.

    ranges    its ends, for each kernel that the network serves
    levels    adders on the longest path to it from the inputs; `depth`: from the last register
    cycle     registers on the way to it
    value     its signal, where gates are made
    """

    ranges: tuple[Ends, ...]
    bits: int
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


def bits_for(low: int, high: int) -> int:
    """Return the width of a value: unsigned where it cannot be negative, else two's complement."""
    return high.bit_length() if low >= 0 else signed_bits_for(low, high)


@dataclass
class Network:
    """Adds, subtracts, selects and registers terms, and counts that; a subclass makes the gates as well.

    kernels          the combinations of sizes that it serves
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

    def select(self, axis: int, three: Term, two: Term) -> Term:
        """Return that of two terms which belongs to the size of an axis."""
        deeper = three if three.depth >= two.depth else two
        of_kernels = zip(self.kernels, three.ranges, two.ranges, strict=True)
        ranges = tuple(ends[kernel[axis] == 2] for kernel, *ends in of_kernels)
        made = self._made("select", (three, two), replace(deeper, ranges=ranges), axis)
        self.selectors += 1
        self.selector_bits += made.bits
        return made

    def register(self, a: Term) -> Term:
        """Return the term one cycle later."""
        made = self._made("register", (a,), replace(a, depth=0, cycle=a.cycle + 1))
        self.register_bits += made.bits
        return made

    def between(self, *terms: Term) -> tuple[Term, ...]:
        """Return what passes from one adder of a line to the next, registered where every adder is."""
        return tuple(map(self.register, terms)) if self.every_adder else terms

    def gate(self, _kind: str, _operands: tuple[Term, ...], _made: Term, _axis: int) -> Any:
        """Return the signal of a term that is made so of the operands; `_axis` is a selector's."""
        return None

    def _adder(self, kind: str, a: Term, b: Term, factor: int) -> Term:
        levels, depth = max(a.levels, b.levels) + 1, max(a.depth, b.depth) + 1
        pairs = ((left, sorted((factor * right[0], factor * right[1])))
                 for left, right in zip(a.ranges, b.ranges, strict=True))  # fmt: skip
        ranges = tuple((left[0] + right[0], left[1] + right[1]) for left, right in pairs)
        made = self._made(kind, (a, b), Term(ranges, 0, levels, depth, a.cycle))
        self.adders += 1
        self.adder_bits += made.bits - (abs(factor) == 2)
        self.deepest = max(self.deepest, depth)
        return made

    def _made(self, kind: str, operands: tuple[Term, ...], made: Term, axis: int = 0) -> Term:
        made = replace(made, bits=min(bits_for(made.low, made.high), self.limit))
        return replace(made, value=self.gate(kind, operands, made, axis))


def weight_line(network: Network, axis: int, size: int, taps: list[Term]) -> list[Term]:
    """Return G·taps along a line of an axis: 2 taps of size 2, else 3."""
    if size == 2:
        g0, g1 = taps
        return [g0, network.add(g0, g1), network.subtract(g0, g1), g1]
    g0, g1, g2 = taps
    g0, g1, g2, outer = network.between(g0, g1, g2, network.add(g0, g2))
    last = network.select(axis, g2, g1) if size == SWITCHED else g2
    return [g0, network.add(outer, g1), network.subtract(outer, g1), last]


def activation_line(network: Network, inputs: list[Term]) -> list[Term]:
    """Return Bᵀ·inputs along a line."""
    x0, x1, x2, x3 = inputs
    return [network.subtract(x0, x2), network.add(x1, x2), network.subtract(x2, x1), network.subtract(x1, x3)]


def partial_sum_line(network: Network, axis: int, size: int, sums: list[Term]) -> list[Term]:
    """Return Aᵀ·sums along a line: 2 outputs of size 3, else 3."""
    m0, m1, m2, m3 = sums
    m0, total, difference, m3 = network.between(m0, network.add(m1, m2), network.subtract(m1, m2), m3)
    first = network.add_twice(total, m0)
    if size == 3:
        return [first, network.subtract_twice(difference, m3)]
    inner = network.select(axis, difference, total) if size == SWITCHED else total
    return [first, difference, network.subtract_twice(inner, m3)]
