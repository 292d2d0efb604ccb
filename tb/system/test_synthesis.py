"""Cells are counted per device family, and the clock of a small design is found."""

import json
import re
from pathlib import Path

import pytest
from crosstile_cli.synthesis import TARGETS, count_cells, place_ecp5, require_placeable, synthesize
from crosstile_golden.errors import CrosstileError

# An 8×8 multiplier into 16 flip-flops, a 32-bit counter, a 1024×32 block RAM, a 16×8 RAM that is read in the cycle.
DESIGN = """
module mixed(
  input clk, input rst, input signed [7:0] a, b, output reg signed [15:0] product, output reg [31:0] count,
  input write, input [9:0] address, input [31:0] data, output reg [31:0] word,
  input [3:0] low, output [7:0] now
);
  reg [31:0] block [0:1023];
  reg [7:0] small [0:15];
  assign now = small[low];
  always @(posedge clk) begin
    product <= a * b;
    count <= rst ? 0 : count + 1;
    if (write) begin block[address] <= data; small[address[3:0]] <= data[7:0]; end
    word <= block[address ^ 10'd5];
  end
endmodule
"""
REGISTERS = 16 + 32
# (flip-flops, multipliers, block RAMs, memory cells made of LUTs). The multipliers of xilinx and ice40 take the
# product in; ice40 has no memory made of LUTs, so the small one is flip-flops.
EXPECTED = {
    "ecp5": (REGISTERS, 1, 2, 2),
    "xilinx": (32, 1, 2, 2),
    "gowin": (REGISTERS, 1, 2, 2),
    "intel": (REGISTERS, 1, 4, 8),
    "generic": (REGISTERS, 0, 2, 0),
    "ice40": (32 + 8 * 16, 1, 8, 0),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("a synthesis folder")
    (path / "mixed.v").write_text(DESIGN)
    return path


@pytest.mark.parametrize("target", TARGETS)
def test_every_cell_is_counted_once_on_every_target(folder: Path, target: str) -> None:
    result = synthesize(folder / "mixed.v", "mixed", target, folder)
    assert (result.ffs, result.dsps, result.brams, result.lutrams) == EXPECTED[target]
    assert result.other == {}
    assert result.luts + result.carries > 0
    assert result.target == target


def test_cells_cost_what_they_occupy_on_ecp5() -> None:
    counts = {"LUT4": 100, "CCU2C": 10, "TRELLIS_DPR16X4": 3, "TRELLIS_FF": 7, "PFUMX": 5, "MULT18X18D": 2}
    result = count_cells("ecp5", counts | {"DP16KD": 4, "EHXPLLL": 1}, 0.5)
    assert (result.luts, result.carries, result.lutrams, result.ffs) == (100, 10, 3, 7)
    assert (result.dsps, result.brams) == (2, 4)
    assert result.cells == 100 + 2 * 10 + 6 * 3
    assert result.other == {"EHXPLLL": 1}
    assert result.cell_counts["PFUMX"] == 5


def test_a_large_block_ram_of_xilinx_is_two_small_ones() -> None:
    result = count_cells("xilinx", {"RAMB18E1": 1, "RAMB36E1": 3, "LUT6": 5, "RAM64M": 2, "FDRE": 1, "FDSE": 2}, 0)
    assert (result.brams, result.luts, result.lutrams, result.cells, result.ffs) == (7, 5, 2, 13, 3)


def test_counts_are_the_same_in_every_run(folder: Path) -> None:
    first, second = (synthesize(folder / "mixed.v", "mixed", "ecp5", folder) for _ in range(2))
    assert first.cell_counts == second.cell_counts


def test_the_clock_comes_from_the_routed_design(folder: Path) -> None:
    netlist = folder / "a netlist.json"
    result = synthesize(folder / "mixed.v", "mixed", "ecp5", folder, netlist)
    assert set(json.loads(netlist.read_text())["modules"]) >= {"mixed"}
    placed = [place_ecp5(netlist, folder, seed) for seed in (1, 1, 2)]
    assert placed[0].fmax_mhz == placed[1].fmax_mhz
    assert all(50 < placement.fmax_mhz < 1000 for placement in placed)
    assert (placed[2].seed, placed[2].size) == (2, "85k")
    log = (folder / "nextpnr_ecp5_1.log").read_text()
    total = re.search(r"Total LUT4s:\s+(\d+)/", log)
    assert total is not None
    assert int(total.group(1)) == result.cells


def test_a_wrong_request_is_refused(folder: Path) -> None:
    with pytest.raises(CrosstileError, match=re.escape(f"target must be one of {', '.join(TARGETS)}, not 'asic'")):
        synthesize(folder / "mixed.v", "mixed", "asic", folder)
    missing = folder / "absent.v"
    with pytest.raises(CrosstileError, match=f"^{re.escape(str(missing))} is missing; compile the design first$"):
        synthesize(missing, "mixed", "ecp5", folder)
    message = "placing is supported for target ecp5 only, not 'ice40'; leave --place out"
    with pytest.raises(CrosstileError, match=f"^{re.escape(message)}$"):
        require_placeable("ice40")
    with pytest.raises(CrosstileError, match=r"^size must be one of 12k, 25k, 45k, 85k, not '100k'$"):
        place_ecp5(folder / "netlist.json", folder, size="100k")
    with pytest.raises(CrosstileError, match=r"^seed must be 0 or more, not -1$"):
        place_ecp5(folder / "netlist.json", folder, seed=-1)


def test_a_failure_names_the_line_and_the_log(folder: Path) -> None:
    log = folder / "yosys_ecp5.log"
    message = f"yosys failed: ERROR: Module `absent' not found!; its log is {log}"
    with pytest.raises(CrosstileError, match=f"^{re.escape(message)}$"):
        synthesize(folder / "mixed.v", "absent", "ecp5", folder)
