"""An operation waits in its register for its input and its place, and happens once, as soon as it has both."""

import random
from typing import Any

import pytest
from amaranth.lib import data
from crosstile.operation_register import OperationRegister

from .bench import clocked

LAYOUT = data.StructLayout({"arrive": 1, "issue": 1, "address": 5})
NOTHING = {"arrive": 0, "issue": 0, "address": 0, "sends": 0}


def operation(generator: random.Random) -> dict[str, int]:
    return {name: generator.randrange(32 if name == "address" else 2) for name in NOTHING}


@pytest.mark.parametrize("seed", range(4))
def test_handshakes_and_flags_follow_the_operation_decided_before(seed: int) -> None:
    """The second chance makes inputs rare, the third places, the last both."""
    generator = random.Random(seed)
    valid_chance, credit_chance = (1, 0.3, 1, 0.5)[seed], (1, 1, 0.3, 0.5)[seed]
    dut: Any = OperationRegister(LAYOUT, ("issue",))
    seen = []

    async def process(context: Any) -> None:
        present, following = NOTHING, operation(generator)
        for _ in range(400):
            valid, credit = generator.random() < valid_chance, generator.random() < credit_chance
            context.set(dut.following, {name: following[name] for name in LAYOUT.members})
            context.set(dut.sends, following["sends"])
            context.set(dut.input_valid, valid)
            context.set(dut.credit, credit)
            held = bool((present["arrive"] and not valid) or (present["sends"] and not credit))
            assert context.get(dut.held) == held
            assert context.get(dut.take) == (present["arrive"] and (credit or not present["sends"]))
            assert context.get(dut.reserve) == (present["sends"] and not held)
            for name in ("arrive", "issue"):
                assert context.get(dut.operation[name]) == (present[name] and not held)
            assert context.get(dut.operation.address) == present["address"]
            seen.append(held)
            await context.tick()
            if not held:
                present, following = following, operation(generator)

    clocked(dut, process)
    assert any(seen) == (seed > 0)
