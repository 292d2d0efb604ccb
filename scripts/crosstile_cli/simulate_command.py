"""crosstile simulate: frames through the emitted Verilog, every output compared with golden."""

from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from crosstile.accelerator import lane_bits
from crosstile.network_plan import NetworkPlan
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import IntegerNetwork, PoolLayer
from crosstile_golden.numbers import Integers
from crosstile_golden.orientation import transposed
from crosstile_golden.reuse import layer_reads_sliding
from numpy.typing import NDArray

from .build_folder import BuildFolder
from .console import progress
from .simulators import SimulationResult, StallPattern

Bytes = NDArray[np.uint8]


def to_beats(frames: Integers, lanes: int, bits: int) -> Bytes:
    """Return frames (frames, channels, *spatial) as beats (beats, bytes), in the order of the streams."""
    count, channels = frames.shape[:2]
    pixels = np.moveaxis(frames.reshape(count, channels, -1), 1, 2)
    values = pixels.reshape(-1, lanes).astype(f"<i{bits // 8}" if bits <= 16 else "<i4")
    return np.ascontiguousarray(values).view(np.uint8)


def from_beats(beats: Bytes, plan: NetworkPlan) -> Integers:
    """Return output beats (beats, bytes) as integers (frames, channels, *spatial), as the last layer has them."""
    number_format = plan.output_format
    kind = f"<{'i' if number_format.signed else 'u'}{lane_bits(number_format) // 8}"
    values = np.ascontiguousarray(beats).view(kind).astype(np.int64)
    channels, *spatial = plan.network.layers[-1].output_shape
    frames = values.reshape(-1, int(np.prod(spatial)), channels)
    return np.moveaxis(frames, 1, 2).reshape(-1, channels, *spatial)


def runner(simulator: str, plan: NetworkPlan) -> Callable[..., SimulationResult]:
    """Return the function that runs a simulator; raises `CrosstileError` for an unknown one."""
    if simulator == "verilator":
        from .simulators import verilator

        return verilator.simulate
    if simulator == "icarus":
        from .simulators import icarus

        return icarus.simulate
    if simulator == "amaranth":
        from .simulators import amaranth

        return amaranth.simulate_plan(plan)
    raise CrosstileError(f"--simulator must be verilator, icarus or amaranth, not {simulator!r}")


def watchdog(plan: NetworkPlan, stall: float) -> int:
    """Return the cycles without a handshake after which a design is taken for dead: four frames' worth."""
    return int(4 * plan.timing(1).cycles / (1 - min(stall, 0.999))) + 1000


def check_loadable(build: BuildFolder, plan: NetworkPlan, other: BuildFolder) -> None:
    """Raise `CrosstileError` unless the training of build `other` can be loaded into `build`, whose plan is `plan`."""
    theirs = other.plan()
    for option, folder, mapped in (("", build, plan), ("--weights ", other, theirs)):
        if mapped.load_map is None:
            raise CrosstileError(f"{option}{folder.path}: its weights are fixed; compile it with --weights loadable")
    fingerprints = [f"{mapped.load_map.fingerprint:#010x}" for mapped in (theirs, plan) if mapped.load_map is not None]
    if fingerprints[0] != fingerprints[1]:
        raise CrosstileError(
            f"--weights {other.path}: fingerprint {fingerprints[0]}, but {build.path} has {fingerprints[1]}: geometry, "
            "formats, activation tables, options or multipliers differ; compile both alike"
        )
    orientations = [folder.mapping["orientation"] for folder in (other, build)]
    if orientations[0] != orientations[1]:
        raise CrosstileError(
            f"--weights {other.path}: orientation {orientations[0]}, but {build.path} has {orientations[1]}; compile "
            "both alike"
        )
    name = first_unlike(theirs.network, plan.network)
    if name is not None:
        raise CrosstileError(
            f"--weights {other.path}: layer {name} is another pool than in {build.path}, or reads other layers; load "
            "a training of the same network"
        )


def first_unlike(network: IntegerNetwork, other: IntegerNetwork) -> str | None:
    """Return the first layer that pools otherwise than the other network's in its place, or reads others, or None.

    Names do not matter, nor do convolutions: a load map's fingerprint tells of them.
    """
    for layer, own, place in zip_longest(network.layers, _places(network), _places(other)):
        if own != place:
            return str(layer.name if layer is not None else other.layers[len(network.layers)].name)
    return None


