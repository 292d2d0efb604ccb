"""A whole network, mapped: its stages, the queues between them, and their timing together."""

from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import IntegerNetwork
from crosstile_golden.numbers import NumberFormat

from .layer_plan import ConvolutionPlan, LayerPlan, PoolingPlan
from .line_buffer_plan import LineBufferPlan
from .load_map import LoadMap
from .reuse_layer_plan import ReuseLayerPlan
from .reuse_plan import ReusePlan
from .reuse_stage_plan import ReuseStagePlan, reuse_stage_nodes
from .stages import INPUT, LINKS, BlockPlan, Source, Stage, StageList
from .tile_integrators_plan import TileIntegratorPlan, tile_integrator_nodes
from .timing import (
    DEEP_QUEUE,
    DEEP_QUEUE_CYCLES,
    FRAMES_TO_SETTLE,
    FREE_CYCLES,
    QUEUE_CYCLES,
    Input,
    Node,
    Queue,
    Timing,
    predict,
    queue_cycles,
)  # fmt: skip
from .winograd_plan import WinogradPlan, winograd_nodes

LATE_SENDERS = (LineBufferPlan, WinogradPlan)
LATE_READERS = (*LATE_SENDERS, TileIntegratorPlan)
Depths = tuple[tuple[int, ...], ...]


def least_depth(plan: BlockPlan | ReusePlan) -> int:
    """Return the queue places that keep a stage running at full rate into a consumer that never waits.

    A place is away from its reservation until the beat has crossed pipeline and queue, and is free again.
    """
    fewest = _away(plan, QUEUE_CYCLES)
    return fewest if fewest <= DEEP_QUEUE else _away(plan, DEEP_QUEUE_CYCLES)


