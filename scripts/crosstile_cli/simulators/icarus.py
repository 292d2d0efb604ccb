"""Runs of an emitted AXI4-Stream design in Icarus: the bench is Verilog-2005, so no Python runs per cycle."""

import shutil
import time
from pathlib import Path

import numpy as np

from ..toolchain import build_folder, require, run_tool
from . import Bytes, SimulationResult, StallPattern, Words
from .stream_bench import StreamBench

BUILD_SECONDS = 600.0
"""Longest that Icarus may take to compile."""


def simulate(
    verilog: Path,
    top: str,
    input_beats: Bytes,
    frames: int,
    output_beats_expected: int,
    stall: StallPattern,
    waves: Path | None,
    work: Path,
    watchdog_cycles: int,
    weights: Words | None = None,
) -> SimulationResult:
    """Run frames through module `top` of an emitted Verilog file, from reset until its outputs have come.

    Takes, gives and raises what `crosstile_cli.simulators.verilator.simulate` does, cycle for cycle.
    Undefined bits (x or z) of an output are reported in `protocol_errors`, and read as 0.
    """
    request = (verilog, top, input_beats, frames, output_beats_expected, stall, waves, watchdog_cycles, weights)
    bench = StreamBench(*request)
    compiler, runner = require("iverilog"), require("vvp")
    # Icarus starts its parts through a shell that splits paths at spaces.
    with build_folder() as folder:
        shutil.copyfile(verilog, folder / "design.v")
        (folder / "bench.v").write_text(
            bench.render("stream_bench.v.jinja", waves=bench.wave_format, **bench.numbers())
        )
        # $fread starts at the top byte.
        np.ascontiguousarray(input_beats[:, ::-1]).tofile(folder / "input.bin")
        bench.words.astype(">u4").tofile(folder / "load.bin")
        options = ["-g2005", "-s", "crosstile_stream_bench", "-o", "bench.vvp"]
        command: list[str | Path] = [compiler, *options, "design.v", "bench.v"]
        variables = {"TMPDIR": str(folder)}
        run_tool(command, folder, work / "icarus_build.log", BUILD_SECONDS, variables)
        started = time.perf_counter()
        formats = [f"-{bench.wave_format}"] if waves else []
        run_tool([runner, "-n", "bench.vvp", *formats], folder, work / "icarus_run.log")
        seconds = time.perf_counter() - started
        if waves is not None:
            shutil.move(folder / f"waves.{bench.wave_format}", waves)
        return _read(bench, folder, seconds)


_UNDEFINED = str.maketrans("xzXZ", "0000")


def _read(bench: StreamBench, folder: Path, seconds: float) -> SimulationResult:
    rows = [line.translate(_UNDEFINED).split() for line in (folder / "given.txt").read_text().splitlines()]
    data = np.frombuffer(bytes.fromhex("".join(row[2] for row in rows)), dtype=np.uint8)
    beats = np.ascontiguousarray(data.reshape(len(rows), bench.output_bytes)[:, ::-1])
    last = np.array([row[1] == "1" for row in rows], dtype=np.bool_)
    taken = np.array((folder / "taken.txt").read_text().split(), dtype=np.int64)
    given = np.array([row[0] for row in rows], dtype=np.int64)
    return bench.result((folder / "summary.txt").read_text(), beats, last, taken, given, seconds)
