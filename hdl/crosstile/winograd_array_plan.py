"""Everything about the Winograd array that is known before a gate exists: words, widths, links, cycles, counts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes
from crosstile_golden.numbers import NumberFormat
from crosstile_golden.winograd import TILE
from crosstile_golden.winograd_array import array_kernels, links, multiply_accumulates, places_along

from .multiplier import Multiplier
from .winograd_array_network import ArrayNetwork, activation_line, partial_sum_line, weight_line
from .winograd_array_ranges import OUTPUTS, Ranges, Word, product_ends
from .winograd_nested_plan import LARGEST_BITS, PIPELINES
from .winograd_network import Term, bits_for

POSITIONS = TILE**3
LARGEST_OPERAND, LARGEST_CHANNELS = 16, 65536

Line = Callable[[ArrayNetwork, int, Axes, list[Term]], list[Term]]


@dataclass(frozen=True)
class WinogradArrayPlan:
    """64 multipliers that take 1 tile of 3 dimensions, 4 of 2 or 16 of 1 per cycle, the kernel 3 or 2 along each axis.

    input_format   of the activations, up to 16 bits
    weight_bits    two's complement, 2 to 16
    channels       most tiles that are added up to one result, 1 to 65536; 1: every tile has a result of its own
    output_bits    None: every output as wide as it can be. A number from 2 to 64: results are known to fit so many
                   bits, and what is above is left out everywhere; another comes out modulo 2^output_bits
    dimensions     that it switches between: (1, 2, 3), or some of them, ascending
    pipeline       registers: "none", behind each "axis", or behind each "adder"; those of multipliers and sums stay

    A kernel is (depth, row, column), with a 1 along what its dimension does not have (`crosstile_golden.
    winograd_array`). Raises `CrosstileError` for what is not legal.
    """

    input_format: NumberFormat
    weight_bits: int = 8
    channels: int = 16
    output_bits: int | None = None
    dimensions: Axes = (1, 2, 3)
    pipeline: str = "axis"

    def __post_init__(self) -> None:
        if self.input_format.bits > LARGEST_OPERAND:
            raise CrosstileError(f"input_format must have up to {LARGEST_OPERAND} bits, not {self.input_format}")
        for name, value, least, most in (
            ("weight_bits", self.weight_bits, 2, LARGEST_OPERAND), ("channels", self.channels, 1, LARGEST_CHANNELS),
            ("output_bits", self.output_bits or LARGEST_BITS, 2, LARGEST_BITS),
        ):  # fmt: skip
            if not least <= value <= most:
                raise CrosstileError(f"{name} must be from {least} to {most}, not {value}")
        if self.pipeline not in PIPELINES:
            raise CrosstileError(f"pipeline must be one of {', '.join(PIPELINES)}, not {self.pipeline!r}")
        array_kernels(self.dimensions)

    # Kernels and places

    @cached_property
    def kernels(self) -> list[Axes]:
        """Every kernel that a tile may have."""
        return array_kernels(self.dimensions)

    def sizes(self, axis: int) -> Axes:
        """Return the sizes that an axis serves."""
        return ArrayNetwork(self.kernels, 0).sizes(axis)

    @cached_property
    def axes(self) -> Axes:
        """The axes that any kernel has, outermost first: a bit of `size_two` each."""
        return tuple(axis for axis in range(3) if self.sizes(axis) != (1,))

    @cached_property
    def shape(self) -> Axes:
        """Places along each axis, of weights and of outputs."""
        return tuple(places_along(self.sizes(axis)) for axis in range(3))

    def links(self, kernel: Axes) -> list[int]:
        """Return the outputs that are valid for a kernel, tile by tile: the method's effective output link."""
        return [int(np.ravel_multi_index(place, self.shape)) for place in links(kernel, self.shape)]

    def multiply_accumulates(self, kernel: Axes) -> float:
        """Return those of plain convolution per multiplier and cycle: 1.5, 2.25 or 3.375."""
        return multiply_accumulates(kernel) / POSITIONS

    # The network

    def network(self) -> ArrayNetwork:
        """Return what counts the transforms, with nothing in it."""
        return ArrayNetwork(self.kernels, 2 * LARGEST_BITS, self.pipeline == "adder")

    def terms(self, count: int, low: int, high: int, values: Sequence[object] = ()) -> list[Term]:
        """Return terms that each take any value from low to high, with their signals where there are `values`."""
        term = Term(((low, high),) * len(self.kernels), bits_for(low, high))
        return [replace(term, value=value) for value in values] if values else [term] * count

    def activations(self, values: Sequence[object] = ()) -> list[Term]:
        """Return the activations of 4·4·4 positions."""
        return self.terms(POSITIONS, self.input_format.minimum, self.input_format.maximum, values)

    def weights(self, values: Sequence[object] = ()) -> list[Term]:
        """Return the weights of all places."""
        high = (1 << self.weight_bits - 1) - 1
        return self.terms(prod(self.shape), -high - 1, high, values)

    def operands(
        self, network: ArrayNetwork, activations: Sequence[Term], weights: Sequence[Term]
    ) -> tuple[list[Term], list[Term]]:
        """Return both operands of the multipliers: the transforms, axis by axis, in step with each other."""
        words, tile = _grid(weights, self.shape), _grid(activations, (TILE,) * 3)
        for axis in self.axes:
            words = self._along(network, words, axis, self._weights)
        for _ in range(words.flat[0].cycle - len(self.axes) * (self.pipeline != "none")):
            tile = _grid([network.register(term) for term in tile.ravel()], tile.shape)
        for axis in self.axes:
            tile = self._along(network, tile, axis, self._activations)
        return list(tile.ravel()), list(words.ravel())

    def results(self, network: ArrayNetwork, sums: Sequence[Term]) -> list[Term]:
        """Return the outputs of the sums: the last axis first, so that every axis has as few lines as may be."""
        tile = _grid(sums, (TILE,) * 3)
        for axis in reversed(self.axes):
            tile = self._along(network, tile, axis, self._partial_sums)
        return list(tile.ravel())

    def _along(self, network: ArrayNetwork, tile: np.ndarray, axis: int, transform: Line) -> np.ndarray:
        lines, made = np.moveaxis(tile, axis, -1), list[Term]()
        for place in np.ndindex(lines.shape[:-1]):
            words = transform(network, axis, place, list(lines[place]))
            made += words if self.pipeline == "none" else map(network.register, words)
        return np.moveaxis(_grid(made, (*lines.shape[:-1], -1)), -1, axis)

    def _activations(self, network: ArrayNetwork, axis: int, _place: Axes, line: list[Term]) -> list[Term]:
        return activation_line(network, axis, line)

    def _weights(self, network: ArrayNetwork, axis: int, place: Axes, line: list[Term]) -> list[Term]:
        return list(network.between(*line)) if self._spare(axis, place) else weight_line(network, axis, line)

    def _partial_sums(self, network: ArrayNetwork, axis: int, place: Axes, line: list[Term]) -> list[Term]:
        others = [self._word(other, axis, index) for other, index in zip(_but(axis), place, strict=True)]
        network.limit = self._limit(place[:axis])

        def ranges(word: Word) -> Ranges:
            return self.ranges(*others[:axis], word, *others[axis:])

        if not self._spare(axis, place):
            return partial_sum_line(network, axis, line, ranges)
        narrow = (network.narrow(term, ranges(word)) for term, word in zip(line, OUTPUTS, strict=True))
        return list(network.between(*narrow))

    def _word(self, axis: int, now: int, index: int) -> Word:
        """Return what a word is along an axis while sums are transformed along the axis `now`."""
        if axis < now:
            return index
        return OUTPUTS[index] if self.shape[axis] == TILE else [*OUTPUTS[:2], OUTPUTS[-1]][index]

    def _spare(self, axis: int, place: Axes) -> bool:
        """Return whether a line lies in the spare place of the row axis: then no tile has its depth axis."""
        return axis == 0 and self.shape[1] == TILE and place[0] == 2

    def _limit(self, ahead: Axes) -> int:
        """Return the bits of a word at these positions along the axes ahead: positions 1 and 2 are halved there."""
        if self.output_bits is None:
            return 2 * LARGEST_BITS
        return self.output_bits + sum(axis in self.axes and index in (1, 2) for axis, index in enumerate(ahead))

    # Widths and counts

    def ranges(self, *words: Word) -> Ranges:
        """Return, for each kernel, the least and greatest value of a sum of products, given what it is on each axis."""
        weights, activations = self.weights()[0].ranges[0], self.activations()[0].ranges[0]
        ends = (product_ends(kernel, words, weights, activations) for kernel in self.kernels)
        return tuple((low * self.channels, high * self.channels) for low, high in ends)

    @cached_property
    def _built(self) -> tuple[ArrayNetwork, tuple[list[Term], list[Term]], list[Term], list[Term]]:
        network = self.network()
        operands = self.operands(network, self.activations(), self.weights())
        cycle = operands[0][0].cycle + Multiplier.LATENCY + (self.channels > 1)
        sums = [self._sum(position, cycle) for position in np.ndindex((TILE,) * 3)]
        return network, operands, sums, self.results(network, sums)

    def _sum(self, position: Axes, cycle: int) -> Term:
        term = Term(self.ranges(*position), 0, cycle=cycle)
        return replace(term, bits=min(bits_for(term.low, term.high), self._limit(position)))

    @property
    def counted(self) -> ArrayNetwork:
        """The transforms, counted: adders, selectors, registers."""
        return self._built[0]

    @property
    def transformed(self) -> tuple[list[Term], list[Term]]:
        """The activations and the weights as they are multiplied: widths and cycle."""
        return self._built[1]

    @property
    def sums(self) -> list[Term]:
        """The sums of products, position by position."""
        return self._built[2]

    @property
    def outputs(self) -> list[Term]:
        """The outputs: the least and the greatest value of each, and its width."""
        return self._built[3]

    @property
    def latency(self) -> int:
        """Cycles from a tile to its outputs."""
        return self.outputs[0].cycle


def _grid(terms: Sequence[Term], shape: Axes) -> np.ndarray:
    grid = np.empty(len(terms), object)
    grid[:] = terms
    return grid.reshape(shape)


def _but(axis: int) -> list[int]:
    return [other for other in range(3) if other != axis]
