"""A word comes back after exactly its steps, however they are spaced."""

import random
from typing import Any

import pytest
from crosstile.step_delay import StepDelay

from .bench import clocked


@pytest.mark.parametrize("chance", [1.0, 0.5])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 8, 13])
def test_a_word_comes_back_after_its_steps(steps: int, chance: float) -> None:
    dut: Any = StepDelay(12, steps)
    generator = random.Random(steps)

    async def process(context: Any) -> None:
        given: list[int] = []
        while len(given) < 10 * steps:
            step, value = generator.random() < chance, generator.getrandbits(12)
            context.set(dut.step, step)
            context.set(dut.value, value)
            if step:
                if len(given) >= steps:
                    assert context.get(dut.late) == given[-steps]
                given.append(value)
            await context.tick()

    clocked(dut, process)
