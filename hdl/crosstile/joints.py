"""What joins streams of unlike beats, or one stream to several: split, join and fork."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from crosstile_golden.errors import CrosstileError
from crosstile_golden.numbers import NumberFormat

from .streams import CreditQueue, beat_layout, delay


class Split(wiring.Component):
    """Hands on each beat in parts of `lanes` lanes, least significant first, without a register.

    Timing: no latency; a beat of n parts takes n cycles. `lanes` must divide the beat's lanes.
    """

    input: stream.Interface
    output: stream.Interface

    def __init__(self, number_format: NumberFormat, lanes_in: int, lanes_out: int):
        if lanes_in % lanes_out:
            raise CrosstileError(f"lanes_out must divide {lanes_in}, not {lanes_out}")
        self.parts = lanes_in // lanes_out
        super().__init__({
            "input": In(stream.Signature(beat_layout(number_format, lanes_in))),
            "output": Out(stream.Signature(beat_layout(number_format, lanes_out))),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return a multiplexer and the index of the part."""
        m = Module()
        index = Signal(range(self.parts))
        last = index == self.parts - 1
        beat, part = self.input.p.as_value(), self.output.p.as_value()
        m.d.comb += [
            part.eq(beat.word_select(index, len(part))),
            self.output.valid.eq(self.input.valid),
            self.input.ready.eq(self.output.ready & last),
        ]
        with m.If(self.output.valid & self.output.ready):
            m.d.sync += index.eq(0)
            with m.If(~last):
                m.d.sync += index.eq(index + 1)
        return m


class Join(wiring.Component):
    """Collects `lanes_out / lanes_in` beats into one, the first in the least significant lanes.

    Timing: takes a beat per cycle while its queue of `depth` beats has room; the last part of a beat enters
    the queue one cycle after it was taken. `lanes_in` must divide `lanes_out`.
    """

    PIPELINE_CYCLES = 1

    input: stream.Interface
    output: stream.Interface

    def __init__(self, number_format: NumberFormat, lanes_in: int, lanes_out: int, depth: int):
        if lanes_out % lanes_in:
            raise CrosstileError(f"lanes_in must divide {lanes_out}, not {lanes_in}")
        self.parts = lanes_out // lanes_in
        self.depth = depth
        self.layout = beat_layout(number_format, lanes_out)
        super().__init__({
            "input": In(stream.Signature(beat_layout(number_format, lanes_in))),
            "output": Out(stream.Signature(self.layout)),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return a shift register of parts before the queue."""
        m = Module()
        m.submodules.queue = queue = CreditQueue(self.layout, self.depth)
        wiring.connect(m, queue.output, wiring.flipped(self.output))
        index = Signal(range(self.parts))
        last = index == self.parts - 1
        part = self.input.p.as_value()
        collected = Signal(self.layout.size, reset_less=True)
        m.d.comb += [
            self.input.ready.eq(~last | queue.credit),
            queue.reserve.eq(self.input.valid & last & queue.credit),
            queue.beat.as_value().eq(collected),
        ]
        m.d.sync += queue.push.eq(queue.reserve)
        with m.If(self.input.valid & self.input.ready):
            m.d.sync += collected.eq((part << (self.layout.size - len(part))) | (collected >> len(part)))
            m.d.sync += index.eq(0)
            with m.If(~last):
                m.d.sync += index.eq(index + 1)
        return m


class Fork(wiring.Component):
    """Hands each beat on to several queues, each with a depth of its own.

    Members: `input`; `outputs`, one stream per depth.
    Timing: takes a beat per cycle while every queue has room; it enters them one cycle after it was taken.
    """

    PIPELINE_CYCLES = 1

    input: stream.Interface

    def __init__(self, layout: data.ArrayLayout, depths: Sequence[int]):
        self.layout, self.depths = layout, depths
        signature = stream.Signature(layout)
        names = {f"output_{index}": Out(signature) for index in range(len(depths))}
        super().__init__({"input": In(signature), **names})

    @property
    def outputs(self) -> list[stream.Interface]:
        """The outputs, in the order of the depths."""
        return [getattr(self, f"output_{index}") for index in range(len(self.depths))]

    def elaborate(self, _platform: object) -> Module:
        """Return a register before the queues."""
        m = Module()
        queues = [CreditQueue(self.layout, depth) for depth in self.depths]
        beat = delay(m, self.input.p.as_value(), 1, "beat")
        room = Signal()
        taken = self.input.valid & room
        push = delay(m, taken, 1, "push", resets=True)
        m.d.comb += [room.eq(Cat(queue.credit for queue in queues).all()), self.input.ready.eq(room)]
        for index, (queue, output) in enumerate(zip(queues, self.outputs, strict=True)):
            m.submodules[f"queue_{index}"] = queue
            wiring.connect(m, queue.output, wiring.flipped(output))
            m.d.comb += [queue.reserve.eq(taken), queue.beat.as_value().eq(beat), queue.push.eq(push)]
        return m
