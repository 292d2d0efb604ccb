"""The command line as its users see it: a tiny model to compile, and commands run in this process."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from crosstile_cli.main import main
from onnx import TensorProto, helper, numpy_helper

INPUT_SHAPE = (1, 6, 6)
OUTPUTS = 5
OPSET = 18


@dataclass(frozen=True)
class Answer:
    """What a command left: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Crosstile = Callable[..., Answer]


def runner(capsys: pytest.CaptureFixture[str]) -> Crosstile:
    """Return a function that runs `crosstile` with these arguments; a traceback fails the test."""

    def crosstile(*arguments: object) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Answer(end.value.code if isinstance(end.value.code, int) else 1, out, err)

    return crosstile


def model(
    nodes: list[onnx.NodeProto], weights: dict[str, Any], input_shape: list[int | str] | None = None
) -> onnx.ModelProto:
    """Return a model from input x to output y."""
    shape: list[int | str] = ["frames", *INPUT_SHAPE] if input_shape is None else input_shape
    graph = helper.make_graph(
        nodes, "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def tiny_weights() -> dict[str, Any]:
    random = np.random.default_rng(3)
    return {
        "filters": random.normal(0, 0.5, (4, 1, 3, 3)), "bias": random.normal(0, 0.1, 4),
        "features": random.normal(0, 0.3, (4 * 3 * 3, OUTPUTS)), "offsets": random.normal(0, 0.1, OUTPUTS),
    }


def tiny_model(weights: dict[str, Any] | None = None) -> onnx.ModelProto:
    """Return a network like digits, smaller: convolution, ReLU, max pool, fully connected."""
    nodes = [
        helper.make_node("Conv", ["x", "filters", "bias"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("MaxPool", ["r"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "features", "offsets"], ["y"], name="fc"),
    ]
    return model(nodes, weights or tiny_weights())


def frames(count: int, seed: int = 0) -> np.ndarray:
    """Return random frames for the tiny model, from 0 to 1."""
    return np.random.default_rng(seed).random((count, *INPUT_SHAPE), dtype=np.float32)


@dataclass(frozen=True)
class Inputs:
    """A folder with the tiny model, its calibration frames and three frames to run."""

    folder: Path

    @staticmethod
    def write(folder: Path) -> Inputs:
        inputs = Inputs(folder)
        inputs.model.write_bytes(tiny_model().SerializeToString())
        np.save(inputs.calibration, frames(16))
        np.save(inputs.frames, frames(3, seed=1))
        return inputs

    @property
    def model(self) -> Path:
        return self.folder / "tiny.onnx"

    @property
    def calibration(self) -> Path:
        return self.folder / "calibration.npy"

    @property
    def frames(self) -> Path:
        return self.folder / "frames.npy"

    def compile(self, build: Path, *options: object) -> list[object]:
        """Return the arguments that compile the tiny model into `build`."""
        return ["compile", self.model, "--calibrate", self.calibration, "-o", build, *options]


def compile_quietly(inputs: Inputs, build: Path, multipliers: int) -> Path:
    """Compile the tiny model, where there is no test whose output could be captured; return `build`."""
    with redirect_stdout(io.StringIO()), pytest.raises(SystemExit, match="0"):
        main([str(argument) for argument in inputs.compile(build, "--multipliers", multipliers)])
    return build


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, hidden ones too, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def refusal(crosstile: Crosstile, folder: Path, *arguments: object) -> str:
    """Run a command that must be refused; return its one line, without the program's name."""
    before = contents(folder)
    answer = crosstile(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("crosstile: ")
    assert answer.err.count("\n") == 1
    assert contents(folder) == before
    return answer.err.removeprefix("crosstile: ").removesuffix("\n")
