"""Words that come back after a number of steps: the one memory behind sums, halos and activations in turn."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .storage import Storage
from .streams import delay

MEMORY_STEPS = 4  # from here on a memory: its read is registered, and its write takes a cycle


class StepDelay(wiring.Component):
    """Shows, at every step, the word that was given `steps` steps ago.

    late(step n) = value(step n − steps); before reset's first `steps` steps it means nothing.

    Parameters: `width` in bits; `steps`, 1 or more: up to 3 in registers, else in a memory with one port to read
    and one to write, read two steps ahead so that `late` is a register.
    Members: `step`, `value` in the same cycle; `late`, which holds until the cycle after `step`.
    Timing: a step per cycle.
    """

    step: Signal
    value: Signal
    late: Signal

    def __init__(self, width: int, steps: int):
        self.width, self.steps = width, steps
        super().__init__({"step": In(1), "value": In(width), "late": Out(width)})

    def elaborate(self, _platform: object) -> Module:
        """Return a chain of registers, or a ring in a memory."""
        m = Module()
        if self.steps >= MEMORY_STEPS:
            self._ring(m)
            return m
        words = [Signal(self.width, name=f"word_{n}", reset_less=True) for n in range(self.steps)]
        with m.If(self.step):
            m.d.sync += [word.eq(before) for word, before in zip(words, [self.value, *words], strict=False)]
        m.d.comb += self.late.eq(words[-1])
        return m

    def _ring(self, m: Module) -> None:
        m.submodules.ring = ring = Storage(self.width, self.steps)
        late = Signal(self.width, reset_less=True)
        here, ahead = Signal(range(self.steps)), Signal(range(self.steps), init=1)
        beyond = Signal(range(self.steps))
        m.d.comb += [
            beyond.eq(Mux(ahead == self.steps - 1, 0, ahead + 1)),
            # The word of the next step but one, from the cycle of this step on.
            ring.read_address.eq(Mux(self.step, beyond, ahead)),
            self.late.eq(late),
        ]
        m.d.comb += [
            ring.write.eq(delay(m, self.step, 1, "write", resets=True)),
            ring.write_data.eq(delay(m, self.value, 1, "write_data")),
            ring.write_address.eq(delay(m, here, 1, "write_address")),
        ]
        with m.If(self.step):
            m.d.sync += [here.eq(ahead), ahead.eq(beyond), late.eq(ring.read_data)]
