"""The Winograd transforms of weights, activations and partial sums as gates: adders, selectors and registers."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value
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

    switches   per switched axis its switch, one entry per cycle after the tile's, made as they are needed
    """

    m: Module = field(default_factory=Module)
    switches: dict[int, list[Value]] = field(default_factory=dict)
    made: int = 0

    def gate(self, kind: str, operands: tuple[Term, ...], made: Term, axis: int) -> Value:
        """Return the signal of a term."""
        values = [operand.value for operand in operands]
        match kind:
            case "add":
                return self._signal(kind, made, values[0] + values[1])
            case "subtract":
                return self._signal(kind, made, values[0] - values[1])
            case "select":
                return self._signal(kind, made, Mux(self._switch(axis, made.cycle), values[1], values[0]))
            case "register":
                return self._signal(kind, made, values[0])
        low, high = values[0][0], values[0][1:]
        half = high.as_signed() if operands[0].low < 0 else high
        total = half + values[1] if kind == "add_twice" else half - values[1]
        both = Cat(low, self._signal(kind, replace(made, bits=made.bits - 1), total))
        return both.as_signed() if made.low < 0 else both

    def _signal(self, kind: str, made: Term, value: Value) -> Signal:
        """Return a signal of a term's shape: a register, or not."""
        self.made += 1
        registered = kind == "register"
        signal = Signal(Shape(made.bits, made.low < 0), name=f"{kind}_{self.made}", reset_less=registered)
        self.m.d["sync" if registered else "comb"] += signal.eq(value)
        return signal

    def _switch(self, axis: int, cycle: int) -> Value:
        """Return an axis' switch so many cycles after the tile's."""
        switches = self.switches[axis]
        while len(switches) <= cycle:
            later = Signal(name=f"switch_{axis}_{len(switches)}", reset_less=True)
            self.m.d.sync += later.eq(switches[-1])
            switches.append(later)
        return switches[cycle]


class _Transform(wiring.Component):
    """A transform of a plan: `inputs`, `outputs`, and `size_two` where axes are switched."""

    inputs: data.View
    outputs: data.View
    size_two: Signal

    def __init__(self, plan: NestedPlan):
        self.plan = plan
        members: dict[str, Any] = {
            "inputs": In(tile_layout(plan.inputs())),
            "outputs": Out(tile_layout(plan.outputs)),
        }
        if plan.switched_axes:
            members["size_two"] = In(len(plan.switched_axes))
        super().__init__(members)

    def elaborate(self, _platform: object) -> Module:
        """Return the network, its axes one after the other, and the switches' registers."""
        m = Module()
        plan, counted = self.plan, self.plan.network()
        network = Gates(counted.kernels, counted.limit, counted.every_adder, m=m)
        for bit, axis in enumerate(plan.switched_axes):
            switch = Signal(name=f"switch_{axis}_0", reset_less=True)
            m.d.sync += switch.eq(self.size_two[bit])
            network.switches[axis] = [switch]
        inputs = plan.inputs([self.inputs[index] for index in range(len(plan.input_ranges))])
        for index, term in enumerate(plan.transform(network, inputs, plan.order)):
            m.d.comb += self.outputs[index].eq(term.value)
        return m


class WeightTransform(_Transform):
    """outputs = G·inputs along every axis: weights to a tile, by adders and selectors alone.

        size 3   g0, g0 + g1 + g2, g0 − g1 + g2, g2        size 2   g0, g0 + g1, g0 − g1, g1

    The Winograd method compatible with multi-dimensional networks, claim 4. `WeightTransformPlan` has widths and
    counts; `tile_layout` the order of inputs and outputs.

    Members: `inputs`, the taps; `outputs`, 4 along each axis, `plan.latency` cycles later; `size_two`, where axes are
    switched, one bit per switched axis, outermost in bit 0: 1 for size 2, in the cycle before its tile.
    Timing: a tile per cycle, any size after any other.
    """

    def __init__(self, plan: WeightTransformPlan):
        super().__init__(plan)


class ActivationTransform(_Transform):
    """outputs = Bᵀ·inputs along every axis, for kernels of 3 and of 2 alike, by adders alone.

        x0 − x2, x1 + x2, x2 − x1, x1 − x3

    `ActivationTransformPlan` has widths and counts; `tile_layout` the order of inputs and outputs.

    Members: `inputs`, 4 activations along each axis; `outputs`, as many, `plan.latency` cycles later.
    Timing: a tile per cycle.
    """

    def __init__(self, plan: ActivationTransformPlan):
        super().__init__(plan)


class PartialSumTransform(_Transform):
    """outputs = Aᵀ·inputs along every axis: partial sums to 2^D times the results, by adders and selectors alone.

        size 3   2·m0 + m1 + m2, m1 − m2 − 2·m3        size 2   2·m0 + m1 + m2, m1 − m2, m1 + m2 − 2·m3

    The Winograd method compatible with multi-dimensional networks, claims 5 and 6. `PartialSumTransformPlan` has
    widths, counts and the `links` that are valid; `tile_layout` the order of inputs and outputs.

    Members: `inputs`, 4 partial sums along each axis, channels added up; `outputs`, 2 along an axis of size 3, else
    3, `plan.latency` cycles later; `size_two` as that of `WeightTransform`.
    Timing: a tile per cycle, any size after any other.
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
