"""What compile writes down: mapping.json, which decides the hardware, and report.json, which describes it."""

from dataclasses import asdict
from math import prod
from typing import Any

import numpy as np
from crosstile import __version__
from crosstile.accelerator import READS_BITS, lane_bits
from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.layer_plan import ConvolutionPlan, EnginePlan, LayerPlan
from crosstile.line_buffer_plan import LineBufferPlan
from crosstile.load_map import image
from crosstile.network_plan import NetworkPlan
from crosstile.pool_plan import PoolPlan
from crosstile.pulse_plan import PulsePlan
from crosstile.reuse_layer_plan import ReuseLayerPlan
from crosstile.reuse_stage_plan import ReuseStagePlan
from crosstile.stages import Stage
from crosstile.tile_integrators_plan import TileIntegratorPlan
from crosstile.winograd_fold import runs_winograd
from crosstile.winograd_layer_plan import WinogradLayerPlan
from crosstile.winograd_plan import WinogradPlan
from crosstile_golden.network import IntegerNetwork, Layer
from crosstile_golden.numbers import NumberFormat
from crosstile_golden.reuse import layer_reads, layer_reads_sliding
from numpy.typing import NDArray

Words = NDArray[np.uint32]
READS_MEANING = f"output of {READS_BITS} bits: activations that reuse engines have read from memory since reset"
STREAM_ORDER = {
    "rows": "(depth,) row, column, channel group; first channel in the least significant bits",
    "columns": "(depth,) column, row, channel group; first channel in the least significant bits",
}


def mapping_record(plan: NetworkPlan, name: str, orientation: str) -> dict[str, Any]:
    """Return mapping.json: everything that decides the hardware, and its port map.

    "weights", the address map of `LoadMap.record`, is there where weights are loadable only, "activation_reads" where
    reuse engines count them.
    """
    network = plan.network
    order = STREAM_ORDER[orientation]
    return {
        "crosstile": __version__,
        "name": name,
        "clock": "clk",
        "reset": {"name": "rst", "active": "high", "synchronous": True},
        "orientation": orientation,
        "input": _port("s_axis", plan.input_format, plan.lanes_in, plan.beats_in, network.input_shape, order),
        "output": _port("m_axis", plan.output_format, plan.lanes_out, plan.beats_out, network.output_shape, order),
        "frame_error": "high from an s_axis_tlast that is not on a frame's last beat, until reset",
        "cycles_per_frame": plan.cycles_per_frame,
        "latency_cycles": plan.latency,
        "multipliers": plan.multipliers,
        "links": plan.links,
        **({"activation_reads": READS_MEANING} if plan.reuse_layers else {}),
        **({} if plan.load_map is None else {"weights": plan.load_map.record}),
        "layers": [_layer_record(layer) for layer in plan.layers],
        "stages": [
            {
                "layer": None if stage.layer is None else network.layers[stage.layer].name,
                "block": block_name(stage), "channels_per_beat": stage.plan.lanes_out, "queue_depths": list(depths),
            }
            for stage, depths in zip(plan.stages, plan.depths, strict=True)
        ],
    }


def weight_words(plan: NetworkPlan) -> Words:
    """Return what to write to load the network's own training: uint32, shape (words, 2), byte address and word.

    No words where nothing is loadable.
    """
    words = image(plan.load_map.plans, plan.network) if plan.load_map is not None else []
    return np.array(words, np.uint32).reshape(-1, 2)


def _port(
    prefix: str, number_format: NumberFormat, lanes: int, beats: int, shape: tuple[int, ...], order: str
) -> dict[str, Any]:
    return {
        "prefix": prefix, "format": str(number_format), "channels_per_beat": lanes,
        "bits_per_channel": lane_bits(number_format), "beats_per_frame": beats, "shape": list(shape), "order": order,
    }


def _layer_record(plan: LayerPlan) -> dict[str, Any]:
    common = {"layer": plan.layer.name}
    if isinstance(plan, ConvolutionPlan):
        return common | {
            "engine": "crosspoint", "architecture": plan.architecture, "fold": asdict(plan.fold),
            "steering": plan.steering, "loadable": plan.loadable, "rows_at_once": plan.rows_at_once,
        }
    if isinstance(plan, WinogradLayerPlan):
        return common | {
            "engine": "winograd", "fold": asdict(plan.fold), "weights": plan.weights, "rows_at_once": plan.rows_at_once,
        }
    if isinstance(plan, ReuseLayerPlan):
        return common | {
            "engine": "reuse", "fold": asdict(plan.fold), "halo": plan.halo, "latency": plan.latency,
            "frames": plan.frames,
        }
    return common | {
        "engine": "pool", "lanes": plan.lanes, "rows_per_beat": plan.rows_per_beat, "local": plan.local,
    }


def block_name(stage: Stage) -> str:
    """Return what kind of block a stage is."""
    kinds = {
        CrosspointPlan: "crosspoint engine", LineBufferPlan: "line buffer", PoolPlan: "pool", PulsePlan: "pulse link",
        WinogradPlan: "winograd engine", TileIntegratorPlan: "tile integrators",
        ReuseStagePlan: "frame memory and reuse engine",
    }
    return kinds.get(type(stage.plan), "fork" if stage.queues > 1 else "join")


