"""Stored programs: a list of words that a sequencer steps through, again and again."""

from collections.abc import Mapping, Sequence

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .counters import counter


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
