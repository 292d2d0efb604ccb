"""The register that a sequencer's operations wait in: handshakes wait for no decision."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out


class OperationRegister(wiring.Component):
    """Keeps the operation that was decided a cycle before until what it waits for is there.

        held = (arrive and not input_valid) or (sends and not credit)

    So the handshakes wait for no decision, and a decision waits for both through one gate.

    Parameters: `layout`, what an operation is; it has the field `arrive`, the operation takes a beat in. `flags`: those
    other fields that make something happen.
    Members: `following`, the operation that comes next, and whether it `sends` a result: where `arrive`, the flags and
    `sends` all are 0 there is none, which waits for nothing. `held`: the operation stays, and `following` must, too.
    `input_valid` and `take`, `credit` and `reserve`: the handshakes. `operation`, its flags and `arrive` high in the
    cycle of issue only.
    Timing: an operation per cycle, each issued a cycle after it was `following`, or later while `held`.
    """

    following: data.View
    sends: Signal
    held: Signal
    input_valid: Signal
    take: Signal
    credit: Signal
    reserve: Signal
    operation: data.View

    def __init__(self, layout: data.StructLayout, flags: tuple[str, ...] = ()):
        self.flags = ("arrive", *flags)
        super().__init__({
            "following": In(layout), "sends": In(1), "held": Out(1), "input_valid": In(1), "take": Out(1),
            "credit": In(1), "reserve": Out(1), "operation": Out(layout),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the register, its flags apart: they alone have a reset."""
        m = Module()
        operation, following = self.operation, self.following
        present, sends = Signal(following.shape(), reset_less=True), Signal(name="present_sends")
        flags = {name: Signal(name=f"present_{name}") for name in self.flags}
        arrive = flags["arrive"]
        with m.If(~self.held):
            m.d.sync += [present.eq(following), sends.eq(self.sends)]
            m.d.sync += [flag.eq(following[name]) for name, flag in flags.items()]
        m.d.comb += [
            self.held.eq((arrive & ~self.input_valid) | (sends & ~self.credit)),
            self.take.eq(arrive & (~sends | self.credit)),
            self.reserve.eq(sends & ~self.held),
            operation.eq(present),
        ]
        m.d.comb += [operation[name].eq(flag & ~self.held) for name, flag in flags.items()]
        return m
