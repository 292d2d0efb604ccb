"""Block crosspoint-engine: a convolution layer between AXI4-Stream ports, or the bare engine."""

from typing import Any

from crosstile.accelerator import Accelerator, lane_bits
from crosstile.crosspoint import CrosspointEngine
from crosstile.crosspoint_plan import STEERINGS, CrosspointPlan
from crosstile.fold import Fold
from crosstile.layer_plan import ARCHITECTURES, ConvolutionPlan
from crosstile.mode_source import mode_layout
from crosstile.network_plan import NetworkPlan
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import NumberFormat

from .block import DEPTH, Block, Built, depth_of, layout_text, stream_figures, stream_meanings, stream_timing
from .convolution import NAME, Convolution, engine_of, show_fold
from .loading import axil_meanings, bus_meanings, loading
from .parameters import YES_NO, Kind, Parameter, axes, choice, or_auto, padding, show, whole
from .weights import ACTIVATION, SEED, weights_kind

ORDER = "Beats come in the order frame, (depth), row, column, channel group."


def _crosspoint_engine(**values: Any) -> Built:
    request = Convolution(**values)
    plan = request.plan()
    built = _bare(request, plan) if request.ports == "stream" else _peripheral(request, plan)
    geometry = plan.layer.geometry
    chosen = {
        "kernel": geometry.kernel, "stride": geometry.stride, "dilation": geometry.dilation,
        "padding": (geometry.padding_begin, geometry.padding_end), "architecture": plan.architecture,
        "multipliers": plan.multipliers, "fold": show_fold(plan.fold),
    }  # fmt: skip
    return Built(built.top, built.meanings, built.timing, built.figures, chosen | dict(built.chosen))


def _frame(layer: ConvolutionLayer) -> list[str]:
    geometry = layer.geometry
    return [
        "y = activation(round((sum of weight * x + bias) / 2^shift)), rounded to nearest, halves up, and saturated.",
        f"A frame is {geometry.in_channels} channels of {show(geometry.input_size)} in and {geometry.out_channels} of "
        f"{show(geometry.output_size)} out. {ORDER}",
    ]


def _loading(request: Convolution, plan: ConvolutionPlan) -> list[str]:
    return loading(plan, request.ports == "axis") if request.loadable else []


def _memory(plan: ConvolutionPlan) -> dict[str, int]:
    engine = plan.engine
    return {
        "multipliers": plan.multipliers, "accumulator_bits": engine.accumulator_bits,
        "weight_memory_bits": engine.weight_memory_bits, "integrator_memory_bits": engine.integrator_memory_bits,
        "window_memory_bits": engine.window_memory_bits, "line_buffer_bits": plan.buffer_bits,
    }  # fmt: skip


# The engine alone


def _bare(request: Convolution, plan: ConvolutionPlan) -> Built:
    engine = engine_of(plan)
    layer, depth = plan.layer, depth_of(engine, request.depth)
    loads = _loading(request, plan)  # refuses before anything is made
    meanings = stream_meanings("input", layer.input_format, engine.lanes_in, _lanes(engine.lanes_in), sends=False)
    meanings |= stream_meanings("output", layer.output_format, engine.lanes_out, _lanes(engine.lanes_out), sends=True)
    meanings |= _mode_meanings(engine) if engine.steering == "external" else {}
    meanings |= bus_meanings() if request.loadable else {}
    return Built(
        CrosspointEngine(engine, depth), meanings, [*_frame(layer), *stream_timing(engine, depth), *loads],
        stream_figures(engine, depth) | _memory(plan), {"depth": depth},
    )


def _lanes(lanes: int) -> str:
    return "1 channel of a pixel" if lanes == 1 else f"{lanes} channels of a pixel"


def _mode_meanings(plan: CrosspointPlan) -> dict[str, str]:
    rows, integrators = plan.fold.kernel_rows, plan.banks
    return {
        "mode": "the mode word of the present time-step: from the cycle after time_step (from reset, for the first) up "
        "to and with the next time_step. steering: per kernel "
        f"row the integrator (0 to {integrators - 1}) that its sums go to, and whether they go to one; fresh: per "
        "integrator, it starts from zero; complete: the integrator that leaves after the time-step. A frame is "
        f"{len(plan.row_steps)} time-steps, one per row, then one per row of padding below. The convolution is: kernel "
        f"row i at time-step y goes to integrator (y + {plan.plane.padding_top} - i) mod {integrators}, where output "
        f"row y + {plan.plane.padding_top} - i is one of 0 to {plan.plane.out_height - 1}; fresh where i = 0, all of "
        f"them at y = 0; complete is that of i = {rows - 1}. {layout_text('mode', mode_layout(rows, integrators))}",
        "time_step": "high for one cycle: the time-step is over, the next word is due in the next cycle",
        "conflict": "the word steers two kernel rows to one integrator, which is not legal",
    }


# Between AXI4-Stream ports


