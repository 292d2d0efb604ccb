"""Float layers merge into the integer network's layers, whatever is between, without any change of values."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from crosstile_golden.errors import CrosstileError
from crosstile_golden.float_layers import Add, Convolution, FloatLayer, LeakyRelu, Pool, Relu, Sigmoid, Tanh
from crosstile_golden.float_network import float_tensors
from crosstile_golden.geometry import ConvolutionGeometry, PoolGeometry
from crosstile_golden.graph import FloatGraph
from crosstile_golden.stages import merge, reference_tensors

Sources = tuple[tuple[str, ...], ...]


def conv(name: str) -> Convolution:
    """A convolution of two planes that keeps the shape (2, 6)."""
    geometry = ConvolutionGeometry(2, (6,), (3,), (1,), (1,), (1,), (1,), 2)
    generator = np.random.default_rng(sum(name.encode()))
    return Convolution(name, geometry, generator.normal(size=geometry.weight_shape), generator.normal(size=2))


def pool(name: str, kind: str = "max") -> Pool:
    """A pool that keeps the shape."""
    return Pool(name, PoolGeometry(2, (6,), (3,), (1,), (1,), (1,), (1,), kind))


def graph(*pairs: tuple[FloatLayer, tuple[str, ...]]) -> FloatGraph:
    layers, sources = zip(*pairs, strict=True)
    return FloatGraph("g", (2, 6), layers, (2, 6), [], sources)


def summary(floats: FloatGraph, input_negative: bool = True) -> list[str]:
    """Each stage as `name(what it reads)` and its activations; its values checked against the float graph's."""
    stages = merge(floats, input_negative)
    frames = np.random.default_rng(0).normal(size=(3, 2, 6))
    frames = frames if input_negative else np.abs(frames)
    real, merged = float_tensors(floats, frames), reference_tensors(floats, frames, input_negative)
    assert list(merged) == [stage.layer.name for stage in stages]
    assert stages[-1].output == floats.layers[-1].name
    np.testing.assert_allclose(merged[stages[-1].layer.name], real[floats.layers[-1].name], rtol=1e-12, atol=1e-12)
    return [
        f"{stage.layer.name}({'+'.join(name or 'x' for name in stage.reads)})"
        + "".join(f".{activation.name}" for activation in stage.activations)
        for stage in stages
    ]


