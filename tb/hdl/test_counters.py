"""Counters count, and their flag says in every cycle whether they are at their end."""

import random
from typing import Any

import pytest
from amaranth.hdl import ClockDomain, Module, Signal
from crosstile.counters import count_up, counter, tally

from .bench import clocked

SIZES = range(1, 10)


def run(m: Module, inputs: list[Signal], check: Any, seed: int) -> None:
    """Give random inputs for 300 cycles; `check` gets the context and this cycle's inputs."""
    generator = random.Random(seed)

    async def process(context: Any) -> None:
        for _ in range(300):
            values = [generator.getrandbits(1) for _ in inputs]
            for signal, value in zip(inputs, values, strict=True):
                context.set(signal, value)
            check(context, *values)
            await context.tick()

    m.domains.sync = ClockDomain()  # a counter of one has no register
    clocked(m, process)


@pytest.mark.parametrize("size", SIZES)
def test_a_counter_goes_on_with_each_step_and_knows_its_end(size: int) -> None:
    m, step = Module(), Signal()
    value, last = counter(m, size, step, "count")
    expected = 0

    def check(context: Any, steps: int) -> None:
        nonlocal expected
        assert (context.get(value), context.get(last)) == (expected, expected == size - 1)
        expected = (expected + steps) % size

    run(m, [step], check, size)


@pytest.mark.parametrize("size", SIZES)
def test_a_single_counter_stays_at_its_end_and_starts_from_0_again(size: int) -> None:
    """Also where `single` comes in the middle of a count, one step before the end above all."""
    m, step, single = Module(), Signal(), Signal()
    value, last = counter(m, size, step, "count", single)
    expected = 0

    def check(context: Any, steps: int, alone: int) -> None:
        nonlocal expected
        at_end = bool(alone) or expected == size - 1
        assert (context.get(value), context.get(last)) == (expected, at_end)
        if steps:
            expected = 0 if at_end else expected + 1

    run(m, [step, single], check, size)


@pytest.mark.parametrize("size", SIZES)
def test_a_counter_restarts(size: int) -> None:
    m, step, restart, value = Module(), Signal(), Signal(), Signal(4, name="count")
    last = count_up(m, value, size, step, restart)
    expected = 0

    def check(context: Any, steps: int, again: int) -> None:
        nonlocal expected
        assert (context.get(value), context.get(last)) == (expected, expected == size - 1)
        expected = 0 if again else (expected + steps) % size

    run(m, [step, restart], check, size)


@pytest.mark.parametrize("size", SIZES)
def test_a_tally_knows_whether_anything_is_left(size: int) -> None:
    m, more, fewer = Module(), Signal(), Signal()
    count, some, up, down = Signal(range(size + 1)), Signal(), Signal(), Signal()
    m.d.comb += [up.eq(more & ((count < size) | fewer & some)), down.eq(fewer & some)]
    tally(m, count, some, up, down)
    expected = 0

    def check(context: Any, _more: int, _fewer: int) -> None:
        nonlocal expected
        assert (context.get(count), context.get(some)) == (expected, expected > 0)
        expected += context.get(up) - context.get(down)

    run(m, [more, fewer], check, size)
