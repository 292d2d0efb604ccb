"""Integrators: where the column sums of successive activation rows meet."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .crosspoint_plan import CrosspointPlan
from .storage import Storage
from .streams import delay


class IntegratorMemory(wiring.Component):
    """Keeps the integrators of a row's output columns until the next row reaches them: a word per address.

    Parameters: `width`, bits of a word; `plan`, whose `integrator_positions`, and banks where kernel rows run in
    turn, are the addresses.
    Members, in the cycle of the operation: `issue`, `last` of its pass, `bank`, `position`; two cycles later
    `stored`, the address's word; four cycles later `integrators`, which replaces it if the operation is a last.
    A block RAM's output is late in its cycle, so a register follows before anything is done with it.
    Timing: an address may be read again by the fifth operation after its pass's last.
    """

    READ_CYCLES, WRITE_CYCLES = 2, 4

    def __init__(self, plan: CrosspointPlan, width: int):
        self.plan, self.width = plan, width
        super().__init__({
            "issue": In(1), "last": In(1), "bank": In(range(max(plan.banks, 1))),
            "position": In(range(plan.integrator_positions)), "stored": Out(width), "integrators": In(width),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the memory, written as long after it is read as integrating takes."""
        m = Module()
        plan = self.plan
        bits = (plan.integrator_positions - 1).bit_length()
        banks = 1 if plan.rows_together else plan.banks
        m.submodules.storage = storage = Storage(self.width, ((banks - 1) << bits) + plan.integrator_positions)
        address = Cat(self.position, self.bank)[: len(storage.read_address)]
        last = delay(m, self.last, self.WRITE_CYCLES - 1, "last")
        issue = delay(m, self.issue, self.WRITE_CYCLES - 1, "issue", resets=True)
        m.d.comb += [
            storage.read_address.eq(address),
            storage.write_address.eq(delay(m, address, self.WRITE_CYCLES, "address")),
            storage.write_data.eq(self.integrators),
            storage.write.eq(delay(m, last & issue, 1, "store", resets=True)),
            self.stored.eq(delay(m, storage.read_data, self.READ_CYCLES - 1, "stored")),
        ]
        return m


class Integrators(wiring.Component):
    """Adds each pass's column sums to what earlier rows left for the same output (US 2020/0117986 [0064]).

    In turn: bank `bank` of a memory of (banks, output columns, filters) is read, added to and written back.
    Together: integrator i of a chain starts from integrator i − 1 of the row before, i = 0 from zero; the
    word at `position` holds integrators 0..k−2, and integrator k−1 is the whole sum. Where several rows leave
    at once, the chain goes on: integrator k is the whole sum of the row before, and so on, and nothing is added
    to it (001 [0073]). For kernel height 1 there is no memory.

    Members: `sums`, one per column; three cycles before them the operation they belong to: `issue`, `first`
    and `last` of its pass, `fresh`, `bank`, `position`. `totals`, per row at once, the first row first, one per
    filter in parallel, the cycle after a pass's last sums.
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
            "totals": Out(data.ArrayLayout(signed(plan.integrator_bits[-1]), plan.lanes_out)),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return an accumulator per column, and the memory that links their rows."""
        m = Module()
        plan, filters = self.plan, self.plan.fold.lanes_out
        waiting = plan.rows_at_once - 1
        chain = (*plan.integrator_bits, *plan.integrator_bits[-1:] * waiting)
        widths = [bits for bits in chain for _ in range(filters)]
        sums = [*self.sums, *[Const(0, signed(1))] * (waiting * filters)]
        accumulators = [
            Signal(signed(bits), name=f"integrator_{n}", reset_less=True) for n, bits in enumerate(widths)
        ]
        issue = delay(m, self.issue, self.LEAD, "issue", resets=True)
        first = delay(m, self.first, self.LEAD, "first")
        starts = self._starts(m, accumulators)
        for column, (accumulator, start) in enumerate(zip(accumulators, starts, strict=True)):
            before = start if plan.pass_cycles == 1 else Mux(first, start, accumulator)
            with m.If(issue):
                m.d.sync += accumulator.eq(before + sums[column])
        for row in range(plan.rows_at_once):
            complete = accumulators[len(accumulators) - (row + 1) * filters :][:filters]
            for lane, accumulator in enumerate(complete):
                m.d.comb += self.totals[row * filters + lane].eq(accumulator)
        return m

    def _starts(self, m: Module, accumulators: list[Signal]) -> list[Value]:
        """Return what each column's accumulator starts from; keep what the next row needs."""
        plan, filters = self.plan, self.plan.fold.lanes_out
        zero: list[Value] = [Const(0, signed(1))] * filters
        if not plan.banks:
            return zero
        kept = accumulators[:-filters] if plan.rows_together else accumulators
        m.submodules.memory = memory = IntegratorMemory(plan, len(Cat(*kept)))
        m.d.comb += memory.integrators.eq(Cat(*kept))
        for name in ("issue", "last", "bank", "position"):
            m.d.comb += getattr(memory, name).eq(getattr(self, name))
        fresh = delay(m, self.fresh, self.LEAD - 1, "fresh")
        return (zero if plan.rows_together else []) + starts_of(m, memory.stored, kept, [fresh] * len(kept))


def starts_of(m: Module, stored: Value, integrators: list[Signal], fresh: list[Value]) -> list[Value]:
    """Return what each integrator starts from, registered: its part of the stored word, or zero where `fresh`."""
    starts: list[Value] = []
    offset = 0
    for index, (integrator, clear) in enumerate(zip(integrators, fresh, strict=True)):
        start = Signal(integrator.shape(), name=f"start_{index}", reset_less=True)
        m.d.sync += start.eq(stored[offset : offset + len(integrator)])
        with m.If(clear):
            m.d.sync += start.eq(0)
        starts.append(start)
        offset += len(integrator)
    return starts
