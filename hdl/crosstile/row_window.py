"""The window along a row: the last pixels that arrived, presented to the array tap by tap."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .crosspoint_operation import operation_layout
from .crosspoint_plan import CrosspointPlan
from .storage import Storage
from .streams import beat_layout, delay


class RowWindow(wiring.Component):
    """Keeps the pixels that the kernel's width spans, and reads one tap per kernel column in parallel.

    Each kernel column has a ring of its own and finds its pixel by address, so no activation ever moves; the
    arriving activation goes straight to the last tap. Taps outside the row read as zero. Each activation is
    taken in once (US 2020/0117986 [0072]).

    Members: `operation` and `beat` in the cycle of issue; `operands`, shape (kernel column, channel), two
    cycles later.
    """

    LATENCY = 2

    def __init__(self, plan: CrosspointPlan):
        self.plan = plan
        self.beat_layout = beat_layout(plan.layer.input_format, plan.fold.lanes_in)
        super().__init__({
            "operation": In(operation_layout(plan)),
            "beat": In(self.beat_layout),
            "operands": Out(data.ArrayLayout(self.beat_layout, plan.fold.kernel_columns)),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return one ring per kernel column, and the operand registers."""
        m = Module()
        operation = self.operation
        beat = self.beat.as_value()
        lanes = self.plan.fold.kernel_columns
        arrived = delay(m, beat, 1, "arrived")
        taps = delay(m, operation.taps, 1, "taps")
        new = delay(m, operation.new, 1, "new")
        for lane in range(lanes):
            stored = self._ring(m, lane, operation.slots[lane], beat)
            operand = Signal(self.beat_layout.size, name=f"operand_{lane}", reset_less=True)
            m.d.sync += operand.eq(stored)
            if lane == lanes - 1:
                with m.If(new):
                    m.d.sync += operand.eq(arrived)
            with m.If(~taps[lane]):
                m.d.sync += operand.eq(0)
            m.d.comb += self.operands[lane].as_value().eq(operand)
        return m

    def _ring(self, m: Module, lane: int, slot: Value, beat: Value) -> Value:
        """Return what the ring holds for this lane's tap, one cycle after issue."""
        operation = self.operation
        groups, pixels = self.plan.beats_per_pixel, self.plan.window_pixels
        if groups * pixels == 1:
            kept = Signal.like(beat, name=f"kept_{lane}", reset_less=True)
            with m.If(operation.arrive):
                m.d.sync += kept.eq(beat)
            return kept
        group_bits = (groups - 1).bit_length()
        depth = ((pixels - 1) << group_bits) + groups
        storage = Storage(len(beat), depth)
        m.submodules[f"ring_{lane}"] = storage
        m.d.comb += [
            storage.write_address.eq((operation.pixel << group_bits) | operation.group),
            storage.write_data.eq(beat),
            storage.write.eq(operation.arrive),
            storage.read_address.eq((slot << group_bits) | operation.group),
        ]
        return storage.read_data
