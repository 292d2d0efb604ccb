"""crosstile synthesize: cells by Yosys, and the clock by nextpnr."""

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from .build_folder import BuildFolder
from .console import progress
from .synthesis import place_ecp5, require_placeable, synthesize


def synthesize_build(build: BuildFolder, target: str, place: bool, seeds: list[int]) -> dict[str, Any]:
    """Return the record for synthesis.json; `fmax_mhz` is the median over the placer's seeds, null if not placed.

    Raises `CrosstileError` for an unknown target, one that cannot be placed, or a missing tool.
    """
    if place:
        require_placeable(target)
    with tempfile.TemporaryDirectory() as folder:
        netlist = Path(folder) / "netlist.json" if place else None
        with progress(f"synthesising for {target}"):
            cells = synthesize(build.verilog, build.name, target, build.work, netlist)
        clocks = []
        for seed in seeds if netlist else []:
            with progress(f"placing and routing, seed {seed}"):
                clocks.append(round(place_ecp5(Path(folder) / "netlist.json", build.work, seed).fmax_mhz, 2))
    return {
        "target": target, "luts": cells.luts, "ffs": cells.ffs, "dsps": cells.dsps, "brams": cells.brams,
        "carries": cells.carries, "lutrams": cells.lutrams, "cells": cells.cells,
        "fmax_mhz": median(clocks) if clocks else None, "fmax_mhz_by_seed": dict(zip(seeds, clocks, strict=False)),
        "cell_counts": cells.cell_counts, "seconds": round(cells.seconds, 1),
    }
