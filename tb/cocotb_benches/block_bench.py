"""What generated blocks must do, as cocotb tests; the cases come from the file that CROSSTILE_CASES names.

A case is a design within the simulated top level, its ports {name}_{port}; `kind` says how it is driven:

    stream    beats in and out by valid and ready; with `mode`, a mode word for every time-step; with `load`,
              words to write before the first frame, per bus
    axis      the same, by AXI4-Stream
    vectors   values of inputs, and of outputs with a mask, cycle by cycle
    sender    beats in, durations out
    receiver  durations in, beats out
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cocotb
from axis_bench import AxisBench, BenchError, Stall, Trace, check_last, check_stream, number
from cocotb.triggers import Timer

CASES = {case["name"]: case for case in json.loads(Path(os.environ["CROSSTILE_CASES"]).read_text())}
STALLS = {
    "none": Stall(),
    "source": Stall(source=0.4),
    "sink": Stall(sink=0.5),
    "both": Stall(source=0.4, sink=0.4),
    "patient": Stall(patient=True),
}


def named(*kinds: str) -> list[Any]:
    return [cocotb.Param(name, name=name) for name, case in CASES.items() if case["kind"] in kinds]


class Absent:
    """A signal that the ports do not have: always 0."""

    value = 0


class StreamBench(AxisBench):
    """Plays beats through `input__*` and `output__*`, or through AXI4-Stream, and gives the mode words if any."""

    def __init__(self, dut: Any, case: dict[str, Any]):
        prefix = f"{case['name']}_"
        if case["kind"] == "axis":
            super().__init__(dut, prefix)
        else:
            self.clk, self.rst = getattr(dut, f"{prefix}clk"), getattr(dut, f"{prefix}rst")
            self.cycles, self.inside = 0, {}
            self.source, self.sink = (self._stream(dut, f"{prefix}{side}") for side in ("input", "output"))
        self.loads = {
            (bus, name): getattr(dut, f"{prefix}load_{bus}__{name}")
            for bus in case.get("load", {}) for name in ("write", "address", "data")
        }
        self.image: dict[str, list[tuple[int, int]]] = case.get("load", {})
        self.words: list[int] = case.get("mode", [])
        self.step = 0
        if self.words:
            self.mode, self.time_step = getattr(dut, f"{prefix}mode"), getattr(dut, f"{prefix}time_step")
            self.conflict = getattr(dut, f"{prefix}conflict")
            self.mode.value = self.words[0]
        for (_, name), handle in self.loads.items():
            if name == "write":
                handle.value = 0

    @staticmethod
    def _stream(dut: Any, name: str) -> dict[str, Any]:
        members = {"tdata": "payload", "tvalid": "valid", "tready": "ready"}
        return {axis: getattr(dut, f"{name}__{member}") for axis, member in members.items()} | {"tlast": Absent()}

    async def reset(self, cycles: int = 3) -> None:
        self.step = 0
        await super().reset(cycles)
        image, self.image = self.image, {}
        for bus, words in image.items():
            await self._load(bus, words)
        self.cycles = 0

    async def _load(self, bus: str, words: list[tuple[int, int]]) -> None:
        """Write every word, one per cycle; what is loaded outlasts a reset."""
        for address, word in words:
            values = {"write": 1, "address": address, "data": word}
            for name, value in values.items():
                self.loads[bus, name].value = value
            await self._settle()
            await self._clock()
        self.loads[bus, "write"].value = 0
        await self._settle()
        await self._clock()

    def _offer(self, beat: tuple[int, int] | None) -> None:
        super()._offer(beat)
        if self.words:
            self.mode.value = self.words[self.step % len(self.words)]

    def _look_inside(self, trace: Trace) -> None:
        super()._look_inside(trace)
        if self.words:
            self.step += number(self.time_step, "time_step")
            if number(self.conflict, "conflict"):
                raise BenchError(f"conflict rose at cycle {self.cycles}, but every mode word is legal")


class Run:
    """A stream case, its bench and its beats."""

    def __init__(self, dut: Any, name: str):
        self.case = CASES[name]
        self.bench = StreamBench(dut, self.case)
        per_frame = self.case["beats_in"]
        last = self.case["kind"] == "axis"
        self.beats = [(beat, int(last and (n + 1) % per_frame == 0)) for n, beat in enumerate(self.case["input"])]

    async def frames(self, stall: Stall, stop: int | None = None) -> Trace:
        golden, watchdog = self.case["output"], 4 * self.case["cycles_per_frame"] + 200
        trace = await self.bench.play(self.beats, len(golden), stall, watchdog, stop=stop)
        if stop is None:
            check_stream("output", trace.data, golden)
            if self.case["kind"] == "axis":
                check_last(trace.last, self.case["beats_out"])
        return trace

    async def check_timing(self) -> None:
        """Play all frames with nobody waiting, and hold latency and throughput equal to what the header says."""
        trace, case = await self.frames(Stall()), self.case
        ends = trace.given[case["beats_out"] - 1 :: case["beats_out"]]
        steps = {later - earlier for earlier, later in pairwise(ends[1:])}
        if steps != {case["cycles_per_frame"]}:
            raise BenchError(f"a frame every {sorted(steps)} cycles, not {case['cycles_per_frame']}")
        start = 0 if case["completes"] is None else trace.taken[case["completes"]]
        if case["latency"] is not None and trace.given[0] - start != case["latency"]:
            raise BenchError(f"a latency of {trace.given[0] - start} cycles, not {case['latency']}")


@cocotb.test()
@cocotb.parametrize(case=named("stream", "axis"), stall=list(STALLS))
async def equals_golden(dut: Any, case: str, stall: str) -> None:
    """Every beat equals golden, whoever waits; where nobody does, the cycles are those of the header."""
    run = Run(dut, case)
    await run.bench.reset()
    if stall == "none":
        await run.check_timing()
    else:
        await run.frames(STALLS[stall])


@cocotb.test()
@cocotb.parametrize(case=named("stream", "axis"))
async def recovers_from_reset(dut: Any, case: str) -> None:
    """One cycle of reset, anywhere in a frame, and the next frames are exact and on time."""
    run, dice = Run(dut, case), random.Random(case)
    await run.bench.reset()
    for stall in (Stall(), STALLS["both"]):
        await run.frames(stall, stop=dice.randrange(1, 2 * run.case["cycles_per_frame"]))
        await run.bench.reset(cycles=1)
        await run.check_timing()
        await run.bench.reset(cycles=1)


# Cycle by cycle


class Wires:
    """The ports of a design, driven and watched cycle by cycle."""

    def __init__(self, dut: Any, name: str):
        self._dut, self._name = dut, name

    def __getitem__(self, port: str) -> Any:
        return getattr(self._dut, f"{self._name}_{port}")

    def drive(self, **values: int) -> None:
        for port, value in values.items():
            self[port].value = value

    def get(self, port: str) -> int:
        return number(self[port], port)

    async def settle(self) -> None:
        self["clk"].value = 0
        await Timer(5, "ns")

    async def clock(self) -> None:
        self["clk"].value = 1
        await Timer(5, "ns")

    async def reset(self) -> None:
        self["rst"].value = 1
        for _ in range(3):
            await self.settle()
            await self.clock()
        self["rst"].value = 0


@cocotb.test()
@cocotb.parametrize(case=named("vectors"))
async def follows_its_vectors(dut: Any, case: str) -> None:
    """Every output has the value that is due, in the bits that the mask names, in every cycle."""
    wires, inputs, outputs = Wires(dut, case), CASES[case]["inputs"], CASES[case]["outputs"]
    wires.drive(**dict.fromkeys(inputs, 0))
    await wires.reset()
    for cycle in range(len(next(iter(outputs.values())))):
        wires.drive(**{port: values[cycle] for port, values in inputs.items()})
        await wires.settle()
        for port, values in outputs.items():
            due, mask = values[cycle]
            if mask and wires.get(port) & mask != due:
                raise BenchError(f"{port} is {wires.get(port) & mask:#x} in cycle {cycle}, not {due:#x}")
        await wires.clock()


# Durations


def lanes_of(beat: int, case: dict[str, Any]) -> list[int]:
    """Return the values of a beat."""
    bits, signed = case["bits"], case["signed"]
    values = [beat >> bits * lane & (1 << bits) - 1 for lane in range(case["lanes"])]
    return [value - (1 << bits) if signed and value >> bits - 1 else value for value in values]


def durations(cycles: Sequence[dict[str, int]], case: dict[str, Any]) -> list[list[int]]:
    """Return the values that wires tell, by counting the cycles of each slot in which they are high."""
    starts = [cycle for cycle, wires in enumerate(cycles) if wires["start"]]
    values = []
    for start in starts:
        slot = cycles[start : start + case["slot_cycles"]]
        if any(wires["start"] for wires in slot[1:]):
            raise BenchError(f"a slot begins in cycle {start} and another before it is over")
        wires = [[cycle["high"] >> lane & 1 for cycle in slot] for lane in range(case["lanes"])]
        if any(wire != sorted(wire, reverse=True) for wire in wires):
            raise BenchError(f"a wire rises again in the slot that begins in cycle {start}")
        signs = {cycle.get("sign", 0) for cycle in slot}
        if len(signs) > 1:
            raise BenchError(f"a sign changes in the slot that begins in cycle {start}")
        sign = signs.pop()
        values.append([-sum(wire) if sign >> lane & 1 else sum(wire) for lane, wire in enumerate(wires)])
    return values


@cocotb.test()
@cocotb.parametrize(case=named("sender"), stall=[0.0, 0.4])
async def sends_durations(dut: Any, case: str, stall: float) -> None:
    """Each wire is high for its value's cycles, from the cycle after its beat was taken; no slot comes unasked."""
    found, wires, dice = CASES[case], Wires(dut, case), random.Random(case)
    beats, slot = found["input"], found["slot_cycles"]
    wires.drive(input__valid=0, input__payload=0, pulses__ready=0)
    await wires.reset()
    taken, seen = [], []
    for cycle in range(int(len(beats) * slot / (1 - stall)) * 2 + 3 * slot):
        ready, offers = dice.random() >= stall, len(taken) < len(beats) and dice.random() >= stall
        wires.drive(pulses__ready=int(ready), input__valid=int(offers))
        wires.drive(input__payload=beats[len(taken)] if offers else 0)
        await wires.settle()
        names = ("start", "high", "sign") if found["signed"] else ("start", "high")
        seen.append({name: wires.get(f"pulses__{name}") for name in names})
        if offers and wires.get("input__ready"):
            if not ready:
                raise BenchError(f"a beat is taken in cycle {cycle}, in which ready is low")
            taken.append(cycle)
        await wires.clock()
    if [cycle for cycle, now in enumerate(seen) if now["start"]] != [cycle + found["latency"] for cycle in taken]:
        raise BenchError("start does not follow each beat that is taken")
    if durations(seen, found) != [lanes_of(beat, found) for beat in beats]:
        raise BenchError(f"the durations are {durations(seen, found)}")
    if not stall and {b - a for a, b in pairwise(taken)} != {slot}:
        raise BenchError(f"slots of {slot} cycles do not follow each other at once")


