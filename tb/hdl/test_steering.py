"""Behind an output controller the engine computes the same in the same cycles, whichever source steers it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from crosstile.crosspoint import CrosspointEngine
from crosstile.crosspoint_plan import STEERINGS, CrosspointPlan
from crosstile.crosspoint_program import ModeWord
from crosstile.crosspoint_sequencer import CrosspointSequencer
from crosstile.fold import Fold
from crosstile.mode_source import StoredProgram, mode_layout
from crosstile.steered_integrators import SteeredIntegrators
from crosstile_golden.activation import NONE
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import NumberFormat
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from .bench import INT8, STALLS, beats_of, convolution, engine_bench, folds_of, prove_engine, widest

CONTROLLED = [steering for steering in STEERINGS if steering != "chain"]


class Outside(wiring.Component):
    """An engine with what steers it: a program of mode words outside of it, `words` or the layer's own."""

    def __init__(self, plan: CrosspointPlan, words: tuple[ModeWord, ...] = ()):
        self.plan = plan
        self.engine: Any = CrosspointEngine(plan, plan.pipeline_cycles + 4)
        self.words = words or plan.mode_words
        super().__init__({
            "input": In(stream.Signature(self.engine.input.payload.shape())),
            "output": Out(stream.Signature(self.engine.output.payload.shape())),
            "conflict": Out(1),
        })

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        layout = mode_layout(self.plan.fold.kernel_rows, self.plan.banks)
        m.submodules.engine = engine = self.engine
        program: Any = StoredProgram(self.plan.fold.kernel_rows, self.plan.banks, self.plan.mode_words)
        program.words = [layout.const(word.fields()).as_value().value for word in self.words]
        m.submodules.program = program
        wiring.connect(m, wiring.flipped(self.input), engine.input)
        wiring.connect(m, engine.output, wiring.flipped(self.output))
        m.d.comb += [
            engine.mode.eq(program.word),
            program.advance.eq(engine.time_step),
            self.conflict.eq(engine.conflict),
        ]
        return m


def prove_steered(plan: CrosspointPlan, frames: Any = 2, **settings: Any) -> Any:
    dut = Outside(plan) if plan.steering == "external" else None
    return prove_engine(plan, frames, dut, **settings)


def together(layer: ConvolutionLayer) -> list[Fold]:
    return [fold for fold in folds_of(layer) if fold.kernel_rows > 1]


SHAPES = {
    "3x3": convolution(2, 2, (6, 5), (3, 3), begin=(1, 1), end=(1, 1), seed=11),
    "3x3, no padding": convolution(2, 2, (6, 5), (3, 3), seed=12),
    "more padding than image": convolution(1, 2, (2, 3), (3, 3), begin=(2, 2), end=(2, 2), seed=13),
    "two output rows": convolution(2, 3, (4, 4), (3, 3), seed=14),
    "two of five kernel rows": convolution(1, 2, (6, 3), (5, 2), seed=15),
    "even kernel, unlike padding": convolution(2, 2, (7, 4), (4, 2), begin=(3, 0), end=(1, 1), seed=16),
    "one column": convolution(2, 2, (9, 1), (3, 1), begin=(1, 0), seed=17),
    "stride 2 along the row": convolution(2, 2, (6, 8), (3, 3), stride=(1, 2), begin=(1, 1), seed=18),
    "dilation 2 along the row": convolution(1, 2, (5, 8), (2, 3), dilation=(1, 2), seed=19),
    "groups": convolution(4, 4, (5, 4), (3, 3), begin=(1, 1), end=(1, 1), groups=2, seed=20),
    "depthwise": convolution(3, 3, (5, 4), (3, 2), groups=3, seed=21),
    "signed": convolution(2, 2, (5, 4), (3, 3), reads=INT8, writes=INT8, relu=False, seed=22),
    "kernel 7": convolution(1, 1, (9, 8), (7, 7), begin=(3, 3), end=(3, 3), seed=23),
}


def cases() -> list[Any]:
    """Every shape at its widest and its narrowest; one shape at every fold; other sources at some of them.

    The sources' words are held equal in `test_mode_source`.
    """
    picks = [(name, fold, "computed") for name, layer in SHAPES.items() for fold in (widest(layer), together(layer)[0])]
    picks += [("3x3", fold, "computed") for fold in together(SHAPES["3x3"])]
    picks += [
        (name, widest(SHAPES[name]), steering)
        for name in ("3x3", "two output rows", "one column", "groups") for steering in ("stored", "external")
    ]
    return [pytest.param(*pick, id=f"{pick[0]}, {pick[1]}, {pick[2]}") for pick in dict.fromkeys(picks)]


@pytest.mark.parametrize(("name", "fold", "steering"), cases())
def test_every_steering_equals_golden_in_exactly_the_predicted_cycles(name: str, fold: Fold, steering: str) -> None:
    plan = CrosspointPlan(SHAPES[name], fold, steering)
    prove_steered(plan)
    assert plan.cycles_per_frame == CrosspointPlan(SHAPES[name], fold).cycles_per_frame


