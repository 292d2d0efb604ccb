"""The shift scheme: its identities hold exactly, and its networks compute what the float ones do, closely."""

from dataclasses import replace
from math import ceil, log2
from typing import Any

import numpy as np
import pytest
from crosstile_golden.accumulator import biased_range
from crosstile_golden.activation import NONE, RELU
from crosstile_golden.errors import CrosstileError
from crosstile_golden.fixed_point import fractional_bits, quantise_convolution
from crosstile_golden.float_layers import Convolution, FloatLayer, Pool, Relu
from crosstile_golden.float_network import float_tensors, run_float
from crosstile_golden.geometry import ConvolutionGeometry, PoolGeometry
from crosstile_golden.graph import FloatGraph
from crosstile_golden.network import ConvolutionLayer, IntegerNetwork
from crosstile_golden.numbers import NumberFormat
from crosstile_golden.quantise_shift import quantise_shift
from crosstile_golden.scales import Scale
from hypothesis import given, settings
from hypothesis import strategies as st

INT8, UINT8 = NumberFormat(8, True), NumberFormat(8, False)


def convolution(
    name: str, channels: int, size: tuple[int, ...], kernel: int, filters: int, pad: int = 0
) -> Convolution:
    ones, pads = (1,) * len(size), (pad,) * len(size)
    geometry = ConvolutionGeometry(channels, size, (kernel,) * len(size), ones, ones, pads, pads, filters)
    generator = np.random.default_rng(len(name) + filters)
    spread = generator.uniform(0.05, 2, (filters, *(1 for _ in geometry.weight_shape[1:])))
    weight = generator.normal(size=geometry.weight_shape) * spread / np.sqrt(channels * kernel ** len(size))
    return Convolution(name, geometry, weight, generator.normal(size=filters) * 0.3)


def pool(name: str, channels: int, size: tuple[int, ...], kernel: int, kind: str) -> Pool:
    ones, zeros, taps = (1,) * len(size), (0,) * len(size), (kernel,) * len(size)
    return Pool(name, PoolGeometry(channels, size, taps, taps, ones, zeros, zeros, kind))


def graph(dimensions: int = 2, kind: str = "max") -> FloatGraph:
    """Convolution, Relu, pool, convolution, Relu, fully connected."""
    sizes = [(size,) * dimensions for size in (8, 4)]
    layers: tuple[FloatLayer, ...] = (
        convolution("first", 1, sizes[0], 3, 8, pad=1),
        Relu("relu"),
        pool("pool", 8, sizes[0], 2, kind),
        convolution("second", 8, sizes[1], 3, 8, pad=1),
        Relu("again"),
        convolution("last", 8, sizes[1], 4, 5),
    )
    return FloatGraph("tiny", (1, *sizes[0]), layers, (5,))


def frames(count: int, dimensions: int = 2, seed: int = 0, signed: bool = True) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(count, 1, *(8,) * dimensions))
    return values if signed else np.abs(values)


def decibels(network: IntegerNetwork, floats: FloatGraph, real: np.ndarray) -> float:
    """Signal to quantisation noise of the outputs on frames."""
    expected = run_float(floats, real)
    noise = network.run(network.quantise_input(real)) / network.output_scale - expected
    return float(10 * np.log10((expected**2).sum() / (noise**2).sum()))


