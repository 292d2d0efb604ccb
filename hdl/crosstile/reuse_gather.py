"""Slots: where the activations of a class come together, from memory one by one and from the halo store at once."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .reuse_operation import gather_layout
from .reuse_plan import ReusePlan
from .step_delay import StepDelay


class Gather(wiring.Component):
    """Collects the vectors of an axis' slots; those of the axes within are gathered before.

    A vector goes into its slot as it arrives. With the last of a class, slots that share an activation with the
    macro window before take it from the halo store, which keeps this window's in its place, and slots in the
    padding become zero. What is restored is kept at once, where a third macro window needs it: of each level but 0.
    So an activation that several macro windows need is read once.

    Parameters: `width`, of a vector; `visits`, to the halo store per class.
    Members: `operation`, see `gather_layout`; `vector`, in its cycle; `vectors`, slot 0 in the least significant
    bits, complete in the cycle after `final`.
    """

    def __init__(self, plan: ReusePlan, index: int, width: int):
        self.axis = plan.axes[index]
        self.width = width
        self.visits = plan.halo_visits(index)
        slots = len(self.axis.slots)
        super().__init__({
            "operation": In(gather_layout(self.axis)), "vector": In(width), "vectors": Out(width * slots),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return a register per slot, and the halo store."""
        m = Module()
        axis, operation = self.axis, self.operation
        slots = [Signal(self.width, name=f"slot_{n}", reset_less=True) for n in range(len(axis.slots))]
        arrives = [operation.arrive & (operation.slot == n) for n in range(len(slots))]
        restored = self._halo(m, slots, arrives)
        for n, slot in enumerate(slots):
            with m.If(arrives[n]):
                m.d.sync += slot.eq(self.vector)
            if axis.separate(axis.slots[n][0]):
                with m.Elif(operation.final & operation.zeros[n]):
                    m.d.sync += slot.eq(0)
            if n in restored:
                with m.Elif(operation.final & operation.halos[n]):
                    m.d.sync += slot.eq(restored[n])
        m.d.comb += self.vectors.eq(Cat(slots))
        return m

    def _halo(self, m: Module, slots: list[Signal], arrives: list[Value]) -> dict[int, Value]:
        """Return what the halo store hands on, by slot."""
        axis = self.axis
        if not axis.keeps_halo:
            return {}
        kept = axis.kept
        m.submodules.halo = halo = StepDelay(self.width * len(kept), axis.halo_classes * self.visits)
        restored = {slot: halo.late.word_select(n, self.width) for n, slot in enumerate(axis.restored)}
        values = [Mux(self.operation.halos[n], restored[n], slots[n]) if n in restored else slots[n] for n in kept]
        m.d.comb += [
            halo.step.eq(self.operation.visit),
            halo.value.eq(Cat(Mux(arrives[n], self.vector, value) for n, value in zip(kept, values, strict=True))),
        ]
        return restored