def _places(network: IntegerNetwork) -> list[tuple[object, ...]]:
    """Return per layer its sources, counted from 1, 0 being the input, and all of a pool."""
    names = ["", *(layer.name for layer in network.layers)]
    places: list[tuple[object, ...]] = []
    for layer, source in zip(network.layers, network.sources, strict=True):
        pool = (layer.geometry, layer.shift, layer.input_format) if isinstance(layer, PoolLayer) else None
        residual = None if source.residual is None else names.index(source.residual)
        places.append((pool, names.index(source.main), residual))
    return places


def simulate_build(
    build: BuildFolder, array: NDArray[Any], simulator: str, stall: float, seed: int, waves: Path | None,
    other: BuildFolder | None = None,
) -> tuple[Integers | None, dict[str, Any]]:
    """Run frames; return the outputs (None where some are missing) and the record for simulation.json.

    other   the build whose training is loaded into `build` before the first frame, and whose network is golden
    Raises `CrosstileError` where that training does not fit.
    """
    pattern = StallPattern(stall, stall, seed)
    plan = build.plan()
    run = runner(simulator, plan)
    if other is not None:
        check_loadable(build, plan, other)
    network, orientation = (other or build).network(), build.mapping["orientation"]
    frames = network.quantise_input(array)
    golden = network.run(frames)
    beats = to_beats(transposed(frames, orientation), plan.lanes_in, lane_bits(plan.input_format))
    with progress(f"simulating {len(frames)} frames in {simulator}"):
        result = run(
            build.verilog, build.name, beats, len(frames), len(frames) * plan.beats_out, pattern, waves,
            build.work, watchdog(plan, stall), None if other is None else other.weight_words(),
        )
        # While weights are loaded, engines do what they can without input: cycle 0 is not the first after reset.
        idle = result.load_cycles
        predicted = None if stall else plan.timing(len(frames), idle).cycles - idle
    problems = list(result.problems())
    whole = len(result.output_beats) == len(frames) * plan.beats_out
    outputs = transposed(from_beats(result.output_beats, plan), orientation) if whole else None
    outputs = outputs.reshape(golden.shape) if outputs is not None else None
    mismatches = int((outputs != golden).sum()) if outputs is not None else golden.size
    cycles = None if result.last_output_cycle is None else result.last_output_cycle + 1
    if predicted is not None and cycles != predicted:
        problems.append(f"{cycles} cycles, but {predicted} were predicted")
    if mismatches:
        problems.append(f"{mismatches} of {golden.size} outputs differ from golden")
    reads = counted_reads(plan, len(frames), result.activation_reads)
    if reads and reads["activation_reads"] != reads["predicted_activation_reads"]:
        counted, expected = reads["activation_reads"], reads["predicted_activation_reads"]
        problems.append(f"{counted} activations read, but {expected} were predicted")
    record = {
        "simulator": simulator, "frames": len(frames), "cycles": cycles, "predicted_cycles": predicted,
        "mismatches": mismatches, "outputs_compared": int(golden.size), "stall": stall, "seed": seed,
        "cycles_per_second": round(result.cycles_run / result.seconds) if result.seconds else None,
        "weights": None if other is None else str(other.path), "load_cycles": result.load_cycles if other else None,
        **reads, "problems": problems,
    }
    return outputs, record


def counted_reads(plan: NetworkPlan, frames: int, counted: int | None) -> dict[str, int | float | None]:
    """Return what the record says of activations read from memories; nothing where none are.

    Counted and predicted are of all frames, and equal whatever stalls; the share is of what a sliding window reads.
    """
    if not plan.reuse_layers:
        return {}
    geometries = [layer.layer.geometry for layer in plan.reuse_layers]
    sliding = sum(geometry.in_channels * layer_reads_sliding(geometry) for geometry in geometries)
    return {
        "activation_reads": counted, "predicted_activation_reads": frames * plan.activation_reads,
        "sliding_window_reads": frames * sliding,
        "read_share": None if counted is None else round(counted / (frames * sliding), 4),
    }
