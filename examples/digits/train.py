"""Train the digits network again and write it as a float ONNX model.

    python examples/digits/train.py [--output digits.onnx] [--seed 0]

Needs PyTorch, onnx, onnxruntime and scikit-learn: pip install 'crosstile[train,examples]'. Takes about half a
minute on one core. Equal seeds give equal bytes on one machine and PyTorch version; another machine may round
differently. The held-out images choose nothing, no epoch and no seed: they measure the finished model.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from data import Digits, load
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

EPOCHS = 120
BATCH = 64
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 1e-3
LABEL_SMOOTHING = 0.05
SHIFT_PROBABILITY = 0.5
OPSET = 17
IR_VERSION = 8  # the first that opset 17 needs, and so the one that most readers know


def build_network() -> nn.Sequential:
    """Return the untrained network: (frames, 1, 8, 8) images to (frames, 10) logits."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def shifted(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return the images, about half of them moved by up to one pixel along each axis over empty paper."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    offsets = torch.randint(0, 3, (len(images), 2), generator=generator)
    stay = torch.rand(len(images), generator=generator) >= SHIFT_PROBABILITY
    offsets[stay] = 1
    moved = [
        image[:, row : row + 8, column : column + 8]
        for image, (row, column) in zip(padded, offsets.tolist(), strict=True)
    ]
    return torch.stack(moved)


def train(digits: Digits, seed: int) -> nn.Sequential:
    """Return the network trained on the training images: AdamW, one learning-rate cycle, cross-entropy."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # sums in one order
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(seed)
    network = build_network()
    images, labels = torch.from_numpy(digits.training_images), torch.from_numpy(digits.training_labels)
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = EPOCHS * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=LEARNING_RATE, total_steps=steps)
    criterion = nn.CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images), generator=generator).split(BATCH):
            loss = criterion(network(shifted(images[batch], generator)), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def layers(network: nn.Sequential) -> list[tuple[str, str, nn.Module, dict[str, Any]]]:
    """Return, in order, each layer's ONNX operator, its name, its PyTorch module and its ONNX attributes."""
    convolution = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]}
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    described: list[tuple[str, str, dict[str, Any]]] = [
        ("Conv", "conv1", convolution), ("Relu", "relu1", {}),
        ("Conv", "conv2", convolution), ("Relu", "relu2", {}), ("MaxPool", "pool2", pool),
        ("Conv", "conv3", convolution), ("Relu", "relu3", {}), ("AveragePool", "pool3", pool),
        ("Flatten", "flatten", {"axis": 1}), ("Gemm", "dense", {"transB": 1}),
    ]  # fmt: skip
    return [
        (operator, name, module, attributes)
        for (operator, name, attributes), module in zip(described, network, strict=True)
    ]


def export(network: nn.Sequential) -> onnx.ModelProto:
    """Return the network as an ONNX model, node by node, so that it holds the graph and nothing else.

    Input "image" is (frames, 1, 8, 8), output "logits" (frames, 10); "frames" is dynamic.
    """
    nodes, initializers, source = [], [], "image"
    for operator, name, module, attributes in layers(network):
        tensors = {f"{name}.{key}": tensor.detach().numpy() for key, tensor in module.named_parameters()}
        initializers += [numpy_helper.from_array(tensor, key) for key, tensor in tensors.items()]
        result = "logits" if name == "dense" else name
        nodes.append(helper.make_node(operator, [source, *tensors], [result], name=name, **attributes))
        source = result
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["frames", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["frames", 10])],
        initializers,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="crosstile")
    onnx.checker.check_model(model, full_check=True)
    return model


def logits(model: onnx.ModelProto, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ONNX Runtime's logits, shape (frames, 10)."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"image": images})[0]


def right(model: onnx.ModelProto, images: NDArray[np.float32], labels: NDArray[np.int64]) -> str:
    """Return how many images the model tells right, as "492 of 500 (98.4 %)"."""
    count = int((logits(model, images).argmax(axis=1) == labels).sum())
    return f"{count} of {len(labels)} ({100 * count / len(labels):.1f} %)"


def main() -> int:
    """Train, check the export against PyTorch, write the model and print its accuracy."""
    parser = argparse.ArgumentParser(description="Train the digits network and write it as ONNX.")
    beside = Path(__file__).with_name("digits.onnx")
    parser.add_argument("--output", type=Path, default=beside, help="ONNX file (default: beside this script)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and shifts (default 0)")
    arguments = parser.parse_args()
    digits = load()
    network = train(digits, arguments.seed)
    model = export(network)
    with torch.no_grad():
        expected = network(torch.from_numpy(digits.heldout_images)).numpy()
    np.testing.assert_allclose(logits(model, digits.heldout_images), expected, rtol=1e-4, atol=1e-4)
    arguments.output.write_bytes(model.SerializeToString(deterministic=True))
    print(f"parameters  {sum(parameter.numel() for parameter in network.parameters()):,}")
    print(f"training    {right(model, digits.training_images, digits.training_labels)}")
    print(f"held out    {right(model, digits.heldout_images, digits.heldout_labels)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
