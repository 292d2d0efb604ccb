"""The Winograd transforms of weights, activations and partial sums as gates: adders, selectors and registers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from amaranth.hdl import C, Cat, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .winograd_nested_plan import NestedPlan
from .winograd_network import Network, Term
from .winograd_transform_plan import ActivationTransformPlan, PartialSumTransformPlan, WeightTransformPlan


def tile_layout(terms: Sequence[Term]) -> data.FlexibleLayout:
    """Return the layout of a tile: field i is position i, row-major, side by side, 0 in the least significant bits.

    A field is as wide as its position needs: two's complement, or unsigned where it cannot be negative.
    """
    fields, offset = {}, 0
    for index, term in enumerate(terms):
        fields[index] = data.Field(Shape(term.bits, signed=term.low < 0), offset)
        offset += term.bits
    return data.FlexibleLayout(offset, fields)


@dataclass
class Gates(Network):
    """A network that is made of gates as it is counted.

    switches   per axis and size whether the axis has that size: of the tile that comes, of the one that is here, and
               of as many earlier ones as are needed
    """

    m: Module = field(default_factory=Module)
    switches: dict[tuple[int, int], list[Value]] = field(default_factory=dict)
    made: int = 0

    def gate(self, kind: str, operands: tuple[Term, ...], made: Term, choice: tuple[int, int] | None) -> Value:
        """Return the signal of a term: zeros, which are wires, below a word that is made."""
        if kind == "twice":
            return _signed(Cat(C(0, 1), operands[0].value)[: made.bits], made)
        words = [_word(operand, made.zeros) for operand in operands]
        if kind in ("add_twice", "subtract_twice"):
            half = _signed(words[0][1:], operands[0])
            total = half + words[1] if kind == "add_twice" else half - words[1]
            word = Cat(words[0][0], self._signal(kind, made.bits - made.zeros - 1, made, total))
        else:
            word = self._signal(kind, made.bits - made.zeros, made, self._value(kind, words, made, choice))
        return _signed(Cat(C(0, made.zeros), word), made)

    def _value(self, kind: str, words: list[Value], made: Term, choice: tuple[int, int] | None) -> Value:
        match kind:
            case "add":
                return words[0] + words[1]
            case "subtract":
                return words[0] - words[1]
        return Mux(self._switch(choice, made.cycle), *words) if choice else words[0]

    def _signal(self, kind: str, bits: int, made: Term, value: Value) -> Signal:
        """Return a signal of a value: a register, or not."""
        self.made += 1
        registered = kind == "register"
        signal = Signal(Shape(bits, made.low < 0), name=f"{kind}_{self.made}", reset_less=registered)
        self.m.d["sync" if registered else "comb"] += signal.eq(value)
        return signal

    def _switch(self, choice: tuple[int, int], cycle: int) -> Value:
        """Return whether an axis has a size, so many cycles after the tile's."""
        switches, (axis, size) = self.switches[choice], choice
        while len(switches) < cycle + 2:
            later = Signal(name=f"axis_{axis}_size_{size}_{len(switches) - 1}", reset_less=True)
            self.m.d.sync += later.eq(switches[-1])
            switches.append(later)
        return switches[cycle + 1]


def _word(term: Term, zeros: int) -> Value:
    """Return a term's signal without so many of its lowest bits."""
    return _signed(Value.cast(term.value)[zeros:], term)


def _signed(value: Value, term: Term) -> Value:
    return value.as_signed() if term.low < 0 else value


