# amaranth: UnusedElaboratable=no
"""The multiplier gives every product two cycles later, and refuses widths that its device blocks lack."""

import random
from typing import Any

import pytest
from crosstile.multiplier import Multiplier
from crosstile_golden.errors import CrosstileError

from .bench import clocked


@pytest.mark.parametrize(("a_bits", "b_bits"), [(1, 1), (2, 5), (8, 8), (9, 8), (17, 16), (18, 18)])
def test_products_are_exact_for_the_ends_of_the_range_and_between(a_bits: int, b_bits: int) -> None:
    generator, dut = random.Random(a_bits), Multiplier(a_bits, b_bits)
    ends = [[-(1 << (bits - 1)), (1 << (bits - 1)) - 1, 0] for bits in (a_bits, b_bits)]
    pairs = [(a, b) for a in ends[0] for b in ends[1]]
    pairs += [(generator.randint(*ends[0][:2]), generator.randint(*ends[1][:2])) for _ in range(40)]

    async def process(context: Any) -> None:
        for cycle in range(len(pairs) + Multiplier.LATENCY):
            a, b = pairs[min(cycle, len(pairs) - 1)]
            context.set(dut.a, a)
            context.set(dut.b, b)
            if cycle >= Multiplier.LATENCY:
                earlier = pairs[cycle - Multiplier.LATENCY]
                assert context.get(dut.y) == earlier[0] * earlier[1]
            await context.tick()

    clocked(dut, process)


@pytest.mark.parametrize(("a_bits", "b_bits", "name", "bits"), [(0, 8, "a_bits", 0), (8, 37, "b_bits", 37)])
def test_widths_out_of_range_are_refused(a_bits: int, b_bits: int, name: str, bits: int) -> None:
    with pytest.raises(CrosstileError) as error:
        Multiplier(a_bits, b_bits)
    assert str(error.value) == f"{name} must be from 1 to 36, not {bits}"
