"""The bench sees broken designs fail: every defect below must raise, and the same design without it must not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from amaranth.hdl import Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from crosstile import crosspoint, pool_plan
from crosstile.fold import Fold
from crosstile.layer_plan import ConvolutionPlan
from crosstile.network_plan import NetworkPlan
from crosstile.streams import CreditQueue
from crosstile_golden.activation import NONE
from crosstile_golden.numbers import NumberFormat

from .bench import (
    INT8,
    BenchError,
    Port,
    StreamBench,
    accelerator_bench,
    convolution,
    plan_of,
    pool,
    prove,
    random_frames,
    with_depths,
)

LAYOUT = data.ArrayLayout(8, 1)


class Relay(wiring.Component):
    """Hands beats on through a queue, and does one thing wrong to each fourth."""

    input: stream.Interface
    output: stream.Interface

    def __init__(self, defect: str):
        self.defect = defect
        super().__init__({"input": In(stream.Signature(LAYOUT)), "output": Out(stream.Signature(LAYOUT))})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = CreditQueue(LAYOUT, 8)
        count, waited = Signal(2), Signal()
        take = self.input.valid & queue.credit
        wrong = count == 3
        m.d.comb += [
            self.input.ready.eq(queue.credit),
            queue.beat.eq(self.input.p),
            queue.reserve.eq(take),
            queue.push.eq(take & ~(wrong & (self.defect == "loses"))),
            self.output.valid.eq(queue.output.valid & (self.defect != "is dead")),
            queue.output.ready.eq(self.output.ready & self.output.valid),
            self.output.p.eq(queue.output.p),
        ]
        with m.If(take):
            m.d.sync += count.eq(count + 1)
        m.d.sync += waited.eq(self.output.valid & ~self.output.ready)
        if self.defect == "retracts":
            m.d.comb += self.output.valid.eq(queue.output.valid & ~waited)
        if self.defect == "changes":
            m.d.comb += self.output.p.as_value().eq(queue.output.p.as_value() ^ waited)
        if self.defect == "repeats":
            seventh, again = queue.output.p[0] == 7, Signal()
            m.d.comb += queue.output.ready.eq(self.output.ready & ~(seventh & ~again))
            m.d.sync += again.eq(self.output.valid & self.output.ready & seventh)
        return m


def relay(defect: str, expected: int = 20) -> StreamBench:
    dut = Relay(defect)
    return StreamBench(dut, Port.of(dut.input), Port.of(dut.output), list(range(20)), expected, stall="sink")


def test_a_relay_without_defect_passes() -> None:
    assert relay("nothing").run().beats == list(range(20))


@pytest.mark.parametrize(
    ("defect", "verdict"),
    [
        ("is dead", "watchdog: 8 of 20 beats taken, 0 of 20 results given"),
        ("loses", "watchdog: 20 of 20 beats taken, 15 of 20 results given"),
        ("retracts", r"cycle \d+: an offered beat changed before it was taken"),
        ("changes", r"cycle \d+: an offered beat changed before it was taken"),
        ("repeats", r"cycle \d+: a result is left over after all 20"),
    ],
)
def test_the_bench_refuses_a_relay_that(defect: str, verdict: str) -> None:
    with pytest.raises(BenchError, match=f"^{verdict}$"):
        relay(defect).run()


def test_the_bench_refuses_more_results_than_expected() -> None:
    with pytest.raises(BenchError, match=r"^cycle \d+: a result is left over after all 19$"):
        relay("nothing", 19).run()


LAYER = convolution(2, 2, (5, 4), (3, 3), begin=(1, 1), end=(0, 1), writes=INT8, seed=3)
TOGETHER, IN_TURN = Fold(3, 3, 2, 2), Fold(1, 3, 2, 1)


def rows_changed(change: Callable[[Any], Any]) -> Callable[[Fold], ConvolutionPlan]:
    """Return what makes a plan whose stored mode program is another one."""

    def changed(fold: Fold) -> ConvolutionPlan:
        plan = ConvolutionPlan(LAYER, "steered", fold)
        vars(plan.engine)["row_steps"] = change(plan.engine.row_steps)
        return plan

    return changed


def with_layer(**fields: Any) -> Callable[[Fold], ConvolutionPlan]:
    return lambda fold: ConvolutionPlan(replace(LAYER, **fields), "steered", fold)


def late(steps: Any) -> Any:
    """Emit every output row one activation row late."""
    emits = [False, *(step.emit for step in steps[:-1])]
    return tuple(replace(step, emit=emit) for step, emit in zip(steps, emits, strict=True))


DEFECTS: dict[str, Callable[[Fold], ConvolutionPlan]] = {
    "shifts one bit too far": with_layer(shift=LAYER.shift + 1),
    "leaves out the rectifier": with_layer(activation=NONE, bias=LAYER.bias + 1),
    "never starts afresh": rows_changed(lambda steps: tuple(replace(step, fresh=False) for step in steps)),
    "emits a row late": rows_changed(late),
    "drops a row": rows_changed(lambda steps: (steps[0], replace(steps[1], passes=0), *steps[2:])),
}


@pytest.mark.parametrize("fold", [TOGETHER, IN_TURN], ids=["together", "in turn"])
@pytest.mark.parametrize("defect", DEFECTS)
def test_an_engine_is_refused_that(defect: str, fold: Fold) -> None:
    if (defect, fold) == ("never starts afresh", IN_TURN):
        pytest.skip("with rows in turn the first kernel row starts afresh by itself")
    plan = plan_of([LAYER], [fold])
    with pytest.raises(AssertionError):
        prove(plan, hardware=NetworkPlan(plan.network, (DEFECTS[defect](fold),)))


def push_changed(monkeypatch: pytest.MonkeyPatch, change: Callable[..., Any]) -> None:
    """Let `change` stand for the delay that pushes results into the engine's queue."""
    plain = crosspoint.delay

    def changed(m: Module, value: Any, cycles: int, name: str, **settings: Any) -> Any:
        return (change if name == "push" else plain)(m, value, cycles, name, **settings)

    monkeypatch.setattr(crosspoint, "delay", changed)


