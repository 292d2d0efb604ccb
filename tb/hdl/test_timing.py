"""Predicted cycles equal an independent model, and what is extrapolated equals what is run in full."""

import random
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pytest
from crosstile.fold import Fold
from crosstile.network_plan import FRAMES_TO_SETTLE, JOIN_DEPTH, Link, NetworkPlan, least_depth, pipeline_cycles
from crosstile.streams import Join
from crosstile.timing import QUEUE_CYCLES, START_CYCLES, Node, Operations, Timing, predict

from .bench import convolution, plan_of, pool, prove


@dataclass
class Actor:
    """A stage as a list of operations, its queue as a list of the cycles in which each beat shows and is gone."""

    takes: list[bool]
    sends: list[bool]
    pipeline: int
    depth: int
    split: int
    issued: list[int] = field(default_factory=list)
    shows: list[int] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    parts_taken: int = 0

    def advance(self, source: "Actor | None", frames: int) -> bool:
        """Issue every operation whose cycle is known; tell whether any was."""
        start = len(self.issued)
        while len(self.issued) < frames * len(self.takes):
            cycle = self.next_cycle(source)
            if cycle is None:
                break
            self.issue(source, cycle)
        return len(self.issued) > start

    def next_cycle(self, source: "Actor | None") -> int | None:
        """Return the first cycle in which the next operation may issue, or nothing while that is not known."""
        index = len(self.issued) % len(self.takes)
        earliest = [self.issued[-1] + 1 if self.issued else START_CYCLES]
        if self.takes[index]:
            beat = self.parts_taken // self.split
            if source and beat >= len(source.shows):
                return None
            earliest.append(source.shows[beat] if source else QUEUE_CYCLES)
        if self.sends[index] and len(self.shows) >= self.depth:
            freed = len(self.shows) - self.depth
            if freed >= len(self.gone):
                return None
            earliest.append(self.gone[freed] + 1)
        return max(earliest)

    def issue(self, source: "Actor | None", cycle: int) -> None:
        index = len(self.issued) % len(self.takes)
        self.issued.append(cycle)
        if self.takes[index]:
            self.parts_taken += 1
            if source and self.parts_taken % self.split == 0:
                source.gone.append(cycle)
        if self.sends[index]:
            self.shows.append(cycle + self.pipeline + QUEUE_CYCLES)


def independent(actors: list[Actor], frames: int) -> Timing:
    """Return the timing by the cycle of each event: the latest of what it waits for. Nothing is stepped."""
    moving = True
    while moving:
        moving = False
        for index, actor in enumerate(actors):
            moving |= actor.advance(actors[index - 1] if index else None, frames)
        final = actors[-1]
        for beat in range(len(final.gone), len(final.shows)):
            final.gone.append(max(final.shows[beat], final.gone[-1] + 1 if final.gone else 0))
    per_frame = sum(final.sends)
    ends = final.gone[per_frame - 1 :: per_frame]
    assert len(ends) == frames
    interval = ends[-1] - ends[-2] if frames > 1 else ends[-1] + 1
    return Timing(final.gone[0], tuple(ends), interval)


def actors_of(plan: NetworkPlan) -> list[Actor]:
    """Return a network's stages and joins as actors, straight from its plan."""
    actors, split = [], 1
    for index, (stage, depth) in enumerate(zip(plan.stages, plan.depths, strict=True)):
        takes, sends = stage.operations.takes.tolist(), stage.operations.sends.tolist()
        actors.append(Actor(takes, sends, pipeline_cycles(stage), depth, split))
        if index == len(plan.links):
            break
        link = plan.links[index]
        split = link.split
        if link.join > 1:
            count = sum(sends) * link.split
            whole = [(part + 1) % link.join == 0 for part in range(count)]
            actors.append(Actor([True] * count, whole, Join.PIPELINE_CYCLES, JOIN_DEPTH, split))
            split = 1
    return actors


def random_nodes(seed: int) -> tuple[list[Node], list[Actor]]:
    """Return a chain of random stages whose beats match, as nodes and as actors."""
    generator = random.Random(seed)
    nodes, actors = [], []
    beats = generator.randint(1, 12)
    for _ in range(generator.randint(1, 4)):
        split = generator.choice([1, 1, 2, 3]) if nodes else 1
        out = generator.randint(1, 12)
        length = max(beats * split, out) + generator.randint(0, 15)
        takes = [True] * (beats * split) + [False] * (length - beats * split)
        sends = [True] * out + [False] * (length - out)
        generator.shuffle(takes)
        generator.shuffle(sends)
        pipeline, depth = generator.randint(1, 9), generator.randint(1, 6)
        nodes.append(Node(Operations(np.array(takes), np.array(sends)), pipeline, depth, split))
        actors.append(Actor(takes, sends, pipeline, depth, split))
        beats = out
    return nodes, actors


