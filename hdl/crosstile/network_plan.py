"""A whole network, mapped: its stages in order, the queues between them, and their timing together."""

from dataclasses import dataclass
from functools import cached_property
from math import gcd

import numpy as np
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import IntegerNetwork
from crosstile_golden.numbers import NumberFormat

from .crosspoint_plan import CrosspointPlan
from .pool_plan import PoolPlan
from .streams import Join
from .timing import Node, Operations, Timing, predict

StagePlan = CrosspointPlan | PoolPlan
JOIN_DEPTH = 2
FRAMES_TO_SETTLE = 12


def lanes_in(plan: StagePlan) -> int:
    """Return the channels per beat that a stage takes."""
    return plan.fold.lanes_in if isinstance(plan, CrosspointPlan) else plan.lanes


def lanes_out(plan: StagePlan) -> int:
    """Return the channels per beat that a stage sends."""
    return plan.fold.lanes_out if isinstance(plan, CrosspointPlan) else plan.lanes


def output_format(plan: StagePlan) -> NumberFormat:
    """Return the number format that a stage sends."""
    return plan.layer.output_format if isinstance(plan, CrosspointPlan) else plan.layer.number_format


def input_format(plan: StagePlan) -> NumberFormat:
    """Return the number format that a stage takes."""
    return plan.layer.input_format if isinstance(plan, CrosspointPlan) else plan.layer.number_format


def pipeline_cycles(plan: StagePlan) -> int:
    """Return the cycles from an operation that sends to its beat entering the queue."""
    return plan.pipeline_cycles if isinstance(plan, CrosspointPlan) else plan.pipeline_cycles


def least_depth(plan: StagePlan) -> int:
    """Return the queue places that keep a stage running at full rate into a consumer that never waits.

    A place is away from its reservation until the beat has crossed pipeline and queue: pipeline + 3 cycles.
    """
    sends = np.flatnonzero(plan.operations.sends)
    if len(sends) < 2:
        return 1
    window = pipeline_cycles(plan) + 3
    return int(np.max(np.searchsorted(sends, sends + window) - np.arange(len(sends))))


@dataclass(frozen=True)
class Link:
    """How beats of `before` lanes become beats of `after` lanes: split to `between`, then joined."""

    before: int
    after: int

    @property
    def between(self) -> int:
        """Lanes that both ends are whole multiples of."""
        return gcd(self.before, self.after)

    @property
    def split(self) -> int:
        """Parts that each incoming beat is taken in."""
        return self.before // self.between

    @property
    def join(self) -> int:
        """Parts that each outgoing beat is made of."""
        return self.after // self.between


@dataclass(frozen=True)
class NetworkPlan:
    """Stages in order and the depth of each one's output queue.

    Raises `CrosstileError` where neighbours disagree on the number format.
    """

    network: IntegerNetwork
    stages: tuple[StagePlan, ...]
    depths: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.stages) == len(self.depths) == len(self.network.layers):
            raise CrosstileError(
                f"{len(self.network.layers)} layers need as many stages and queues, not {len(self.stages)} "
                f"and {len(self.depths)}"
            )
        for before, after in zip(self.stages, self.stages[1:], strict=False):
            if output_format(before) != input_format(after):
                raise CrosstileError(
                    f"layer {after.layer.name} takes {input_format(after)}, but {before.layer.name} sends "
                    f"{output_format(before)}"
                )

    @property
    def links(self) -> tuple[Link, ...]:
        """The links between neighbouring stages."""
        pairs = zip(self.stages, self.stages[1:], strict=False)
        return tuple(Link(lanes_out(before), lanes_in(after)) for before, after in pairs)

    @property
    def multipliers(self) -> int:
        """Multipliers of all stages."""
        return sum(plan.fold.multipliers for plan in self.stages if isinstance(plan, CrosspointPlan))

    @property
    def beats_in(self) -> int:
        """Beats of one frame at the input."""
        return self.stages[0].operations.beats_in

    @property
    def beats_out(self) -> int:
        """Beats of one frame at the output."""
        return self.stages[-1].operations.beats_out

    def nodes(self) -> list[Node]:
        """Return the timing model: one node per stage, and one per join."""
        nodes: list[Node] = []
        split = 1
        for index, (plan, depth) in enumerate(zip(self.stages, self.depths, strict=True)):
            nodes.append(Node(plan.operations, pipeline_cycles(plan), depth, split))
            if index == len(self.links):
                break
            link = self.links[index]
            split = link.split
            if link.join > 1:
                parts = np.arange(plan.operations.beats_out * link.split) % link.join == link.join - 1
                joining = Operations(np.ones(len(parts), np.bool_), parts)
                nodes.append(Node(joining, Join.PIPELINE_CYCLES, JOIN_DEPTH, split))
                split = 1
        return nodes

    def timing(self, frames: int) -> Timing:
        """Return the exact timing of `frames` frames back to back, source and sink never waiting."""
        return predict(self.nodes(), frames)

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
        return max(plan.cycles_per_frame for plan in self.stages)
