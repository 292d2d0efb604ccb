"""Streams between stages: the beat's layout, the queue that holds beats, and delays."""

from typing import NamedTuple

from amaranth.hdl import Module, Mux, Shape, Signal, Value, ValueLike, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from crosstile_golden.errors import CrosstileError
from crosstile_golden.numbers import NumberFormat

from .counters import tally
from .storage import Storage
from .timing import DEEP_QUEUE, FREE_CYCLES, QUEUE_CYCLES

MEMORY_CYCLES = 2  # of a deep queue, from an address to its beat entering the front
FRONT_DEPTH = MEMORY_CYCLES + QUEUE_CYCLES + FREE_CYCLES  # the least that passes a beat per cycle


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


class Late(NamedTuple):
    """Which streams of a stage are late: a beat's payload comes one cycle after its transfer, and only then.

    A reader that would put the payload into a register anyway loses nothing; and its queue moves one pointer when a
    beat is taken, where else `ready`, late in its cycle, enables a register as wide as a beat.
    """

    input: bool = False
    output: bool = False


PROMPT = Late()


def arrived(m: Module, beats: stream.Interface, late: bool) -> Value:
    """Return the payload of a stream, late or not, one cycle after its transfer."""
    return delay(m, beats.p.as_value(), 1 - late, "arrived")


class ShortQueue(wiring.Component):
    """A first-in first-out queue for whoever knows that there is room: distributed memory, then a register.

    Whether a beat waits, and whether one is left when it moves on, are registers: so `output.ready`, late in its cycle,
    passes one gate on its way to the memory's read enable, and two to any flag.

    Parameters: `width`, bits of a beat; `depth`, places, 1 or more; `late`, the output is, see `Late`.
    Timing: a beat pushed in cycle t shows in t + `timing.QUEUE_CYCLES`.
    """

    output: stream.Interface
    push: Signal

    def __init__(self, width: int, depth: int, late: bool = False):
        self.depth, self.late = depth, late
        super().__init__({"beat": In(width), "push": In(1), "output": Out(stream.Signature(width))})

    def elaborate(self, _platform: object) -> Module:
        """Return the memory, whose read port is the output's register, and its pointers."""
        m = Module()
        size = 1 << max(self.depth - 1, 1).bit_length()  # pointers turn round by themselves
        m.submodules.memory = memory = Memory(
            shape=len(self.beat), depth=size, init=[], attrs={"no_rw_check": 1}
        )
        write, read = memory.write_port(), memory.read_port(domain="sync")
        level, waiting, valid = Signal(range(size + 1)), Signal(), Signal()
        moves, ready = Signal(), self.output.ready
        m.d.comb += [
            moves.eq(~valid | ready),
            write.data.eq(self.beat), write.en.eq(self.push),
            read.en.eq(self.late | moves),  # wide, so whether a beat waits or not
            self.output.payload.eq(read.data), self.output.valid.eq(valid),
        ]
        tally(m, level, waiting, self.push, waiting & moves)
        m.d.sync += write.addr.eq(write.addr + self.push)
        with m.If(moves):
            m.d.sync += valid.eq(waiting)
        with m.If((valid & ready) if self.late else (waiting & moves)):
            m.d.sync += read.addr.eq(read.addr + 1)
        return m


class CreditQueue(wiring.Component):
    """A first-in first-out queue whose places are promised before the beats are made.

    A producer that sees `credit` may take it with `reserve`, and pushes the beat when its fixed pipeline
    delivers; so a pipeline never has to stop, and no enable fans out over it. That a beat was taken is told
    to the producer's end by a register: so neither end's decision waits for what the other decides.

    Parameters: `layout`, the beat; `depth`, places, 1 or more; `late`, the output is, see `Late`.
    Timing: a beat pushed in cycle t shows in t + `timing.queue_cycles(depth)`; a place whose beat is taken in t can
    be reserved in t + `timing.FREE_CYCLES`.
    """

    output: stream.Interface
    credit: Signal
    reserve: Signal
    push: Signal

    def __init__(self, layout: data.ArrayLayout, depth: int, late: bool = False):
        if depth < 1:
            raise CrosstileError(f"depth must be 1 or more, not {depth}")
        self.layout, self.depth, self.late = layout, depth, late
        super().__init__({
            "beat": In(layout),
            "push": In(1),
            "reserve": In(1),
            "credit": Out(1, init=1),
            "output": Out(stream.Signature(layout)),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return a queue and a counter of free places."""
        m = Module()
        deep = self.depth > DEEP_QUEUE
        m.submodules.front = front = ShortQueue(self.layout.size, FRONT_DEPTH if deep else self.depth, self.late)
        beats = front.output
        m.d.comb += [
            self.output.p.as_value().eq(beats.payload), self.output.valid.eq(beats.valid),
            beats.ready.eq(self.output.ready),
        ]
        freed = delay(m, self.output.valid & self.output.ready, FREE_CYCLES - 1, "freed", resets=True)
        if deep:
            self._memory(m, front, freed)
        else:
            m.d.comb += [front.beat.eq(self.beat.as_value()), front.push.eq(self.push)]
        free = Signal(range(self.depth + 1), init=self.depth)
        tally(m, free, self.credit, freed, self.reserve)
        return m

    def _memory(self, m: Module, front: ShortQueue, freed: Value) -> None:
        """Fill the front from a memory behind whose output is a register, always enabled.

        A block RAM drives its outputs late in its cycle, but takes such a register in.
        """
        m.submodules.storage = storage = Storage(self.layout.size, self.depth)
        write, read = Signal(range(self.depth)), Signal(range(self.depth))
        level, waiting = Signal(range(self.depth + 1)), Signal()
        room = Signal(range(FRONT_DEPTH + 1), init=FRONT_DEPTH)
        move = Signal()
        m.d.comb += [
            move.eq(waiting & (room != 0)),
            storage.write_address.eq(write),
            storage.write_data.eq(self.beat.as_value()),
            storage.write.eq(self.push),
            storage.read_address.eq(read),
            front.beat.eq(delay(m, storage.read_data, MEMORY_CYCLES - 1, "stored")),
            front.push.eq(delay(m, move, MEMORY_CYCLES, "moved", resets=True)),
        ]
        tally(m, level, waiting, self.push, move)
        m.d.sync += room.eq(room + freed - move)
        for pointer, step in ((write, self.push), (read, move)):
            with m.If(step):
                m.d.sync += pointer.eq(Mux(pointer == self.depth - 1, 0, pointer + 1))
