"""The shift scheme: a float graph becomes an integer network whose requantisation needs no multiplier."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from .activation import NONE, RELU, Activation
from .errors import CrosstileError
from .fixed_point import NEGLIGIBLE, quantise_convolution
from .float_layers import Convolution, LeakyRelu, Pool, Reals, Sigmoid, Tanh
from .frames import check_frames
from .graph import FloatGraph
from .layers import Layer, PoolLayer
from .network import IntegerNetwork, Sources
from .numbers import NumberFormat
from .scales import Rule, Scale, Tensor, choose_scales
from .stages import Stage, merge
from .tables import address_format, best_range, table

WEIGHT_BITS = range(2, 17)
ACTIVATION_BITS = range(4, 17)


def quantise_shift(
    graph: FloatGraph, calibration: NDArray[np.generic], weight_bits: int = 8, activation_bits: int = 8
) -> IntegerNetwork:
    """Quantise to dynamic fixed point after US 12014273: a scale s = q·2^n per activation, from its maximum.

    calibration      real frames, shape (frames, *graph.input_shape), typical of the use
    weight_bits      2 to 16, two's complement, symmetric: −(2^(p−1) − 1) to 2^(p−1) − 1
    activation_bits  4 to 16; unsigned where nothing can be negative: after a Relu or a Sigmoid, and for an
                     input whose calibration has no negative value

    Max pools keep the scale of their input; an average of `count` values shifts by k = ⌈log2 count⌉ and leaves
    the factor count / 2^k to the scale, a sum leaves 2^−k, so that the next weights take it up. An Add becomes
    the residual of one of the convolutions that it adds (`stages.merge`), aligned by a shift, since tensors that
    meet share a mantissa (`scales.choose_scales`). A leaky slope is a shift; Tanh and Sigmoid are tables of
    2^activation_bits values, 2^12 at most (`tables`).

    Raises `CrosstileError` for bits out of range, calibration frames that do not fit the model, an activation
    or Add that no convolution can take in, and layers that no calibration frame reaches.
    """
    check_bits("weight_bits", weight_bits, WEIGHT_BITS)
    check_bits("activation_bits", activation_bits, ACTIVATION_BITS)
    frames = check_frames(calibration, graph.input_shape, "calibration array")
    tensors = {"": frames.reshape(len(frames), *graph.frame_shape)}
    formats = {"": NumberFormat(activation_bits, signed=bool(frames.min() < 0))}
    rules = {("output", ""): Rule(_limit(frames, formats[""], "calibration array"))}
    stages = merge(graph, formats[""].signed)
    for stage in stages:
        total, name = stage.total(tensors), stage.layer.name
        tensors[name] = stage.activate(total)
        signed = stage.negative if isinstance(stage.layer, Convolution) else formats[stage.main].signed
        formats[name] = NumberFormat(activation_bits, signed)
        rules |= _rules(stage, total, tensors[name], formats[name])
    scales = choose_scales(rules)
    return IntegerNetwork(
        graph.name, graph.input_shape, formats[""], scales["output", ""].value,
        tuple(_quantise(stage, formats, scales, weight_bits) for stage in stages),
        scales["output", stages[-1].layer.name].value, graph.output_shape, "shift",
        tuple(Sources(stage.main, stage.residual) for stage in stages),
    )


def check_bits(name: str, value: int, legal: range) -> None:
    """Raise `CrosstileError` unless the value is a whole number in the range."""
    if isinstance(value, bool) or not isinstance(value, int) or value not in legal:
        raise CrosstileError(f"{name} must be from {legal[0]} to {legal[-1]}, not {value}")


def _limit(tensor: Reals, number_format: NumberFormat, what: str) -> float:
    """Return the greatest scale from the tensor's statistics: max|v| (US 12014273, step S104)."""
    largest = float(np.abs(tensor).max())
    if largest <= NEGLIGIBLE:
        raise CrosstileError(f"{what} is 0 everywhere and gives no scale; use other calibration frames")
    if not largest < 1 / NEGLIGIBLE:
        raise CrosstileError(f"{what} reaches {largest}, too much for a scale; check the model's weights")
    return Scale.for_largest(largest, number_format).value


def _rules(stage: Stage, total: Reals, output: Reals, number_format: NumberFormat) -> dict[Tensor, Rule]:
    """Return where the scales of a stage's sum and output come from, given both on the calibration."""
    name, main = stage.layer.name, ("output", stage.main)
    if isinstance(stage.layer, Pool):
        return {("output", name): Rule(None, main, _pool_factor(stage.layer))}
    joins = None if stage.residual is None else ("output", stage.residual)
    what = f"output of layer '{name}'"
    if not _has_table(stage):
        sums = Rule(_limit(output, number_format, what), joins)
        return {("sum", name): sums, ("output", name): Rule(None, ("sum", name))}
    address = address_format(number_format.bits)
    _limit(total, address, what)
    reach = best_range(stage.activate, total, address)
    whole = Scale.for_largest(1.0, number_format).value  # what tables hold reaches 1
    return {("sum", name): Rule(Scale.for_largest(reach, address).value, joins), ("output", name): Rule(whole)}


def _has_table(stage: Stage) -> bool:
    return any(isinstance(activation, Tanh | Sigmoid) for activation in stage.activations)


def _quantise(
    stage: Stage, formats: dict[str, NumberFormat], scales: dict[Tensor, Scale], weight_bits: int
) -> Layer:
    """Return the stage in integers."""
    layer, name, read = stage.layer, stage.layer.name, formats[stage.main]
    if isinstance(layer, Pool):
        return PoolLayer(name, layer.geometry, _pool_shift(layer), read)
    residual = None
    if stage.residual is not None:
        residual = formats[stage.residual], scales["output", stage.residual]
    before, sums, output = scales["output", stage.main], scales["sum", name], scales["output", name]
    activation = _activation(stage, formats[name], (sums.value, output.value))
    return quantise_convolution(layer, activation, weight_bits, (before, sums), (read, formats[name]), residual)


def _activation(stage: Stage, number_format: NumberFormat, scales: tuple[float, float]) -> Activation:
    """Return the stage's activations as one of integers."""
    if not stage.activations:
        return NONE
    if _has_table(stage):
        return table(stage.activate, address_format(number_format.bits), scales, number_format)
    first = stage.activations[0]
    return Activation("leaky", slope_shift=first.slope_shift) if isinstance(first, LeakyRelu) else RELU


def _pool_shift(pool: Pool) -> int:
    """Return the shift that keeps the input's format: ⌈log2 count⌉ of a sum or average, 0 of a maximum."""
    return 0 if pool.geometry.kind == "max" else (prod(pool.geometry.kernel) - 1).bit_length()


def _pool_factor(pool: Pool) -> float:
    """Return what the shift leaves to the scale: count / 2^k of an average, 2^−k of a sum."""
    count = prod(pool.geometry.kernel) if pool.geometry.kind == "average" else 1
    return count / (1 << _pool_shift(pool))
