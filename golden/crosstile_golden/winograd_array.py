"""What one array of 64 multipliers computes of a tile in three dimensions, four in two or sixteen in one.

    y[o] = Σ_channel Σ_t w[channel, place of t] · x[channel, o + t]        along each direction that the kernel has

Depth, row and column are the method's three directions ("row-column frame", the Winograd method compatible with
multi-dimensional networks, claim 2). A kernel here has always three entries: 3 or 2, or 1 along a direction in which
the four positions belong to tiles of their own, each with its own weights. So (1, 1, 3) is sixteen tiles of a signal,
(1, 3, 2) four of an image and (3, 3, 3) one of a volume.

A direction has 4 places for weights and for outputs where any kernel has a 1 there, else 3. Sizes 3 and 2 leave out
the last place but one: then the array needs a selector less for every word there.

    taps      size 3: 0, 1, last     size 2: 0, 1; last must be 0     size 1: all, tile by tile
    outputs   size 3: 0, last        size 2: 0, 1, last               size 1: all, tile by tile
"""

import itertools
from collections.abc import Sequence
from math import prod

import numpy as np

from .errors import CrosstileError
from .geometry import Axes
from .numbers import Integers
from .winograd import TILE, convolve_tiles, outputs_along

DIMENSIONS = (1, 2, 3)
Step = tuple[int, int, int]


def array_kernels(dimensions: Axes) -> list[Axes]:
    """Return every kernel (depth, row, column) of networks of these dimensions: 1, 2 and 3, or some of them."""
    if not dimensions or tuple(sorted(set(dimensions) & set(DIMENSIONS))) != tuple(dimensions):
        raise CrosstileError(f"dimensions must be 1, 2 and 3 or some of them, ascending, not {dimensions}")
    return [
        (1,) * (3 - dimension) + sizes
        for dimension in dimensions for sizes in itertools.product((3, 2), repeat=dimension)
    ]  # fmt: skip


def places_along(sizes: Sequence[int]) -> int:
    """Return the places of a direction in which kernels have these sizes."""
    return TILE if 1 in sizes else TILE - 1


def taps_along(size: int, places: int) -> Axes:
    """Return the places of the weights along a direction: of the taps, or of size 1 one per tile."""
    return tuple(range(TILE)) if size == 1 else (0, 1, places - 1)[:size]


def links_along(size: int, places: int) -> Axes:
    """Return the places of the outputs along a direction, in order; of size 1 one per tile."""
    return {3: (0, places - 1), 2: (0, 1, places - 1), 1: tuple(range(TILE))}[size]


def steps_along(size: int, places: int) -> list[Step]:
    """Return, for all products along a direction, the place of the output, that of the weight, and the position."""
    if size == 1:
        return [(tile, tile, tile) for tile in range(TILE)]
    links, taps = links_along(size, places), taps_along(size, places)
    return [(links[output], taps[tap], output + tap) for output in range(outputs_along(size)) for tap in range(size)]


def links(kernel: Axes, shape: Axes) -> list[Axes]:
    """Return where the outputs of a kernel lie in an array of `shape` places: tile by tile, each row-major."""
    return list(itertools.product(*map(links_along, kernel, shape)))


def check_array(activations: Integers, weights: Integers, kernel: Axes) -> None:
    """Raise `CrosstileError` for arrays of other shapes, for another kernel, or weights where no tap is.

    Words that a kernel does not use may be anything, but for the third tap of a size 2, which must be 0.
    """
    if kernel not in array_kernels(DIMENSIONS):
        raise CrosstileError(f"kernel must be 3 or 2 along the last 1 to 3 of three directions, else 1, not {kernel}")
    channels, shape = len(weights), weights.shape[1:]
    legal = [{TILE, 3} if size > 1 else {TILE} for size in kernel[:2]] + [{3}]
    if activations.shape != (channels, TILE, TILE, TILE):
        raise CrosstileError(f"activations must have shape {(channels, TILE, TILE, TILE)}, not {activations.shape}")
    if len(shape) != 3 or any(count not in counts for count, counts in zip(shape, legal, strict=True)):
        raise CrosstileError(f"weights must have 4 places along depth and row, or 3 where none is 1, not {shape}")
    for axis, size in enumerate(kernel):
        if size == 2 and weights.take(-1, 1 + axis).any():
            raise CrosstileError(f"the last weights along direction {axis} must be 0, its size being 2")


def array_convolution(activations: Integers, weights: Integers, kernel: Axes) -> Integers:
    """Return the outputs by plain loops, multiplication by multiplication.

    activations   int64, shape (channels, 4, 4, 4)
    weights       int64, shape (channels, depth places, row places, column places)
    kernel        (depth, row, column), each 3, 2 or 1
    returns       int64, shape (depth places, row places, column places), 0 where no output lies

    Raises `CrosstileError` as `check_array`.
    """
    check_array(activations, weights, kernel)
    shape = weights.shape[1:]
    outputs = np.zeros(shape, np.int64)
    for steps in itertools.product(*map(steps_along, kernel, shape)):
        output, tap, position = zip(*steps, strict=True)
        for channel in range(len(weights)):
            outputs[output] += weights[channel][tap] * activations[channel][position]
    return outputs


def array_winograd(activations: Integers, weights: Integers, kernel: Axes) -> Integers:
    """Return the same by `winograd.convolve_tiles`, tile by tile."""
    check_array(activations, weights, kernel)
    shape = weights.shape[1:]
    outputs = np.zeros(shape, np.int64)
    directions = tuple(size for size in kernel if size > 1)
    for tile in np.ndindex((TILE,) * (3 - len(directions))):
        whole = activations[(slice(None), *tile)]
        places = [taps_along(size, count) for size, count in zip(directions, shape[len(tile) :], strict=True)]
        taps = weights[(slice(None), *tile)][np.ix_(range(len(weights)), *places)]
        results = convolve_tiles(whole[None], taps[None])[0, 0]
        places = [links_along(size, count) for size, count in zip(directions, shape[len(tile) :], strict=True)]
        outputs[tile][np.ix_(*places)] = results
    return outputs


def tiles(kernel: Axes) -> int:
    """Return the tiles that the array takes per cycle: 1, 4 or 16."""
    return TILE ** sum(size == 1 for size in kernel)


def multiply_accumulates(kernel: Axes) -> int:
    """Return the multiplications of plain convolution that one cycle of the array stands for."""
    return prod(TILE if size == 1 else size * outputs_along(size) for size in kernel)
