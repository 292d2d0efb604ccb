"""The reader's sequencer: which output's sums leave next."""

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .counters import count_up
from .tile_integrators_plan import TileIntegratorPlan


class TileReader(wiring.Component):
    """Walks the rows that are complete: rows, inner axes' outputs, filter groups, the last fastest.

    Members: `available`, rows are complete; `credit`, a place for a beat (and a residual beat) is there; `go`, an
    operation; in its cycle `group`, and per axis `run_…`, `bank_…` and `round_…` of the output; `row_end`, it is
    the last of its row, and `last_row`, that one is a frame's last.
    Timing: an operation per cycle unless it waits for rows, with the first of them, or for a place.
    """

    available: Signal
    credit: Signal
    go: Signal
    group: Signal
    row_end: Signal
    last_row: Signal

    def __init__(self, plan: TileIntegratorPlan):
        self.plan = plan
        axes = enumerate(plan.axes)
        members = {
            "available": In(1), "credit": In(1), "go": Out(1), "group": Out(range(plan.filter_groups)),
            "row_end": Out(1), "last_row": Out(1),
        }
        for axis, banks in axes:
            rounds = banks.rounds if axis else plan.rows.store_rounds
            members |= {
                f"run_{axis}": Out(range(banks.interleaved)), f"bank_{axis}": Out(range(banks.banks)),
                f"round_{axis}": Out(range(rounds)),
            }
        super().__init__(members)

    def elaborate(self, _platform: object) -> Module:
        """Return the nested counters, innermost first."""
        m = Module()
        plan, begin = self.plan, Signal(init=1)
        m.d.comb += self.go.eq(self.credit & (~begin | self.available))
        end = count_up(m, self.group, plan.filter_groups, self.go)
        for axis in reversed(range(1, len(plan.axes))):
            end = end & self._outputs(m, axis, self.go & end)
        m.d.comb += [self.row_end.eq(self.go & end), self.last_row.eq(self._rows(m, self.row_end))]
        with m.If(self.go):
            m.d.sync += begin.eq(end)
        return m

    def _position(self, axis: int) -> tuple[Signal, Signal, Signal]:
        run, bank, turn = (getattr(self, f"{name}_{axis}") for name in ("run", "bank", "round"))
        return run, bank, turn

    def _banks(self, axis: int) -> int:
        """Return the banks that are read in turn."""
        together = self.plan.rows_at_once > 1 and axis == len(self.plan.axes) - 2
        return 1 if together else self.plan.axes[axis].banks

    def _outputs(self, m: Module, axis: int, step: Value) -> Value:
        """Count an inner axis' outputs: runs, banks, rounds; return that it is at the last."""
        banks = self.plan.axes[axis]
        rows = self.plan.rows_at_once if axis == len(self.plan.axes) - 2 else 1
        counters, outputs = self._position(axis), banks.program.outputs // rows
        last: Value = Const(1, 1)
        if outputs > 1:
            before = banks.position((outputs - 2) * rows)
            flags = [counter == place for counter, place in zip(counters, before, strict=True) if len(counter)]
            last = Signal(name=f"last_{axis}")
            with m.If(step):
                m.d.sync += last.eq(Cat(*flags).all() & ~last)
        run, bank, turn = counters
        restart = step & last
        carry = step & count_up(m, run, banks.interleaved, step, restart)
        carry = carry & count_up(m, bank, self._banks(axis), carry, restart)
        count_up(m, turn, banks.rounds, carry, restart)
        return last

    def _rows(self, m: Module, step: Value) -> Value:
        """Count the outermost axis' rows, its rounds on and on; return that it is at the frame's last."""
        rows, banks = self.plan.rows, self.plan.axes[0]
        run, bank, turn = self._position(0)
        row = Signal(range(rows.units), name="row")
        last = count_up(m, row, rows.units, step)
        restart = step & last
        carry = step & count_up(m, run, banks.interleaved, step, restart)
        carry = carry & count_up(m, bank, self._banks(0), carry, restart)
        count_up(m, turn, rows.store_rounds, carry | restart)
        return last
