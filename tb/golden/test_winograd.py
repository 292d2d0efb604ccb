"""Winograd tiles equal plain convolution exactly, and no width could be narrower."""

import itertools
from math import prod

import numpy as np
import pytest
from crosstile_golden.convolution import convolution
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import ConvolutionGeometry
from crosstile_golden.numbers import NumberFormat, signed_bits_for
from crosstile_golden.winograd import (
    ACTIVATION_MATRIX,
    PARTIAL_SUM_MATRIX,
    WEIGHT_MATRIX,
    TileRanges,
    convolve_tiles,
    divide_exactly,
    outputs_along,
    scale_bits,
    transform_activations,
    transform_partial_sums,
    transform_weights,
    winograd_convolution,
)

INT8, UINT8 = NumberFormat(8, True), NumberFormat(8, False)
KERNELS = [kernel for axes in (1, 2, 3) for kernel in itertools.product((3, 2), repeat=axes)]
WITH_ONES = [(1,), (1, 3), (2, 1), (1, 1), (3, 1, 2), (1, 2, 3)]
SIZES = (3, 2, 1)


def direct(frames: np.ndarray, weight: np.ndarray) -> np.ndarray:
    axes = weight.ndim - 2
    ones, zeros = (1,) * axes, (0,) * axes
    shape = ConvolutionGeometry(
        frames.shape[1], frames.shape[2:], weight.shape[2:], ones, ones, zeros, zeros, weight.shape[0]
    )
    return convolution(frames, weight, shape)


@pytest.mark.parametrize("size", SIZES)
def test_the_matrices_make_a_convolution_of_any_numbers(size: int) -> None:
    """Σ_i Aᵀ[o, i]·G[i, t]·Bᵀ[i, j] is 2 where j = o + t, else 0: an identity of polynomials, so no case is left."""
    matrices = PARTIAL_SUM_MATRIX[size], WEIGHT_MATRIX[size], ACTIVATION_MATRIX[size]
    product = np.einsum("oi,it,ij->otj", *matrices)
    expected = np.zeros((outputs_along(size), size, 4), np.int64)
    for output, tap in np.ndindex(expected.shape[:2]):
        expected[output, tap, output + tap] = 1 << scale_bits((size,))
    np.testing.assert_array_equal(product, expected)


