"""Small ONNX models for the import tests, and ONNX Runtime to run them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from crosstile_golden.errors import CrosstileError
from crosstile_golden.onnx_import import import_onnx
from onnx import TensorProto, helper, numpy_helper

Shape = list[int | str | None]


def tensor(name: str, array: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(array), name)


def model(
    nodes: list[onnx.NodeProto],
    input_shape: Shape,
    constants: dict[str, Any] | None = None,
    output: str = "y",
    opset: int = 18,
    input_type: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A graph named 'tiny' from input 'x' to `output`."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", input_type, input_shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [tensor(name, array) for name, array in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def save(proto: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "tiny.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def run_onnxruntime(path: Path, frames: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": frames})[0]


def refusal(proto: onnx.ModelProto, folder: Path) -> str:
    """The one line with which the model's import is refused."""
    with pytest.raises(CrosstileError) as error:
        import_onnx(save(proto, folder))
    assert "\n" not in str(error.value)
    return str(error.value)
