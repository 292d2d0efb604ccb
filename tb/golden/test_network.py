"""The integer network: chaining, reshaping, and its file."""

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crosstile_golden.activation import NONE, RELU, Activation
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import ConvolutionGeometry, PoolGeometry
from crosstile_golden.layers import ConvolutionLayer, PoolLayer, Residual
from crosstile_golden.network import IntegerNetwork, Sources
from crosstile_golden.numbers import NumberFormat

INT8, UINT8 = NumberFormat(8, True), NumberFormat(8, False)


def convolution_layer(
    name: str, geometry: ConvolutionGeometry, read: NumberFormat, relu: bool,
    activation: Activation = NONE, align: int = 0, arriving: NumberFormat | None = None,
) -> ConvolutionLayer:
    generator = np.random.default_rng(len(name))
    filters = geometry.out_channels
    weight = generator.integers(-127, 128, geometry.weight_shape)
    bias, shift = generator.integers(-999, 999, filters), generator.integers(6, 10, filters)
    result, activation = (UINT8, RELU) if relu else (INT8, activation)
    residual = arriving and Residual(arriving, np.full(filters, align))
    return ConvolutionLayer(name, geometry, weight, bias, shift, 8, read, result, activation, residual)


def network() -> IntegerNetwork:
    first = ConvolutionGeometry(1, (6, 6), (3, 3), (1, 1), (1, 1), (1, 0), (0, 1), 4)
    pooling = PoolGeometry(4, first.output_size, (2, 2), (2, 2), (1, 1), (0, 0), (0, 0), "average")
    last = ConvolutionGeometry(4, pooling.output_size, pooling.output_size, (1, 1), (1, 1), (0, 0), (0, 0), 3)
    layers = (
        convolution_layer("first", first, INT8, relu=True),
        PoolLayer("pool", pooling, 2, UINT8),
        convolution_layer("last", last, UINT8, relu=False),
    )
    return IntegerNetwork("tiny", (1, 6, 6), INT8, 31.7, layers, 0.1, (3,), "shift")