def test_the_matrices_are_those_of_the_letters_of_lavin_and_gray() -> None:
    """F(2,3) as published, but the middle of G times 2, and Aᵀ times 2 where G is as it was."""
    published = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2
    np.testing.assert_array_equal(WEIGHT_MATRIX[3], published * [[1], [2], [2], [1]])
    np.testing.assert_array_equal(
        PARTIAL_SUM_MATRIX[3], 2 * np.array([[1, 1, 1, 0], [0, 1, -1, -1]]) / [1, 2, 2, 1]
    )
    np.testing.assert_array_equal(ACTIVATION_MATRIX[3], [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
    np.testing.assert_array_equal(ACTIVATION_MATRIX[3], ACTIVATION_MATRIX[2])


@pytest.mark.parametrize("kernel", KERNELS + WITH_ONES, ids=str)
def test_tiles_equal_convolution(kernel: tuple[int, ...]) -> None:
    generator = np.random.default_rng(1)
    tiles = generator.integers(-128, 128, (9, 5, *[4] * len(kernel)))
    weight = generator.integers(-127, 128, (3, 5, *kernel))
    found = convolve_tiles(tiles, weight)
    assert found.dtype == np.int64
    assert found.shape == (9, 3, *map(outputs_along, kernel))
    np.testing.assert_array_equal(found, direct(tiles, weight))


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_extreme_tiles_equal_convolution(kernel: tuple[int, ...]) -> None:
    generator = np.random.default_rng(2)
    tiles = generator.choice([-32768, 32767], (20, 2, *[4] * len(kernel)))
    weight = generator.choice([-32768, 32767], (4, 2, *kernel))
    tiles[0], weight[0] = -32768, -32768
    np.testing.assert_array_equal(convolve_tiles(tiles, weight), direct(tiles, weight))


@pytest.mark.parametrize("kernel", KERNELS + WITH_ONES, ids=str)
@pytest.mark.parametrize("spare", range(4))
def test_whole_maps_equal_convolution_whether_tiles_divide_them_or_not(kernel: tuple[int, ...], spare: int) -> None:
    generator = np.random.default_rng(spare)
    size = [taps + spare + axis for axis, taps in enumerate(kernel)]
    frames = generator.integers(-128, 128, (2, 3, *size))
    weight = generator.integers(-128, 128, (4, 3, *kernel))
    np.testing.assert_array_equal(winograd_convolution(frames, weight), direct(frames, weight))


def test_multiplications_per_output_are_two_thirds_per_axis() -> None:
    for kernel in KERNELS:
        per_output = 4 ** len(kernel) / prod(map(outputs_along, kernel)) / prod(kernel)
        assert per_output == pytest.approx((2 / 3) ** len(kernel))


# Widths


def widths(bounds: tuple[np.ndarray, np.ndarray]) -> set[int]:
    return set(map(signed_bits_for, bounds[0].ravel().tolist(), bounds[1].ravel().tolist()))


@pytest.mark.parametrize(
    ("kernel", "activations", "weights"),
    [
        ((3,), {9}, {8, 10}),
        ((3, 3), {10}, {8, 10, 12}),
        ((3, 3, 3), {11}, {8, 10, 12, 13}),
        ((2,), {9}, {8, 9}),
        ((2, 2), {10}, {8, 9, 10}),
        ((2, 2, 2), {11}, {8, 9, 10, 11}),
    ],
)
def test_widths_of_int8_are_those_known(kernel: tuple[int, ...], activations: set[int], weights: set[int]) -> None:
    ranges = TileRanges(kernel, INT8, -127, 127)
    assert (widths(ranges.activations), widths(ranges.weights)) == (activations, weights)


def attaining(matrix: np.ndarray, low: int, high: int) -> np.ndarray:
    """Return, for each row, the inputs that bring it to its greatest value."""
    return np.where(matrix > 0, high, low)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("number_format", [INT8, UINT8], ids=str)
def test_every_range_is_attained_at_both_ends(kernel: tuple[int, ...], number_format: NumberFormat) -> None:
    low, high, channels = -128, 127, 3
    ranges = TileRanges(kernel, number_format, low, high, channels)
    tile, positions = (4,) * len(kernel), 4 ** len(kernel)
    rows = transform_activations(np.eye(positions, dtype=np.int64).reshape(-1, *tile), kernel).reshape(positions, -1).T
    ends = number_format.minimum, number_format.maximum
    tiles = np.stack([attaining(rows, *ends), attaining(-rows, *ends)]).reshape(2, -1, *tile)
    taps = prod(kernel)
    rows = transform_weights(np.eye(taps, dtype=np.int64).reshape(-1, *kernel), kernel).reshape(taps, -1).T
    weights = np.stack([attaining(rows, low, high), attaining(-rows, low, high)]).reshape(2, -1, *kernel)

    diagonal = np.arange(positions)
    activation_ends = transform_activations(tiles, kernel).reshape(2, positions, positions)[:, diagonal, diagonal]
    weight_ends = transform_weights(weights, kernel).reshape(2, positions, positions)[:, diagonal, diagonal]
    np.testing.assert_array_equal(activation_ends[::-1].reshape(2, *tile), ranges.activations)
    np.testing.assert_array_equal(weight_ends[::-1].reshape(2, *tile), ranges.weights)
    products = channels * np.stack([a * w for a in activation_ends for w in weight_ends])
    np.testing.assert_array_equal(products.min(axis=0).reshape(tile), ranges.partial_sums[0])
    np.testing.assert_array_equal(products.max(axis=0).reshape(tile), ranges.partial_sums[1])


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_the_result_s_range_is_attained(kernel: tuple[int, ...]) -> None:
    ranges = TileRanges(kernel, INT8, -128, 127, channels=2)
    tiles = np.full((2, 2, *[4] * len(kernel)), -128)
    tiles[1] = 127
    weight = np.full((1, 2, *kernel), -128)
    sums = np.einsum("nc...,fc...->nf...", transform_activations(tiles, kernel), transform_weights(weight, kernel))
    found = transform_partial_sums(sums, kernel)
    assert {int(found.min()), int(found.max())} == set(ranges.result)


# Refusals


def test_refusals_name_what_is_wrong() -> None:
    tiles, weight = np.zeros((1, 2, 4), np.int64), np.zeros((1, 2, 4), np.int64)
    cases = [
        (tiles, weight, "kernel must have 1 to 3 axes, each of size 3, 2 or 1, not (4,)"),
        (tiles[:, :1], weight[:, :, :3], "tiles of shape (1, 1, 4) do not match (tiles, 2, 4)"),
        (tiles + 2**40, weight[:, :, :3] + 2**30, "transformed sums may need 77 bits; supported: 64"),
    ]
    for case_tiles, case_weight, message in cases:
        with pytest.raises(CrosstileError) as error:
            convolve_tiles(case_tiles, case_weight)
        assert str(error.value) == message


def test_sums_that_no_tile_gives_do_not_divide() -> None:
    with pytest.raises(CrosstileError) as error:
        divide_exactly(np.array([4, 6]), (3, 2))
    assert str(error.value) == "partial sums of kernel (3, 2) must be multiples of 4: some are not"


def test_no_tile_gives_no_result() -> None:
    weight = np.ones((3, 2, 3, 2), np.int64)
    assert convolve_tiles(np.zeros((0, 2, 4, 4), np.int64), weight).shape == (0, 3, 2, 3)
    assert winograd_convolution(np.zeros((0, 2, 7, 7), np.int64), weight).shape == (0, 3, 5, 6)
