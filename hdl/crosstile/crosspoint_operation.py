"""What the crosspoint engine's sequencer tells the datapath: an operation, and the register that it waits in."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .crosspoint_plan import CrosspointPlan


def operation_layout(plan: CrosspointPlan) -> data.StructLayout:
    """Return what an operation tells the datapath in the cycle it is issued.

    issue      an operation is issued
    arrive     an activation beat arrives
    new        the operation's last tap is the arriving activation
    taps       per kernel column in parallel: the tap lies within the row (else it is zero)
    group      beat of the pixel: its channel group
    pixel      slot of the arriving pixel in the window's ring
    slots      per kernel column in parallel: slot of its pixel
    weight     address of the weights
    first      first of a pass: integrators are loaded
    last       last of a pass: integrators are stored
    fresh      integrators start from zero
    filter     filter group
    bank, position   address of the integrators
    """
    lanes = plan.fold.kernel_columns
    slot = range(plan.window_pixels)
    return data.StructLayout({
        "issue": 1, "arrive": 1, "new": 1, "taps": lanes, "group": range(plan.beats_per_pixel),
        "pixel": slot, "slots": data.ArrayLayout(Signal(slot).shape(), lanes),
        "weight": range(len(plan.weight_words)), "first": 1, "last": 1, "fresh": 1,
        "filter": range(plan.filter_groups), "bank": range(max(plan.banks, 1)),
        "position": range(plan.integrator_positions),
    })


class OperationRegister(wiring.Component):
    """Keeps the operation that was decided a cycle before until what it waits for is there.

        held = (takes and not input_valid) or (sends and not credit)

    So the handshakes wait for no decision, and a decision waits for both through one gate.

    Members: `following`, the operation that comes next, whose `issue` says that it computes and whose `arrive` that it
    takes a beat in; `sends` a result, and `ends` a time-step; all four 0, and it waits for nothing. `held`: the
    operation stays, and `following` must, too. `input_valid` and `take`, `credit` and `reserve`, `operation` and
    `time_step`: see `CrosspointSequencer`.
    Timing: an operation per cycle, each a cycle after it was `following`, or later while `held`.
    """

    following: data.View
    sends: Signal
    ends: Signal
    held: Signal
    input_valid: Signal
    take: Signal
    credit: Signal
    reserve: Signal
    time_step: Signal
    operation: data.View

    def __init__(self, plan: CrosspointPlan):
        layout = operation_layout(plan)
        super().__init__({
            "following": In(layout), "sends": In(1), "ends": In(1), "held": Out(1),
            "input_valid": In(1), "take": Out(1), "credit": In(1), "reserve": Out(1),
            "time_step": Out(1), "operation": Out(layout),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the register, its flags apart: they alone have a reset."""
        m = Module()
        operation, following = self.operation, self.following
        computes, takes, sends, ends = (Signal(name=name) for name in ("computes", "takes", "sends", "ends"))
        present = Signal(following.shape(), reset_less=True)
        with m.If(~self.held):
            m.d.sync += [
                present.eq(following),
                Cat(computes, takes, sends, ends).eq(Cat(following.issue, following.arrive, self.sends, self.ends)),
            ]
        m.d.comb += [
            self.held.eq((takes & ~self.input_valid) | (sends & ~self.credit)),
            self.take.eq(takes & (~sends | self.credit)),
            self.reserve.eq(sends & ~self.held),
            self.time_step.eq(ends & ~self.held),
            operation.eq(present),
            operation.issue.eq(computes & ~self.held), operation.arrive.eq(takes & ~self.held),
        ]
        return m