def branches() -> IntegerNetwork:
    """A convolution with the network's input as residual, its output again as the residual of a third one."""
    same = ConvolutionGeometry(1, (6, 6), (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 1)
    pooling = PoolGeometry(1, (6, 6), (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), "sum")
    table = Activation("table", table=tuple(range(-8, 8)))
    layers = (
        convolution_layer("first", same, INT8, relu=False, activation=Activation("leaky", 3), align=2, arriving=INT8),
        PoolLayer("pool", pooling, 4, INT8),
        convolution_layer("last", same, INT8, relu=False, activation=table, align=-3, arriving=INT8),
    )
    sources = (Sources("", ""), Sources("first"), Sources("pool", "first"))
    return IntegerNetwork("tiny", (1, 6, 6), INT8, 31.7, layers, 0.1, (1, 6, 6), "shift", sources)


def frames(count: int = 5) -> np.ndarray:
    return np.random.default_rng(9).integers(-128, 128, (count, 1, 6, 6))


def test_run_is_the_last_tensor_in_the_models_shape() -> None:
    tensors = network().tensors(frames())
    assert list(tensors) == ["first", "pool", "last"]
    assert [array.shape for array in tensors.values()] == [(5, 4, 5, 5), (5, 4, 2, 2), (5, 3, 1, 1)]
    assert network().run(frames()).tolist() == tensors["last"].reshape(5, 3).tolist()


def test_input_is_scaled_rounded_and_saturated() -> None:
    values = [0.0, 0.5 / 31.7, -0.5 / 31.7, 4.0, 1e30, -1e30]
    real = np.array(values * 6).reshape(1, 1, 6, 6)
    assert network().quantise_input(real)[0, 0, 0].tolist() == [0, 1, 0, 127, 127, -128]


def test_branches_read_what_their_sources_say() -> None:
    net = branches()
    first, pooling, last = net.layers
    assert isinstance(first, ConvolutionLayer) and isinstance(last, ConvolutionLayer)
    tensors = net.tensors(frames())
    expected = first.run(frames(), frames())
    assert tensors["first"].tolist() == expected.tolist()
    assert tensors["last"].tolist() == last.run(pooling.run(expected), expected).tolist()
    assert tensors["last"].tolist() != last.run(pooling.run(expected), frames()).tolist()


@pytest.mark.parametrize("build", [network, branches])
def test_saving_and_loading_gives_the_same_network(build: Callable[[], IntegerNetwork], tmp_path: Path) -> None:
    original, path = build(), tmp_path / "network.npz"
    original.save(path)
    loaded = IntegerNetwork.load(path)
    assert replace(loaded, layers=original.layers).__dict__ == original.__dict__
    for ours, theirs in zip(loaded.layers, original.layers, strict=True):
        assert type(ours) is type(theirs)
        for field, value in vars(theirs).items():
            if isinstance(value, Residual):
                assert ours.residual.number_format == value.number_format
                assert ours.residual.align.tolist() == value.align.tolist()
            else:
                assert np.array_equal(getattr(ours, field), value), field
    assert loaded.run(frames()).tolist() == original.run(frames()).tolist()


def test_saving_twice_gives_the_same_bytes_and_no_other_file(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        network().save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def archive(
    change: dict[str, Any], left_out: str = "", build: Callable[[], IntegerNetwork] = network
) -> bytes:
    """The bytes of the network's file with fields of its record changed and a member left out."""
    buffer = io.BytesIO()
    members = saved_members(build())
    record = {**json.loads(str(members["record"])), **change}
    members["record"] = np.array(json.dumps(record))
    np.savez(buffer, **{name: array for name, array in members.items() if name != left_out})
    return buffer.getvalue()


def saved_members(saved: IntegerNetwork) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.npz"
        saved.save(path)
        with np.load(path) as members:
            return dict(members)


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def foreign_npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros(3))
    return buffer.getvalue()


DAMAGED = "damaged Crosstile network ({}); compile the model again"
FILES = {
    "text": (b"not an archive", "not a Crosstile network"),
    "empty": (b"", "not a Crosstile network"),
    "npy": (npy(), "not a Crosstile network"),
    "other npz": (foreign_npz(), "not a Crosstile network"),
    "truncated": (archive({})[:-700], "damaged archive; compile the model again"),
    "other format": (archive({"format": "other"}), "not a Crosstile network"),
    "other version": (
        archive({"version": 99}),
        "network format version 99; this Crosstile reads version 2: compile the model again",
    ),
    "no weight": (archive({}, left_out="0.weight"), DAMAGED.format("no field '0.weight'")),
    "no align": (archive({}, left_out="2.align", build=branches), DAMAGED.format("no field '2.align'")),
    "other sources": (
        archive({"sources": [{"main": "pool", "residual": None}] * 3}, build=network),
        DAMAGED.format("layer 'first' reads 'pool', which is no layer before it"),
    ),
    "no layer": (archive({"layers": []}), DAMAGED.format("network 'tiny' has no layer")),
    "other shape": (
        archive({"input_shape": [1, 5, 5]}),
        DAMAGED.format("input_shape (1, 5, 5) of network 'tiny' does not hold (1, 6, 6)"),
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_that_are_not_networks_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    content, message = FILES[kind]
    path = tmp_path / "network.npz"
    path.write_bytes(content)
    with pytest.raises(CrosstileError) as error:
        IntegerNetwork.load(path)
    assert str(error.value) == f"{path}: {message}"


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "absent.npz"
    with pytest.raises(CrosstileError) as error:
        IntegerNetwork.load(path)
    assert str(error.value) == f"{path}: No such file or directory"


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((10, 8, 8)), "shape (10, 8, 8) does not match the model's input (frames, 1, 6, 6)"),
        (np.zeros((1, 6, 6)), "shape (1, 6, 6) does not match the model's input (frames, 1, 6, 6)"),
        (np.zeros((0, 1, 6, 6)), "it holds no frame; give at least one"),
        (np.full((1, 1, 6, 6), "a"), "type <U1 is not a real number; give floats or integers"),
        (np.ones((1, 1, 6, 6), complex), "type complex128 is not a real number; give floats or integers"),
        (np.full((2, 1, 6, 6), np.nan), "element (0, 0, 0, 0) is nan; every value must be finite"),
        (np.full((2, 1, 6, 6), -np.inf), "element (0, 0, 0, 0) is -inf; every value must be finite"),
    ],
    ids=["shape", "one frame", "empty", "text", "complex", "nan", "infinity"],
)
def test_input_arrays_that_do_not_fit_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(CrosstileError) as error:
        network().quantise_input(array)
    assert str(error.value) == f"input array: {message}"


