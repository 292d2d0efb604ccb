"""Tiles of one, two and three dimensions by plain loops, by Winograd, and by a convolution of each tile alone."""

from math import prod

import numpy as np
import pytest
from crosstile_golden.convolution import convolution
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import ConvolutionGeometry
from crosstile_golden.winograd_array import (
    DIMENSIONS,
    array_convolution,
    array_kernels,
    array_winograd,
    links,
    multiply_accumulates,
    taps_along,
    tiles,
)

KERNELS = array_kernels(DIMENSIONS)
NARROWEST = {1: (4, 4, 3), 2: (4, 3, 3), 3: (3, 3, 3)}
Kernel = tuple[int, int, int]


def shapes(kernel: Kernel) -> list[Kernel]:
    """Return every number of places with which arrays may serve a kernel."""
    dimension = sum(size > 1 for size in kernel)
    return [shape for least, shape in NARROWEST.items() if least <= dimension]


CASES = [(kernel, shape) for kernel in KERNELS for shape in shapes(kernel)]


def random_tile(kernel: Kernel, shape: Kernel, reach: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return activations and weights of 3 channels; words that are not used are anything."""
    generator = np.random.default_rng(seed)
    activations = generator.integers(-reach, reach, (3, 4, 4, 4))
    weights = generator.integers(-reach, reach, (3, *shape))
    for axis, size in enumerate(kernel):
        if size == 2:
            np.moveaxis(weights, 1 + axis, 0)[-1] = 0
    return activations, weights


@pytest.mark.parametrize(("kernel", "shape"), CASES, ids=str)
@pytest.mark.parametrize("reach", [8, 1 << 15])
def test_plain_loops_and_winograd_agree(kernel: Kernel, shape: Kernel, reach: int) -> None:
    activations, weights = random_tile(kernel, shape, reach)
    found = array_convolution(activations, weights, kernel)
    np.testing.assert_array_equal(found, array_winograd(activations, weights, kernel))
    assert found.shape == shape
    assert {tuple(map(int, place)) for place in np.argwhere(found)} <= set(links(kernel, shape))


@pytest.mark.parametrize(("kernel", "shape"), CASES, ids=str)
def test_every_tile_is_the_convolution_of_its_own_words(kernel: Kernel, shape: Kernel) -> None:
    activations, weights = random_tile(kernel, shape, 128, seed=1)
    sizes = [size for size in kernel if size > 1]
    own = 3 - len(sizes)
    expected = []
    for tile in np.ndindex((4,) * own):
        places = [taps_along(size, count) for size, count in zip(sizes, shape[own:], strict=True)]
        taps = weights[(slice(None), *tile)][np.ix_(range(3), *places)]
        ones, zeros = (1,) * len(sizes), (0,) * len(sizes)
        geometry = ConvolutionGeometry(3, (4,) * len(sizes), tuple(sizes), ones, ones, zeros, zeros, 1)
        expected += convolution(activations[(slice(None), *tile)][None], taps[None], geometry).ravel().tolist()
    found = array_convolution(activations, weights, kernel)
    assert [found[place] for place in links(kernel, shape)] == expected


def test_kernels_tiles_and_work_of_each_dimension() -> None:
    assert [len(array_kernels((dimension,))) for dimension in DIMENSIONS] == [2, 4, 8]
    assert array_kernels((1, 3)) == [*array_kernels((1,)), *array_kernels((3,))]
    for kernel in KERNELS:
        sizes = [size for size in kernel if size > 1]
        assert tiles(kernel) == 4 ** (3 - len(sizes))
        outputs = prod(5 - size for size in sizes)
        assert multiply_accumulates(kernel) == tiles(kernel) * outputs * prod(sizes) == 64 * 1.5 ** len(sizes)
        assert len(links(kernel, (4, 4, 3))) == tiles(kernel) * outputs


GOOD = np.zeros((2, 4, 4, 4), np.int64), np.zeros((2, 4, 4, 3), np.int64)


@pytest.mark.parametrize(
    ("activations", "weights", "kernel", "message"),
    [
        (*GOOD, (3, 1, 3), "kernel must be 3 or 2 along the last 1 to 3 of three directions, else 1, not (3, 1, 3)"),
        (*GOOD, (1, 1, 1), "kernel must be 3 or 2 along the last 1 to 3 of three directions, else 1, not (1, 1, 1)"),
        (GOOD[0][:1], GOOD[1], (3, 3, 3), "activations must have shape (2, 4, 4, 4), not (1, 4, 4, 4)"),
        (GOOD[0], GOOD[1][:, :, :3], (1, 1, 3),
         "weights must have 4 places along depth and row, or 3 where none is 1, not (4, 3, 3)"),
        (GOOD[0], GOOD[1][:, 0], (1, 1, 3),
         "weights must have 4 places along depth and row, or 3 where none is 1, not (4, 3)"),
        (GOOD[0], GOOD[1] + 1, (1, 2, 3), "the last weights along direction 1 must be 0, its size being 2"),
    ],
)  # fmt: skip
def test_refusals_name_what_is_wrong(
    activations: np.ndarray, weights: np.ndarray, kernel: Kernel, message: str
) -> None:
    for function in (array_convolution, array_winograd):
        with pytest.raises(CrosstileError) as error:
            function(activations, weights, kernel)
        assert str(error.value) == message


@pytest.mark.parametrize("dimensions", [(), (2, 1), (1, 1), (1, 4), (0,)])
def test_dimensions_must_be_some_of_three(dimensions: tuple[int, ...]) -> None:
    with pytest.raises(CrosstileError) as error:
        array_kernels(dimensions)
    assert str(error.value) == f"dimensions must be 1, 2 and 3 or some of them, ascending, not {dimensions}"
