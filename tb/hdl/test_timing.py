"""Predicted cycles equal a model of another kind, which steps every clock; what is extrapolated equals a full run."""

from collections.abc import Callable
from itertools import chain, pairwise

import numpy as np
import pytest
from crosstile import timing
from crosstile.fold import Fold
from crosstile.network_plan import FRAMES_TO_SETTLE, NetworkPlan, least_depth
from crosstile.timing import QUEUE_CYCLES, Input, Node, Operations, Queue, predict

from .bench import convolution, plan_of, pool, prove, with_depths
from .stepped import Graph, Machine, StoppedError, graph_of, shown, stepped

STOPPED = r"^the stages wait for each other: their beats per frame or their queues do not match$"


def nodes_of(seed: int, deep: bool = False) -> list[Node]:
    return Graph(seed, deep).nodes


def agree(seed: int, frames: int, deep: bool) -> bool:
    """Hold the prediction to the model, a stop included; tell whether it ran."""
    machine = Machine(nodes_of(seed, deep), frames)
    try:
        expected = machine.run()
    except StoppedError:
        with pytest.raises(AssertionError, match=STOPPED):
            predict(nodes_of(seed, deep), frames)
        return False
    nodes = nodes_of(seed, deep)
    assert predict(nodes, frames) == expected
    run = [len(node.cycles) for node in nodes]  # what is extrapolated is not run
    assert [node.cycles for node in nodes] == [cycles[:end] for cycles, end in zip(machine.events, run, strict=True)]
    assert [queue.peak() for node in nodes for queue in node.outputs] == machine.peaks()
    return True


@pytest.mark.parametrize("deep", [False, True], ids=["shallow", "deep"])
@pytest.mark.parametrize("seed", range(50))
def test_prediction_equals_the_stepped_model(seed: int, deep: bool) -> None:
    for frames in (1, 2, 7):
        agree(seed, frames, deep)


def test_the_random_graphs_hold_enough_of_everything() -> None:
    ran = [agree(seed, 2, deep=False) for seed in range(60)]
    graphs = [nodes_of(seed, True) for seed in range(60)]
    assert 15 <= sum(ran) <= 45  # of shallow queues, some stop
    assert all(agree(seed, 2, deep=True) for seed in range(0, 60, 6))
    assert sum(any(len(node.inputs) > 1 for node in nodes) for nodes in graphs) > 40
    assert sum(any(len(node.outputs) > 2 for node in nodes) for nodes in graphs) > 10
    assert sum(any(entry.split > 1 for node in nodes for entry in node.inputs[1:]) for nodes in graphs) > 10
    assert sum(any(node.operations.counted for node in nodes) for nodes in graphs) > 30
    several = [node for nodes in graphs for node in nodes if node.operations.sends.max() > 1]
    late = [node for nodes in graphs for node in nodes if (shown(node.operations) != node.operations.sends).any()]
    assert min(len(several), len(late), sum(node.operations.takes.max() > 1 for node in several + late)) > 20


@pytest.mark.parametrize("deep", [False, True], ids=["shallow", "deep"])
@pytest.mark.parametrize("seed", range(24))
def test_extrapolation_over_many_frames_equals_the_full_run(seed: int, deep: bool) -> None:
    try:
        expected = stepped(nodes_of(seed, deep), 90)
    except StoppedError:
        with pytest.raises(AssertionError, match=STOPPED):
            predict(nodes_of(seed, deep), 90)
        return
    assert predict(nodes_of(seed, deep), 90) == expected


def test_few_frames_are_run_where_the_rest_follows() -> None:
    nodes = list(chain.from_iterable(three_stages().nodes()))
    predict(nodes, 10_000)
    assert len(nodes[-1].cycles) <= FRAMES_TO_SETTLE * len(nodes[-1].events)


def three_stages() -> NetworkPlan:
    """Return a network of which 2 lanes are joined to 3 parts, and 6 lanes then split."""
    layers = [
        convolution(2, 6, (6, 6), (3, 3), begin=(1, 1), end=(1, 1), name="a", seed=1),
        convolution(6, 6, (6, 6), (1, 1), name="b", seed=2),
        convolution(6, 3, (6, 6), (3, 2), stride=(2, 2), name="c", seed=3),
    ]
    folds = [Fold(3, 3, 2, 2), Fold(1, 1, 3, 6), Fold(1, 2, 2, 1)]
    return plan_of(layers, folds)


