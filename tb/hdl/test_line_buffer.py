"""The line buffer gives under each position every tap of every window, padding as zero, in the predicted cycles."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from crosstile import line_buffer
from crosstile.line_buffer import LineBuffer, LineWindows
from crosstile.line_buffer_plan import DEEP, LineBufferPlan, strided_starts
from crosstile.network_plan import least_depth
from crosstile.streams import Late
from crosstile.timing import Input, Node, Queue, Timing, predict
from crosstile.winograd_program import axis_programs
from crosstile_golden.errors import CrosstileError
from crosstile_golden.numbers import Integers, NumberFormat
from crosstile_golden.winograd import TILE
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from .bench import INT8, STALLS, UINT8, Port, Run, StreamBench, beats_of, convolution, pack
from .blocks import Row


def plan_of(
    kernel: int = 3, stride: int = 1, dilation: int = 1, begin: int = 1, end: int = 1, rows: int = 5,
    positions: int = 3, channels: int = 2, lanes: int = 2, run: int = 1, reads: NumberFormat = UINT8, frames: int = 1,
) -> LineBufferPlan:  # fmt: skip
    outputs = (rows + begin + end - (kernel - 1) * dilation - 1) // stride + 1
    starts = strided_starts(outputs, stride, begin)
    return LineBufferPlan("x", reads, rows, positions, kernel, dilation, starts, channels, lanes, run, frames)


def windows_of(
    kernel: int, dilation: int, rows: int, starts: tuple[int, ...], positions: int = 3, frames: int = 1
) -> LineBufferPlan:
    return LineBufferPlan("x", UINT8, rows, positions, kernel, dilation, starts, 2, 2, 1, frames)


def taps_of(plan: LineBufferPlan, images: Integers) -> list[int]:
    """Return the beats for images (images, channels, rows, positions), loop by loop."""
    beats = []
    for image in images:
        for start in plan.starts:
            for position in range(plan.positions):
                for first in range(0, plan.channels, plan.lanes):
                    beat = []
                    for run in range(first, first + plan.lanes, plan.run):
                        for tap in range(plan.kernel):
                            row = start + tap * plan.dilation
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


@pytest.mark.parametrize(("outputs", "stride", "padding"), [(1, 1, 0), (5, 1, 1), (4, 2, 3), (3, 3, 0)])
def test_a_convolution_s_windows_start_a_stride_apart(outputs: int, stride: int, padding: int) -> None:
    assert strided_starts(outputs, stride, padding) == tuple(o * stride - padding for o in range(outputs))


@pytest.mark.parametrize("rows", [1, 2])
def test_fewer_rows_than_the_kernel_has(rows: int) -> None:
    hold(plan_of(4, begin=3, end=2, rows=rows), 3)


WORDS = [1, 2, 3, 15, 16, 40]

# Late streams


def linked(plan: LineBufferPlan, sends: bool, takes: bool) -> Row:
    """Return the line buffer behind one that keeps no row, which sends late, or not, what it takes late, or not."""
    before = replace(plan, kernel=1, dilation=1, starts=tuple(range(plan.rows)), run=plan.lanes)
    blocks = [LineBuffer(before, 4, Late(output=sends)), LineBuffer(plan, 4, Late(input=takes))]
    return Row(blocks)


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("positions", WORDS)
def test_a_late_link_sends_the_same_beats_in_the_same_cycles(positions: int, stall: str) -> None:
    plan = replace(plan_of(3, 1, begin=1, end=1), positions=positions)
    images = np.random.default_rng(positions).integers(0, 256, (2, plan.channels, plan.rows, positions))
    beats, expected = beats_of(images, plan.lanes, 8), taps_of(plan, images)
    prompt, late, wrong = (
        StreamBench(dut, Port.of(dut.input), Port.of(dut.output), beats, len(expected), stall).run()
        for dut in (linked(plan, False, False), linked(plan, True, True), linked(plan, True, False))
    )
    assert prompt.beats == late.beats == expected != wrong.beats
    assert prompt.cycles == late.cycles == wrong.cycles


# Windows in any ascending order

WINDOWS: dict[str, LineBufferPlan] = {
    "one twice": windows_of(4, 1, 6, (-1, 0, 2, 2, 3)),
    "one three times": windows_of(3, 1, 5, (-1, 1, 1, 1, 2)),
    "all twice": windows_of(2, 1, 3, (-1, -1, 0, 0, 1, 1, 2, 2)),
    "a lone one, four times": windows_of(3, 1, 4, (1, 1, 1, 1)),
    "single rows twice": windows_of(1, 1, 3, (0, 0, 2, 2)),
    "distances of their own, none twice": windows_of(3, 1, 9, (-2, -1, 2, 3, 6)),
    "dilation 2": windows_of(3, 2, 7, (-4, -1, -1, 0, 2, 2, 2, 5)),
    "dilation 3": windows_of(2, 3, 6, (-3, -3, -2, 0, 1, 1, 4, 4)),
    "dilation 3, kernel 4": windows_of(4, 3, 4, (-9, -9, -4, -4, -4, 3)),
    "mostly padding at both ends": windows_of(5, 1, 3, (-4, -4, -3, 1, 2, 2)),
    "twice behind the last row": windows_of(3, 1, 2, (0, 0, 1, 1, 4, 4)),
    "rows of no window before and behind": windows_of(2, 1, 9, (3, 3, 4)),
    "only above the first row": windows_of(3, 1, 5, (-2, -2, -1)),
    "one row": windows_of(3, 1, 1, (-2, -1, -1, 0, 0)),
}


@pytest.mark.parametrize("positions", [1, 2, 3, 15, 16])
@pytest.mark.parametrize("windows", WINDOWS)
def test_windows_that_start_anywhere_and_again(windows: str, positions: int) -> None:
    hold(replace(WINDOWS[windows], positions=positions), 3)


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("positions", [1, 2, 3, 16])
@pytest.mark.parametrize("windows", ["one twice", "dilation 2", "mostly padding at both ends"])
def test_stalls_lose_and_repeat_nothing_where_windows_come_again(windows: str, positions: int, stall: str) -> None:
    hold(replace(WINDOWS[windows], positions=positions, frames=2), stall=stall, seed=positions)


@pytest.mark.parametrize("stall", ["none", "both"])
@pytest.mark.parametrize("cycle", [0, 1, 3, 6, 9, 14, 19, 27, 38, 52])
@pytest.mark.parametrize("positions", [1, 3, 16])
def test_reset_in_mid_frame_recovers_where_windows_come_again(positions: int, cycle: int, stall: str) -> None:
    hold(replace(WINDOWS["one three times"], positions=positions), reset_at=cycle, stall=stall)


@pytest.mark.parametrize("depth", [1, 2, 3, 9])
@pytest.mark.parametrize("windows", ["one twice", "all twice", "dilation 3"])
def test_any_depth_of_queue_where_windows_come_again(windows: str, depth: int) -> None:
    hold(WINDOWS[windows], 3, depth)


def passes_of(plan: LineBufferPlan) -> int:
    """Return the passes: rows that arrive, rows of padding up to the last window's last, and windows sent again."""
    behind = max(plan.starts[-1] + (plan.kernel - 1) * plan.dilation - (plan.rows - 1), 0)
    return plan.rows + behind + len(plan.starts) - len(set(plan.starts))


