"""ONNX operators that multiply and add: they become convolutions, or change the one before them."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from .errors import CrosstileError
from .float_layers import Add, Convolution, Reals
from .geometry import Axes, ConvolutionGeometry
from .onnx_model import Node
from .onnx_tensors import GraphBuilder, Operands, Tensor, data, weights
from .onnx_windows import check_value, read_attributes, window_fields


def conv(graph: GraphBuilder, node: Node, operands: Operands) -> Tensor:
    """Append a Conv."""
    tensor = data(node, operands)
    tensor.need_map(node)
    known = read_attributes(
        node, auto_pad="NOTSET", dilations=None, group=1, kernel_shape=None, pads=None, strides=None
    )
    weight = weights(node, operands, 1, "weight")
    dimensions = len(tensor.map_shape) - 1
    if weight.ndim != dimensions + 2:
        raise node.error(
            f"weight has {weight.ndim} axes; its input of {dimensions} spatial axes needs {dimensions + 2}"
        )
    kernel = weight.shape[2:]
    if known["kernel_shape"] not in (None, list(kernel)):
        raise node.error(f"attribute kernel_shape is {known['kernel_shape']}; its weight has {list(kernel)}")
    fields = window_fields(node, known, kernel, tensor.map_shape)
    try:
        geometry = ConvolutionGeometry(**fields, out_channels=len(weight), groups=known["group"])
    except CrosstileError as error:
        raise node.error(str(error)) from error
    bias = weights(node, operands, 2, "bias") if _is_given(node, 2) else np.zeros(len(weight))
    return _append(graph, node, tensor, geometry, weight, bias)


def _is_given(node: Node, position: int) -> bool:
    return len(node.inputs) > position and node.inputs[position] != ""


def _append(
    graph: GraphBuilder, node: Node, tensor: Tensor, geometry: ConvolutionGeometry, weight: Reals, bias: Reals
) -> Tensor:
    if weight.shape != geometry.weight_shape:
        raise node.error(f"weight has shape {weight.shape}; its input and group need {geometry.weight_shape}")
    if bias.shape != (geometry.out_channels,):
        raise node.error(f"bias has shape {bias.shape}; its weight needs {(geometry.out_channels,)}")
    return graph.append(Convolution(node.name, geometry, weight, bias), tensor)


def _fully_connected(graph: GraphBuilder, node: Node, tensor: Tensor, weight: Reals, bias: Reals) -> Tensor:
    """Append weight (outputs, features) as a convolution whose kernel covers the whole map."""
    if not tensor.flat:
        raise node.error(f"its input {tensor.shape} is not flat; supported: a Flatten before it")
    features = prod(tensor.map_shape)
    if weight.ndim != 2 or weight.shape[1] != features:
        raise node.error(f"tensor '{node.inputs[1]}' does not match its {features} input features")
    channels, *spatial = tensor.map_shape
    kernel, ones, zeros = tuple(spatial), (1,) * len(spatial), (0,) * len(spatial)
    geometry = ConvolutionGeometry(channels, kernel, kernel, ones, ones, zeros, zeros, len(weight))
    return _append(graph, node, tensor, geometry, weight.reshape(geometry.weight_shape), bias)


def gemm(graph: GraphBuilder, node: Node, operands: Operands) -> Tensor:
    """Append a Gemm, a fully connected layer."""
    known = read_attributes(node, alpha=1.0, beta=1.0, transA=0, transB=0)
    check_value(node, known, "transA", 0)
    check_value(node, known, "transB", 0, 1)
    weight = weights(node, operands, 1, "weight")
    weight = weight if known["transB"] else weight.T
    bias = np.zeros(len(weight))
    if _is_given(node, 2):
        bias = known["beta"] * _per_channel(node, operands, 2, (len(weight),))
    return _fully_connected(graph, node, data(node, operands), known["alpha"] * weight, bias)


def matmul(graph: GraphBuilder, node: Node, operands: Operands) -> Tensor:
    """Append a MatMul, a fully connected layer without bias."""
    read_attributes(node)
    weight = weights(node, operands, 1, "weight").T
    return _fully_connected(graph, node, data(node, operands), weight, np.zeros(len(weight) if weight.ndim else 1))


def _per_channel(node: Node, operands: Operands, position: int, tensor_shape: Axes) -> Reals:
    """Broadcast a constant to one number per channel; refuse one that differs along other axes."""
    value = weights(node, operands, position, "bias")
    legal = (1, tensor_shape[0], *(1 for _ in tensor_shape[1:]))
    aligned = (1,) * (len(legal) - value.ndim) + value.shape
    if aligned not in (legal, tuple(1 for _ in legal)):
        found = f"tensor '{node.inputs[position]}' has shape {value.shape}"
        raise node.error(f"{found}; supported: one number per channel, {legal}")
    return np.broadcast_to(value.reshape(-1), (tensor_shape[0],)).copy()


def add(graph: GraphBuilder, node: Node, operands: Operands) -> Tensor:
    """Add a constant to the bias of the convolution before it, or append the Add of two computed tensors."""
    read_attributes(node)
    tensors = [operand for operand in operands if isinstance(operand, Tensor)]
    if len(tensors) == 2:
        return _add_tensors(graph, node, *tensors)
    position = 1 if isinstance(operands[0], Tensor) else 0
    last = graph.convolution(node, tensors[0])
    value = _per_channel(node, operands, position, tensors[0].shape)
    return graph.change(replace(last, bias=last.bias + value), tensors[0])


def _add_tensors(graph: GraphBuilder, node: Node, first: Tensor, second: Tensor) -> Tensor:
    if (first.shape, first.map_shape) != (second.shape, second.map_shape):
        laid_out = " flattened from ".join(map(str, dict.fromkeys((first.shape, first.map_shape))))
        other = " flattened from ".join(map(str, dict.fromkeys((second.shape, second.map_shape))))
        raise node.error(f"adds {laid_out} and {other}; supported: two tensors of the same shape")
    return graph.append(Add(node.name), first, second, negative=first.negative or second.negative)


def batch_normalization(graph: GraphBuilder, node: Node, operands: Operands) -> Tensor:
    """Fold scale·(x − mean)/√(variance + ε) + shift into the convolution before it."""
    known = read_attributes(node, epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1)
    check_value(node, known, "training_mode", 0)
    check_value(node, known, "spatial", 1)
    tensor = data(node, operands)
    last = graph.convolution(node, tensor)
    channels = (last.geometry.out_channels,)
    roles = ("scale", "bias", "mean", "variance")
    values = [weights(node, operands, position, role) for position, role in enumerate(roles, start=1)]
    for value, name in zip(values, node.inputs[1:], strict=False):
        if value.shape != channels:
            raise node.error(f"tensor '{name}' has shape {value.shape}; its input's channels need {channels}")
    scale, shift, mean, variance = values
    if not (variance + known["epsilon"] > 0).all():
        raise node.error(f"tensor '{node.inputs[4]}' holds {variance.min()}; a variance must not be negative")
    factor = scale / np.sqrt(variance + known["epsilon"])
    weight = last.weight * factor.reshape(-1, *(1 for _ in last.weight.shape[1:]))
    return graph.change(replace(last, weight=weight, bias=(last.bias - mean) * factor + shift), tensor)
