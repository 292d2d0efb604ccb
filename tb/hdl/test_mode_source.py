"""The three mode sources give the words of one definition, and the definition is what the document says."""

import random
from typing import Any

import pytest
from amaranth.hdl import ClockDomain, Module, Value
from amaranth.sim import Simulator
from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.crosspoint_program import ModeWord
from crosstile.fold import Fold
from crosstile.mode_source import (
    ComputedRotation,
    ExternalMode,
    StoredProgram,
    mode_layout,
    mode_source,
)
from crosstile_golden.errors import CrosstileError

from .bench import convolution

# kernel height, image height, padding above and below
GEOMETRIES = [
    (3, 8, 0, 0), (3, 8, 1, 1), (3, 4, 0, 0), (3, 3, 2, 2), (3, 2, 1, 1), (2, 6, 0, 1), (2, 2, 1, 0), (2, 3, 0, 0),
    (4, 9, 3, 0), (4, 9, 0, 3), (5, 5, 2, 2), (5, 6, 0, 0), (7, 10, 3, 3), (11, 13, 2, 0), (6, 1, 5, 5),
]  # fmt: skip
KINDS = {"computed": ComputedRotation, "stored": StoredProgram, "external": ExternalMode}
STEERINGS = list(KINDS)


def plan_for(geometry: tuple[int, int, int, int], steering: str = "computed") -> CrosspointPlan:
    kernel, height, top, bottom = geometry
    layer = convolution(1, 1, (height, 2), (kernel, 1), begin=(top, 0), end=(bottom, 0))
    return CrosspointPlan(layer, Fold(kernel, 1, 1, 1), steering)


def pattern(plan: CrosspointPlan, word: ModeWord) -> int:
    layout = mode_layout(plan.fold.kernel_rows, plan.banks)
    return layout.const(word.fields()).as_value().value


def words_of(plan: CrosspointPlan, steps: int, chance: float, reset_at: int | None = None) -> list[int]:
    """Return the word of each time-step as the plan's source shows it; a reset starts anew."""
    m = Module()
    m.domains.sync = domain = ClockDomain()
    source: Any = mode_source(plan)
    assert type(source) is KINDS[plan.steering]
    assert len(plan.mode_words) == len(plan.row_steps) == getattr(source, "steps", len(plan.mode_words))
    m.submodules.source = source
    found: list[int] = []

    async def process(context: Any) -> None:
        generator = random.Random(steps)
        step, cycle = 0, 0
        while len(found) < steps:
            if plan.steering == "external":
                context.set(Value.cast(source.mode), pattern(plan, plan.mode_words[step % len(plan.mode_words)]))
            now = bool(context.get(source.ready)) and generator.random() < chance
            context.set(source.advance, now)
            if plan.steering == "external":
                assert context.get(source.time_step) == now
            context.set(domain.rst, cycle == reset_at)
            if now:
                found.append(context.get(Value.cast(source.word)))
            await context.tick()
            step, cycle = step + now, cycle + 1
            if cycle - 1 == reset_at:
                found.clear()
                step = 0

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()
    return found


def case_id(geometry: tuple[int, int, int, int]) -> str:
    return "kernel {}, height {}, padding {} {}".format(*geometry)


@pytest.mark.parametrize("chance", [1.0, 0.4])
@pytest.mark.parametrize("steering", STEERINGS)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=case_id)
def test_every_source_gives_the_words_of_the_definition(
    geometry: tuple[int, int, int, int], steering: str, chance: float
) -> None:
    """The selection of each time-step, or of all until the layer is done, is a mode signal ([0068])."""
    plan = plan_for(geometry, steering)
    steps = len(plan.mode_words)
    expected = [pattern(plan, word) for word in plan.mode_words]
    assert words_of(plan, 3 * steps, chance) == 3 * expected