def resourced(*sources: Sources) -> IntegerNetwork:
    return replace(branches(), sources=sources)


def aligned(arriving: NumberFormat, align: np.ndarray) -> ConvolutionLayer:
    last = branches().layers[2]
    assert isinstance(last, ConvolutionLayer)
    return replace(last, residual=Residual(arriving, align))


def changed(index: int, **fields: Any) -> IntegerNetwork:
    layers = list(network().layers)
    layers[index] = replace(layers[index], **fields)
    return replace(network(), layers=tuple(layers))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: changed(0, weight_bits=7), "layer 'first': weights -127..127 do not fit int7"),
        (
            lambda: changed(0, bias=np.zeros(3, np.int64)),
            "layer 'first': bias must be int64 of shape (4,), not int64 of (3,)",
        ),
        (
            lambda: changed(2, shift=np.zeros(3)),
            "layer 'last': shift must be int64 of shape (3,), not float64 of (3,)",
        ),
        (lambda: changed(2, shift=np.full(3, 63)), "layer 'last': shift must be from -62 to 62, not 63"),
        (lambda: changed(2, name="pool"), "network 'tiny' has 2 layers named 'pool'; names must differ"),
        (lambda: changed(1, number_format=INT8), "layer 'pool' reads int8 (4, 5, 5), not uint8 (4, 5, 5)"),
        (
            lambda: replace(network(), sources=(Sources(""),)),
            "sources must have an entry for each of 3 layers",
        ),
        (
            lambda: resourced(Sources("", ""), Sources("first"), Sources("pool")),
            "layer 'last' must have both a residual and a source of it, or neither",
        ),
        (
            lambda: resourced(Sources("", ""), Sources("first"), Sources("pool", "second")),
            "layer 'last' reads 'second', which is no layer before it",
        ),
        (
            lambda: resourced(Sources("", ""), Sources("first"), Sources("first", "first")),
            "layers ['last', 'pool'] of network 'tiny' are not read; only the last may be",
        ),
        (
            lambda: replace(branches(), layers=(*branches().layers[:2], aligned(UINT8, np.zeros(1, np.int64)))),
            "layer 'last' reads uint8 (1, 6, 6), not int8 (1, 6, 6)",
        ),
        (lambda: aligned(INT8, np.array([63])), "layer 'last': align must be from -62 to 62, not 63"),
        (
            lambda: aligned(INT8, np.zeros(2, np.int64)),
            "layer 'last': align must be int64 of shape (1,), not int64 of (2,)",
        ),
        (
            lambda: network().run(frames() + 0.5),
            "integer frames must be integers, not float64; use quantise_input",
        ),
        (lambda: network().run(frames() * 0 + 128), "integer frames 128..128 do not fit the input's int8"),
        (
            lambda: network().run(frames()[:, 0]),
            "frames of shape (5, 6, 6) do not match the layer's input (frames, 1, 6, 6)",
        ),
    ],
)
def test_networks_that_do_not_fit_together_are_refused(build: Any, message: str) -> None:
    with pytest.raises(CrosstileError) as error:
        build()
    assert str(error.value) == message
