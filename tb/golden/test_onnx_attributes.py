"""Attributes without a counterpart here are refused in one line that names the node, the value and what is legal."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_files import Shape, model, refusal

make = helper.make_node
W = np.ones((2, 1, 3, 3), np.float32)
MAP: Shape = ["n", 1, 6, 6]


def conv(**attributes: Any) -> onnx.NodeProto:
    return make("Conv", ["x", "w"], ["y"], name="c", **attributes)


def pool(op: str, **attributes: Any) -> onnx.NodeProto:
    return make(op, ["x"], ["y"], name="p", **{"kernel_shape": [3, 3], **attributes})


CONV_KNOWN = "auto_pad, dilations, group, kernel_shape, pads, strides"
ATTRIBUTES = {
    "unknown": (conv(spread=3), f"attribute spread = 3 is not known; supported: {CONV_KNOWN}"),
    "type": (conv(group=1.5), "attribute group is 1.5; supported: a value of type int"),
    "auto_pad": (
        conv(auto_pad="MIRROR"),
        "attribute auto_pad is 'MIRROR'; supported: NOTSET or VALID or SAME_UPPER or SAME_LOWER",
    ),
    "both pads": (
        conv(auto_pad="VALID", pads=[1, 1, 1, 1]),
        "attribute pads is [1, 1, 1, 1] with auto_pad VALID; supported: one of the two",
    ),
    "negative pads": (
        conv(pads=[-1, 0, 0, 0]),
        "attribute pads is [-1, 0, 0, 0]; supported: 0 or more in every entry",
    ),
    "pads count": (conv(pads=[1, 1]), "attribute pads is [1, 1]; its input needs 4 entries"),
    "stride": (conv(strides=[0, 1]), "attribute strides is [0, 1]; supported: 1 or more in every entry"),
    "kernel_shape": (conv(kernel_shape=[5, 5]), "attribute kernel_shape is [5, 5]; its weight has [3, 3]"),
    "group": (conv(group=2), "groups must divide 1 input and 2 output channels, not 2"),
    "too large": (
        conv(dilations=[4, 4]),
        "the window (3, 3) (dilation (4, 4)) does not fit the input (6, 6) with padding (0, 0) and (0, 0)",
    ),
    "ceil_mode": (pool("MaxPool", ceil_mode=1), "attribute ceil_mode is 1; supported: 0"),
    "storage_order": (pool("MaxPool", storage_order=1), "attribute storage_order is 1; supported: 0"),
    "max dilations": (
        pool("MaxPool", dilations=[2, 2]),
        "attribute dilations is [2, 2]; supported: 1 in every entry",
    ),
    "average dilations": (
        pool("AveragePool", dilations=[2, 1]),
        "attribute dilations is [2, 1]; supported: 1 in every entry",
    ),
    "average padding": (
        pool("AveragePool", pads=[1, 1, 1, 1]),
        "attribute count_include_pad is 0; supported: 1",
    ),
    "pool padding": (
        pool("MaxPool", pads=[3, 0, 0, 0]),
        "padding of a max pool must leave every window an input; window 0 of axis 0 has none",
    ),
    "global": (
        make("GlobalAveragePool", ["x"], ["y"], name="p", keep=1),
        "attribute keep = 1 is not known; supported: none",
    ),
    "indices": (
        make("MaxPool", ["x"], ["y", "indices"], name="p", kernel_shape=[2, 2]),
        "second output 'indices' (indices) is not supported; export without it",
    ),
    "flatten": (make("Flatten", ["x"], ["y"], name="f", axis=2), "attribute axis is 2; supported: 1"),
    "softmax": (
        make("Softmax", ["x"], ["y"], name="s", axis=1),
        "attribute axis is 1 over (1, 6, 6); supported: 1 over flat features",
    ),
    "clip from below zero": (make("Clip", ["x"], ["y"], name="k", min=-1.0), "min is -1; supported: 0"),
    "clip without a minimum": (make("Clip", ["x"], ["y"], name="k", max=6.0), "min is not given; supported: 0"),
    "clip to nothing": (make("Clip", ["x"], ["y"], name="k", min=0.0, max=0.0), "max is 0; supported: above 0"),
    "leaky relu": (
        make("LeakyRelu", ["x"], ["y"], name="l", alpha=0.3),
        "attribute alpha is 0.3; supported: a power of two from 2^-1 to 2^-15: "
        "train it with 0.5 (2^-1) or 0.25 (2^-2)",
    ),
    "leaky relu's default": (
        make("LeakyRelu", ["x"], ["y"], name="l"),
        "attribute alpha is 0.01; supported: a power of two from 2^-1 to 2^-15: "
        "train it with 0.015625 (2^-6) or 0.0078125 (2^-7)",
    ),
    "leaky relu, steep": (
        make("LeakyRelu", ["x"], ["y"], name="l", alpha=1.0),
        "attribute alpha is 1; supported: a power of two from 2^-1 to 2^-15: train it with 0.5 (2^-1) or 0.25 (2^-2)",
    ),
    "leaky relu, flat": (
        make("LeakyRelu", ["x"], ["y"], name="l", alpha=2.0**-16),
        "attribute alpha is 1.52588e-05; supported: a power of two from 2^-1 to 2^-15: "
        "train it with 6.10352e-05 (2^-14) or 3.05176e-05 (2^-15)",
    ),
    "euclidean norm": (pool("LpPool"), "attribute p is 2; supported: 1"),
    "sum of magnitudes": (
        pool("LpPool", p=1),
        "reads 'x', which may be negative; it adds magnitudes, and is supported where these are the values: "
        "after a Relu, a Clip or a Sigmoid",
    ),
    "global sum of magnitudes": (
        make("GlobalLpPool", ["x"], ["y"], name="p", p=1),
        "reads 'x', which may be negative; it adds magnitudes, and is supported where these are the values: "
        "after a Relu, a Clip or a Sigmoid",
    ),
    "relu": (
        make("Relu", ["x"], ["y"], name="r", slope=0.5),
        "attribute slope = 0.5 is not known; supported: none",
    ),
}


@pytest.mark.parametrize("case", ATTRIBUTES)
def test_attributes_without_support_are_refused(case: str, tmp_path: Path) -> None:
    node, message = ATTRIBUTES[case]
    constants = {"w": W} if node.op_type == "Conv" else {}
    assert (
        refusal(model([node], MAP, constants), tmp_path) == f"node '{node.name}' ({node.op_type}): {message}"
    )


@pytest.mark.parametrize(
    ("attribute", "legal"), [({"transA": 1}, "0"), ({"transB": 2}, "0 or 1")], ids=["transA", "transB"]
)
def test_gemm_attributes_are_checked(attribute: dict[str, int], legal: str, tmp_path: Path) -> None:
    node = make("Gemm", ["x", "w"], ["y"], name="g", **attribute)
    ((name, value),) = attribute.items()
    message = f"node 'g' (Gemm): attribute {name} is {value}; supported: {legal}"
    assert refusal(model([node], ["n", 4], {"w": np.ones((4, 2), np.float32)}), tmp_path) == message
