"""Pools equal plain loops; padding never wins a maximum and counts as zero in an average."""

import itertools
from math import prod

import numpy as np
import pytest
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import PoolGeometry
from crosstile_golden.network import PoolLayer
from crosstile_golden.numbers import NumberFormat
from crosstile_golden.pool import pool
from geometries import SETTINGS, pool_geometries
from hypothesis import given, settings
from hypothesis import strategies as st


def loops(frames: np.ndarray, geometry: PoolGeometry, shift: int) -> np.ndarray:
    shape = (len(frames), geometry.in_channels, *geometry.output_size)
    result = np.zeros(shape, dtype=np.int64)
    for n, c, *output in itertools.product(*map(range, shape)):
        values = []
        for tap in itertools.product(*map(range, geometry.kernel)):
            place = [
                output[axis] * geometry.stride[axis]
                + tap[axis] * geometry.dilation[axis]
                - geometry.padding_begin[axis]
                for axis in range(geometry.dimensions)
            ]
            if all(0 <= where < size for where, size in zip(place, geometry.input_size, strict=True)):
                values.append(int(frames[(n, c, *place)]))
        half = 1 << (shift - 1) if shift else 0
        result[(n, c, *output)] = max(values) if geometry.kind == "max" else (sum(values) + half) >> shift
    return result


def reaches_the_input(geometry: PoolGeometry) -> bool:
    """Whether every window holds a real input: dilated taps may jump over a narrow one."""
    ones = np.ones((1, geometry.in_channels, *geometry.input_size), dtype=np.int64)
    counted = PoolGeometry(**{**vars(geometry), "kind": "average"})
    return bool(pool(ones, counted, 0).min() > 0)


@given(pool_geometries(), st.integers(0, 2**32 - 1))
@settings(**SETTINGS)
def test_pool_equals_plain_loops(geometry: PoolGeometry, seed: int) -> None:
    if geometry.kind == "max" and not reaches_the_input(geometry):
        return
    frames = np.random.default_rng(seed).integers(-128, 128, (2, geometry.in_channels, *geometry.input_size))
    shift = {"max": 0, "average": (prod(geometry.kernel) - 1).bit_length(), "sum": seed % 4}[geometry.kind]
    assert pool(frames, geometry, shift).tolist() == loops(frames, geometry, shift).tolist()


def test_padding_never_wins_a_maximum_of_negative_values() -> None:
    geometry = PoolGeometry(1, (3,), (2,), (1,), (1,), (1,), (1,), "max")
    assert pool(np.array([[[-5, -9, -7]]]), geometry, 0).tolist() == [[[-5, -5, -7, -7]]]


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9, 16, 49, 64])
def test_an_average_never_leaves_its_format(count: int, signed: bool) -> None:
    legal = NumberFormat(8, signed)
    layer = PoolLayer(
        "p",
        PoolGeometry(1, (count,), (count,), (1,), (1,), (0,), (0,), "average"),
        (count - 1).bit_length(),
        legal,
    )
    for extreme in (legal.minimum, legal.maximum):
        result = int(layer.run(np.full((1, 1, count), extreme))[0, 0, 0])
        assert legal.minimum <= result <= legal.maximum


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("shift", range(8))
@pytest.mark.parametrize("count", [1, 2, 3, 9, 64])
def test_a_sums_format_holds_it_and_no_narrower_one_would(count: int, shift: int, signed: bool) -> None:
    read = NumberFormat(8, signed)
    geometry = PoolGeometry(1, (count,), (count,), (1,), (1,), (0,), (0,), "sum")
    layer = PoolLayer("p", geometry, shift, read)
    values = [int(layer.run(np.full((1, 1, count), extreme))[0, 0, 0]) for extreme in (read.minimum, read.maximum)]
    legal = layer.output_format
    assert legal.minimum <= values[0]
    assert values[1] <= legal.maximum
    if legal.bits > 8:
        narrower = NumberFormat(legal.bits - 1, signed)
        assert values[0] < narrower.minimum or values[1] > narrower.maximum


LINE = {"in_channels": 1, "input_size": (8,), "kernel": (3,), "stride": (1,), "dilation": (1,)}


@pytest.mark.parametrize(
    ("padding", "kind", "shift", "message"),
    [
        (0, "max", 1, "layer 'p': shift of a max pool must be 0, not 1"),
        (
            3,
            "max",
            0,
            "layer 'p': padding of a max pool must leave every window an input; window 0 of axis 0 has none",
        ),
        (0, "average", -1, "layer 'p': shift of a pool must be from 0 to 62, not -1"),
        (
            0,
            "average",
            1,
            "layer 'p': shift 1 is too small for the average of 3 values; it must be 2 or more",
        ),
    ],
)
def test_pools_without_meaning_are_refused(padding: int, kind: str, shift: int, message: str) -> None:
    geometry = PoolGeometry(**LINE, padding_begin=(padding,), padding_end=(0,), kind=kind)
    with pytest.raises(CrosstileError) as error:
        PoolLayer("p", geometry, shift, NumberFormat(8, True))
    assert str(error.value) == message