MERGED: dict[str, tuple[Callable[[], FloatGraph], list[str]]] = {
    "activation": (lambda: graph((conv("c"), ("",)), (LeakyRelu("l", 2), ("c",))), ["c(x).l"]),
    "behind max pools": (
        lambda: graph((conv("c"), ("",)), (pool("p"), ("c",)), (pool("q"), ("p",)), (Tanh("t"), ("q",))),
        ["c(x).t", "p(c)", "q(p)"],
    ),
    "nothing negative after a sigmoid": (
        lambda: graph(
            (conv("c"), ("",)), (Sigmoid("s"), ("c",)), (pool("p", "average"), ("s",)), (Relu("r"), ("p",)),
            (LeakyRelu("l", 1), ("r",)),
        ),
        ["c(x).s", "p(c)"],
    ),
    "relu and clip": (
        lambda: graph((conv("c"), ("",)), (Relu("r"), ("c",)), (Relu("clip", 0.5), ("r",))), ["c(x).r.clip"],
    ),
    "identity shortcut": (
        lambda: graph(
            (conv("c"), ("",)), (Relu("r"), ("c",)), (conv("d"), ("r",)), (Add("a"), ("r", "d")), (Relu("s"), ("a",)),
        ),
        ["c(x).r", "d(c+c).s"],
    ),
    "an Add, a max pool, and the activation": (
        lambda: graph((conv("c"), ("",)), (Add("a"), ("", "c")), (pool("p"), ("a",)), (Relu("r"), ("p",))),
        ["c(x+x).r", "p(c)"],
    ),
    "the farther operand carries the other": (
        lambda: graph(
            (conv("c"), ("",)), (conv("d"), ("c",)), (conv("e"), ("",)), (Add("a"), ("e", "d")), (Tanh("t"), ("a",)),
        ),
        ["c(x)", "e(x)", "d(c+e).t"],
    ),
    "as far, the later operand": (
        lambda: graph((conv("c"), ("",)), (conv("d"), ("",)), (Add("a"), ("d", "c"))), ["c(x)", "d(x+c)"],
    ),
    "the nearer operand, where the farther has an activation": (
        lambda: graph(
            (conv("e"), ("",)), (conv("c"), ("",)), (Relu("r"), ("c",)), (conv("d"), ("r",)), (Relu("s"), ("d",)),
            (Add("a"), ("s", "e")),
        ),
        ["c(x).r", "d(c).s", "e(x+d)"],
    ),
    "a pool as residual": (
        lambda: graph((pool("p", "average"), ("",)), (conv("c"), ("",)), (Add("a"), ("c", "p"))), ["p(x)", "c(x+p)"],
    ),
    "a sum of three": (
        lambda: graph(
            (conv("c"), ("",)), (conv("d"), ("",)), (Add("a"), ("c", "d")), (conv("e"), ("",)), (Add("b"), ("a", "e")),
        ),
        ["c(x)", "d(x+c)", "e(x+d)"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MERGED)
def test_layers_merge(case: str) -> None:
    build, expected = MERGED[case]
    assert summary(build()) == expected


def test_a_relu_of_an_input_without_negative_values_is_dropped() -> None:
    floats = graph((Relu("r"), ("",)), (conv("c"), ("r",)))
    assert summary(floats, input_negative=False) == ["c(x)"]


WHERE = "supported: after a convolution, a fully connected layer or an Add, also with max pools between"
NO_CARRIER = (
    "supported: one of the two is a convolution or fully connected layer that only this Add reads, "
    "without an activation between"
)
REFUSED: dict[str, tuple[list[Any], str]] = {
    "sigmoid of the input": (
        [(Sigmoid("s"), ("",)), (conv("c"), ("s",))], f"node 's' (Sigmoid): reads the model's input; {WHERE}",
    ),
    "tanh of an average": (
        [(conv("c"), ("",)), (pool("p", "average"), ("c",)), (Tanh("t"), ("p",))],
        f"node 't' (Tanh): reads the average pool 'p'; {WHERE}",
    ),
    "relu of a sum that may be negative": (
        [(conv("c"), ("",)), (pool("p", "sum"), ("c",)), (Relu("r"), ("p",))],
        f"node 'r' (Relu): reads the sum pool 'p', which may be negative; {WHERE}",
    ),
    "shared with an activation": (
        [(conv("c"), ("",)), (Relu("r"), ("c",)), (conv("d"), ("c",)), (Add("a"), ("r", "d"))],
        "node 'r' (Relu): reads what 'c' gives, as others do; supported: where it is the only one",
    ),
    "shared before a max pool": (
        [(conv("c"), ("",)), (pool("p"), ("c",)), (Relu("r"), ("p",)), (conv("d"), ("c",)), (Add("a"), ("r", "d"))],
        "node 'r' (Relu): reads what 'c' gives, as others do; supported: where it is the only one",
    ),
    "shared behind a relu that was dropped": (
        [
            (conv("c"), ("",)), (Relu("r"), ("c",)), (Relu("same"), ("r",)), (Relu("clip", 1.0), ("same",)),
            (conv("d"), ("same",)), (Add("a"), ("clip", "d")),
        ],
        "node 'clip' (Clip): reads what 'same' gives, as others do; supported: where it is the only one",
    ),
    "shared before a relu that was dropped": (
        [
            (conv("c"), ("",)), (Relu("r"), ("c",)), (Relu("same"), ("r",)), (Relu("clip", 1.0), ("same",)),
            (conv("d"), ("r",)), (Add("a"), ("clip", "d")),
        ],
        "node 'clip' (Clip): reads what 'r' gives, as others do; supported: where it is the only one",
    ),
    "two activations": (
        [(conv("c"), ("",)), (Tanh("t"), ("c",)), (Relu("r"), ("t",))],
        "node 'r' (Relu): follows 't'; supported: one activation after a convolution",
    ),
    "an Add behind activations": (
        [(conv("c"), ("",)), (Relu("r"), ("c",)), (Add("a"), ("r", ""))],
        f"node 'a' (Add): adds 'r' and the model's input; {NO_CARRIER}",
    ),
    "an Add of what others read": (
        [(conv("c"), ("",)), (conv("d"), ("c",)), (Relu("r"), ("d",)), (Add("a"), ("c", "r"))],
        f"node 'a' (Add): adds 'c' and 'r'; {NO_CARRIER}",
    ),
    "an Add of one tensor twice": (
        [(conv("c"), ("",)), (Add("a"), ("c", "c"))], f"node 'a' (Add): adds 'c' and 'c'; {NO_CARRIER}",
    ),
    "an Add of an Add and a pool": (
        [(conv("c"), ("",)), (Add("a"), ("c", "")), (pool("p"), ("",)), (Add("b"), ("a", "p"))],
        f"node 'b' (Add): adds 'a' and 'p'; {NO_CARRIER}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_convolution_takes_in_is_refused(case: str) -> None:
    pairs, message = REFUSED[case]
    with pytest.raises(CrosstileError) as error:
        merge(graph(*pairs), input_negative=True)
    assert str(error.value) == message
