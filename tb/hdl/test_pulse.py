"""Durations: every value's wire is high for exactly as long, and a link hands on every beat in exact cycles."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from crosstile import pulse, pulse_plan
from crosstile.crosspoint import CrosspointEngine
from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.pool import Pool
from crosstile.pool_plan import PoolPlan
from crosstile.pulse import PulseLink, PulseReceiver, PulseSender
from crosstile.pulse_plan import PulsePlan
from crosstile.streams import beat_layout, delay
from crosstile.timing import FREE_CYCLES, QUEUE_CYCLES
from crosstile_golden.errors import CrosstileError
from crosstile_golden.numbers import Integers, NumberFormat

from .bench import (
    INT8,
    STALLS,
    UINT8,
    BenchError,
    Port,
    Run,
    StreamBench,
    beats_of,
    clocked,
    convolution,
    frames_of,
    pack,
    pool,
    unpack,
    widest,
)
from .blocks import Row, counted_cycles, predicted_ends

UINT4, INT4 = NumberFormat(4, signed=False), NumberFormat(4, signed=True)
NARROW = [NumberFormat(bits, signed) for bits in (1, 2, 3) for signed in (False, True)]
FORMATS = [*NARROW, UINT4, INT4, UINT8, INT8]


def every_value(number_format: NumberFormat, lanes: int) -> list[list[int]]:
    """Return beats in which every lane has every value once, each lane in an order of its own."""
    values = np.arange(number_format.minimum, number_format.maximum + 1)
    return np.stack([np.random.default_rng(lane).permutation(values) for lane in range(lanes)], 1).tolist()


def every_value_somewhere(number_format: NumberFormat) -> list[list[int]]:
    """Return beats of up to 16 lanes that hold every value once, in any order: so that long slots are few."""
    values = np.arange(number_format.minimum, number_format.maximum + 1)
    return np.random.default_rng(0).permutation(values).reshape(-1, min(16, len(values))).tolist()


def packed(beats: Sequence[Sequence[int]], number_format: NumberFormat) -> list[int]:
    return [pack(beat, number_format.bits) for beat in beats]


def link_bench(plan: PulsePlan, beats: Sequence[Sequence[int]], depth: int = 2, **settings: Any) -> StreamBench:
    row = Row([PulseLink(plan, depth)])
    offered = packed(beats, plan.number_format)
    return StreamBench(row, Port.of(row.input), Port.of(row.output), offered, len(offered), **settings)


def watched_wires(plan: PulsePlan, beats: Sequence[Sequence[int]], pauses: Sequence[int]) -> list[tuple[int, ...]]:
    """Send beats, `ready` low in the cycles of `pauses`; return start, high and sign of every cycle."""
    dut = PulseSender(plan)
    seen: list[tuple[int, ...]] = []

    async def process(context: Any) -> None:
        left = packed(beats, plan.number_format)
        for cycle in range(plan.slot_cycles * (len(left) + 2) + len(pauses) * plan.slot_cycles):
            context.set(dut.pulses.ready, cycle not in pauses)
            context.set(dut.input.valid, bool(left))
            context.set(dut.input.p.as_value(), left[0] if left else 0)
            sign = context.get(dut.pulses.sign) if plan.number_format.signed else 0
            seen.append((context.get(dut.pulses.start), context.get(dut.pulses.high), sign))
            if left and context.get(dut.input.ready):
                left.pop(0)
            await context.tick()

    clocked(dut, process)
    return seen


def durations(plan: PulsePlan, seen: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Return the values that the wires tell, by counting: cycles high in each slot, negative where the sign is high.

    Outside of slots every wire must be low; within a slot each falls once, and no sign changes.
    """
    starts = [cycle for cycle, (start, *_) in enumerate(seen) if start]
    slots = [seen[start : start + plan.slot_cycles] for start in starts]
    within = {cycle for start in starts for cycle in range(start, start + plan.slot_cycles)}
    assert len(within) == len(starts) * plan.slot_cycles
    assert all(high == 0 for cycle, (_, high, _) in enumerate(seen) if cycle not in within)
    values = []
    for slot in slots:
        assert len({sign for _, _, sign in slot}) == 1
        high = [[wires >> lane & 1 for _, wires, _ in slot] for lane in range(plan.lanes)]
        assert all(wire == sorted(wire, reverse=True) for wire in high)
        values.append([-sum(wire) if slot[0][2] >> lane & 1 else sum(wire) for lane, wire in enumerate(high)])
    return values


