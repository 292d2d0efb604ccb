"""The Winograd transforms as generated: nothing multiplies and nothing is stored; what makes no sense is refused."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from commands import Crosstile, refusal
from crosstile_cli.blocks import BLOCKS
from generated import arguments, generate

ROLES = {"weight-transform": "", "activation-transform": "", "partial-sum-transform": " sum_bits=14"}
KERNELS = ["3", "2", "3/2", "2/1", "3/2/1"]
REQUESTS = [
    f"{role} kernel={kernel} dimensions={dimensions}{more}"
    for (role, more), kernel, dimensions in itertools.product(ROLES.items(), KERNELS, (1, 2, 3))
] + [f"{role} kernel={kernel}{more}" for role, more in ROLES.items() for kernel in ("3/2x1", "2x3x3/1")]
PLAIN = {"$add", "$sub", "$mux", "$dff", "$sdff"}
"""Adders, selectors, registers, and registers that select zeros."""

YOSYS = """
import json
from pyosys import libyosys
design = libyosys.Design()
for command in (
    "read_verilog design.v", "hierarchy -check -top dut", "proc", "flatten", "opt", "memory_collect",
    "write_json design.json",
):
    libyosys.Pass.call(design, "tee -q " + command)
"""


def cells_before_mapping(verilog: str, folder: Path) -> Counter[str]:
    """Return the cells of module `dut` as Yosys reads it, `proc` and `opt` done, by their type."""
    (folder / "design.v").write_text(verilog)
    done = subprocess.run([sys.executable, "-P", "-c", YOSYS], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    module = json.loads((folder / "design.json").read_text())["modules"]["dut"]
    return Counter(cell["type"] for cell in module["cells"].values())


def only_adds_and_selects(cells: Counter[str]) -> bool:
    return set(cells) <= PLAIN


@pytest.mark.parametrize("request_", REQUESTS)
def test_before_technology_mapping_there_are_adders_selectors_and_registers_alone(
    request_: str, tmp_path: Path
) -> None:
    """No multiplier, no memory, no block of a device (the method's claims 4 and 5)."""
    made = generate(request_, tmp_path / "made.v", "--name", "dut")
    cells = cells_before_mapping(made.text, tmp_path)
    assert only_adds_and_selects(cells), cells
    assert cells["$add"] + cells["$sub"] == made.record["figures"]["adders"]
    assert made.record["figures"]["multipliers"] == 0


MEMORY = """
  reg [7:0] kept [3:0];
  always @(posedge clk) kept[inputs[1:0]] <= inputs[9:2];
  assign outputs = kept[inputs[3:2]];
"""
BROKEN = {
    "a multiplication": (" + ", " * ", "$mul"),
    "a shift by an input": (" + ", " << ", "$shl"),
    "a memory": ("endmodule", f"{MEMORY} endmodule", "$mem_v2"),
    "a block of a device": ("endmodule", "(* keep *) MULT18X18D block (.A(inputs[17:0])); endmodule", "MULT18X18D"),
}


@pytest.mark.parametrize("change", BROKEN)
def test_a_design_with_anything_else_is_told(change: str, tmp_path: Path) -> None:
    old, new, cell = BROKEN[change]
    sound = generate("weight-transform kernel=3x3", tmp_path / "made.v", "--name", "dut").text
    text = sound.replace(old, new)
    if cell == "MULT18X18D":
        text += "(* blackbox *) module MULT18X18D(input [17:0] A); endmodule\n"
    assert text != sound
    cells = cells_before_mapping(text, tmp_path)
    assert cell in cells
    assert not only_adds_and_selects(cells)


@pytest.mark.parametrize("request_", [REQUESTS[0], "partial-sum-transform kernel=3/2/1x3/2 sum_bits=9"])
def test_the_same_request_gives_the_same_bytes(request_: str, tmp_path: Path) -> None:
    one, other = (generate(request_, tmp_path / f"{name}.v", "--name", "dut") for name in ("one", "other"))
    assert one.path.read_bytes() == other.path.read_bytes()


def test_one_entry_stands_for_all_axes(tmp_path: Path) -> None:
    one = generate("weight-transform kernel=3/2 dimensions=2", tmp_path / "one.v")
    other = generate("weight-transform kernel=3/2x3/2", tmp_path / "other.v")
    assert one.text == other.text
    assert one.record["parameters"]["kernel"] == "3/2x3/2"
    assert one.record["parameters"]["dimensions"] == "2"


def test_gates_alone_have_no_clock_and_a_switch_needs_one(tmp_path: Path) -> None:
    fixed = generate("partial-sum-transform kernel=3 pipeline=none", tmp_path / "fixed.v")
    switched = generate("partial-sum-transform kernel=3/2 pipeline=none", tmp_path / "switched.v")
    assert [port["name"] for port in fixed.record["ports"]] == ["inputs", "outputs"]
    assert [port["name"] for port in switched.record["ports"]] == ["clk", "rst", "inputs", "outputs", "switch_word"]


ENTRY = "1 to 3 entries joined by x, each 3, 2, 1, 3/2, 3/1, 2/1 or 3/2/1, like 3, 3x3 or 3/2x3"
REFUSALS = {
    "weight-transform": f"block weight-transform needs --set kernel=...; kernel must be {ENTRY}",
    "weight-transform kernel=4": f"--set kernel must be {ENTRY}, not '4'",
    "weight-transform kernel=2/3": f"--set kernel must be {ENTRY}, not '2/3'",
    "activation-transform kernel=3x3x3x3": f"--set kernel must be {ENTRY}, not '3x3x3x3'",
    "activation-transform kernel=3x": f"--set kernel must be {ENTRY}, not '3x'",
    "weight-transform kernel=3x3 dimensions=3":
        "--set kernel must have one entry, or 3 as dimensions=3 has, not 3x3",
    "weight-transform kernel=3 dimensions=4": "--set dimensions must be a whole number, 1 to 3, or auto, not '4'",
    "partial-sum-transform kernel=1 dimensions=2":
        "--set kernel must serve 3 or 2 along an axis, not 1x1: there would be nothing to transform",
    "weight-transform kernel=3 weight_bits=33": "--set weight_bits must be a whole number, 2 to 32, not '33'",
    "activation-transform kernel=3 activation_bits=0":
        "--set activation_bits must be a whole number, 1 to 32, not '0'",
    "activation-transform kernel=3 signed=perhaps": "--set signed must be yes or no, not 'perhaps'",
    "activation-transform kernel=3 weight_bits=8":
        "--set weight_bits: block activation-transform has no such parameter; it has kernel, dimensions, "
        "activation_bits, signed, pipeline",
    "weight-transform kernel=3 pipeline=deep": "--set pipeline must be none, axis or adder, not 'deep'",
    "partial-sum-transform kernel=3 sum_bits=1": "--set sum_bits must be a whole number, 2 to 64, not '1'",
    "partial-sum-transform kernel=3x1x3/2 sum_bits=61":
        "--set sum_bits must be 2 to 60 for kernel 3x1x3/2 with output_bits=auto, not 61",
    "partial-sum-transform kernel=3x3 output_bits=2":
        "--set output_bits must be 3 to 64 for kernel 3x3, or auto, not 2",
    "partial-sum-transform kernel=3 output_bits=65":
        "--set output_bits must be a whole number, 1 to 64, or auto, not '65'",
}  # fmt: skip


@pytest.mark.filterwarnings("error::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize("request_", REFUSALS)
def test_a_request_without_sense_is_refused_in_one_line(request_: str, crosstile: Crosstile, tmp_path: Path) -> None:
    assert refusal(crosstile, tmp_path, *arguments(request_, tmp_path / "out.v")) == REFUSALS[request_]


@pytest.mark.parametrize("request_", ["kernel=3x1x3/2 sum_bits=60", "kernel=3 sum_bits=64 output_bits=64"])
def test_the_widest_sums_are_accepted(request_: str, tmp_path: Path) -> None:
    assert generate(f"partial-sum-transform {request_}", tmp_path / "wide.v").record["figures"]["scale_bits"] > 0


def test_all_three_are_blocks() -> None:
    assert set(ROLES) <= set(BLOCKS)