def _away(plan: BlockPlan | ReusePlan, cycles: int) -> int:
    """Return the most places that are away at once, with so many cycles through the queue."""
    away = plan.pipeline_cycles + cycles + FREE_CYCLES
    operations = plan.operations  # a frame may be shorter than its pipeline
    sends = np.flatnonzero(operations.repeated(away // operations.cycles + 2).sends)
    return int(np.max(np.searchsorted(sends, sends + away) - np.arange(len(sends))))


@dataclass(frozen=True)
class NetworkPlan:
    """How each layer runs, how layers are linked, and the depth of every stage's queues.

    layers   one plan per layer of the network
    links    "digits", or "durations": between layers a value is the length of a pulse (US 2020/0117986 [0077])
    depths   per stage, per queue it fills; left out, the least that keep each stage at its own full rate

    Raises `CrosstileError` for numbers of plans or depths that do not match, or links of another kind.
    """

    network: IntegerNetwork
    layers: tuple[LayerPlan, ...]
    links: str = "digits"
    depths: Depths = ()

    def __post_init__(self) -> None:
        count = len(self.network.layers)
        if len(self.layers) != count:
            raise CrosstileError(f"{count} layers need as many plans, not {len(self.layers)}")
        if self.links not in LINKS:
            raise CrosstileError(f"links must be one of {', '.join(LINKS)}, not {self.links!r}")
        for layer in self.layers:
            if isinstance(layer, ConvolutionPlan) and layer.steering == "external":
                raise CrosstileError(
                    f"layer {layer.layer.name}: steering 'external' has no place in a network, where nobody drives its "
                    "mode; generate the engine alone"
                )
        if not self.depths:
            least = tuple((least_depth(stage.plan),) * stage.queues for stage in self.stages)
            object.__setattr__(self, "depths", least)
        if [len(queues) for queues in self.depths] != [stage.queues for stage in self.stages]:
            raise CrosstileError(
                f"{len(self.stages)} stages need a depth for each of their queues, not {self.depths}"
            )

    @cached_property
    def _built(self) -> StageList:
        return StageList(self.network, self.layers, self.links)

    @property
    def stages(self) -> list[Stage]:
        """The stages; each reads queues of earlier ones, and the last sends the result."""
        return self._built.stages

    @property
    def lanes_in(self) -> int:
        """Channels per beat at the input."""
        return self._built.input_lanes

    @property
    def lanes_out(self) -> int:
        """Channels per beat at the output."""
        return self.stages[-1].plan.lanes_out

    @property
    def input_format(self) -> NumberFormat:
        """Format of the activations at the input."""
        return self.network.input_format

    @property
    def output_format(self) -> NumberFormat:
        """Format of the activations at the output."""
        return self.stages[-1].plan.output_format

    @property
    def multipliers(self) -> int:
        """Multipliers of all stages."""
        return sum(plan.multipliers for plan in self.layers if not isinstance(plan, PoolingPlan))

    @property
    def reuse_layers(self) -> list[ReuseLayerPlan]:
        """The layers whose activations are read from a memory."""
        return [plan for plan in self.layers if isinstance(plan, ReuseLayerPlan)]

    @property
    def activation_reads(self) -> int:
        """Activations that they read from their memories per frame, in all."""
        return sum(plan.activation_reads for plan in self.reuse_layers)

    @cached_property
    def load_map(self) -> LoadMap | None:
        """Addresses of all loadable weights, nothing where they are fixed."""
        plans = tuple(plan for plan in self.layers if isinstance(plan, ConvolutionPlan) and plan.loadable)
        return LoadMap(plans) if plans else None

    @property
    def beats_in(self) -> int:
        """Beats of one frame at the input."""
        shape = self.network.frame_shape
        return int(np.prod(shape)) // self.lanes_in

    @property
    def beats_out(self) -> int:
        """Beats of one frame at the output."""
        return self.stages[-1].plan.operations.beats_out

    def lanes_of(self, source: Source) -> int:
        """Return the channels per beat of a queue."""
        return self.lanes_in if source.stage == INPUT else self.stages[source.stage].plan.lanes_out

    def format_of(self, source: Source) -> NumberFormat:
        """Return the number format of a queue."""
        return self.input_format if source.stage == INPUT else self.stages[source.stage].plan.output_format

    def split_of(self, source: Source, lanes: int) -> int:
        """Return the parts that a reader of `lanes` lanes takes each beat of a queue in."""
        return self.lanes_of(source) // lanes

    @cached_property
    def late(self) -> frozenset[Source]:
        """The queues whose reader takes a beat's payload a cycle after its transfer, see `streams.Late`."""
        senders = {index for index, stage in enumerate(self.stages) if isinstance(stage.plan, LATE_SENDERS)} | {INPUT}
        return frozenset(
            stage.main for stage in self.stages
            if stage.main.stage in senders and isinstance(stage.plan, LATE_READERS)
            and self.split_of(stage.main, stage.plan.lanes_in) == 1
        )

    def nodes(self, depths: Depths | None = None, start: int = 0) -> list[list[Node]]:
        """Return the timing model: the nodes of each stage, of which the last fills its queues.

        The source offers beats from cycle `start` on.
        """
        nodes: list[list[Node]] = []
        for stage, queues in zip(self.stages, depths or self.depths, strict=True):
            reads = [(stage.main, stage.plan.lanes_in)]
            if stage.residual is not None:
                reads.append((stage.residual, stage.plan.lanes_out))
            inputs = [
                Input(
                    None if source.stage == INPUT else nodes[source.stage][-1].outputs[source.queue],
                    self.split_of(source, lanes),
                    start,
                )
                for source, lanes in reads
            ]
            plan, outputs = stage.plan, [Queue(depth, queue_cycles(depth)) for depth in queues]
            if isinstance(plan, TileIntegratorPlan):
                nodes.append(tile_integrator_nodes(plan, inputs, outputs))
            elif isinstance(plan, WinogradPlan):
                nodes.append(winograd_nodes(plan, inputs, outputs))
            elif isinstance(plan, ReuseStagePlan):
                nodes.append(reuse_stage_nodes(plan, inputs, outputs))
            else:
                nodes.append([Node(plan.operations, plan.pipeline_cycles, outputs, inputs)])
        return nodes

    def timing(self, frames: int, start: int = 0) -> Timing:
        """Return the exact timing of `frames` frames back to back, source and sink never waiting from `start` on."""
        return predict(list(chain.from_iterable(self.nodes(start=start))), frames)

    @cached_property
    def steady(self) -> Timing:
        """The timing of enough frames for the interval between them to settle."""
        return self.timing(FRAMES_TO_SETTLE)

    @property
    def cycles_per_frame(self) -> int:
        """Cycles between the ends of frames back to back, once settled."""
        return self.steady.interval

    @property
    def latency(self) -> int:
        """Cycles from the first edge after reset, the source ready, to the first output beat's handshake."""
        return self.steady.first_output

    @property
    def slowest(self) -> int:
        """Cycles per frame of the slowest stage alone: what the queues should allow."""
        return max(stage.plan.cycles_per_frame for stage in self.stages)
