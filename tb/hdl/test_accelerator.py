"""The top level: frame behind frame, reset at any time, and an error flag that tells misplaced ends alone."""

from typing import Any

import numpy as np
import pytest
from crosstile.accelerator import lane_bits
from crosstile.fold import Fold
from crosstile.mapper import Options, map_network
from crosstile.network_plan import NetworkPlan
from crosstile_golden.numbers import NumberFormat

from .bench import INT8, STALLS, accelerator_bench, convolution, plan_of, pool, prove, random_frames, results_of
from .test_stages import NETWORKS as GRAPHS


def network(together: bool) -> NetworkPlan:
    """Return a convolution, a pool and a dense layer, kernel rows together or in turn."""
    layers = [
        convolution(2, 4, (6, 5), (3, 3), begin=(1, 1), end=(0, 1), reads=INT8, name="a", seed=1),
        pool(4, (5, 5), (2, 2), "max", stride=(1, 2), name="p"),
        convolution(4, 3, (4, 2), (4, 2), writes=NumberFormat(11, True), relu=False, name="d", seed=2),
    ]
    first = Fold(3, 3, 2, 2) if together else Fold(1, 3, 1, 4)
    return plan_of(layers, [first, Fold(1, 1, 4, 1)])


def mapped(name: str, architecture: str) -> NetworkPlan:
    """Return a network of branches, as the mapper plans it with one architecture."""
    return map_network(GRAPHS[name], None, options=Options(architectures=(architecture,)))


PLANS = {
    "together": network(True), "in turn": network(False),
    "residual": mapped("diamond", "steered"), "residual of a volume, buffered": mapped("volumes", "buffered"),
}  # fmt: skip


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("name", PLANS)
def test_frames_right_behind_each_other_equal_golden(name: str, stall: str) -> None:
    prove(PLANS[name], 5, stall=stall)


@pytest.mark.parametrize("stall", ["none", "both"])
@pytest.mark.parametrize("cycle", [1, 2, 3, 9, 17, 30, 47, 61, 90, 133])
@pytest.mark.parametrize("name", PLANS)
def test_reset_in_mid_frame_recovers(name: str, cycle: int, stall: str) -> None:
    prove(PLANS[name], 2, reset_at=cycle, stall=stall)


@pytest.mark.parametrize("first", ["least", "greatest"])
@pytest.mark.parametrize("name", PLANS)
def test_a_frame_leaves_nothing_to_the_next(name: str, first: str) -> None:
    plan = PLANS[name]
    legal = plan.network.input_format
    value = legal.minimum if first == "least" else legal.maximum
    frames = random_frames(plan, 2, 4)
    frames[0] = value
    prove(plan, frames)


@pytest.mark.parametrize("bits", [4, 7, 8, 9, 16])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_lanes_are_whole_bytes_extended_by_their_sign(bits: int, signed: bool) -> None:
    legal = NumberFormat(bits, signed)
    assert lane_bits(legal) == (8 if bits <= 8 else 16)
    layer = convolution(2, 2, (3, 3), (2, 2), reads=legal, writes=legal, relu=False, seed=bits)
    plan = plan_of([layer])
    run = prove(plan, 2)
    for beat in run.beats:
        for lane in range(2):
            word = beat >> (lane * lane_bits(legal)) & ((1 << lane_bits(legal)) - 1)
            value = word - (1 << lane_bits(legal)) if signed and word >> (lane_bits(legal) - 1) else word
            assert legal.minimum <= value <= legal.maximum


SMALL = plan_of([convolution(2, 1, (2, 2), (2, 2), seed=1)], [Fold(1, 1, 1, 1)])  # 8 beats a frame


def last_bits(frames: int, change: Any) -> list[int]:
    bits = [int((index + 1) % SMALL.beats_in == 0) for index in range(frames * SMALL.beats_in)]
    for index in change:
        bits[index] ^= 1
    return bits


def run_with_last(bits: list[int], stall: str, **settings: Any) -> Any:
    frames = random_frames(SMALL, len(bits) // SMALL.beats_in)
    bench = accelerator_bench(SMALL, frames, stall=stall, **settings)
    bench.last = bits
    run = bench.run()
    np.testing.assert_array_equal(results_of(SMALL, run), SMALL.network.run(frames))
    return run


@pytest.mark.parametrize("stall", STALLS)
def test_frame_error_stays_low_while_every_frame_ends_in_its_place(stall: str) -> None:
    assert SMALL.beats_in == 8
    assert run_with_last(last_bits(4, []), stall).flags["frame_error"] == 0


@pytest.mark.parametrize("stall", ["none", "both"])
@pytest.mark.parametrize("place", range(16))
def test_frame_error_rises_for_each_misplaced_end_and_data_are_not_affected(place: int, stall: str) -> None:
    assert run_with_last(last_bits(2, [place]), stall).flags["frame_error"] == 1


@pytest.mark.parametrize("place", [0, 3, 7])
def test_frame_error_rises_in_the_cycle_after_the_misplaced_end_and_stays(place: int) -> None:
    bench = accelerator_bench(SMALL, random_frames(SMALL, 2))
    bench.last, seen, plain = last_bits(2, [place]), [], bench._offer

    def offer(context: Any, offering: bool, index: int) -> None:
        seen.append((len(bench.record.taken), context.get(bench.watched["frame_error"])))
        plain(context, offering, index)

    bench._offer = offer  # type: ignore[method-assign]
    bench.run()
    assert all(error == (taken > place) for taken, error in seen)


def test_reset_clears_frame_error() -> None:
    wrong = last_bits(2, [0])
    bench = accelerator_bench(SMALL, random_frames(SMALL, 2), reset_at=20)
    bench.last = wrong
    plain = bench._interrupted

    async def interrupted(context: Any) -> None:
        await plain(context)
        assert context.get(bench.watched["frame_error"]) == 0
        bench.last = last_bits(2, [])

    bench._interrupted = interrupted  # type: ignore[method-assign]
    assert bench.run().flags["frame_error"] == 0


@pytest.mark.parametrize("name", PLANS)
def test_the_output_marks_the_last_beat_of_every_result(name: str) -> None:
    run = prove(PLANS[name], 3)
    assert run.last == [int((index + 1) % PLANS[name].beats_out == 0) for index in range(3 * PLANS[name].beats_out)]
