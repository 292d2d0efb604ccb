"""A layer on the reuse-grouped engine: how it is cut into macro windows, columns and weights, and how wide sums are."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod

import numpy as np
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import Integers, NumberFormat, signed_bits_for
from crosstile_golden.reuse import outputs_of

from .requantise_plan import RequantisePlan
from .reuse_axis import ReuseAxis
from .reuse_fold import ReuseFold, check_fold

AXES = 3  # every layer runs as a volume; an axis of one pixel takes no gate


@dataclass(frozen=True)
class ReuseLayout:
    """The layer, its fold, and all that follows from them but for the time that it takes: see `ReusePlan`."""

    layer: ConvolutionLayer
    fold: ReuseFold
    halo: bool = True
    latency: int = 1

    def __post_init__(self) -> None:
        name, geometry, fold = f"layer {self.layer.name}:", self.layer.geometry, self.fold
        if geometry.groups > 1:
            raise CrosstileError(
                f"{name} groups must be 1 for the reuse engine, not {geometry.groups}; use the crosspoint engine"
            )
        if self.latency < 1:
            raise CrosstileError(f"{name} latency must be 1 or more, not {self.latency}")
        check_fold(name, geometry, fold)

    @cached_property
    def axes(self) -> tuple[ReuseAxis, ...]:
        """Depth, row and column; axes that the layer has not are of one pixel."""
        geometry = self.layer.geometry
        spans = ((kernel - 1) * step + 1 for kernel, step in zip(geometry.kernel, geometry.dilation, strict=True))
        lengths = map(outputs_of, self.fold.window, spans, geometry.stride)
        own = [ReuseAxis.of(geometry, axis, length, self.halo) for axis, length in enumerate(lengths)]
        return (*[ReuseAxis(1, 1, 1, 1, 0, 1, 1, self.halo)] * (AXES - len(own)), *own)

    # What enters and leaves

    @property
    def lanes_in(self) -> int:
        """Channels of a word of memory."""
        return self.fold.channels

    @property
    def lanes_out(self) -> int:
        """Filters of a beat sent."""
        return self.fold.filters

    @property
    def filter_lanes(self) -> int:
        """Filters of a beat sent."""
        return self.fold.filters

    @property
    def input_format(self) -> NumberFormat:
        """Format of the activations read."""
        return self.layer.input_format

    @property
    def output_format(self) -> NumberFormat:
        """Format of the activations sent."""
        return self.layer.output_format

    @property
    def channel_groups(self) -> int:
        """Words of a pixel."""
        return self.layer.geometry.in_channels // self.fold.channels

    @property
    def filter_groups(self) -> int:
        """Beats of a pixel sent, and turns over the filters."""
        return self.layer.geometry.out_channels // self.fold.filters

    @property
    def frame_words(self) -> int:
        """Words of a feature map: address = pixel · channel groups + channel group, pixels in row-major order."""
        return prod(self.layer.geometry.input_size) * self.channel_groups

    @property
    def multipliers(self) -> int:
        """Multipliers: all taps × channels × filters."""
        return prod(self.layer.geometry.kernel) * self.fold.channels * self.fold.filters

    # Columns, weights and widths

    @cached_property
    def taps(self) -> tuple[Axes, ...]:
        """Kernel positions in row-major order, each (depth, row, column)."""
        return tuple(product(*(range(axis.kernel) for axis in self.axes)))

    @cached_property
    def columns(self) -> tuple[tuple[int, ...], ...]:
        """The taps, by number, that each column sums: those of one reach modulo q along every axis, row-major."""
        reaches = list(product(*(axis.reaches for axis in self.axes)))
        of = [tuple(axis.links[i] for axis, i in zip(self.axes, tap, strict=True)) for tap in self.taps]
        return tuple(tuple(n for n, reach in enumerate(of) if reach == column) for column in reaches)

    @cached_property
    def weight_words(self) -> Integers:
        """Weights as the array reads them: (address, tap, filter lane, channel); channel groups vary fastest."""
        fold, geometry = self.fold, self.layer.geometry
        shape = (self.filter_groups, fold.filters, self.channel_groups, fold.channels, prod(geometry.kernel))
        words = self.layer.weight.reshape(shape).transpose(0, 2, 4, 1, 3)
        return words.reshape(-1, *words.shape[2:])

    @property
    def weight_memory_bits(self) -> int:
        """Bits of weights, each held once."""
        return self.layer.weight.size * self.layer.weight_bits

    @cached_property
    def product_range(self) -> tuple[Integers, Integers]:
        """Least and greatest value of every product, zero included; shapes as `weight_words`."""
        return self._bounds(self.weight_words)

    def _bounds(self, weight: Integers) -> tuple[Integers, Integers]:
        extremes = [weight * 0, *(weight * x for x in (self.input_format.minimum, self.input_format.maximum))]
        return np.minimum.reduce(extremes), np.maximum.reduce(extremes)

    def sum_bits(self, axis: int) -> int:
        """Return the width of sums over the taps along `axis` and all within it; axis 3: of a column's alone."""
        taps = (bound.sum(axis=1).reshape(len(bound), -1) for bound in self._bounds(self.layer.weight))
        low, high = ([bound[:, part].sum(axis=1) for part in self._by_reach(axis)] for bound in taps)
        return signed_bits_for(int(np.min(low)), int(np.max(high)))

    def _by_reach(self, axis: int) -> list[list[int]]:
        """Return the taps, by number, in parts of one reach modulo q along every axis before `axis`."""
        parts: dict[Axes, list[int]] = {}
        for number, tap in enumerate(self.taps):
            outer = tuple(self.axes[n].links[tap[n]] for n in range(axis))
            parts.setdefault(outer, []).append(number)
        return list(parts.values())

    @property
    def total_bits(self) -> int:
        """Width of a whole sum, bias left out."""
        return self.sum_bits(0)

    @property
    def loadable(self) -> bool:
        """Weights are fixed."""
        return False

    @cached_property
    def requantise(self) -> RequantisePlan:
        """The requantisation of the layer's own weights."""
        low, high = (bound.reshape(len(bound), -1).sum(axis=1) for bound in self._bounds(self.layer.weight))
        return RequantisePlan(self.layer, (low, high))
