"""Columns first ([0076], [0081], claims 8, 9, 17, 18): transposed frames give the transposed result, bit for bit."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import pytest
from crosstile_golden.activation import NONE, RELU, Activation
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes, ConvolutionGeometry, PoolGeometry
from crosstile_golden.layers import ConvolutionLayer, Layer, PoolLayer, Residual
from crosstile_golden.network import IntegerNetwork, Sources
from crosstile_golden.numbers import NumberFormat
from crosstile_golden.orientation import columns_first, oriented, transposed
from geometries import SETTINGS, convolution_geometries, pool_geometries
from hypothesis import assume, given, settings
from hypothesis import strategies as st

INT8 = NumberFormat(8, True)
ACTIVATIONS = [NONE, RELU, Activation("leaky", 2), Activation("table", table=tuple(range(-64, 64)))]


def whole(channels: int, size: Axes, filters: int) -> ConvolutionGeometry:
    """A fully connected layer's geometry: its kernel covers the map."""
    ones, zeros = (1,) * len(size), (0,) * len(size)
    return ConvolutionGeometry(channels, size, size, ones, ones, zeros, zeros, filters)


def layer_of(
    name: str, geometry: ConvolutionGeometry, activation: Activation, read: NumberFormat, seed: int,
    arriving: NumberFormat | None = None,
) -> ConvolutionLayer:
    generator, filters = np.random.default_rng(seed), geometry.out_channels
    weight = generator.integers(-127, 128, geometry.weight_shape)
    bias, shift = generator.integers(-999, 999, filters), generator.integers(5, 9, filters)
    residual = arriving and Residual(arriving, generator.integers(-2, 6, filters))
    return ConvolutionLayer(name, geometry, weight, bias, shift, 8, read, INT8, activation, residual)


@st.composite
def networks(draw: Callable[..., Any]) -> IntegerNetwork:
    """Two convolutions of one geometry, the second with the first as its residual, then a fully connected layer."""
    geometry, activation = draw(convolution_geometries()), draw(st.sampled_from(ACTIVATIONS))
    seed = draw(st.integers(0, 1000))
    last = whole(geometry.out_channels, geometry.output_size, 3)
    layers: tuple[Layer, ...] = (
        layer_of("first", geometry, activation, INT8, seed),
        layer_of("second", geometry, activation, INT8, seed + 1, INT8),
        layer_of("last", last, NONE, INT8, seed + 2),
    )
    sources = (Sources(""), Sources("", "first"), Sources("second"))
    shape = (geometry.in_channels, *geometry.input_size)
    return IntegerNetwork("n", shape, INT8, 1.0, layers, 1.0, (3,), "shift", sources)


def frames_for(network: IntegerNetwork) -> np.ndarray:
    return np.random.default_rng(1).integers(-128, 128, (2, *network.frame_shape))


def check(network: IntegerNetwork) -> None:
    frames = frames_for(network)
    columns, rows = columns_first(network).tensors(transposed(frames, "columns")), network.tensors(frames)
    assert list(columns) == list(rows)
    for name, tensor in rows.items():
        assert columns[name].tolist() == transposed(tensor, "columns").tolist(), name


@given(networks())
@settings(**{**SETTINGS, "max_examples": 60})
def test_transposed_frames_give_transposed_tensors(network: IntegerNetwork) -> None:
    check(network)


@given(pool_geometries(), st.integers(0, 3))
@settings(**{**SETTINGS, "max_examples": 60})
def test_pools_are_transposed_too(geometry: PoolGeometry, shift: int) -> None:
    shift = {"max": 0, "average": (prod(geometry.kernel) - 1).bit_length(), "sum": shift}[geometry.kind]
    try:
        layer = PoolLayer("p", geometry, shift, INT8)
    except CrosstileError:
        assume(False)
    shape = (geometry.in_channels, *geometry.input_size)
    check(IntegerNetwork("n", shape, INT8, 1.0, (layer,), 1.0, layer.output_shape, "shift"))


@pytest.mark.parametrize("size", [(5,), (3, 5), (2, 3, 5)])
def test_the_last_two_axes_are_exchanged_and_a_row_becomes_a_column(size: Axes) -> None:
    network = IntegerNetwork(
        "n", (2, *size), INT8, 1.0, (layer_of("c", whole(2, size, 4), NONE, INT8, 0),), 1.0, (4,), "shift"
    )
    columns = columns_first(network)
    exchanged = (2, *size[:-2], *reversed(size[-2:])) if len(size) > 1 else (2, *size, 1)
    assert columns.frame_shape == columns.input_shape == exchanged
    frames = frames_for(network)
    assert transposed(frames, "columns").shape == (2, *exchanged)
    assert transposed(transposed(frames, "columns"), "columns").reshape(frames.shape).tolist() == frames.tolist()
    assert columns.run(transposed(frames, "columns")).ravel().tolist() == network.run(frames).ravel().tolist()


def test_rows_are_the_network_itself_and_others_are_refused() -> None:
    network = IntegerNetwork(
        "n", (1, 4), INT8, 1.0, (layer_of("c", whole(1, (4,), 1), NONE, INT8, 0),), 1.0, (1,), "shift"
    )
    assert oriented(network, "rows") is network
    assert transposed(frames_for(network), "rows").shape == (2, 1, 4)
    with pytest.raises(CrosstileError) as error:
        oriented(network, "diagonals")
    assert str(error.value) == "orientation must be one of rows, columns, not 'diagonals'"
