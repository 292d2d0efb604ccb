"""Stored programs: a list of words that a sequencer steps through, again and again."""

from collections.abc import Mapping, Sequence

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .counters import counter
from .streams import delay


class Program(wiring.Component):
    """Presents one word at a time from a memory; `advance` brings the next, after the last the first again.

    This is a mode signal kept for a whole layer (US 2020/0117986 [0068]): one word per time-step.

    Parameters: `layout`, the word's fields; `words`, each a mapping from field to value, 1 or more.
    Timing: the first word shows one cycle after reset, when `ready` rises; the next shows one cycle after
    `advance`.
    """

    advance: Signal
    ready: Signal

    def __init__(self, layout: data.StructLayout, words: Sequence[Mapping[str, int]]):
        self.layout = layout
        self.words = [layout.const(dict(word)).as_value().value for word in words]
        super().__init__({"advance": In(1), "ready": Out(1), "word": Out(layout)})

    def elaborate(self, _platform: object) -> Module:
        """Return a memory and a pointer to the word after the present one."""
        m = Module()
        depth = len(self.words)
        m.submodules.memory = memory = Memory(shape=self.layout.size, depth=depth, init=self.words)
        read = memory.read_port(domain="sync")
        step = self.advance | ~self.ready
        pointer, _ = counter(m, depth, step, "pointer")
        m.d.comb += [
            read.addr.eq(pointer),
            read.en.eq(step),
            self.word.as_value().eq(read.data),
        ]
        m.d.sync += self.ready.eq(1)
        return m


class PrefetchedProgram(wiring.Component):
    """Presents one word at a time in a register, from the first cycle on; the next is fetched meanwhile.

    So `advance`, late in its cycle, is an enable and nothing else, where in `Program` it is an input of the logic that
    synthesis makes of a small memory.

    Parameters: as `Program`; `early`: `advance` is a register, or nearly, and fetches in its own cycle.
    Timing: the next word shows one cycle after `advance`: in any cycle but the first after reset if `early`, else in
    every second at most, which the first is not.
    """

    advance: Signal

    def __init__(self, layout: data.StructLayout, words: Sequence[Mapping[str, int]], early: bool = False):
        self.layout, self.words, self.early = layout, list(words), early
        super().__init__({"advance": In(1), "word": Out(layout, init=self.words[0])})

    def elaborate(self, _platform: object) -> Module:
        """Return the stored words, from the second on, and a register that begins with the first."""
        m = Module()
        m.submodules.program = program = Program(self.layout, [*self.words[1:], self.words[0]])
        m.d.comb += program.advance.eq(self.advance if self.early else delay(m, self.advance, 1, "fetch", resets=True))
        with m.If(self.advance):
            m.d.sync += self.word.as_value().eq(program.word.as_value())
        return m
