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

from .winograd_network import Ends, Kernel, Network, Term, bits_for

PIPELINES = ("none", "axis", "adder")
LARGEST_BITS = 64
AXIS_SIZES = tuple(sizes for count in (1, 2, 3) for sizes in itertools.combinations((3, 2, 1), count))
"""What an axis may serve: any of the sizes 3, 2 and 1, the largest first."""


class NestedPlan(ABC):
    """A transform of tiles: the one-dimensional transform on every line of one axis after the other.

    `kernel` has per axis, outermost first, one of `AXIS_SIZES`. Positions of a tile are numbered row-major, the last
    axis fastest, at the inputs and at the outputs.

    The switch is a word that tells the sizes of a tile, in the cycle before it: a field for each axis of several
    sizes, the outermost in the least significant bits. It holds the index of the size in the axis' sizes, 0 being
    the largest; other values than those are not legal.
    """

    matrices: ClassVar[Mapping[int, Integers]]
    kernel: Kernel
    pipeline: str
    output_bits: int | None = None

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

    @property
    def switched(self) -> bool:
        """Whether the transform has a member `switch_word`."""
        return bool(self.switched_axes)

    def _check_kernel(self) -> None:
        if not 1 <= len(self.kernel) <= 3 or any(sizes not in AXIS_SIZES for sizes in self.kernel):
            raise CrosstileError(
                "kernel must have 1 to 3 axes, each with one or more of the sizes 3, 2 and 1, the largest first, "
                f"like ((3,), (3, 2)), not {self.kernel}"
            )

    def _check(self) -> None:
        if self.pipeline not in PIPELINES:
            raise CrosstileError(f"pipeline must be one of {', '.join(PIPELINES)}, not {self.pipeline!r}")
        least = self.scale_bits + 1
        if self.output_bits is not None and not least <= self.output_bits <= LARGEST_BITS:
            raise CrosstileError(f"output_bits must be from {least} to {LARGEST_BITS}, not {self.output_bits}")
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
            if self.pipeline != "none" and self.kernel[axis] != (1,):
                made = [[network.register(term) for term in line] for line in made]
            tile = np.moveaxis(np.array(made, object).reshape(*lines.shape[:-1], -1), -1, axis)
        return list(tile.ravel())

    @cached_property
    def order(self) -> Axes:
        """The axes in the order that takes the fewest bits of adders and selectors."""
        return min(itertools.permutations(range(len(self.kernel))), key=self._cost)

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
    def scale_bits(self) -> int:
        """D, the axes that serve any size above 1: partial sums transformed are 2^D times the convolution."""
        return sum(sizes != (1,) for sizes in self.kernel)

    @property
    def kernels(self) -> list[Axes]:
        """Every combination of sizes that this transform serves, in the order of `kernel`."""
        return list(itertools.product(*self.kernel))

    @property
    def switched_axes(self) -> Axes:
        """The axes of several sizes."""
        return tuple(axis for axis, sizes in enumerate(self.kernel) if len(sizes) > 1)

    @property
    def switch_bits(self) -> Axes:
        """Bits of the switch per axis; 0 where the size is fixed."""
        return tuple((len(sizes) - 1).bit_length() for sizes in self.kernel)

    def switch_word(self, kernel: Axes) -> int:
        """Return the switch for tiles of one of `kernels`, the same for all three transforms.

        Raises `CrosstileError` for sizes that are not served.
        """
        if kernel not in self.kernels:
            raise CrosstileError(f"sizes {kernel} are not among those of kernel {self.kernel}")
        word = offset = 0
        for size, sizes, bits in zip(kernel, self.kernel, self.switch_bits, strict=True):
            word |= sizes.index(size) << offset
            offset += bits
        return word

    def switch_bit(self, axis: int, size: int) -> int:
        """Return the bit of the switch that is high where an axis has this size, which is not its largest."""
        return sum(self.switch_bits[:axis]) + self.kernel[axis].index(size) - 1

    def axis_matrix(self, _axis: int, size: int) -> Integers:
        """Return the matrix along an axis for one of its sizes: (output, input)."""
        return self.matrices[size]

    def matrix(self, kernel: Axes) -> Integers:
        """Return the matrix of one of `kernels` over all axes: (output, input), each axis' rows as they are tabled."""
        return reduce(np.kron, (self.axis_matrix(axis, size) for axis, size in enumerate(kernel)))

    @property
    def textbook_adders(self) -> int:
        """Adders without sharing: the terms of each output less one, for a circuit of its own per matrix."""
        matrices = {(matrix := self.matrix(kernel)).tobytes(): matrix for kernel in self.kernels}
        return sum(int((matrix != 0).sum()) - len(matrix) for matrix in matrices.values())
