"""Requantisation: from whole sums to activations, by one addition, one shift and one clamp."""

import numpy as np
from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import Integers, NumberFormat, signed_bits_for

from .crosspoint_plan import REQUANTISE_CYCLES, CrosspointPlan
from .streams import beat_layout


def offsets(layer: ConvolutionLayer) -> Integers:
    """Return what is added to each filter's sum: (bias << left) + half, where left lifts every shift to 0 or more.

    The half is that of `crosstile_golden.numbers.round_shift`; so rounding costs no adder.
    """
    right = layer.shift + left_shift(layer)
    half = np.where(right > 0, np.int64(1) << np.maximum(right - 1, 0), 0)
    return (layer.bias << left_shift(layer)) + half


def left_shift(layer: ConvolutionLayer) -> int:
    """Return by how many bits sums move left before anything else, so that no filter's shift is negative."""
    return max(0, -int(layer.shift.min()))


def clamp(value: Value, number_format: NumberFormat, relu: bool) -> Value:
    """Return a signed value held to the range of the format, and above zero where `relu`."""
    bits = len(value)
    maximum, minimum = number_format.maximum, 0 if relu else number_format.minimum
    magnitude_bits = maximum.bit_length()
    negative, low = value[-1], value[:magnitude_bits]
    above = value[magnitude_bits : bits - 1].any() if magnitude_bits < bits - 1 else Const(0, 1)
    within = Mux(above, Const(maximum, magnitude_bits), low)
    if minimum == 0:
        return Mux(negative, Const(0, magnitude_bits), within)
    below = ~value[magnitude_bits : bits - 1].all() if magnitude_bits < bits - 1 else Const(0, 1)
    lowest = Const(minimum, signed(number_format.bits))
    return Mux(negative, Mux(below, lowest, value[: number_format.bits].as_signed()), within)


class Requantise(wiring.Component):
    """y = clamp((total·2^left + offset[filter]) >> shift[filter]), one lane per filter in parallel.

    With offset = bias·2^left + 2^(shift−1) this is round-to-nearest of (total + bias) / 2^shift, halves up,
    then saturation (US 12014273: the scale's power of two is a shift).

    Members: `filter`, the filter group, one cycle before its `totals`; `beat` three cycles after them.
    """

    LATENCY = REQUANTISE_CYCLES

    def __init__(self, plan: CrosspointPlan):
        self.plan = plan
        layer = plan.layer
        low, high = plan.total_range
        self.low, self.high = low * 2 ** left_shift(layer), high * 2 ** left_shift(layer)
        super().__init__({
            "filter": In(range(plan.filter_groups)),
            "totals": In(data.ArrayLayout(signed(plan.integrator_bits[-1]), plan.fold.lanes_out)),
            "beat": Out(beat_layout(layer.output_format, plan.fold.lanes_out)),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return three registered steps per lane: add, shift, clamp."""
        m = Module()
        layer, lanes = self.plan.layer, self.plan.fold.lanes_out
        constants = self._constants(m)
        biased_bits = signed_bits_for(
            int((self.low + offsets(layer)).min()), int((self.high + offsets(layer)).max())
        )
        right = layer.shift + left_shift(layer)
        common, span = int(right.min()), int(right.max() - right.min())
        for lane in range(lanes):
            offset, extra = constants[lane]
            total = self.totals[lane] << left_shift(layer)
            biased = Signal(signed(biased_bits), name=f"biased_{lane}", reset_less=True)
            shifted = Signal(signed(max(biased_bits - common, 1)), name=f"shifted_{lane}", reset_less=True)
            behind = Signal.like(extra, name=f"extra_{lane}", reset_less=True)
            clamped = Signal(layer.output_format.bits, name=f"clamped_{lane}", reset_less=True)
            m.d.sync += [
                biased.eq(total + offset),
                behind.eq(extra),
                shifted.eq((biased >> common) >> behind if span else biased >> common),
                clamped.eq(clamp(shifted, layer.output_format, layer.activation.kind == "relu")),
            ]
            m.d.comb += self.beat[lane].eq(clamped)
        return m

    def _constants(self, m: Module) -> list[tuple[Value, Value]]:
        """Return each lane's offset and shift beyond the common one, for the filter group given."""
        layer, lanes = self.plan.layer, self.plan.fold.lanes_out
        right = layer.shift + left_shift(layer)
        extra = right - right.min()
        offset_bits = signed_bits_for(int(offsets(layer).min()), int(offsets(layer).max()))
        extra_bits = max(int(extra.max()).bit_length(), 1)
        word = data.ArrayLayout(data.StructLayout({"offset": signed(offset_bits), "extra": extra_bits}), lanes)
        rows = list(zip(offsets(layer).reshape(-1, lanes).tolist(), extra.reshape(-1, lanes).tolist(), strict=True))
        values = [
            word.const([{"offset": o, "extra": e} for o, e in zip(*row, strict=True)]).as_value().value for row in rows
        ]
        view = word.from_bits(values[0]) if len(values) == 1 else self._rom(m, word, values)
        return [(Value.cast(view[lane].offset), Value.cast(view[lane].extra)) for lane in range(lanes)]

    def _rom(self, m: Module, word: data.ArrayLayout, values: list[int]) -> data.View:
        """Return the word of the filter group given one cycle ago."""
        m.submodules.constants = memory = Memory(shape=word.size, depth=len(values), init=values)
        read = memory.read_port(domain="sync")
        m.d.comb += read.addr.eq(self.filter)
        return data.View(word, read.data)