def describe(
    plan: NetworkPlan, network: IntegerNetwork, name: str, weight_bits: int, activation_bits: int,
    noise: dict[str, float | None],
) -> dict[str, Any]:
    """Return report.json; shapes are those of `network`, in ONNX order, whatever the plan's orientation."""
    queues = _queue_bits(plan)
    layers = zip(plan.layers, network.layers, strict=True)
    return {
        "crosstile": __version__, "name": name, "scheme": network.scheme,
        "weight_bits": weight_bits, "activation_bits": activation_bits,
        "input": {
            "shape": list(network.input_shape), "format": str(network.input_format), "scale": network.input_scale,
        },
        "output": {
            "shape": list(network.output_shape), "format": str(plan.output_format), "scale": network.output_scale,
        },
        "multipliers": plan.multipliers,
        "cycles_per_frame": plan.cycles_per_frame, "latency_cycles": plan.latency,
        "stages": [
            _layer_report(layer_plan, layer, plan)
            | {"queue_bits": queues[index], "sqnr_db": noise[layer.name]}
            for index, (layer_plan, layer) in enumerate(layers)
        ],
    }


def _queue_bits(plan: NetworkPlan) -> list[int]:
    """Return per layer the bits of the queues between it and the next: all stages since the layer before."""
    bits, collected = [], 0
    for stage, depths in zip(plan.stages, plan.depths, strict=True):
        collected += sum(depths) * stage.plan.lanes_out * stage.plan.output_format.bits
        if stage.layer is not None:
            bits.append(collected)
            collected = 0
    return bits


def _layer_report(layer_plan: LayerPlan, layer: Layer, plan: NetworkPlan) -> dict[str, Any]:
    geometry = layer.geometry
    common = {
        "name": layer.name, "input": [geometry.in_channels, *geometry.input_size],
        "output": list(layer.output_shape), "kernel": list(geometry.kernel),
        "stride": list(geometry.stride), "padding": [*geometry.padding_begin, *geometry.padding_end],
        "cycles_per_frame": layer_plan.cycles_per_frame, "activation_format": str(layer.output_format),
    }
    if not isinstance(layer_plan, EnginePlan):
        bits = sum(stage.memory_bits for stage in layer_plan.stages)
        kind = {"kind": layer_plan.layer.geometry.kind, "kernel": list(geometry.kernel)}
        return {"kind": "pool", "engine": "pool", "pool": kind, "window_memory_bits": bits, **common}
    capacity, macs = layer_plan.multipliers * plan.cycles_per_frame, layer_plan.layer.geometry.macs
    return {
        "kind": "convolution", "macs": macs, "useful_macs": layer_plan.useful_macs,
        "multipliers": layer_plan.multipliers, "fold": asdict(layer_plan.fold),
        "utilisation": layer_plan.useful_macs / capacity,
        "effective_macs": macs / capacity, "multiplier_cycles": layer_plan.losses(plan.cycles_per_frame),
        "activation": layer_plan.layer.activation.kind,
        "residual": layer_plan.layer.residual is not None, "rows_at_once": layer_plan.rows_at_once,
        "line_buffer_bits": layer_plan.buffer_bits, "pool": None, **_memory(layer_plan),
        "activation_reads": activation_reads(layer_plan), **common,
    }


def activation_reads(plan: EnginePlan) -> dict[str, int | None]:
    """Return the activations that each engine would read of the layer's input per frame, None where it does not run.

    Crosspoint and Winograd engines take each once from the stream, and keep what they need again. The sliding window
    reads all taps of every output from a memory, padding left out.
    """
    geometry = plan.layer.geometry
    channels, taken = geometry.in_channels, geometry.in_channels * prod(geometry.input_size)
    if isinstance(plan, ReuseLayerPlan):
        reuse = plan.activation_reads
    else:
        reuse = channels * layer_reads(geometry, geometry.output_size, halo=True)
    return {
        "crosspoint": taken, "winograd": taken if runs_winograd(geometry, plan.layer.name) else None,
        "reuse": reuse if geometry.groups == 1 else None, "sliding_window": channels * layer_reads_sliding(geometry),
    }


def _memory(plan: EnginePlan) -> dict[str, Any]:
    """Return what an engine's own kind of plan tells of widths and memory, in bits."""
    if isinstance(plan, WinogradLayerPlan):
        engine, bits = plan.engine, plan.integrators.memory_bits
        return {
            "engine": "winograd", "weights": plan.weights, "accumulator_bits": max(engine.numbers.sum_bits),
            "weight_memory_bits": engine.weight_memory_bits, "integrator_memory_bits": bits,
            "window_memory_bits": engine.store_memory_bits, "parts": [list(sizes) for sizes in plan.parts],
        }
    if isinstance(plan, ReuseLayerPlan):
        return {
            "engine": "reuse", "accumulator_bits": plan.engine.total_bits,
            "weight_memory_bits": plan.engine.weight_memory_bits,
            "integrator_memory_bits": plan.integrator_memory_bits, "window_memory_bits": plan.window_memory_bits,
        }
    return {
        "engine": "crosspoint", "architecture": plan.architecture, "steering": plan.steering,
        "accumulator_bits": plan.engine.accumulator_bits,
        "weight_memory_bits": prod(plan.layer.weight.shape) * plan.layer.weight_bits,
        "integrator_memory_bits": plan.engine.integrator_memory_bits,
        "window_memory_bits": plan.engine.window_memory_bits,
    }
