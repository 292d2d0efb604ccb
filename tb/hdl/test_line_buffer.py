"""The line buffer gives under each position every tap of every output row, padding as zero, in the predicted cycles."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from crosstile import line_buffer
from crosstile.line_buffer import LineBuffer
from crosstile.line_buffer_plan import DEEP, LineBufferPlan
from crosstile.network_plan import least_depth
from crosstile.timing import Input, Node, Queue, Timing, predict
from crosstile_golden.errors import CrosstileError
from crosstile_golden.numbers import Integers, NumberFormat
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from .bench import INT8, STALLS, UINT8, Port, Run, StreamBench, beats_of, pack


def plan_of(
    kernel: int = 3, stride: int = 1, dilation: int = 1, begin: int = 1, end: int = 1, rows: int = 5,
    positions: int = 3, channels: int = 2, lanes: int = 2, run: int = 1, reads: NumberFormat = UINT8, frames: int = 1,
) -> LineBufferPlan:  # fmt: skip
    outputs = (rows + begin + end - (kernel - 1) * dilation - 1) // stride + 1
    return LineBufferPlan(
        "x", reads, rows, positions, kernel, stride, dilation, begin, outputs, channels, lanes, run, frames
    )


def taps_of(plan: LineBufferPlan, images: Integers) -> list[int]:
    """Return the beats for images (images, channels, rows, positions), loop by loop."""
    beats = []
    for image in images:
        for output in range(plan.outputs):
            for position in range(plan.positions):
                for first in range(0, plan.channels, plan.lanes):
                    beat = []
                    for run in range(first, first + plan.lanes, plan.run):
                        for tap in range(plan.kernel):
                            row = output * plan.stride - plan.padding + tap * plan.dilation
                            for channel in range(run, run + plan.run):
                                inside = 0 <= row < plan.rows
                                beat.append(int(image[channel, row, position]) if inside else 0)
                    beats.append(pack(beat, plan.number_format.bits))
    return beats


def timing_of(plan: LineBufferPlan, depth: int, frames: int) -> Timing:
    """Return the predicted timing behind a source whose beats show from the start."""
    source = Queue(1, shows=[0] * (frames * plan.operations.beats_in))
    return predict([Node(plan.operations, plan.pipeline_cycles, [Queue(depth)], [Input(source)])], frames)


def hold(
    plan: LineBufferPlan, frames: int = 2, depth: int = 0, hardware: LineBufferPlan | None = None, **run: Any
) -> Run:
    """Hold a line buffer equal to the loops and, where nothing stalls, to its predicted cycles."""
    depth = depth or least_depth(plan)
    legal, generator = plan.number_format, np.random.default_rng(frames)
    size = (frames * plan.frames, plan.channels, plan.rows, plan.positions)
    images = generator.integers(legal.minimum, legal.maximum + 1, size)
    dut, expected = LineBuffer(hardware or plan, depth), taps_of(plan, images)
    beats = beats_of(images, plan.lanes, legal.bits)
    bench = StreamBench(dut, Port.of(dut.input), Port.of(dut.output), beats, len(expected), **run)
    found = bench.run()
    assert found.beats == expected
    if run.get("stall", "none") == "none":
        timing = timing_of(plan, depth, frames)
        ends = found.cycles[plan.operations.beats_out - 1 :: plan.operations.beats_out]
        assert (found.cycles[0], tuple(ends)) == (timing.first_output, timing.frame_ends)
    return found


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
def test_every_kernel_stride_and_dilation_with_unlike_padding(kernel: int, stride: int, dilation: int) -> None:
    span = (kernel - 1) * dilation
    hold(plan_of(kernel, stride, dilation, begin=span // 2, end=(span + 1) // 3, rows=span + 2))


@pytest.mark.parametrize(("begin", "end"), [(0, 0), (4, 0), (0, 4), (3, 4), (1, 6), (4, 11)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_padding_at_both_ends_behind_the_last_row_even_beyond_the_rows_kept(stride: int, begin: int, end: int) -> None:
    hold(plan_of(3, stride, 2, begin=begin, end=end))
    hold(plan_of(1, stride, begin=0, end=end, rows=4))


@pytest.mark.parametrize(("kernel", "dilation", "most"), [(1, 1, 0), (3, 1, 2), (2, 3, 3)])
def test_padding_before_the_first_row_beyond_the_rows_kept_is_refused(kernel: int, dilation: int, most: int) -> None:
    plan_of(kernel, 1, dilation, begin=most)
    with pytest.raises(CrosstileError) as error:
        plan_of(kernel, 1, dilation, begin=most + 1)
    assert str(error.value) == (
        f"layer x: padding {most + 1} leaves the first output without any activation; at most "
        f"(kernel - 1) * dilation = {most} is supported"
    )


@pytest.mark.parametrize("rows", [1, 2])
def test_fewer_rows_than_the_kernel_has(rows: int) -> None:
    hold(plan_of(4, begin=3, end=2, rows=rows), 3)


WORDS = [1, 2, 3, 15, 16, 40]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("words", WORDS)
def test_any_number_of_words_per_row(words: int, stride: int) -> None:
    plan = plan_of(3, stride, rows=4, positions=words)
    assert (plan.words, plan.read_cycles) == (words, 1 + (words >= DEEP))
    hold(plan, 3)


@pytest.mark.parametrize(
    ("channels", "lanes", "run"),
    [(1, 1, 1), (6, 1, 1), (6, 2, 2), (6, 3, 1), (6, 3, 3), (6, 6, 1), (6, 6, 2), (6, 6, 3), (6, 6, 6)],
)
@pytest.mark.parametrize("reads", [INT8, NumberFormat(3, False), NumberFormat(12, True)], ids=str)
def test_lanes_come_in_runs_of_channels_per_tap(reads: NumberFormat, channels: int, lanes: int, run: int) -> None:
    hold(plan_of(rows=4, positions=2, channels=channels, lanes=lanes, run=run, reads=reads))


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("words", WORDS)
def test_stalls_lose_and_repeat_nothing(words: int, slices: int, stall: str) -> None:
    hold(plan_of(rows=3, positions=words, frames=slices), 3, stall=stall, seed=words)


@pytest.mark.parametrize("stall", ["none", "both"])
@pytest.mark.parametrize("cycle", [0, 1, 2, 5, 8, 13, 20, 31, 50])
@pytest.mark.parametrize("words", [1, 3, 16])
def test_reset_in_mid_frame_recovers(words: int, cycle: int, stall: str) -> None:
    hold(plan_of(2, 2, begin=1, end=0, rows=4, positions=words), reset_at=cycle, stall=stall)


@pytest.mark.parametrize("depth", [1, 2, 3, 9])
@pytest.mark.parametrize("words", [1, 15, 16])
def test_any_depth_of_queue_keeps_values_and_prediction(words: int, depth: int) -> None:
    hold(plan_of(rows=3, positions=words), 3, depth)


@pytest.mark.parametrize("words", WORDS)
def test_a_beat_per_cycle_rows_of_padding_included(words: int) -> None:
    plan = plan_of(5, begin=2, end=1, rows=6, positions=words)
    assert plan.cycles_per_frame == (6 + 1) * words
    assert timing_of(plan, least_depth(plan), 8).interval == plan.cycles_per_frame


@pytest.mark.parametrize("words", WORDS)
def test_the_least_depth_is_pipeline_plus_three_places(words: int) -> None:
    plan = plan_of(3, rows=20, positions=words)
    least = least_depth(plan)
    assert least == plan.pipeline_cycles + 3 == (6 if words >= DEEP else 5)
    assert timing_of(plan, least - 1, 8).interval > timing_of(plan, least, 8).interval == plan.cycles_per_frame


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (2, 1), (3, 1), (3, 2), (5, 3)])
@pytest.mark.parametrize("positions", [1, 2, 16])
def test_memory_is_the_rows_kept_and_no_more(
    kernel: int, dilation: int, positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(kernel, 1, dilation, 0, rows=kernel * dilation, positions=positions, channels=4)
    built: list[int] = []

    class Counted(line_buffer.Storage):
        def __init__(self, width: int, depth: int) -> None:
            built.append(width * depth)
            super().__init__(width, depth)

    monkeypatch.setattr(line_buffer, "Storage", Counted)
    hold(plan)
    assert plan.memory_bits == (kernel - 1) * dilation * positions * 4 * 8
    assert built == ([plan.memory_bits] if kernel > 1 else [])  # two words: a position in two beats


@st.composite
def plans(draw: Any) -> LineBufferPlan:
    def number(low: int, high: int) -> int:
        return int(draw(st.integers(low, high)))

    run = number(1, 2)
    lanes = run * number(1, 2)
    kernel, dilation, rows, end = number(1, 5), number(1, 3), number(1, 6), number(0, 6)
    begin = number(0, (kernel - 1) * dilation)
    assume(rows + begin + end > (kernel - 1) * dilation)
    return plan_of(
        kernel, number(1, 4), dilation, begin, end, rows, number(1, 5), lanes * number(1, 3), lanes, run,
        NumberFormat(number(1, 9), draw(st.booleans())), number(1, 3),
    )  # fmt: skip


@settings(max_examples=40, deadline=None, derandomize=True)
@given(plans(), st.sampled_from(list(STALLS)), st.integers(0, 4))
def test_random_plans(plan: LineBufferPlan, stall: str, depth: int) -> None:
    hold(plan, 2, depth, stall=stall)


def changed(**properties: Callable[[LineBufferPlan], Any]) -> Callable[[LineBufferPlan], LineBufferPlan]:
    """Return what turns a plan into one with other properties."""
    kind = type("Changed", (LineBufferPlan,), {name: property(change) for name, change in properties.items()})
    return lambda plan: kind(*(getattr(plan, field.name) for field in fields(plan)))


def steps_with(change: Callable[[tuple[Any, ...]], Any]) -> Callable[[LineBufferPlan], LineBufferPlan]:
    plain = LineBufferPlan.row_steps.func  # type: ignore[attr-defined]
    return changed(row_steps=lambda plan: tuple(change(step) for step in plain(plan)))


DEFECTS: dict[str, Callable[[LineBufferPlan], LineBufferPlan]] = {
    "shows what is outside of the rows": steps_with(lambda step: replace(step, taps=(True,) * len(step.taps))),
    "masks the wrong end": steps_with(lambda step: replace(step, taps=step.taps[::-1])),
    "never emits": steps_with(lambda step: replace(step, emit=False)),
    "emits every row": steps_with(lambda step: replace(step, emit=True)),
    "takes beats in rows of padding": steps_with(lambda step: replace(step, intake=True)),
    "has a slower memory than its pipeline": changed(read_cycles=lambda _plan: 2),
    "sends a cycle late": changed(pipeline_cycles=lambda plan: plan.read_cycles + 2),
    "keeps a row too few": lambda plan: replace(plan, dilation=1),
    "keeps other runs together": lambda plan: replace(plan, run=2),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_line_buffer_is_refused_that(defect: str) -> None:
    plan = plan_of(3, 2, 2, begin=2, end=2, rows=6, positions=2)
    hold(plan)
    with pytest.raises((AssertionError, IndexError)):
        hold(plan, hardware=DEFECTS[defect](plan))


@pytest.mark.parametrize(("lanes", "run"), [(4, 1), (3, 2), (5, 5)])
def test_lanes_and_runs_that_do_not_divide_are_refused(lanes: int, run: int) -> None:
    with pytest.raises(CrosstileError) as error:
        plan_of(channels=6, lanes=lanes, run=run)
    assert str(error.value) == (
        f"layer x: lanes must divide 6 channels and run must divide the lanes, not {lanes} and {run}"
    )