@cocotb.test()
@cocotb.parametrize(case=named("receiver"), stall=[0.0, 0.5])
async def receives_durations(dut: Any, case: str, stall: float) -> None:
    """Each beat holds the cycles for which its wires were high, in order; without stalls exactly in time."""
    found, wires, dice = CASES[case], Wires(dut, case), random.Random(case)
    beats, slot, lanes = found["input"], found["slot_cycles"], found["lanes"]
    wires.drive(pulses__start=0, pulses__high=0, output__ready=0)
    await wires.reset()
    starts, beats_out, given, position, held = [], [], [], slot, None
    for cycle in range(int(len(beats) * (slot + 4) / (1 - stall)) * 2):
        if position >= slot and len(starts) < len(beats) and wires.get("pulses__ready"):
            position = 0
            starts.append(cycle)
        values = lanes_of(beats[len(starts) - 1], found) if position < slot else [0] * lanes
        high = sum((position < abs(value)) << lane for lane, value in enumerate(values))
        wires.drive(pulses__start=int(position == 0), pulses__high=high)
        if found["signed"]:
            wires.drive(pulses__sign=sum((value < 0) << lane for lane, value in enumerate(values)))
        ready = dice.random() >= stall
        wires.drive(output__ready=int(ready))
        await wires.settle()
        valid = wires.get("output__valid")
        if held is not None and (not valid or wires.get("output__payload") != held):
            raise BenchError(f"an offered beat changed in cycle {cycle}")
        held = wires.get("output__payload") if valid and not ready else None
        if valid and ready:
            given.append(cycle)
            beats_out.append(wires.get("output__payload"))
        position += 1
        await wires.clock()
    check_stream("output", beats_out, beats)
    if not stall and given != [cycle + found["latency"] for cycle in starts]:
        raise BenchError(f"latencies of {[b - a for a, b in zip(starts, given, strict=True)]}, not {found['latency']}")
