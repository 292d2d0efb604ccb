"""Quantised networks with residuals, leaky slopes, tables and sums: close to the float ones, and exact in integers."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from crosstile_golden.activation import NONE, RELU, Activation
from crosstile_golden.errors import CrosstileError
from crosstile_golden.float_layers import Add, Convolution, FloatActivation, FloatLayer, LeakyRelu, Pool, Relu, Sigmoid
from crosstile_golden.float_layers import Tanh as TanhLayer
from crosstile_golden.float_network import run_float
from crosstile_golden.geometry import ConvolutionGeometry, PoolGeometry
from crosstile_golden.graph import FloatGraph
from crosstile_golden.network import ConvolutionLayer, IntegerNetwork, PoolLayer, Sources
from crosstile_golden.numbers import NumberFormat
from crosstile_golden.quantise_shift import quantise_shift
from crosstile_golden.scales import Scale
from crosstile_golden.stages import reference_tensors

INT8, UINT8 = NumberFormat(8, True), NumberFormat(8, False)
SIZE = 8


def conv(
    name: str, channels: int, filters: int, kernel: int = 3, stride: int = 1, gain: float = 1.0, size: int = SIZE
) -> Convolution:
    ones, pads = (1, 1), (kernel // 2,) * 2
    geometry = ConvolutionGeometry(channels, (size, size), (kernel,) * 2, (stride,) * 2, ones, pads, pads, filters)
    generator = np.random.default_rng(sum(name.encode()))
    weight = gain * generator.normal(size=geometry.weight_shape) / np.sqrt(channels * kernel**2)
    return Convolution(name, geometry, weight, gain * generator.normal(size=filters) * 0.3)


def pool(name: str, channels: int, kernel: int, kind: str, size: int = SIZE) -> Pool:
    two = (kernel,) * 2
    return Pool(name, PoolGeometry(channels, (size,) * 2, two, two, (1, 1), (0, 0), (0, 0), kind))


def residual_graph(gain: float = 1.0) -> FloatGraph:
    """An identity block, then a downsampling one whose shortcut is a signed 1×1 convolution, a sum, a classifier."""
    pairs: list[tuple[FloatLayer, tuple[str, ...]]] = [
        (conv("stem", 2, 6), ("",)), (Relu("r0"), ("stem",)),
        (conv("a1", 6, 6, gain=gain), ("r0",)), (Relu("r1"), ("a1",)), (conv("a2", 6, 6), ("r1",)),
        (Add("sum1"), ("r0", "a2")), (Relu("r2"), ("sum1",)),
        (conv("b1", 6, 8, stride=2), ("r2",)), (Relu("r3"), ("b1",)), (conv("b2", 8, 8, size=SIZE // 2), ("r3",)),
        (conv("short", 6, 8, kernel=1, stride=2, gain=gain), ("r2",)), (Add("sum2"), ("short", "b2")),
        (Relu("r4"), ("sum2",)), (pool("pool", 8, SIZE // 2, "average", SIZE // 2), ("r4",)),
        (conv("fc", 8, 5, kernel=1, size=1), ("pool",)),
    ]  # fmt: skip
    layers, sources = zip(*pairs, strict=True)
    return FloatGraph("tiny", (2, SIZE, SIZE), layers, (5,), [], sources)


def frames(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 2, SIZE, SIZE))


def decibels(network: IntegerNetwork, floats: FloatGraph, real: np.ndarray) -> float:
    expected = run_float(floats, real)
    noise = network.run(network.quantise_input(real)) / network.output_scale - expected
    return float(10 * np.log10((expected**2).sum() / (noise**2).sum()))


def layer_of(network: IntegerNetwork, name: str) -> ConvolutionLayer:
    layer = next(layer for layer in network.layers if layer.name == name)
    assert isinstance(layer, ConvolutionLayer)
    return layer


def test_a_residual_network_keeps_its_branches() -> None:
    network = quantise_shift(residual_graph(), frames(32))
    sources = {layer.name: source for layer, source in zip(network.layers, network.sources, strict=True)}
    assert list(sources) == ["stem", "a1", "a2", "b1", "short", "b2", "pool", "fc"]
    assert sources["a2"] == Sources("a1", "stem")
    assert sources["b2"] == Sources("b1", "short")
    assert [layer_of(network, name).activation for name in ("a2", "short", "b2")] == [RELU, NONE, RELU]
    for name, arriving in (("a2", UINT8), ("b2", INT8)):
        residual = layer_of(network, name).residual
        assert residual is not None
        assert residual.number_format == arriving


@pytest.mark.parametrize("gain", [0.05, 1.0, 20.0])
def test_noise_of_a_residual_network_falls_with_the_bits(gain: float) -> None:
    floats = residual_graph(gain)
    at = {bits: decibels(quantise_shift(floats, frames(64), bits, bits), floats, frames(64)) for bits in (8, 12, 16)}
    assert at[8] > 25
    assert 48.2 - 6 < at[16] - at[8] < 48.2 + 6  # 8 bits of 6.02 dB each


def scales_of(network: IntegerNetwork, floats: FloatGraph, real: np.ndarray) -> dict[str, float]:
    """Each tensor's scale as measured: least squares against what the layer stands for."""
    integers, reals = network.tensors(network.quantise_input(real)), reference_tensors(floats, real, True)
    return {
        name: float((values * reals[name]).sum() / (reals[name] ** 2).sum()) for name, values in integers.items()
    }


