"""Block reuse-engine: a convolution layer that reads every activation once, behind a frame memory or before another."""

from dataclasses import dataclass, replace
from typing import Any

from crosstile.mapper import spread
from crosstile.reuse import ReuseEngine
from crosstile.reuse_fold import ReuseFold, reuse_folds
from crosstile.reuse_layer_plan import ReuseLayerPlan
from crosstile.timing import queue_cycles
from crosstile_golden.geometry import Axes
from crosstile_golden.reuse import layer_reads_sliding

from .block import DEPTH, Block, Built, channels_text, cycles_per_frame, depth_of, lanes_text, stream_meanings
from .layer import PARAMETERS_OF_LAYER, LayerRequest, fold_parameter, multipliers_parameter, weights_parameter
from .parameters import YES_NO, Parameter, axes, choice, or_auto, per_axis, show, whole
from .peripheral import chosen_axes, frame_text, peripheral
from .weights import SEED, fixed_weights_kind

NAME = "reuse-engine"


@dataclass(frozen=True)
class ReuseRequest(LayerRequest):
    """The parameters of block reuse-engine, as read: see `REUSE_ENGINE`."""

    block = NAME

    window: Axes | None
    halo: bool
    latency: int
    frames: int
    fold: tuple[int, int] | None
    ports: str

    def plan(self) -> ReuseLayerPlan:
        """Return the plan: of the fold that was given, or the fastest within the multipliers.

        Raises `CrosstileError` for a layer with groups, a macro window, and what else is not legal.
        """
        layer = self.layer()
        folds = reuse_folds(layer.geometry)
        window = folds[0].window if self.window is None else per_axis("window", self.window, self.size)
        if self.fold is not None:
            folds = [ReuseFold(*self.fold, window)]
        more = self.halo, self.latency, self.frames
        plans = [ReuseLayerPlan(layer, replace(fold, window=window), *more) for fold in folds]
        if self.fold is None:
            return spread([plans], self.budget(plans, usual=1))[0]
        self.check_fold(plans[0].multipliers, show(self.fold))
        return plans[0]


def _reuse_engine(**values: Any) -> Built:
    request = ReuseRequest(**values)
    plan = request.plan()
    built = _bare(request, plan) if request.ports == "memory" else _peripheral(request, plan)
    fold = show((plan.fold.channels, plan.fold.filters))
    chosen = {"window": plan.fold.window, "multipliers": plan.multipliers, "fold": fold}
    return replace(built, chosen=chosen_axes(plan.layer.geometry) | chosen | dict(built.chosen))


def _peripheral(request: ReuseRequest, plan: ReuseLayerPlan) -> Built:
    method = [
        *_method(plan),
        f"The frame memory holds {plan.frames} frames; an engine reads a frame once all of it has come.",
    ]
    cost = _cost(plan) | {"frame_memory_bits": plan.buffer_bits}
    return peripheral(request.network(plan), plan, cost, method)


def _cost(plan: ReuseLayerPlan) -> dict[str, int]:
    geometry = plan.layer.geometry
    return {
        "multipliers": plan.multipliers, "activation_reads_per_frame": plan.activation_reads,
        "sliding_window_reads_per_frame": geometry.in_channels * layer_reads_sliding(geometry),
        "accumulator_bits": plan.engine.total_bits, "weight_memory_bits": plan.engine.weight_memory_bits,
        "integrator_memory_bits": plan.integrator_memory_bits, "window_memory_bits": plan.window_memory_bits,
    }  # fmt: skip


def _method(plan: ReuseLayerPlan) -> list[str]:
    once = "each activation is read once" if plan.halo else "what macro windows share is read again"
    return [
        f"Computed in macro windows of {show(plan.fold.window)} inputs, class by class (US 2023/0162007); {once}, and "
        "what leaves is exactly the sum above, bit for bit.",
        "activation_reads_per_frame counts activations read from the memory, sliding_window_reads_per_frame those that "
        "would be if every output read its window anew, padding left out of both.",
    ]


# The engine alone, before a memory of the user's own


def _bare(request: ReuseRequest, plan: ReuseLayerPlan) -> Built:
    engine, depth = plan.engine, depth_of(plan.engine, request.depth)
    rate = cycles_per_frame(engine, depth)
    outputs = engine.operations.beats_out
    lanes = channels_text(engine.lanes_out)
    return Built(
        ReuseEngine(engine, depth),
        _memory_meanings(plan) | stream_meanings("output", engine.output_format, engine.lanes_out, lanes, sends=True),
        [
            *frame_text(plan.layer),
            f"A frame is {engine.frame_words} words of memory, of which {engine.activation_reads} are read, and "
            f"{outputs} beats out; frames may follow each other at once.",
            f"A frame every {rate} cycles while a frame is ready and the output never waits.",
            f"Latency: a result is offered {engine.pipeline_cycles + queue_cycles(depth)} cycles after the operation "
            "that completes it; an operation's address comes 1 cycle after it.",
            "Any waiting of the output loses and repeats nothing.",
            *_method(plan),
        ],
        {
            "cycles_per_frame": rate, "pipeline_cycles": engine.pipeline_cycles,
            "latency_cycles": engine.pipeline_cycles + queue_cycles(depth), "words_per_frame": engine.frame_words,
            "beats_out_per_frame": outputs, **_cost(plan),
            "queue_bits": depth * engine.lanes_out * engine.output_format.bits,
        },
        {"depth": depth},
    )


def _memory_meanings(plan: ReuseLayerPlan) -> dict[str, str]:
    engine = plan.engine
    word = lanes_text(engine.input_format, engine.lanes_in, channels_text(engine.lanes_in))
    late = f"{engine.latency} cycle{'s' if engine.latency > 1 else ''}"
    return {
        "frame_ready": "a whole frame is in the memory, and stays there until frame_done; in the cycle after "
        "frame_done it tells of the next frame",
        "frame_done": "high for one cycle, that of the frame's last address: the memory may be written from the next "
        "on",
        "read": "a word is read: address is valid",
        "address": f"of the word: pixel * {engine.channel_groups} + channel group, pixels in the order (depth,) row, "
        "column",
        "word": f"{word}: what is at the address of {late} ago, no later "
        "and no sooner",
        "reads": "words read of the present frame, and of the last one until another starts",
    }


REUSE_ENGINE = Block(
    NAME,
    "a convolution layer of 1, 2 or 3 spatial axes that reads every activation from memory once.",
    (
        *PARAMETERS_OF_LAYER,
        weights_parameter(fixed_weights_kind()),
        SEED,
        multipliers_parameter("the fewest, one per tap of the kernel"),
        Parameter("window", or_auto(axes(1, 3, "10 or 10x10")),
                  "inputs of a macro window; auto is the whole padded frame", "auto"),
        Parameter("halo", YES_NO, "what macro windows share is kept; no: it is read again", "yes"),
        Parameter("latency", whole(1, 16), "cycles from an address to its word; 1 has no register behind the memory",
                  "2"),
        Parameter("frames", whole(1, 2), "held by the frame memory, where it is part of the block", "2"),
        fold_parameter("channels x filters, like 2x4", (2,), lambda channels, filters: (channels, filters)),
        Parameter("ports", choice("axis", "memory"), "AXI4-Stream into a frame memory, or the engine's memory port",
                  "axis"),
        DEPTH,
    ),
    _reuse_engine,
)  # fmt: skip