@pytest.mark.parametrize("positions", [1, 2, 16])
@pytest.mark.parametrize("windows", WINDOWS)
def test_a_pass_per_row_and_per_window_sent_again(windows: str, positions: int) -> None:
    plan = replace(WINDOWS[windows], positions=positions)
    assert plan.cycles_per_frame == plan.operations.cycles == positions * passes_of(plan)
    assert plan.operations.beats_in == positions * plan.rows
    assert plan.operations.beats_out == positions * len(plan.starts)
    assert timing_of(plan, least_depth(plan), 8).interval == plan.cycles_per_frame


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "begin", "size"),
    [(3, 1, 1, 1, 7), (5, 1, 1, 2, 9), (4, 2, 1, 1, 10), (7, 2, 1, 3, 11), (3, 1, 2, 2, 8), (3, 2, 3, 3, 12)],
)
def test_the_tiles_of_a_winograd_engine_are_such_windows(
    kernel: int, stride: int, dilation: int, begin: int, size: int
) -> None:
    layer = convolution(
        1, 1, (size,), (kernel,), stride=(stride,), dilation=(dilation,), begin=(begin,), end=(begin,)
    )
    (axis,) = axis_programs(layer.geometry)
    hold(windows_of(TILE, axis.input_spacing, size, tuple(step.start for step in axis.steps)))


@pytest.mark.parametrize(
    ("plan", "beats"),
    [
        (plan_of(3, 1, begin=2, end=2), 0),  # every pass sends
        (plan_of(3, 2, begin=2, end=0, rows=6), 2),  # 3 of 6 passes send rows of 3 beats: 3 · 1/2, rounded up
        (plan_of(4, 4, begin=3, end=0, rows=16, positions=8), 6),  # 4 of 16: 8 · 3/4
        (WINDOWS["one twice"], 4),  # 5 of 8, 5 of them within 6: 3 · (5 - 6 · 5/8), rounded up
        (replace(WINDOWS["rows of no window before and behind"], positions=100), 210),  # 3 in a row of 10: 100 · 2.1
    ],
    ids=["0 of 9", "3 of 6", "4 of 16", "5 of 8", "3 of 10"],
)
def test_the_beats_that_wait_for_a_consumer_of_the_mean_pace(plan: LineBufferPlan, beats: int) -> None:
    assert plan.burst_beats == beats