def test_the_alignment_is_the_ratio_of_the_scales() -> None:
    floats = residual_graph()
    network = quantise_shift(floats, frames(64), 16, 16)
    measured = scales_of(network, floats, frames(64))
    for name, arriving in (("a2", "stem"), ("b2", "short")):
        layer = layer_of(network, name)
        assert layer.residual is not None
        # Output steps per residual step are 2^(align − shift), the same for every filter, and a whole power.
        exponent = set((layer.residual.align - layer.shift).tolist())
        assert len(exponent) == 1
        assert measured[name] / measured[arriving] == pytest.approx(2.0 ** exponent.pop(), rel=1e-3)


def plain(layer: ConvolutionLayer, main: np.ndarray, other: np.ndarray | None, index: tuple[int, ...]) -> int:
    """One output of a layer before its activation, from the definition: loops and exact fractions."""
    n, f, *place = index
    total, geometry = Fraction(int(layer.bias[f])), layer.geometry
    for c in range(geometry.in_channels):
        for taps in np.ndindex(*geometry.kernel):
            where = [
                at * step + tap - pad
                for at, step, tap, pad in zip(place, geometry.stride, taps, geometry.padding_begin, strict=True)
            ]
            if all(0 <= at < size for at, size in zip(where, geometry.input_size, strict=True)):
                total += int(layer.weight[(f, c, *taps)]) * int(main[(n, c, *where)])
    if other is not None and layer.residual is not None:
        total += int(other[index]) * Fraction(2) ** int(layer.residual.align[f])
    return floor(total / Fraction(2) ** int(layer.shift[f]) + Fraction(1, 2))


@pytest.mark.parametrize("gain", [1.0, 2.0**-12])
def test_every_tensor_of_a_residual_network_equals_plain_loops(gain: float) -> None:
    network = quantise_shift(residual_graph(gain), frames(8))
    given = network.quantise_input(frames(1, seed=5))
    tensors = {"": given, **network.tensors(given)}
    for layer, source in zip(network.layers, network.sources, strict=True):
        if isinstance(layer, ConvolutionLayer):
            other = None if source.residual is None else tensors[source.residual]
            result, legal = tensors[layer.name], layer.output_format
            least = 0 if layer.activation == RELU else legal.minimum
            for index in np.ndindex(result.shape):
                exact = plain(layer, tensors[source.main], other, index)
                assert result[index] == max(least, min(legal.maximum, exact))


def test_a_fine_residual_joins_with_a_negative_alignment() -> None:
    network = quantise_shift(residual_graph(2.0**-12), frames(32))
    residual = layer_of(network, "b2").residual
    assert residual is not None
    assert residual.align.max() < 0


def test_a_residual_out_of_reach_is_refused() -> None:
    with pytest.raises(CrosstileError) as error:
        quantise_shift(residual_graph(2.0**-70), frames(8))
    assert str(error.value).startswith("layer 'b2': its residual joins shifted by -")
    assert str(error.value).endswith(
        " bits, too far from its sums for 62 bits; use calibration frames typical of the use"
    )


def after(activation: FloatActivation, gain: float = 1.0) -> FloatGraph:
    """A convolution, the activation, and a convolution."""
    layers = (conv("first", 2, 6, gain=gain), activation, conv("last", 6, 3))
    return FloatGraph("tiny", (2, SIZE, SIZE), layers, (3, SIZE, SIZE))


@pytest.mark.parametrize("shift", [1, 4, 7])
def test_leaky_networks_are_signed_and_close(shift: int) -> None:
    floats = after(LeakyRelu("leaky", shift))
    network = quantise_shift(floats, frames(32))
    assert layer_of(network, "first").activation == Activation("leaky", shift)
    assert layer_of(network, "first").output_format == INT8
    assert decibels(network, floats, frames(32)) > 30
    assert decibels(quantise_shift(floats, frames(32), 16, 16), floats, frames(32)) > 75


