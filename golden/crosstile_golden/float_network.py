"""The float network, run in float64: what calibration measures and accuracy is compared with."""

import numpy as np

from .convolution import convolve
from .frames import check_frames
from .graph import Convolution, FloatGraph, FloatLayer, Reals, Relu
from .windows import windows


def float_tensors(graph: FloatGraph, frames: Reals) -> dict[str, Reals]:
    """Run real frames through every layer; return every layer's output by layer name, in order.

    frames   shape (frames, *graph.input_shape)
    returns  float64, each (frames, channels, *spatial); US 12014273, step S102

    Raises `CrosstileError` for frames of another shape or type, none at all, or values that are not finite.
    """
    tensor = check_frames(frames, graph.input_shape, "input array")
    tensor = tensor.reshape(len(tensor), *graph.frame_shape)
    outputs: dict[str, Reals] = {}
    for layer in graph.layers:
        tensor = outputs[layer.name] = run_layer(layer, tensor)
    return outputs


def run_float(graph: FloatGraph, frames: Reals) -> Reals:
    """Run real frames; return the last layer's output, float64, shape (frames, *graph.output_shape)."""
    tensors = float_tensors(graph, frames)
    return tensors[graph.layers[-1].name].reshape(len(frames), *graph.output_shape)


def run_layer(layer: FloatLayer, tensor: Reals) -> Reals:
    """Return one layer's output for a float64 tensor (frames, channels, *spatial)."""
    if isinstance(layer, Relu):
        return layer.run(tensor)
    if isinstance(layer, Convolution):
        per_filter = (-1, *(1 for _ in layer.geometry.output_size))
        return convolve(tensor, layer.weight, layer.geometry) + layer.bias.reshape(per_filter)
    axes = tuple(range(-layer.geometry.dimensions, 0))
    if layer.geometry.kind == "max":
        return windows(tensor, layer.geometry, -np.inf).max(axis=axes)
    return windows(tensor, layer.geometry, 0).mean(axis=axes)
