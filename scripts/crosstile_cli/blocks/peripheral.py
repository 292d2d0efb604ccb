"""A layer between AXI4-Stream ports: what its ports mean, its timing, and its figures."""

from collections.abc import Mapping, Sequence
from typing import Any

from crosstile.accelerator import Accelerator, lane_bits
from crosstile.layer_plan import EnginePlan
from crosstile.network_plan import NetworkPlan
from crosstile_golden.geometry import ConvolutionGeometry
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import NumberFormat

from .block import Built, channels_text
from .loading import axil_meanings
from .parameters import show

READS = {"activation_reads": "activations read from the frame memory since reset"}
ORDER = "Beats come in the order frame, (depth), row, column, channel group."


def frame_text(layer: ConvolutionLayer) -> list[str]:
    """Return the sentences on what is computed, and on a frame."""
    geometry = layer.geometry
    return [
        "y = activation(round((sum of weight * x + bias) / 2^shift)), rounded to nearest, halves up, and saturated.",
        f"A frame is {geometry.in_channels} channels of {show(geometry.input_size)} in and {geometry.out_channels} of "
        f"{show(geometry.output_size)} out. {ORDER}",
    ]


def chosen_axes(geometry: ConvolutionGeometry) -> dict[str, Any]:
    """Return the parameters of which one entry may stand for all axes, with an entry per axis."""
    return {
        "kernel": geometry.kernel, "stride": geometry.stride, "dilation": geometry.dilation,
        "padding": (geometry.padding_begin, geometry.padding_end),
    }  # fmt: skip


def peripheral(
    network: NetworkPlan, plan: EnginePlan, cost: Mapping[str, int | float], more: Sequence[str]
) -> Built:
    """Return a layer's block.

    network  of the layer alone, and `plan` its plan
    cost     figures of multipliers, widths and memory
    more     sentences behind those on ports and timing
    """
    return Built(
        Accelerator(network),
        _axis_meanings(network) | (axil_meanings() if plan.loadable else {}) | (READS if network.reuse_layers else {}),
        [
            *frame_text(plan.layer),
            f"A frame is {network.beats_in} beats in and {network.beats_out} beats out; frames may follow each other "
            "at once.",
            f"A frame every {network.cycles_per_frame} cycles while source and sink never wait.",
            f"Latency: the first result is taken {network.latency} cycles after the first clock edge without reset, "
            "source and sink being ready.",
            "Any waiting on either side loses and repeats nothing.",
            *more,
        ],
        {
            "cycles_per_frame": network.cycles_per_frame, "latency_cycles": network.latency,
            "pipeline_cycles": plan.engine.pipeline_cycles, "beats_in_per_frame": network.beats_in,
            "beats_out_per_frame": network.beats_out, **cost, "queue_bits": _queue_bits(network),
        },
    )  # fmt: skip


def _queue_bits(network: NetworkPlan) -> int:
    return sum(
        sum(depths) * stage.plan.lanes_out * stage.plan.output_format.bits
        for stage, depths in zip(network.stages, network.depths, strict=True)
    )


def _axis_meanings(network: NetworkPlan) -> dict[str, str]:
    def side(prefix: str, number_format: NumberFormat, lanes: int, last: str) -> dict[str, str]:
        step = lane_bits(number_format)
        return {
            f"{prefix}_tdata": f"a beat: {channels_text(lanes)}, {number_format} each, sign- or zero-extended "
            f"to {step} bits, channel n of the beat from bit {step}*n on",
            f"{prefix}_tvalid": "AXI4-Stream TVALID", f"{prefix}_tready": "AXI4-Stream TREADY",
            f"{prefix}_tlast": last,
        }

    return (
        side("s_axis", network.input_format, network.lanes_in, "high on the last beat of a frame, and on no other")
        | side("m_axis", network.output_format, network.lanes_out, "high on the last beat of a result")
        | {"frame_error": "rises where s_axis_tlast is not on a frame's last beat, and stays until reset; the data are "
           "not affected"}
    )  # fmt: skip
