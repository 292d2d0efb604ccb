"""crosstile compile: import, quantise, map, build, report."""

from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from crosstile.accelerator import Accelerator
from crosstile.mapper import DEFAULTS, Options, map_network
from crosstile.network_plan import NetworkPlan
from crosstile.verilog import emit
from crosstile_golden.errors import CrosstileError
from crosstile_golden.graph import FloatGraph
from crosstile_golden.network import IntegerNetwork
from crosstile_golden.onnx_import import import_onnx
from crosstile_golden.orientation import oriented
from crosstile_golden.quantise_shift import ACTIVATION_BITS, WEIGHT_BITS, check_bits, quantise_shift
from crosstile_golden.stages import reference_tensors
from numpy.typing import NDArray

from .arrays import read_array
from .build_folder import check_replaceable, write_json, written_beside
from .console import progress
from .names import top_module_name
from .records import describe, mapping_record, weight_words
from .report import write_report
from .toolchain import require

LONGEST_FRAME = 10**15  # cycles; more than any layer takes, and whole in a float
Mapping = Callable[[IntegerNetwork], NetworkPlan]


def compile_model(
    model: Path, calibrate: Path, output: Path, name: str | None, weight_bits: int, activation_bits: int,
    mapping: Mapping, orientation: str = "rows",
) -> dict[str, Any]:
    """Compile a model into the folder `output`; return the report.

    Raises `CrosstileError` for anything wrong with the request, what costs no time first.
    """
    name = top_module_name(name, model.stem)
    check_bits("--weight-bits", weight_bits, WEIGHT_BITS)
    check_bits("--activation-bits", activation_bits, ACTIVATION_BITS)
    if not model.is_file():
        raise CrosstileError(f"{model}: no such file; give the path of an ONNX model")
    check_replaceable(output)
    require("pyosys")
    with progress("reading the model"):
        graph = import_onnx(model)
        calibration = read_array(calibrate, "--calibrate")
    with progress("quantising"):
        network = quantise_shift(graph, calibration, weight_bits, activation_bits)
    with progress("mapping"):
        plan = mapping(oriented(network, orientation))
        noise = signal_to_noise(network, graph, calibration)
        report = describe(plan, network, name, weight_bits, activation_bits, noise) | {"notices": list(graph.notices)}
    with written_beside(output) as folder, progress("writing Verilog"):
        (folder / "verilog").mkdir()
        (folder / "verilog" / f"{name}.v").write_text(emit(Accelerator(plan), name), encoding="utf-8")
        network.save(folder / "network.npz")
        if plan.load_map is not None:
            np.save(folder / "weights.npy", weight_words(plan))
        write_json(mapping_record(plan, name, orientation), folder / "mapping.json")
        write_json(report, folder / "report.json")
        write_report(report, folder / "report.html")
    return report


def frame_budget(frames_per_second: float, clock: float) -> int:
    """Return the cycles that a frame may take: ⌊clock / frames per second⌋, the clock in MHz."""
    if not (isfinite(frames_per_second) and isfinite(clock) and frames_per_second > 0 and clock > 0):
        raise CrosstileError(
            f"--frames-per-second and --clock must be above 0, not {frames_per_second:g} and {clock:g}"
        )
    return int(min(clock * 1e6 / frames_per_second, LONGEST_FRAME))


def choose_mapping(
    multipliers: int | None, frames_per_second: float | None, clock: float | None, options: Options = DEFAULTS
) -> Mapping:
    """Return how to map: onto a number of multipliers, or the fewest that keep a frame rate."""
    if frames_per_second is None and clock is None:
        return lambda network: map_network(network, multipliers, None, options)
    if frames_per_second is None or clock is None:
        raise CrosstileError("--frames-per-second and --clock go together; give both, or neither")
    if multipliers is not None:
        raise CrosstileError("give --multipliers, or --frames-per-second with --clock, not both")
    cycles = frame_budget(frames_per_second, clock)
    return lambda network: map_network(network, None, cycles, options)


def signal_to_noise(network: IntegerNetwork, graph: FloatGraph, calibration: NDArray[Any]) -> dict[str, float | None]:
    """Return each layer's signal-to-quantisation-noise ratio on the calibration data, in dB.

    10·log10(Σ real² / Σ (real − integer/scale)²), the scale being the least-squares one; None where the noise
    or the signal is zero.
    """
    frames = calibration.astype(np.float64)
    real = reference_tensors(graph, frames, network.input_format.signed)
    integers = network.tensors(network.quantise_input(frames))
    return {name: _decibels(real[name], integers[name].astype(np.float64)) for name in integers}


def _decibels(real: NDArray[np.float64], integer: NDArray[np.float64]) -> float | None:
    real, integer = real.ravel(), integer.ravel()
    power = float(integer @ integer)
    noise = real - integer * (float(real @ integer) / power) if power else real
    signal, error = float(real @ real), float(noise @ noise)
    return round(10 * float(np.log10(signal / error)), 2) if signal > 0 and error > 0 else None