def test_an_engine_is_refused_that_never_pushes(monkeypatch: pytest.MonkeyPatch) -> None:
    push_changed(monkeypatch, lambda *_, **__: Const(0))
    with pytest.raises(BenchError, match=r"^watchdog: \d+ of 40 beats taken, 0 of 32 results given$"):
        prove(plan_of([LAYER], [TOGETHER]))


def test_an_engine_is_refused_whose_result_comes_a_cycle_early(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = crosspoint.delay
    push_changed(monkeypatch, lambda m, value, cycles, name, **settings: plain(m, value, cycles - 1, name, **settings))
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        prove(plan_of([LAYER], [TOGETHER]))


def test_an_engine_is_refused_that_is_right_but_slow() -> None:
    plan = plan_of([LAYER], [TOGETHER])
    slow = with_depths(plan, [2])
    prove(slow)
    with pytest.raises(AssertionError):
        prove(plan, hardware=slow)


def test_a_pool_is_refused_that_forgets_to_open_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of([pool(2, (4, 4), (2, 2), "average")])
    prove(plan)
    monkeypatch.setattr(pool_plan.PoolAxis, "opens", lambda axis, position: [position == 0] * axis.slots)
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        prove(plan)


@pytest.mark.parametrize("place", [0, 7, 19, 20, 39])
def test_a_wrong_bit_in_one_beat_is_seen(place: int) -> None:
    # Whole sums leave, so that no rounding, clamp or rectifier hides the bit.
    layer = replace(LAYER, output_format=NumberFormat(20, signed=True), activation=NONE, shift=LAYER.shift * 0)
    plan = plan_of([layer], [TOGETHER])
    frames = random_frames(plan, 2)
    bench = accelerator_bench(plan, frames)
    bench.beats = [beat ^ (0xFF << 8 * (place % 2)) * (index == place) for index, beat in enumerate(bench.beats)]
    run = bench.run()
    assert run.beats != accelerator_bench(plan, frames).run().beats
