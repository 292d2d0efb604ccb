"""Memories give back what was written, and a ring of words delays by exactly its length."""

import random
from typing import Any

import pytest
from amaranth.sim import Simulator
from crosstile.storage import LongDelay, Storage


def run(dut: Any, process: Any) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()


@pytest.mark.parametrize("depth", [2, 3, 16, 37])
def test_a_word_is_read_one_cycle_after_its_address(depth: int) -> None:
    dut: Any = Storage(9, depth)
    generator = random.Random(depth)
    model = [0] * depth

    async def process(context: Any) -> None:
        for _ in range(300):
            read, write = generator.randrange(depth), generator.randrange(depth)
            writes = generator.random() < 0.5 and read != write
            value = generator.getrandbits(9)
            context.set(dut.read_address, read)
            context.set(dut.write_address, write)
            context.set(dut.write_data, value)
            context.set(dut.write, int(writes))
            expected = model[read]
            model[write] = value if writes else model[write]
            await context.tick()
            assert context.get(dut.read_data) == expected

    run(dut, process)


@pytest.mark.parametrize("cycles", [2, 3, 8, 13])
def test_a_long_delay_is_of_exactly_its_cycles(cycles: int) -> None:
    dut: Any = LongDelay(12, cycles)
    values = [random.Random(cycles).getrandbits(12) for _ in range(6 * cycles)]

    async def process(context: Any) -> None:
        for index, value in enumerate(values):
            context.set(dut.value, value)
            if index >= cycles:
                assert context.get(dut.late) == values[index - cycles]
            await context.tick()

    run(dut, process)
