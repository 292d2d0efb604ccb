"""The multipliers of the reuse-grouped engine: every tap has its own, and each takes the input of its class."""

from amaranth.hdl import Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .fold import weights_in_blocks
from .multiplier import Multiplier
from .multiplier_array import Bounded, adder_tree, registered
from .reuse_plan import ReusePlan
from .streams import beat_layout

WEIGHT_CYCLES = 2  # from an address to its weights


class ReuseArray(wiring.Component):
    """Multiplies each tap's operand by the weights at an address and sums each column's products.

        sums[column][lane] = Σ_{tap of the column, channel} weight[address][tap][lane][channel] · operand_tap[channel]

    Filters share a tap's operand: each activation is fetched once for all of them. A column is the taps of one
    reach modulo q along every axis; at stride 1, where q > J, that is a tap. Weights are in a memory that the
    Verilog initialises.

    Members: `address`; `operand_0` and on, per tap: the bits of a beat, `WEIGHT_CYCLES` after it; `sums`, after 2
    cycles for the product and `ReusePlan.tree_levels` more.
    Timing: an operation per cycle.
    """

    def __init__(self, plan: ReusePlan):
        self.plan = plan
        self.operand_layout = beat_layout(plan.input_format, plan.fold.channels)
        sums = data.ArrayLayout(signed(plan.sum_bits(len(plan.axes))), plan.fold.filters)
        super().__init__({
            "address": In(range(len(plan.weight_words))),
            **{f"operand_{tap}": In(self.operand_layout.size) for tap in range(len(plan.taps))},
            "sums": Out(data.ArrayLayout(sums, len(plan.columns))),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the weight memory, the products and the adder trees."""
        m = Module()
        plan = self.plan
        weights = self._weights(m)
        for column, taps in enumerate(plan.columns):
            for lane in range(plan.fold.filters):
                places = [(tap, lane, channel) for tap in taps for channel in range(plan.fold.channels)]
                products = [self._product(m, place, weights) for place in places]
                total = adder_tree(m, products, f"sum_{column}_{lane}")
                for late in range((len(products) - 1).bit_length(), plan.tree_levels):
                    total = registered(m, total.value, total.low, total.high, f"sum_{column}_{lane}_late_{late}")
                m.d.comb += self.sums[column][lane].eq(total.value)
        return m

    def _product(self, m: Module, place: tuple[int, int, int], weights: Value) -> Bounded:
        """Return the product of one tap, filter lane and channel, with its bounds."""
        plan, (tap, lane, channel) = self.plan, place
        number_format, bits = plan.input_format, plan.layer.weight_bits
        index = (tap * plan.fold.filters + lane) * plan.fold.channels + channel
        multiplier = Multiplier(number_format.bits + (not number_format.signed), bits)
        m.submodules[f"multiplier_{tap}_{lane}_{channel}"] = multiplier
        m.d.comb += [
            multiplier.a.eq(data.View(self.operand_layout, getattr(self, f"operand_{tap}"))[channel]),
            multiplier.b.eq(weights.word_select(index, bits).as_signed()),
        ]
        low, high = (bound[(slice(None), *place)] for bound in plan.product_range)
        return Bounded(multiplier.y, low, high)

    def _weights(self, m: Module) -> Value:
        """Return the weights at the address, `WEIGHT_CYCLES` after it was given."""
        plan = self.plan
        bits, width, depth = plan.layer.weight_bits, plan.layer.weight_bits * plan.multipliers, len(plan.weight_words)
        values = [
            sum((value & (1 << bits) - 1) << bits * n for n, value in enumerate(word.ravel().tolist()))
            for word in plan.weight_words
        ]
        attributes = {"rom_style": "block"} if weights_in_blocks(depth, width) else {}
        m.submodules.weights = memory = Memory(shape=width, depth=depth, init=values, attrs=attributes)
        read = memory.read_port(domain="sync")
        register = Signal(width, name="weight", reset_less=True)
        m.d.comb += read.addr.eq(self.address)
        m.d.sync += register.eq(read.data)
        return register


def accumulated(m: Module, sums: data.View, first: Value, add: Value) -> Value:
    """Return sums added up over the channel groups, one cycle later; `first` starts anew, `add` takes one."""
    columns: data.ArrayLayout = sums.shape()
    lanes = columns.elem_shape
    total = Signal(columns, name="channel_sums", reset_less=True)
    for column in range(columns.length):
        for lane in range(lanes.length):
            before, own = total[column][lane], sums[column][lane]
            kept = (before & (~first).replicate(len(before))).as_signed()
            with m.If(add):
                m.d.sync += before.eq(kept + own)
    return total.as_value()