def _peripheral(request: Convolution, plan: ConvolutionPlan) -> Built:
    network = request.network(plan)
    layer, loads = plan.layer, _loading(request, plan)  # refuses before anything is made
    bits = sum(
        sum(depths) * stage.plan.lanes_out * stage.plan.output_format.bits
        for stage, depths in zip(network.stages, network.depths, strict=True)
    )
    return Built(
        Accelerator(network),
        _axis_meanings(network) | (axil_meanings() if request.loadable else {}),
        [
            *_frame(layer),
            f"A frame is {network.beats_in} beats in and {network.beats_out} beats out; frames may follow each other "
            "at once.",
            f"A frame every {network.cycles_per_frame} cycles while source and sink never wait.",
            f"Latency: the first result is taken {network.latency} cycles after the first clock edge without reset, "
            "source and sink being ready.",
            "Any waiting on either side loses and repeats nothing.",
            *loads,
        ],
        {
            "cycles_per_frame": network.cycles_per_frame, "latency_cycles": network.latency,
            "pipeline_cycles": plan.engine.pipeline_cycles, "beats_in_per_frame": network.beats_in,
            "beats_out_per_frame": network.beats_out, **_memory(plan), "queue_bits": bits,
        },
    )  # fmt: skip


def _axis_meanings(network: NetworkPlan) -> dict[str, str]:
    def side(prefix: str, number_format: NumberFormat, lanes: int, last: str) -> dict[str, str]:
        step = lane_bits(number_format)
        channels = f"{lanes} channels of a pixel" if lanes > 1 else "1 channel of a pixel"
        return {
            f"{prefix}_tdata": f"a beat: {channels}, {number_format} each, sign- or zero-extended to {step} bits, "
            f"channel n of the beat from bit {step}*n on",
            f"{prefix}_tvalid": "AXI4-Stream TVALID", f"{prefix}_tready": "AXI4-Stream TREADY",
            f"{prefix}_tlast": last,
        }

    return (
        side("s_axis", network.input_format, network.lanes_in, "high on the last beat of a frame, and on no other")
        | side("m_axis", network.output_format, network.lanes_out, "high on the last beat of a result")
        | {"frame_error": "rises where s_axis_tlast is not on a frame's last beat, and stays until reset; the data are "
           "not affected"}
    )  # fmt: skip


def _fold(text: str) -> Fold:
    entries = [int(entry) for entry in text.split("x") if entry.isascii() and entry.isdecimal()]
    if len(entries) not in (4, 5) or len(entries) != len(text.split("x")) or not all(0 < n < 1 << 20 for n in entries):
        raise ValueError(text)
    return Fold(*entries)


_FOLD = Kind(
    "sizes", "kernel rows x kernel columns x channels x filters, or these x groups, like 3x3x1x2, each 1 or more", _fold
)
PARAMETERS = (
    Parameter("channels", whole(1, 65535), "input channels"),
    Parameter("filters", whole(1, 65535), "output channels"),
    Parameter("size", axes(1, 3, "128, 32x32 or 16x16x16"), "of a frame; as many entries as spatial axes"),
    Parameter("kernel", axes(1, 3, "3 or 3x3"), "one entry stands for all axes"),
    Parameter("stride", axes(1, 3, "1 or 2x2"), "one entry stands for all axes", "1"),
    Parameter("dilation", axes(1, 3, "1 or 2x2"), "one entry stands for all axes", "1"),
    Parameter("padding", padding(3, "1x1 or 1x1:0x0"), "zeros before and behind each axis", "0"),
    Parameter("groups", whole(1, 65535), "a divisor of channels and filters; depthwise is groups = channels", "1"),
    Parameter("weight_bits", whole(2, 16), "width of a weight, two's complement", "8"),
    Parameter("activation_bits", whole(2, 16), "width of an activation, in and out", "8"),
    Parameter("signed_input", YES_NO, "input activations are two's complement", "no"),
    Parameter("signed_output", YES_NO, "output activations are two's complement", "no"),
    ACTIVATION,
    Parameter("weights", weights_kind(), "where weight (filters, channels / groups, kernel), bias and shift come from",
              "random"),
    SEED,
    Parameter("architecture", choice("auto", *ARCHITECTURES), "keeps partial sums (steered) or activations (buffered)",
              "auto"),
    Parameter("steering", choice(*STEERINGS), "how sums of kernel rows together meet their integrators", "chain"),
    Parameter("multipliers", or_auto(whole(1, 1 << 20)), "at most so many; auto is one per kernel column", "auto"),
    Parameter("fold", or_auto(_FOLD), "what one cycle computes; auto is the fastest with the multipliers", "auto"),
    Parameter("ports", choice("axis", "stream"), "AXI4-Stream, or the streams of the engine alone", "axis"),
    DEPTH,
)  # fmt: skip

CROSSPOINT_ENGINE = Block(
    NAME,
    "a convolution layer of 1, 2 or 3 spatial axes: weights stay in place while activations stream by.",
    PARAMETERS,
    _crosspoint_engine,
)