@pytest.mark.parametrize("reset_at", [0, 1, 2, 5, 11, 12, 13])
@pytest.mark.parametrize("steering", STEERINGS)
def test_reset_begins_with_the_first_word(steering: str, reset_at: int) -> None:
    plan = plan_for((3, 8, 1, 1), steering)
    expected = [pattern(plan, word) for word in plan.mode_words]
    assert words_of(plan, len(expected), 0.8, reset_at) == expected


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=case_id)
def test_an_output_row_keeps_its_integrator_from_its_first_kernel_row_to_its_last(
    geometry: tuple[int, int, int, int]
) -> None:
    """Successive kernel rows of an output row reach one integrator in successive time-steps ([0064], [0070])."""
    plan, (kernel, _, top, _) = plan_for(geometry), geometry
    outputs = plan.plane.out_height
    for step, word in enumerate(plan.mode_words):
        rows = [step + top - i for i in range(kernel)]
        assert word.steered == tuple(0 <= output < outputs for output in rows)
        open_rows = {i: output for i, output in enumerate(rows) if 0 <= output < outputs}
        assert {i: word.integrators[i] for i in open_rows} == {i: o % plan.banks for i, o in open_rows.items()}
        assert word.contest() is None


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=case_id)
def test_an_integrator_is_fresh_when_its_row_begins_and_complete_when_it_ends(
    geometry: tuple[int, int, int, int]
) -> None:
    """Every kth integrator completes after a time-step, but for the first and the last k ([0066])."""
    plan, (kernel, _, top, _) = plan_for(geometry), geometry
    held: dict[int, int] = {}
    completed = []
    for step, word in enumerate(plan.mode_words):
        for i, integrator in enumerate(word.integrators):
            if word.steered[i]:
                output = step + top - i
                assert word.fresh[integrator] == (held.get(integrator) != output)
                held[integrator] = output
        leaving = step + top - kernel + 1
        if 0 <= leaving < plan.plane.out_height:
            assert held[word.complete] == leaving
            completed.append(leaving)
    assert completed == list(range(plan.plane.out_height))


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ((0, 1, 4, 0), "rotation: kernel_rows and outputs must be 1 or more, not 0, 4"),
        ((3, 3, 0, 0), "rotation: kernel_rows and outputs must be 1 or more, not 3, 0"),
        ((3, 3, 4, 3), "rotation: padding must be 0 to 2, not 3"),
        ((3, 2, 4, 0), "rotation: integrators must be 3 or more, the output rows open at once, not 2"),
    ],
)
def test_errors_of_the_rotation(parameters: tuple[int, int, int, int], text: str) -> None:
    with pytest.raises(CrosstileError, match=f"^{text}$"):
        ComputedRotation(*parameters)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (ModeWord((0, 2, 0), (True, True, True), (False,) * 3, 0),
         "mode program: time-step 1 steers two kernel rows to integrator 0; steer one at most"),
        (ModeWord((0, 3, 1), (True, True, True), (False,) * 3, 0),
         "mode program: time-step 1 names integrator 3; legal are 0 to 2"),
        (ModeWord((0, 2, 1), (True, True, True), (False,) * 3, 4),
         "mode program: time-step 1 names integrator 4; legal are 0 to 2"),
    ],
)  # fmt: skip
def test_errors_of_the_program(word: ModeWord, text: str) -> None:
    """An integrator takes one column in an integration step ([0006])."""
    good = ModeWord((0, 0, 1), (True, False, True), (False,) * 3, 0)
    with pytest.raises(CrosstileError, match=f"^{text}$"):
        StoredProgram(3, 3, [good, word])


def test_a_rotation_that_turns_the_wrong_way_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: ComputedRotation, integrator: Value, step: Value) -> tuple[Value, Value]:
        return integrator, step < self.outputs - self.padding - 1

    monkeypatch.setattr(ComputedRotation, "_following", broken)
    with pytest.raises(AssertionError):
        test_every_source_gives_the_words_of_the_definition((3, 8, 1, 1), "computed", 1.0)
