"""Every input is read once, meets each weight that needs it in that one cycle, and no multiplier idles."""

import re
from math import prod
from typing import Any

import numpy as np
import pytest
from crosstile_golden.convolution import convolution
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import ConvolutionGeometry
from crosstile_golden.reuse import (
    components,
    layer_reads,
    layer_reads_sliding,
    outputs_of,
    reads_grouped,
    reads_sliding,
    reuse_counts,
    reuse_groups,
    schedule,
)

Axes = tuple[int, ...]


def claims(inputs: Axes, window: Axes, step: Axes) -> None:
    """Hold a schedule to all that is claimed of it."""
    plan = schedule(inputs, window, step)
    outputs = prod(map(outputs_of, inputs, window, step))
    assert plan.cycles == outputs
    assert plan.multipliers == prod(window)
    # No multiplier idles: each takes an input in every cycle, and adds to every output once.
    assert plan.inputs.shape == plan.outputs.shape == (outputs, prod(window))
    assert (np.sort(plan.outputs, axis=0) == np.arange(outputs)[:, None]).all()
    # Each meets the input that its output needs.
    taps = np.array(np.unravel_index(np.arange(prod(window)), window))[:, None, :]
    places = np.array(np.unravel_index(plan.outputs, tuple(map(outputs_of, inputs, window, step))))
    steps = np.array(step)[:, None, None]
    read = np.array(np.unravel_index(plan.inputs, inputs))
    assert (read == steps * places + taps).all()
    # Taps whose reaches are equal modulo q add to one output in every cycle: a column of the array.
    if len(inputs) == 1:
        reaches = np.arange(window[0]) // step[0] % outputs
        for reach in range(outputs):
            assert (plan.outputs[:, reaches == reach] == (np.arange(outputs)[:, None] - reach) % outputs).all()
    # Each input in one cycle only, as often as it is reused.
    cycles = np.broadcast_to(np.arange(outputs)[:, None], plan.inputs.shape)
    presented = np.unique(np.stack([plan.inputs.ravel(), cycles.ravel()]), axis=1)
    assert len(np.unique(presented[0])) == presented.shape[1] == reads_grouped(inputs, window, step)
    counts = np.bincount(plan.inputs.ravel(), minlength=prod(inputs)).reshape(inputs)
    np.testing.assert_array_equal(counts, reuse_counts(inputs, window, step))


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("window", range(1, 8))
def test_every_macro_window_along_one_axis(window: int, step: int) -> None:
    """All of p ≤ 12, w ≤ 7; more axes are products of these."""
    for inputs in range(window, 13):
        claims((inputs,), (window,), (step,))
        if step == 1:
            assert reads_grouped((inputs,), (window,), (1,)) == inputs


@pytest.mark.parametrize(
    ("inputs", "window", "step"),
    [
        ((3, 3), (2, 2), (1, 1)),
        ((34, 34), (3, 3), (1, 1)),
        ((6, 9), (3, 2), (1, 1)),
        ((7, 7), (3, 3), (2, 2)),
        ((8, 5), (5, 1), (3, 2)),
        ((4, 5, 6), (2, 3, 2), (1, 1, 1)),
        ((5, 5, 5), (3, 3, 3), (2, 1, 2)),
    ],
    ids=str,
)
def test_macro_windows_of_more_axes(inputs: Axes, window: Axes, step: Axes) -> None:
    claims(inputs, window, step)


def test_the_documents_macro_window() -> None:
    """p = 3, w = 2 ([0049]-[0053]): the centre four times, edges twice, corners once."""
    assert reuse_counts((3, 3), (2, 2), (1, 1)).tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert reuse_groups((3, 3), (2, 2), (1, 1)) == {
        4: [(1, 1)],
        2: [(0, 1), (1, 0), (1, 2), (2, 1)],
        1: [(0, 0), (0, 2), (2, 0), (2, 2)],
    }
    assert reads_grouped((3, 3), (2, 2), (1, 1)) == 9
    assert reads_sliding((3, 3), (2, 2), (1, 1)) == 16
    assert components((3, 3), (2, 2), (1, 1), channels=5, filters=7) == 16 * 5 * 7  # [0071]