def inside(floats: FloatGraph, calibration: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Which unseen frames stay within every calibrated range: the others saturate at any number of bits."""
    seen, new = float_tensors(floats, calibration), float_tensors(floats, unseen)
    pairs = [(calibration, unseen), *((seen[name], new[name]) for name in ("relu", "again", "last"))]
    return np.all([np.abs(b).reshape(len(b), -1).max(axis=1) <= np.abs(a).max() for a, b in pairs], axis=0)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_noise_on_unseen_frames_in_range_falls_by_6_decibels_per_bit(
    dimensions: int, kind: str, signed: bool
) -> None:
    floats, calibration = graph(dimensions, kind), frames(64, dimensions, signed=signed)
    unseen = frames(64, dimensions, seed=1, signed=signed)
    unseen = unseen[inside(floats, calibration, unseen)]
    assert len(unseen) > 50
    at = {
        bits: decibels(quantise_shift(floats, calibration, bits, bits), floats, unseen)
        for bits in (8, 12, 16)
    }
    assert at[8] > 28
    assert at[12] > 50
    assert 48.2 - 4 < at[16] - at[8] < 48.2 + 4  # 8 bits of 6.02 dB each


@pytest.mark.parametrize("bits", [8, 16])
def test_frames_out_of_range_saturate_and_never_wrap(bits: int) -> None:
    floats = graph()
    network = quantise_shift(floats, frames(64), bits, bits)
    unseen = 50 * frames(16, seed=1)
    tensors = network.tensors(network.quantise_input(unseen))
    for layer in network.layers:
        legal = layer.output_format
        assert legal.minimum <= tensors[layer.name].min()
        assert tensors[layer.name].max() <= legal.maximum
    assert tensors["first"].max() == network.layers[0].output_format.maximum


def test_every_tensor_is_close_in_its_own_scale() -> None:
    floats, real = graph(), frames(64)
    network = quantise_shift(floats, real, 16, 16)
    integers, reals = network.tensors(network.quantise_input(real)), float_tensors(floats, real)
    for ours, theirs in (("first", "relu"), ("pool", "pool"), ("second", "again"), ("last", "last")):
        ratio = (integers[ours] * reals[theirs]).sum() / (reals[theirs] ** 2).sum()
        assert np.abs(integers[ours] - ratio * reals[theirs]).max() < 40
        assert integers[ours].max() <= 65535


@pytest.mark.parametrize("value", [2.0**-40, 0.1, 0.999999, 1.0, 1.5, 2.0, 31.75, 1e12])
def test_scale_is_split_exactly(value: float) -> None:
    scale = Scale.of(value)
    assert 1 <= scale.q < 2
    assert scale.q * 2.0**scale.n == value == scale.value


@given(st.integers(2, 16), st.floats(1e-9, 1e9))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_fractional_bits_are_the_most_that_fit(bits: int, largest: float) -> None:
    m, greatest = fractional_bits(largest, bits), 2 ** (bits - 1) - 1
    assert largest * 2.0**m <= greatest * (1 + 1e-12)
    assert largest * 2.0 ** (m + 1) > greatest * (1 - 1e-12)


def test_fully_used_formats_and_shifts_follow_from_the_scales() -> None:
    floats, real = graph(), frames(64, signed=False)
    network = quantise_shift(floats, real)
    tensors = float_tensors(floats, real)
    before = Scale.of(255 / real.max())
    assert (network.input_format, network.input_scale) == (UINT8, before.value)
    for name, statistic, legal in (
        ("first", "relu", UINT8),
        ("second", "again", UINT8),
        ("last", "last", INT8),
    ):
        layer = next(layer for layer in network.layers if layer.name == name)
        source = next(layer for layer in floats.layers if layer.name == name)
        assert isinstance(layer, ConvolutionLayer) and isinstance(source, Convolution)
        after = Scale.of(legal.maximum / np.abs(tensors[statistic]).max())
        assert (layer.output_format, layer.activation) == (legal, RELU if name != "last" else NONE)
        for index, taps in enumerate(source.weight * (after.q / before.q)):
            m = fractional_bits(np.abs(taps).max(), 8)
            assert layer.shift[index] == m + before.n - after.n
            assert layer.weight[index].tolist() == np.floor(taps * 2.0**m + 0.5).tolist()
            assert layer.bias[index] == np.floor(source.bias[index] * after.q * 2.0 ** (m + before.n) + 0.5)
        before = after
    assert network.output_scale == before.value


@pytest.mark.parametrize("weight_bits", [2, 3, 8, 16])
def test_weights_are_symmetric_and_use_their_bits(weight_bits: int) -> None:
    network = quantise_shift(graph(), frames(16), weight_bits, 8)
    greatest = 2 ** (weight_bits - 1) - 1
    for layer in network.layers:
        if isinstance(layer, ConvolutionLayer):
            most = np.abs(layer.weight.reshape(len(layer.weight), -1)).max(axis=1)
            assert most.max() <= greatest
            assert most.min() >= (greatest + 1) // 2


@pytest.mark.parametrize(("kernel", "size"), [(2, 4), (3, 6), (5, 5), (7, 7)])
def test_an_averages_missing_factor_moves_into_the_scale(kernel: int, size: int) -> None:
    first = convolution("first", 1, (size, size), 1, 2)
    layers = (first, Relu("relu"), pool("pool", 2, (size, size), kernel, "average"))
    floats = FloatGraph("tiny", (1, size, size), layers, (2, size // kernel, size // kernel))
    real = np.random.default_rng(5).normal(size=(20, 1, size, size))
    network = quantise_shift(floats, real)
    scale = 255 / float_tensors(floats, real)["relu"].max()
    k = ceil(log2(kernel**2))
    assert network.layers[-1].shift == k  # type: ignore[union-attr]
    assert network.output_scale == pytest.approx(scale * kernel**2 / 2**k, rel=1e-12)
    assert decibels(network, floats, real) > 25


def one_layer(
    weight: list[float], bias: list[float], output_max: float, relu: bool = False
) -> ConvolutionLayer:
    """Quantise a 1×1 convolution of one channel, its input int8 with scale 1."""
    geometry = ConvolutionGeometry(1, (1,), (1,), (1,), (1,), (0,), (0,), len(weight))
    source = Convolution("c", geometry, np.array(weight).reshape(-1, 1, 1), np.array(bias))
    after = Scale.for_largest(output_max, INT8)
    return quantise_convolution(source, RELU if relu else NONE, 8, (Scale.of(1.0), after), (INT8, INT8))


def test_a_filter_of_zeros_gives_its_bias_with_the_others_shift() -> None:
    layer = one_layer([0.0, 0.5], [30.0, 0.0], output_max=127.0)
    assert layer.shift[0] == layer.shift[1]
    assert layer.run(np.array([[[-128]], [[127]]]))[:, 0].tolist() == [[30], [30]]


def test_filters_of_zeros_alone_give_their_bias() -> None:
    layer = one_layer([0.0, 0.0], [30.0, -7.0], output_max=127.0)
    assert layer.shift.tolist() == [0, 0]
    assert layer.run(np.array([[[5]]])).tolist() == [[[30], [-7]]]


@pytest.mark.parametrize("tiny", [1e-12, 1e-60, 1e-290])
def test_a_filter_of_tiny_weights_keeps_its_bias_and_a_narrow_accumulator(tiny: float) -> None:
    layer = one_layer([tiny, 1.0], [30.0, 0.0], output_max=127.0)
    assert layer.run(np.array([[[-128]], [[127]]]))[:, 0].tolist() == [[30], [30]]
    low, high = biased_range(layer)
    assert max(-low, high) < 2**28


@pytest.mark.parametrize("bias", [1e6, -1e6, 1e300, -1e300])
def test_a_bias_beyond_saturation_is_narrowed_without_any_change(bias: float) -> None:
    layer = one_layer([1.0], [bias], output_max=127.0)
    values = np.arange(-128, 128).reshape(-1, 1, 1)
    assert set(layer.run(values).ravel().tolist()) == {127 if bias > 0 else -128}
    low, high = biased_range(layer)
    assert max(-low, high) < 2**18


def merged(*layers: FloatLayer) -> list[tuple[str, bool]]:
    network = quantise_shift(FloatGraph("tiny", (1, 8, 8), layers, (8, 4, 4)), frames(8))
    return [(layer.name, getattr(layer, "activation", NONE) == RELU) for layer in network.layers]


def test_a_relu_moves_before_max_pools_and_repeats_are_dropped() -> None:
    first, pooling = convolution("first", 1, (8, 8), 1, 8), pool("pool", 8, (8, 8), 2, "max")
    assert merged(first, pooling, Relu("relu"), Relu("again")) == [("first", True), ("pool", False)]


@pytest.mark.parametrize("pooled", [False, True], ids=["plain", "behind a max pool"])
def test_a_maximum_is_held_by_saturation_alone(pooled: bool) -> None:
    limit, shape = 0.75, (2, 4, 4) if pooled else (2, 8, 8)
    layers: list[FloatLayer] = [convolution("first", 1, (8, 8), 3, 2, pad=1), Relu("clip", limit)]
    if pooled:
        layers.insert(1, pool("pool", 2, (8, 8), 2, "max"))
    relu6 = FloatGraph("n", (1, 8, 8), tuple(layers), shape)
    network = quantise_shift(relu6, frames(20))
    unseen = frames(20, seed=9)
    integer = network.run(network.quantise_input(unseen))
    assert run_float(relu6, unseen).max() == limit
    assert integer.max() == UINT8.maximum
    assert integer.max() / network.output_scale == pytest.approx(limit)


def test_a_maximum_behind_an_average_is_refused() -> None:
    layers = (convolution("first", 1, (8, 8), 1, 8), Relu("relu"), pool("pool", 8, (8, 8), 2, "average"))
    with pytest.raises(CrosstileError) as error:
        merged(*layers, Relu("clip", 1.0))
    assert str(error.value) == (
        "node 'clip' (Clip): reads the average pool 'pool'; supported: after a convolution, a fully connected layer "
        "or an Add, also with max pools between"
    )


def test_a_relu_after_an_average_of_nothing_negative_is_dropped() -> None:
    first, pooling = convolution("first", 1, (8, 8), 1, 8), pool("pool", 8, (8, 8), 2, "average")
    assert merged(first, Relu("relu"), pooling, Relu("again")) == [("first", True), ("pool", False)]


REFUSED = (
    "node 'relu' (Relu): reads {}, which may be negative; supported: after a convolution, a fully connected layer "
    "or an Add, also with max pools between"
)


@pytest.mark.parametrize("where", ["the average pool 'pool'", "the model's input"])
def test_a_relu_that_no_convolution_takes_in_is_refused(where: str) -> None:
    first, pooling = convolution("first", 1, (8, 8), 1, 8), pool("pool", 8, (8, 8), 2, "average")
    layers = (first, pooling, Relu("relu")) if "pool" in where else (Relu("relu"), first, pooling)
    with pytest.raises(CrosstileError) as error:
        merged(*layers)
    assert str(error.value) == REFUSED.format(where)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_bits": 1}, "weight_bits must be from 2 to 16, not 1"),
        ({"weight_bits": 17}, "weight_bits must be from 2 to 16, not 17"),
        ({"weight_bits": 8.0}, "weight_bits must be from 2 to 16, not 8.0"),
        ({"activation_bits": 3}, "activation_bits must be from 4 to 16, not 3"),
        ({"activation_bits": 17}, "activation_bits must be from 4 to 16, not 17"),
    ],
)
def test_bits_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CrosstileError) as error:
        quantise_shift(graph(), frames(4), **options)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((10, 8, 8)), ": shape (10, 8, 8) does not match the model's input (frames, 1, 8, 8)"),
        (np.zeros((0, 1, 8, 8)), ": it holds no frame; give at least one"),
        (np.full((2, 1, 8, 8), "a"), ": type <U1 is not a real number; give floats or integers"),
        (np.ones((2, 1, 8, 8), bool), ": type bool is not a real number; give floats or integers"),
        (np.full((2, 1, 8, 8), np.nan), ": element (0, 0, 0, 0) is nan; every value must be finite"),
        (np.zeros((2, 1, 8, 8)), " is 0 everywhere and gives no scale; use other calibration frames"),
    ],
    ids=["shape", "empty", "text", "boolean", "nan", "zeros"],
)
def test_calibration_arrays_that_do_not_fit_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(CrosstileError) as error:
        quantise_shift(graph(), array)
    assert str(error.value) == f"calibration array{message}"


def test_a_layer_that_no_frame_reaches_is_refused() -> None:
    first = convolution("first", 1, (8, 8), 1, 8)
    dead = replace(first, bias=np.full(8, -1e6))
    with pytest.raises(CrosstileError) as error:
        merged(dead, Relu("relu"), pool("pool", 8, (8, 8), 2, "max"))
    message = "output of layer 'first' is 0 everywhere and gives no scale; use other calibration frames"
    assert str(error.value) == message


def test_a_filter_out_of_every_shifts_reach_is_refused() -> None:
    with pytest.raises(CrosstileError) as error:
        one_layer([1.0], [0.0], output_max=1e-6)
    assert str(error.value) == (
        "layer 'c': filter 0 needs a left shift by 20; supported: 8 at most; use other calibration frames or "
        "more weight_bits"
    )
