"""Models and arrays that cannot be used are refused: one line, exit 2, and nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from commands import INPUT_SHAPE, Crosstile, Inputs, frames, model, refusal, tiny_model, tiny_weights
from crosstile_golden.onnx_operators import OPERATORS

make = onnx.helper.make_node
FILTERS = {"w": np.ones((2, 1, 3, 3))}
SHAPE = ", ".join(map(str, INPUT_SHAPE))


def conv(**attributes: Any) -> onnx.NodeProto:
    return make("Conv", ["x", "w"], ["y"], name="c", **attributes)


MODELS: dict[str, tuple[onnx.ModelProto | bytes, str]] = {
    "not ONNX": (b"hello", "{model}: not an ONNX file"),
    "empty": (b"", "{model}: not an ONNX file"),
    "operator": (
        model([make("Softplus", ["x"], ["y"], name="s")], {}),
        f"node 's' (Softplus): operator not supported; supported: {', '.join(sorted(OPERATORS))}",
    ),
    "attribute": (
        model([conv(auto_pad="MIRROR")], FILTERS),
        "node 'c' (Conv): attribute auto_pad is 'MIRROR'; "
        "supported: NOTSET or VALID or SAME_UPPER or SAME_LOWER",
    ),
    "unknown attribute": (
        model([conv(spread=3)], FILTERS),
        "node 'c' (Conv): attribute spread = 3 is not known; "
        "supported: auto_pad, dilations, group, kernel_shape, pads, strides",
    ),
    "dynamic shape": (
        model([conv()], FILTERS, ["n", 1, "h", 6]),
        "{model}: input 'x' has dynamic size 'h' on axis 2; only the frame axis 0 may be dynamic: "
        "export the model with a fixed size",
    ),
    "NaN": (
        tiny_model({**tiny_weights(), "bias": [0, np.nan, 0, 0]}),
        "node 'conv' (Conv): tensor 'bias' holds nan; every weight must be finite",
    ),
    "infinite": (
        tiny_model({**tiny_weights(), "features": np.full((36, 5), -np.inf)}),
        "node 'fc' (Gemm): tensor 'features' holds -inf; every weight must be finite",
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_a_model_that_is_not_supported(case: str, crosstile: Crosstile, inputs: Inputs, tmp_path: Path) -> None:
    proto, message = MODELS[case]
    path = tmp_path / "net.onnx"
    path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    arguments = ["compile", path, "--calibrate", inputs.calibration, "-o", tmp_path / "build"]
    assert refusal(crosstile, tmp_path, *arguments) == message.format(model=path)


@pytest.mark.parametrize("name", ["none.onnx", "."])
def test_a_model_that_is_not_there(name: str, crosstile: Crosstile, inputs: Inputs, tmp_path: Path) -> None:
    arguments = ["compile", tmp_path / name, "--calibrate", inputs.calibration, "-o", tmp_path / "build", "--name", "n"]
    message = f"{tmp_path / name}: no such file; give the path of an ONNX model"
    assert refusal(crosstile, tmp_path, *arguments) == message


@pytest.mark.parametrize(
    ("kernel", "input_shape", "attributes", "message"),
    [
        (
            (2, 1, 3, 3), (1, 4, 4), {"pads": [3, 0, 0, 0]},
            "layer c: padding 3 and 0 on spatial axis 0 leaves output 0 without any activation; every output must "
            "see at least one of the 4",
        ),
        (
            (2, 1, 3, 3, 3), (1, 4, 4, 4), {"pads": [3, 0, 0, 0, 0, 0]},
            "layer c: padding 3 leaves the first output without any activation; at most (kernel - 1) * dilation = 2 "
            "is supported",
        ),
    ],
    ids=["2D", "3D"],
)
def test_what_no_engine_runs(
    kernel: tuple[int, ...], input_shape: tuple[int, ...], attributes: dict[str, int], message: str,
    crosstile: Crosstile, tmp_path: Path,
) -> None:
    proto = model([conv(**attributes)], {"w": np.ones(kernel)}, ["n", *input_shape])
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    np.save(tmp_path / "data.npy", np.ones((2, *input_shape)))
    arguments = ["compile", tmp_path / "net.onnx", "--calibrate", tmp_path / "data.npy", "-o", tmp_path / "build"]
    assert refusal(crosstile, tmp_path, *arguments) == message


ARRAYS: dict[str, tuple[Any, str]] = {
    "axes": (np.zeros((4, 6, 6)), f"shape (4, 6, 6) does not match the model's input (frames, {SHAPE})"),
    "size": (np.zeros((4, 1, 5, 6)), f"shape (4, 1, 5, 6) does not match the model's input (frames, {SHAPE})"),
    "complex": (
        np.zeros((4, *INPUT_SHAPE), complex),
        "type complex128 is not a real number; give floats or integers",
    ),
    "text": (np.full((4, *INPUT_SHAPE), "a"), "type <U1 is not a real number; give floats or integers"),
    "empty": (np.zeros((0, *INPUT_SHAPE)), "it holds no frame; give at least one"),
    "NaN": (np.full((1, *INPUT_SHAPE), np.nan), "element (0, 0, 0, 0) is nan; every value must be finite"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_calibration_frames_that_do_not_fit(
    case: str, crosstile: Crosstile, inputs: Inputs, tmp_path: Path
) -> None:
    array, message = ARRAYS[case]
    np.save(tmp_path / "data.npy", array)
    arguments = ["compile", inputs.model, "--calibrate", tmp_path / "data.npy", "-o", tmp_path / "build"]
    assert refusal(crosstile, tmp_path, *arguments) == f"calibration array: {message}"


@pytest.mark.parametrize("case", ARRAYS)
@pytest.mark.parametrize("command", ["run", "simulate"])
def test_input_frames_that_do_not_fit(
    command: str, case: str, crosstile: Crosstile, compiled: Path, tmp_path: Path
) -> None:
    array, message = ARRAYS[case]
    np.save(tmp_path / "x.npy", array)
    arguments = [command, compiled, "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy"]
    assert refusal(crosstile, tmp_path, *arguments) == f"input array: {message}"


ARRAY_FILES: dict[str, tuple[str, Any, str]] = {
    "missing": ("data.npy", None, "no such file"),
    "text": ("data.npy", b"hello", "not an .npy or .npz array file"),
    "no bytes": ("data.npy", b"", "not an .npy or .npz array file"),
    "broken archive": ("data.npz", b"PK\x03\x04hello", "not an .npy or .npz array file"),
    "objects": ("data.npy", np.array([None, 1], object), "not an .npy or .npz array file"),
    "two arrays": ("data.npz", {"a": frames(2), "b": frames(2)}, "must hold one array, not 2 (a, b)"),
    "no array": ("data.npz", {}, "must hold one array, not 0 (none)"),
    "archived objects": ("data.npz", {"a": np.array([None], object)}, "holds Python objects, not numbers"),
}


@pytest.mark.parametrize("case", ARRAY_FILES)
@pytest.mark.parametrize("option", ["--calibrate", "--input"])
def test_a_file_that_holds_no_array(
    option: str, case: str, crosstile: Crosstile, inputs: Inputs, compiled: Path, tmp_path: Path
) -> None:
    name, content, message = ARRAY_FILES[case]
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez(path, allow_pickle=True, **content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    arguments = (
        ["compile", inputs.model, "-o", tmp_path / "build"] if option == "--calibrate" else ["run", compiled]
    )
    assert refusal(crosstile, tmp_path, *arguments, option, path) == f"{option} {path}: {message}"