@pytest.mark.parametrize("frames", [1, 2, 7])
@pytest.mark.parametrize("seed", range(60))
def test_prediction_equals_the_independent_model(seed: int, frames: int) -> None:
    nodes, actors = random_nodes(seed)
    assert predict(nodes, frames) == independent(actors, frames)


@pytest.mark.parametrize("seed", range(40))
def test_extrapolation_over_many_frames_equals_the_full_run(seed: int) -> None:
    nodes, actors = random_nodes(seed)
    assert predict(nodes, 90).frame_ends == independent(actors, 90).frame_ends


def three_stages() -> NetworkPlan:
    """Return a network whose first link joins 2 lanes to 3 parts and whose second splits 6 lanes."""
    layers = [
        convolution(2, 6, (6, 6), (3, 3), begin=(1, 1), end=(1, 1), name="a", seed=1),
        convolution(6, 6, (6, 6), (1, 1), name="b", seed=2),
        convolution(6, 3, (6, 6), (3, 2), stride=(2, 2), name="c", seed=3),
    ]
    folds = [Fold(3, 3, 2, 2), Fold(1, 1, 3, 6), Fold(1, 2, 2, 1)]
    return plan_of(layers, folds)


NETWORKS = {
    "split and join": three_stages,
    "convolution, pool, dense": lambda: plan_of([
        convolution(1, 4, (6, 6), (3, 3), name="a"),
        pool(4, (4, 4), (2, 2), "max", name="p"),
        convolution(4, 3, (2, 2), (2, 2), name="d"),
    ]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_equals_the_independent_model_and_hardware(name: str) -> None:
    plan = NETWORKS[name]()
    for frames in (1, 4, FRAMES_TO_SETTLE):
        assert plan.timing(frames) == independent(actors_of(plan), frames)
    prove(plan, 3)
    steady = independent(actors_of(plan), FRAMES_TO_SETTLE)
    assert (plan.cycles_per_frame, plan.latency) == (steady.interval, steady.first_output)


@pytest.mark.parametrize("depths", [(1, 1, 1), (3, 1, 2), (40, 40, 40)])
def test_a_network_with_other_queues_equals_the_independent_model_and_hardware(depths: tuple[int, ...]) -> None:
    plan = replace(three_stages(), depths=depths)
    assert plan.timing(5) == independent(actors_of(plan), 5)
    prove(plan, 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_least_depth_keeps_a_stage_at_full_rate_and_one_place_fewer_does_not(channels: int) -> None:
    layer = convolution(channels, 2, (6, 6), (1, 1))
    full = plan_of([layer])
    least = least_depth(full.stages[0])
    assert full.cycles_per_frame == full.slowest == 36
    short = plan_of([layer], depths=[least - 1])
    assert short.cycles_per_frame > 36
    prove(full, 2)
    prove(short, 2)


@pytest.mark.parametrize(
    ("before", "after", "split", "join"), [(1, 1, 1, 1), (6, 2, 3, 1), (2, 6, 1, 3), (4, 6, 2, 3), (3, 2, 3, 2)]
)
def test_a_link_splits_to_the_greatest_common_lanes_and_joins(before: int, after: int, split: int, join: int) -> None:
    link = Link(before, after)
    assert (link.split, link.join) == (split, join)
    assert before // split == after // join == link.between


def test_stages_whose_beats_do_not_match_are_told_apart_from_slow_ones() -> None:
    one = Operations(np.ones(2, np.bool_), np.ones(2, np.bool_))
    three = Operations(np.ones(3, np.bool_), np.array([False, False, True]))
    with pytest.raises(AssertionError, match=r"^the stages wait for each other: their beats per frame do not match$"):
        predict([Node(one, 2, 2), Node(three, 2, 2)], 1)


def test_frames_end_one_interval_apart_once_settled() -> None:
    ends = three_stages().timing(20).frame_ends
    intervals = [after - before for before, after in pairwise(ends)]
    assert intervals[-8:] == [three_stages().cycles_per_frame] * 8
