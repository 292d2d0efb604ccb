"""A whole accelerator into which trainings are loaded, as cocotb tests driven by an AXI4-Lite master not ours.

The file that CROSSTILE_CASES names holds the load map and two trainings, "first" being the one compiled: the
image to write, frames as input beats, and golden's output beats.
"""

from __future__ import annotations

import json
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import cocotb
from axis_bench import AxisBench, BenchError, Stall, check_last, check_stream
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

CASE = json.loads(Path(os.environ["CROSSTILE_CASES"]).read_text())
STALLS = {"none": Stall(), "both": Stall(source=0.4, sink=0.4)}


class Bench(AxisBench):
    """Frames through AXI4-Stream and words through AXI4-Lite, on the one clock that both share."""

    def __init__(self, dut: Any):
        super().__init__(dut)
        for handle in (self.clk, self.rst, *(self.source[name] for name in ("tdata", "tvalid", "tlast"))):
            handle.value = 0
        self.sink["tready"].value = 0
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), self.clk, self.rst)

    async def clocked(self, work: Coroutine[Any, Any, Any], what: str) -> Any:
        """Clock the design until some work of the master is done; return what came of it."""
        task = cocotb.start_soon(work)
        for _ in range(CASE["watchdog"]):
            await self._settle()
            await self._clock()
            if task.done():
                return task.result()
        raise BenchError(f"{what} was not answered within {CASE['watchdog']} cycles")

    async def load(self, training: str) -> None:
        """Write every word of a training."""
        for address, word in CASE["trainings"][training]["image"]:
            what = f"write to {address:#x}"
            answer = await self.clocked(self.master.write(address, word.to_bytes(4, "little")), what)
            if answer.resp != AxiResp.OKAY:
                raise BenchError(f"{what} was answered by {answer.resp.name}")

    async def read(self, address: int) -> int:
        answer = await self.clocked(self.master.read(address, 4), f"read of {address:#x}")
        if answer.resp != AxiResp.OKAY:
            raise BenchError(f"read of {address:#x} was answered by {answer.resp.name}")
        return int.from_bytes(answer.data, "little")

    async def check(self, training: str, stall: str = "none", stop: int | None = None) -> None:
        """Play a training's frames, and hold the output equal to golden's unless told to stop early."""
        case, per_frame = CASE["trainings"][training], CASE["beats_in"]
        beats = [(beat, int((n + 1) % per_frame == 0)) for n, beat in enumerate(case["input"])]
        self.cycles = 0
        trace = await self.play(beats, len(case["output"]), STALLS[stall], CASE["watchdog"], stop=stop)
        if stop is None:
            check_stream(training, trace.data, case["output"])
            check_last(trace.last, CASE["beats_out"])


@cocotb.test(stage=-1)
async def starts_with_its_own_training(dut: Any) -> None:
    """Nothing is loaded yet: a simulator keeps memories from test to test, so this one runs before all others."""
    bench = Bench(dut)
    await bench.reset()
    await bench.check("first")


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS))
async def loads_another_training_and_back(dut: Any, stall: str) -> None:
    """Each load gives that training's results at once, and there is no reset between them."""
    bench = Bench(dut)
    await bench.reset()
    for training in ("second", "first", "second"):
        await bench.load(training)
        await bench.check(training, stall)


@cocotb.test()
async def keeps_its_training_over_a_reset_in_mid_frame(dut: Any) -> None:
    """Reset forgets the frame, and keeps the weights."""
    bench = Bench(dut)
    await bench.reset()
    await bench.load("second")
    await bench.check("second", stop=37)
    await bench.reset(cycles=1)
    await bench.check("second")


@cocotb.test()
async def forgets_a_load_that_went_wrong(dut: Any) -> None:
    """Words may be written again and again: the last of them count."""
    bench = Bench(dut)
    await bench.reset()
    image = CASE["trainings"]["second"]["image"]
    for address, word in image[: len(image) // 2]:
        await bench.clocked(bench.master.write(address, (word ^ 1).to_bytes(4, "little")), f"write to {address:#x}")
    await bench.load("second")
    await bench.check("second")


@cocotb.test()
async def tells_what_it_is(dut: Any) -> None:
    """The identification word and the fingerprint of mapping.json are read through the port."""
    bench = Bench(dut)
    await bench.reset()
    for word in (CASE["map"]["identification"], CASE["map"]["fingerprint"]):
        found = await bench.read(word["address"])
        if found != word["value"]:
            raise BenchError(f"word {word['address']:#x} is {found:#x}, not {word['value']:#x}")
