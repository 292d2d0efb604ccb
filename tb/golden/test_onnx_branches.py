"""Branches and the activations beyond Relu: imported graphs compute what ONNX Runtime computes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from crosstile_golden.errors import CrosstileError
from crosstile_golden.float_layers import Add, Convolution, FloatLayer, LeakyRelu, Pool, Relu, Tanh
from crosstile_golden.float_network import float_tensors, run_float
from crosstile_golden.geometry import ConvolutionGeometry, PoolGeometry
from crosstile_golden.graph import FloatGraph
from crosstile_golden.onnx_import import import_onnx
from onnx import helper
from onnx_files import model, run_onnxruntime, save

make = helper.make_node
ONES = {"strides": [1, 1], "pads": [1, 1, 1, 1]}


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def check(proto: onnx.ModelProto, input_shape: tuple[int, ...], folder: Path) -> FloatGraph:
    """Import the model and compare it with ONNX Runtime on three frames; return the graph."""
    path = save(proto, folder)
    graph = import_onnx(path)
    frames = random(3, *input_shape)
    expected = run_onnxruntime(path, frames)
    assert graph.output_shape == expected.shape[1:]
    np.testing.assert_allclose(run_float(graph, frames), expected, rtol=1e-4, atol=1e-4)
    return graph


def test_a_residual_network_with_identity_and_downsampling_equals_onnxruntime(tmp_path: Path) -> None:
    names = ["scale", "shift", "mean", "variance"]
    nodes = [
        make("Conv", ["x", "w0", "b0"], ["c0"], name="c0", **ONES),
        make("Relu", ["c0"], ["r0"], name="r0"),
        make("Conv", ["r0", "w1"], ["c1"], name="c1", **ONES),
        make("BatchNormalization", ["c1", *names], ["n1"], name="n1"),
        make("Relu", ["n1"], ["r1"], name="r1"),
        make("Conv", ["r1", "w1", "b0"], ["c2"], name="c2", **ONES),
        make("Add", ["r0", "c2"], ["a2"], name="a2"),
        make("Relu", ["a2"], ["r2"], name="r2"),
        make("Conv", ["r2", "w3"], ["c3"], name="c3", strides=[2, 2], pads=[0, 0, 1, 1]),
        make("Conv", ["r2", "w4"], ["c4"], name="c4", strides=[2, 2]),
        make("Identity", ["c4"], ["i4"]),
        make("Add", ["i4", "c3"], ["a4"], name="a4"),
        make("GlobalAveragePool", ["a4"], ["g"], name="g"),
        make("Flatten", ["g"], ["f"]),
        make("Gemm", ["f", "w5"], ["y"], name="fc"),
    ]
    constants = {
        "w0": random(4, 2, 3, 3), "b0": random(4), "w1": random(4, 4, 3, 3), "w3": random(6, 4, 3, 3),
        "w4": random(6, 4, 1, 1), "w5": random(6, 5), **{name: np.abs(random(4)) + len(name) for name in names},
    }  # fmt: skip
    graph = check(model(nodes, ["n", 2, 8, 8], constants), (2, 8, 8), tmp_path)
    sources = dict(zip([layer.name for layer in graph.layers], graph.sources, strict=True))
    assert sources == {
        "c0": ("",), "r0": ("c0",), "c1": ("r0",), "r1": ("c1",), "c2": ("r1",), "a2": ("r0", "c2"), "r2": ("a2",),
        "c3": ("r2",), "c4": ("r2",), "a4": ("c4", "c3"), "g": ("a4",), "fc": ("g",),
    }  # fmt: skip


@pytest.mark.parametrize("spatial", [(7,), (5, 6), (3, 4, 3)])
def test_the_input_itself_may_be_added(spatial: tuple[int, ...], tmp_path: Path) -> None:
    pads = [1] * (2 * len(spatial))
    nodes = [
        make("Conv", ["x", "w"], ["c"], name="c", pads=pads),
        make("Add", ["c", "x"], ["y"], name="a"),
    ]
    graph = check(model(nodes, ["n", 2, *spatial], {"w": random(2, 2, *(3,) * len(spatial))}), (2, *spatial), tmp_path)
    assert graph.sources == (("",), ("c", ""))


def test_flat_branches_may_be_added(tmp_path: Path) -> None:
    nodes = [
        make("Gemm", ["x", "w"], ["a"], name="a"),
        make("MatMul", ["x", "w"], ["b"], name="b"),
        make("Tanh", ["a"], ["t"], name="t"),
        make("Add", ["t", "b"], ["y"], name="y"),
    ]
    check(model(nodes, ["n", 6], {"w": random(6, 4)}), (6,), tmp_path)


@pytest.mark.parametrize("shift", [1, 3, 15])
def test_leaky_relu(shift: int, tmp_path: Path) -> None:
    nodes = [
        make("Conv", ["x", "w"], ["c"], name="c"),
        make("LeakyRelu", ["c"], ["y"], name="leaky", alpha=2.0**-shift),
    ]
    graph = check(model(nodes, ["n", 1, 5, 5], {"w": random(3, 1, 3, 3)}), (1, 5, 5), tmp_path)
    assert graph.layers[1] == LeakyRelu("leaky", shift)


@pytest.mark.parametrize("op", ["Tanh", "Sigmoid"])
def test_tanh_and_sigmoid(op: str, tmp_path: Path) -> None:
    nodes = [make("Conv", ["x", "w"], ["c"]), make(op, ["c"], ["y"])]
    check(model(nodes, ["n", 1, 5, 5], {"w": 100 * random(3, 1, 3, 3)}), (1, 5, 5), tmp_path)


SUMS: dict[str, tuple[str, dict[str, Any]]] = {
    "LpPool": ("LpPool", {"p": 1, "kernel_shape": [2, 3], "strides": [2, 1]}),
    "LpPool with padding": ("LpPool", {"p": 1, "kernel_shape": [3, 3], "pads": [1, 0, 1, 2]}),
    "GlobalLpPool": ("GlobalLpPool", {"p": 1}),
}


@pytest.mark.parametrize("before", ["Relu", "Sigmoid", "two Relus in an Add, then a pool"])
@pytest.mark.parametrize("case", SUMS)
def test_norms_of_nothing_negative_are_sums(case: str, before: str, tmp_path: Path) -> None:
    op, attributes = SUMS[case]
    middle = [make(before, ["c"], ["a"])]
    if before.startswith("two"):
        middle = [
            make("Relu", ["c"], ["r"]),
            make("Relu", ["d"], ["s"]),
            make("Add", ["r", "s"], ["t"]),
            make("AveragePool", ["t"], ["a"], kernel_shape=[2, 2]),
            make("Conv", ["x", "v"], ["d"]),
        ]
        middle.insert(0, middle.pop())
    nodes = [make("Conv", ["x", "w"], ["c"]), *middle, make(op, ["a"], ["y"], name="sum", **attributes)]
    constants = {"w": random(3, 1, 3, 3)} | ({"v": -random(3, 1, 3, 3)} if before.startswith("two") else {})
    graph = check(model(nodes, ["n", 1, 9, 9], constants), (1, 9, 9), tmp_path)
    assert isinstance(graph.layers[-1], Pool)
    assert graph.layers[-1].geometry.kind == "sum"


NEGATIVE: dict[str, list[onnx.NodeProto]] = {
    "a convolution": [make("Identity", ["c"], ["a"])],
    "a pool of a convolution": [make("MaxPool", ["c"], ["a"], kernel_shape=[2, 2])],
    "a leaky relu": [make("LeakyRelu", ["c"], ["a"], alpha=0.5)],
    "tanh": [make("Tanh", ["c"], ["a"])],
    "an Add of a Relu and a convolution": [make("Relu", ["c"], ["r"]), make("Add", ["r", "c"], ["a"])],
    "an Add of a convolution and a Relu": [make("Relu", ["c"], ["r"]), make("Add", ["c", "r"], ["a"])],
}


@pytest.mark.parametrize("case", NEGATIVE)
def test_a_norm_of_what_may_be_negative_is_refused(case: str, tmp_path: Path) -> None:
    nodes = [make("Conv", ["x", "w"], ["c"]), *NEGATIVE[case], make("GlobalLpPool", ["a"], ["y"], name="sum", p=1)]
    with pytest.raises(CrosstileError) as error:
        import_onnx(save(model(nodes, ["n", 1, 9, 9], {"w": random(3, 1, 3, 3)}), tmp_path))
    assert str(error.value) == (
        "node 'sum' (GlobalLpPool): reads 'a', which may be negative; it adds magnitudes, and is supported where these "
        "are the values: after a Relu, a Clip or a Sigmoid"
    )


def conv(name: str, channels: int = 1, filters: int = 1, size: int = 4) -> Convolution:
    geometry = ConvolutionGeometry(channels, (size,), (1,), (1,), (1,), (0,), (0,), filters)
    return Convolution(name, geometry, np.ones(geometry.weight_shape), np.zeros(filters))


def test_float_tensors_are_those_of_each_branch() -> None:
    layers: tuple[FloatLayer, ...] = (conv("c"), Relu("r"), Tanh("t"), Add("a"))
    graph = FloatGraph("g", (1, 4), layers, (1, 4), [], (("",), ("c",), ("c",), ("t", "r")))
    frames = random(2, 1, 4).astype(float)
    tensors = float_tensors(graph, frames)
    assert tensors["a"].tolist() == (np.tanh(frames) + np.maximum(frames, 0)).tolist()
    assert graph.readers == {"": 1, "c": 2, "r": 1, "t": 1, "a": 1}


POOL = Pool("p", PoolGeometry(2, (4,), (2,), (2,), (1,), (0,), (0,), "max"))
WRONG: dict[str, tuple[tuple[FloatLayer, ...], tuple[tuple[str, ...], ...], str]] = {
    "no convolution": ((Relu("r"),), (), "model 'g' has no convolution and no fully connected layer"),
    "names": ((conv("c"), Relu("c")), (), "model 'g' has 2 layers named 'c'; names must differ"),
    "sources": ((conv("c"), Relu("r")), (("",),), "sources must have an entry for each of 2 layers"),
    "an Add in a chain": ((conv("c"), Add("a")), (), "layer 'a' reads 1 tensors; an Add reads 2, others 1"),
    "order": (
        (conv("c"), Relu("r"), Tanh("t")), (("",), ("t",), ("r",)), "layer 'r' reads 't', which is no layer before it",
    ),
    "shape": ((conv("c"), POOL), (), "layer 'p' reads (2, 4), but 'c' gives (1, 4)"),
    "shapes of an Add": (
        (conv("c", filters=2), Add("a")), (("",), ("c", "")), "layer 'a' reads (2, 4), but the input gives (1, 4)",
    ),
    "unread": (
        (conv("c"), Relu("r"), Tanh("t")), (("",), ("c",), ("c",)),
        "layers ['r'] of model 'g' are not read; only the last may be",
    ),
    "input": ((conv("c", size=5),), (), "model 'g': input_shape (1, 4) does not hold (1, 5)"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_graphs_that_do_not_fit_together_are_refused(case: str) -> None:
    layers, sources, message = WRONG[case]
    with pytest.raises(CrosstileError) as error:
        FloatGraph("g", (1, 4), layers, (1, 4), [], sources)
    assert str(error.value) == message
