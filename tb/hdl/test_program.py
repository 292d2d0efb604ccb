"""A program gives its words in order, waits for `advance`, and begins again after the last."""

import random
from typing import Any

import pytest
from amaranth.lib import data
from crosstile.program import PrefetchedProgram, Program

from .bench import clocked

LAYOUT = data.StructLayout({"bank": 3, "last": 1, "gap": 5})
DEPTHS, CHANCES = [1, 2, 3, 8, 13], [1.0, 0.5, 0.1]


def words_of(depth: int, generator: random.Random) -> list[dict[str, int]]:
    return [{"bank": n % 8, "last": n == depth - 1, "gap": generator.randrange(32)} for n in range(depth)]


@pytest.mark.parametrize("chance", CHANCES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_words_come_in_order_for_ever(depth: int, chance: float) -> None:
    generator = random.Random(depth)
    words = words_of(depth, generator)
    dut: Any = Program(LAYOUT, words)

    async def process(context: Any) -> None:
        assert not context.get(dut.ready)
        await context.tick()
        index = 0
        for _ in range(6 * depth + 40):
            assert context.get(dut.ready)
            found = {name: context.get(getattr(dut.word, name)) for name in LAYOUT.members}
            assert found == words[index % depth]
            advance = generator.random() < chance
            context.set(dut.advance, advance)
            await context.tick()
            index += advance

    clocked(dut, process)


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("chance", CHANCES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_prefetched_words_are_there_from_the_first_cycle(depth: int, chance: float, early: bool) -> None:
    """As often as it may, `advance` comes: in any cycle but the first if `early`, else in every second at most."""
    generator = random.Random(depth)
    words = words_of(depth, generator)
    dut: Any = PrefetchedProgram(LAYOUT, words, early)

    async def process(context: Any) -> None:
        index, advance = 0, True
        for cycle in range(6 * depth + 40):
            found = {name: context.get(getattr(dut.word, name)) for name in LAYOUT.members}
            assert found == words[index % depth]
            advance = generator.random() < chance and (not advance or (early and cycle > 0))
            context.set(dut.advance, advance)
            await context.tick()
            index += advance

    clocked(dut, process)
