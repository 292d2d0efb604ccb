"""The scales of a network with residuals: tensors that meet share a mantissa, so that a shift aligns them."""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp, ldexp

from .numbers import NumberFormat

TOLERANCE = 1 + 2.0**-40  # a mantissa that went through a pool's factor and back is rounded


@dataclass(frozen=True)
class Scale:
    """A scale s = q·2^n with 1 ≤ q < 2 and whole n: integer = real·s (US 12014273, equation 3)."""

    q: float
    n: int

    @staticmethod
    def of(value: float) -> Scale:
        """Split a positive scale exactly: n = ⌊log2 s⌋, q = s / 2^n."""
        mantissa, exponent = frexp(value)
        return Scale(2 * mantissa, exponent - 1)

    @staticmethod
    def for_largest(largest: float, number_format: NumberFormat) -> Scale:
        """Return s = (greatest integer) / max|v|: 2^(p−1) − 1 where signed, 2^p − 1 where unsigned."""
        return Scale.of(number_format.maximum / largest)

    @staticmethod
    def below(limit: float, q: float) -> Scale:
        """Return the greatest scale of mantissa q that does not exceed the limit."""
        return Scale(q, Scale.of(limit / q * TOLERANCE).n)

    @property
    def value(self) -> float:
        """The scale itself, q·2^n."""
        return ldexp(self.q, self.n)


Tensor = tuple[str, str]  # what it is ("output" of a stage, "sum" of a convolution) and the stage's name


@dataclass(frozen=True)
class Rule:
    """Where a tensor's scale comes from.

        limit alone         free: any scale up to the limit
        limit and parent    the parent's mantissa q, and the exponent free up to the limit
        parent and factor   the parent's scale times the factor: count / 2^shift of an average, 2^−shift of a sum
    """

    limit: float | None
    parent: Tensor | None = None
    factor: float = 1.0


def choose_scales(rules: dict[Tensor, Rule]) -> dict[Tensor, Scale]:
    """Return every tensor's scale, given the rules, parents before children.

    A residual and the sum that it joins need scales of one mantissa q, since then a shift aligns them exactly;
    so a group of tensors that meet in Adds has one q (times a pool's factor where one is between). Each of them
    takes the greatest n that keeps its own limit. The group's q is, of the mantissas of its members' limits, the
    one that adds the least quantisation noise: least Σ (limit / scale)² over the members. Between two of these
    candidates every member's loss falls as q grows, so that no other q is better.
    """
    paths = _paths(rules)
    scales: dict[Tensor, Scale] = {}
    for tensor, rule in rules.items():
        if rule.parent is not None:
            carried = Scale.of(scales[rule.parent].value * rule.factor)
            scales[tensor] = carried if rule.limit is None else Scale.below(rule.limit, carried.q)
        elif rule.limit is not None:
            group = [(rules[other].limit, factor) for other, (root, factor) in paths.items() if root == tensor]
            members = [(limit, factor) for limit, factor in group if limit is not None]
            scales[tensor] = Scale.below(rule.limit, _best_mantissa(members))
    return scales


def _paths(rules: dict[Tensor, Rule]) -> dict[Tensor, tuple[Tensor, float]]:
    """Return each tensor's root, and the product of the factors from there to it."""
    paths: dict[Tensor, tuple[Tensor, float]] = {}
    for tensor, rule in rules.items():
        root, factor = (tensor, 1.0) if rule.parent is None else paths[rule.parent]
        paths[tensor] = root, factor * rule.factor
    return paths


def _best_mantissa(members: list[tuple[float, float]]) -> float:
    """Return the q that loses least over (limit, factor) pairs: a member's mantissa is that of q·factor."""

    def noise(q: float) -> float:
        losses = (limit / Scale.below(limit, Scale.of(q * factor).q).value for limit, factor in members)
        return sum(loss**2 for loss in losses)

    return min((Scale.of(limit / factor).q for limit, factor in members), key=noise)
