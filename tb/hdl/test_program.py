"""A program gives its words in order, waits for `advance`, and begins again after the last."""

import random
from typing import Any

import pytest
from amaranth.lib import data
from crosstile.program import Program

from .bench import clocked

LAYOUT = data.StructLayout({"bank": 3, "last": 1, "gap": 5})


@pytest.mark.parametrize("chance", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("depth", [1, 2, 3, 8, 13])
def test_words_come_in_order_for_ever(depth: int, chance: float) -> None:
    generator = random.Random(depth)
    words = [{"bank": n % 8, "last": n == depth - 1, "gap": generator.randrange(32)} for n in range(depth)]
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
