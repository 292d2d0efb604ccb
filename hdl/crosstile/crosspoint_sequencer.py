"""The output controller and sequencer of the crosspoint engine: one operation per cycle, in a fixed order."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .counters import counter
from .crosspoint_operation import operation_layout
from .crosspoint_plan import CrosspointPlan
from .crosspoint_program import ColumnStep, RowStep, bank_step, kernel_row_step
from .operation_register import OperationRegister
from .program import Program


class CrosspointSequencer(wiring.Component):
    """Walks rows, columns, kernel rows, groups, filters, kernel columns and channels, innermost last.

    The row program is the mode word of US 2020/0117986 [0068]; the bank of kernel row i at row y is
    (y + padding − i) mod banks for stride 1 ([0064]).

    Members: `input_valid` and `take`, the handshake of the activation stream; `credit` and `reserve`, the
    places of the output queue; `operation`, see `operation_layout`; `time_step`, high with the last operation of
    each activation row, rows of padding that complete outputs included: a time-step of [0066] ends.
    Timing: an operation per cycle unless `take` waits for `input_valid` or `reserve` for `credit`; each is decided a
    cycle before, the first two cycles after reset.
    """

    input_valid: Signal
    take: Signal
    credit: Signal
    reserve: Signal
    time_step: Signal

    def __init__(self, plan: CrosspointPlan):
        self.plan = plan
        super().__init__({
            "input_valid": In(1), "take": Out(1), "credit": In(1), "reserve": Out(1),
            "time_step": Out(1), "operation": Out(operation_layout(plan)),
        })

    def _row_program(self) -> Program:
        plan = self.plan
        gaps = [plan.gap_after(row) for row in range(len(plan.row_steps))]
        turns = len(plan.weight_words) // plan.plane.kernel_height if not plan.rows_together else 0
        layout = data.StructLayout({
            "intake": 1, "compute": 1, "last_pass": range(max(plan.plane.kernel_height, 2)),
            "weight": range(len(plan.weight_words)), "bank": range(max(plan.banks, 1)),
            "fresh": 1, "fresh_first": 1, "emit": 1, "gap": range(max(gaps) + 1),
        })

        def word(step: RowStep, gap: int) -> dict[str, int]:
            return {
                "intake": step.intake, "compute": step.intake and step.passes > 0,
                "last_pass": max(step.passes - 1, 0), "weight": step.kernel_row * turns * step.intake,
                "bank": step.bank, "fresh": step.fresh and step.intake, "emit": step.emit, "gap": gap,
                "fresh_first": step.intake and step.kernel_row == 0 and not plan.rows_together,
            }

        return Program(layout, [word(step, gap) for step, gap in zip(plan.row_steps, gaps, strict=True)])

    def _column_program(self) -> Program:
        plan = self.plan
        layout = data.StructLayout({
            "intake": 1, "output": 1, "taps": plan.plane.kernel_width, "last": 1,
        })

        def word(step: ColumnStep, last: bool) -> dict[str, int]:
            taps = sum(tap << j for j, tap in enumerate(step.taps))
            return {"intake": step.intake, "output": step.output, "taps": taps, "last": last}

        steps = plan.column_steps
        return Program(layout, [word(step, step is steps[-1]) for step in steps])

    def elaborate(self, _platform: object) -> Module:
        """Return the nested counters, from the innermost out."""
        m = Module()
        m.submodules.rows = rows = self._row_program()
        m.submodules.columns = columns = self._column_program()
        row, column = rows.word, columns.word
        flush = Signal()
        compute = Signal()
        m.d.comb += [flush.eq(~row.intake), compute.eq(flush | (row.compute & column.output))]

        go = Signal()
        group, group_last = counter(m, self.plan.channel_groups, go, "group", flush)
        tap, tap_last = counter(m, self.plan.column_groups, go & group_last, "tap", ~compute | flush)
        pass_end = group_last & tap_last
        filters, filters_last = counter(m, self.plan.filter_passes, go & pass_end, "filter", ~compute)
        part_end = pass_end & filters_last
        base, base_last = self._group_turns(m, go & part_end)
        filter_last = filters_last & base_last
        turn, turn_last = self._turns(m, row, go & part_end & base_last, ~compute | flush)
        pixel_end = pass_end & filter_last & turn_last
        position, position_last = self._position(m, go & pass_end & compute, filter_last, turn_last)
        row_end = Mux(flush, pixel_end & position_last, pixel_end & column.last)

        first_pass = (turn == 0) & (filters == 0) & (tap_last | ~compute)
        intake = row.intake & column.intake & first_pass
        m.submodules.register = register = self._register(m)
        decided = rows.ready & ~self._gaps(m, go & row_end, row.gap, ~register.held)
        m.d.comb += [
            go.eq(decided & ~register.held),
            register.sends.eq(decided & row.emit & compute & turn_last & pass_end),
            rows.advance.eq(go & row_end),
            columns.advance.eq(go & pixel_end & ~flush),
        ]
        operation = register.following
        pass_start = (group == 0) & (tap == 0)
        m.d.comb += [
            operation.issue.eq(decided & compute),
            operation.arrive.eq(decided & intake),
            operation.ends.eq(decided & row_end),
            operation.new.eq(intake),
            operation.group.eq(base + group),
            operation.first.eq(pass_start),
            operation.last.eq(pass_end),
            operation.fresh.eq(row.fresh | (row.fresh_first & (turn == 0))),
            operation.filter.eq(self._filter(m, go & pass_end & compute, filter_last)),
            operation.position.eq(position),
            operation.weight.eq(self._weight(m, row, go, pixel_end, pass_end & filter_last)),
            operation.bank.eq(self._bank(m, row, go & pass_end & filter_last, turn_last)),
        ]
        self._window(m, operation, column.taps, tap, go & group_last & compute & ~flush, flush, go & pixel_end & ~flush)
        return m

    def _register(self, m: Module) -> OperationRegister:
        """Return the register that operations wait in, joined to the members."""
        register = OperationRegister(self.operation.shape(), ("issue", "ends"))
        m.d.comb += [
            register.input_valid.eq(self.input_valid), self.take.eq(register.take),
            register.credit.eq(self.credit), self.reserve.eq(register.reserve),
            self.time_step.eq(register.operation.ends), self.operation.eq(register.operation),
        ]
        return register

    def _group_turns(self, m: Module, step: Value) -> tuple[Value, Value]:
        """Return the first beat of the groups in turn, and whether they are the last."""
        plan = self.plan
        if plan.group_turns == 1:
            return Const(0, 1), Const(1, 1)
        base = Signal(range(plan.beats_per_pixel), name="group_base")
        last = Signal(name="group_base_last")
        m.d.comb += last.eq(base == plan.beats_per_pixel - plan.channel_groups)
        with m.If(step):
            m.d.sync += base.eq(Mux(last, 0, base + plan.channel_groups))
        return base, last

    def _filter(self, m: Module, step: Value, last: Value) -> Value:
        """Return the filter group: it counts through the passes of a kernel row."""
        index = Signal(range(self.plan.filter_groups), name="filter_group")
        with m.If(step):
            m.d.sync += index.eq(Mux(last, 0, index + 1))
        return index

    def _turns(self, m: Module, row: data.View, step: Value, single: Value) -> tuple[Value, Value]:
        """Return the kernel row in turn and whether it is this row's last."""
        if self.plan.rows_together or self.plan.plane.kernel_height == 1:
            return Signal(1, name="turn"), Value.cast(1)
        turn = Signal(range(self.plan.plane.kernel_height), name="turn")
        last = Signal(name="turn_last")
        m.d.comb += last.eq((turn == row.last_pass) | single)
        with m.If(step):
            m.d.sync += turn.eq(Mux(last, 0, turn + 1))
        return turn, last

    def _position(self, m: Module, step: Value, filter_last: Value, turn_last: Value) -> tuple[Value, Value]:
        """Return output column · filter groups + filter group, and whether it is the row's last."""
        size = self.plan.integrator_positions
        position, start = Signal(range(size)), Signal(range(size), name="position_start")
        last = Signal(name="position_last")
        m.d.comb += last.eq(position == size - 1)
        following = Mux(last, 0, position + 1)
        with m.If(step):
            m.d.sync += position.eq(Mux(filter_last & ~turn_last, start, following))
            with m.If(filter_last & turn_last):
                m.d.sync += start.eq(following)
        return position, last

    @staticmethod
    def _gaps(m: Module, row_end: Value, gap: Value, step: Value) -> Value:
        """Return a flag that holds operations back after a row too short for its integrators."""
        remaining, waits = Signal(len(gap), name="remaining"), Signal(name="waits")
        m.d.comb += waits.eq(remaining != 0)
        with m.If(row_end):
            m.d.sync += remaining.eq(gap)
        with m.Elif(waits & step):
            m.d.sync += remaining.eq(remaining - 1)
        return waits

    def _weight(self, m: Module, row: data.View, go: Value, pixel_end: Value, turn_end: Value) -> Value:
        """Return the weights' address: it counts through a pixel's passes, from the row's first kernel row."""
        plan = self.plan
        words = len(plan.weight_words)
        offset = Signal(range(words), name="weight_offset")
        skip = 1
        if not plan.rows_together:
            skip += (kernel_row_step(plan.plane) - 1) * (words // plan.plane.kernel_height)
        with m.If(go):
            m.d.sync += offset.eq(Mux(pixel_end, 0, offset + Mux(turn_end, skip, 1)))
        if plan.rows_together or plan.plane.kernel_height == 1:
            return offset
        return (offset + row.weight)[: len(offset)]

    def _bank(self, m: Module, row: data.View, turn_end: Value, turn_last: Value) -> Value:
        """Return the integrator bank of the kernel row in turn: bank_step fewer, modulo banks, each turn."""
        plan = self.plan
        if plan.banks < 2 or plan.rows_together:
            return Value.cast(0)
        behind = Signal(range(plan.banks), name="bank_behind")
        step = bank_step(plan.plane) % plan.banks
        with m.If(turn_end):
            beyond = behind + step
            m.d.sync += behind.eq(Mux(turn_last, 0, Mux(beyond >= plan.banks, beyond - plan.banks, beyond)))
        return Mux(row.bank >= behind, row.bank - behind, row.bank + plan.banks - behind)

    def _window(
        self, m: Module, operation: data.View, taps: Value, tap: Value, tap_step: Value, flush: Value, pixel_step: Value
    ) -> None:
        """Drive the slots of the ring of pixels: addresses move, activations do not."""
        plan = self.plan
        span, dilation = plan.window_pixels, plan.plane.column_dilation
        pixel = Signal(range(span), name="pixel")
        with m.If(pixel_step):
            m.d.sync += pixel.eq(Mux(pixel == span - 1, 0, pixel + 1))
        m.d.comb += operation.pixel.eq(pixel)
        if plan.column_groups == 1:
            m.d.comb += operation.taps.eq(Mux(flush, 0, taps))
            for lane in range(plan.fold.kernel_columns):
                slot = Signal(range(span), name=f"slot_{lane}", init=(1 + lane * dilation) % span)
                with m.If(pixel_step):
                    m.d.sync += slot.eq(Mux(slot == span - 1, 0, slot + 1))
                m.d.comb += operation.slots[lane].eq(slot)
            return
        slot = Signal(range(span), name="slot", init=1 % span)
        # Of the next pixel's window:
        oldest = Mux(pixel >= span - 2, pixel + 2 - span, pixel + 2) if span > 2 else pixel
        with m.If(pixel_step):
            m.d.sync += slot.eq(oldest)
        with m.Elif(tap_step):
            beyond = slot + Mux(tap == plan.column_groups - 1, 1, dilation)
            m.d.sync += slot.eq(Mux(beyond >= span, beyond - span, beyond)[: len(slot)])
        m.d.comb += [
            operation.slots[0].eq(slot),
            operation.taps.eq(Cat(taps).bit_select(tap, 1) & ~flush),
        ]
