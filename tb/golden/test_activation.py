"""Activations (US 2020/0117986 [0033], [0048]) equal their definitions in Python's integers; tables round once."""

from math import exp, floor, tanh
from typing import Any

import numpy as np
import pytest
from crosstile_golden.activation import NONE, RELU, Activation
from crosstile_golden.errors import CrosstileError
from crosstile_golden.float_layers import Sigmoid, Tanh
from crosstile_golden.numbers import NumberFormat
from crosstile_golden.tables import address_format, best_range, table

INT8, UINT8 = NumberFormat(8, True), NumberFormat(8, False)
VALUES = [*range(-2100, 2100), -(2**40), 2**40]


def clamp(value: int, legal: NumberFormat) -> int:
    return max(legal.minimum, min(legal.maximum, value))


@pytest.mark.parametrize("legal", [INT8, UINT8, NumberFormat(11, True)], ids=str)
@pytest.mark.parametrize("shift", range(1, 16))
def test_leaky_is_a_second_shift_of_what_is_negative(shift: int, legal: NumberFormat) -> None:
    expected = [clamp(value if value >= 0 else (value + 2 ** (shift - 1)) // 2**shift, legal) for value in VALUES]
    assert Activation("leaky", shift).run(np.array(VALUES), legal).tolist() == expected


@pytest.mark.parametrize("legal", [INT8, UINT8], ids=str)
def test_none_and_relu_saturate(legal: NumberFormat) -> None:
    assert NONE.run(np.array(VALUES), legal).tolist() == [clamp(value, legal) for value in VALUES]
    assert RELU.run(np.array(VALUES), legal).tolist() == [max(clamp(value, legal), 0) for value in VALUES]


@pytest.mark.parametrize("bits", [2, 5, 12])
def test_a_table_is_addressed_from_its_least_value(bits: int) -> None:
    values = np.random.default_rng(bits).integers(-128, 128, 1 << bits).tolist()
    activation, half = Activation("table", table=tuple(values)), 1 << (bits - 1)
    assert activation.address_format == NumberFormat(bits, True)
    expected = [values[max(-half, min(half - 1, value)) + half] for value in VALUES]
    assert activation.run(np.array(VALUES), INT8).tolist() == expected


@pytest.mark.parametrize("activation_bits", [4, 8, 12, 16])
@pytest.mark.parametrize("kind", ["tanh", "sigmoid"])
def test_tables_hold_the_library_function_rounded_once(kind: str, activation_bits: int) -> None:
    layer, given = (Tanh("t"), NumberFormat(activation_bits, True))
    function: Any = tanh
    if kind == "sigmoid":
        layer, given = Sigmoid("s"), NumberFormat(activation_bits, False)  # type: ignore[assignment]
        function = lambda x: 1 / (1 + exp(-x))  # noqa: E731
    address, steps = address_format(activation_bits), 2.0**activation_bits / 9.7
    values = table(layer.run, address, (steps, float(given.maximum)), given).table
    assert address.bits == min(activation_bits, 12)
    exact = [function(a / steps) * given.maximum for a in range(address.minimum, address.maximum + 1)]
    # The library's last digit may differ between math and NumPy: half-way values alone could show it.
    assert list(values) == [floor(value + 0.5) for value in exact]
    assert list(values) == sorted(values)


@pytest.mark.parametrize(("layer", "usual"), [(Tanh("t"), 4), (Sigmoid("s"), 8)], ids=["tanh", "sigmoid"])
def test_a_tables_range_is_cut_where_the_function_is_flat(layer: Tanh | Sigmoid, usual: float) -> None:
    total, address = np.random.default_rng(3).normal(size=20000) * 20, NumberFormat(8, True)
    assert usual / 2 < best_range(layer.run, total, address) < usual * 2
    narrow = total / 1000
    assert best_range(layer.run, narrow, address) > 0.7 * np.abs(narrow).max()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Activation("swish"), "kind of an activation must be one of none, relu, leaky, table, not 'swish'"),
        (lambda: Activation("leaky"), "slope_shift must be 1 to 15 for leaky, 0 for others, not 0"),
        (lambda: Activation("leaky", 16), "slope_shift must be 1 to 15 for leaky, 0 for others, not 16"),
        (lambda: Activation("relu", 1), "slope_shift must be 1 to 15 for leaky, 0 for others, not 1"),
        (lambda: Activation("relu", table=(1, 2)), "table of a relu activation has 2 values; legal: [0]"),
    ],
)
def test_activations_without_meaning_are_refused(build: Any, message: str) -> None:
    with pytest.raises(CrosstileError) as error:
        build()
    assert str(error.value) == message