@pytest.mark.parametrize("starts", [(), (1, 0), (-1, 2, 1), (0, 0, -1)])
def test_starts_that_do_not_ascend_are_refused(starts: tuple[int, ...]) -> None:
    with pytest.raises(CrosstileError) as error:
        windows_of(3, 1, 5, starts)
    assert str(error.value) == (
        f"layer x: starts must be one or more rows, each the one before or a later one, not {starts}"
    )


# Words, lanes and stalls


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
def test_the_least_depth_is_pipeline_plus_four_places(words: int) -> None:
    plan = plan_of(3, rows=20, positions=words)
    least = least_depth(plan)
    assert least == plan.pipeline_cycles + 4 == (7 if words >= DEEP else 6)
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
    built.clear()
    again = replace(plan, starts=(0, 0))
    hold(again)
    assert built == [again.memory_bits] == [plan.memory_bits + positions * 4 * 8]


@st.composite
def plans(draw: Any) -> LineBufferPlan:
    def number(low: int, high: int) -> int:
        return int(draw(st.integers(low, high)))

    run = number(1, 2)
    lanes = run * number(1, 2)
    kernel, dilation, rows, end = number(1, 5), number(1, 3), number(1, 6), number(0, 6)
    begin = number(0, (kernel - 1) * dilation)
    assume(rows + begin + end > (kernel - 1) * dilation)
    plan = plan_of(
        kernel, number(1, 4), dilation, begin, end, rows, number(1, 5), lanes * number(1, 3), lanes, run,
        NumberFormat(number(1, 9), draw(st.booleans())), number(1, 3),
    )  # fmt: skip
    anywhere = st.lists(st.integers(-plan.reach, rows), min_size=1, max_size=8).map(sorted).map(tuple)
    return replace(plan, starts=draw(st.one_of(st.just(plan.starts), anywhere)))


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


AGAIN_DEFECTS: dict[str, Callable[[LineBufferPlan], LineBufferPlan]] = {
    "moves its rows when it sends again": steps_with(lambda step: replace(step, again=False)),
    "reads only what is stored": steps_with(lambda step: replace(step, again=True)),
    "takes beats when it sends again": steps_with(lambda step: replace(step, intake=step.intake or step.again)),
    "sends nothing again": lambda plan: replace(plan, starts=tuple(sorted(set(plan.starts)))),
    "sends the next window early": lambda plan: replace(plan, starts=(-2, 0, 0, 1, 1, 4)),
}
PLAIN = plan_of(3, 2, 2, begin=2, end=2, rows=6, positions=2)
AGAIN = replace(PLAIN, starts=(-2, 0, 0, 2, 2, 4))


@pytest.mark.parametrize(
    ("plan", "defect"),
    [(plan, defect) for plan in (PLAIN, AGAIN) for defect in DEFECTS.values()]
    + [(AGAIN, defect) for defect in AGAIN_DEFECTS.values()],
    ids=[*DEFECTS, *(f"{defect}, and sends again" for defect in DEFECTS), *AGAIN_DEFECTS],
)
def test_a_line_buffer_is_refused_that(
    plan: LineBufferPlan, defect: Callable[[LineBufferPlan], LineBufferPlan]
) -> None:
    hold(plan)
    with pytest.raises((AssertionError, IndexError)):
        hold(plan, hardware=defect(plan))


@pytest.mark.parametrize(("lanes", "run"), [(4, 1), (3, 2), (5, 5)])
def test_lanes_and_runs_that_do_not_divide_are_refused(lanes: int, run: int) -> None:
    with pytest.raises(CrosstileError) as error:
        plan_of(channels=6, lanes=lanes, run=run)
    assert str(error.value) == (
        f"layer x: lanes must divide 6 channels and run must divide the lanes, not {lanes} and {run}"
    )


@pytest.mark.parametrize("burst", [0, 3, 8])
def test_a_burst_that_does_not_divide_the_beats_of_a_position_is_refused(burst: int) -> None:
    plan = plan_of(channels=8, lanes=2)
    assert LineWindows(plan, burst=4).burst == 4
    with pytest.raises(CrosstileError) as error:
        LineWindows(plan, burst=burst)
    assert str(error.value) == f"layer x: burst must divide the 4 beats of a position, not {burst}"
