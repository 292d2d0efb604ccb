"""crosstile compile: import, quantise, map, build, report."""

from collections.abc import Callable
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from crosstile import __version__
from crosstile.accelerator import Accelerator, lane_bits
from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.mapper import map_network
from crosstile.network_plan import NetworkPlan, StagePlan, input_format, lanes_in, lanes_out, output_format
from crosstile.pool_plan import PoolPlan
from crosstile.verilog import emit
from crosstile_golden.errors import CrosstileError
from crosstile_golden.float_network import float_tensors
from crosstile_golden.graph import FloatGraph
from crosstile_golden.network import IntegerNetwork
from crosstile_golden.onnx_import import import_onnx
from crosstile_golden.quantise_shift import ACTIVATION_BITS, WEIGHT_BITS, check_bits, quantise_shift
from numpy.typing import NDArray

from .arrays import read_array
from .build_folder import check_replaceable, write_json, written_beside
from .console import progress
from .names import top_module_name
from .report import write_report
from .toolchain import require

LONGEST_FRAME = 10**15  # cycles; more than any layer takes, and whole in a float
Mapping = Callable[[IntegerNetwork], NetworkPlan]


def compile_model(
    model: Path, calibrate: Path, output: Path, name: str | None, weight_bits: int, activation_bits: int,
    mapping: Mapping,
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
        plan = mapping(network)
        report = describe(plan, graph, calibration, name, weight_bits, activation_bits)
    with written_beside(output) as folder, progress("writing Verilog"):
        (folder / "verilog").mkdir()
        (folder / "verilog" / f"{name}.v").write_text(emit(Accelerator(plan), name), encoding="utf-8")
        network.save(folder / "network.npz")
        write_json(mapping_record(plan, name), folder / "mapping.json")
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


def choose_mapping(multipliers: int | None, frames_per_second: float | None, clock: float | None) -> Mapping:
    """Return how to map: onto a number of multipliers, or the fewest that keep a frame rate."""
    if frames_per_second is None and clock is None:
        return lambda network: map_network(network, multipliers)
    if frames_per_second is None or clock is None:
        raise CrosstileError("--frames-per-second and --clock go together; give both, or neither")
    if multipliers is not None:
        raise CrosstileError("give --multipliers, or --frames-per-second with --clock, not both")
    cycles = frame_budget(frames_per_second, clock)
    return lambda network: map_network(network, None, cycles)


def mapping_record(plan: NetworkPlan, name: str) -> dict[str, Any]:
    """Return mapping.json: everything that decides the hardware, and its port map."""
    first, last = plan.stages[0], plan.stages[-1]
    return {
        "crosstile": __version__,
        "name": name,
        "clock": "clk",
        "reset": {"name": "rst", "active": "high", "synchronous": True},
        "input": _port("s_axis", first, lanes_in(first), plan.beats_in, plan.network.input_shape),
        "output": _port("m_axis", last, lanes_out(last), plan.beats_out, plan.network.output_shape),
        "frame_error": "high from an s_axis_tlast that is not on a frame's last beat, until reset",
        "cycles_per_frame": plan.cycles_per_frame,
        "latency_cycles": plan.latency,
        "multipliers": plan.multipliers,
        "stages": [
            _stage_record(stage) | {"queue_depth": depth}
            for stage, depth in zip(plan.stages, plan.depths, strict=True)
        ],
    }


def _port(prefix: str, stage: StagePlan, lanes: int, beats: int, shape: tuple[int, ...]) -> dict[str, Any]:
    number_format = input_format(stage) if prefix == "s_axis" else output_format(stage)
    return {
        "prefix": prefix, "format": str(number_format), "channels_per_beat": lanes,
        "bits_per_channel": lane_bits(number_format), "beats_per_frame": beats, "shape": list(shape),
        "order": "row, column, channel group; first channel in the least significant bits",
    }


def _stage_record(stage: StagePlan) -> dict[str, Any]:
    if isinstance(stage, PoolPlan):
        return {"layer": stage.layer.name, "engine": "pool", "lanes": stage.lanes}
    return {"layer": stage.layer.name, "engine": "crosspoint", "fold": asdict(stage.fold)}


def describe(
    plan: NetworkPlan, graph: FloatGraph, calibration: NDArray[Any], name: str, weight_bits: int, activation_bits: int
) -> dict[str, Any]:
    """Return report.json."""
    network = plan.network
    noise = signal_to_noise(network, graph, calibration)
    first, last = plan.stages[0], plan.stages[-1]
    return {
        "crosstile": __version__, "name": name, "scheme": network.scheme,
        "weight_bits": weight_bits, "activation_bits": activation_bits,
        "input": {
            "shape": list(network.input_shape), "format": str(input_format(first)), "scale": network.input_scale,
        },
        "output": {
            "shape": list(network.output_shape), "format": str(output_format(last)), "scale": network.output_scale,
        },
        "notices": list(graph.notices), "multipliers": plan.multipliers,
        "cycles_per_frame": plan.cycles_per_frame, "latency_cycles": plan.latency,
        "stages": [
            _stage_report(stage, plan) | {"queue_depth": depth, "sqnr_db": noise[stage.layer.name]}
            for stage, depth in zip(plan.stages, plan.depths, strict=True)
        ],
    }


def _stage_report(stage: StagePlan, plan: NetworkPlan) -> dict[str, Any]:
    geometry = stage.layer.geometry
    channels = stage.plane.out_channels if isinstance(stage, CrosspointPlan) else geometry.in_channels
    common = {
        "name": stage.layer.name, "input": [geometry.in_channels, *geometry.input_size],
        "output": [channels, *geometry.output_size], "kernel": list(geometry.kernel),
        "stride": list(geometry.stride), "padding": [*geometry.padding_begin, *geometry.padding_end],
        "cycles_per_frame": stage.cycles_per_frame, "activation_format": str(output_format(stage)),
    }
    if isinstance(stage, PoolPlan):
        pool = {"kind": stage.layer.geometry.kind, "kernel": list(geometry.kernel)}
        return {"kind": "pool", "engine": "pool", "pool": pool, "window_memory_bits": stage.memory_bits, **common}
    useful = stage.plane.useful_macs
    return {
        "kind": "convolution", "engine": "crosspoint", "macs": stage.plane.macs, "useful_macs": useful,
        "multipliers": stage.fold.multipliers, "fold": asdict(stage.fold),
        "utilisation": useful / (stage.fold.multipliers * plan.cycles_per_frame),
        "accumulator_bits": stage.accumulator_bits, "weight_memory_bits": stage.weight_memory_bits,
        "integrator_memory_bits": stage.integrator_memory_bits, "window_memory_bits": stage.window_memory_bits,
        "pool": None, **common,
    }


def signal_to_noise(network: IntegerNetwork, graph: FloatGraph, calibration: NDArray[Any]) -> dict[str, float | None]:
    """Return each layer's signal-to-quantisation-noise ratio on the calibration data, in dB.

    10·log10(Σ real² / Σ (real − integer/scale)²), the scale being the least-squares one; None where the noise
    or the signal is zero.
    """
    real = float_tensors(graph, calibration.astype(np.float64))
    integers = network.tensors(network.quantise_input(calibration.astype(np.float64)))
    names = [layer.name for layer in network.layers]
    order = list(real)
    ends = {name: _last_of_stage(order, names, name) for name in names}
    return {name: _decibels(real[ends[name]], integers[name].astype(np.float64)) for name in names}


def _last_of_stage(order: list[str], names: list[str], name: str) -> str:
    """Return the last float layer that belongs to a stage: its own activation comes after it."""
    position = order.index(name)
    while position + 1 < len(order) and order[position + 1] not in names:
        position += 1
    return order[position]


def _decibels(real: NDArray[np.float64], integer: NDArray[np.float64]) -> float | None:
    real, integer = real.ravel(), integer.ravel()
    power = float(integer @ integer)
    noise = real - integer * (float(real @ integer) / power) if power else real
    signal, error = float(real @ real), float(noise @ noise)
    return round(10 * float(np.log10(signal / error)), 2) if signal > 0 and error > 0 else None
