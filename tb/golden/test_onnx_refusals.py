"""What the import does not support is refused in one line that names it; nothing is read past."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from crosstile_golden.errors import CrosstileError
from crosstile_golden.onnx_import import import_onnx
from crosstile_golden.onnx_operators import OPERATORS
from onnx import TensorProto, helper
from onnx_files import Shape, model, refusal, save

make = helper.make_node
W = np.ones((2, 1, 3, 3), np.float32)
MAP: Shape = ["n", 1, 6, 6]


def conv(**attributes: Any) -> onnx.NodeProto:
    return make("Conv", ["x", "w"], ["y"], name="c", **attributes)


@pytest.mark.parametrize(("op", "domain"), [("Softplus", ""), ("Gelu", "com.microsoft")])
def test_unknown_operators_are_refused(op: str, domain: str, tmp_path: Path) -> None:
    node = make(op, ["x"], ["y"], domain=domain)
    full = f"{domain}.{op}" if domain else op
    listed = ", ".join(sorted(OPERATORS))
    name = f"{op}_0"
    assert (
        refusal(model([node], MAP), tmp_path)
        == f"node '{name}' ({full}): operator not supported; supported: {listed}"
    )


@pytest.mark.parametrize("op", ["Conv", "Gemm", "Add", "BatchNormalization"])
@pytest.mark.parametrize(("value", "text"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_weights_that_are_not_finite_are_refused(op: str, value: float, text: str, tmp_path: Path) -> None:
    bad = np.array([1, value], np.float32)
    ones, filters = np.ones(2, np.float32), np.ones((2, 1, 3, 3), np.float32)
    node, constants, first = {
        "Conv": (make("Conv", ["x", "w", "bad"], ["y"], name="a"), {"w": filters}, []),
        "Gemm": (make("Gemm", ["x", "w", "bad"], ["y"], name="a"), {"w": np.ones((36, 2), np.float32)}, []),
        "Add": (
            make("Add", ["h", "bad"], ["y"], name="a"),
            {"w": filters},
            [make("Conv", ["x", "w"], ["h"])],
        ),
        "BatchNormalization": (
            make("BatchNormalization", ["h", "ones", "ones", "bad", "ones"], ["y"], name="a"),
            {"w": filters, "ones": ones},
            [make("Conv", ["x", "w"], ["h"])],
        ),
    }[op]
    proto = model([*first, node], ["n", 36] if op == "Gemm" else MAP, {**constants, "bad": bad})
    assert (
        refusal(proto, tmp_path) == f"node 'a' ({op}): tensor 'bad' holds {text}; every weight must be finite"
    )


def test_integer_weights_are_refused(tmp_path: Path) -> None:
    message = "node 'c' (Conv): tensor 'w' has type int8; supported: float16, float32, float64"
    assert refusal(model([conv()], MAP, {"w": W.astype(np.int8)}), tmp_path) == message


BRANCHES = {
    "two tensors into one": (
        [
            make("Conv", ["x", "w"], ["a"]),
            make("Clip", ["a", "zero", "a"], ["y"], name="clip"),
        ],
        "node 'clip' (Clip): has 2 computed inputs ('a'); supported: one, the others constant",
    ),
    "three in an Add": (
        [make("Add", ["x", "x", "x"], ["y"], name="sum")],
        "node 'sum' (Add): has 3 computed inputs ('x'); supported: one or two, the others constant",
    ),
    "an Add of two shapes": (
        [make("Conv", ["x", "w"], ["a"]), make("Add", ["a", "x"], ["y"], name="sum")],
        "node 'sum' (Add): adds (2, 4, 4) and (1, 6, 6); supported: two tensors of the same shape",
    ),
    "an Add of two layouts": (
        [
            make("Flatten", ["x"], ["f"]),
            make("Gemm", ["f", "square"], ["g"]),
            make("Add", ["f", "g"], ["y"], name="sum"),
        ],
        "node 'sum' (Add): adds (36,) flattened from (1, 6, 6) and (36,) flattened from (36, 1, 1); "
        "supported: two tensors of the same shape",
    ),
    "unread": (
        [
            make("Conv", ["x", "w"], ["a"]),
            make("Relu", ["a"], ["b"], name="lost"),
            make("Tanh", ["a"], ["y"]),
        ],
        "node 'lost' (Relu): gives 'b', which nothing reads; supported: every tensor on the way to the output",
    ),
    "read before it is there": (
        [make("Relu", ["a"], ["y"], name="early"), make("Conv", ["y", "w"], ["a"])],
        "node 'early' (Relu): reads 'a', which no node before it gives",
    ),
    "batch normalization of a shared tensor": (
        [
            make("Conv", ["x", "w"], ["a"], name="conv"),
            make("Identity", ["a"], ["same"]),
            make("BatchNormalization", ["same", "i", "i", "i", "i"], ["b"], name="norm"),
            make("Add", ["a", "b"], ["y"]),
        ],
        "node 'norm' (BatchNormalization): reads the output of 'conv', which others read too; "
        "supported: where only this node does",
    ),
    "bias of a shared tensor": (
        [
            make("Conv", ["x", "w"], ["a"], name="conv"),
            make("Add", ["o", "a"], ["b"], name="bias"),
            make("Add", ["a", "b"], ["y"]),
        ],
        "node 'bias' (Add): reads the output of 'conv', which others read too; supported: where only this node does",
    ),
    "weight computed": (
        [make("Relu", ["x"], ["a"]), make("Conv", ["w", "a"], ["y"], name="swapped")],
        "node 'swapped' (Conv): its first input 'w' is constant; supported: a computed first input",
    ),
    "no input": (
        [make("Relu", ["w"], ["y"], name="constant")],
        "node 'constant' (Relu): has 0 computed inputs (); supported: one, the others constant",
    ),
    "after softmax": (
        [
            make("Flatten", ["x"], ["f"]),
            make("Softmax", ["f"], ["s"], name="s"),
            make("Relu", ["s"], ["y"], name="after"),
        ],
        "node 'after' (Relu): follows 's'; a softmax is supported only as the last node",
    ),
    "batch normalization alone": (
        [make("BatchNormalization", ["x", "o", "o", "o", "o"], ["y"], name="b")],
        "node 'b' (BatchNormalization): supported: directly after a convolution or a fully connected "
        "layer only",
    ),
    "gemm on a map": (
        [make("Gemm", ["x", "m"], ["y"], name="g")],
        "node 'g' (Gemm): its input (1, 6, 6) is not flat; supported: a Flatten before it",
    ),
    "features": (
        [make("Flatten", ["x"], ["f"]), make("MatMul", ["f", "m"], ["y"], name="m")],
        "node 'm' (MatMul): tensor 'm' does not match its 36 input features",
    ),
    "conv on flat": (
        [make("Flatten", ["x"], ["f"]), make("Conv", ["f", "w"], ["y"], name="c")],
        "node 'c' (Conv): its input (36,) is flat; supported: (channels, *spatial)",
    ),
    "reshape to another map": (
        [make("Conv", ["x", "w"], ["a"]), make("Reshape", ["a", "shape"], ["y"], name="r")],
        "node 'r' (Reshape): reshapes (2, 4, 4) to (4, 4, 2); "
        "supported: to flat features, or the input to a map",
    ),
    "reshape of frames": (
        [make("Reshape", ["x", "mixed"], ["y"], name="r")],
        "node 'r' (Reshape): reshapes (1, 6, 6) to [2, 18]; "
        "supported: frames first, as many elements in each",
    ),
    "bias per pixel": (
        [make("Conv", ["x", "w"], ["a"]), make("Add", ["a", "pixels"], ["y"], name="a")],
        "node 'a' (Add): tensor 'pixels' has shape (4, 4); supported: one number per channel, (1, 2, 1, 1)",
    ),
    "weight axes": (
        [make("Conv", ["x", "m"], ["y"], name="c")],
        "node 'c' (Conv): weight has 2 axes; its input of 2 spatial axes needs 4",
    ),
    "weight channels": (
        [make("Conv", ["x", "w"], ["a"]), make("Conv", ["a", "w"], ["y"], name="c")],
        "node 'c' (Conv): weight has shape (2, 1, 3, 3); its input and group need (2, 2, 3, 3)",
    ),
    "bias shape": (
        [make("Conv", ["x", "w", "o"], ["y"], name="c")],
        "node 'c' (Conv): bias has shape (1,); its weight needs (2,)",
    ),
}
CONSTANTS = {
    "w": W,
    "m": np.ones((4, 2), np.float32),
    "o": np.ones(1, np.float32),
    "i": np.ones(2, np.float32),
    "zero": np.zeros((), np.float32),
    "square": np.ones((36, 36), np.float32),
    "shape": np.array([0, 4, 4, 2]),
    "mixed": np.array([2, 18]),
    "pixels": np.ones((4, 4), np.float32),
}


@pytest.mark.parametrize("case", BRANCHES)
def test_graphs_that_are_no_layers_are_refused(case: str, tmp_path: Path) -> None:
    nodes, message = BRANCHES[case]
    assert refusal(model(nodes, MAP, CONSTANTS), tmp_path) == message


def test_negative_variance_is_refused(tmp_path: Path) -> None:
    nodes = [
        make("Conv", ["x", "w"], ["a"]),
        make("BatchNormalization", ["a", "i", "i", "i", "v"], ["y"], name="b"),
    ]
    constants = {"w": W, "i": np.ones(2, np.float32), "v": np.array([1, -1], np.float32)}
    message = "node 'b' (BatchNormalization): tensor 'v' holds -1.0; a variance must not be negative"
    assert refusal(model(nodes, MAP, constants), tmp_path) == message


def test_a_model_without_convolution_is_refused(tmp_path: Path) -> None:
    message = "model 'tiny' has no convolution and no fully connected layer"
    assert refusal(model([make("Relu", ["x"], ["y"])], MAP), tmp_path) == message


INPUTS = {
    "dynamic": (
        ["n", 1, "height", 6],
        {},
        "input 'x' has dynamic size 'height' on axis 2; only the frame axis 0 may be dynamic: "
        "export the model with a fixed size",
    ),
    "unnamed": (
        [1, 1, 6, None],
        {},
        "input 'x' has dynamic size '?' on axis 3; only the frame axis 0 may be dynamic: "
        "export the model with a fixed size",
    ),
    "rank": (
        [1, 1, 2, 2, 2, 2],
        {},
        "input 'x' has 6 axes; "
        "supported: 2 to 5, (frames, features) or (frames, channels, 1 to 3 spatial axes)",
    ),
    "type": (
        [1, 1, 6, 6],
        {"input_type": TensorProto.UINT8},
        "input 'x' has type uint8; supported: float32, float64, float16",
    ),
    "opset": (
        [1, 1, 6, 6],
        {"opset": 6},
        f"operator set 6; supported: 7 to {onnx.defs.onnx_opset_version()}",
    ),
    "output": (
        [1, 1, 6, 6],
        {},
        "output 'y' is not computed by any layer",
    ),
}


@pytest.mark.parametrize("case", INPUTS)
def test_models_with_other_inputs_and_outputs_are_refused(case: str, tmp_path: Path) -> None:
    shape, options, message = INPUTS[case]
    nodes = [make("Identity", ["x"], ["y"])] if case == "output" else [conv()]
    proto = model(nodes, shape, {"w": W}, **options)
    assert refusal(proto, tmp_path) == f"{tmp_path / 'tiny.onnx'}: {message}"


@pytest.mark.parametrize("what", ["input", "output"])
def test_a_second_input_or_output_is_refused(what: str, tmp_path: Path) -> None:
    proto = model([conv()], MAP, {"w": W})
    extra = helper.make_tensor_value_info("z", TensorProto.FLOAT, [1])
    getattr(proto.graph, what).append(extra)
    first = "x" if what == "input" else "y"
    message = f"{tmp_path / 'tiny.onnx'}: 2 {what}s ({first}, z); supported: exactly one"
    assert refusal(proto, tmp_path) == message


@pytest.mark.parametrize(
    "content",
    [b"", b"not a model\n", b"\x00\xff" * 50, b"\x08\x08"],
    ids=["empty", "text", "bytes", "header"],
)
def test_files_that_are_not_onnx_are_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(CrosstileError) as error:
        import_onnx(path)
    assert str(error.value) == f"{path}: not an ONNX file"


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_truncated_model_is_refused_by_name(kept: float, tmp_path: Path) -> None:
    path = save(model([conv()], MAP, {"w": W}), tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(CrosstileError) as error:
        import_onnx(path)
    assert str(error.value) == f"{path}: not an ONNX file"


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "absent.onnx"
    with pytest.raises(CrosstileError) as error:
        import_onnx(path)
    assert str(error.value) == f"{path}: No such file or directory"
