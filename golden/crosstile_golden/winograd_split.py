"""Any convolution as a sum of small ones: kernels of 3, 2 and 1, stride 1, no dilation.

Along an axis with stride s and dilation d, output o adds tap t times input o·s + t·d. Let g = gcd(s, d).

    phase       the input at o·s + t·d lies on the sequence of every s-th input that starts at t·d mod s, at its
                place o + ⌊t·d / s⌋. Taps t, t + s/g, t + 2·s/g ... share a phase, their places d/g apart.
    interleave  so outputs o, o + d/g, o + 2·d/g ... are a convolution of their own, without dilation.
    part        its taps are cut into runs of 3, 2 and 1. Each run is a convolution that starts at an offset and adds
                to the same outputs.

3 taps at stride 2 are 2 taps on the even inputs and 1 on the odd ones; 5 taps are 3 + 2, the second 3 inputs later.
Parts meet in the integrators of their output (US 2020/0117986 [0062] steers them there).
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import gcd, prod

import numpy as np

from .errors import CrosstileError
from .geometry import Axes, ConvolutionGeometry
from .numbers import Integers
from .windows import check_shape
from .winograd import TILE, outputs_along, winograd_convolution

SIZES = (3, 2, 1)
"""Kernels that a tile takes: F(2,3), F(3,2), and 1 tap by the multipliers directly."""


@dataclass(frozen=True)
class Part:
    """A run of taps along one axis: Y[o] += Σ_{u < size} W[tap + u·step] · P[o + offset + u·spacing].

    offset   place of its first input on its phase's sequence P, for output 0; the padding not counted
    phase    P[n] = X[n·stride + phase − padding]
    size     its taps: 3, 2 or 1
    tap      the first of them in the kernel; `step` and `spacing` are the axis' (`AxisSplit`)
    """

    offset: int
    phase: int
    size: int
    tap: int


@dataclass(frozen=True)
class AxisSplit:
    """One axis of a convolution in parts, chosen to take the fewest multiplications, then the fewest parts.

    kernel, stride, dilation   1 or more
    outputs                    along the axis; None stands for so many that the last tile does not count

    Raises `CrosstileError` for a number below 1.
    """

    kernel: int
    stride: int = 1
    dilation: int = 1
    outputs: int | None = None

    def __post_init__(self) -> None:
        for name in ("kernel", "stride", "dilation", "outputs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise CrosstileError(f"{name} of a split axis must be 1 or more, not {value}")

    @property
    def step(self) -> int:
        """Taps from one tap of a part to the next: s / gcd(s, d)."""
        return self.stride // gcd(self.stride, self.dilation)

    @property
    def spacing(self) -> int:
        """Places from one input of a part to the next, and the interleaved runs of outputs: d / gcd(s, d)."""
        return self.dilation // gcd(self.stride, self.dilation)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts, phase by phase; every tap is in one of them."""
        found = []
        for first in range(min(self.step, self.kernel)):
            tap = first
            for size in self._sizes(len(range(first, self.kernel, self.step))):
                place, phase = divmod(tap * self.dilation, self.stride)
                found.append(Part(place, phase, size, tap))
                tap += size * self.step
        return tuple(found)

    def _sizes(self, taps: int) -> Axes:
        """Return the cheapest sizes that add up to so many taps, the largest first."""
        choices = []
        for threes, twos in itertools.product(range(taps // 3 + 1), range(taps // 2 + 1)):
            ones = taps - 3 * threes - 2 * twos
            if ones >= 0:
                choices.append((3,) * threes + (2,) * twos + (1,) * ones)
        return min(choices, key=lambda sizes: (sum(map(self._cost, sizes)), len(sizes), -sizes[0]))

    def _cost(self, size: int) -> Fraction:
        """Return the multiplications of a part per output, or for all outputs where their number is known."""
        if self.outputs is None:
            return Fraction(TILE, outputs_along(size))
        runs = (len(range(start, self.outputs, self.spacing)) for start in range(self.spacing))
        return Fraction(sum(TILE * -(-run // outputs_along(size)) for run in runs))

    @property
    def multiplications(self) -> Fraction:
        """Multiplications per output, or for all `outputs` (tiles not full count in full)."""
        return sum((self._cost(part.size) for part in self.parts), Fraction())


def split(geometry: ConvolutionGeometry) -> tuple[AxisSplit, ...]:
    """Return the split of every axis; the parts of the whole are the product of the axes' parts.

    Multiplications multiply likewise, so what is best for each axis is best for all.
    """
    fields = zip(geometry.kernel, geometry.stride, geometry.dilation, geometry.output_size, strict=True)
    return tuple(AxisSplit(*axis) for axis in fields)


def split_multiplications(geometry: ConvolutionGeometry) -> int:
    """Return the multiplications of a frame when it is convolved through its parts, all channels and filters."""
    axes = prod((axis.multiplications for axis in split(geometry)), start=Fraction(1))
    return int(axes) * prod(geometry.weight_shape[:2])


def split_convolution(
    frames: Integers, weight: Integers, geometry: ConvolutionGeometry, splits: Sequence[AxisSplit] = ()
) -> Integers:
    """Convolve through the parts: equals `convolution.convolution`, bit for bit.

    frames   int64, shape (frames, in_channels, *input_size)
    weight   int64, shape (out_channels, in_channels/groups, *kernel)
    splits   one per axis, if not those of `split`
    returns  int64, shape (frames, out_channels, *output_size)

    Raises `CrosstileError` for shapes that are not the geometry's.
    """
    check_shape(frames, geometry)
    if weight.shape != geometry.weight_shape:
        raise CrosstileError(f"weight must have shape {geometry.weight_shape}, not {weight.shape}")
    axes = tuple(splits) or split(geometry)
    result = np.zeros((len(frames), geometry.out_channels, *geometry.output_size), np.int64)
    for parts in itertools.product(*(axis.parts for axis in axes)):
        chosen = zip(axes, parts, strict=True)
        taps = [slice(part.tap, part.tap + part.size * axis.step, axis.step) for axis, part in chosen]
        part_weight = weight[(slice(None), slice(None), *taps)]
        for starts in itertools.product(*(range(axis.spacing) for axis in axes)):
            run = [slice(start, None, axis.spacing) for start, axis in zip(starts, axes, strict=True)]
            target = result[(slice(None), slice(None), *run)]
            if target.size:
                inputs = _gathered(frames, geometry, axes, parts, starts, target.shape[2:])
                target += _grouped(inputs, part_weight, geometry.groups)
    return result


def _gathered(
    frames: Integers, geometry: ConvolutionGeometry, axes: Sequence[AxisSplit], parts: Sequence[Part],
    starts: Axes, outputs: Axes,
) -> Integers:
    """Return the inputs that a part needs for a run of outputs, side by side; zeros stand for the padding."""
    for axis, (cut, part, start, count) in enumerate(zip(axes, parts, starts, outputs, strict=True)):
        places = start + part.offset + cut.spacing * np.arange(count + part.size - 1)
        index = places * cut.stride + part.phase - geometry.padding_begin[axis]
        size = geometry.input_size[axis]
        inside = ((index >= 0) & (index < size)).reshape(-1, *[1] * (len(axes) - axis - 1))
        frames = np.take(frames, np.clip(index, 0, size - 1), axis=2 + axis) * inside
    return frames


def _grouped(inputs: Integers, weight: Integers, groups: int) -> Integers:
    pairs: Iterator[tuple[Integers, Integers]] = zip(
        np.split(inputs, groups, axis=1), np.split(weight, groups, axis=0), strict=True
    )
    return np.concatenate([winograd_convolution(*pair) for pair in pairs], axis=1)
