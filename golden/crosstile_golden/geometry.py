"""Shapes of convolutions and pools, for any number of spatial axes."""

from dataclasses import dataclass
from math import prod

from .errors import CrosstileError

Axes = tuple[int, ...]


def windows_along_axis(size: int, kernel: int, stride: int, dilation: int, padding: int) -> int:
    """Count the windows along one axis: ⌊(size + padding − (kernel−1)·dilation − 1) / stride⌋ + 1.

    `padding` is the sum of both ends; the result is below 1 where no window fits.
    """
    return (size + padding - (kernel - 1) * dilation - 1) // stride + 1


@dataclass(frozen=True)
class WindowGeometry:
    """A window that slides over the spatial axes of a (channels, *input_size) tensor.

    Every field but `in_channels` is a tuple with one entry per spatial axis, outermost first: (width,),
    (height, width) or (depth, height, width).

    Raises `CrosstileError` for entries out of range, axes that differ in number, or an output with no element.
    """

    in_channels: int
    input_size: Axes
    kernel: Axes
    stride: Axes
    dilation: Axes
    padding_begin: Axes
    padding_end: Axes

    def __post_init__(self) -> None:
        minima = {"input_size": 1, "kernel": 1, "stride": 1, "dilation": 1, "padding_begin": 0, "padding_end": 0}
        if self.in_channels < 1:
            raise CrosstileError(f"in_channels must be 1 or more, not {self.in_channels}")
        for field, least in minima.items():
            values = getattr(self, field)
            if len(values) != self.dimensions:
                raise CrosstileError(f"{field} must have {self.dimensions} entries, not {len(values)}: {values}")
            if min(values) < least:
                raise CrosstileError(f"{field} must be {least} or more on every axis, not {values}")
        if min(self.output_size) < 1:
            raise CrosstileError(
                f"the window {self.kernel} (dilation {self.dilation}) does not fit the input {self.input_size} "
                f"with padding {self.padding_begin} and {self.padding_end}"
            )

    @property
    def dimensions(self) -> int:
        """Number of spatial axes: 1, 2 or 3."""
        return len(self.input_size)

    @property
    def output_size(self) -> Axes:
        """Number of windows along each spatial axis."""
        return tuple(
            windows_along_axis(size, kernel, stride, dilation, begin + end)
            for size, kernel, stride, dilation, begin, end in zip(
                self.input_size, self.kernel, self.stride, self.dilation, self.padding_begin, self.padding_end,
                strict=True,
            )
        )


@dataclass(frozen=True)
class ConvolutionGeometry(WindowGeometry):
    """A convolution of (in_channels, *input_size) by (out_channels, in_channels/groups, *kernel) weights.

    Raises `CrosstileError` where `groups` does not divide both channel counts.
    """

    out_channels: int
    groups: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.out_channels < 1:
            raise CrosstileError(f"out_channels must be 1 or more, not {self.out_channels}")
        if self.groups < 1 or self.in_channels % self.groups or self.out_channels % self.groups:
            raise CrosstileError(
                f"groups must divide {self.in_channels} input and {self.out_channels} output channels, "
                f"not {self.groups}"
            )

    @property
    def weight_shape(self) -> Axes:
        """Shape of the weights: (out_channels, in_channels/groups, *kernel)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    @property
    def macs(self) -> int:
        """Multiply-accumulates per frame, taps in the padding counted as well."""
        return prod(self.weight_shape) * prod(self.output_size)


@dataclass(frozen=True)
class PoolGeometry(WindowGeometry):
    """A pool over each channel alone; `kind` is 'max', 'average' or 'sum' (US 2020/0117986 [0065])."""

    kind: str = "max"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in ("max", "average", "sum"):
            raise CrosstileError(f"kind must be 'max', 'average' or 'sum', not {self.kind!r}")
