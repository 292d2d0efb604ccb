"""Figures of the Winograd transforms alone: adders, selectors, levels, cells of an ECP5 and the clock.

    python benchmarks/transforms.py [--axes 1 2 3] [--place]

Activations are uint8, weights int8; partial sums are those of 16 channels, once as wide as any sums can need and once
cut to the bits of the results. Registers stand behind each axis.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

from crosstile.verilog import emit
from crosstile.winograd_nested_plan import PIPELINES, NestedPlan
from crosstile.winograd_network import Kernel
from crosstile.winograd_transform import transform_of
from crosstile.winograd_transform_plan import ActivationTransformPlan, PartialSumTransformPlan, WeightTransformPlan
from crosstile_cli.synthesis import place_ecp5, synthesize
from crosstile_golden.numbers import NumberFormat, signed_bits_for
from crosstile_golden.winograd import TileRanges
from rich.console import Console
from rich.table import Table

CHANNELS = 16
UINT8 = NumberFormat(8, signed=False)
SIZES = {"3": (3,), "2": (2,), "3 or 2": (3, 2), "2 or 1": (2, 1), "3, 2 or 1": (3, 2, 1)}


def partial_sums(kernel: Kernel, pipeline: str) -> PartialSumTransformPlan:
    """Return the plan for the sums of any of the kernel's sizes."""
    served = WeightTransformPlan(kernel).kernels
    tiles = [TileRanges(choice, UINT8, -128, 127, CHANNELS).partial_sums for choice in served]
    low = [min(ends) for ends in zip(*(tile[0].ravel().tolist() for tile in tiles), strict=True)]
    high = [max(ends) for ends in zip(*(tile[1].ravel().tolist() for tile in tiles), strict=True)]
    return PartialSumTransformPlan(kernel, tuple(zip(low, high, strict=True)), pipeline=pipeline)


def results_known(plan: PartialSumTransformPlan) -> PartialSumTransformPlan:
    """Return the plan with no more bits than the results have; those of the largest sizes are the widest."""
    largest = tuple(sizes[0] for sizes in plan.kernel)
    return replace(plan, output_bits=signed_bits_for(*TileRanges(largest, UINT8, -128, 127, CHANNELS).result))


def plans(axes: int, pipeline: str) -> Iterator[tuple[str, str, NestedPlan]]:
    """Give role, sizes and plan."""
    yield "activations", "3, 2", ActivationTransformPlan(((3,),) * axes, UINT8, pipeline)
    yield "activations", "3, 2 or 1", ActivationTransformPlan(((3, 2, 1),) * axes, UINT8, pipeline)
    for name, sizes in SIZES.items():
        yield "weights", name, WeightTransformPlan((sizes,) * axes, pipeline=pipeline)
    for name, sizes in SIZES.items():
        plan = partial_sums((sizes,) * axes, pipeline)
        yield "partial sums", name, plan
        yield "  known results", name, results_known(plan)


def measure(axes: int, role: str, size: str, plan: NestedPlan, place: bool) -> dict[str, object]:
    """Return one row of the table."""
    widths = sorted({term.bits for term in plan.outputs})
    row: dict[str, object] = {
        "axes": axes, "transform": role, "size": size, "adders": plan.adders, "textbook": plan.textbook_adders,
        "selectors": plan.selectors, "levels": plan.levels, "output bits": " ".join(map(str, widths)),
        "adder bits": plan.adder_bits, "register bits": plan.data_register_bits,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        verilog, netlist = work / "dut.v", work / "netlist.json"
        verilog.write_text(emit(transform_of(plan), "dut"))
        cells = synthesize(verilog, "dut", "ecp5", work, netlist)
        row |= {"LUT4": cells.luts, "carries": cells.carries, "cells": cells.cells, "FFs": cells.ffs}
        if place:
            row["MHz"] = round(median(place_ecp5(netlist, work, seed).fmax_mhz for seed in (1, 2, 3)))
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axes", nargs="*", type=int, default=[1, 2, 3], choices=[1, 2, 3])
    parser.add_argument("--pipeline", default="axis", choices=PIPELINES)
    parser.add_argument("--place", action="store_true", help="nextpnr on ECP5-85k, median of seeds 1, 2, 3")
    options = parser.parse_args()
    rows = [
        measure(axes, *entry, options.place) for axes in options.axes for entry in plans(axes, options.pipeline)
    ]
    table = Table(*rows[0], title=f"uint8, int8, {CHANNELS} channels, pipeline {options.pipeline}")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console(width=200).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