def test_an_input_between_the_windows_is_never_used() -> None:
    assert reuse_groups((5,), (1,), (3,)) == {1: [(0,), (3,)], 0: [(1,), (2,), (4,)]}


@pytest.mark.parametrize(
    ("inputs", "window", "step"),
    [((9,), (4,), (1,)), ((7, 8), (3, 2), (1, 1)), ((9, 8), (3, 5), (2, 3)), ((5, 4, 6), (2, 2, 3), (1, 2, 1))],
    ids=str,
)
def test_a_macro_window_convolves(inputs: Axes, window: Axes, step: Axes) -> None:
    generator = np.random.default_rng(len(inputs))
    ones, zeros = (1,) * len(inputs), (0,) * len(inputs)
    geometry = ConvolutionGeometry(1, inputs, window, step, ones, zeros, zeros, 1)
    frames = generator.integers(-128, 128, (1, 1, *inputs))
    weights = generator.integers(-128, 128, (1, 1, *window))
    found = schedule(inputs, window, step).run(frames, weights)
    np.testing.assert_array_equal(found, convolution(frames, weights, geometry).ravel())


def layer(size: Axes, kernel: Axes, **fields: Any) -> ConvolutionGeometry:
    ones, zeros = (1,) * len(size), (0,) * len(size)
    given = {"stride": ones, "dilation": ones, "padding_begin": zeros, "padding_end": zeros, **fields}
    return ConvolutionGeometry(1, size, kernel, out_channels=1, **given)


@pytest.mark.parametrize(
    ("geometry", "outputs", "kept", "read_again", "sliding"),
    [
        pytest.param(layer((32, 32), (3, 3), padding_begin=(1, 1), padding_end=(1, 1)), (32, 32), 1024, 1024, 94**2,
                     id="one window"),
        pytest.param(layer((32, 32), (3, 3), padding_begin=(1, 1), padding_end=(1, 1)), (8, 8), 1024, 38**2, 94**2,
                     id="sixteen windows"),
        pytest.param(layer((10,), (3,)), (4,), 10, 12, 24, id="1D"),
        pytest.param(layer((10,), (3,)), (3,), 10, 14, 24, id="1D, the last window of 2"),
        pytest.param(layer((9,), (3,), stride=(2,)), (2,), 9, 10, 12, id="step 2"),
        pytest.param(layer((9,), (2,), stride=(3,)), (3,), 6, 6, 6, id="step over window"),
        pytest.param(layer((9,), (3,), dilation=(2,)), (4,), 9, 11, 15, id="dilation 2"),
    ],
)  # fmt: skip
def test_reads_of_whole_layers(
    geometry: ConvolutionGeometry, outputs: Axes, kept: int, read_again: int, sliding: int
) -> None:
    assert layer_reads(geometry, outputs, halo=True) == kept
    assert layer_reads(geometry, outputs, halo=False) == read_again
    assert layer_reads_sliding(geometry) == sliding


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: outputs_of(3, 4), "a macro window of 3 must be at least its window of 4; enlarge it"),
        (lambda: outputs_of(3, 0), "window and step must be 1 or more, not 0 and 1"),
        (lambda: outputs_of(3, 2, 0), "window and step must be 1 or more, not 2 and 0"),
        (lambda: schedule((5, 2), (3, 3), (1, 1)), "a macro window of 2 must be at least its window of 3; enlarge it"),
        (
            lambda: layer_reads(layer((4,), (2,)), (0,), halo=True),
            "a macro window must have 1 output or more on every axis, not 0",
        ),
    ],
)
def test_refusals(action: Any, message: str) -> None:
    with pytest.raises(CrosstileError, match=f"^{re.escape(message)}$"):
        action()
