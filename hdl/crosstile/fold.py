"""Folds: how much of a layer is computed in one cycle, and how much in turn."""

from dataclasses import dataclass
from itertools import product
from math import ceil, prod

from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import ConvolutionGeometry

BLOCK_DEPTH, BLOCK_BITS = 8, 8192  # from these on, weights ask for block RAM


@dataclass(frozen=True)
class PlaneGeometry:
    """A 2D convolution as an engine runs it: `ConvolutionGeometry` with the axes spelled out.

    A 1D convolution is one of a single row. A convolution whose kernel covers its whole unpadded input
    (a fully connected layer) is one of a single column: then every activation meets its kernel row as it
    arrives, and nothing is kept but one integrator per filter.

    Raises `CrosstileError` for what the engine does not run: 3 spatial axes, padding that leaves an output
    without any activation.
    """

    groups: int
    in_channels: int
    out_channels: int
    height: int
    width: int
    kernel_height: int
    kernel_width: int
    row_stride: int
    column_stride: int
    row_dilation: int
    column_dilation: int
    padding_top: int
    padding_left: int
    out_height: int
    out_width: int

    @staticmethod
    def of(geometry: ConvolutionGeometry, name: str) -> "PlaneGeometry":
        """Return the plane form of a layer; `name` is for the messages."""
        if geometry.kernel == geometry.input_size and not any(geometry.padding_begin + geometry.padding_end):
            positions = prod(geometry.kernel)
            channels = geometry.groups, geometry.in_channels, geometry.out_channels
            return PlaneGeometry(*channels, positions, 1, positions, 1, 1, 1, 1, 1, 0, 0, 1, 1)
        if geometry.dimensions > 2:
            raise CrosstileError(
                f"layer {name}: {geometry.dimensions} spatial axes; the crosspoint engine runs 1 or 2"
            )
        for axis in range(geometry.dimensions):
            check_padding(geometry, axis, name)
        height, width = (1, *geometry.input_size)[-2:]
        kernel_height, kernel_width = (1, *geometry.kernel)[-2:]
        row_stride, column_stride = (1, *geometry.stride)[-2:]
        row_dilation, column_dilation = (1, *geometry.dilation)[-2:]
        padding_top, padding_left = (0, *geometry.padding_begin)[-2:]
        out_height, out_width = (1, *geometry.output_size)[-2:]
        return PlaneGeometry(
            geometry.groups, geometry.in_channels, geometry.out_channels, height, width, kernel_height, kernel_width,
            row_stride, column_stride, row_dilation, column_dilation, padding_top, padding_left,
            out_height, out_width,
        )

    @property
    def group_channels(self) -> int:
        """Input channels that one filter sees."""
        return self.in_channels // self.groups

    @property
    def group_filters(self) -> int:
        """Filters that see the same input channels."""
        return self.out_channels // self.groups

    @property
    def macs(self) -> int:
        """Multiply-accumulates per frame, taps in the padding counted as well."""
        return (
            self.group_channels * self.kernel_height * self.kernel_width
            * self.out_channels * self.out_height * self.out_width
        )


def taps_within(size: int, outputs: int, kernel: int, stride: int, dilation: int, padding: int) -> int:
    """Count along one axis the taps of all outputs that lie within the input."""
    return sum(
        0 <= output * stride - padding + tap * dilation < size for output in range(outputs) for tap in range(kernel)
    )


def useful_macs(geometry: ConvolutionGeometry) -> int:
    """Return the multiply-accumulates per frame whose tap is an activation, not padding."""
    axes = zip(
        geometry.input_size, geometry.output_size, geometry.kernel, geometry.stride, geometry.dilation,
        geometry.padding_begin, strict=True,
    )
    taps = prod(taps_within(*axis) for axis in axes)
    return geometry.in_channels // geometry.groups * geometry.out_channels * taps


def check_padding(geometry: ConvolutionGeometry, axis: int, name: str) -> None:
    """Refuse an axis on which some output would see padding only."""
    size, stride, dilation = geometry.input_size[axis], geometry.stride[axis], geometry.dilation[axis]
    begin, end = geometry.padding_begin[axis], geometry.padding_end[axis]
    for output in range(geometry.output_size[axis]):
        taps = range(output * stride - begin, output * stride - begin + geometry.kernel[axis] * dilation, dilation)
        if not any(0 <= tap < size for tap in taps):
            raise CrosstileError(
                f"layer {name}: padding {begin} and {end} on spatial axis {axis} leaves output {output} without "
                f"any activation; every output must see at least one of the {size}"
            )


@dataclass(frozen=True)
class Fold:
    """What one cycle computes: `kernel_rows` × `kernel_columns` × `channels` × `filters` × `groups` products.

    kernel_rows     1, or the whole kernel height (stride and dilation 1 there): rows in turn or together
    kernel_columns  1, or the whole kernel width
    channels        a divisor of the input channels of a group
    filters         a divisor of the output channels of a group
    groups          a divisor of the groups; more than 1 only with all channels and filters of a group
    """

    kernel_rows: int
    kernel_columns: int
    channels: int
    filters: int
    groups: int = 1

    @property
    def multipliers(self) -> int:
        """Multipliers in the array."""
        return self.kernel_rows * self.kernel_columns * self.channels * self.lanes_out

    @property
    def lanes_in(self) -> int:
        """Channels that a beat brings."""
        return self.groups * self.channels

    @property
    def lanes_out(self) -> int:
        """Filters that a beat sends."""
        return self.groups * self.filters


def divisors(number: int) -> list[int]:
    """Return every divisor, ascending."""
    return [candidate for candidate in range(1, number + 1) if number % candidate == 0]


def legal_folds(plane: PlaneGeometry) -> list[Fold]:
    """Return every fold that the crosspoint engine can run for a layer."""
    whole = (plane.group_channels, plane.group_filters)
    within = [(*cut, 1) for cut in product(divisors(whole[0]), divisors(whole[1]))]
    across = [(*whole, groups) for groups in divisors(plane.groups) if groups > 1]
    return [
        Fold(kernel_rows, kernel_columns, *cut)
        for kernel_rows in sorted({1, plane.kernel_height if rows_may_run_together(plane) else 1})
        for kernel_columns in sorted({1, plane.kernel_width})
        for cut in within + across
    ]


def rows_may_run_together(plane: PlaneGeometry) -> bool:
    """Tell whether every activation row meets every kernel row, so that all of them stay busy at once."""
    return plane.row_stride == 1 and plane.row_dilation == 1 and plane.out_height > 1


def banks_needed(plane: PlaneGeometry) -> int:
    """Count the output rows open at once: ⌈((k−1)·d+1)/s⌉, or all there are (US 2020/0117986 [0066])."""
    span = (plane.kernel_height - 1) * plane.row_dilation + 1
    return min(plane.out_height, ceil(span / plane.row_stride))


def weights_in_blocks(depth: int, width: int) -> bool:
    """Return whether `depth` words of weights, `width` bits each, go to block RAM.

    One address drives them all: a large table in LUTs would spread it over the whole device.
    """
    return depth >= BLOCK_DEPTH and depth * width >= BLOCK_BITS
