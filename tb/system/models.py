"""Small ONNX networks, one per thing that an engine claims, with the frames that calibrate and try them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from commands import model
from onnx import helper

Node = onnx.NodeProto


def _normal(seed: int, *shape: int) -> np.ndarray:
    spread = float(np.prod(shape[1:])) ** -0.5
    return np.random.default_rng(seed).normal(0, 1.5 * spread, shape)


def convolution(source: str, name: str, **attributes: Any) -> Node:
    """Return a convolution that reads `source`, its weights `{name}_w` and its bias `{name}_b`."""
    return helper.make_node("Conv", [source, f"{name}_w", f"{name}_b"], [name], name=name, **attributes)


def node(op: str, sources: list[str], name: str, **attributes: Any) -> Node:
    return helper.make_node(op, sources, [name], name=name, **attributes)


def residual_network() -> tuple[list[Node], dict[str, Any], tuple[int, ...]]:
    same: dict[str, Any] = {"pads": [1, 1, 1, 1]}
    nodes = [
        convolution("x", "first", **same), node("Relu", ["first"], "a"),
        convolution("a", "one", **same), node("Relu", ["one"], "b"), convolution("b", "two", **same),
        node("Add", ["two", "a"], "sum"), node("Relu", ["sum"], "c"),
        convolution("c", "three", strides=[2, 2], **same), node("Relu", ["three"], "d"),
        convolution("d", "four", **same), convolution("c", "short", strides=[2, 2]),
        node("Add", ["four", "short"], "total"), node("Relu", ["total"], "e"),
        node("GlobalAveragePool", ["e"], "g"), node("Flatten", ["g"], "f"),
        node("Gemm", ["f", "out_w", "out_b"], "y"),
    ]
    shapes = {"first": (4, 2, 3, 3), "one": (4, 4, 3, 3), "two": (4, 4, 3, 3), "three": (6, 4, 3, 3),
              "four": (6, 6, 3, 3), "short": (6, 4, 1, 1), "out": (6, 3)}  # fmt: skip
    return nodes, _weights(shapes), (2, 8, 8)


def _weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    weights: dict[str, Any] = {}
    for seed, (name, shape) in enumerate(shapes.items()):
        filters = shape[1] if name == "out" else shape[0]
        weights |= {f"{name}_w": _normal(seed, *shape), f"{name}_b": _normal(seed + 99, filters)}
    return weights


def volume() -> tuple[list[Node], dict[str, Any], tuple[int, ...]]:
    nodes = [
        convolution("x", "first", pads=[1] * 6), node("Relu", ["first"], "a"),
        node("MaxPool", ["a"], "p", kernel_shape=[2, 2, 2], strides=[2, 2, 2]),
        convolution("p", "last", pads=[0, 1, 0, 1, 0, 1]), node("Tanh", ["last"], "y"),
    ]
    return nodes, _weights({"first": (4, 2, 3, 3, 3), "last": (3, 4, 2, 3, 2)}), (2, 4, 6, 5)


def signal() -> tuple[list[Node], dict[str, Any], tuple[int, ...]]:
    nodes = [
        convolution("x", "first", pads=[2, 2], dilations=[2]), node("LeakyRelu", ["first"], "a", alpha=0.125),
        node("MaxPool", ["a"], "p", kernel_shape=[2], strides=[2]),
        convolution("p", "depth", group=4, pads=[1, 1]), node("Relu", ["depth"], "c"),
        node("LpPool", ["c"], "s", kernel_shape=[3], strides=[2], p=1),
        convolution("s", "last"), node("Sigmoid", ["last"], "y"),
    ]
    return nodes, _weights({"first": (4, 2, 3), "depth": (4, 1, 3), "last": (2, 4, 1)}), (2, 24)


def image() -> tuple[list[Node], dict[str, Any], tuple[int, ...]]:
    nodes = [
        convolution("x", "first", pads=[0, 1, 1, 0]), node("Relu", ["first"], "a"),
        node("MaxPool", ["a"], "p", kernel_shape=[2, 2], strides=[2, 2]),
        convolution("p", "last", strides=[2, 1]), node("Relu", ["last"], "r"),
        node("AveragePool", ["r"], "y", kernel_shape=[1, 2], strides=[1, 2]),
    ]
    return nodes, _weights({"first": (4, 2, 3, 2), "last": (3, 4, 2, 2)}), (2, 7, 10)


MODELS = {"residuals": residual_network, "volume": volume, "signal": signal, "image": image}


@dataclass(frozen=True)
class Trial:
    """A model on disk, with its calibration frames and the frames to try."""

    folder: Path
    name: str

    @staticmethod
    def write(folder: Path, name: str, seed: int = 0) -> Trial:
        """Write a model; another seed gives another training of it."""
        nodes, weights, shape = MODELS[name]()
        generator = np.random.default_rng(seed)
        trained = {key: value * generator.uniform(0.7, 1.3, value.shape) if seed else value
                   for key, value in weights.items()}  # fmt: skip
        proto = model(nodes, trained, ["frames", *shape])
        (folder / f"{name}.onnx").write_bytes(proto.SerializeToString())
        np.save(folder / f"{name}_calibration.npy", generator.normal(0, 1, (12, *shape)).astype(np.float32))
        np.save(folder / f"{name}_frames.npy", generator.normal(0, 1, (2, *shape)).astype(np.float32))
        return Trial(folder, name)

    @property
    def frames(self) -> Path:
        """The frames to try."""
        return self.folder / f"{self.name}_frames.npy"

    def compile(self, build: Path, *options: object) -> list[object]:
        """Return the arguments that compile the model into `build`."""
        calibration = self.folder / f"{self.name}_calibration.npy"
        return ["compile", self.folder / f"{self.name}.onnx", "--calibrate", calibration, "-o", build, *options]
