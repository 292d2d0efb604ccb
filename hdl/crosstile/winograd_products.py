"""The array of the Winograd engine: products of tiles, position by position, added up over the channels."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .multiplier import Multiplier
from .multiplier_array import Bounded, adder_tree
from .streams import delay
from .winograd_plan import WinogradPlan
from .winograd_transform import WeightTransform, tile_layout


class WinogradProducts(wiring.Component):
    """Multiplies tiles by the weights at an address and adds up each position over the channels of a pass.

        sums[lane][position] = Σ_channel weight[address][lane][channel][position] · operand[channel][position]

    Every position has words of its own width, and keeps no bit that the results do not show: sums are right modulo
    2^`WinogradNumbers.sum_bits`.

    Members: `address` in the cycle of issue, `switch` the sizes of its weights; `operands`, `TileStore.READ_CYCLES` +
    `WinogradPlan.weight_cycles` later; `issue` and `last` as the products of the operation are added to the sums,
    `WinogradPlan.lead_cycles` after issue; `sums` one cycle after `last`.
    """

    def __init__(self, plan: WinogradPlan):
        self.plan = plan
        numbers = plan.numbers
        self.tile = tile_layout(numbers.activation_transform.outputs)
        super().__init__({
            "address": In(range(len(numbers.weight_words))), "switch": In(sum(numbers.weight_transform.switch_bits)),
            "operands": In(self.tile.size * plan.fold.operands), "issue": In(1), "last": In(1),
            "sums": Out(sum(plan.numbers.sum_bits) * plan.fold.filter_lanes),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return weights, multipliers, adder trees and accumulators."""
        m = Module()
        plan, fold = self.plan, self.plan.fold
        weights = self._weights(m)
        low, high = plan.numbers.product_range
        sums: list[Value] = []
        for lane in range(fold.filter_lanes):
            for position, bits in enumerate(plan.numbers.sum_bits):
                products = []
                for channel in range(fold.channels):
                    operand = self._operand(lane // fold.filters * fold.channels + channel, position)
                    weight = weights[(lane * fold.channels + channel) * plan.numbers.positions + position]
                    name = f"multiplier_{lane}_{channel}_{position}"
                    bounds = low[:, lane, channel, position], high[:, lane, channel, position]
                    products.append(Bounded(self._product(m, name, operand, weight), *bounds))
                total = adder_tree(m, products, f"tree_{lane}_{position}", bits)
                sums.append(self._sum(m, total.value, bits, f"sum_{lane}_{position}"))
        m.d.comb += self.sums.eq(Cat(*sums))
        return m

    def _operand(self, tile: int, position: int) -> Value:
        field = self.tile[position]
        word: Value = self.operands[tile * self.tile.size + field.offset :][: field.width]
        return word.as_signed() if field.shape.signed else word

    @staticmethod
    def _product(m: Module, name: str, operand: Value, weight: Value) -> Value:
        """Return operand · weight, `Multiplier.LATENCY` cycles later."""
        m.submodules[name] = multiplier = Multiplier(len(operand) + (not operand.shape().signed), len(weight))
        m.d.comb += [multiplier.a.eq(operand), multiplier.b.eq(weight)]
        return multiplier.y

    def _sum(self, m: Module, term: Value, bits: int, name: str) -> Value:
        """Return the sum over a pass: what is accumulated is cleared as it leaves, which costs no selector.

        A register halves the way from the columns of multipliers to the accumulators.
        """
        total = Signal(signed(bits), name=name, reset_less=True)
        if self.plan.channel_groups == 1:
            m.d.sync += total.eq(term)
            return total
        term = delay(m, term, self.plan.gather_cycles, f"{name}_term")
        accumulator = Signal(signed(bits), name=f"{name}_accumulator")
        following = Signal(signed(bits), name=f"{name}_following")
        m.d.comb += following.eq(accumulator + term)
        m.d.sync += total.eq(following)
        with m.If(self.issue):
            m.d.sync += accumulator.eq(Mux(self.last, 0, following))
        return total

    def _weights(self, m: Module) -> list[Value]:
        """Return the weights at the address, (lane, channel, position), when the operands come."""
        plan = self.plan
        raw = plan.weights == "raw"
        words = plan.numbers.raw_words if raw else plan.numbers.weight_words
        rows = words.reshape(len(words), -1).tolist()
        count = len(rows[0])
        taps = (plan.layer.weight_bits,) * words.shape[-1] if raw else plan.numbers.weight_bits
        bits = [taps[index % len(taps)] for index in range(count)]
        stored = self._stored(m, rows, bits)
        if not raw:
            stored = delay(m, stored, plan.weight_cycles, "near")
        fields, offset = [], 0
        for width in bits:
            fields.append(stored[offset : offset + width].as_signed())
            offset += width
        return self._transformed(m, fields) if raw else fields

    def _transformed(self, m: Module, taps: list[Value]) -> list[Value]:
        """Return raw weights, transformed `WinogradPlan.weight_cycles` later."""
        plan = self.plan
        transform = plan.numbers.weight_transform
        size, made = len(transform.inputs()), []
        switch = delay(m, self.switch, 1, "switch")  # a cycle before the stored weights, which take two
        for index in range(plan.fold.products):
            m.submodules[f"transform_{index}"] = block = WeightTransform(transform)
            for place, tap in enumerate(taps[index * size : (index + 1) * size]):
                m.d.comb += block.inputs[place].eq(tap)
            if "switch_word" in block.signature.members:
                m.d.comb += block.switch_word.eq(switch)
            made += [Value.cast(block.outputs[position]) for position in range(plan.numbers.positions)]
        return made

    def _stored(self, m: Module, rows: list[list[int]], bits: list[int]) -> Value:
        """Return what a memory that is never written holds at the address, two cycles later."""
        width = sum(bits)
        attributes = {"rom_style": "block"} if self.plan.weights_in_blocks else {}
        words = [_packed(row, bits) for row in rows]
        m.submodules.weights = memory = Memory(shape=width, depth=len(words), init=words, attrs=attributes)
        read = memory.read_port(domain="sync")
        register = Signal(width, name="weight", reset_less=True)
        m.d.comb += read.addr.eq(self.address)
        m.d.sync += register.eq(read.data)
        return register


def _packed(values: list[int], bits: list[int]) -> int:
    """Return values side by side in one integer, the first in the least significant bits."""
    word, offset = 0, 0
    for value, width in zip(values, bits, strict=True):
        word |= (value & (1 << width) - 1) << offset
        offset += width
    return word
