"""Requantisation: from whole sums to activations, by one addition or two, one shift and the activation."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from crosstile_golden.network import ConvolutionLayer

from .activation import Activate
from .load_bus import WORD_BITS, Contents, LoadedMemory, load_bus
from .requantise_plan import RequantisePlan
from .streams import beat_layout, delay

FINE_BITS = 2  # of a loadable shift: the step after the coarse one, which is by multiples of 4

T = TypeVar("T")


class Summing(Protocol):
    """What the plan of an engine tells of the whole sums that it makes, beat by beat.

    filter_lanes    filters of a beat; `filter_groups`: beats of a pixel
    total_bits      width of a whole sum, bias left out
    requantise      constants and widths from there on; `loadable`: they are written at run time
    """

    @property
    def layer(self) -> ConvolutionLayer:
        """The layer."""

    @property
    def filter_lanes(self) -> int:
        """Filters of a beat."""

    @property
    def filter_groups(self) -> int:
        """Beats of a pixel."""

    @property
    def total_bits(self) -> int:
        """Width of a whole sum."""

    @property
    def requantise(self) -> RequantisePlan:
        """Constants and widths."""

    @property
    def loadable(self) -> bool:
        """Constants are written at run time."""


def constant_contents(plan: Summing) -> Contents:
    """Return a loadable layer's constants: a row per filter group, in it per lane the words of its filter's.

    A filter's constants are one number (`RequantisePlan.constants`), cut into words of 32 bits.
    """
    bits = plan.requantise.constant_bits
    starts = range(0, bits, WORD_BITS)
    widths = tuple(min(WORD_BITS, bits - start) for start in starts) * plan.filter_lanes
    words = [[value >> start & (1 << WORD_BITS) - 1 for start in starts] for value in plan.requantise.constants]
    groups = _batched(words, plan.filter_lanes)
    return Contents(widths, tuple(tuple(word for lane in group for word in lane) for group in groups))


def _batched(values: Sequence[T], size: int) -> list[Sequence[T]]:
    """Return a sequence in parts of `size`, which divides it."""
    return [values[start : start + size] for start in range(0, len(values), size)]


def _rows(plan: Summing) -> list[int]:
    """Return a fixed layer's constants: per filter group one word, lane 0 in its least significant bits."""
    bits = plan.requantise.constant_bits
    groups = _batched(plan.requantise.constants, plan.filter_lanes)
    return [sum(value << bits * lane for lane, value in enumerate(group)) for group in groups]


class Requantise(wiring.Component):
    """y = activation((total·2^left + offset [+ residual·2^align]) >> shift), one lane per filter in parallel.

    With offset = bias·2^left + 2^(shift−1) this is round-to-nearest of (total + bias + residual) / 2^shift,
    halves up (US 12014273: the scale's power of two is a shift), and the residual of an earlier layer joins
    before the activation (US 2020/0117986 [0047]). Constants and widths are the plan's `requantise`.

    Members: `filter`, the filter group, one cycle before its `totals`; `residual`, where the layer has one, a
    beat of its number format in the same cycle as `totals`; `beat`, `requantise_cycles` after
    them; `load`, where the plan is loadable, see `load_bus` and `constant_contents`.
    Timing: a beat per cycle.
    """

    totals: data.View
    residual: data.View
    load: wiring.PureInterface

    def __init__(self, plan: Summing):
        self.plan = plan
        layer, lanes = plan.layer, plan.filter_lanes
        members = {
            "filter": In(range(plan.filter_groups)),
            "totals": In(data.ArrayLayout(signed(plan.total_bits), lanes)),
            "beat": Out(beat_layout(layer.output_format, lanes)),
        }
        if layer.residual is not None:
            members["residual"] = In(beat_layout(layer.residual.number_format, lanes))
        if plan.loadable:
            members["load"] = In(load_bus(constant_contents(plan).address_bits))
        super().__init__(members)

    def elaborate(self, _platform: object) -> Module:
        """Return the lanes' additions and shifts, and the activation."""
        m = Module()
        plan, layer = self.plan.requantise, self.plan.layer
        constants = self._constants(m)
        activate = Activate(layer.activation, plan.shifted_bits, layer.output_format, self.plan.filter_lanes)
        m.submodules.activate = activate
        for lane in range(self.plan.filter_lanes):
            word = constants[plan.constant_bits * lane :][: plan.constant_bits]
            m.d.comb += activate.values[lane].eq(self._shifted(m, lane, word))
        m.d.comb += self.beat.eq(activate.beat)
        return m

    def _shifted(self, m: Module, lane: int, word: Value) -> Value:
        """Return a lane's sum, requantised but for its activation, one cycle later per addition and shift."""
        plan: RequantisePlan = self.plan.requantise
        offset, rest = word[: plan.offset_bits].as_signed(), word[plan.offset_bits :]
        shift, align = rest[: plan.shift_bits], rest[plan.shift_bits :]
        total = _registered(m, (self.totals[lane] << plan.left) + offset, plan.biased_bits, f"biased_{lane}")
        shift = delay(m, shift, 1, f"shift_{lane}")
        if self.plan.layer.residual is not None:
            aligned = _moved_left(Value.cast(self.residual[lane]), align)
            aligned = _registered(m, aligned, plan.aligned_bits, f"aligned_{lane}") << plan.common_align
            total = _registered(m, total + aligned, plan.summed_bits, f"summed_{lane}")
            shift = delay(m, shift, 1, f"shift_{lane}_summed")
        if self.plan.loadable:
            coarse = Cat(Const(0, FINE_BITS), shift[FINE_BITS:])
            total = _registered(m, total >> coarse, plan.summed_bits, f"coarse_{lane}")
            shift = delay(m, shift[:FINE_BITS], 1, f"shift_{lane}_fine")
        return _registered(m, _moved(total >> plan.common_shift, shift), plan.shifted_bits, f"shifted_{lane}")

    def _constants(self, m: Module) -> Value:
        """Return every lane's constants, in the cycle of the totals."""
        groups, plan = _rows(self.plan), self.plan.requantise
        bits = plan.constant_bits * self.plan.filter_lanes
        if self.plan.loadable:
            m.submodules.constants = loaded = LoadedMemory(constant_contents(self.plan))
            wiring.connect(m, loaded.load, wiring.flipped(self.load))
            m.d.comb += loaded.address.eq(self.filter)
            return loaded.data
        if len(groups) == 1:
            return Const(groups[0], bits)
        m.submodules.constants = memory = Memory(shape=bits, depth=len(groups), init=groups)
        read = memory.read_port(domain="sync")
        m.d.comb += read.addr.eq(self.filter)
        return read.data


def _registered(m: Module, value: Value, bits: int, name: str) -> Signal:
    """Return a signed value one cycle later, as wide as it is known to need."""
    register = Signal(signed(bits), name=name, reset_less=True)
    m.d.sync += register.eq(value)
    return register


def _moved(value: Value, bits: Value) -> Value:
    """Return a value shifted right by `bits`; by none, where they have no width."""
    return value >> bits if len(bits) else value


def _moved_left(value: Value, bits: Value) -> Value:
    """Return a value shifted left by `bits`, a multiplexer per bit."""
    for index, bit in enumerate(bits):
        value = Mux(bit, value << (1 << index), value)
    return value
