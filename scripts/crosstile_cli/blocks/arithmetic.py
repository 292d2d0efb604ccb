"""Blocks that compute one value at a time: the multiplier, and requantisation."""

from pathlib import Path

import numpy as np
from amaranth.hdl import Instance, Module
from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.fold import Fold
from crosstile.multiplier import LARGEST_BITS, Multiplier
from crosstile.requantise import Requantise
from crosstile_golden.activation import Activation
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import ConvolutionGeometry
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import NumberFormat

from .block import Block, Built, lanes_text
from .parameters import YES_NO, Parameter, whole
from .weights import ACTIVATION, SEED, constants_kind, read_constants


class _PlainMultiplier(Multiplier):
    """The multiplier itself as the top: it is the module that a device's own would replace."""

    def elaborate(self, _platform: object) -> Module | Instance:
        """Return registers and their product, whatever it is elaborated for."""
        return super().elaborate(None)


def _multiplier(a_bits: int, b_bits: int) -> Built:
    latency = Multiplier.LATENCY
    return Built(
        _PlainMultiplier(a_bits, b_bits),
        {
            "a": f"one factor, two's complement, {a_bits} bits",
            "b": f"the other factor, two's complement, {b_bits} bits",
            "y": f"their product, two's complement, {latency} cycles later",
        },
        [f"New factors every cycle. Latency: {latency} cycles, a register at each input and one at the output."],
        {"latency_cycles": latency, "multipliers": 1},
        resets=False,
    )


def _requantise(
    filters: int, lanes: int, total_bits: int, output_bits: int, signed_output: bool, activation: Activation,
    constants: str | Path, seed: int,
) -> Built:
    if filters % lanes:
        raise CrosstileError(f"--set lanes must divide filters {filters}, not {lanes}")
    output_format, total_format = NumberFormat(output_bits, signed_output), NumberFormat(total_bits, signed=True)
    bias, shift = read_constants(constants, filters, total_format, output_format, seed)
    plan = _identity(filters, lanes, total_format, output_format, activation, bias, shift)
    groups, latency = filters // lanes, plan.requantise_cycles
    per_lane = "one per filter of the group"
    return Built(
        Requantise(plan),
        {
            "filter": f"the group of filters, 0 to {groups - 1}: group g is filters {lanes}*g to {lanes}*g + "
            f"{lanes - 1}; one cycle before its totals",
            "totals": lanes_text(total_format, lanes, f"whole sums, {per_lane}"),
            "beat": lanes_text(output_format, lanes, f"activations, {per_lane}")
            + f", {latency} cycles after their totals",
        },
        [
            "y = activation(round((total + bias) / 2^shift)), rounded to nearest, halves up, and saturated.",
            f"New totals every cycle. Latency: {latency} cycles from totals to beat.",
        ],
        {"latency_cycles": latency, "constant_bits": filters * plan.requantise.constant_bits},
        resets=False,
    )


def _identity(
    filters: int, lanes: int, total_format: NumberFormat, output_format: NumberFormat, activation: Activation,
    bias: np.ndarray, shift: np.ndarray,
) -> CrosspointPlan:
    """Return the plan of a layer whose whole sums are its activations: one tap of weight 1 per channel."""
    geometry = ConvolutionGeometry(filters, (1, 2), (1, 1), (1, 1), (1, 1), (0, 0), (0, 0), filters, filters)
    weight = np.ones(geometry.weight_shape, np.int64)
    layer = ConvolutionLayer(
        "requantise", geometry, weight, bias, shift, 2, total_format, output_format, activation
    )
    return CrosspointPlan(layer, Fold(1, 1, 1, 1, lanes))


MULTIPLIER = Block(
    "multiplier",
    "y = a * b, two's complement, with registers before and behind as multiplier blocks have them.",
    (
        Parameter("a_bits", whole(1, LARGEST_BITS), "width of one factor"),
        Parameter("b_bits", whole(1, LARGEST_BITS), "width of the other"),
    ),
    _multiplier,
)

REQUANTISE = Block(
    "requantise",
    "turns whole sums into activations: bias, rounding shift, activation, saturation; per filter constants.",
    (
        Parameter("filters", whole(1, 4096), "filters, each with a bias and a shift of its own"),
        Parameter("lanes", whole(1, 256), "filters at once; a divisor of the filters", "1"),
        Parameter("total_bits", whole(2, 32), "width of a whole sum, two's complement"),
        Parameter("output_bits", whole(2, 16), "width of an activation", "8"),
        Parameter("signed_output", YES_NO, "activations are two's complement", "no"),
        ACTIVATION,
        Parameter("constants", constants_kind(), "where bias and shift come from", "random"),
        SEED,
    ),
    _requantise,
)