NETWORKS: dict[str, Callable[[], NetworkPlan]] = {
    "split and join": three_stages,
    "convolution, pool, dense": lambda: plan_of([
        convolution(1, 4, (6, 6), (3, 3), name="a"),
        pool(4, (4, 4), (2, 2), "max", name="p"),
        convolution(4, 3, (2, 2), (2, 2), name="d"),
    ]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_equals_the_stepped_model_and_hardware(name: str) -> None:
    plan = NETWORKS[name]()
    for frames in (1, 4, FRAMES_TO_SETTLE):
        assert plan.timing(frames) == stepped(graph_of(plan), frames)
    prove(plan, 3)
    steady = stepped(graph_of(plan), FRAMES_TO_SETTLE)
    assert (plan.cycles_per_frame, plan.latency) == (steady.interval, steady.first_output)


@pytest.mark.parametrize("depths", [(1, 1, 1), (3, 1, 2), (40, 40, 40)])
def test_a_network_with_other_queues_equals_the_stepped_model_and_hardware(depths: tuple[int, ...]) -> None:
    plan = with_depths(three_stages(), depths)
    assert plan.timing(5) == stepped(graph_of(plan), 5)
    prove(plan, 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_least_depth_keeps_a_stage_at_full_rate_and_one_place_fewer_does_not(channels: int) -> None:
    layer = convolution(channels, 2, (6, 6), (1, 1))
    full = plan_of([layer])
    least = least_depth(full.stages[0].plan)
    assert full.cycles_per_frame == full.slowest == 36
    short = plan_of([layer], depths=[least - 1])
    assert short.cycles_per_frame > 36
    prove(full, 2)
    prove(short, 2)


EACH = Operations(np.ones(2, np.bool_), np.ones(2, np.bool_))


def test_stages_whose_beats_do_not_match_are_told_apart_from_slow_ones() -> None:
    three = Operations(np.ones(3, np.bool_), np.array([False, False, True]))
    queue = Queue(2)
    with pytest.raises(AssertionError, match=STOPPED):
        predict([Node(EACH, 2, [queue], [Input(None)]), Node(three, 2, [Queue(2)], [Input(queue)])], 1)


def diamond(depth: int) -> list[Node]:
    """Return a fork, a stage that sends only after it has taken all 4 beats, and the sum of both."""
    each = Operations(np.ones(4, np.bool_), np.ones(4, np.bool_))
    late = Operations(np.array([True] * 4 + [False] * 4), np.array([False] * 4 + [True] * 4))
    main, residual, changed = Queue(9), Queue(depth), Queue(9)
    return [
        Node(each, 1, [main, residual], [Input(None)]),
        Node(late, 3, [changed], [Input(main)]),
        Node(each, 2, [Queue(9)], [Input(changed), Input(residual)]),
    ]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_residual_s_queue_that_holds_too_little_stops_everything(depth: int) -> None:
    with pytest.raises(StoppedError):
        stepped(diamond(depth), 1)
    with pytest.raises(AssertionError, match=STOPPED):
        predict(diamond(depth), 1)


def test_a_residual_s_queue_as_deep_as_its_peak_costs_no_cycle() -> None:
    nodes = diamond(50)
    ample = predict(nodes, 7)
    peak = nodes[0].outputs[1].peak()
    assert 4 <= peak < 50
    assert predict(diamond(peak), 7) == stepped(diamond(peak), 7) == ample


plain_take, plain_ready, plain_place = timing._Reader.take, timing._Reader.ready, Queue.place
plain_advance, plain_counted = Node.advance, Node._advance_counted


def early_place(queue: Queue, count: int = 1) -> int:
    index = len(queue.reserved) + count - 1 - queue.depth
    known = index < len(queue.freed)
    return 0 if index < 0 else queue.freed[index] + queue.frees - 1 if known else timing.UNKNOWN


def whole_beat(reader: timing._Reader, cycle: int) -> None:
    reader.split = 1
    plain_take(reader, cycle)


def without_residuals(node: Node, frames: int) -> bool:
    for reader in node._readers[1:]:
        reader.ready = lambda parts=1: 0  # type: ignore[method-assign]  # noqa: ARG005
    return plain_advance(node, frames)


DEFECTS: dict[str, tuple[str, object]] = {
    "never waits for a place": ("Queue.place", lambda _queue, _count=1: 0),
    "frees a place a cycle early": ("Queue.place", early_place),
    "shows a beat a cycle late": ("QUEUE_CYCLES", QUEUE_CYCLES + 1),
    "takes every part for a beat": ("_Reader.take", whole_beat),
    "never waits for a residual": ("Node.advance", without_residuals),
    "waits for one place of several": ("Queue.place", lambda queue, _count=1: plain_place(queue)),
    "waits for the first of several parts": ("_Reader.ready", lambda reader, _parts=1: plain_ready(reader)),
    "shows beats as it reserves their places": (
        "Node._advance_counted",
        lambda node, frames, _shows: plain_counted(node, frames, [sends for _, _, sends in node.events]),
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_stepped_model_refuses_a_prediction_that(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, change = DEFECTS[defect]
    monkeypatch.setattr(f"crosstile.timing.{place}", change)
    with pytest.raises((AssertionError, IndexError, pytest.fail.Exception)):
        for seed in range(24):
            agree(seed, 2, deep=False)


def test_frames_end_one_interval_apart_once_settled() -> None:
    ends = three_stages().timing(20).frame_ends
    intervals = [after - before for before, after in pairwise(ends)]
    assert intervals[-8:] == [three_stages().cycles_per_frame] * 8
