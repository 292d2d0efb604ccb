"""The numbers of a Winograd engine: its weights as they are kept, and every width that follows from them."""

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from crosstile_golden.geometry import Axes
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import Integers, signed_bits_for
from crosstile_golden.winograd import TILE, transform_weights

from .winograd_fold import TileFold
from .winograd_program import AxisProgram
from .winograd_transform_plan import ActivationTransformPlan, PartialSumTransformPlan, WeightTransformPlan

WEIGHT_STORES = ("transformed", "raw")


@dataclass(frozen=True)
class WinogradNumbers:
    """Weights, transforms and widths of a layer's tiles, proved from the weights themselves.

    weights   kept "transformed", or "raw" and transformed on their way to the multipliers
    """

    layer: ConvolutionLayer
    fold: TileFold
    programs: tuple[AxisProgram, ...]
    weights: str

    @property
    def kernel(self) -> tuple[Axes, ...]:
        """Sizes that the tiles' kernels have along each axis."""
        return tuple(program.sizes for program in self.programs)

    @property
    def positions(self) -> int:
        """Multipliers of one product of tiles: 4^D."""
        return TILE ** len(self.programs)

    @property
    def combinations(self) -> list[tuple[int, ...]]:
        """The parts of the kernel: along each axis one of that axis' parts, row-major."""
        return list(itertools.product(*(range(len(program.split.parts)) for program in self.programs)))

    def sizes_of(self, parts: tuple[int, ...]) -> Axes:
        """Return the sizes of a part along each axis."""
        return tuple(
            program.split.parts[part].size for program, part in zip(self.programs, parts, strict=True)
        )

    @property
    def scale_bits(self) -> int:
        """D: partial sums come out 2^D times too large, and D wires are left out."""
        return sum(max(sizes) > 1 for sizes in self.kernel)

    @property
    def channel_groups(self) -> int:
        """Cycles of a pass: the channels of a group, `fold.channels` at a time."""
        geometry = self.layer.geometry
        return geometry.in_channels // geometry.groups // self.fold.channels

    @property
    def filter_groups(self) -> int:
        """Passes of a tile: all filters, `fold.filter_lanes` at a time."""
        return self.layer.geometry.out_channels // self.fold.filter_lanes

    # The transforms

    @cached_property
    def activation_transform(self) -> ActivationTransformPlan:
        """Bᵀ."""
        return ActivationTransformPlan(self.kernel, self.layer.input_format)

    @cached_property
    def weight_transform(self) -> WeightTransformPlan:
        """G, where weights are kept raw."""
        symmetric = int(self.layer.weight.min()) > -(1 << self.layer.weight_bits - 1)
        return WeightTransformPlan(self.kernel, self.layer.weight_bits, symmetric, "adder")

    @cached_property
    def partial_sum_transform(self) -> PartialSumTransformPlan:
        """Aᵀ, no wider than what is kept of its results."""
        low, high = (bound.min(axis=0) if least else bound.max(axis=0)
                     for least, bound in zip((True, False), self._sum_range, strict=True))  # fmt: skip
        ends = []
        for bits, least, greatest in zip(self.sum_bits, low.tolist(), high.tolist(), strict=True):
            whole = signed_bits_for(least, greatest) <= bits and least < greatest
            ends.append((least, greatest) if whole else (-(1 << bits - 1), (1 << bits - 1) - 1))
        return PartialSumTransformPlan(self.kernel, tuple(ends), self.tile_bits + self.scale_bits, "adder")

    @property
    def axis_links(self) -> tuple[dict[int, Axes], ...]:
        """Per axis and size the links of a tile that hold its outputs, in order."""
        transform = self.partial_sum_transform
        return tuple(
            {size: transform.axis_links(axis, size) for size in sizes} for axis, sizes in enumerate(self.kernel)
        )

    # Weights and widths

    @cached_property
    def raw_weights(self) -> list[Integers]:
        """The weights of each of `combinations`: (filter, channel of its group, *sizes)."""
        weight = self.layer.weight
        parts = []
        for combination in self.combinations:
            taps = []
            for program, index in zip(self.programs, combination, strict=True):
                part, step = program.split.parts[index], program.split.step
                taps.append(slice(part.tap, part.tap + part.size * step, step))
            parts.append(weight[(slice(None), slice(None), *taps)])
        return parts

    def _words(self, weights: Integers) -> Integers:
        """Return (combination, filter, channel, place) as the array reads them: (address, lane, channel, place)."""
        fold, count = self.fold, len(self.combinations)
        split = weights.reshape(
            count, self.filter_groups, fold.filter_lanes, self.channel_groups, fold.channels, weights.shape[-1]
        )
        return split.transpose(0, 1, 3, 2, 4, 5).reshape(-1, fold.filter_lanes, fold.channels, weights.shape[-1])

    @cached_property
    def weight_words(self) -> Integers:
        """Transformed weights: (address, filter lane, channel, position).

        address = (combination · filter groups + filter group) · channel groups + channel group
        """
        parts = zip(self.raw_weights, self.combinations, strict=True)
        made = [transform_weights(weight, self.sizes_of(parts)) for weight, parts in parts]
        return self._words(np.stack([part.reshape(*part.shape[:2], -1) for part in made]))

    @cached_property
    def raw_words(self) -> Integers:
        """Raw weights: (address, filter lane, channel, tap), with zeros for the taps of smaller parts."""
        taps = self.weight_transform.input_shape
        whole = np.zeros((len(self.combinations), *self.layer.weight.shape[:2], *taps), np.int64)
        for index, part in enumerate(self.raw_weights):
            places: tuple[slice, ...] = tuple(map(slice, part.shape))
            whole[index][places] = part
        return self._words(whole.reshape(*whole.shape[:3], -1))

    @cached_property
    def weight_bits(self) -> Axes:
        """Width of a transformed weight at each position."""
        if self.weights == "raw":
            return tuple(term.bits for term in self.weight_transform.outputs)
        flat = self.weight_words.reshape(-1, self.positions)
        ends = zip(flat.min(axis=0).tolist(), flat.max(axis=0).tolist(), strict=True)
        return tuple(signed_bits_for(*end) for end in ends)

    @cached_property
    def product_range(self) -> tuple[Integers, Integers]:
        """Least and greatest product: (address, filter lane, channel, position)."""
        terms = self.activation_transform.outputs
        low, high = np.array([term.low for term in terms]), np.array([term.high for term in terms])
        corners = self.weight_words * low, self.weight_words * high
        return np.minimum(*corners), np.maximum(*corners)

    @cached_property
    def _sum_range(self) -> tuple[Integers, Integers]:
        """Least and greatest partial sum: (combination · filter group · lane, position)."""
        low, high = (
            bound.reshape(-1, self.channel_groups, self.fold.filter_lanes, self.fold.channels, self.positions)
            .sum(axis=(1, 3)).reshape(-1, self.positions)
            for bound in self.product_range
        )
        return low, high

    @cached_property
    def total_range(self) -> tuple[Integers, Integers]:
        """Least and greatest whole sum of each filter, without the bias."""
        reads, taps = self.layer.input_format, self.layer.weight.reshape(len(self.layer.weight), -1)
        corners = taps * reads.minimum, taps * reads.maximum
        return np.minimum(*corners).sum(axis=1), np.maximum(*corners).sum(axis=1)

    @property
    def tile_bits(self) -> int:
        """Width of a partial sum of an output: that of the whole, which it is right modulo."""
        low, high = self.total_range
        return signed_bits_for(int(low.min()), int(high.max()))

    @cached_property
    def sum_bits(self) -> Axes:
        """Width of the partial sum at each position: what it needs, or all that is kept of the results."""
        low, high = self._sum_range
        ends = zip(low.min(axis=0).tolist(), high.max(axis=0).tolist(), strict=True)
        return tuple(min(signed_bits_for(*end), self.tile_bits + self.scale_bits) for end in ends)
