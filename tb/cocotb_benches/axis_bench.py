"""Drives and watches an AXI4-Stream design cycle by cycle, and judges what it did.

It runs inside the simulator and knows beats only: neither the golden model nor the design's plan.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cocotb.triggers import Timer

HALF_PERIOD_NS = 5
RESET_CYCLES = 3
IDLE_CYCLES = 100
"""Cycles that a run goes on after the last expected beat, sink ready, to catch what should not come."""


class BenchError(AssertionError):
    """What the design did wrong, in one line."""


@dataclass(frozen=True)
class Stall:
    """How each side holds back.

    source   probability, per beat and cycle, that it is offered later still
    sink     probability, per cycle, that `m_axis_tready` is low
    patient  the sink raises `m_axis_tready` only once it has seen `m_axis_tvalid`
    """

    source: float = 0.0
    sink: float = 0.0
    patient: bool = False
    seed: int = 0

    def gaps(self) -> Iterator[int]:
        """Give the cycles by which each beat in turn is held back."""
        dice = random.Random(f"source {self.seed}")
        while True:
            gap = 0
            while dice.random() < self.source:
                gap += 1
            yield gap

    def ready(self) -> Callable[[bool], bool]:
        """Return whether the sink is ready, cycle by cycle, told whether it saw a beat the cycle before."""
        dice = random.Random(f"sink {self.seed}")
        return lambda seen: dice.random() >= self.sink and (seen or not self.patient)


@dataclass
class Trace:
    """What a run did; a handshake at cycle c is valid and ready both 1 before edge c, edge 0 ends the reset."""

    taken: list[int] = field(default_factory=list)
    given: list[int] = field(default_factory=list)
    data: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    inside: dict[str, list[int]] = field(default_factory=dict)


def number(handle: Any, what: str) -> int:
    """Return a signal's value; raises `BenchError` where a bit of it is x or z."""
    try:
        return int(handle.value)
    except ValueError as error:
        raise BenchError(f"{what} is undefined: {handle.value}") from error