@pytest.mark.parametrize("number_format", FORMATS, ids=str)
def test_a_wire_is_high_for_exactly_as_many_cycles_as_its_value(number_format: NumberFormat) -> None:
    beats = every_value_somewhere(number_format) if number_format.bits == 8 else every_value(number_format, 2)
    plan = PulsePlan(number_format, len(beats[0]), len(beats))
    assert durations(plan, watched_wires(plan, beats, [])) == beats


@pytest.mark.parametrize("number_format", [UINT4, INT4, NARROW[0], NARROW[1]], ids=str)
def test_no_slot_begins_while_the_receiver_has_no_place(number_format: NumberFormat) -> None:
    beats = every_value(number_format, 3)
    plan = PulsePlan(number_format, 3, len(beats))
    pauses = [cycle for cycle in range(90) if cycle % 23 in range(3, 15)]
    seen = watched_wires(plan, beats, pauses)
    assert durations(plan, seen) == beats
    assert not [cycle for cycle in pauses if seen[cycle + 2][0]]


SLOTS = [(UINT8, 255), (INT8, 128), (UINT4, 15), (INT4, 8), *zip(NARROW, [4, 4, 4, 4, 7, 4], strict=True)]


@pytest.mark.parametrize(("number_format", "cycles"), SLOTS, ids=str)
def test_a_slot_is_the_greatest_magnitude_and_no_less_than_four(number_format: NumberFormat, cycles: int) -> None:
    plan = PulsePlan(number_format, 4, 5)
    assert plan.slot_cycles == cycles
    assert (plan.cycles_per_frame, plan.operations.beats_in, plan.operations.beats_out) == (5 * cycles, 5, 5)
    assert plan.memory_bits == 2 * 4 * number_format.bits
    assert plan.wires == (10 if number_format.signed else 6)


@pytest.mark.parametrize("number_format", FORMATS, ids=str)
def test_every_value_crosses_a_link_in_the_predicted_cycles(number_format: NumberFormat) -> None:
    beats = every_value_somewhere(number_format) if number_format.bits == 8 else every_value(number_format, 2)
    plan = PulsePlan(number_format, len(beats[0]), len(beats))
    run = link_bench(plan, beats).run()
    assert run.beats == packed(beats, number_format)
    assert run.cycles == counted_cycles([plan], [2], 1)
    assert run.cycles[-1] == predicted_ends([plan], [2], 1)[-1]


def test_the_cycles_of_a_link_do_not_depend_on_the_values() -> None:
    plan = PulsePlan(INT4, 3, 6)
    cycles = [link_bench(plan, [[value] * 3] * 12).run().cycles for value in (-8, -1, 0, 7)]
    assert cycles == [counted_cycles([plan], [2], 2)] * 4


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("number_format", [NARROW[0], NARROW[3], UINT4, INT4], ids=str)
def test_any_depth_of_queue_keeps_the_prediction(number_format: NumberFormat, depth: int) -> None:
    beats = every_value(number_format, 2) * 2
    plan = PulsePlan(number_format, 2, len(beats) // 2)
    run = link_bench(plan, beats, depth).run()
    assert run.beats == packed(beats, number_format)
    assert run.cycles == counted_cycles([plan], [depth], 2)
    assert tuple(run.cycles[plan.beats_per_frame - 1 :: plan.beats_per_frame]) == predicted_ends([plan], [depth], 2)


def test_two_places_keep_slots_back_to_back_and_one_does_not() -> None:
    plan = PulsePlan(UINT4, 1, 8)
    steps = {depth: set(np.diff(counted_cycles([plan], [depth], 1)).tolist()) for depth in (1, 2)}
    assert steps[2] == {plan.slot_cycles}
    assert steps[1] == {plan.pipeline_cycles + QUEUE_CYCLES + FREE_CYCLES}


@pytest.fixture
def blocked_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STALLS, "blocked", (0.0, 0.95))


@pytest.mark.usefixtures("blocked_sink")
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("stall", ["source", "sink", "both", "blocked"])
@pytest.mark.parametrize("number_format", [NARROW[0], NARROW[1], UINT4, INT4], ids=str)
def test_stalls_lose_and_repeat_nothing(number_format: NumberFormat, stall: str, depth: int) -> None:
    beats = every_value(number_format, 3) * 3
    run = link_bench(PulsePlan(number_format, 3, len(beats)), beats, depth, stall=stall).run()
    assert run.beats == packed(beats, number_format)


