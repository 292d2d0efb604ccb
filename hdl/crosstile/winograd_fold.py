"""Folds of a Winograd engine: how many tiles it multiplies in one cycle, and how many in turn."""

from collections.abc import Iterator
from dataclasses import dataclass

from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import ConvolutionGeometry
from crosstile_golden.winograd import TILE

from .fold import check_padding, divisors


@dataclass(frozen=True)
class TileFold:
    """What one cycle computes: `channels` × `filters` × `groups` products of tiles, 4 multipliers per axis each.

    channels   a divisor of the input channels of a group
    filters    a divisor of the output channels of a group
    groups     a divisor of the groups; more than 1 only with all channels and filters of a group
    lanes      tiles taken and transformed at once: a divisor of channels · groups
    """

    channels: int
    filters: int
    groups: int = 1
    lanes: int = 1

    @property
    def operands(self) -> int:
        """Tiles of activations that a cycle multiplies."""
        return self.channels * self.groups

    @property
    def filter_lanes(self) -> int:
        """Filters that a beat sends."""
        return self.filters * self.groups

    @property
    def products(self) -> int:
        """Products of tiles in a cycle."""
        return self.channels * self.filter_lanes


def legal_tile_folds(geometry: ConvolutionGeometry) -> Iterator[TileFold]:
    """Yield every fold that a Winograd engine can run for a layer."""
    channels, filters = geometry.in_channels // geometry.groups, geometry.out_channels // geometry.groups
    within = [(own, made, 1) for own in divisors(channels) for made in divisors(filters)]
    across = [(channels, filters, groups) for groups in divisors(geometry.groups) if groups > 1]
    for cut in within + across:
        for lanes in divisors(cut[0] * cut[2]):
            yield TileFold(*cut, lanes)


def check_winograd(geometry: ConvolutionGeometry, name: str) -> None:
    """Raise `CrosstileError` for a layer whose tiles would save nothing, or whose padding is not legal."""
    if geometry.kernel == geometry.input_size and not any(geometry.padding_begin + geometry.padding_end):
        raise CrosstileError(f"layer {name}: kernel {geometry.kernel} covers its whole input; a Winograd engine needs "
                             f"tiles of {TILE}, use crosspoint")
    if max(geometry.kernel) == 1:
        raise CrosstileError(
            f"layer {name}: kernel {geometry.kernel}; a Winograd engine needs 2 taps or more along some axis, "
            "use crosspoint"
        )
    for axis in range(geometry.dimensions):
        check_padding(geometry, axis, name)


def runs_winograd(geometry: ConvolutionGeometry, name: str) -> bool:
    """Tell whether `check_winograd` lets the layer pass."""
    try:
        check_winograd(geometry, name)
    except CrosstileError:
        return False
    return True
