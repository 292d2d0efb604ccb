"""Runs of the design itself in Amaranth's simulator: no Verilog and no compiler between, but slow."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.sim import Simulator
from crosstile.accelerator import Accelerator
from crosstile.network_plan import NetworkPlan
from crosstile_golden.errors import CrosstileError

from . import ANSWER_CYCLES, IDLE_CYCLES, NO_ANSWER, Bytes, SimulationResult, StallPattern, Words
from .stream_bench import StreamBench, load_problem


def xorshift(state: int) -> int:
    """Return the word after `state` of the 32-bit generator that every simulator stalls by."""
    state ^= (state << 13) & 0xFFFFFFFF
    state ^= state >> 17
    return state ^ (state << 5) & 0xFFFFFFFF


@dataclass
class Record:
    """What a run saw, beat by beat."""

    output: list[tuple[int, int, int]] = field(default_factory=list)  # cycle, last, data
    taken: list[int] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    extra: int = 0
    cycles: int = 0
    loaded: int = 0
    answer: int = 0
    load_cycles: int = 0
    activation_reads: int | None = None


def simulate_plan(plan: NetworkPlan) -> Callable[..., SimulationResult]:
    """Return a function like `crosstile_cli.simulators.verilator.simulate`, which runs the plan's own hardware."""

    def simulate(
        verilog: Path, top: str, input_beats: Bytes, frames: int, output_beats_expected: int, stall: StallPattern,
        waves: Path | None, _work: Path, watchdog_cycles: int, weights: Words | None = None,
    ) -> SimulationResult:
        request = (verilog, top, input_beats, frames, output_beats_expected, stall, waves, watchdog_cycles)
        bench = StreamBench(*request, weights)
        if waves is not None and waves.suffix != ".vcd":
            raise CrosstileError(f"waves from the amaranth simulator must end in .vcd, not {waves.name!r}")
        accelerator, record = Accelerator(plan), Record()
        simulator = Simulator(accelerator)
        simulator.add_clock(1e-8)
        play = _bench(accelerator, bench, record)

        async def process(context: Any) -> None:
            if await _load(context, accelerator, bench, record):
                await play(context)

        simulator.add_testbench(process)
        started = time.perf_counter()
        if waves is None:
            simulator.run()
        else:
            with simulator.write_vcd(str(waves)):
                simulator.run()
        return _result(bench, record, time.perf_counter() - started)

    return simulate


async def _load(context: Any, dut: Any, bench: StreamBench, record: Record) -> bool:
    """Write the weights, a write at a time; tell whether all of them were answered by OKAY."""
    for address, word in bench.words.tolist():
        record.answer = await _write(context, dut, address, word, record)
        if record.answer:
            return False
        record.loaded += 1
    return True


async def _write(context: Any, dut: Any, address: int, word: int, record: Record) -> int:
    """Offer an address and a word; return the response."""
    values = {"awaddr": address, "wdata": word, "wstrb": 0xF, "awvalid": 1, "wvalid": 1, "bready": 1}
    for name, value in values.items():
        context.set(getattr(dut, f"s_axil_{name}"), value)
    for _ in range(ANSWER_CYCLES):
        taken = {name: context.get(getattr(dut, f"s_axil_{name}ready")) for name in ("aw", "w")}
        answered, response = context.get(dut.s_axil_bvalid), int(context.get(dut.s_axil_bresp))
        await context.tick()
        record.load_cycles += 1
        for name in (name for name, ready in taken.items() if ready):
            context.set(getattr(dut, f"s_axil_{name}valid"), 0)
        if answered:
            return response
    return NO_ANSWER


def _bench(accelerator: Accelerator, bench: StreamBench, record: Record) -> Callable[[Any], Any]:
    """Return the process that offers, takes and watches, cycle by cycle."""
    words = [int.from_bytes(beat.tobytes(), "little") for beat in bench.input_beats]
    numbers = bench.numbers()
    dut: Any = accelerator

    async def process(context: Any) -> None:
        source, sink = numbers["source_state"], numbers["sink_state"]
        offering, quiet, idle, sent = False, 0, 0, 0
        waiting: tuple[int, int] | None = None
        while idle < IDLE_CYCLES and quiet < bench.watchdog_cycles:
            complete = len(record.output) == bench.output_expected
            source, sink = xorshift(source), xorshift(sink)
            if not offering and sent < len(words) and source >= numbers["source_threshold"]:
                offering = True
                context.set(dut.s_axis_tdata, words[sent])
                context.set(dut.s_axis_tlast, int((sent + 1) % numbers["beats_per_frame"] == 0))
            context.set(dut.s_axis_tvalid, int(offering))
            ready = int(sink >= numbers["sink_threshold"] or complete)
            context.set(dut.m_axis_tready, ready)
            sends = offering and bool(context.get(dut.s_axis_tready))
            valid = context.get(dut.m_axis_tvalid)
            beat = (context.get(dut.m_axis_tlast), context.get(dut.m_axis_tdata))
            if waiting is not None and (not valid or beat != waiting):
                record.errors.append(f"cycle {record.cycles}: an offered output beat changed before it was taken")
            waiting = beat if valid and not ready else None
            if valid and ready and complete:
                record.extra += 1
            elif valid and ready:
                record.output.append((record.cycles, *beat))
            if sends:
                record.taken.append(record.cycles)
                offering, sent = False, sent + 1
            quiet = 0 if sends or (valid and ready) or complete else quiet + 1
            idle = idle + 1 if complete else 0
            record.cycles += 1
            await context.tick()
        if "activation_reads" in accelerator.signature.members:
            record.activation_reads = context.get(dut.activation_reads)

    return process


def _result(bench: StreamBench, record: Record, seconds: float) -> SimulationResult:
    size = bench.output_bytes
    problem = load_problem(bench.words, record.loaded, record.answer)
    data = b"".join(beat.to_bytes(size, "little") for _, _, beat in record.output)
    return SimulationResult(
        output_beats=np.frombuffer(data, np.uint8).reshape(-1, size),
        output_last=np.array([last for _, last, _ in record.output], np.bool_),
        input_cycles=np.array(record.taken, np.int64),
        output_cycles=np.array([cycle for cycle, _, _ in record.output], np.int64),
        frames=bench.frames, input_expected=len(bench.input_beats), output_expected=bench.output_expected,
        extra_beats=record.extra, cycles_run=record.cycles,
        timed_out=len(record.output) < bench.output_expected and problem is None, watchdog_cycles=bench.watchdog_cycles,
        protocol_errors=tuple(record.errors[:100]), seconds=seconds, load_cycles=record.load_cycles,
        load_problem=problem, activation_reads=record.activation_reads,
    )  # fmt: skip
