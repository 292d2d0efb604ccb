"""Folds of the reuse-grouped engine: how much of a layer is computed in one cycle, and how large a macro window is."""

from dataclasses import dataclass
from itertools import product

from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes, ConvolutionGeometry

from .fold import divisors


@dataclass(frozen=True)
class ReuseFold:
    """What one cycle computes: all taps of the kernel × `channels` × `filters` products.

    channels   a divisor of the input channels: those of a word of memory
    filters    a divisor of the output channels: those of a beat sent
    window     p, the inputs of a macro window along each axis: see `legal_windows`
    """

    channels: int
    filters: int
    window: Axes


def legal_windows(geometry: ConvolutionGeometry) -> tuple[tuple[int, ...], ...]:
    """Return per axis every legal p, ascending: p = (q − 1)·stride + span, for 1 ≤ q ≤ outputs.

    span = (kernel − 1)·dilation + 1: the first is the sliding window itself, the last the whole padded axis.
    """
    fields = zip(geometry.kernel, geometry.stride, geometry.dilation, geometry.output_size, strict=True)
    legal = []
    for kernel, stride, dilation, outputs in fields:
        span = (kernel - 1) * dilation + 1
        legal.append(tuple((q - 1) * stride + span for q in range(1, outputs + 1)))
    return tuple(legal)


def reuse_folds(geometry: ConvolutionGeometry) -> list[ReuseFold]:
    """Return every fold whose macro window is the whole padded frame.

    No other of q > J takes fewer cycles; the drain of q ≤ J is shorter, that of q = 1 nothing.
    """
    whole = tuple(sizes[-1] for sizes in legal_windows(geometry))
    cuts = product(divisors(geometry.in_channels), divisors(geometry.out_channels))
    return [ReuseFold(channels, filters, whole) for channels, filters in cuts]


def check_fold(name: str, geometry: ConvolutionGeometry, fold: ReuseFold) -> None:
    """Raise `CrosstileError`, which begins with `name`, for a fold that is not legal for a layer."""
    for what, cut, whole in (
        ("channels", fold.channels, geometry.in_channels), ("filters", fold.filters, geometry.out_channels),
    ):
        if cut < 1 or whole % cut:
            raise CrosstileError(f"{name} fold's {what} must divide {whole}, not {cut}")
    if len(fold.window) != geometry.dimensions:
        raise CrosstileError(f"{name} window must have {geometry.dimensions} entries, not {fold.window}")
    for axis, (inputs, legal) in enumerate(zip(fold.window, legal_windows(geometry), strict=True)):
        if inputs not in legal:
            step = f" in steps of {geometry.stride[axis]}" if geometry.stride[axis] > 1 else ""
            raise CrosstileError(
                f"{name} window on spatial axis {axis} must be from {legal[0]} to {legal[-1]}{step}, not {inputs}"
            )