class _Transform(wiring.Component):
    """A transform of a plan: `inputs`, `outputs`, and `switch_word` where it needs to know a tile's sizes."""

    inputs: data.View
    outputs: data.View
    switch_word: Signal

    def __init__(self, plan: NestedPlan):
        self.plan = plan
        members: dict[str, Any] = {
            "inputs": In(tile_layout(plan.inputs())),
            "outputs": Out(tile_layout(plan.outputs)),
        }
        if plan.switched:
            members["switch_word"] = In(sum(plan.switch_bits))
        super().__init__(members)

    def elaborate(self, _platform: object) -> Module:
        """Return the network, its axes one after the other, and the switches' registers."""
        m = Module()
        plan, counted = self.plan, self.plan.network()
        network = Gates(counted.kernels, counted.limit, counted.every_adder, m=m)
        for axis in plan.switched_axes if plan.switched else ():
            for size in plan.kernel[axis][1:]:
                network.switches[axis, size] = [self.switch_word[plan.switch_bit(axis, size)]]
        inputs = plan.inputs([self.inputs[index] for index in range(len(plan.input_ranges))])
        for index, term in enumerate(plan.transform(network, inputs, plan.order)):
            m.d.comb += self.outputs[index].eq(term.value)
        return m


class WeightTransform(_Transform):
    """outputs = G·inputs along every axis: weights to a tile, by adders and selectors alone.

        size 3   g0, g0 + g1 + g2, g0 − g1 + g2, g2        size 2   g0, g0 + g1, g0 − g1, g1
        size 1   g0, g0, g0, g0

    The Winograd method compatible with multi-dimensional networks, claim 4. `WeightTransformPlan` has widths and
    counts; `tile_layout` the order of inputs and outputs.

    Members: `inputs`, the taps; `outputs`, 4 along each axis, `plan.latency` cycles later; `switch_word`, where
    `plan.switched`, `plan.switch_word(sizes)` in the cycle before a tile.
    Timing: a tile per cycle, any sizes after any others.
    """

    def __init__(self, plan: WeightTransformPlan):
        super().__init__(plan)


class ActivationTransform(_Transform):
    """outputs = Bᵀ·inputs along every axis, for kernels of 3 and of 2 alike, by adders and selectors alone.

        sizes 3 and 2   x0 − x2, x1 + x2, x2 − x1, x1 − x3        size 1   x0, x1, x2, x3

    The Winograd method compatible with multi-dimensional networks, claims 1 to 3: one module serves every kernel.

    `ActivationTransformPlan` has widths and counts; `tile_layout` the order of inputs and outputs.

    Members: `inputs`, 4 activations along each axis; `outputs`, as many, `plan.latency` cycles later;
    `switch_word` as that of `WeightTransform`, where an axis serves 1 beside other sizes.
    Timing: a tile per cycle, any sizes after any others.
    """

    def __init__(self, plan: ActivationTransformPlan):
        super().__init__(plan)


class PartialSumTransform(_Transform):
    """outputs = Aᵀ·inputs along every axis: partial sums to 2^D times the results, by adders and selectors alone.

        size 3   2·m0 + m1 + m2, m1 − m2 − 2·m3        size 2   2·m0 + m1 + m2, m1 − m2, m1 + m2 − 2·m3
        size 1   m0, m1, m2, m3, or twice that where the axis serves other sizes too

    The Winograd method compatible with multi-dimensional networks, claims 5 and 6. `PartialSumTransformPlan` has
    widths, counts and the `links` that are valid; `tile_layout` the order of inputs and outputs.

    Members: `inputs`, 4 partial sums along each axis, channels added up; `outputs`, `plan.link_shape`,
    `plan.latency` cycles later; `switch_word` as that of `WeightTransform`.
    Timing: a tile per cycle, any sizes after any others.
    """

    def __init__(self, plan: PartialSumTransformPlan):
        super().__init__(plan)


def transform_of(plan: NestedPlan) -> WeightTransform | ActivationTransform | PartialSumTransform:
    """Return the block of a plan.

    Raises `TypeError` for a plan of none of the three.
    """
    match plan:
        case WeightTransformPlan():
            return WeightTransform(plan)
        case ActivationTransformPlan():
            return ActivationTransform(plan)
        case PartialSumTransformPlan():
            return PartialSumTransform(plan)
    raise TypeError(f"no transform has a plan of type {type(plan).__name__}")
