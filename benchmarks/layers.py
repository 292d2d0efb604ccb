"""Figures of single layers: multipliers busy, cells, block RAMs and clock, all from one run.

    python benchmarks/layers.py [--layers NAME ...] [--multipliers N ...]
        [--engines auto crosspoint steered buffered winograd reuse] [--window P ...] [--no-halo]
        [--targets ecp5 xilinx] [--place] [--simulate] [--infer]

Weights and activations are random over their whole range (the seed is printed), which is the hardest case for
widths. Effective are the multiply-accumulates of the direct convolution, padding counted as work, over multipliers ×
cycles between frames back to back; useful leaves out the padding. Cycles come from the exact timing model and, with
--simulate, from Verilator. A steered or buffered engine is a crosspoint engine of that architecture.

Reads are activations read from memory per frame; of engines that keep no frame, those taken from the stream. Reuse
engines are measured with each macro window of P inputs along every axis (one over the whole padded frame, if not
given); --no-halo reads again what windows share.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import astuple, dataclass, replace
from math import prod
from pathlib import Path
from statistics import median

import numpy as np
from crosstile.accelerator import Accelerator, lane_bits
from crosstile.layer_plan import ARCHITECTURES, ConvolutionPlan, EnginePlan
from crosstile.mapper import ENGINES, Options, deepen, map_network, spread
from crosstile.network_plan import NetworkPlan
from crosstile.reuse_layer_plan import ReuseLayerPlan, reuse_plans
from crosstile.verilog import emit
from crosstile.winograd_numbers import WEIGHT_STORES
from crosstile_cli.simulate_command import from_beats, to_beats, watchdog
from crosstile_cli.simulators import StallPattern, verilator
from crosstile_cli.synthesis import place_ecp5, synthesize
from crosstile_golden.activation import RELU
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import ConvolutionGeometry
from crosstile_golden.network import ConvolutionLayer, IntegerNetwork
from crosstile_golden.numbers import NumberFormat
from crosstile_golden.reuse import layer_reads_sliding
from rich.console import Console
from rich.table import Table

SEED = 7
UNSIGNED = NumberFormat(8, signed=False)


@dataclass(frozen=True)
class Shape:
    """A layer to measure."""

    channels: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    padding: tuple[int, ...]
    filters: int
    stride: tuple[int, ...] = ()
    groups: int = 1


LAYERS: dict[str, tuple[Shape, tuple[int, ...]]] = {
    "3x3 16-16 32x32": (Shape(16, (32, 32), (3, 3), (1, 1), 16), (9, 36, 144)),
    "3x3 depthwise 64 25x5": (Shape(64, (25, 5), (3, 3), (1, 1), 64, groups=64), (9, 36)),
    "1x1 16-32 16x16": (Shape(16, (16, 16), (1, 1), (0, 0), 32), (8, 64)),
    "5x5 16-16 32x32": (Shape(16, (32, 32), (5, 5), (2, 2), 16), (25, 100)),
    "3x3 stride 2 16-32 32x32": (Shape(16, (32, 32), (3, 3), (1, 1), 32, stride=(2, 2)), (12, 36)),
    "1D k3 32-32 128": (Shape(32, (128,), (3,), (1,), 32), (12, 48)),
    "2x2 16-16 32x32": (Shape(16, (32, 32), (2, 2), (0, 0), 16), (16, 64)),
    "3D 3x3x3 8-8 16x16x16": (Shape(8, (16, 16, 16), (3, 3, 3), (1, 1, 1), 8), (9, 72)),
}


def random_layer(shape: Shape) -> ConvolutionLayer:
    """Return an int8 layer whose outputs spread over their range."""
    random = np.random.default_rng(SEED)
    ones = (1,) * len(shape.size)
    geometry = ConvolutionGeometry(
        shape.channels, shape.size, shape.kernel, shape.stride or ones, ones, shape.padding, shape.padding,
        shape.filters, shape.groups,
    )
    weight = random.integers(-127, 128, geometry.weight_shape)
    shift = int(np.ceil(np.log2(np.sqrt(np.prod(geometry.weight_shape[1:])) * 74 * 148 / 90)))
    shifts = random.integers(shift - 1, shift + 2, shape.filters)
    return ConvolutionLayer("layer", geometry, weight, random.integers(-9999, 9999, shape.filters), shifts, 8, UNSIGNED,
                            UNSIGNED, RELU)


def network_of(layer: ConvolutionLayer) -> IntegerNetwork:
    geometry = layer.geometry
    return IntegerNetwork("layer", (geometry.in_channels, *geometry.input_size), layer.input_format, 1.0, (layer,),
                          1.0, (geometry.out_channels, *geometry.output_size), "shift")


def simulate(plan: NetworkPlan, verilog: Path, work: Path, frames: int = 4) -> dict[str, object]:
    """Run random frames back to back in Verilator; return cycles between frames and what differs."""
    random = np.random.default_rng(SEED)
    network = plan.network
    values = random.integers(0, 256, (frames, *network.input_shape))
    beats = to_beats(values, plan.lanes_in, lane_bits(plan.input_format))
    result = verilator.simulate(verilog, "layer", beats, frames, frames * plan.beats_out, StallPattern(), None, work,
                                watchdog(plan, 0))
    ends = result.output_cycles[plan.beats_out - 1 :: plan.beats_out]
    outputs = from_beats(result.output_beats, plan)
    return {
        "cycles_simulated": int(ends[-1] - ends[-2]),
        "reads_simulated": None if result.activation_reads is None else result.activation_reads // frames,
        "mismatches": int((outputs != network.run(values)).sum()),
        "problems": list(result.problems()),
        "simulated_cycles_per_second": round(result.cycles_run / result.seconds),
    }


def name_of(plan: EnginePlan) -> str:
    """Return what to call an engine in the table."""
    if isinstance(plan, ConvolutionPlan):
        return plan.architecture
    return "reuse" if isinstance(plan, ReuseLayerPlan) else "winograd"


def options_of(engine: str, weights: str) -> Options:
    """Return what the mapper may choose from."""
    engines = None if engine == "auto" else (engine,) if engine in ENGINES else ("crosspoint",)
    architectures = (engine,) if engine in ARCHITECTURES else ARCHITECTURES
    return Options(engines, architectures, weights)


def reuse_network(layer: ConvolutionLayer, multipliers: int, window: int | None, halo: bool) -> NetworkPlan:
    """Return the layer on a reuse engine: the fastest fold, with a macro window of `window` inputs along every axis."""
    plans = reuse_plans(layer)
    least = min((plan.multipliers for plan in plans), default=0)
    if not plans or least > multipliers:
        raise CrosstileError(f"a reuse engine needs groups 1 and {least} multipliers, not {multipliers}")
    chosen = spread([plans], multipliers)[0]
    fold = chosen.fold if window is None else replace(chosen.fold, window=(window,) * layer.geometry.dimensions)
    return deepen(NetworkPlan(network_of(layer), (replace(chosen, fold=fold, halo=halo),)))


def measure(
    name: str, multipliers: int, engine: str, window: int | None, options: argparse.Namespace
) -> dict[str, object]:
    """Return one row of the table."""
    layer = random_layer(LAYERS[name][0])
    started = time.perf_counter()
    if engine == "reuse":
        plan = reuse_network(layer, multipliers, window, not options.no_halo)
    else:
        plan = map_network(network_of(layer), multipliers, None, options_of(engine, options.winograd_weights))
    chosen = plan.layers[0]
    assert isinstance(chosen, EnginePlan)
    taken = layer.geometry.in_channels * prod(layer.geometry.input_size)
    text = emit(Accelerator(plan), "layer")
    capacity = plan.multipliers * plan.cycles_per_frame
    row: dict[str, object] = {
        "layer": name, "engine": name_of(chosen),
        "multipliers": plan.multipliers, "fold": " ".join(map(str, astuple(chosen.fold))),
        "cycles": plan.cycles_per_frame, "latency": plan.latency, "macs": layer.geometry.macs,
        "effective": round(layer.geometry.macs / capacity, 4), "useful": round(chosen.useful_macs / capacity, 4),
        "reads": chosen.activation_reads if isinstance(chosen, ReuseLayerPlan) else taken,
        "sliding_reads": layer.geometry.in_channels * layer_reads_sliding(layer.geometry),
        "losses": " ".join(f"{part} {100 * share:.1f}" for part, share in chosen.losses(plan.cycles_per_frame).items()),
        "compile_seconds": round(time.perf_counter() - started, 2), "verilog_bytes": len(text),
        "memory_bits": chosen.memory_bits,
        "queue_bits": sum(
            sum(depths) * stage.plan.lanes_out * stage.plan.output_format.bits
            for stage, depths in zip(plan.stages, plan.depths, strict=True)
        ),
    }
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        verilog = work / "layer.v"
        verilog.write_text(text)
        if options.simulate:
            row |= simulate(plan, verilog, work)
        for target in options.targets:
            netlist = work / "netlist.json" if options.place and target == "ecp5" else None
            cells = synthesize(verilog, "layer", target, work, netlist, options.infer)
            row |= {f"{target}_{key}": getattr(cells, key) for key in ("cells", "luts", "ffs", "dsps", "brams")}
            effective = layer.geometry.macs / plan.cycles_per_frame
            row[f"{target}_cells_per_effective_mac"] = round(cells.cells / effective, 1)
            if netlist:
                row["ecp5_mhz"] = median(place_ecp5(netlist, work, seed).fmax_mhz for seed in (1, 2, 3))
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", nargs="*", default=list(LAYERS), choices=list(LAYERS))
    parser.add_argument("--multipliers", nargs="*", type=int)
    parser.add_argument("--targets", nargs="*", default=["ecp5", "xilinx"])
    parser.add_argument("--place", action="store_true", help="nextpnr on ECP5-85k, median of seeds 1, 2, 3")
    parser.add_argument("--infer", action="store_true", help="let Yosys infer the multipliers on ECP5, too")
    parser.add_argument("--engines", nargs="*", default=["auto"], choices=["auto", *ENGINES, *ARCHITECTURES])
    parser.add_argument("--window", nargs="*", type=int, help="of reuse engines: inputs of a macro window, in turn")
    parser.add_argument("--no-halo", action="store_true", help="of reuse engines: read again what windows share")
    parser.add_argument("--winograd-weights", default="transformed", choices=WEIGHT_STORES)
    parser.add_argument("--simulate", action="store_true", help="run 4 frames in Verilator and compare")
    parser.add_argument("--output", type=Path, default=Path("build/benchmarks/layers.json"))
    options = parser.parse_args()
    if "reuse" not in options.engines and (options.window or options.no_halo):
        parser.error("--window and --no-halo are of reuse engines: name reuse after --engines")
    if options.winograd_weights != "transformed" and not {"auto", "winograd"} & set(options.engines):
        parser.error(f"--winograd-weights {options.winograd_weights} is of Winograd engines: name one after --engines")
    if (options.place or options.infer) and "ecp5" not in options.targets:
        parser.error(f"--place and --infer are of ecp5: name it after --targets, not only {options.targets}")
    try:
        rows = [
            measure(name, multipliers, engine, window, options)
            for name in options.layers
            for multipliers in options.multipliers or LAYERS[name][1]
            for engine in options.engines
            for window in (options.window or [None] if engine == "reuse" else [None])
        ]
    except CrosstileError as error:
        parser.error(str(error))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"seed": SEED, "rows": rows}, indent=2) + "\n")
    table = Table(*rows[0], title=f"seed {SEED}")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console(width=400).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
