"""What a weight port must do, as cocotb tests driven by an AXI4-Lite master that is not ours.

The file that CROSSTILE_CASES names holds the load map, the images of two trainings, and vectors for each.
"""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cocotb
from axis_bench import BenchError, number
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

CASE = json.loads(Path(os.environ["CROSSTILE_CASES"]).read_text())
SETTLE_CYCLES = 20
TIMEOUT_US = 3000
CHANNELS = {
    "none": (),
    "address_late": ("aw",),
    "data_late": ("w",),
    "responses_late": ("b", "r"),
    "all": ("aw", "w", "b", "ar", "r"),
}
STALLS = [cocotb.Param(name, name=name) for name in CHANNELS]


def gaps(seed: str) -> Iterator[bool]:
    """Give whether a channel pauses, cycle by cycle."""
    dice = random.Random(seed)
    return (dice.random() < 0.6 for _ in itertools.count())


class Bench:
    """The design, its clock, and a master on its port."""

    def __init__(self, dut: Any, stall: str = "none"):
        self.dut = dut
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        write, read = self.master.write_if, self.master.read_if
        channels = {
            "aw": write.aw_channel, "w": write.w_channel, "b": write.b_channel,
            "ar": read.ar_channel, "r": read.r_channel,
        }  # fmt: skip
        for name in CHANNELS[stall]:
            channels[name].set_pause_generator(gaps(f"{stall} {name}"))

    async def start(self) -> None:
        for name in CASE["inputs"]:
            getattr(self.dut, name).value = 0
        cocotb.start_soon(Clock(self.dut.clk, 10, unit="ns").start())
        self.dut.rst.value = 1
        for _ in range(4):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)

    async def write(self, address: int, data: bytes) -> AxiResp:
        return (await with_timeout(self.master.write(address, data), TIMEOUT_US, "us")).resp

    async def read(self, address: int) -> tuple[AxiResp, int]:
        answer = await with_timeout(self.master.read(address, 4), TIMEOUT_US, "us")
        return answer.resp, int.from_bytes(answer.data, "little")

    async def load(self, training: str) -> None:
        """Write an image, many writes under way at a time."""
        writes = [
            cocotb.start_soon(self.write(address, word.to_bytes(4, "little")))
            for address, word in CASE["images"][training]
        ]
        for task, (address, _) in zip(writes, CASE["images"][training], strict=True):
            expect(await task, AxiResp.OKAY, f"write to {address:#x}")

    async def check(self, training: str) -> None:
        """Hold every layer's results against golden's for a training."""
        for vector in CASE["vectors"][training]:
            index = vector["layer"]
            for name in ("group", "operands", "residual"):
                if name in vector and hasattr(self.dut, f"{name}_{index}"):
                    getattr(self.dut, f"{name}_{index}").value = vector[name]
            for _ in range(SETTLE_CYCLES):
                await RisingEdge(self.dut.clk)
            await Timer(1, "ns")
            found = number(getattr(self.dut, f"beat_{index}"), f"beat_{index}")
            if found != vector["beat"]:
                raise BenchError(
                    f"{training}: layer {index} group {vector['group']} gives {found:#x}, golden says "
                    f"{vector['beat']:#x}"
                )


def expect(found: AxiResp, right: AxiResp, what: str) -> None:
    if found != right:
        raise BenchError(f"{what} was answered by {found.name}, not {right.name}")


@cocotb.test(stage=-1)
async def starts_with_its_own_training(dut: Any) -> None:
    """Nothing is loaded yet: a simulator keeps memories from test to test, so this one runs before all others."""
    bench = Bench(dut)
    await bench.start()
    await bench.check("first")


@cocotb.test()
@cocotb.parametrize(stall=STALLS)
async def loads_another_training(dut: Any, stall: str) -> None:
    """The design starts with the first training, gives the second's results once that is loaded, and goes back."""
    bench = Bench(dut, stall)
    await bench.start()
    await bench.load("first")
    await bench.check("first")
    await bench.load("second")
    await bench.check("second")
    await bench.load("first")
    await bench.check("first")


@cocotb.test()
async def keeps_its_training_over_a_reset(dut: Any) -> None:
    """Reset neither clears what was loaded nor brings back the first training."""
    bench = Bench(dut)
    await bench.start()
    await bench.load("second")
    await bench.start()
    await bench.check("second")


@cocotb.test()
@cocotb.parametrize(stall=STALLS)
async def tells_what_it_is(dut: Any, stall: str) -> None:
    """The identification word and the fingerprint are read, and are not written."""
    bench = Bench(dut, stall)
    await bench.start()
    for word in (CASE["map"]["identification"], CASE["map"]["fingerprint"]):
        for _ in range(3):
            expect(await bench.write(word["address"], bytes(4)), AxiResp.SLVERR, "write to a word that is read only")
            response, found = await bench.read(word["address"])
            expect(response, AxiResp.OKAY, f"read of {word['address']:#x}")
            if found != word["value"]:
                raise BenchError(f"word {word['address']:#x} is {found:#x}, not {word['value']:#x}")


@cocotb.test()
async def refuses_every_address_that_holds_nothing(dut: Any) -> None:
    """Holes between and within regions: an error, and nothing is changed."""
    bench = Bench(dut)
    await bench.start()
    await bench.load("first")
    held = {address for address, _ in CASE["images"]["first"]}
    for address in range(0, 1 << CASE["map"]["address_bits"], 4):
        if address not in held:
            expect(await bench.write(address, b"\xff" * 4), AxiResp.SLVERR, f"write to {address:#x}")
    await bench.check("first")


@cocotb.test()
async def refuses_to_read_memories(dut: Any) -> None:
    """They can only be written: a read gives an error and zeros."""
    bench = Bench(dut)
    await bench.start()
    for address, _ in CASE["images"]["first"][::5]:
        response, found = await bench.read(address)
        expect(response, AxiResp.SLVERR, f"read of {address:#x}")
        if found:
            raise BenchError(f"read of {address:#x} gives {found:#x}, not zeros")


@cocotb.test()
async def refuses_parts_of_words(dut: Any) -> None:
    """A write without all of its strobes is an error, and writes nothing."""
    bench = Bench(dut)
    await bench.start()
    await bench.load("second")
    for address, word in CASE["images"]["second"]:
        wrong = (word ^ 0xFFFFFFFF).to_bytes(4, "little")
        for first, length in ((0, 1), (0, 3), (1, 3), (2, 2)):
            response = await bench.write(address + first, wrong[:length])
            expect(response, AxiResp.SLVERR, f"write of {length} bytes to {address + first:#x}")
    await bench.check("second")


@cocotb.test()
async def writes_and_reads_at_once(dut: Any) -> None:
    """Reads come in between writes; neither disturbs the other."""
    bench = Bench(dut, "all")
    await bench.start()
    loading = cocotb.start_soon(bench.load("second"))
    for _ in range(40):
        response, found = await bench.read(CASE["map"]["fingerprint"]["address"])
        expect(response, AxiResp.OKAY, "read of the fingerprint")
        if found != CASE["map"]["fingerprint"]["value"]:
            raise BenchError(f"the fingerprint is {found:#x}")
    await loading
    await bench.check("second")
