"""Streams between stages: the beat's layout, the queue that holds them, and delays."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, ValueLike, signed, unsigned
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out
from crosstile_golden.errors import CrosstileError
from crosstile_golden.numbers import NumberFormat

from .storage import Storage
from .timing import DEEP_QUEUE

FRONT_DEPTH = 5  # of the short FIFO before a deep queue's memory: the least that passes a beat per cycle


def shape_of(number_format: NumberFormat) -> Shape:
    """Return the Amaranth shape of a number format."""
    return signed(number_format.bits) if number_format.signed else unsigned(number_format.bits)


def beat_layout(number_format: NumberFormat, lanes: int) -> data.ArrayLayout:
    """Return the layout of a beat: `lanes` channels of one pixel, lane 0 in the least significant bits.

    Beats of a frame come in the order row, column, channel group.
    """
    return data.ArrayLayout(shape_of(number_format), lanes)


def delay(m: Module, value: ValueLike, cycles: int, name: str, resets: bool = False) -> Value:
    """Return `value` as it was `cycles` clock cycles ago.

    Data need no reset, and are cheaper and faster without one; a flag that makes something happen `resets`.
    """
    current = Value.cast(value)
    for step in range(cycles):
        register = Signal(current.shape(), name=f"{name}_{step + 1}", reset_less=not resets)
        m.d.sync += register.eq(current)
        current = register
    return current


class CreditQueue(wiring.Component):
    """A first-in first-out queue whose places are promised before the beats are made.

    A producer that sees `credit` may take it with `reserve`, and pushes the beat when its fixed pipeline
    delivers; so a pipeline never has to stop, and no enable fans out over it. A place is free again in the
    cycle after its beat was taken.

    Parameters: `layout`, the beat; `depth`, places, 1 or more.
    Timing: a beat pushed in cycle t shows in t + `timing.queue_cycles(depth)`; a place freed in t can be reserved in
    t + 1.
    """

    output: stream.Interface
    credit: Signal
    reserve: Signal
    push: Signal

    def __init__(self, layout: data.ArrayLayout, depth: int):
        if depth < 1:
            raise CrosstileError(f"depth must be 1 or more, not {depth}")
        self.depth = depth
        self.layout = layout
        super().__init__({
            "beat": In(layout),
            "push": In(1),
            "reserve": In(1),
            "credit": Out(1, init=1),
            "output": Out(stream.Signature(layout)),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return a FIFO and a counter of free places."""
        m = Module()
        beats = self._deep(m) if self.depth > DEEP_QUEUE else self._shallow(m)
        m.d.comb += [self.output.p.as_value().eq(beats.r_data), self.output.valid.eq(beats.r_rdy)]
        m.d.comb += beats.r_en.eq(self.output.ready)
        taken = self.output.valid & self.output.ready
        free = Signal(range(self.depth + 1), init=self.depth)
        free_next = Signal.like(free)
        m.d.comb += free_next.eq(free + taken - self.reserve)
        m.d.sync += [free.eq(free_next), self.credit.eq(free_next != 0)]
        return m

    def _shallow(self, m: Module) -> fifo.SyncFIFOBuffered:
        """Return the FIFO of all beats."""
        # One place more than the credits: the FIFO's output register must never turn a push away.
        m.submodules.fifo = queue = fifo.SyncFIFOBuffered(width=self.layout.size, depth=self.depth + 1)
        m.d.comb += [queue.w_data.eq(self.beat.as_value()), queue.w_en.eq(self.push)]
        return queue

    def _deep(self, m: Module) -> fifo.SyncFIFOBuffered:
        """Return a short FIFO that is filled from a memory behind whose output is a register, always enabled.

        A block RAM drives its outputs late in its cycle, but takes such a register in.
        """
        m.submodules.storage = storage = Storage(self.layout.size, self.depth)
        m.submodules.front = front = fifo.SyncFIFOBuffered(width=self.layout.size, depth=FRONT_DEPTH + 1)
        write, read = Signal(range(self.depth)), Signal(range(self.depth))
        level, level_next, waiting = Signal(range(self.depth + 1)), Signal(range(self.depth + 1)), Signal()
        room = Signal(range(FRONT_DEPTH + 1), init=FRONT_DEPTH)
        move = Signal()
        m.d.comb += [
            move.eq(waiting & (room != 0)),
            level_next.eq(level + self.push - move),
            storage.write_address.eq(write),
            storage.write_data.eq(self.beat.as_value()),
            storage.write.eq(self.push),
            storage.read_address.eq(read),
            front.w_data.eq(delay(m, storage.read_data, 1, "stored")),
            front.w_en.eq(delay(m, move, 2, "moved", resets=True)),
        ]
        m.d.sync += [level.eq(level_next), waiting.eq(level_next != 0)]
        m.d.sync += room.eq(room + (front.r_rdy & front.r_en) - move)
        for pointer, step in ((write, self.push), (read, move)):
            with m.If(step):
                m.d.sync += pointer.eq(Mux(pointer == self.depth - 1, 0, pointer + 1))
        return front


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
