"""Networks to prove: drawn at random from a seed, and one with every kind of stage."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import replace
from math import log2, prod

import numpy as np
from crosstile.layer_plan import LayerPlan, PoolingPlan, convolution_plans
from crosstile.mapper import Options, map_network
from crosstile.network_plan import NetworkPlan
from crosstile_golden.activation import NONE, RELU
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes, ConvolutionGeometry, PoolGeometry
from crosstile_golden.network import ConvolutionLayer, IntegerNetwork, Layer, PoolLayer
from crosstile_golden.numbers import NumberFormat

SEEDS = tuple(range(11, 19))
MOST_CYCLES = 300


def seeds() -> Sequence[int]:
    """Return the seeds to run: `CROSSTILE_SEED`, one number, replays one network alone."""
    chosen = os.environ.get("CROSSTILE_SEED")
    return SEEDS if chosen is None else (int(chosen),)


def convolution(
    name: str, geometry: ConvolutionGeometry, formats: tuple[NumberFormat, NumberFormat], weight_bits: int,
    relu: bool, seed: int,
) -> ConvolutionLayer:
    """Return a layer of random weights, whose shifts spread its sums over the output format and beyond."""
    random_numbers = np.random.default_rng(seed)
    largest = 2 ** (weight_bits - 1) - 1
    weight = random_numbers.integers(-largest, largest + 1, geometry.weight_shape)
    spread = prod(geometry.weight_shape[1:]) ** 0.5 * largest * 2 ** formats[0].bits / 3
    shift = round(log2(spread)) - formats[1].bits + random_numbers.integers(0, 3, geometry.out_channels)
    bias = random_numbers.integers(-int(spread), int(spread) + 1, geometry.out_channels)
    return ConvolutionLayer(name, geometry, weight, bias, shift, weight_bits, *formats, RELU if relu else NONE)


def network(name: str, layers: Sequence[Layer]) -> IntegerNetwork:
    """Return a network of these layers; its scales are 1."""
    first, last = layers[0], layers[-1]
    shape = (first.geometry.in_channels, *first.geometry.input_size)
    return IntegerNetwork(name, shape, first.input_format, 1.0, tuple(layers), 1.0, last.output_shape, "shift")


def unpadded(
    channels: int, size: Axes, kernel: Axes, filters: int, padding: int = 0
) -> ConvolutionGeometry:
    """Return a convolution of stride 1, padded alike at both ends."""
    ones, pads = (1,) * len(size), (padding,) * len(size)
    return ConvolutionGeometry(channels, size, kernel, ones, ones, pads, pads, filters)


def every_stage() -> NetworkPlan:
    """Return a mapped network: convolution, max pool, convolution, average pool, fully connected."""
    image, hidden, logits = NumberFormat(8, False), NumberFormat(8, False), NumberFormat(8, True)
    two, ones, none = (2, 2), (1, 1), (0, 0)
    layers: list[Layer] = [
        convolution("edges", unpadded(1, (8, 8), (3, 3), 4, padding=1), (image, hidden), 8, True, 1),
        PoolLayer("largest", PoolGeometry(4, (8, 8), two, two, ones, none, none, "max"), 0, hidden),
        convolution("shapes", unpadded(4, (4, 4), (3, 3), 6, padding=1), (hidden, hidden), 8, True, 2),
        PoolLayer("mean", PoolGeometry(6, (4, 4), two, two, ones, none, none, "average"), 2, hidden),
        convolution("scores", unpadded(6, (2, 2), (2, 2), 5), (hidden, logits), 8, False, 3),
    ]
    return map_network(network("every_stage", layers), multipliers=24)


def one_layer() -> NetworkPlan:
    """Return a mapped network of one small padded convolution, whose filters differ in their shifts."""
    image, maps = NumberFormat(8, False), NumberFormat(8, True)
    layer = convolution("edges", unpadded(2, (4, 4), (3, 3), 4, padding=1), (image, maps), 8, False, 5)
    return map_network(network("one_layer", [layer]), 6, options=Options(architectures=("steered",)))


def random_plan(seed: int) -> NetworkPlan:
    """Return one to three random stages, on random folds, with queues of random depth; small ones only."""
    dice = random.Random(seed)
    while True:
        plan = _draw(dice, f"seed_{seed}")
        if plan.cycles_per_frame <= MOST_CYCLES:
            return plan


def _draw(dice: random.Random, name: str) -> NetworkPlan:
    layers: list[Layer] = [_random_convolution(dice, "first", None)]
    if dice.random() < 0.6:
        layers.append(_random_pool(dice, layers[-1]))
    if dice.random() < 0.5:
        layers.append(_random_convolution(dice, "second", layers[-1]))
    plans: list[LayerPlan] = []
    for layer in layers:
        if isinstance(layer, PoolLayer):
            plans.append(PoolingPlan(layer, plans[-1].stages[-1].lanes_out))
        else:
            plans.append(dice.choice(convolution_plans(layer)))
    plan = NetworkPlan(network(name, layers), tuple(plans))
    depths = tuple(tuple(max(1, depth + dice.randint(-2, 2)) for depth in queues) for queues in plan.depths)
    return replace(plan, depths=depths)


def _axes(dice: random.Random, dimensions: int, least: int, most: int) -> Axes:
    return tuple(dice.randint(least, most) for _ in range(dimensions))


def _random_convolution(dice: random.Random, name: str, before: Layer | None) -> ConvolutionLayer:
    """Draw until the engine runs it: 1D, 2D or 3D, any stride, dilation and padding."""
    formats = (
        before.output_format if before else NumberFormat(dice.choice([4, 5, 8, 11, 16]), dice.random() < 0.4)
    )
    relu = dice.random() < 0.6
    result = NumberFormat(dice.choice([4, 7, 8, 12, 16]), signed=not relu)
    while True:
        dimensions = len(before.output_shape) - 1 if before else dice.choice([1, 2, 2, 3])
        channels = before.output_shape[0] if before else dice.randint(1, 4)
        size = before.output_shape[1:] if before else _axes(dice, dimensions, 2, 7)
        try:
            geometry = ConvolutionGeometry(
                channels, size, _axes(dice, dimensions, 1, 4), _axes(dice, dimensions, 1, 3),
                _axes(dice, dimensions, 1, 2), _axes(dice, dimensions, 0, 2), _axes(dice, dimensions, 0, 2),
                dice.randint(1, 4),
            )  # fmt: skip
        except CrosstileError:
            continue
        weight_bits = dice.choice([2, 3, 4, 8, 12, 16])
        layer = convolution(name, geometry, (formats, result), weight_bits, relu, dice.randrange(2**32))
        try:
            convolution_plans(layer)
        except CrosstileError:
            continue
        return layer


def _random_pool(dice: random.Random, before: Layer) -> PoolLayer:
    """Draw a pool that fits: a max pool may be padded, an average pool may not."""
    channels, *size = before.output_shape
    kind = dice.choice(["max", "average", "sum"])
    kernel = tuple(dice.randint(1, min(3, length)) for length in size)
    padding = tuple(dice.randint(0, taps - 1) if kind == "max" else 0 for taps in kernel)
    geometry = PoolGeometry(
        channels, tuple(size), kernel, _axes(dice, len(size), 1, 3), (1,) * len(size), padding, padding, kind
    )
    shift = (prod(kernel) - 1).bit_length() if kind == "average" else 0
    return PoolLayer("pool", geometry, shift, before.output_format)