@pytest.mark.parametrize("reset_at", range(20, 37))
def test_a_reset_in_mid_slot_leaves_nothing_behind(reset_at: int) -> None:
    beats = every_value(INT4, 2)
    plan = PulsePlan(INT4, 2, len(beats))
    run = link_bench(plan, beats, reset_at=reset_at).run()
    assert run.beats == packed(beats, INT4)
    assert run.cycles == counted_cycles([plan], [2], 1)


class Chips(wiring.Component):
    """Sender and receiver in two chips, with registers on the wires there and on `ready` back."""

    input: stream.Interface
    output: stream.Interface

    def __init__(self, plan: PulsePlan, depth: int, there: int, back: int):
        self.plan, self.depth, self.there, self.back = plan, depth, there, back
        layout = beat_layout(plan.number_format, plan.lanes)
        super().__init__({"input": In(stream.Signature(layout)), "output": Out(stream.Signature(layout))})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.sender = sender = PulseSender(self.plan)
        m.submodules.receiver = receiver = PulseReceiver(self.plan, self.depth)
        for name in ("start", "high", "sign"):
            wire = getattr(sender.pulses, name)
            m.d.comb += getattr(receiver.pulses, name).eq(delay(m, wire, self.there, name, resets=True))
        m.d.comb += sender.pulses.ready.eq(delay(m, receiver.pulses.ready, self.back, "ready", resets=True))
        wiring.connect(m, wiring.flipped(self.input), sender.input)
        wiring.connect(m, receiver.output, wiring.flipped(self.output))
        return m


def run_chips(there: int, back: int) -> bool:
    """Tell whether every beat crosses, in order, into a queue of one place that is hardly ever emptied."""
    beats = every_value(INT4, 2) * 2
    offered = packed(beats, INT4)
    row = Row([Chips(PulsePlan(INT4, 2, len(beats)), 1, there, back)])
    bench = StreamBench(row, Port.of(row.input), Port.of(row.output), offered, len(offered), "blocked")
    try:
        return bench.run().beats == offered
    except BenchError:
        return False


@pytest.mark.usefixtures("blocked_sink")
@pytest.mark.parametrize(("there", "back"), [(0, 0), (0, 1), (2, 3), (5, 0), (0, 5)])
def test_two_chips_may_have_registers_between_them(there: int, back: int) -> None:
    assert run_chips(there, back)


@pytest.mark.usefixtures("blocked_sink")
@pytest.mark.parametrize(("there", "back"), [(3, 3), (6, 0), (0, 6)])
def test_one_register_more_than_the_slot_allows_loses_beats(there: int, back: int) -> None:
    assert not run_chips(there, back)


# Layers chained by durations


def run_row(
    blocks: Sequence[Any], inputs: Integers, lanes: int, bits: int, expected: int, **settings: Any
) -> Run:
    row = Row(blocks)
    beats = beats_of(inputs, lanes, bits)
    return StreamBench(row, Port.of(row.input), Port.of(row.output), beats, expected, **settings).run()


