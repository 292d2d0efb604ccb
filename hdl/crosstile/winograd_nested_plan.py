"""What the Winograd transforms have in common before a gate exists: one line's network, nested over the axes."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, reduce
from typing import ClassVar

import numpy as np
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes
from crosstile_golden.numbers import Integers

from .winograd_network import SWITCHED, Ends, Network, Term, bits_for

PIPELINES = ("none", "axis", "adder")
LARGEST_BITS = 64


class NestedPlan(ABC):
    """A transform of tiles: the one-dimensional transform on every line of one axis after the other.

    `sizes` has one entry per axis, outermost first: 3, 2 or `SWITCHED`. Positions of a tile are numbered
    row-major, the last axis fastest, at the inputs and at the outputs.
    """

    matrices: ClassVar[Mapping[int, Integers]]
    pipeline: str
    output_bits: int | None = None

    @property
    @abstractmethod
    def sizes(self) -> Axes:
        """Size of the kernel along each axis."""

    @property
    @abstractmethod
    def input_shape(self) -> Axes:
        """Inputs of a tile along each axis."""

    @property
    @abstractmethod
    def input_ranges(self) -> tuple[Ends, ...]:
        """Least and greatest value of each input."""

    @abstractmethod
    def line(self, network: Network, axis: int, terms: list[Term]) -> list[Term]:
        """Return the one-dimensional transform of a line along an axis."""

    def _check(self) -> None:
        if not 1 <= len(self.sizes) <= 3 or not set(self.sizes) <= {3, 2, SWITCHED}:
            raise CrosstileError(
                f"a transform's kernel must have 1 to 3 axes, each 3, 2 or {SWITCHED} (switched), not {self.sizes}"
            )
        if self.pipeline not in PIPELINES:
            raise CrosstileError(f"pipeline must be one of {', '.join(PIPELINES)}, not {self.pipeline!r}")
        if self.output_bits is not None and not 2 <= self.output_bits <= LARGEST_BITS:
            raise CrosstileError(f"output_bits must be from 2 to {LARGEST_BITS}, not {self.output_bits}")
        widest = max(term.bits for term in self.outputs)
        if widest > LARGEST_BITS:
            raise CrosstileError(
                f"a transform's outputs may have {LARGEST_BITS} bits, not {widest}; give it narrower inputs"
            )

    # The network

    def inputs(self, values: Sequence[object] = ()) -> list[Term]:
        """Return a term for each input, with its signal where there are `values`."""
        terms = [Term((ends,) * len(self.kernels), bits_for(*ends)) for ends in self.input_ranges]
        return [replace(term, value=value) for term, value in zip(terms, values, strict=True)] if values else terms

    def network(self) -> Network:
        """Return what counts this transform's network, with nothing in it."""
        return Network(self.kernels, self.output_bits or 2 * LARGEST_BITS, self.pipeline == "adder")

    def transform(self, network: Network, inputs: Sequence[Term], order: Axes) -> list[Term]:
        """Return the outputs that a network makes of the inputs, taking the axes in this order."""
        tile = np.array(inputs, object).reshape(self.input_shape)
        for axis in order:
            lines = np.moveaxis(tile, axis, -1)
            made = [self.line(network, axis, list(line)) for line in lines.reshape(-1, lines.shape[-1])]
            if self.pipeline != "none":
                made = [[network.register(term) for term in line] for line in made]
            tile = np.moveaxis(np.array(made, object).reshape(*lines.shape[:-1], -1), -1, axis)
        return list(tile.ravel())

    @cached_property
    def order(self) -> Axes:
        """The axes in the order that takes the fewest bits of adders and selectors."""
        return min(itertools.permutations(range(len(self.sizes))), key=self._cost)

    def _cost(self, order: Axes) -> int:
        network = self.network()
        self.transform(network, self.inputs(), order)
        return network.adder_bits + network.selector_bits

    @cached_property
    def _counted(self) -> tuple[Network, list[Term]]:
        network = self.network()
        return network, self.transform(network, self.inputs(), self.order)

    # What it takes

    @property
    def outputs(self) -> list[Term]:
        """The outputs: the least and the greatest value of each, and its width."""
        return self._counted[1]

    @property
    def adders(self) -> int:
        """Adders, subtracting ones among them."""
        return self._counted[0].adders

    @property
    def adder_bits(self) -> int:
        """Bits of all adders together."""
        return self._counted[0].adder_bits

    @property
    def selectors(self) -> int:
        """Selectors of two words."""
        return self._counted[0].selectors

    @property
    def selector_bits(self) -> int:
        """Bits of all selectors together."""
        return self._counted[0].selector_bits

    @property
    def levels(self) -> int:
        """Adders on the longest path from an input to an output."""
        return max(term.levels for term in self.outputs)

    @property
    def levels_per_cycle(self) -> int:
        """Adders on the longest path between registers."""
        return self._counted[0].deepest

    @property
    def latency(self) -> int:
        """Cycles from a tile to its outputs."""
        return self.outputs[0].cycle

    @property
    def data_register_bits(self) -> int:
        """Bits of registers, those of the switches left out."""
        return self._counted[0].register_bits

    # What it computes

    @property
    def switched_axes(self) -> Axes:
        """The axes that an input switches, in the order of that input's bits."""
        return tuple(axis for axis, size in enumerate(self.sizes) if size == SWITCHED)

    @property
    def kernels(self) -> list[Axes]:
        """Every combination of sizes that this transform serves."""
        return list(itertools.product(*((3, 2) if size == SWITCHED else (size,) for size in self.sizes)))

    def matrix(self, kernel: Axes) -> Integers:
        """Return the matrix of one of `kernels` over all axes: (output, input), each axis' rows as they are tabled."""
        return reduce(np.kron, (self.matrices[size] for size in kernel))

    @property
    def textbook_adders(self) -> int:
        """Adders without sharing: the terms of each output less one, for a circuit of its own per combination."""
        return sum(int((self.matrix(kernel) != 0).sum()) - len(self.matrix(kernel)) for kernel in self.kernels)