class AxisBench:
    """The ports of one design, `{prefix}s_axis_tdata` and so on, of the simulated top level `dut`.

    One process does all of a cycle in order: drive, settle, look, clock. What it sees does therefore not hang
    on the order in which a simulator runs callbacks at an edge.

    inside   streams to watch within the design, by name: objects with output__valid, output__ready and
             output__payload
    """

    def __init__(self, dut: Any, prefix: str = "", inside: dict[str, Any] | None = None):
        self.clk, self.rst = getattr(dut, f"{prefix}clk"), getattr(dut, f"{prefix}rst")
        self.cycles = 0
        self.inside = inside or {}
        names = ("tdata", "tvalid", "tlast", "tready")
        self.source = {name: getattr(dut, f"{prefix}s_axis_{name}") for name in names}
        self.sink = {name: getattr(dut, f"{prefix}m_axis_{name}") for name in names}
        self.frame_error = getattr(dut, f"{prefix}frame_error")

    async def reset(self, cycles: int = RESET_CYCLES) -> None:
        """Hold `rst` high over so many edges; the next edge is cycle 0."""
        self.rst.value = 1
        for _ in range(cycles):
            await self._settle()
            await self._clock()
        self.rst.value = 0
        self.source["tvalid"].value = 0
        self.cycles = 0

    async def _settle(self) -> None:
        self.clk.value = 0
        await Timer(HALF_PERIOD_NS, "ns")

    async def _clock(self) -> None:
        self.clk.value = 1
        await Timer(HALF_PERIOD_NS, "ns")
        self.cycles += 1

    async def play(
        self, beats: Sequence[tuple[int, int]], expected: int, stall: Stall, watchdog: int,
        gaps: dict[int, int] | None = None, stop: int | None = None,
    ) -> Trace:
        """Offer beats (data, last); take `expected` beats, and then listen for more.

        watchdog  cycles without any handshake after which the design is taken for dead
        gaps      cycles to wait before the beats of these indices, besides the stalls
        stop      leave the run as it is after so many cycles
        Raises `BenchError` for a dead design, a beat too many, or a broken rule of AXI4-Stream.
        """
        trace = Trace(inside={name: [] for name in self.inside})
        holds, sink_ready = stall.gaps(), stall.ready()
        sent, wait, quiet, idle = 0, next(holds) + (gaps or {}).get(0, 0), 0, 0
        waiting: tuple[int, int] | None = None
        while idle < IDLE_CYCLES and (stop is None or self.cycles < stop):
            complete = len(trace.data) == expected
            offers = sent < len(beats) and wait == 0
            self._offer(beats[sent] if offers else None)
            ready = complete or sink_ready(waiting is not None)
            self.sink["tready"].value = int(ready)
            await self._settle()
            takes = number(self.source["tready"], "s_axis_tready") and offers
            beat = self._look(trace, waiting)
            waiting = None if ready else beat
            self._look_inside(trace)
            if beat and ready:
                if complete:
                    raise BenchError(f"beat {expected} came at cycle {self.cycles}, but {expected} were expected")
                trace.given.append(self.cycles)
                trace.data.append(beat[0])
                trace.last.append(beat[1])
            wait -= wait > 0
            if takes:
                trace.taken.append(self.cycles)
                sent += 1
                wait = next(holds) + (gaps or {}).get(sent, 0)
            quiet = 0 if takes or (beat and ready) or wait else quiet + 1
            idle = idle + 1 if complete and sent == len(beats) else 0
            if quiet > watchdog:
                raise BenchError(
                    f"no beat moved for {watchdog} cycles: {sent} of {len(beats)} beats went in, "
                    f"{len(trace.data)} of {expected} came out"
                )
            await self._clock()
        return trace

    def _offer(self, beat: tuple[int, int] | None) -> None:
        self.source["tvalid"].value = int(beat is not None)
        if beat is not None:
            self.source["tdata"].value, self.source["tlast"].value = beat

    def _look(self, trace: Trace, waiting: tuple[int, int] | None) -> tuple[int, int] | None:
        """Return the beat that the design offers; `waiting` is the one that it must still offer."""
        where = f"of beat {len(trace.data)}"
        if not number(self.sink["tvalid"], "m_axis_tvalid"):
            if waiting is not None:
                raise BenchError(f"m_axis_tvalid {where} fell at cycle {self.cycles}, before it was taken")
            return None
        beat = (
            number(self.sink["tdata"], f"m_axis_tdata {where}"),
            number(self.sink["tlast"], f"m_axis_tlast {where}"),
        )
        if waiting is not None and waiting != beat:
            what = f"m_axis_tdata or m_axis_tlast {where}"
            raise BenchError(f"{what} changed at cycle {self.cycles}, before it was taken")
        return beat

    def _look_inside(self, trace: Trace) -> None:
        for name, stream in self.inside.items():
            valid = number(stream.output__valid, f"{name}'s output__valid")
            if valid and number(stream.output__ready, f"{name}'s output__ready"):
                trace.inside[name].append(number(stream.output__payload, f"{name}'s output__payload"))


def check_stream(what: str, found: Sequence[int], golden: Sequence[int]) -> None:
    """Raise `BenchError` unless both hold the same beats."""
    for index, (beat, right) in enumerate(zip(found, golden, strict=False)):
        if beat != right:
            raise BenchError(f"{what}: beat {index} is {beat:#x}, golden says {right:#x}")
    if len(found) != len(golden):
        raise BenchError(f"{what}: {len(found)} beats, golden has {len(golden)}")


def check_last(last: Sequence[int], beats_per_frame: int) -> None:
    """Raise `BenchError` unless `m_axis_tlast` is 1 on the last beat of every frame, and on no other."""
    for index, flag in enumerate(last):
        due = int((index + 1) % beats_per_frame == 0)
        if flag != due:
            raise BenchError(f"m_axis_tlast of beat {index} is {flag}, not {due}")
