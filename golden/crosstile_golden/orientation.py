"""Rows or columns first: the same network with its last two spatial axes exchanged."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CrosstileError
from .geometry import Axes
from .layers import ConvolutionLayer, Layer
from .network import IntegerNetwork

ORIENTATIONS = ("rows", "columns")
FIELDS = ("input_size", "kernel", "stride", "dilation", "padding_begin", "padding_end")


def oriented(network: IntegerNetwork, orientation: str) -> IntegerNetwork:
    """Return the network that runs on frames as they come in: rows first as it is, or `columns_first`.

    Raises `CrosstileError` for another orientation.
    """
    if orientation not in ORIENTATIONS:
        raise CrosstileError(f"orientation must be one of {', '.join(ORIENTATIONS)}, not {orientation!r}")
    return network if orientation == "rows" else columns_first(network)


def transposed(frames: NDArray[Any], orientation: str) -> NDArray[Any]:
    """Return frames (frames, channels, *spatial) between row-first and column-first order, either way.

    A row of width w becomes a column of height w, and one that has width 1 a row again.
    """
    if orientation == "rows":
        return frames
    return frames[..., np.newaxis] if frames.ndim == 3 else frames.swapaxes(-1, -2)


def columns_first(network: IntegerNetwork) -> IntegerNetwork:
    """Return the network that gives the transposed result for transposed frames, bit for bit.

    Activations then arrive one column at a time, and kernel columns are what an engine steers
    (US 2020/0117986 [0076], claims 8 and 17). One spatial axis, of width w, becomes height w and width 1.
    `input_shape` and `output_shape` are those of the transposed maps.
    """
    layers = tuple(_exchanged_layer(layer) for layer in network.layers)
    shape = (layers[0].geometry.in_channels, *layers[0].geometry.input_size)
    return replace(network, layers=layers, input_shape=shape, output_shape=layers[-1].output_shape)


def _exchanged_layer(layer: Layer) -> Layer:
    # An axis that was not there gets the field's neutral value.
    fields: dict[str, Any] = {
        field: _exchanged(getattr(layer.geometry, field), 0 if field.startswith("padding") else 1) for field in FIELDS
    }
    geometry: Any = replace(layer.geometry, **fields)
    if not isinstance(layer, ConvolutionLayer):
        return replace(layer, geometry=geometry)
    weight = layer.weight[..., np.newaxis] if layer.weight.ndim == 3 else layer.weight.swapaxes(-1, -2)
    return replace(layer, geometry=geometry, weight=np.ascontiguousarray(weight))


def _exchanged(axes: Axes, neutral: int) -> Axes:
    return (*axes, neutral) if len(axes) == 1 else (*axes[:-2], axes[-1], axes[-2])
