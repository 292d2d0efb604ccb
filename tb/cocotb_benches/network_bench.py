"""What every compiled network must do, as cocotb tests; the cases come from the file that CROSSTILE_CASES names.

A case is a design within the simulated top level, with its input beats, the golden beats of its output and of
every stage within, and its predicted cycles: `designs.Case.record` writes it.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import cocotb
from axis_bench import AxisBench, BenchError, Stall, check_last, check_stream

CASES = {case["name"]: case for case in json.loads(Path(os.environ["CROSSTILE_CASES"]).read_text())}
STALLS = {
    "none": Stall(),
    "source": Stall(source=0.4),
    "sink": Stall(sink=0.5),
    "both": Stall(source=0.4, sink=0.4),
    "patient": Stall(patient=True),
}
GAP_CYCLES = 40
NAMES = [cocotb.Param(name, name=name) for name in CASES]  # a name of its own: cocotb gives long ones none


class Run:
    """One case, its bench, and the beats of its frames."""

    def __init__(self, dut: Any, name: str):
        self.case = CASES[name]
        block = getattr(dut, name)
        inside = {stage: getattr(block, stage) for stage in self.case["stages"]}
        self.bench = AxisBench(dut, f"{name}_", inside)
        for other in CASES:
            for port in ("clk", "rst", "s_axis_tvalid", "s_axis_tdata", "s_axis_tlast", "m_axis_tready"):
                getattr(dut, f"{other}_{port}").value = 0
        per_frame = self.case["beats_in"]
        self.beats = [(beat, int((n + 1) % per_frame == 0)) for n, beat in enumerate(self.case["input"])]

    async def frames(self, stall: Stall, gaps: dict[int, int] | None = None) -> int:
        """Play all frames, hold every beat against golden; return the cycles that they took."""
        golden, watchdog = self.case["output"], self.case["watchdog"]
        trace = await self.bench.play(self.beats, len(golden), stall, watchdog, gaps)
        for stage, beats in self.case["stages"].items():
            check_stream(stage, trace.inside[stage], beats)
        check_stream("output", trace.data, golden)
        check_last(trace.last, self.case["beats_out"])
        if self.bench.frame_error.value != 0:
            raise BenchError("frame_error rose, but every s_axis_tlast was right")
        return trace.given[-1] + 1

    async def check_predicted(self) -> None:
        """Play all frames with nobody stalling, and hold the cycles equal to the prediction."""
        cycles, predicted = await self.frames(Stall()), self.case["predicted_cycles"]
        if cycles != predicted:
            raise BenchError(f"{cycles} cycles, but {predicted} were predicted")


@cocotb.test()
@cocotb.parametrize(case=NAMES, stall=list(STALLS))
async def equals_golden(dut: Any, case: str, stall: str) -> None:
    """Frames right behind each other: every stage's tensor equals golden; the cycles too where nobody stalls."""
    run = Run(dut, case)
    await run.bench.reset()
    if stall == "none":
        await run.check_predicted()
    else:
        await run.frames(STALLS[stall])


@cocotb.test()
@cocotb.parametrize(case=NAMES)
async def recovers_from_reset(dut: Any, case: str) -> None:
    """One cycle of reset, anywhere in a frame, and the next frames are exact and on time."""
    run = Run(dut, case)
    dice = random.Random(case)
    await run.bench.reset()
    for stall in (Stall(), STALLS["both"]):
        stop = dice.randrange(1, run.case["predicted_cycles"])
        await run.bench.play(run.beats, len(run.case["output"]), stall, run.case["watchdog"], stop=stop)
        await run.bench.reset(cycles=1)
        await run.check_predicted()
        await run.bench.reset(cycles=1)


@cocotb.test()
@cocotb.parametrize(case=NAMES)
async def frames_may_come_apart(dut: Any, case: str) -> None:
    """Gaps between frames, short and longer than a frame, and a gap within one, change no result."""
    run = Run(dut, case)
    await run.bench.reset()
    per_frame = run.case["beats_in"]
    gaps = {per_frame // 2: 7, per_frame: GAP_CYCLES, 2 * per_frame: run.case["predicted_cycles"]}
    await run.frames(Stall(), gaps)
    await run.frames(Stall())


@cocotb.test()
@cocotb.parametrize(case=NAMES)
async def tells_a_misplaced_last(dut: Any, case: str) -> None:
    """An s_axis_tlast too early raises frame_error, which reset clears; the data are not affected."""
    run = Run(dut, case)
    await run.bench.reset()
    (data, last), right = run.beats[0], run.beats
    run.beats = [(data, 1 - last), *right[1:]]
    trace = await run.bench.play(run.beats, len(run.case["output"]), Stall(), run.case["watchdog"])
    check_stream("output", trace.data, run.case["output"])
    if run.bench.frame_error.value != 1:
        raise BenchError("frame_error stayed low for a misplaced s_axis_tlast")
    run.beats = right
    await run.bench.reset(cycles=1)
    await run.frames(Stall())
