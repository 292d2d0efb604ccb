"""Integrators behind an output controller: column sums are steered to the integrators of their output row."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .crosspoint_plan import CrosspointPlan
from .integrators import IntegratorMemory, starts_of
from .mode_source import mode_layout
from .output_controller import OutputController, chosen, equals
from .streams import delay


class SteeredIntegrators(wiring.Component):
    """Adds the sums of all kernel rows to as many output rows, each where a mode word steers it.

        sums ─▶ output controller ─ contributions ─▶ integrators ─ the one complete ─▶ totals
                                                       ▲     │
                                                     memory of (output columns, filters)

    An integrator belongs to one output row from its first kernel row to its last and stays where it is, while
    the columns that reach it change (US 2020/0117986 [0064], [0066], [0069], [0070]). There are `plan.banks` of
    them per filter in parallel; the memory's word at `position` holds them all.

    Members: `sums`, shape (kernel row, filter); one cycle before them `mode`, see `mode_layout`; two cycles
    before them the operation they belong to: `issue`, `first` and `last` of its pass, `position`. `totals`, one
    per filter in parallel, of the integrator that `mode` names complete, three cycles after a pass's last sums.
    `conflict`, in the cycle of the sums: two columns are steered to one integrator, which holds rubbish then.
    Timing: an integrator may be read again by the fifth operation after its pass's last.
    """

    LEAD, MODE_LEAD = 2, 1

    def __init__(self, plan: CrosspointPlan, sum_bits: int):
        self.plan, self.sum_bits = plan, sum_bits
        super().__init__({
            "sums": In(data.ArrayLayout(signed(sum_bits), plan.columns)),
            "mode": In(mode_layout(plan.fold.kernel_rows, plan.banks)),
            "issue": In(1), "first": In(1), "last": In(1),
            "position": In(range(plan.integrator_positions)),
            "totals": Out(data.ArrayLayout(signed(plan.integrator_bits[-1]), plan.fold.lanes_out)),
            "conflict": Out(1),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return an output controller per filter, its integrators, and the choice of those complete."""
        m = Module()
        plan, filters = self.plan, self.plan.fold.lanes_out
        integrators = [
            Signal(signed(bits), name=f"integrator_{bank}_{lane}", reset_less=True)
            for lane in range(filters) for bank, bits in enumerate(plan.integrator_bits)
        ]
        contributions = [value for lane in range(filters) for value in self._controller(m, lane).contributions]
        starts = self._starts(m, integrators)
        self._integrate(m, integrators, starts, contributions)
        self._complete(m, integrators)
        return m

    def _controller(self, m: Module, lane: int) -> OutputController:
        """Return the output controller of a filter: its kernel rows' sums to its integrators."""
        plan, filters = self.plan, self.plan.fold.lanes_out
        controller = OutputController(plan.fold.kernel_rows, plan.banks, self.sum_bits)
        m.submodules[f"controller_{lane}"] = controller
        m.d.comb += controller.mode.eq(self.mode.steering)
        for row in range(plan.fold.kernel_rows):
            m.d.comb += controller.sums[row].eq(self.sums[row * filters + lane])
        if lane == 0:
            m.d.comb += self.conflict.eq(controller.conflict)
        return controller

    def _starts(self, m: Module, integrators: list[Signal]) -> list[Value]:
        """Return what each integrator starts from; keep all of them for the next row."""
        plan = self.plan
        m.submodules.memory = memory = IntegratorMemory(plan, len(Cat(*integrators)))
        m.d.comb += memory.integrators.eq(Cat(*integrators))
        for name in ("issue", "last", "position"):
            m.d.comb += getattr(memory, name).eq(getattr(self, name))
        fresh = delay(m, self.mode.fresh, 1, "fresh")
        return starts_of(m, memory.stored, integrators, list(fresh) * plan.fold.lanes_out)

    def _integrate(
        self, m: Module, integrators: list[Signal], starts: list[Value], contributions: list[Value]
    ) -> None:
        """Add each cycle's contributions to what came before, in this pass or in the rows before it."""
        if self.plan.pass_cycles == 1:
            # Nothing is carried from cycle to cycle: what was not issued is neither stored nor sent.
            for integrator, start, contribution in zip(integrators, starts, contributions, strict=True):
                m.d.sync += integrator.eq(start + contribution)
            return
        first = delay(m, self.first, self.LEAD + 1, "first")
        with m.If(delay(m, self.issue, self.LEAD + 1, "issue", resets=True)):
            for integrator, start, contribution in zip(integrators, starts, contributions, strict=True):
                m.d.sync += integrator.eq(Mux(first, start, integrator) + contribution)

    def _complete(self, m: Module, integrators: list[Signal]) -> None:
        """Drive the totals from the integrators that the mode word of their sums names."""
        plan = self.plan
        leaves = Cat(equals(self.mode.complete, bank) for bank in range(plan.banks))
        leaves = delay(m, leaves, 3, "leaves")
        for lane in range(plan.fold.lanes_out):
            own = integrators[lane * plan.banks : (lane + 1) * plan.banks]
            total = Signal(own[0].shape(), name=f"total_{lane}", reset_less=True)
            m.d.sync += total.eq(chosen(list(own), leaves))
            m.d.comb += self.totals[lane].eq(total)
