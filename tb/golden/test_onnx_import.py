"""Imported models compute what ONNX Runtime computes, operator by operator (to float32's precision)."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from crosstile_golden.float_layers import Convolution, Pool, Relu
from crosstile_golden.float_network import float_tensors, run_float
from crosstile_golden.onnx_import import import_onnx
from onnx import helper
from onnx_files import model, run_onnxruntime, save, tensor

make = helper.make_node


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def check(proto: onnx.ModelProto, input_shape: tuple[int, ...], folder: Path, logits: str = "") -> Any:
    """Import the model and compare it with ONNX Runtime on three frames; return the graph."""
    path = save(proto, folder)
    graph = import_onnx(path)
    frames = random(3, *input_shape)
    expected = run_onnxruntime(path, frames)
    assert graph.input_shape == input_shape
    assert graph.output_shape == expected.shape[1:]
    np.testing.assert_allclose(run_float(graph, frames), expected, rtol=1e-4, atol=1e-4)
    return graph


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "1D": ((3, 11), (4, 3, 3), {}),
    "2D": ((3, 7, 6), (4, 3, 3, 2), {}),
    "3D": ((2, 5, 6, 4), (3, 2, 3, 2, 1), {"pads": [1, 0, 0, 0, 1, 0]}),
    "kernel_shape": ((1, 5, 5), (2, 1, 3, 3), {"kernel_shape": [3, 3]}),
    "strides": ((2, 9, 8), (4, 2, 3, 3), {"strides": [2, 3]}),
    "dilations": ((2, 9, 8), (4, 2, 3, 3), {"dilations": [2, 3]}),
    "asymmetric pads": ((2, 5, 6), (4, 2, 3, 3), {"pads": [1, 0, 2, 1]}),
    "group": ((4, 5, 5), (6, 2, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}),
    "VALID": ((2, 6, 6), (3, 2, 3, 3), {"auto_pad": "VALID", "strides": [2, 2]}),
    "SAME_UPPER": ((2, 7, 6), (3, 2, 4, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    "SAME_LOWER": ((2, 7, 6), (3, 2, 4, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 1]}),
    "SAME_UPPER 1D": ((1, 10), (2, 1, 2), {"auto_pad": "SAME_UPPER"}),
    "SAME, stride beyond the kernel": ((1, 10), (2, 1, 2), {"auto_pad": "SAME_LOWER", "strides": [4]}),
}


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_conv(case: str, with_bias: bool, tmp_path: Path) -> None:
    input_shape, weight_shape, attributes = CONVOLUTIONS[case]
    constants = {"w": random(*weight_shape), "b": random(weight_shape[0])}
    if not with_bias:
        del constants["b"]
    node = make("Conv", ["x", *constants], ["y"], name="conv", **attributes)
    graph = check(model([node], ["batch", *input_shape], constants), input_shape, tmp_path)
    assert [layer.name for layer in graph.layers] == ["conv"]


@pytest.mark.parametrize("spatial", [(6,), (3, 4), (2, 3, 2)])
@pytest.mark.parametrize("flatten", ["Flatten", "Flatten -n", "Reshape -1", "Reshape 0"])
def test_fully_connected_after_a_map_covers_the_whole_map(
    flatten: str, spatial: tuple[int, ...], tmp_path: Path
) -> None:
    features = 2 * int(np.prod(spatial))
    rank = 2 + len(spatial)
    first = {
        "Flatten": make("Flatten", ["x"], ["f"]),
        "Flatten -n": make("Flatten", ["x"], ["f"], axis=1 - rank),
        "Reshape -1": make("Reshape", ["x", "shape"], ["f"]),
        "Reshape 0": make("Reshape", ["x", "shape"], ["f"]),
    }[flatten]
    target = np.array([-1, features] if flatten == "Reshape -1" else [0, -1])
    nodes = [
        first,
        make("Gemm", ["f", "w", "b"], ["h"], transB=1),
        make("Relu", ["h"], ["r"]),
        make("MatMul", ["r", "v"], ["y"]),
    ]
    constants = {"w": random(5, features), "b": random(5), "v": random(5, 4)}
    constants |= {"shape": target} if "Reshape" in flatten else {}
    graph = check(model(nodes, [None, 2, *spatial], constants), (2, *spatial), tmp_path)
    assert [layer.name for layer in graph.layers] == ["Gemm_1", "Relu_2", "MatMul_3"]
    assert graph.layers[0].geometry.kernel == spatial
    assert graph.layers[2].geometry.input_size == (1,) * len(spatial)


GEMMS: dict[str, tuple[tuple[int, ...], tuple[int, ...] | None, dict[str, Any]]] = {
    "plain": ((6, 4), (4,), {}),
    "no bias": ((6, 4), None, {}),
    "square": ((6, 6), (6,), {}),
    "square transB": ((6, 6), (6,), {"transB": 1}),
    "transB": ((4, 6), (4,), {"transB": 1}),
    "alpha and beta": ((6, 4), (4,), {"alpha": 0.5, "beta": -2.0}),
    "bias of one row": ((6, 4), (1, 4), {}),
    "one bias for all": ((6, 4), (1,), {}),
    "scalar bias": ((6, 4), (), {}),
}


@pytest.mark.parametrize("case", GEMMS)
def test_gemm_on_plain_features_is_a_1x1_convolution(case: str, tmp_path: Path) -> None:
    weight_shape, bias_shape, attributes = GEMMS[case]
    constants = {"w": random(*weight_shape)}
    if bias_shape is not None:
        constants["b"] = random(*bias_shape)
    node = make("Gemm", ["x", *constants], ["y"], **attributes)
    graph = check(model([node], ["n", 6], constants), (6,), tmp_path)
    assert (graph.layers[0].geometry.input_size, graph.layers[0].geometry.kernel) == ((1, 1), (1, 1))


@pytest.mark.parametrize("bias_first", [True, False])
@pytest.mark.parametrize("bias_shape", [(4,), (1, 4), (1,), ()])
def test_matmul_and_add(bias_shape: tuple[int, ...], bias_first: bool, tmp_path: Path) -> None:
    operands = ["b", "m"] if bias_first else ["m", "b"]
    nodes = [make("MatMul", ["x", "w"], ["m"]), make("Add", operands, ["y"])]
    proto = model(nodes, [1, 6], {"w": random(6, 4), "b": random(*bias_shape)})
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    assert len(check(proto, (6,), tmp_path).layers) == 1


@pytest.mark.parametrize("bias_shape", [(4, 1, 1), (1, 4, 1, 1), (1, 1, 1), ()])
def test_add_after_conv(bias_shape: tuple[int, ...], tmp_path: Path) -> None:
    nodes = [make("Conv", ["x", "w"], ["m"]), make("Add", ["m", "b"], ["y"])]
    constants = {"w": random(4, 1, 3, 3), "b": random(*bias_shape)}
    check(model(nodes, ["n", 1, 5, 5], constants), (1, 5, 5), tmp_path)


POOLS: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "max 1D": ("MaxPool", (2, 9), {"kernel_shape": [2], "strides": [2]}),
    "max 2D": ("MaxPool", (2, 7, 8), {"kernel_shape": [2, 3], "strides": [2, 1]}),
    "max 3D": ("MaxPool", (2, 4, 5, 6), {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2]}),
    "max pads": ("MaxPool", (2, 6, 6), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 1, 2]}),
    "max SAME": ("MaxPool", (2, 7, 6), {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "max defaults": (
        "MaxPool",
        (2, 7, 6),
        {"kernel_shape": [3, 2], "ceil_mode": 0, "storage_order": 0, "dilations": [1, 1]},
    ),
    "average 1D": ("AveragePool", (2, 9), {"kernel_shape": [3]}),
    "average 2D": (
        "AveragePool",
        (2, 7, 8),
        {"kernel_shape": [2, 3], "strides": [2, 2], "count_include_pad": 1},
    ),
    "average 3D": ("AveragePool", (2, 4, 5, 6), {"kernel_shape": [2, 3, 2]}),
    "average pads": (
        "AveragePool",
        (2, 6, 6),
        {"kernel_shape": [3, 3], "pads": [1, 0, 1, 2], "count_include_pad": 1},
    ),
    "global 1D": ("GlobalAveragePool", (3, 7), {}),
    "global 2D": ("GlobalAveragePool", (3, 4, 5), {}),
    "global 3D": ("GlobalAveragePool", (3, 4, 5, 2), {}),
}


@pytest.mark.parametrize("case", POOLS)
def test_pools(case: str, tmp_path: Path) -> None:
    op, shape, attributes = POOLS[case]
    ones = np.eye(shape[0], dtype=np.float32).reshape(shape[0], shape[0], *(1 for _ in shape[1:]))
    nodes = [make("Conv", ["x", "w"], ["c"]), make(op, ["c"], ["y"], name="pool", **attributes)]
    graph = check(model(nodes, ["n", *shape], {"w": ones}), shape, tmp_path)
    assert isinstance(graph.layers[1], Pool)


def test_batch_normalization_is_folded(tmp_path: Path) -> None:
    names = ["scale", "shift", "mean", "variance"]
    nodes = [
        make("Conv", ["x", "w", "b"], ["c"], name="conv"),
        make("BatchNormalization", ["c", *names], ["n"], epsilon=1e-3, momentum=0.8),
        make("Relu", ["n"], ["y"], name="relu"),
    ]
    constants = {"w": random(4, 2, 3, 3), "b": random(4), **{name: random(4) + len(name) for name in names}}
    constants["variance"] = np.abs(constants["variance"])
    graph = check(model(nodes, ["n", 2, 5, 5], constants), (2, 5, 5), tmp_path)
    assert [type(layer) for layer in graph.layers] == [Convolution, Relu]


CLIPS: dict[str, tuple[list[str], dict[str, Any], int, float | None]] = {
    "ReLU6": (["zero", "six"], {}, 18, 6.0),
    "no maximum": (["zero"], {}, 18, None),
    "bounds as attributes": ([], {"min": 0.0, "max": 6.0}, 7, 6.0),
}


@pytest.mark.parametrize("case", CLIPS)
def test_clip_is_a_relu_with_a_maximum(case: str, tmp_path: Path) -> None:
    bounds, attributes, opset, maximum = CLIPS[case]
    nodes = [
        make("Conv", ["x", "w"], ["c"], name="conv"), make("Clip", ["c", *bounds], ["y"], name="clip", **attributes),
    ]  # fmt: skip
    constants = {"w": 9 * random(4, 2, 3, 3), "zero": np.float32(0), "six": np.float32(6)}
    used = {name: constants[name] for name in ["w", *bounds]}
    graph = check(model(nodes, ["n", 2, 5, 5], used, opset=opset), (2, 5, 5), tmp_path)
    assert graph.layers[1] == Relu("clip", maximum)


def test_identity_and_dropout_pass_and_constants_may_be_nodes(tmp_path: Path) -> None:
    nodes = [
        make("Constant", [], ["k"], value=tensor("k", random(2, 1, 3, 3))),
        make("Identity", ["k"], ["w"]),
        make("Identity", ["x"], ["i"]),
        make("Conv", ["i", "w"], ["c"]),
        make("Constant", [], ["shape"], value_ints=[0, -1]),
        make("Reshape", ["c", "shape"], ["f"]),
        make("Dropout", ["f"], ["d"], seed=3),
        make("Identity", ["d"], ["y"]),
    ]
    graph = check(model(nodes, ["n", 1, 4, 4]), (1, 4, 4), tmp_path)
    assert [layer.name for layer in graph.layers] == ["Conv_3"]


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_a_final_softmax_is_dropped_with_a_notice(op: str, opset: int, tmp_path: Path) -> None:
    nodes = [make("Gemm", ["x", "w"], ["logits"]), make(op, ["logits"], ["y"], name="last")]
    constants = {"w": random(6, 4)}
    path = save(model(nodes, ["n", 6], constants, opset=opset), tmp_path)
    graph = import_onnx(path)
    assert graph.notices == [f"node 'last' ({op}) is dropped: the outputs are the logits before it"]
    frames = random(3, 6)
    np.testing.assert_allclose(run_float(graph, frames), frames @ constants["w"], rtol=1e-4, atol=1e-5)


def test_flat_input_may_be_reshaped_to_a_map(tmp_path: Path) -> None:
    nodes = [make("Reshape", ["x", "shape"], ["m"]), make("Conv", ["m", "w"], ["y"])]
    constants = {"shape": np.array([-1, 1, 8, 8]), "w": random(3, 1, 3, 3)}
    check(model(nodes, ["n", 64], constants), (64,), tmp_path)


def test_a_whole_network_equals_onnxruntime_and_gives_every_tensor(tmp_path: Path) -> None:
    nodes = [
        make("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], name="one"),
        make("Relu", ["c1"], ["r1"]),
        make("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        make("Conv", ["p1", "w2"], ["c2"], name="two"),
        make("GlobalAveragePool", ["c2"], ["g"]),
        make("Flatten", ["g"], ["f"]),
        make("Gemm", ["f", "w3", "b3"], ["y"], transB=1),
    ]
    constants = {
        "w1": random(4, 1, 3, 3),
        "b1": random(4),
        "w2": random(6, 4, 3, 3),
        "w3": random(3, 6),
        "b3": random(3),
    }
    graph = check(model(nodes, ["n", 1, 8, 8], constants), (1, 8, 8), tmp_path)
    names = ["one", "Relu_1", "MaxPool_2", "two", "GlobalAveragePool_4", "Gemm_6"]
    assert [layer.name for layer in graph.layers] == names
    assert list(float_tensors(graph, random(2, 1, 8, 8))) == names


def test_layers_that_share_a_name_get_names_of_their_own(tmp_path: Path) -> None:
    nodes = [make("Conv", ["x", "w"], ["c"], name="one"), make("Conv", ["c", "w"], ["y"], name="one")]
    graph = import_onnx(save(model(nodes, [1, 1, 5, 5], {"w": random(1, 1, 3, 3)}), tmp_path))
    assert [layer.name for layer in graph.layers] == ["one", "one_Conv_1"]


@pytest.mark.parametrize("number_type", [np.float16, np.float64])
def test_weights_of_other_float_types_are_read(number_type: type[np.floating], tmp_path: Path) -> None:
    weight = random(2, 1, 3).astype(number_type)
    path = save(model([make("Conv", ["x", "w"], ["y"])], [1, 1, 5], {"w": weight}), tmp_path)
    assert import_onnx(path).layers[0].weight.tolist() == weight.astype(np.float64).tolist()
