"""Any kernel, stride and dilation, in parts of 3, 2 and 1, equals direct convolution; and the parts waste least."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from crosstile_golden.convolution import convolution
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import ConvolutionGeometry
from crosstile_golden.winograd_split import AxisSplit, Part, split, split_convolution, split_multiplications
from geometries import SETTINGS, convolution_geometries
from hypothesis import given, settings
from hypothesis import strategies as st


def operands(geometry: ConvolutionGeometry, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    frames = generator.integers(-128, 128, (2, geometry.in_channels, *geometry.input_size))
    return frames, generator.integers(-128, 128, geometry.weight_shape)


def check(geometry: ConvolutionGeometry, seed: int = 0) -> None:
    frames, weight = operands(geometry, seed)
    found = split_convolution(frames, weight, geometry)
    np.testing.assert_array_equal(found, convolution(frames, weight, geometry))
    plenty = [AxisSplit(*axis) for axis in zip(geometry.kernel, geometry.stride, geometry.dilation, strict=True)]
    np.testing.assert_array_equal(split_convolution(frames, weight, geometry, plenty), found)


@given(convolution_geometries(), st.integers(0, 2**32 - 1))
@settings(**SETTINGS)
def test_parts_equal_direct_convolution(geometry: ConvolutionGeometry, seed: int) -> None:
    """1, 2 and 3 axes, strides to 5, dilations to 3, groups, padding unlike at each end, sizes of all remainders."""
    check(geometry, seed)


@pytest.mark.parametrize("kernel", range(1, 12))
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (3, 1), (1, 2), (1, 3), (2, 2), (4, 2), (2, 3)])
def test_every_kernel_to_11_equals_direct_convolution(kernel: int, stride: int, dilation: int) -> None:
    span = (kernel - 1) * dilation + 1
    for spare in range(5):
        size = span + 8 + spare
        check(ConvolutionGeometry(2, (size,), (kernel,), (stride,), (dilation,), (span // 2,), (spare,), 2))


KNOWN = {
    (1, 1): "1", (2, 1): "2", (3, 1): "3", (4, 1): "2 2", (5, 1): "3 2", (6, 1): "3 3", (7, 1): "3 2 2",
    (9, 1): "3 3 3", (11, 1): "3 3 3 2", (3, 2): "2 1", (5, 2): "3 2", (7, 2): "2 2 3",
}  # fmt: skip


@pytest.mark.parametrize(("kernel", "stride"), KNOWN)
def test_sizes_are_those_known(kernel: int, stride: int) -> None:
    assert " ".join(str(part.size) for part in AxisSplit(kernel, stride).parts) == KNOWN[kernel, stride]


def test_parts_say_offset_phase_and_size() -> None:
    assert AxisSplit(5).parts == (Part(0, 0, 3, 0), Part(3, 0, 2, 3))
    assert AxisSplit(3, stride=2).parts == (Part(0, 0, 2, 0), Part(0, 1, 1, 1))
    assert AxisSplit(3, dilation=2).parts == (Part(0, 0, 3, 0),)
    assert (AxisSplit(3, dilation=2).spacing, AxisSplit(3, dilation=2).step) == (2, 1)
    assert AxisSplit(4, stride=2, dilation=3).parts == (Part(0, 0, 2, 0), Part(1, 1, 2, 1))


@pytest.mark.parametrize("kernel", range(1, 12))
@pytest.mark.parametrize(("stride", "dilation"), list(itertools.product((1, 2, 3, 4), (1, 2, 3, 6))))
def test_every_tap_is_in_one_part_and_reads_its_own_input(kernel: int, stride: int, dilation: int) -> None:
    axis = AxisSplit(kernel, stride, dilation)
    seen = []
    for part in axis.parts:
        for index in range(part.size):
            tap = part.tap + index * axis.step
            seen.append(tap)
            assert (part.offset + index * axis.spacing) * stride + part.phase == tap * dilation
    assert sorted(seen) == list(range(kernel))


def cost(sizes: tuple[int, ...], outputs: int) -> int:
    return sum(4 * -(-outputs // (5 - size)) for size in sizes)


@pytest.mark.parametrize("kernel", range(1, 12))
def test_no_other_sizes_take_fewer_multiplications(kernel: int) -> None:
    """Against every way to add up to the kernel, for each number of outputs."""
    every = [
        sizes for count in range(1, kernel + 1)
        for sizes in itertools.combinations_with_replacement((3, 2, 1), count) if sum(sizes) == kernel
    ]  # fmt: skip
    for outputs in range(1, 26):
        axis = AxisSplit(kernel, outputs=outputs)
        own = tuple(part.size for part in axis.parts)
        assert axis.multiplications == cost(own, outputs) == min(cost(sizes, outputs) for sizes in every)
        best = [sizes for sizes in every if cost(sizes, outputs) == cost(own, outputs)]
        assert len(own) == min(map(len, best))


@pytest.mark.parametrize(
    ("kernel", "stride", "expected"),
    [(1, 1, "1"), (2, 1, "4/3"), (3, 1, "2"), (4, 1, "8/3"), (5, 1, "10/3"), (7, 1, "14/3"), (11, 1, "22/3"),
     (3, 2, "7/3"), (5, 2, "10/3"), (7, 2, "14/3")],
)  # fmt: skip
def test_multiplications_per_output(kernel: int, stride: int, expected: str) -> None:
    assert AxisSplit(kernel, stride).multiplications == Fraction(expected)


def test_the_edges_of_a_map_decide_between_sizes() -> None:
    """9 outputs: 4 taps as 2 + 2 take 3 tiles twice. 4 outputs: 2 tiles twice, but as 3 + 1 two tiles and one."""
    assert [part.size for part in AxisSplit(4, outputs=9).parts] == [2, 2]
    assert [part.size for part in AxisSplit(4, outputs=4).parts] == [3, 1]
    assert [part.size for part in AxisSplit(5, outputs=4).parts] == [3, 2]


def test_multiplications_of_a_layer_are_those_of_its_tiles() -> None:
    geometry = ConvolutionGeometry(3, (10, 9), (5, 3), (1, 2), (1, 1), (2, 1), (2, 1), 4)
    rows, columns = 4 * (5 + 4), 4 * (2 + 2)  # 10 outputs by 3 and by 2 taps; 5 outputs by 2 taps and by 1
    assert geometry.output_size == (10, 5)
    assert [axis.multiplications for axis in split(geometry)] == [rows, columns]
    assert split_multiplications(geometry) == 12 * rows * columns


@pytest.mark.parametrize("field", ["kernel", "stride", "dilation", "outputs"])
def test_numbers_below_one_are_refused(field: str) -> None:
    with pytest.raises(CrosstileError) as error:
        AxisSplit(**{"kernel": 3, field: 0})
    assert str(error.value) == f"{field} of a split axis must be 1 or more, not 0"


def test_shapes_other_than_the_geometry_s_are_refused() -> None:
    geometry = ConvolutionGeometry(1, (6,), (3,), (1,), (1,), (0,), (0,), 2)
    frames, weight = operands(geometry, 0)
    with pytest.raises(CrosstileError) as error:
        split_convolution(frames, weight[:, :, :2], geometry)
    assert str(error.value) == "weight must have shape (2, 1, 3), not (2, 1, 2)"
    with pytest.raises(CrosstileError) as error:
        split_convolution(frames[:, :, :5], weight, geometry)
    assert str(error.value) == "frames of shape (2, 1, 5) do not match the layer's input (frames, 1, 6)"


def test_a_part_at_a_wrong_offset_gives_another_result(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = ConvolutionGeometry(1, (9,), (5,), (1,), (1,), (2,), (2,), 1)
    wrong = (Part(0, 0, 3, 0), Part(2, 0, 2, 3))
    monkeypatch.setattr(AxisSplit, "parts", wrong)
    with pytest.raises(AssertionError):
        check(geometry)
