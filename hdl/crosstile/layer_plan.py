"""One layer's share of the accelerator: the stages that compute it, in order."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import ConvolutionGeometry
from crosstile_golden.network import ConvolutionLayer, PoolLayer
from crosstile_golden.numbers import Integers

from .crosspoint_plan import CrosspointPlan
from .fold import Fold, PlaneGeometry, legal_folds, useful_macs
from .line_buffer_plan import LineBufferPlan, strided_starts
from .pool_plan import PoolPlan, pool_stages
from .reuse_layer_plan import ReuseLayerPlan
from .winograd_layer_plan import WinogradLayerPlan

ARCHITECTURES = ("steered", "buffered")


@dataclass(frozen=True)
class ConvolutionPlan:
    """A convolution: line buffers where activations are kept, then a crosspoint engine.

    steered    rows of partial sums are kept (US 2020/0117986 [0064]); the engine sees the layer as it is
    buffered   rows of activations are kept: a line buffer gives the kernel's rows together, as more channels
               of a convolution of height 1, whose sums are finished at once

    Of a volume, the slices that the kernel's depth spans come together from a line buffer of slices, as more
    channels; slice after slice then runs as an image, either way.

    `steering`, `loadable` and `rows_at_once` are the engine's, see `CrosspointPlan`.
    Raises `CrosstileError` for a fold that the architecture does not run.
    """

    layer: ConvolutionLayer
    architecture: str
    fold: Fold
    steering: str = "chain"
    loadable: bool = False
    rows_at_once: int = 1

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise CrosstileError(
                f"layer {self.layer.name}: architecture must be one of {', '.join(ARCHITECTURES)}, "
                f"not {self.architecture!r}"
            )
        if buffer_lanes(self.layer.geometry, self.architecture, self.fold) is None:
            raise CrosstileError(f"layer {self.layer.name}: fold {self.fold} is not legal for {self.architecture}")
        assert self.stages

    @cached_property
    def stages(self) -> tuple[LineBufferPlan | CrosspointPlan, ...]:
        """The line buffers, if any, and the engine."""
        layer, frames, buffers = self.layer, 1, []
        for lanes in buffer_lanes(self.layer.geometry, self.architecture, self.fold) or []:
            buffers.append(_line_buffer(layer, lanes, frames))
            layer = _taps_as_channels(layer, lanes)
            if layer.geometry.dimensions == 3:
                layer, frames = _slice_of(layer), layer.geometry.output_size[0]
        engine = CrosspointPlan(layer, self.fold, self.steering, self.loadable, frames, self.rows_at_once)
        return (*buffers, engine)

    @property
    def engine(self) -> CrosspointPlan:
        """The stage that multiplies."""
        engine = self.stages[-1]
        assert isinstance(engine, CrosspointPlan)
        return engine

    @property
    def buffer_bits(self) -> int:
        """Bits of activations that the line buffers keep."""
        return sum(stage.memory_bits for stage in self.stages if isinstance(stage, LineBufferPlan))

    @property
    def memory_bits(self) -> int:
        """Bits of activations and partial sums that all stages keep, weights and queues left out."""
        return self.buffer_bits + self.engine.integrator_memory_bits + self.engine.window_memory_bits

    @property
    def multipliers(self) -> int:
        """Multipliers in the array."""
        return self.fold.multipliers

    @property
    def cycles_per_frame(self) -> int:
        """Cycles per frame of the slowest stage, never kept waiting."""
        return max(stage.cycles_per_frame for stage in self.stages)

    @property
    def useful_macs(self) -> int:
        """Multiply-accumulates per frame whose tap is an activation, not padding."""
        return useful_macs(self.layer.geometry)

    @property
    def utilisation(self) -> float:
        """Share of multiplier-cycles that are multiply-accumulates of the layer, padding counted as work."""
        return self.layer.geometry.macs / (self.multipliers * self.cycles_per_frame)


    def losses(self, cycles: int) -> dict[str, float]:
        """Return where the array's multiplier-cycles go, frames `cycles` apart, as shares that add up to 1.

        work      products of the convolution, taps in the padding included
        fill      rows and columns at the edges that complete outputs, and gaps
        waiting   for input, for another stage, or for room behind
        """
        total, own = self.multipliers * cycles, self.multipliers * self.engine.cycles_per_frame
        work = self.layer.geometry.macs
        return {"work": work / total, "fill": (own - work) / total, "waiting": (total - own) / total}


def convolution_plans(layer: ConvolutionLayer, architectures: tuple[str, ...] = ARCHITECTURES) -> list[ConvolutionPlan]:
    """Return every plan of a layer: each architecture with each fold that its engine runs.

    Where the buffered one would keep no more rows than the steered one they are the same, called `steered`.
    """
    if _buffered_kernels(layer.geometry, "buffered") == _buffered_kernels(layer.geometry, "steered"):
        architectures = ("steered",)
    return [
        ConvolutionPlan(layer, architecture, fold)
        for architecture in architectures for fold in architecture_folds(layer, architecture)
    ]


def architecture_folds(layer: ConvolutionLayer, architecture: str) -> list[Fold]:
    """Return the folds of an architecture: taps from line buffers count as channels, together or in turn."""
    reshaped, own = layer, layer.geometry.in_channels
    for _ in _buffered_kernels(layer.geometry, architecture):
        reshaped = _taps_as_channels(reshaped, own)
        reshaped = _slice_of(reshaped) if reshaped.geometry.dimensions == 3 else reshaped
        own = reshaped.geometry.in_channels
    folds = legal_folds(PlaneGeometry.of(reshaped.geometry, layer.name))
    return [fold for fold in folds if buffer_lanes(layer.geometry, architecture, fold) is not None]


def buffer_lanes(geometry: ConvolutionGeometry, architecture: str, fold: Fold) -> list[int] | None:
    """Return the channels per beat into each line buffer, outermost first; None where the fold does not fit.

    Taps that the engine takes together widen its beat; else they are beats of their own.
    """
    channels = fold.channels
    lanes: list[int] = []
    kernels = _buffered_kernels(geometry, architecture)
    for index in reversed(range(len(kernels))):
        own = geometry.in_channels // geometry.groups * prod(kernels[:index])
        if channels % kernels[index] == 0 and own % (channels // kernels[index]) == 0:
            channels //= kernels[index]
        elif own % channels:
            return None
        lanes.insert(0, channels * fold.groups)
    return lanes


def _buffered_kernels(geometry: ConvolutionGeometry, architecture: str) -> list[int]:
    """Return the kernel along each axis whose taps come from a line buffer, outermost first."""
    if geometry.kernel == geometry.input_size and not any(geometry.padding_begin + geometry.padding_end):
        return []
    depth = list(geometry.kernel[: geometry.dimensions - 2])
    rows = list(geometry.kernel[-2:-1]) if architecture == "buffered" else []
    return depth + [kernel for kernel in rows if kernel > 1]


def _line_buffer(layer: ConvolutionLayer, lanes: int, frames: int) -> LineBufferPlan:
    """Return the line buffer along the first spatial axis."""
    geometry = layer.geometry
    return LineBufferPlan(
        layer.name, layer.input_format, rows=geometry.input_size[0], positions=prod(geometry.input_size[1:]),
        kernel=geometry.kernel[0], dilation=geometry.dilation[0],
        starts=strided_starts(geometry.output_size[0], geometry.stride[0], geometry.padding_begin[0]),
        channels=geometry.in_channels, lanes=lanes, run=_run(geometry, lanes), frames=frames,
    )


def _run(geometry: ConvolutionGeometry, lanes: int) -> int:
    return min(lanes, geometry.in_channels // geometry.groups)


def _taps_as_channels(layer: ConvolutionLayer, lanes: int) -> ConvolutionLayer:
    """Return the layer that reads the line buffer along the first axis: more channels, and no kernel there."""
    geometry, kernel = layer.geometry, layer.geometry.kernel[0]
    reads = replace(
        geometry, in_channels=geometry.in_channels * kernel,
        input_size=(geometry.output_size[0], *geometry.input_size[1:]), kernel=(1, *geometry.kernel[1:]),
        stride=(1, *geometry.stride[1:]), dilation=(1, *geometry.dilation[1:]),
        padding_begin=(0, *geometry.padding_begin[1:]), padding_end=(0, *geometry.padding_end[1:]),
    )
    return replace(layer, geometry=reads, weight=_regrouped(layer.weight, _run(geometry, lanes)))


def _regrouped(weight: Integers, run: int) -> Integers:
    """Return weights (filter, channel, tap, …) as (filter, (channel / run, tap, channel mod run), 1, …)."""
    filters, channels, kernel, *rest = weight.shape
    split = weight.reshape(filters, channels // run, run, kernel, *rest)
    return split.swapaxes(2, 3).reshape(filters, channels * kernel, 1, *rest)


def _slice_of(layer: ConvolutionLayer) -> ConvolutionLayer:
    """Return a layer of one slice: its first spatial axis, which has no kernel any more, left out."""
    fields = ("input_size", "kernel", "stride", "dilation", "padding_begin", "padding_end")
    flat = replace(layer.geometry, **{field: getattr(layer.geometry, field)[1:] for field in fields})
    weight = layer.weight.reshape(*layer.weight.shape[:2], *layer.weight.shape[3:])
    return replace(layer, geometry=flat, weight=weight)


@dataclass(frozen=True)
class PoolingPlan:
    """A pool, `lanes` channels per beat: those of the stage before, or fewer where it is pooled after sending.

    One stage, or for a volume one over each slice and one over the slices (US 2020/0117986 [0065], [0080]).
    rows_per_beat  rows that arrive at once, see `PoolPlan`: no row is stored then
    local          values are pooled before they are sent on, and not behind the link to the next layer
    """

    layer: PoolLayer
    lanes: int
    rows_per_beat: int = 1
    local: bool = True

    @cached_property
    def stages(self) -> tuple[PoolPlan, ...]:
        """The pools, in order."""
        return pool_stages(self.layer, self.lanes, self.rows_per_beat)

    @property
    def cycles_per_frame(self) -> int:
        """Cycles per frame of the slowest stage, never kept waiting."""
        return max(stage.cycles_per_frame for stage in self.stages)


EnginePlan = ConvolutionPlan | WinogradLayerPlan | ReuseLayerPlan
LayerPlan = EnginePlan | PoolingPlan
