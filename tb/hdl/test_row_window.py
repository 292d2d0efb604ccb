"""Sequencer and row window present every tap of every window, once, in order; padding reads as zero."""

import random
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Value
from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.crosspoint_sequencer import CrosspointSequencer
from crosstile.row_window import RowWindow
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import Integers

from .bench import INT8, beats_of, clocked, convolution, folds_of, unpack

LAYERS = {
    "3x3": convolution(4, 2, (4, 5), (3, 3), begin=(1, 1), end=(1, 1), reads=INT8),
    "1x5, unlike padding": convolution(2, 2, (2, 6), (1, 5), begin=(0, 3), end=(0, 1), reads=INT8),
    "3x3, stride 2": convolution(2, 2, (5, 6), (3, 3), stride=(2, 2), begin=(1, 0), end=(0, 1), reads=INT8),
    "2x3, dilation 2": convolution(2, 1, (5, 7), (2, 3), dilation=(2, 2), begin=(1, 2), end=(0, 2), reads=INT8),
    "stride over kernel": convolution(2, 1, (6, 7), (2, 2), stride=(3, 3), reads=INT8),
    "pixel by pixel": convolution(2, 2, (3, 4), (1, 1), reads=INT8),
    "fully connected": convolution(2, 2, (3, 2), (3, 2), reads=INT8),
}


def expected_operands(plan: CrosspointPlan, frame: Integers) -> list[list[int]]:
    """Return the operands of one frame, operation by operation: (kernel column, channel) flattened."""
    plane, fold = plan.plane, plan.fold
    rows = frame.reshape(plane.in_channels, plane.height, plane.width)
    operands = []
    for y, x, passes in places(plan):
        for _ in range(passes * plan.filter_groups):
            for turn in range(plan.column_groups):
                for group in range(plan.channel_groups):
                    channels = slice(group * fold.channels, (group + 1) * fold.channels)
                    operands.append([
                        value
                        for lane in range(fold.kernel_columns)
                        for value in tap(rows[channels], y, x, turn * fold.kernel_columns + lane, plan)
                    ])
    return operands


def places(plan: CrosspointPlan) -> list[tuple[int, int, int]]:
    """Return activation row, output column and kernel rows in turn of every pixel's passes, in order."""
    plane = plan.plane
    found = []
    for y in range(plane.height):
        meets = [
            i for i in range(plane.kernel_height)
            if (y + plane.padding_top - i * plane.row_dilation) in
            range(0, plane.out_height * plane.row_stride, plane.row_stride)
        ]  # fmt: skip
        passes = min(len(meets), 1) if plan.rows_together else len(meets)
        found += [(y, x, passes) for x in range(plane.out_width)]
    return found


def tap(rows: Integers, y: int, x: int, kernel_column: int, plan: CrosspointPlan) -> list[int]:
    plane = plan.plane
    place = x * plane.column_stride - plane.padding_left + kernel_column * plane.column_dilation
    return rows[:, y, place].tolist() if 0 <= place < plane.width else [0] * len(rows)


def operands_of(plan: CrosspointPlan, beats: list[int], chance: float) -> tuple[list[list[int]], int]:
    """Return what hardware presents for each operation issued with an activation row, and the beats taken."""
    m = Module()
    m.submodules.sequencer = sequencer = CrosspointSequencer(plan)
    m.submodules.window = window = RowWindow(plan)
    m.d.comb += window.operation.eq(sequencer.operation)
    operand = Value.cast(window.operands)
    found: list[list[int]] = []
    taken = 0

    async def process(context: Any) -> None:
        nonlocal taken
        generator, issued, silent = random.Random(5), [False] * RowWindow.LATENCY, 0
        context.set(sequencer.credit, 1)
        while silent < 60:
            context.set(sequencer.input_valid, taken < len(beats) and generator.random() < chance)
            context.set(window.beat.as_value(), beats[taken] if taken < len(beats) else 0)
            if issued.pop(0):
                lanes = plan.products_per_column
                found.append(unpack(context.get(operand), lanes, 8, signed=True))
            operation = sequencer.operation
            arrives = context.get(operation.arrive)
            assert arrives == (context.get(sequencer.take) & context.get(sequencer.input_valid))
            taken += arrives
            issued.append(bool(context.get(operation.issue)))
            silent = 0 if arrives or issued[-1] else silent + 1
            await context.tick()

    clocked(m, process)
    return found, taken


def cases() -> list[Any]:
    return [
        pytest.param(layer, fold, id=f"{name}, {fold.kernel_rows}x{fold.kernel_columns}x{fold.channels}x{fold.filters}")
        for name, layer in LAYERS.items()
        for fold in folds_of(layer)
        if fold.filters == layer.geometry.out_channels or fold.channels == 1
    ]


@pytest.mark.parametrize("chance", [1.0, 0.5])
@pytest.mark.parametrize(("layer", "fold"), cases())
def test_every_tap_is_presented_and_every_activation_taken_once(
    layer: ConvolutionLayer, fold: Any, chance: float
) -> None:
    plan = CrosspointPlan(layer, fold)
    size = (2, layer.geometry.in_channels, *layer.geometry.input_size)
    frames = np.random.default_rng(9).integers(-128, 128, size)
    beats = beats_of(frames, fold.channels, 8)
    found, taken = operands_of(plan, beats, chance)
    expected = [operand for frame in frames for operand in with_flushes(plan, frame)]
    assert taken == len(beats)
    assert found[: len(expected)] == expected


def with_flushes(plan: CrosspointPlan, frame: Integers) -> list[list[int]]:
    """Return a frame's operands, and the zeros of the rows of padding that only complete outputs."""
    flushes = sum(not step.intake for step in plan.row_steps) * plan.integrator_positions
    return expected_operands(plan, frame) + [[0] * plan.products_per_column] * flushes
