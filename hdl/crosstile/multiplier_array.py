"""The crosspoint array: stationary weights, one product per crosspoint, one sum per column."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from crosstile_golden.numbers import Integers, signed_bits_for

from .crosspoint_plan import CrosspointPlan
from .fold import weights_in_blocks
from .load_bus import WORD_BITS, Contents, LoadedMemory, load_bus
from .multiplier import Multiplier
from .streams import beat_layout


def weight_contents(plan: CrosspointPlan) -> Contents:
    """Return a loadable layer's weights: a row per address; in a word ⌊32 / weight bits⌋ weights, none cut.

    Weights follow each other as in `CrosspointPlan.weight_words`: column, then product; the first in the least
    significant bits.
    """
    bits, count = plan.layer.weight_bits, plan.fold.multipliers
    starts = range(0, count, WORD_BITS // bits)
    ends = [*starts[1:], count]
    rows = plan.weight_words.reshape(-1, count)
    words = (tuple(_pack(row[a:b], bits) for a, b in zip(starts, ends, strict=True)) for row in rows)
    return Contents(tuple((b - a) * bits for a, b in zip(starts, ends, strict=True)), tuple(words))


@dataclass(frozen=True)
class Bounded:
    """A signal with the least and the greatest value that it takes for each address of the weights."""

    value: Value
    low: Integers
    high: Integers

    @property
    def bits(self) -> int:
        """Width that the worst address needs, two's complement."""
        return signed_bits_for(int(self.low.min()), int(self.high.max()))


def registered(m: Module, value: Value, low: Integers, high: Integers, name: str, limit: int | None = None) -> Bounded:
    """Return `value` one cycle later, as narrow as its bounds, or the bits that are of interest, allow."""
    bounded = Bounded(value, low, high)
    bits = bounded.bits if limit is None else min(bounded.bits, limit)
    register = Signal(signed(bits), name=name, reset_less=True)
    m.d.sync += register.eq(value)
    return Bounded(register, low, high)


def adder_tree(m: Module, terms: Sequence[Bounded], name: str, limit: int | None = None) -> Bounded:
    """Return the sum of `terms` by a balanced tree with a register per level: ⌈log2(terms)⌉ cycles.

    Where there is a `limit`, sums are right modulo 2^limit and keep no more bits.
    """
    level = 0
    while len(terms) > 1:
        following = []
        for index in range(0, len(terms) - 1, 2):
            a, b = terms[index], terms[index + 1]
            label = f"{name}_{level}_{index // 2}"
            following.append(registered(m, a.value + b.value, a.low + b.low, a.high + b.high, label, limit))
        if len(terms) % 2:
            odd = terms[-1]
            following.append(registered(m, odd.value, odd.low, odd.high, f"{name}_{level}_odd", limit))
        terms, level = following, level + 1
    return terms[0]


class MultiplierArray(wiring.Component):
    """Multiplies operands by the weights at an address and sums each column's products.

        sums[column] = Σ_product weight[address][column][product] · operands[product]

    Weights stay where they are, in a memory that the Verilog initialises; columns share the operands
    (US 2020/0117986 [0061]). Widths follow from the weights themselves, address by address, or, where the
    plan is loadable, from the width of a weight.

    Members: `address` in the cycle of issue; `operands`, shape (kernel column, channel), two cycles later;
    `sums`, one signed value per column, 4 + ⌈log2(products per column)⌉ cycles after issue; `load`, where the
    plan is loadable, see `load_bus` and `weight_contents`.
    """

    load: wiring.PureInterface

    def __init__(self, plan: CrosspointPlan):
        self.plan = plan
        beat = beat_layout(plan.layer.input_format, plan.fold.lanes_in)
        low, high = (bound.sum(axis=2) for bound in plan.product_range)
        self.sum_bits = signed_bits_for(int(low.min()), int(high.max()))
        members = {
            "address": In(range(len(plan.weight_words))),
            "operands": In(data.ArrayLayout(beat, plan.fold.kernel_columns)),
            "sums": Out(data.ArrayLayout(signed(self.sum_bits), plan.columns)),
        }
        if plan.loadable:
            members["load"] = In(load_bus(weight_contents(plan).address_bits))
        super().__init__(members)

    def elaborate(self, _platform: object) -> Module:
        """Return the weight memory, the products and the adder trees."""
        m = Module()
        plan = self.plan
        weights = self._weights(m)
        low, high = plan.product_range
        for column in range(plan.columns):
            products = []
            for index in range(plan.products_per_column):
                tap, channel = divmod(index, plan.fold.channels)
                group = column % plan.fold.lanes_out // plan.fold.filters
                operand = self.operands[tap][group * plan.fold.channels + channel]
                weight = weights[column * plan.products_per_column + index]
                bounds = low[:, column, index], high[:, column, index]
                products.append(Bounded(self._product(m, f"multiplier_{column}_{index}", operand, weight), *bounds))
            total = adder_tree(m, products, f"sum_{column}")
            m.d.comb += self.sums[column].eq(total.value[: total.bits].as_signed())
        return m

    def _product(self, m: Module, name: str, operand: Value, weight: Value) -> Value:
        """Return operand · weight, `Multiplier.LATENCY` cycles later."""
        number_format = self.plan.layer.input_format
        unsigned_bit = 0 if number_format.signed else 1
        multiplier = Multiplier(number_format.bits + unsigned_bit, self.plan.layer.weight_bits)
        m.submodules[name] = multiplier
        m.d.comb += [multiplier.a.eq(operand), multiplier.b.eq(weight)]
        return multiplier.y

    def _weights(self, m: Module) -> list[Value]:
        """Return the weights at the address, two cycles after it was given."""
        plan = self.plan
        bits, count, depth = plan.layer.weight_bits, plan.fold.multipliers, len(plan.weight_words)
        large = weights_in_blocks(depth, bits * count)
        stored = self._loaded(m, large) if plan.loadable else self._fixed(m, large)
        register: Value = stored
        if depth > 1 or not plan.loadable:
            register = Signal(bits * count, name="weight", reset_less=True)
            m.d.sync += register.eq(stored)
        return [register.word_select(index, bits).as_signed() for index in range(count)]

    def _fixed(self, m: Module, large: bool) -> Value:
        """Return the weights at the address from a memory that is never written, one cycle later."""
        bits, words = self.plan.layer.weight_bits, self.plan.weight_words
        values = [_pack(word.ravel(), bits) for word in words]
        attributes = {"rom_style": "block"} if large else {}
        width = bits * self.plan.fold.multipliers
        m.submodules.weights = memory = Memory(shape=width, depth=len(values), init=values, attrs=attributes)
        read = memory.read_port(domain="sync")
        m.d.comb += read.addr.eq(self.address)
        return read.data

    def _loaded(self, m: Module, large: bool) -> Value:
        """Return the weights at the address from a memory behind the load bus, one cycle later."""
        m.submodules.weights = memory = LoadedMemory(weight_contents(self.plan), block=large)
        wiring.connect(m, memory.load, wiring.flipped(self.load))
        m.d.comb += memory.address.eq(self.address)
        return memory.data


def _pack(values: Integers, bits: int) -> int:
    """Return values side by side in one integer, the first in the least significant bits."""
    unsigned = np.bitwise_and(values, (1 << bits) - 1).tolist()
    return sum(value << (index * bits) for index, value in enumerate(unsigned))
