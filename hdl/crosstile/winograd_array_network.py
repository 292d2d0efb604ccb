"""The adder networks of the Winograd array along one axis: those of `winograd_network`, and a way past each axis.

    weights       h = g0 + g2;  g0, h + g1, h − g1, (g2 or g1)        3 adders, 1 selector
    activations   x0 − x2, x1 + x2, x2 − x1, x3 − x1                  4 adders
    partial sums  s = (m1 + m2)/2, d = (m1 − m2)/2
                  m0 + s, d, (d or s) + m3                            4 adders, 1 selector

    past an axis, four words as they are:
    weights       h is 0, and the third word is selected              2 selectors more
    activations   x1 and x2 are 0 where they are the second operand   2 selectors more
    partial sums  s and (d or s) are 0, and m1 is selected for d      3 selectors more

The last position is the negative of that of `winograd_network`, in activations and in partial sums, so that nothing
has to change its sign on the way past. With products in place of any numbers m1 + m2 is twice a whole number, whatever
the weights and the activations: the scale 2^D of a result goes axis by axis, by wires, and only where the axis is
used, so no selector is needed for it. And the terms of the result do not depend on each other, so the widths of
partial sums come from the tiles and not from the operands of an adder (`winograd_array_ranges`).
"""

from collections.abc import Callable
from dataclasses import replace

from amaranth.hdl import Value
from crosstile_golden.geometry import Axes

from .winograd_array_ranges import FIRST, LAST, MIDDLE, SECOND, SPARE, Ranges
from .winograd_network import Network, Term
from .winograd_transform import Gates


class ArrayNetwork(Network):
    """A network whose `kernels` have a 1 where a tile passes an axis by."""

    def sizes(self, axis: int) -> Axes:
        """Return the sizes that an axis serves, the largest first."""
        return tuple(sorted({kernel[axis] for kernel in self.kernels}, reverse=True))

    def used(self, axis: int, term: Term) -> Term:
        """Return the term, and 0 on the way past an axis."""
        return self.clear(axis, 1, term) if 1 in self.sizes(axis) else term

    def past(self, axis: int, past: Term, term: Term) -> Term:
        """Return the term, and another one on the way past an axis."""
        return self.select(axis, 1, past, term) if 1 in self.sizes(axis) else term

    def narrow(self, term: Term, ranges: Ranges) -> Term:
        """Return the term as narrow as these ranges: what it is for other tiles is not used."""
        return self._made("narrow", (term,), ranges)

    def total(self, a: Term, b: Term, ranges: Ranges) -> Term:
        """Return a + b, of which these ranges are known."""
        return self._counted(self._made("add", (a, b), ranges), 0)

    def half_sum(self, a: Term, b: Term, ranges: Ranges) -> Term:
        """Return (a + b)/2 of terms whose lowest bits are alike."""
        made = self._made("half_sum", (a, b), ranges)
        return self._counted(replace(made, levels=made.levels + 1, depth=made.depth + 1), 1)

    def half_difference(self, a: Term, b: Term, ranges: Ranges) -> Term:
        """Return (a − b)/2 of terms whose lowest bits are alike: nothing is borrowed, and they are left out."""
        made = self._made("half_difference", (a, b), ranges)
        return self._counted(replace(made, levels=made.levels + 1, depth=made.depth + 1), 0)

    def _counted(self, made: Term, more_bits: int) -> Term:
        self.adders += 1
        self.adder_bits += made.bits + more_bits
        self.deepest = max(self.deepest, made.depth)
        return made


class ArrayGates(ArrayNetwork, Gates):
    """The same as gates."""

    def gate(self, kind: str, operands: tuple[Term, ...], made: Term, choice: tuple[int, int] | None) -> Value:
        """Return the signal of a term."""
        if kind in ("half_sum", "half_difference"):
            a, b = (operand.value for operand in operands)
            value = (a + b).shift_right(1) if kind == "half_sum" else a.shift_right(1) - b.shift_right(1)
            return self._signal(kind, made.bits, made, value)
        return super().gate(kind, operands, made, choice)


def weight_line(network: ArrayNetwork, axis: int, words: list[Term]) -> list[Term]:
    """Return 4 positions of the weights of a line: of 4 words where the axis may be passed by, else of 3."""
    g0, g1, *spare, g2 = words
    outer = network.used(axis, network.add(g0, g2))
    g0, g1, outer, last, *spare = network.between(g0, g1, outer, network.select(axis, 2, g1, g2), *spare)
    inner = network.subtract(outer, g1)
    return [g0, network.add(outer, g1), network.past(axis, spare[0], inner) if spare else inner, last]


def activation_line(network: ArrayNetwork, axis: int, inputs: list[Term]) -> list[Term]:
    """Return 4 positions of a line of activations."""
    x0, x1, x2, x3 = inputs
    first, second = network.used(axis, x1), network.used(axis, x2)
    return [
        network.subtract(x0, second), network.add(x1, second), network.subtract(x2, first), network.subtract(x3, first)
    ]  # fmt: skip


def partial_sum_line(
    network: ArrayNetwork, axis: int, sums: list[Term], ranges: Callable[[str], Ranges]
) -> list[Term]:
    """Return the outputs of a line of sums: 4 where the axis may be passed by, else 3; `ranges` are those of a word."""
    m0, m1, m2, m3 = sums
    half_sum = network.half_sum(m1, m2, ranges(MIDDLE))
    half_difference = network.half_difference(m1, m2, ranges(MIDDLE))
    outer = network.used(axis, half_sum)
    inner = network.used(axis, network.select(axis, 2, half_sum, half_difference))
    second = network.past(axis, m1, network.narrow(half_difference, ranges(SECOND)))
    spare = [network.narrow(m2, ranges(SPARE))] if 1 in network.sizes(axis) else []
    m0, m3, outer, inner, second, *spare = network.between(m0, m3, outer, inner, second, *spare)
    return [network.total(m0, outer, ranges(FIRST)), second, *spare, network.total(inner, m3, ranges(LAST))]
