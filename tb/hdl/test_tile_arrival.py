"""Tiles get a place before their first beat, and are multiplied when the last is written; what is hasty is caught."""

import random
from typing import Any

import pytest
from crosstile import winograd
from crosstile.tile_arrival import TileArrival
from crosstile.timing import FREE_CYCLES
from crosstile.winograd_fold import TileFold
from crosstile.winograd_plan import WinogradPlan

from .bench import clocked, convolution
from .tiles import prove_tiles

PLANS = {
    "1 beat, many tiles": WinogradPlan(convolution(1, 2, (13,), (5,), begin=(2,), end=(2,)), TileFold(1, 1)),
    "2 beats": WinogradPlan(convolution(4, 2, (9,), (3,), stride=(2,), begin=(1,)), TileFold(2, 1, 1, 2)),
    "4 beats": WinogradPlan(convolution(4, 6, (6, 7), (3, 3)), TileFold(2, 1)),
    "many filters": WinogradPlan(convolution(2, 16, (12,), (3,)), TileFold(1, 1)),
}


@pytest.mark.parametrize("chances", [(1.0, 1.0), (1.0, 0.2), (0.3, 1.0), (0.5, 0.5)])
@pytest.mark.parametrize("name", PLANS)
def test_places_and_tiles_are_counted_to_the_cycle(name: str, chances: tuple[float, float]) -> None:
    plan, dice = PLANS[name], random.Random(name)
    dut: Any = TileArrival(plan)
    beats, pipeline = plan.beats_per_tile, plan.buffers[-1].pipeline_cycles
    emitted: list[int] = []
    taken: list[int] = []

    def complete(cycle: int) -> int:
        """Return the tiles whose word is there, by the plan."""
        return sum(end < cycle - plan.arrival_pipeline_cycles for end in emitted[beats - 1 :: beats])

    def free_again(cycle: int) -> int:
        """Return the tiles whose place is free again."""
        return sum(at + FREE_CYCLES <= cycle for at in taken)

    async def process(context: Any) -> None:
        for cycle in range(400):
            begun = -(-len(emitted) // beats)
            first = len(emitted) % beats == 0
            room = begun - free_again(cycle) < plan.store_tiles - 1
            assert not first or context.get(dut.credit) == room
            assert context.get(dut.complete) == (complete(cycle) > len(taken))
            arrives = cycle - pipeline in emitted
            assert context.get(dut.take) == arrives
            if arrives:
                assert context.get(dut.last) == ((emitted.index(cycle - pipeline) + 1) % beats == 0)
            emits = cycle > 0 and (room or not first) and dice.random() < chances[0]
            take = complete(cycle) > len(taken) and dice.random() < chances[1]
            context.set(dut.reserve, emits and first)
            context.set(dut.emits, emits)
            context.set(dut.ends, emits and len(emitted) % beats == beats - 1)
            context.set(dut.taken, take)
            emitted.extend([cycle] * emits)
            taken.extend([cycle] * take)
            await context.tick()

    clocked(dut, process)
    assert len(taken) > 20


def cycles_with(plan: WinogradPlan, tiles: int, monkeypatch: pytest.MonkeyPatch) -> int:
    with monkeypatch.context() as patch:
        patch.setattr(WinogradPlan, "store_tiles", property(lambda _plan: tiles))
        return prove_tiles(plan).cycles[-1]


@pytest.mark.parametrize("name", PLANS)
def test_more_tiles_would_save_no_cycle_and_fewer_would_cost_some(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = PLANS[name]
    cycles = prove_tiles(plan).cycles[-1]
    assert cycles_with(plan, 2 * plan.store_tiles, monkeypatch) == cycles
    assert plan.store_tiles == 2 or cycles_with(plan, 2, monkeypatch) > cycles


class Boundless(TileArrival):
    """Promises places that there are not."""

    def elaborate(self, platform: object) -> Any:
        m = super().elaborate(platform)
        m.d.sync += self.credit.eq(1)
        return m


class Hasty(TileArrival):
    """Tells of a tile a cycle before it is there."""

    def __init__(self, plan: WinogradPlan):
        super().__init__(plan)
        self.plan = _Sooner(plan)


class _Sooner:
    def __init__(self, plan: WinogradPlan):
        self._plan, self.settle_cycles = plan, plan.settle_cycles - 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plan, name)


@pytest.mark.parametrize(("name", "broken"), [("many filters", Boundless), ("1 beat, many tiles", Hasty)])
def test_an_arrival_that_is_hasty_is_caught(
    name: str, broken: type[TileArrival], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "TileArrival", broken)
    with pytest.raises(AssertionError, match="beat"):
        prove_tiles(PLANS[name])
