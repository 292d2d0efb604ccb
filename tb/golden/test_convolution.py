"""The convolution equals plain loops, SciPy and ONNX Runtime, exactly."""

import itertools

import numpy as np
import pytest
from crosstile_golden.convolution import convolution
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import ConvolutionGeometry
from geometries import SETTINGS, convolution_geometries
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_files import model, run_onnxruntime, save
from scipy.signal import correlate


def loops(frames: np.ndarray, weight: np.ndarray, geometry: ConvolutionGeometry) -> np.ndarray:
    """The definition, in Python's integers: frames, filters, outputs, channels, taps, each a plain loop."""
    shape = (len(frames), geometry.out_channels, *geometry.output_size)
    result = np.zeros(shape, dtype=object)
    channels, filters = geometry.in_channels // geometry.groups, geometry.out_channels // geometry.groups
    for n, f, *output in itertools.product(*map(range, shape)):
        for c, *tap in itertools.product(*map(range, (channels, *geometry.kernel))):
            place = [
                output[axis] * geometry.stride[axis]
                + tap[axis] * geometry.dilation[axis]
                - geometry.padding_begin[axis]
                for axis in range(geometry.dimensions)
            ]
            if all(0 <= where < size for where, size in zip(place, geometry.input_size, strict=True)):
                pixel = frames[(n, f // filters * channels + c, *place)]
                result[(n, f, *output)] += int(weight[(f, c, *tap)]) * int(pixel)
    return result


def operands(geometry: ConvolutionGeometry, seed: int, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    frames = generator.integers(-128, 128, (count, geometry.in_channels, *geometry.input_size))
    return frames, generator.integers(-127, 128, geometry.weight_shape)


@given(convolution_geometries(), st.integers(0, 2**32 - 1))
@settings(**SETTINGS)
def test_convolution_equals_plain_loops(geometry: ConvolutionGeometry, seed: int) -> None:
    frames, weight = operands(geometry, seed)
    result = convolution(frames, weight, geometry)
    assert result.dtype == np.int64
    assert result.tolist() == loops(frames, weight, geometry).tolist()


DEGENERATE = {
    "one element": ConvolutionGeometry(1, (1, 1), (1, 1), (1, 1), (1, 1), (0, 0), (0, 0), 1),
    "only padding and one row": ConvolutionGeometry(2, (1, 3), (3, 3), (1, 1), (1, 1), (2, 0), (2, 0), 2),
    "a window wholly in the padding": ConvolutionGeometry(1, (2,), (2,), (1,), (1,), (3,), (4,), 2),
    "stride beyond the kernel": ConvolutionGeometry(2, (11,), (2,), (5,), (1,), (0,), (1,), 3),
    "stride beyond the input": ConvolutionGeometry(1, (3, 3), (1, 1), (7, 7), (1, 1), (0, 0), (0, 0), 1),
    "depthwise": ConvolutionGeometry(4, (5, 5), (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 4, 4),
    "depthwise with a multiplier": ConvolutionGeometry(
        2, (4, 4), (2, 2), (1, 1), (1, 1), (0, 1), (1, 0), 6, 2
    ),
    "the whole map": ConvolutionGeometry(3, (4, 5), (4, 5), (1, 1), (1, 1), (0, 0), (0, 0), 7),
    "three dimensions": ConvolutionGeometry(
        2, (3, 4, 5), (2, 3, 2), (1, 2, 3), (2, 1, 1), (0, 2, 1), (1, 0, 0), 2
    ),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_convolution_of_unusual_geometry_equals_plain_loops(name: str) -> None:
    frames, weight = operands(DEGENERATE[name], seed=1)
    result = convolution(frames, weight, DEGENERATE[name])
    assert result.tolist() == loops(frames, weight, DEGENERATE[name]).tolist()


@pytest.mark.parametrize("size", [(17,), (9, 12), (5, 6, 7)])
def test_convolution_equals_scipy(size: tuple[int, ...]) -> None:
    ones, zeros = (1,) * len(size), (0,) * len(size)
    geometry = ConvolutionGeometry(3, size, (3,) * len(size), ones, ones, zeros, zeros, 4)
    frames, weight = operands(geometry, seed=2)
    expected = [
        [correlate(frame, taps, mode="valid", method="direct")[0] for taps in weight] for frame in frames
    ]
    assert convolution(frames, weight, geometry).tolist() == np.array(expected).tolist()


@given(geometry=convolution_geometries(), seed=st.integers(0, 2**32 - 1))
@settings(**{**SETTINGS, "max_examples": 40})
def test_convolution_equals_onnxruntime(
    geometry: ConvolutionGeometry, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # float32 is exact here: at most 3·27 products of 2^14 stay below 2^24.
    frames, weight = operands(geometry, seed)
    node = helper.make_node(
        "Conv",
        ["x", "w"],
        ["y"],
        strides=geometry.stride,
        dilations=geometry.dilation,
        pads=[*geometry.padding_begin, *geometry.padding_end],
        group=geometry.groups,
    )
    proto = model(
        [node], [None, geometry.in_channels, *geometry.input_size], {"w": weight.astype(np.float32)}
    )
    path = save(proto, tmp_path_factory.mktemp("onnx"))
    expected = run_onnxruntime(path, frames.astype(np.float32))
    assert convolution(frames, weight, geometry).tolist() == expected.astype(np.int64).tolist()


def test_sums_beyond_float64_stay_exact() -> None:
    geometry = ConvolutionGeometry(3, (2,), (2,), (1,), (1,), (0,), (0,), 1)
    frames = np.full((1, 3, 2), 2**31 - 1)
    weight = np.full(geometry.weight_shape, 2**28 + 1)
    assert int(convolution(frames, weight, geometry)[0, 0, 0]) == 6 * (2**31 - 1) * (2**28 + 1)


def test_many_frames_in_chunks_equal_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = ConvolutionGeometry(2, (6, 6), (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 3)
    frames, weight = operands(geometry, seed=3, count=7)
    whole = convolution(frames, weight, geometry)
    monkeypatch.setattr("crosstile_golden.convolution.COLUMN_ELEMENTS", 2000)
    assert convolution(frames, weight, geometry).tolist() == whole.tolist()


def test_no_frame_gives_no_frame() -> None:
    geometry = ConvolutionGeometry(1, (4,), (3,), (1,), (1,), (0,), (0,), 2)
    empty = np.zeros((0, 1, 4), dtype=np.int64)
    assert convolution(empty, np.ones((2, 1, 3), dtype=np.int64), geometry).shape == (0, 2, 2)


SMALL = ConvolutionGeometry(1, (4,), (3,), (1,), (1,), (0,), (0,), 2)


@pytest.mark.parametrize(
    ("frames", "weight", "message"),
    [
        (
            np.zeros((1, 1, 5), np.int64),
            np.zeros((2, 1, 3), np.int64),
            "frames of shape (1, 1, 5) do not match the layer's input (frames, 1, 4)",
        ),
        (
            np.zeros((1, 1, 4), np.int64),
            np.zeros((2, 1, 2), np.int64),
            "weight must have shape (2, 1, 3), not (2, 1, 2)",
        ),
        (
            np.zeros((1, 1, 4)),
            np.zeros((2, 1, 3), np.int64),
            "frames of an integer convolution must be integers, not float64",
        ),
        (
            np.full((1, 1, 4), 2**40),
            np.full((2, 1, 3), 2**40),
            "a convolution's sums may need 83 bits; supported: 64",
        ),
    ],
    ids=["frames", "weight", "type", "width"],
)
def test_operands_that_do_not_fit_are_refused(frames: np.ndarray, weight: np.ndarray, message: str) -> None:
    with pytest.raises(CrosstileError) as error:
        convolution(frames, weight, SMALL)
    assert str(error.value) == message
