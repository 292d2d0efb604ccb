"""The steering of the reuse-grouped engine: sums that circulate past their taps, modulo q, with no multiplexer."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .reuse_plan import ReusePlan
from .step_delay import StepDelay
from .streams import delay


class CyclicChain(wiring.Component):
    """Adds up, along one axis, the sums of its taps at the outputs they belong to: (a − j) mod q in class a.

        total[o] = Σ_j sums[j](class (o + j) mod q)      j: reaches modulo q, J the greatest of them

    Position j of a chain holds, in class a, the sum of output (a − j) mod q; from class to class it moves one
    position on. An output whose first tap's turn is still to come when it reaches the end waits in a lane, and
    enters position 0 again q − J classes later. The last outputs of a macro window leave through the same lanes
    while the next one's first classes run; so a total leaves at every step, in order.

    Parameters: `plan`, `index` of the axis; `lanes`, chains side by side.
    Members: `sums`, reach by reach, in the cycle of `step`; `last`, with the frame's last step; `totals`,
    `total_step` and `total_last` one cycle later: of the output as many classes back as `ReuseAxis.drain`.
    Timing: a step per cycle.
    """

    step: Signal
    last: Signal
    total_step: Signal
    total_last: Signal

    def __init__(self, plan: ReusePlan, index: int, lanes: int):
        self.axis, self.unit, self.lanes = plan.axes[index], plan.unit(index), lanes
        self.lag = sum(plan.axes[n].drain * plan.unit(n) for n in range(index + 1, len(plan.axes)))
        self.totals_layout = data.ArrayLayout(signed(plan.sum_bits(index)), lanes)
        sums = data.ArrayLayout(signed(plan.sum_bits(index + 1)), lanes)
        super().__init__({
            "step": In(1), "last": In(1), "sums": In(data.ArrayLayout(sums, len(self.axis.reaches))),
            "total_step": Out(1), "total_last": Out(1), "totals": Out(self.totals_layout),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the chain and its lanes, from one class to the next."""
        m = Module()
        axis, size = self.axis, self.totals_layout.size
        held = axis.reach + len(axis.waiting)
        m.submodules.store = store = StepDelay(size * held, self.unit)
        late = [store.late.word_select(n, size) for n in range(held)]
        links, lanes = late[: axis.reach], dict(zip(axis.waiting, late[axis.reach :], strict=True))
        flags = self._flags(m)
        following = self._positions(m, links, lanes, flags)
        final = following[-1]
        waiting = [self._lane(n, links, lanes, final, flags) for n in axis.waiting]
        total = Signal(size, reset_less=True)
        m.d.sync += total.eq(self._total(links, lanes, final, flags))
        m.d.comb += [
            store.step.eq(self.step),
            store.value.eq(Cat(*following[:-1], *waiting)),
            self.totals.as_value().eq(total),
            self.total_step.eq(delay(m, self.step, 1, "step", resets=True)),
            self.total_last.eq(delay(m, self.last, 1, "last", resets=True)),
        ]
        return m

    def _positions(
        self, m: Module, links: list[Value], lanes: dict[int, Value], flags: dict[str, Signal]
    ) -> list[Signal]:
        """Return what each position holds after this class: what comes to it, and its own taps' sum."""
        axis = self.axis
        positions = []
        returned = lanes[min(axis.reach, axis.length - axis.reach)] if axis.wraps else None
        for position, before in enumerate([returned, *links]):
            holds = Signal(self.totals_layout, name=f"position_{position}")
            enters = ~flags["fresh"] if position else flags.get("returning", Const(0))
            for lane in range(self.lanes):
                terms: list[Value] = []
                if before is not None:
                    bits = holds[lane].shape().width
                    terms.append((before.word_select(lane, bits) & enters.replicate(bits)).as_signed())
                if position in axis.reaches:
                    terms.append(self.sums[axis.reaches.index(position)][lane])
                m.d.comb += holds[lane].eq(terms[0] + terms[1] if len(terms) > 1 else terms[0])
            positions.append(holds.as_value())
        return positions

    @staticmethod
    def _lane(
        n: int, links: list[Value], lanes: dict[int, Value], final: Value, flags: dict[str, Signal]
    ) -> Value:
        """Return what lane n holds after this class: what waits moves on, and a macro window's end enters at once."""
        if n == 1:
            moved = final
        elif n - 1 in lanes:
            moved = Mux(flags["fresh"], links[n - 2], lanes[n - 1])
        else:
            moved = links[n - 2]
        return Mux(flags["moving"], moved, lanes[n]) if "moving" in flags else moved

    def _total(self, links: list[Value], lanes: dict[int, Value], final: Value, flags: dict[str, Signal]) -> Value:
        """Return what leaves: the end of the chain, or in a window's first classes the last outputs before it."""
        if not self.axis.drain:
            return final
        drained = links[-1]
        if self.axis.drain > 1:
            drained = Mux(flags["fresh"], drained, lanes[self.axis.reach])
        return Mux(flags["draining"], drained, final)

    def _flags(self, m: Module) -> dict[str, Signal]:
        """Return what the class says, each a register: the chain starts, drains, lanes move, lanes come back."""
        axis, q, reach = self.axis, self.axis.length, self.axis.reach
        state, step_end = Signal(range(q), name="class"), self._class_end(m)
        following = Signal(range(q), name="following_class")
        m.d.comb += following.eq(state)
        with m.If(step_end):
            m.d.comb += following.eq(Mux(state == q - 1, 0, state + 1))
        with m.If(self.step & self.last):
            m.d.comb += following.eq(0)
        m.d.sync += state.eq(following)
        conditions: dict[str, Value] = {"fresh": following == 0, "draining": following < axis.drain}
        at_start = {"fresh", "draining"}
        if axis.wraps:
            conditions["returning"] = following >= q - reach
            if q - reach > reach:
                conditions["moving"] = (following < reach) | (following >= q - reach)
                at_start.add("moving")
        flags = {name: Signal(name=name, init=int(name in at_start)) for name in conditions}
        m.d.sync += [flags[name].eq(condition) for name, condition in conditions.items()]
        return flags

    def _class_end(self, m: Module) -> Value:
        """Return whether this step is a class's last: once the axes within have given their first output."""
        running: Value = Const(1)
        if self.lag:
            behind = Signal(range(self.lag + 1), name="behind")
            running = behind == self.lag
            with m.If(self.step & self.last):
                m.d.sync += behind.eq(0)
            with m.Elif(self.step & ~running):
                m.d.sync += behind.eq(behind + 1)
        step = self.step & running
        if self.unit == 1:
            return step
        place = Signal(range(self.unit), name="place")
        end = place == self.unit - 1
        with m.If(self.step & self.last):
            m.d.sync += place.eq(0)
        with m.Elif(step):
            m.d.sync += place.eq(Mux(end, 0, place + 1))
        return step & end
