"""A convolution on the reuse-grouped engine: its one stage, and where its multipliers' cycles and its reads go."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer

from .fold import useful_macs
from .reuse_fold import ReuseFold, reuse_folds
from .reuse_plan import ReusePlan
from .reuse_stage_plan import FRAMES, ReuseStagePlan


@dataclass(frozen=True)
class ReuseLayerPlan:
    """A convolution: a memory keeps its frames, and an engine reads each activation of them once.

    fold     of the engine, see `ReuseFold`; `halo` and `latency`: see `ReusePlan`. From a latency of 2 on the
             memory's output is registered
    frames   that the memory holds, 1 or 2
    Raises `CrosstileError` for a layer, a fold, a latency or frames that are not legal.
    """

    layer: ConvolutionLayer
    fold: ReuseFold
    halo: bool = True
    latency: int = 2
    frames: int = 2

    loadable = False
    rows_at_once = 1

    def __post_init__(self) -> None:
        if self.frames not in FRAMES:
            raise CrosstileError(f"layer {self.layer.name}: frames must be 1 or 2, not {self.frames}")
        assert self.stages

    @cached_property
    def stages(self) -> tuple[ReuseStagePlan, ...]:
        """The memory and the engine, as one stage."""
        return (ReuseStagePlan(ReusePlan(self.layer, self.fold, self.halo, self.latency), self.frames),)

    @property
    def engine(self) -> ReusePlan:
        """What multiplies."""
        return self.stages[0].engine

    @property
    def activation_reads(self) -> int:
        """Activations read from the memory per frame."""
        return self.engine.activation_reads * self.fold.channels

    @property
    def multipliers(self) -> int:
        """Multipliers in the array."""
        return self.engine.multipliers

    @property
    def cycles_per_frame(self) -> int:
        """Cycles per frame of the stage, never kept waiting."""
        return self.stages[0].cycles_per_frame

    # Memory, in bits, weights and queues left out

    @property
    def buffer_bits(self) -> int:
        """Bits of the frame memory."""
        return self.stages[0].memory_bits

    @property
    def integrator_memory_bits(self) -> int:
        """Bits of partial sums that circulate, see `CyclicChain`."""
        engine, total = self.engine, 0
        for index in engine.chains:
            axis = engine.axes[index]
            lanes = prod(len(outer.reaches) for outer in engine.axes[:index]) * self.fold.filters
            total += (axis.reach + len(axis.waiting)) * lanes * engine.sum_bits(index) * engine.unit(index)
        return total

    @property
    def window_memory_bits(self) -> int:
        """Bits of activations behind the memory: the halo stores, and what further filter groups see again."""
        engine = self.engine
        width, total = engine.lanes_in * engine.input_format.bits, 0
        for index in engine.gathers:
            axis = engine.axes[index]
            total += width * len(axis.kept) * axis.halo_classes * engine.halo_visits(index)
            width *= len(axis.slots)
        return total + (width * engine.channel_groups if engine.filter_groups > 1 else 0)

    @property
    def memory_bits(self) -> int:
        """Bits of activations and partial sums that the stage keeps."""
        return self.buffer_bits + self.integrator_memory_bits + self.window_memory_bits

    # Where cycles go

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
        edges     outputs of macro windows beyond the layer's, which are dropped
        arrival   a class's words come one by one
        drain     the last outputs leave
        waiting   for a frame, for the memory, or for room behind
        """
        engine = self.engine
        made = prod(axis.positions for axis in engine.axes) * engine.filter_groups * engine.channel_groups
        total, work = self.multipliers * cycles, self.layer.geometry.macs / self.multipliers
        parts = {
            "work": work, "edges": made - work, "arrival": engine.compute_cycles - made, "drain": engine.drain_cycles,
            "waiting": cycles - engine.cycles_per_frame,
        }
        return {name: self.multipliers * part / total for name, part in parts.items()}


def reuse_plans(layer: ConvolutionLayer) -> list[ReuseLayerPlan]:
    """Return every plan of a layer, one macro window over the whole frame; none where the engine does not run it."""
    if layer.geometry.groups > 1:
        return []
    return [ReuseLayerPlan(layer, fold) for fold in reuse_folds(layer.geometry)]