@pytest.mark.parametrize("stall", [stall for stall in STALLS if stall != "none"])
@pytest.mark.parametrize("steering", CONTROLLED)
@pytest.mark.parametrize("name", ["3x3", "two output rows"])
def test_stalls_lose_and_repeat_nothing(name: str, steering: str, stall: str) -> None:
    for fold in (widest(SHAPES[name]), together(SHAPES[name])[0]):
        prove_steered(CrosspointPlan(SHAPES[name], fold, steering), 2, stall=stall, seed=len(name))


@pytest.mark.parametrize("fold", [Fold(3, 3, 2, 2), Fold(3, 1, 1, 1)], ids=["a cycle per pass", "cycles per pass"])
@pytest.mark.parametrize("reset_at", [0, 7, 23, 39, 40])
@pytest.mark.parametrize("steering", STEERINGS)
def test_reset_in_mid_frame_recovers(steering: str, reset_at: int, fold: Fold) -> None:
    prove_steered(CrosspointPlan(SHAPES["3x3"], fold, steering), 1, reset_at=reset_at)


@pytest.mark.parametrize("steering", ["computed", "external"])
@pytest.mark.parametrize("size", [(9, 1), (9, 2), (9, 3), (9, 4)], ids=lambda size: f"{size[1]} wide")
def test_rows_shorter_than_the_integrators_turnaround(size: tuple[int, int], steering: str) -> None:
    layer = convolution(1, 2, size, (3, 1), begin=(1, 0), end=(2, 0), seed=size[1])
    for filters in (1, 2):
        prove_steered(CrosspointPlan(layer, Fold(3, 1, 1, filters), steering), 3)


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("steering", ["chain", "computed"])
def test_the_turnaround_of_short_rows_is_kept_while_the_row_before_waits(steering: str, stall: str) -> None:
    """The gap after a row begins when its last operation is issued, not when it is decided."""
    gaps = set()
    for width in (1, 2):
        layer = convolution(1, 1, (9, width), (3, 1), begin=(1, 0), end=(2, 0), seed=width)
        plan = CrosspointPlan(layer, Fold(3, 1, 1, 1), steering)
        gaps |= {plan.gap_after(row) for row in range(len(plan.row_steps))}
        for seed in range(4):
            prove_steered(plan, 4, stall=stall, seed=seed)
    assert max(gaps) > 1


@st.composite
def plans(draw: Any) -> CrosspointPlan:
    """Return a controlled plan of a random layer, all its kernel rows together."""
    kernel = draw(st.integers(2, 5)), draw(st.integers(1, 3))
    begin, end = ([draw(st.integers(0, taps - 1)) for taps in kernel] for _ in range(2))
    size = [max(1, taps + 1 - a - b) + draw(st.integers(0, 4)) for taps, a, b in zip(kernel, begin, end, strict=True)]
    layer = None
    try:
        layer = convolution(
            draw(st.integers(1, 3)), draw(st.integers(1, 3)), tuple(size), kernel, begin=tuple(begin), end=tuple(end),
            stride=(1, draw(st.integers(1, 2))), seed=draw(st.integers(0, 99)),
        )  # fmt: skip
    except CrosstileError:
        assume(False)
    assert layer is not None
    assume(together(layer))
    return CrosspointPlan(layer, draw(st.sampled_from(together(layer))), draw(st.sampled_from(CONTROLLED)))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(plans(), st.sampled_from(list(STALLS)))
def test_random_geometry(plan: CrosspointPlan, stall: str) -> None:
    prove_steered(plan, 2, stall=stall)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True)
@given(plans(), st.sampled_from(list(STALLS)))
def test_much_random_geometry(plan: CrosspointPlan, stall: str) -> None:
    prove_steered(plan, 3, stall=stall)


# When outputs leave


@pytest.mark.parametrize("steering", STEERINGS)
@pytest.mark.parametrize("name", ["3x3", "3x3, no padding", "even kernel, unlike padding"])
def test_an_output_is_sent_only_when_all_its_kernel_rows_are_in(name: str, steering: str) -> None:
    """Output converted and sent only when all kernel rows are in ([0066], [0079], claim 7)."""
    plan = CrosspointPlan(SHAPES[name], widest(SHAPES[name]), steering)
    plane = plan.plane
    frame = np.full((1, plane.in_channels, plane.height, plane.width), 1)
    beats = beats_of(frame, plan.lanes_in, plan.input_format.bits)
    for rows in range(1, plane.height + 1):
        dut = Outside(plan) if steering == "external" else None
        whole = plane.out_height if rows == plane.height else rows + plane.padding_top - plane.kernel_height + 1
        bench = engine_bench(plan, frame, dut)
        bench.beats = beats[: rows * plane.width * plan.beats_per_pixel]
        bench.expected = max(whole, 0) * plan.integrator_positions
        run = bench.run()  # which refuses a result too many, and waits for one too few
        golden = beats_of(plan.layer.run(frame), plan.lanes_out, plan.output_format.bits)
        assert run.beats == golden[: bench.expected]


