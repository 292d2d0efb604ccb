"""A frame memory: a stream fills it, and a random-access engine reads it."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from crosstile_golden.errors import CrosstileError
from crosstile_golden.numbers import NumberFormat

from .storage import Storage
from .streams import beat_layout, delay


class FrameMemory(wiring.Component):
    """Holds one frame of a stream, or two: then the next one comes in while the engine reads the first.

    Address n is the frame's n-th beat. Words are as wide as beats.

    Parameters: `number_format` and `lanes` of a beat; `words` of a frame, 1 or more; `frames`, 1 or 2; `latency`,
    cycles from an address to its word, 1 or more: from 2 on the memory's output is registered.
    Members: `input`, the stream; `address`, `word`, the read port; `frame_ready`, a frame is complete, until
    `frame_done`, which comes with the last address that is read of it.
    Timing: takes a beat per cycle while a frame's place is free; `frame_ready` rises one cycle after the frame's
    last beat was taken, and tells of the next frame one cycle after `frame_done`.
    """

    input: stream.Interface
    address: Signal
    word: data.View
    frame_ready: Signal
    frame_done: Signal

    def __init__(self, number_format: NumberFormat, lanes: int, words: int, frames: int = 2, latency: int = 1):
        for name, value, legal in (("frames", frames, (1, 2)), ("latency", latency, None), ("words", words, None)):
            if value < 1 or (legal and value not in legal):
                raise CrosstileError(f"{name} must be {'1 or 2' if legal else '1 or more'}, not {value}")
        self.words, self.frames, self.latency = words, frames, latency
        self.layout = beat_layout(number_format, lanes)
        super().__init__({
            "input": In(stream.Signature(self.layout)), "address": In(range(max(words, 2))), "word": Out(self.layout),
            "frame_ready": Out(1), "frame_done": In(1),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the memory, the counter that fills it, and the count of frames in it."""
        m = Module()
        m.submodules.store = memory = Storage(self.layout.size, max(self.words * self.frames, 2))
        full = Signal(range(self.frames + 1))
        written = Signal(range(max(self.words, 2)))
        take = self.input.valid & self.input.ready
        complete = take & (written == self.words - 1)
        with m.If(take):
            m.d.sync += written.eq(Mux(complete, 0, written + 1))
        m.d.sync += full.eq(full + complete - self.frame_done)
        m.d.comb += [
            self.input.ready.eq(full != self.frames), self.frame_ready.eq(full != 0),
            memory.write.eq(take), memory.write_data.eq(self.input.p.as_value()),
            memory.write_address.eq(written + self._base(m, complete, "write")),
            memory.read_address.eq(self.address + self._base(m, self.frame_done, "read")),
            self.word.as_value().eq(delay(m, memory.read_data, self.latency - 1, "word")),
        ]
        return m

    def _base(self, m: Module, following: Signal, name: str) -> Signal:
        """Return where the frame in turn starts."""
        base = Signal(range(self.words + 1), name=f"{name}_base")
        if self.frames > 1:
            with m.If(following):
                m.d.sync += base.eq(Mux(base == 0, self.words, 0))
        return base
