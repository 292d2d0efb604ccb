"""Integrators: where the column sums of successive activation rows meet."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .crosspoint_plan import CrosspointPlan
from .storage import Storage
from .streams import delay


class Integrators(wiring.Component):
    """Adds each pass's column sums to what earlier rows left for the same output (US 2020/0117986 [0064]).

    In turn: bank `bank` of a memory of (banks, output columns, filters) is read, added to and written back.
    Together: integrator i of a chain starts from integrator i − 1 of the row before, i = 0 from zero; the
    word at `position` holds integrators 0..k−2, and integrator k−1 is the whole sum. For kernel height 1
    there is no memory.

    Members: `sums`, one per column; three cycles before them the operation they belong to: `issue`, `first`
    and `last` of its pass, `fresh`, `bank`, `position`. `totals`, one per filter in parallel, the cycle after
    a pass's last sums.
    Timing: an integrator may be read again by the fifth operation after its pass's last.
    """

    LEAD = 3

    def __init__(self, plan: CrosspointPlan, sum_bits: int):
        self.plan = plan
        super().__init__({
            "sums": In(data.ArrayLayout(signed(sum_bits), plan.columns)),
            "issue": In(1), "first": In(1), "last": In(1), "fresh": In(1),
            "bank": In(range(max(plan.banks, 1))),
            "position": In(range(plan.integrator_positions)),
            "totals": Out(data.ArrayLayout(signed(plan.integrator_bits[-1]), plan.fold.lanes_out)),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return an accumulator per column, and the memory that links their rows."""
        m = Module()
        plan, filters = self.plan, self.plan.fold.lanes_out
        widths = [bits for bits in plan.integrator_bits for _ in range(filters)]
        accumulators = [
            Signal(signed(bits), name=f"integrator_{n}", reset_less=True) for n, bits in enumerate(widths)
        ]
        issue = delay(m, self.issue, self.LEAD, "issue", resets=True)
        first = delay(m, self.first, self.LEAD, "first")
        starts = self._starts(m, accumulators, issue)
        for column, (accumulator, start) in enumerate(zip(accumulators, starts, strict=True)):
            before = start if plan.pass_cycles == 1 else Mux(first, start, accumulator)
            with m.If(issue):
                m.d.sync += accumulator.eq(before + self.sums[column])
        for lane in range(filters):
            m.d.comb += self.totals[lane].eq(accumulators[lane - filters])
        return m

    def _starts(self, m: Module, accumulators: list[Signal], issue: Value) -> list[Value]:
        """Return what each column's accumulator starts from; keep what the next row needs."""
        plan, filters = self.plan, self.plan.fold.lanes_out
        zero: list[Value] = [Const(0, signed(1))] * filters
        if not plan.banks:
            return zero
        kept = accumulators[:-filters] if plan.rows_together else accumulators
        stored = self._memory(m, Cat(*kept), issue)
        fresh = delay(m, self.fresh, self.LEAD - 1, "fresh")
        starts = zero if plan.rows_together else []
        offset = 0
        for column, accumulator in enumerate(kept):
            start = Signal(accumulator.shape(), name=f"start_{column}", reset_less=True)
            m.d.sync += start.eq(stored[offset : offset + len(accumulator)])
            with m.If(fresh):
                m.d.sync += start.eq(0)
            starts = [*starts, start]
            offset += len(accumulator)
        return starts

    def _memory(self, m: Module, word: Value, issue: Value) -> Value:
        """Return the word that is stored for the next cycle's sums; store `word` after each pass.

        A block RAM's output is late in its cycle, so a register follows before anything is done with it.
        """
        plan = self.plan
        bits = (plan.integrator_positions - 1).bit_length()
        banks = 1 if plan.rows_together else plan.banks
        depth = ((banks - 1) << bits) + plan.integrator_positions
        m.submodules.storage = storage = Storage(len(word), depth)
        address = Cat(self.position, self.bank)[: len(storage.read_address)]
        last = delay(m, self.last, self.LEAD, "last")
        m.d.comb += [
            storage.read_address.eq(address),
            storage.write_address.eq(delay(m, address, self.LEAD + 1, "address")),
            storage.write_data.eq(word),
            storage.write.eq(delay(m, last & issue, 1, "store", resets=True)),
        ]
        return delay(m, storage.read_data, 1, "stored")
