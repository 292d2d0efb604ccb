"""What switching dimensions costs: the Winograd array of 64 multipliers against arrays of one dimension.

    python benchmarks/winograd_array.py [--dimensions 1 2 3 123] [--pipeline axis] [--place]

Activations uint8, weights int8, sums of 16 channels; cells of an ECP5 by Yosys, its clock by nextpnr.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

from crosstile.verilog import emit
from crosstile.winograd_array import WinogradArray
from crosstile.winograd_array_plan import WinogradArrayPlan
from crosstile.winograd_nested_plan import PIPELINES
from crosstile_cli.synthesis import place_ecp5, synthesize
from crosstile_golden.numbers import NumberFormat
from rich.console import Console
from rich.table import Table

CHANNELS, WEIGHT_BITS = 16, 8
UINT8 = NumberFormat(8, signed=False)
DIMENSIONS = ("1", "2", "3", "12", "13", "23", "123")


def measure(dimensions: str, pipeline: str, place: bool) -> dict[str, object]:
    """Return one row of the table."""
    plan = WinogradArrayPlan(UINT8, WEIGHT_BITS, CHANNELS, None, tuple(map(int, dimensions)), pipeline)
    most = {sum(size > 1 for size in kernel): plan.multiply_accumulates(kernel) for kernel in plan.kernels}
    row: dict[str, object] = {
        "dimensions": " ".join(dimensions), "MACs": " ".join(map(str, most.values())), "latency": plan.latency,
        "adders": plan.counted.adders, "adder bits": plan.counted.adder_bits,
        "selector bits": plan.counted.selector_bits, "sum bits": sum(term.bits for term in plan.sums),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        verilog, netlist = work / "dut.v", work / "netlist.json"
        verilog.write_text(emit(WinogradArray(plan), "dut"))
        cells = synthesize(verilog, "dut", "ecp5", work, netlist)
        row |= {"LUT4": cells.luts, "carries": cells.carries, "cells": cells.cells}
        row |= {"FFs": cells.ffs, "DSPs": cells.dsps}
        if place:
            row["MHz"] = round(median(place_ecp5(netlist, work, seed).fmax_mhz for seed in (1, 2, 3)))
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimensions", nargs="*", default=["1", "2", "3", "123"], choices=DIMENSIONS)
    parser.add_argument("--pipeline", default="axis", choices=PIPELINES)
    parser.add_argument("--place", action="store_true", help="nextpnr on ECP5-85k, median of seeds 1, 2, 3")
    options = parser.parse_args()
    rows = [measure(dimensions, options.pipeline, options.place) for dimensions in options.dimensions]
    table = Table(*rows[0], title=f"uint8, int8, {CHANNELS} channels, pipeline {options.pipeline}")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console(width=200).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