def random_inputs(number_format: NumberFormat, shape: Sequence[int], seed: int = 0) -> Integers:
    return np.random.default_rng(seed).integers(number_format.minimum, number_format.maximum + 1, shape)


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("between", [UINT4, INT4], ids=str)
def test_engines_chained_by_durations_give_the_golden_answer(between: NumberFormat, stall: str) -> None:
    """US 2020/0117986 [0006], [0077] and claims 19 and 24: the output excitation is transmitted as a duration."""
    layers = [
        convolution(1, 2, (5, 4), (3, 3), writes=between, relu=not between.signed, name="a", seed=1),
        convolution(2, 3, (3, 2), (2, 2), reads=between, name="b", seed=2),
    ]
    first, second = (CrosspointPlan(layer, widest(layer)) for layer in layers)
    assert first.lanes_out == second.lanes_in == 2
    link = PulsePlan(between, 2, first.operations.beats_out)
    plans: list[Any] = [first, link, second]
    depths = [2, 2, 2]
    blocks = [CrosspointEngine(first, 2), PulseLink(link, 2), CrosspointEngine(second, 2)]
    inputs = random_inputs(UINT8, (3, 1, 5, 4))
    expected = 3 * second.operations.beats_out
    run = run_row(blocks, inputs, first.lanes_in, 8, expected, stall=stall)
    golden = layers[1].run(layers[0].run(inputs))
    assert len(np.unique(layers[0].run(inputs))) > 4
    np.testing.assert_array_equal(frames_of(run.beats, (3, 2, 1), second.lanes_out, 8, False), golden)
    if stall == "none":
        assert run.cycles == counted_cycles(plans, depths, 3)
        assert tuple(run.cycles[expected // 3 - 1 :: expected // 3]) == predicted_ends(plans, depths, 3)


@pytest.mark.parametrize("kind", ["max", "average", "sum"])
@pytest.mark.parametrize("pooled", ["locally", "after transmission"])
def test_pooled_locally_and_then_transmitted_or_after_it(pooled: str, kind: str) -> None:
    """US 2020/0117986 [0065], [0080] and claim 24: pooled locally and transmitted, or transmitted and then pooled."""
    layer = convolution(1, 2, (6, 6), (3, 3), writes=UINT4, seed=3)
    engine = CrosspointPlan(layer, widest(layer))
    stage = pool(2, (4, 4), (2, 2), kind, reads=UINT4)
    last = PoolPlan(stage, 2)
    early = pooled == "locally"
    link = PulsePlan(stage.output_format if early else UINT4, 2, 4 if early else 16)
    blocks = [Pool(last, 3), PulseLink(link, 2)] if early else [PulseLink(link, 2), Pool(last, 3)]
    plans: list[Any] = [engine, last, link] if early else [engine, link, last]
    inputs = random_inputs(UINT8, (2, 1, 6, 6), 5)
    run = run_row([CrosspointEngine(engine, 3), *blocks], inputs, engine.lanes_in, 8, 8)
    found = frames_of(run.beats, (2, 2, 2), 2, stage.output_format.bits, False)
    np.testing.assert_array_equal(found, stage.run(layer.run(inputs)))
    assert run.cycles == counted_cycles(plans, [3, 3, 2] if early else [3, 2, 3], 2)


# Broken on purpose


def test_a_wire_a_cycle_too_long_is_seen_though_the_receiver_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    right = pulse.value_at

    def late(plan: PulsePlan, sign: Any, position: Any, negative: Any) -> Any:
        return right(plan, sign, position - 1, negative + 1)

    monkeypatch.setattr(pulse, "value_at", late)
    beats = [[3, -2], [1, 5], [-4, 2]]
    plan = PulsePlan(INT4, 2, len(beats))
    assert link_bench(plan, beats).run().beats == packed(beats, INT4)
    assert durations(plan, watched_wires(plan, beats, [])) != beats


@pytest.mark.parametrize("number_format", [UINT4, INT4], ids=str)
def test_a_slot_too_short_is_seen(number_format: NumberFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    beats = every_value(number_format, 2)
    plan = PulsePlan(number_format, 2, len(beats))
    right = plan.slot_cycles
    monkeypatch.setattr(pulse_plan.PulsePlan, "slot_cycles", property(lambda _plan: right - 1))
    assert link_bench(plan, beats).run().beats != packed(beats, number_format)
    assert durations(plan, watched_wires(plan, beats, [])) != beats


def test_a_sign_that_is_lost_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = pulse.value_at
    monkeypatch.setattr(pulse, "value_at", lambda plan, _sign, *positions: right(plan, None, *positions))
    beats = every_value(INT4, 2)
    assert link_bench(PulsePlan(INT4, 2, len(beats)), beats).run().beats != packed(beats, INT4)


# Refusals


@pytest.mark.parametrize(("changes", "message"), [
    ({"number_format": NumberFormat(17, True)},
     "number_format of a pulse link must have 1 to 16 bits, not 17; every bit doubles the time of a beat"),
    ({"lanes": 0}, "lanes of a pulse link must be 1 or more, not 0"),
    ({"beats_per_frame": 0}, "beats_per_frame of a pulse link must be 1 or more, not 0"),
])  # fmt: skip
def test_links_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CrosstileError) as error:
        replace(PulsePlan(UINT8, 2, 3), **changes)
    assert str(error.value) == message


def test_a_beat_is_the_lanes_side_by_side() -> None:
    """The bench's own packing, which the tests above lean on."""
    assert unpack(packed([[-8, 7, 0]], INT4)[0], 3, 4, True) == [-8, 7, 0]