@pytest.mark.parametrize("steering", ["chain", "computed"])
@pytest.mark.parametrize(("kernel", "padding"), [(2, 0), (3, 0), (3, 1), (3, 2), (5, 0), (5, 2)])
def test_one_complete_output_row_per_time_step_after_the_first_k(kernel: int, padding: int, steering: str) -> None:
    """From the kth time-step on a complete output row over all planes is produced at each ([0072]).

    "During the first k time-steps" no output is available, the text says; the first row's last kernel row comes
    in the kth, and padding above brings it forward.
    """
    layer = convolution(2, 4, (9, 3), (kernel, 1), begin=(padding, 0))
    plan = CrosspointPlan(layer, Fold(kernel, 1, 1, 2), steering)
    dut: Any = CrosspointSequencer(plan)
    sent: list[int] = [0]

    async def process(context: Any) -> None:
        context.set(dut.input_valid, 1)
        context.set(dut.credit, 1)
        while len(sent) <= len(plan.row_steps):
            sent[-1] += context.get(dut.reserve)
            if context.get(dut.time_step):
                sent.append(0)
            await context.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()
    whole_row = layer.geometry.output_size[1] * layer.geometry.out_channels // plan.lanes_out
    assert sent[:-1] == [0] * (kernel - 1 - padding) + [whole_row] * layer.geometry.output_size[0]


# What goes wrong when the words are wrong


def wrong_words(plan: CrosspointPlan) -> dict[str, tuple[ModeWord, ...]]:
    words = list(plan.mode_words)
    return {
        "a step late": (words[-1], *words[:-1]),
        "never fresh": tuple(replace(word, fresh=(False,) * plan.banks) for word in words),
        "another leaves": tuple(replace(word, complete=(word.complete + 1) % plan.banks) for word in words),
        "nothing steered": tuple(replace(word, steered=(False,) * len(word.steered)) for word in words),
        "fixed columns": tuple(replace(word, integrators=tuple(range(plan.banks))) for word in words),
        "all of them to one": tuple(replace(word, integrators=(0,) * plan.banks) for word in words),
    }


@pytest.mark.parametrize("name", list(wrong_words(CrosspointPlan(SHAPES["3x3"], Fold(3, 3, 1, 1), "external"))))
def test_wrong_words_from_outside_give_wrong_results(name: str) -> None:
    """The mode word alone decides: fixed columns (figure 10) or another rotation do not convolve."""
    plan = CrosspointPlan(SHAPES["3x3"], Fold(3, 3, 1, 1), "external")
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        prove_engine(plan, 2, Outside(plan, wrong_words(plan)[name]))


def test_an_illegal_word_from_outside_raises_conflict() -> None:
    """An integrator aggregates one wire in an integration step ([0006])."""
    plan = CrosspointPlan(SHAPES["3x3"], Fold(3, 3, 1, 1), "external")
    for words, seen in ((plan.mode_words, 0), (wrong_words(plan)["all of them to one"], 1)):
        dut = Outside(plan, words)
        frame = np.zeros((1, 2, 6, 5), np.int64)
        assert engine_bench(plan, frame, dut, watched={"conflict": dut.conflict}).run().flags == {"conflict": seen}


@pytest.mark.parametrize("steering", ["computed", "stored"])
def test_a_mode_source_a_cycle_late_is_caught(steering: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SteeredIntegrators, "MODE_LEAD", 0)
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        prove_engine(CrosspointPlan(SHAPES["3x3"], Fold(3, 3, 2, 2), steering))


# Widths


@pytest.mark.parametrize("steering", CONTROLLED)
def test_extreme_sums_pass_and_one_bit_narrower_they_do_not(steering: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = convolution(2, 2, (5, 4), (3, 3), reads=INT8, seed=6)
    zero = np.zeros(2, np.int64)
    layer = replace(layer, bias=zero, shift=zero, output_format=NumberFormat(24, True), activation=NONE)
    frames = np.zeros((4, 2, 5, 4), np.int64)
    for index, weight in enumerate(layer.weight):
        frames[2 * index, :, 1:4, :3] = np.where(weight > 0, 127, -128)
        frames[2 * index + 1, :, 1:4, :3] = np.where(weight > 0, -128, 127)
    plan = CrosspointPlan(layer, Fold(3, 3, 2, 2), steering)
    prove_steered(plan, frames)
    monkeypatch.setattr(CrosspointPlan, "integrator_bits", tuple(bits - 1 for bits in plan.integrator_bits))
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        prove_steered(CrosspointPlan(layer, Fold(3, 3, 2, 2), steering), frames)
