"""The Winograd engine gives for every tile what a plain convolution of it gives, in the cycles predicted."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from crosstile.winograd_fold import TileFold, legal_tile_folds
from crosstile.winograd_plan import WinogradPlan
from crosstile_golden.errors import CrosstileError

from .bench import INT8, STALLS, convolution
from .tiles import prove_tiles

LAYERS: dict[str, Any] = {
    "1d k3": ((4, 6, (9,), (3,)), {"begin": (1,), "end": (1,)}),
    "1d k2": ((3, 4, (8,), (2,)), {}),
    "1d k5": ((2, 4, (12,), (5,)), {"begin": (2,), "end": (2,)}),
    "1d k3 stride 2": ((2, 4, (13,), (3,)), {"stride": (2,), "begin": (1,)}),
    "1d k3 dilation 2": ((2, 2, (11,), (3,)), {"dilation": (2,)}),
    "2d 3x3": ((4, 4, (6, 7), (3, 3)), {"begin": (1, 1), "end": (1, 1)}),
    "2d 2x2": ((2, 4, (5, 6), (2, 2)), {}),
    "2d 3x2": ((2, 2, (6, 6), (3, 2)), {"begin": (1, 0), "end": (1, 1)}),
    "2d 5x5": ((2, 2, (8, 8), (5, 5)), {"begin": (2, 2), "end": (2, 2)}),
    "2d stride 2": ((2, 2, (9, 9), (3, 3)), {"stride": (2, 2), "begin": (1, 1), "end": (1, 1)}),
    "2d 1x3": ((2, 2, (5, 8), (1, 3)), {}),
    "2d depthwise": ((4, 4, (5, 6), (3, 3)), {"groups": 4}),
    "2d groups": ((6, 4, (5, 4), (3, 3)), {"groups": 2}),
    "3d 3x3x3": ((2, 2, (4, 5, 4), (3, 3, 3)), {}),
    "3d 2x3x2": ((1, 2, (4, 4, 5), (2, 3, 2)), {}),
}


def folds_to_try(layer: Any) -> list[TileFold]:
    """Return the smallest, the largest and two folds between."""
    folds = sorted(legal_tile_folds(layer.geometry), key=lambda fold: (fold.products, fold.lanes))
    return list(dict.fromkeys([folds[0], folds[len(folds) // 3], folds[2 * len(folds) // 3], folds[-1]]))


@pytest.mark.parametrize("weights", ["transformed", "raw"])
@pytest.mark.parametrize("name", LAYERS)
def test_tiles_are_convolved_exactly_in_the_predicted_cycles(name: str, weights: str) -> None:
    positional, settings = LAYERS[name]
    layer = convolution(*positional, **settings, seed=3)
    folds = folds_to_try(layer)
    for fold in folds if weights == "transformed" else folds[1:2]:
        prove_tiles(WinogradPlan(layer, fold, weights))


@pytest.mark.parametrize("channels", [4, 16])
def test_weights_in_block_ram_come_a_cycle_later_and_meet_their_tiles(channels: int) -> None:
    """Products are added up over several cycles, or over none."""
    plan = WinogradPlan(convolution(16, 16, (7,), (3,), begin=(1,), end=(1,), seed=4), TileFold(channels, 2))
    assert (plan.weights_in_blocks, plan.weight_cycles, plan.gather_cycles) == (True, 1, channels == 4)
    prove_tiles(plan)


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("reset_at", [None, 0, 37])
def test_stalls_and_reset_lose_nothing(stall: str, reset_at: int | None) -> None:
    layer = convolution(4, 4, (6, 6), (5, 3), begin=(2, 1), end=(2, 1), seed=2)
    prove_tiles(WinogradPlan(layer, TileFold(2, 2, 1, 1)), stall=stall, seed=5, reset_at=reset_at)


@pytest.mark.parametrize("bits", [4, 6, 12, 16])
def test_operands_of_every_width_are_exact(bits: int) -> None:
    formats = replace(INT8, bits=bits), replace(INT8, bits=bits, signed=False)
    for reads in formats:
        layer = convolution(4, 2, (6, 6), (3, 3), weight_bits=bits, reads=reads, seed=bits)
        prove_tiles(WinogradPlan(layer, TileFold(2, 1), "transformed"))
        prove_tiles(WinogradPlan(layer, TileFold(2, 1), "raw"))


@pytest.mark.parametrize("weights", ["transformed", "raw"])
def test_positions_that_are_never_negative_are_as_exact(weights: str) -> None:
    layer = convolution(1, 2, (4, 5), (2,) * 2, seed=1)
    layer.weight[...] = np.array([[[[-21, 94], [118, -55]]], [[[42, 71], [36, 106]]]])
    prove_tiles(WinogradPlan(layer, TileFold(1, 1), weights))
    layer.weight[...] = abs(layer.weight)
    prove_tiles(WinogradPlan(layer, TileFold(1, 2), weights))


@pytest.mark.parametrize(
    ("fold", "weights", "text"),
    [
        (TileFold(3, 1), "transformed", "channels must divide 4, filters 4, groups 1 with all"),
        (TileFold(2, 1, 1, 4), "transformed", "lanes the channels · groups"),
        (TileFold(2, 1), "squashed", "weights must be one of transformed, raw, not 'squashed'"),
    ],
)
def test_what_is_not_legal_is_refused(fold: TileFold, weights: str, text: str) -> None:
    layer = convolution(4, 4, (6, 6), (3, 3), name="conv1")
    with pytest.raises(CrosstileError, match="layer conv1") as error:
        WinogradPlan(layer, fold, weights)
    assert text in str(error.value)


@pytest.mark.parametrize(("size", "kernel"), [((4, 4), (4, 4)), ((4, 4), (1, 1))])
def test_layers_without_tiles_are_refused(size: tuple[int, int], kernel: tuple[int, int]) -> None:
    with pytest.raises(CrosstileError, match="use crosspoint"):
        WinogradPlan(convolution(2, 2, size, kernel), TileFold(1, 1))
