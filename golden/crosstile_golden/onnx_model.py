"""ONNX files as plain Python and NumPy: the only module that touches the `onnx` package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from .errors import CrosstileError
from .geometry import Axes

Constant = NDArray[np.generic]
OLDEST_OPSET = 7  # before it, Gemm, Dropout and BatchNormalization had other attributes and broadcasting
FLOAT_TYPES = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.FLOAT16: "float16",
}


@dataclass(frozen=True)
class Node:
    """One operator of the graph: its inputs and outputs are tensor names, '' where left out."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    def error(self, text: str) -> CrosstileError:
        """Return the error that says `text` about this node."""
        return CrosstileError(f"node '{self.name}' ({self.op}): {text}")


@dataclass(frozen=True)
class OnnxModel:
    """What the import needs of a file: one input and output, the nodes in order, every constant tensor."""

    name: str
    input_name: str
    input_shape: Axes
    output_name: str
    nodes: tuple[Node, ...]
    constants: dict[str, Constant]


def read_model(path: Path) -> OnnxModel:
    """Read a float ONNX model, Constant nodes counted as constants.

    Raises `CrosstileError`: not an ONNX file, an operator set too old or too new, several inputs or outputs,
    another input type than real numbers, or a dynamic size on another axis than the frames'.
    """
    graph = _load(path).graph
    constants = {tensor.name: _array(path, tensor) for tensor in graph.initializer}
    names: set[str] = set()
    nodes = []
    for index, proto in enumerate(graph.node):
        node = _node(path, proto, index, names)
        if node.op == "Constant":
            constants[node.outputs[0]] = _constant(node)
        else:
            nodes.append(node)
    inputs = [value for value in graph.input if value.name not in constants]
    _expect_one(path, "input", [value.name for value in inputs])
    _expect_one(path, "output", [value.name for value in graph.output])
    shape = _input_shape(path, inputs[0])
    name = graph.name or Path(path).stem
    return OnnxModel(name, inputs[0].name, shape, graph.output[0].name, tuple(nodes), constants)


def _load(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(str(path), format="protobuf")
    except (DecodeError, ValueError) as error:
        raise CrosstileError(f"{path}: not an ONNX file") from error
    except OSError as error:
        raise CrosstileError(f"{path}: {error.strerror or 'cannot be read'}") from error
    except onnx.checker.ValidationError as error:
        raise CrosstileError(f"{path}: {str(error).splitlines()[0]}") from error
    if not model.ir_version or not model.graph.node or not model.opset_import:
        raise CrosstileError(f"{path}: not an ONNX file")
    newest = onnx.defs.onnx_opset_version()
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions or not OLDEST_OPSET <= versions[0] <= newest:
        found = versions[0] if versions else "missing"
        raise CrosstileError(f"{path}: operator set {found}; supported: {OLDEST_OPSET} to {newest}")
    if model.graph.sparse_initializer:
        raise CrosstileError(f"{path}: sparse initializers are not supported; store the weights dense")
    return model


def _node(path: Path, proto: onnx.NodeProto, index: int, names: set[str]) -> Node:
    """Convert a node; give it a name of its own where it has none, or shares one."""
    fallback = f"{proto.op_type}_{index}"
    name = proto.name or fallback
    if name in names:
        name = f"{name}_{fallback}"
    names.add(name)
    domain = "" if proto.domain in ("", "ai.onnx") else f"{proto.domain}."
    attributes = {entry.name: _attribute(path, entry) for entry in proto.attribute}
    return Node(name, domain + proto.op_type, tuple(proto.input), tuple(proto.output), attributes)


def _attribute(path: Path, proto: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(proto)
    if isinstance(value, onnx.TensorProto):
        return _array(path, value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return list(value) if proto.type in (proto.INTS, proto.FLOATS) else value


def _constant(node: Node) -> Constant:
    """Return the value of a Constant node."""
    floats, integers = dict.fromkeys(("value_float", "value_floats"), np.float32), ("value_int", "value_ints")
    kinds: dict[str, type[np.generic]] = {**floats, **dict.fromkeys(integers, np.int64)}
    names = ", ".join(sorted(node.attributes))
    if names != "value" and names not in kinds:
        raise node.error(f"attributes {names or 'none'}; supported: one of value, {', '.join(kinds)}")
    value = node.attributes[names]
    return value if names == "value" else np.asarray(value, dtype=kinds[names])


def _array(path: Path, tensor: onnx.TensorProto) -> Constant:
    try:
        return onnx.numpy_helper.to_array(tensor, base_dir=str(Path(path).parent))
    except (ValueError, TypeError, OSError, RuntimeError, onnx.checker.ValidationError) as error:
        text = f"{path}: tensor '{tensor.name}' is damaged or its external data is missing"
        raise CrosstileError(text) from error


def _expect_one(path: Path, what: str, names: list[str]) -> None:
    if len(names) != 1:
        raise CrosstileError(f"{path}: {len(names)} {what}s ({', '.join(names)}); supported: exactly one")


def _input_shape(path: Path, value: onnx.ValueInfoProto) -> Axes:
    """Return the input's shape without the frame axis, which alone may be dynamic."""
    tensor = value.type.tensor_type
    if tensor.elem_type not in FLOAT_TYPES:
        found = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        raise CrosstileError(
            f"{path}: input '{value.name}' has type {found}; supported: {', '.join(FLOAT_TYPES.values())}"
        )
    sizes = tensor.shape.dim
    if not 2 <= len(sizes) <= 5:
        raise CrosstileError(
            f"{path}: input '{value.name}' has {len(sizes)} axes; supported: 2 to 5, "
            "(frames, features) or (frames, channels, 1 to 3 spatial axes)"
        )
    for axis, size in enumerate(sizes):
        if axis and size.dim_value < 1:
            raise CrosstileError(
                f"{path}: input '{value.name}' has dynamic size '{size.dim_param or '?'}' on axis {axis}; "
                "only the frame axis 0 may be dynamic: export the model with a fixed size"
            )
    return tuple(size.dim_value for size in sizes[1:])
