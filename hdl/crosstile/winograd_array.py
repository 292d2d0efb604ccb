"""The Winograd array: 64 multipliers for tiles of one, two and three dimensions, switched from cycle to cycle."""

from dataclasses import replace

from amaranth.hdl import Const, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .multiplier import Multiplier
from .streams import delay
from .winograd_array_network import ArrayGates
from .winograd_array_plan import WinogradArrayPlan
from .winograd_network import Term
from .winograd_transform import tile_layout

MODE_BITS = 2


class WinogradArray(wiring.Component):
    """y[o] = Σ_channel Σ_t w[t]·x[o + t] of one 3D tile, four 2D tiles or sixteen 1D tiles in every cycle.

        activations -> depth -> row -> column -.
                                               x64 -> sums over channels -> column -> row -> depth -> outputs
        weights ----> depth -> row -> column -'

    The dimension judged, the weight, activation and partial-sum conversions, and the effective output link of the
    Winograd method compatible with multi-dimensional networks (claims 1 to 6) in one circuit. Its formula for three
    dimensions rotates a tile (R) between the conversion of rows and columns and that of the third direction, so that
    a product of matrices can reach it. Here every conversion is that of a line, and to rotate is to take the lines
    along another axis of the same 4·4·4 words: which wire goes where, and no gate. A 2D tile lies in one depth slice
    and a 1D tile in one line, so a dimension less is an axis passed by, its words kept as they are.

    Members (`WinogradArrayPlan` has widths, links and latency):
    mode, size_two   in the cycle before their tile. mode: 1, 2 or 3 dimensions; only where the plan has several.
                     size_two: per axis that the plan has, outermost in bit 0, whether its size is 2, else it is 3;
                     without effect along an axis that the mode does not have
    valid            a tile is here; first, last: of a sum over channels, only where the plan has several of them.
                     After a reset a sum begins with `first`; tiles of one sum have one mode and one size
    activations      word 16·depth + 4·row + column. 3D: a tile; 2D: tile t at depth t; 1D: tile 4·t + u at depth t,
                     row u
    weights          places as `crosstile_golden.winograd_array` has them, row-major: places 0, 1 and the last along
                     an axis of size 3, 0 and 1 of size 2 with 0 in the last, and tiles as activations have them
    outputs          places likewise, valid for a tile as `WinogradArrayPlan.links` says; the sums of plain
                     convolution themselves, nothing left to be shifted
    outputs_valid    these are the outputs of a sum whose last tile came `latency` cycles ago

    Timing: a tile per cycle, any mode and sizes after any others; nothing ever waits. Cycles that are not `valid`
    may come anywhere.
    """

    activations: data.View
    weights: data.View
    outputs: data.View
    mode: Signal
    size_two: Signal
    valid: Signal
    first: Signal
    last: Signal
    outputs_valid: Signal

    def __init__(self, plan: WinogradArrayPlan):
        self.plan = plan
        super().__init__({
            **({"mode": In(MODE_BITS)} if len(plan.dimensions) > 1 else {}), "size_two": In(len(plan.axes)),
            "valid": In(1), **({"first": In(1), "last": In(1)} if plan.channels > 1 else {}),
            "activations": In(tile_layout(plan.activations())), "weights": In(tile_layout(plan.weights())),
            "outputs": Out(tile_layout(plan.outputs)), "outputs_valid": Out(1),
        })  # fmt: skip

    def elaborate(self, _platform: object) -> Module:
        """Return the transforms, the multipliers and the sums between them."""
        m = Module()
        plan, counted = self.plan, self.plan.network()
        network = ArrayGates(counted.kernels, counted.limit, counted.every_adder, m=m, switches=self._switches())
        activations = plan.activations([self.activations[index] for index in range(len(plan.activations()))])
        weights = plan.weights([self.weights[index] for index in range(len(plan.weights()))])
        operands = zip(*plan.operands(network, activations, weights), strict=True)
        begins, adds, ends = self._flags(m)
        sums = []
        for index, ((a, w), term) in enumerate(zip(operands, plan.sums, strict=True)):
            product = self._product(m, f"multiplier_{index}", a, w)
            value = self._sum(m, f"{index}", product, term, begins, adds) if plan.channels > 1 else product
            sums.append(replace(term, value=value[: term.bits].as_signed()))
        for index, term in enumerate(plan.results(network, sums)):
            m.d.comb += self.outputs[index].eq(term.value)
        m.d.comb += self.outputs_valid.eq(ends)
        return m

    def _switches(self) -> dict[tuple[int, int], list[Value]]:
        """Return, per axis and size, whether the tile that comes next has that size along it."""
        switches: dict[tuple[int, int], list[Value]] = {}
        for bit, axis in enumerate(self.plan.axes):
            used: Value = Const(1)
            if 1 in self.plan.sizes(axis):
                modes = [dimension for dimension in self.plan.dimensions if axis >= 3 - dimension]
                used = Value.cast(self.mode).matches(*modes)
                switches[axis, 1] = [~used]
            switches[axis, 2] = [self.size_two[bit] & used]
        return switches

    def _flags(self, m: Module) -> tuple[Value, Value, Value]:
        """Return what happens to the sums: the next product begins one, this one is added; and a sum leaves."""
        plan = self.plan
        cycle = plan.transformed[0][0].cycle + Multiplier.LATENCY
        if plan.channels == 1:
            return Const(0), Const(0), delay(m, self.valid, plan.latency, "valid", resets=True)
        begins = delay(m, self.valid & self.first, cycle - 1, "begins", resets=True)
        adds = delay(m, self.valid, cycle, "adds", resets=True)
        return begins, adds, delay(m, self.valid & self.last, plan.latency, "ends", resets=True)

    def _product(self, m: Module, name: str, activation: Term, weight: Term) -> Value:
        """Return the product of a position, `Multiplier.LATENCY` cycles later."""
        a_bits, b_bits = (term.bits + (term.low >= 0) for term in (activation, weight))
        m.submodules[name] = multiplier = Multiplier(a_bits, b_bits)
        m.d.comb += [multiplier.a.eq(activation.value), multiplier.b.eq(weight.value)]
        return multiplier.y

    def _sum(self, m: Module, name: str, product: Value, term: Term, begins: Value, adds: Value) -> Signal:
        """Return the sum of products up to that of the cycle before.

        The cycle before the first product clears what is added to: flip-flops do that, where a selector in front
        of the adder would take a LUT per bit.
        """
        before = Signal(signed(term.bits), name=f"before_{name}", reset_less=True)
        total = Signal(signed(term.bits), name=f"total_{name}", reset_less=True)
        added = Signal(signed(term.bits), name=f"added_{name}")
        m.d.comb += added.eq(before + product)
        m.d.sync += total.eq(added)
        with m.If(begins):
            m.d.sync += before.eq(0)
        with m.Elif(adds):
            m.d.sync += before.eq(added)
        return total
