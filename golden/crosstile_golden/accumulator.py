"""The widths that accumulators need, proved from the weights: never 32 bits by habit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .numbers import Integers

if TYPE_CHECKING:
    from .layers import ConvolutionLayer


def filter_ranges(layer: ConvolutionLayer) -> list[tuple[int, int]]:
    """Return per filter the least and greatest Σ w·x over every x in `input_format`, bias left out.

    With P = Σ max(w, 0) and N = Σ min(w, 0): [P·x_min + N·x_max, P·x_max + N·x_min], where x_min ≤ 0 ≤ x_max.
    Every product's range holds zero, so every partial sum, in any order and with any taps in the padding, is
    inside.
    """
    taps = layer.weight.reshape(len(layer.weight), -1)
    least, greatest = layer.input_format.minimum, layer.input_format.maximum
    positives = np.maximum(taps, 0).sum(axis=1).tolist()
    negatives = np.minimum(taps, 0).sum(axis=1).tolist()
    return [
        (positive * least + negative * greatest, positive * greatest + negative * least)
        for positive, negative in zip(positives, negatives, strict=True)
    ]


def accumulator_range(layer: ConvolutionLayer) -> tuple[int, int]:
    """Return the least and greatest value of any filter's sum, partial sums included, bias left out."""
    ranges = filter_ranges(layer)
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def residual_lift(layer: ConvolutionLayer) -> int:
    """Return by how many bits the sums move left before the residual joins, so that it is whole there: max −align."""
    return 0 if layer.residual is None else max(0, -int(layer.residual.align.min()))


def residual_ranges(layer: ConvolutionLayer) -> list[tuple[int, int]]:
    """Return per filter the least and greatest residual·2^(align + lift), (0, 0) without residual."""
    if layer.residual is None:
        return [(0, 0)] * len(layer.weight)
    read, lift = layer.residual.number_format, residual_lift(layer)
    shifts = (layer.residual.align + lift).tolist()
    return [(read.minimum << shift, read.maximum << shift) for shift in shifts]


def biased_range(layer: ConvolutionLayer) -> tuple[int, int]:
    """Return the least and greatest value of any filter's (sum + bias)·2^lift + residual + half: what the shift reads.

    It shifts by `shift` + lift, with lift = `residual_lift`, which is 0 where no residual is finer than the sums.
    The half is 2^(shift + lift − 1) for a right shift and 0 otherwise (`numbers.round_shift`). An accumulator that
    starts at bias + half stays inside, too; one that starts at zero needs the union with `accumulator_range`.
    """
    lift = residual_lift(layer)
    starts = zip(layer.bias.tolist(), rounding_halves(layer).tolist(), strict=True)
    triples = list(zip(filter_ranges(layer), residual_ranges(layer), starts, strict=True))
    least = min((low + bias << lift) + added + half for (low, _), (added, _), (bias, half) in triples)
    return least, max((high + bias << lift) + added + half for (_, high), (_, added), (bias, half) in triples)


def rounding_halves(layer: ConvolutionLayer) -> Integers:
    """Return per filter the half that rounding adds: 2^(shift + lift − 1), 0 where nothing is shifted out; int64."""
    right = np.maximum(layer.shift + residual_lift(layer), 0)
    return np.where(right > 0, np.int64(1) << np.maximum(right - 1, 0), np.int64(0))
