# amaranth: UnusedElaboratable=no
"""Queues, splits and joins lose nothing, repeat nothing and keep the order; the queue keeps its exact times."""

import random
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import data
from crosstile.joints import Fork, Join, Split
from crosstile.streams import CreditQueue, ShortQueue, beat_layout, delay, shape_of
from crosstile.timing import DEEP_QUEUE, FREE_CYCLES, QUEUE_CYCLES, queue_cycles
from crosstile_golden.errors import CrosstileError
from crosstile_golden.numbers import NumberFormat

from .bench import INT8, STALLS, UINT8, Port, StreamBench, clocked, pack

CYCLES = 300


class Model:
    """A queue as two lists: the places that come free, and the beats with the cycle in which they show."""

    def __init__(self, depth: int):
        self.free, self.beats, self.freed = depth, [], [False] * (FREE_CYCLES - 1)

    def count(self, taken: bool, reserved: bool) -> None:
        """Count a cycle's places: one whose beat was taken is free a cycle after the next."""
        self.freed.append(taken)
        self.free += self.freed.pop(0) - reserved

    def shows(self, cycle: int) -> bool:
        return bool(self.beats) and self.beats[0][0] <= cycle


async def drive(context: Any, dut: Any, pipeline: int, chances: tuple[float, float], generator: Any) -> list[int]:
    """Compare a queue with the model in every cycle; return the cycles in which a beat left.

    A late queue's payload means something in the cycle after a transfer alone; it is compared there.
    """
    model, reserved, left, owed = Model(dut.depth), [False] * pipeline, [], None
    for cycle in range(CYCLES):
        if owed is not None:
            assert context.get(dut.output.p.as_value()) == owed, cycle
        assert context.get(dut.credit) == (model.free > 0), cycle
        reserve = model.free > 0 and generator.random() >= chances[0]
        reserved.append(reserve)
        push, ready, beat = reserved.pop(0), generator.random() >= chances[1], generator.randrange(256)
        context.set(dut.reserve, reserve)
        context.set(dut.push, push)
        context.set(dut.beat.as_value(), beat)
        context.set(dut.output.ready, ready)
        shows = model.shows(cycle)
        assert context.get(dut.output.valid) == shows, cycle
        taken = shows and ready
        if shows and not dut.late:
            assert context.get(dut.output.p.as_value()) == model.beats[0][1]
        owed = model.beats[0][1] if taken and dut.late else None
        if taken:
            model.beats.pop(0)
            left.append(cycle)
        if push:
            model.beats.append((cycle + queue_cycles(dut.depth), beat))
        assert len(model.beats) <= dut.depth
        model.count(taken, reserve)
        await context.tick()
    return left


def run_queue(depth: int, pipeline: int, stall: str, seed: int = 1, late: bool = False) -> list[int]:
    dut = CreditQueue(data.ArrayLayout(8, 1), depth, late)
    left: list[int] = []

    async def process(context: Any) -> None:
        left.extend(await drive(context, dut, pipeline, STALLS[stall], random.Random(seed)))

    clocked(dut, process)
    return left


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("pipeline", [0, 1, 5])
@pytest.mark.parametrize("depth", [1, 2, 3, 8, DEEP_QUEUE, DEEP_QUEUE + 1, 50])
def test_queue_equals_two_lists_in_every_cycle(depth: int, pipeline: int, stall: str) -> None:
    assert len(run_queue(depth, pipeline, stall)) > CYCLES // (3 * pipeline + 12)


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("pipeline", [0, 5])
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 8, DEEP_QUEUE, DEEP_QUEUE + 1])
def test_a_late_queue_sends_the_same_beats_in_the_same_cycles(depth: int, pipeline: int, stall: str) -> None:
    prompt, late = (run_queue(depth, pipeline, stall, late=late) for late in (False, True))
    assert prompt == late != []


