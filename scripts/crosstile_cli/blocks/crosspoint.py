"""Block crosspoint-engine: a convolution layer between AXI4-Stream ports, or the bare engine."""

from typing import Any

from crosstile.crosspoint import CrosspointEngine
from crosstile.crosspoint_plan import STEERINGS, CrosspointPlan
from crosstile.fold import Fold
from crosstile.layer_plan import ARCHITECTURES, ConvolutionPlan
from crosstile.mode_source import mode_layout

from .block import (
    DEPTH,
    Block,
    Built,
    channels_text,
    depth_of,
    layout_text,
    stream_figures,
    stream_meanings,
    stream_timing,
)  # fmt: skip
from .convolution import NAME, Convolution, engine_of, show_fold
from .layer import PARAMETERS_OF_LAYER, fold_parameter, multipliers_parameter, weights_parameter
from .loading import bus_meanings, loading
from .parameters import Parameter, choice
from .peripheral import chosen_axes, frame_text, peripheral
from .weights import SEED, weights_kind


def _crosspoint_engine(**values: Any) -> Built:
    request = Convolution(**values)
    plan = request.plan()
    built = _bare(request, plan) if request.ports == "stream" else _peripheral(request, plan)
    chosen = {"architecture": plan.architecture, "multipliers": plan.multipliers, "fold": show_fold(plan.fold)}
    chosen = chosen_axes(plan.layer.geometry) | chosen | dict(built.chosen)
    return Built(built.top, built.meanings, built.timing, built.figures, chosen)


def _peripheral(request: Convolution, plan: ConvolutionPlan) -> Built:
    network, loads = request.network(plan), _loading(request, plan)  # refuses before anything is made
    return peripheral(network, plan, _cost(plan), loads)


def _loading(request: Convolution, plan: ConvolutionPlan) -> list[str]:
    return loading(plan, request.ports == "axis") if request.loadable else []


def _cost(plan: ConvolutionPlan) -> dict[str, int]:
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
    taken, sent = channels_text(engine.lanes_in), channels_text(engine.lanes_out)
    meanings = stream_meanings("input", layer.input_format, engine.lanes_in, taken, sends=False)
    meanings |= stream_meanings("output", layer.output_format, engine.lanes_out, sent, sends=True)
    meanings |= _mode_meanings(engine) if engine.steering == "external" else {}
    meanings |= bus_meanings() if request.loadable else {}
    return Built(
        CrosspointEngine(engine, depth), meanings, [*frame_text(layer), *stream_timing(engine, depth), *loads],
        stream_figures(engine, depth) | _cost(plan), {"depth": depth},
    )


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


PARAMETERS = (
    *PARAMETERS_OF_LAYER,
    weights_parameter(weights_kind()),
    SEED,
    Parameter("architecture", choice("auto", *ARCHITECTURES), "keeps partial sums (steered) or activations (buffered)",
              "auto"),
    Parameter("steering", choice(*STEERINGS), "how sums of kernel rows together meet their integrators", "chain"),
    multipliers_parameter("one per kernel column"),
    fold_parameter("kernel rows x kernel columns x channels x filters, or these x groups, like 3x3x1x2", (4, 5), Fold),
    Parameter("ports", choice("axis", "stream"), "AXI4-Stream, or the streams of the engine alone", "axis"),
    DEPTH,
)  # fmt: skip

CROSSPOINT_ENGINE = Block(
    NAME,
    "a convolution layer of 1, 2 or 3 spatial axes: weights stay in place while activations stream by.",
    PARAMETERS,
    _crosspoint_engine,
)
