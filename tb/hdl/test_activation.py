"""Activations in gates equal golden for every sum (US 2020/0117986 [0033], [0048]); large tables are block RAM."""

import re
from typing import Any

import numpy as np
import pytest
from crosstile import activation as activation_module
from crosstile.activation import Activate, clamp
from crosstile.requantise_plan import ACTIVATION_CYCLES
from crosstile.verilog import emit
from crosstile_golden.activation import NONE, RELU, Activation
from crosstile_golden.numbers import Integers, NumberFormat

from .bench import INT8, clocked, pack, unpack

WRITES = [NumberFormat(bits, signed) for bits in range(4, 17) for signed in (False, True)]


def table(bits: int, number_format: NumberFormat) -> Activation:
    """Return a table of 2^bits random values."""
    generator = np.random.default_rng(bits)
    values = generator.integers(number_format.minimum, number_format.maximum + 1, 1 << bits)
    return Activation("table", table=tuple(values.tolist()))


def hardware(dut: Any, values: Integers, value_bits: int) -> Integers:
    """Return the activations of values (cycle, lane), a row per cycle."""
    words = [pack(row, value_bits) for row in values.tolist()]
    latency, legal = ACTIVATION_CYCLES[dut.activation.kind], dut.number_format
    found: list[list[int]] = []

    async def process(context: Any) -> None:
        for cycle in range(len(words) + latency):
            if cycle < len(words):
                context.set(dut.values.as_value(), words[cycle])
            if cycle >= latency:
                found.append(unpack(context.get(dut.beat.as_value()), dut.lanes, legal.bits, legal.signed))
            await context.tick()

    clocked(dut, process)
    return np.array(found)


def sums(value_bits: int, lanes: int) -> Integers:
    """Return every value of so many bits in every lane, or of many bits those near the ends and powers of two."""
    if value_bits <= 8:
        every = np.arange(-(1 << value_bits - 1), 1 << value_bits - 1)
    else:
        powers = [sign << bit for bit in range(value_bits - 1) for sign in (-1, 1)]
        ends = [*powers, -(1 << value_bits - 1), (1 << value_bits - 1) - 1]
        near = [end + step for end in ends for step in (-2, -1, 0, 1, 2)]
        every = np.array([value for value in near if -(1 << value_bits - 1) <= value < 1 << value_bits - 1])
    return np.stack([np.roll(every, lane * 7) for lane in range(lanes)], axis=1)


@pytest.mark.parametrize("value_bits", [3, 8, 19])
@pytest.mark.parametrize("writes", WRITES, ids=str)
def test_every_kind_equals_golden(writes: NumberFormat, value_bits: int) -> None:
    leaky = Activation("leaky", 1 + writes.bits % 7)
    for activation in (NONE, RELU, leaky, table(2 + writes.bits % 5, writes)):
        values = sums(value_bits, 3)
        found = hardware(Activate(activation, value_bits, writes, 3), values, value_bits)
        np.testing.assert_array_equal(found, activation.run(values, writes))


@pytest.mark.parametrize("slope_shift", range(1, 16))
def test_every_slope_equals_golden(slope_shift: int) -> None:
    activation = Activation("leaky", slope_shift)
    found = hardware(Activate(activation, 21, INT8, 1), sums(21, 1), 21)
    np.testing.assert_array_equal(found, activation.run(sums(21, 1), INT8))


@pytest.mark.parametrize("bits", range(2, 13))
def test_every_size_of_table_equals_golden(bits: int) -> None:
    activation = table(bits, INT8)
    edges = [-(1 << bits - 1), (1 << bits - 1) - 1, 0]
    values = np.array([[edge + step] for edge in edges for step in range(-3, 4)] + sums(15, 1).tolist())
    found = hardware(Activate(activation, 15, INT8, 1), values, 15)
    np.testing.assert_array_equal(found, activation.run(values, INT8))


@pytest.mark.parametrize(("bits", "block"), [(2, False), (7, False), (8, True), (12, True)])
def test_a_table_asks_for_block_ram_from_2048_bits_on(bits: int, block: bool) -> None:
    text = emit(Activate(table(bits, INT8), 15, INT8, 4), "lanes")
    tables = re.findall(r"reg \[7:0\] \w+ \[", text)
    assert len(tables) == 2
    assert text.count('(* rom_style = "block" *)') == 2 * block


@pytest.mark.parametrize("kind", ["none", "relu", "leaky", "table"])
def test_a_clamp_that_is_a_bit_too_narrow_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def narrow(value: Any, number_format: NumberFormat, relu: bool) -> Any:
        return clamp(value, NumberFormat(number_format.bits - 1, number_format.signed), relu)

    monkeypatch.setattr(activation_module, "clamp", narrow)
    activation = {"none": NONE, "relu": RELU, "leaky": Activation("leaky", 2), "table": table(4, INT8)}[kind]
    values = sums(12, 1)
    found = hardware(Activate(activation, 12, INT8, 1), values, 12)
    assert (found != activation.run(values, INT8)).any()