@pytest.mark.parametrize("late", [False, True])
def test_a_queue_read_at_the_wrong_time_is_found(late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ShortQueue.__init__
    monkeypatch.setattr(ShortQueue, "__init__", lambda queue, width, depth, _late: plain(queue, width, depth, not late))
    with pytest.raises(AssertionError):
        run_queue(4, 1, "both", late=late)


@pytest.mark.parametrize("pipeline", [0, 1, 4, 9])
def test_queue_runs_at_full_rate_from_pipeline_plus_four_places_on(pipeline: int) -> None:
    least = pipeline + QUEUE_CYCLES + FREE_CYCLES
    first = pipeline + QUEUE_CYCLES
    assert run_queue(least, pipeline, "none") == list(range(first, CYCLES))
    assert len(run_queue(least - 1, pipeline, "none")) < CYCLES - first


@pytest.mark.parametrize("pipeline", [0, 4])
def test_a_deep_queue_runs_at_full_rate_and_shows_later(pipeline: int) -> None:
    depth = DEEP_QUEUE + 1
    assert run_queue(depth, pipeline, "none") == list(range(pipeline + queue_cycles(depth), CYCLES))


@pytest.mark.parametrize("depth", [0, -1])
def test_queue_without_places_is_refused(depth: int) -> None:
    with pytest.raises(CrosstileError) as error:
        CreditQueue(data.ArrayLayout(8, 1), depth)
    assert str(error.value) == f"depth must be 1 or more, not {depth}"


def lanes_of(lanes: int, count: int, seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (count, lanes))


def through(dut: Any, given: Any, expected: Any, stall: str, seed: int) -> list[int]:
    beats = [pack(beat, 8) for beat in given.tolist()]
    wanted = [pack(beat, 8) for beat in expected.tolist()]
    bench = StreamBench(dut, Port.of(dut.input), Port.of(dut.output), beats, len(wanted), stall, seed)
    run = bench.run()
    assert run.beats == wanted
    return run.cycles


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize(("lanes_in", "lanes_out"), [(1, 1), (2, 1), (4, 1), (6, 2), (6, 3), (8, 4), (5, 5)])
def test_split_hands_on_every_lane_in_order(lanes_in: int, lanes_out: int, stall: str, seed: int) -> None:
    given = lanes_of(lanes_in, 30, seed)
    cycles = through(Split(INT8, lanes_in, lanes_out), given, given.reshape(-1, lanes_out), stall, seed)
    if stall == "none":
        assert cycles == list(range(30 * lanes_in // lanes_out))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize(("lanes_in", "lanes_out"), [(1, 1), (1, 2), (1, 4), (2, 6), (3, 6), (5, 5)])
def test_join_collects_every_lane_in_order(
    lanes_in: int, lanes_out: int, depth: int, stall: str, seed: int
) -> None:
    given = lanes_of(lanes_in, 24, seed)
    cycles = through(Join(UINT8, lanes_in, lanes_out, depth), given, given.reshape(-1, lanes_out), stall, seed)
    parts = lanes_out // lanes_in
    if stall == "none" and depth * parts >= Join.PIPELINE_CYCLES + QUEUE_CYCLES + FREE_CYCLES:
        assert cycles == [parts * (n + 1) - 1 + Join.PIPELINE_CYCLES + QUEUE_CYCLES for n in range(24 // parts)]


@pytest.mark.parametrize(("lanes_in", "lanes_out"), [(4, 3), (2, 4), (5, 2)])
def test_split_refuses_lanes_that_do_not_divide(lanes_in: int, lanes_out: int) -> None:
    with pytest.raises(CrosstileError) as error:
        Split(UINT8, lanes_in, lanes_out)
    assert str(error.value) == f"lanes_out must divide {lanes_in}, not {lanes_out}"


@pytest.mark.parametrize(("lanes_in", "lanes_out"), [(3, 4), (4, 2), (2, 5)])
def test_join_refuses_lanes_that_do_not_divide(lanes_in: int, lanes_out: int) -> None:
    with pytest.raises(CrosstileError) as error:
        Join(UINT8, lanes_in, lanes_out, 2)
    assert str(error.value) == f"lanes_in must divide {lanes_out}, not {lanes_in}"


async def drive_fork(context: Any, dut: Any, chances: tuple[float, float], generator: Any) -> list[list[int]]:
    """Compare a fork with a model queue per output in every cycle; return what left each."""
    models, left = [Model(depth) for depth in dut.depths], [[] for _ in dut.depths]
    for cycle in range(CYCLES):
        beat, valid = generator.randrange(256), generator.random() >= chances[0]
        context.set(dut.input.p.as_value(), beat)
        context.set(dut.input.valid, valid)
        room = all(model.free > 0 for model in models)
        assert context.get(dut.input.ready) == room, cycle
        for model, output, found in zip(models, dut.outputs, left, strict=True):
            ready = generator.random() >= chances[1]
            context.set(output.ready, ready)
            shows = model.shows(cycle)
            assert context.get(output.valid) == shows, cycle
            if shows:
                assert context.get(output.p.as_value()) == model.beats[0][1]
            if shows and ready:
                found.append(model.beats.pop(0)[1])
            if valid and room:
                model.beats.append((cycle + Fork.PIPELINE_CYCLES + QUEUE_CYCLES, beat))
            model.count(shows and ready, valid and room)
        await context.tick()
    return left


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("depths", [(1, 1), (4, 4), (2, 7), (9, 1, 4)])
def test_fork_equals_a_list_per_queue_in_every_cycle(depths: tuple[int, ...], stall: str) -> None:
    dut = Fork(data.ArrayLayout(8, 1), depths)
    left: list[list[int]] = []

    async def process(context: Any) -> None:
        left.extend(await drive_fork(context, dut, STALLS[stall], random.Random(3)))

    clocked(dut, process)
    shortest = min(map(len, left))
    assert shortest > CYCLES // (4 * max(1, 4 // min(depths)))
    assert all(found[:shortest] == left[0][:shortest] for found in left)
    if stall == "none" and min(depths) >= Fork.PIPELINE_CYCLES + QUEUE_CYCLES + FREE_CYCLES:
        assert shortest == CYCLES - Fork.PIPELINE_CYCLES - QUEUE_CYCLES


@pytest.mark.parametrize("stuck", [0, 1, 2])
def test_fork_waits_for_the_queue_that_is_full(stuck: int) -> None:
    dut, taken = Fork(data.ArrayLayout(8, 1), (3, 4, 5)), 0

    async def process(context: Any) -> None:
        nonlocal taken
        context.set(dut.input.valid, 1)
        for index, output in enumerate(dut.outputs):
            context.set(output.ready, index != stuck)
        for _ in range(60):
            taken += context.get(dut.input.ready)
            await context.tick()

    clocked(dut, process)
    assert taken == dut.depths[stuck]


@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_lane_zero_is_least_significant_and_lanes_have_the_format_s_shape(bits: int) -> None:
    assert shape_of(NumberFormat(bits, signed=True)) == signed(bits)
    assert shape_of(NumberFormat(bits, signed=False)) == unsigned(bits)
    layout = beat_layout(NumberFormat(bits, signed=False), 3)
    assert layout.size == 3 * bits
    assert [layout[lane].offset for lane in range(3)] == [0, bits, 2 * bits]


@pytest.mark.parametrize("cycles", [0, 1, 3])
def test_delay_is_exact_and_zero_after_reset(cycles: int) -> None:
    m, given, wanted = Module(), Signal(8), Signal(8)
    m.d.comb += wanted.eq(delay(m, given, cycles, "given"))

    async def process(context: Any) -> None:
        for cycle in range(12):
            context.set(given, 100 + cycle)
            assert context.get(wanted) == (100 + cycle - cycles if cycle >= cycles else 0)
            await context.tick()

    m.d.sync += Signal().eq(0)  # the clock must exist where nothing is delayed
    clocked(m, process)