@pytest.mark.parametrize("shift", [1, 8])
def test_a_bias_that_a_leaky_slope_brings_back_is_kept(shift: int) -> None:
    """Far below zero the sum leaves the format, but the slope brings it back."""
    floats = after(LeakyRelu("leaky", shift))
    first = floats.layers[0]
    assert isinstance(first, Convolution)
    bias = np.array([-40.0, 0.1, 0.2, -30.0, 0.0, 0.5])
    moved = Convolution("first", first.geometry, first.weight, bias)
    floats = FloatGraph("tiny", floats.input_shape, (moved, *floats.layers[1:]), floats.output_shape)
    assert decibels(quantise_shift(floats, frames(32), 12, 12), floats, frames(32)) > 45


TABLES = [(TanhLayer("f"), INT8, 127.0), (Sigmoid("f"), UINT8, 255.0)]


@pytest.mark.parametrize("gain", [0.1, 1.0, 30.0])
@pytest.mark.parametrize(("layer", "legal", "scale"), TABLES, ids=["tanh", "sigmoid"])
def test_tables_use_their_whole_format_and_are_close(
    layer: FloatActivation, legal: NumberFormat, scale: float, gain: float
) -> None:
    floats = after(layer, gain)
    network = quantise_shift(floats, frames(32))
    first = layer_of(network, "first")
    assert (first.activation.kind, first.output_format, len(first.activation.table)) == ("table", legal, 256)
    last = IntegerNetwork(
        "n", network.input_shape, network.input_format, network.input_scale, network.layers[:1], scale,
        first.output_shape, "shift",
    )  # fmt: skip
    expected = layer.run(floats.layers[0].run(frames(32)))  # type: ignore[call-arg]
    error = last.run(last.quantise_input(frames(32))) / scale - expected
    assert 10 * np.log10((expected**2).sum() / (error**2).sum()) > (18 if gain < 1 else 28)


def test_a_table_has_at_most_12_address_bits() -> None:
    network = quantise_shift(after(TanhLayer("f")), frames(16), 16, 16)
    assert len(layer_of(network, "first").activation.table) == 4096
    assert layer_of(network, "first").output_format == NumberFormat(16, True)


def test_a_residual_joins_before_a_table_and_a_table_is_a_residual() -> None:
    pairs: list[tuple[FloatLayer, tuple[str, ...]]] = [
        (conv("a", 2, 2), ("",)), (TanhLayer("t"), ("a",)), (conv("b", 2, 2), ("t",)), (Add("s"), ("t", "b")),
        (Sigmoid("u"), ("s",)), (conv("c", 2, 2, gain=3.0), ("u",)), (Add("v"), ("c", "u")),
    ]  # fmt: skip
    layers, sources = zip(*pairs, strict=True)
    floats = FloatGraph("tiny", (2, SIZE, SIZE), layers, (2, SIZE, SIZE), [], sources)
    network = quantise_shift(floats, frames(32))
    assert network.sources == (Sources(""), Sources("a", "a"), Sources("b", "b"))
    assert decibels(network, floats, frames(32)) > 28
    assert decibels(quantise_shift(floats, frames(32), 16, 16), floats, frames(32)) > 45


@pytest.mark.parametrize("kernel", [2, 3, 8])
def test_a_sum_leaves_its_shift_to_the_scale(kernel: int) -> None:
    layers = (conv("first", 2, 4), Relu("r"), pool("sum", 4, kernel, "sum"))
    floats = FloatGraph("tiny", (2, SIZE, SIZE), layers, (4, SIZE // kernel, SIZE // kernel))
    network, real = quantise_shift(floats, frames(16)), frames(16)
    last, k = network.layers[-1], (kernel**2 - 1).bit_length()
    assert isinstance(last, PoolLayer)
    assert (last.shift, last.output_format) == (k, UINT8)
    largest = floats.layers[0].run(real).max()  # type: ignore[call-arg]
    assert network.output_scale == Scale.for_largest(largest, UINT8).value * 2.0**-k
    assert decibels(network, floats, real) > 25


@pytest.mark.parametrize(("kind", "kernel"), [("average", 3), ("average", 2), ("sum", 3), ("max", 3)])
def test_a_pool_may_be_between_two_that_meet(kind: str, kernel: int) -> None:
    size = 9
    geometry = PoolGeometry(2, (size, size), (kernel, kernel), (1, 1), (1, 1), (0, 0), (kernel - 1,) * 2, kind)
    pairs: list[tuple[FloatLayer, tuple[str, ...]]] = [
        (conv("a", 2, 2, size=size), ("",)), (Relu("r"), ("a",)), (Pool("p", geometry), ("r",)),
        (conv("b", 2, 2, size=size), ("r",)), (Add("s"), ("b", "p")),
    ]  # fmt: skip
    layers, sources = zip(*pairs, strict=True)
    floats = FloatGraph("tiny", (2, size, size), layers, (2, size, size), [], sources)
    real = np.random.default_rng(0).normal(size=(32, 2, size, size))
    assert decibels(quantise_shift(floats, real), floats, real) > 25
    assert decibels(quantise_shift(floats, real, 16, 16), floats, real) > 70
