"""The shift scheme: a float chain becomes an integer network whose requantisation needs no multiplier."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from .activation import NONE, RELU
from .errors import CrosstileError
from .fixed_point import NEGLIGIBLE, Scale, quantise_convolution
from .float_network import run_layer
from .frames import check_frames
from .graph import Convolution, FloatGraph, Pool, Reals, Relu
from .network import IntegerNetwork, Layer, PoolLayer
from .numbers import NumberFormat

WEIGHT_BITS = range(2, 17)
ACTIVATION_BITS = range(4, 17)


@dataclass(frozen=True)
class Stage:
    """A layer of the integer network to be: a convolution with the Relus after it, or a pool.

    A Relu's maximum needs nothing more in integers: the scale comes from values that it holds down already,
    and what exceeds the scale's range saturates.
    """

    layer: Convolution | Pool
    relus: tuple[Relu, ...] = ()

    @property
    def relu(self) -> bool:
        """The output cannot be negative."""
        return bool(self.relus)

    def run(self, tensor: Reals) -> Reals:
        """Return the stage's output in float64."""
        result = run_layer(self.layer, tensor)
        for relu in self.relus:
            result = relu.run(result)
        return result


def quantise_shift(
    graph: FloatGraph, calibration: NDArray[np.generic], weight_bits: int = 8, activation_bits: int = 8
) -> IntegerNetwork:
    """Quantise to dynamic fixed point after US 12014273: a scale s = q·2^n per activation, from its maximum.

    calibration      real frames, shape (frames, *graph.input_shape), typical of the use
    weight_bits      2 to 16, two's complement, symmetric: −(2^(p−1) − 1) to 2^(p−1) − 1
    activation_bits  4 to 16; unsigned where nothing can be negative: after a Relu, and for an input whose
                     calibration has no negative value

    Pools keep the scale of their input; an average of `count` values shifts by k = ⌈log2 count⌉ and leaves
    the factor count / 2^k to the scale, so that the next weights take it up.

    Raises `CrosstileError` for bits out of range, calibration frames that do not fit the model, a Relu that
    no convolution can take in, and layers that no calibration frame reaches.
    """
    check_bits("weight_bits", weight_bits, WEIGHT_BITS)
    check_bits("activation_bits", activation_bits, ACTIVATION_BITS)
    frames = check_frames(calibration, graph.input_shape, "calibration array")
    tensor = frames.reshape(len(frames), *graph.frame_shape)
    number_format = NumberFormat(activation_bits, signed=bool(tensor.min() < 0))
    scale = _scale(tensor, number_format, "calibration array")
    network_input = (number_format, scale.value)
    layers: list[Layer] = []
    for stage in merge_relus(graph, not number_format.signed):
        tensor = stage.run(tensor)
        if isinstance(stage.layer, Pool):
            layer, scale = _quantise_pool(stage.layer, number_format, scale)
            layers.append(layer)
            continue
        read, number_format = number_format, NumberFormat(activation_bits, signed=not stage.relu)
        before, scale = scale, _scale(tensor, number_format, f"output of layer '{stage.layer.name}'")
        formats = (read, number_format)
        activation = RELU if stage.relu else NONE
        layers.append(quantise_convolution(stage.layer, activation, weight_bits, (before, scale), formats))
    return IntegerNetwork(
        graph.name, graph.input_shape, *network_input, tuple(layers), scale.value, graph.output_shape, "shift"
    )


def check_bits(name: str, value: int, legal: range) -> None:
    """Raise `CrosstileError` unless the value is a whole number in the range."""
    if isinstance(value, bool) or not isinstance(value, int) or value not in legal:
        raise CrosstileError(f"{name} must be from {legal[0]} to {legal[-1]}, not {value}")


def merge_relus(graph: FloatGraph, input_unsigned: bool) -> list[Stage]:
    """Return the chain's convolutions and pools, each Relu taken into the convolution that it follows.

    A Relu behind max pools moves before them, which changes nothing; one that reads nothing negative is
    dropped. Raises `CrosstileError` for any other.
    """
    stages: list[Stage] = []
    negative = not input_unsigned
    for layer in graph.layers:
        if not isinstance(layer, Relu):
            stages.append(Stage(layer))
            negative = negative or isinstance(layer, Convolution)
        elif negative or layer.maximum is not None:
            position = _convolution_before(stages, layer)
            stages[position] = replace(stages[position], relus=(*stages[position].relus, layer))
            negative = False
    return stages


def _convolution_before(stages: list[Stage], relu: Relu) -> int:
    position = len(stages) - 1
    while position >= 0 and _is_max_pool(stages[position].layer):
        position -= 1
    if position < 0 or isinstance(stages[position].layer, Pool):
        source = "an average pool" if position >= 0 else "the model's input"
        what = "Relu" if relu.maximum is None else "Clip"
        why = ", which may be negative" if relu.maximum is None else ""
        raise CrosstileError(
            f"node '{relu.name}' ({what}): reads {source}{why}; supported: after a "
            "convolution or fully connected layer, also with max pools between"
        )
    return position


def _is_max_pool(layer: Convolution | Pool) -> bool:
    return isinstance(layer, Pool) and layer.geometry.kind == "max"


def _scale(tensor: Reals, number_format: NumberFormat, what: str) -> Scale:
    """Return the scale from the tensor's statistics: max|v| (US 12014273, step S104)."""
    largest = float(np.abs(tensor).max())
    if largest <= NEGLIGIBLE:
        raise CrosstileError(f"{what} is 0 everywhere and gives no scale; use other calibration frames")
    if not largest < 1 / NEGLIGIBLE:
        raise CrosstileError(f"{what} reaches {largest}, too much for a scale; check the model's weights")
    return Scale.for_largest(largest, number_format)


def _quantise_pool(pool: Pool, number_format: NumberFormat, scale: Scale) -> tuple[PoolLayer, Scale]:
    if _is_max_pool(pool):
        return PoolLayer(pool.name, pool.geometry, 0, number_format), scale
    count = prod(pool.geometry.kernel)
    shift = (count - 1).bit_length()
    carried = Scale.of(scale.value * count / (1 << shift))
    return PoolLayer(pool.name, pool.geometry, shift, number_format), carried
