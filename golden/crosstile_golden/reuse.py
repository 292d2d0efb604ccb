"""Reading once: which activation meets which weight in which cycle, and how often memory is read (US 2023/0162007).

A macro window of p inputs along an axis, under a window of w weights with a step of s, gives q = ⌊(p − w)/s⌋ + 1
outputs. Output o takes input r = s·o + i through weight i ([0048]): weight i belongs to the phase v = i mod s, at
reach j = ⌊i/s⌋, and input r = s·u + v is input u of that phase, so u = o + j. In cycle a, 0 ≤ a < q,

    weight i takes the one input u ≡ a (mod q) with 0 ≤ u − j < q, and its product goes to output (a − j) mod q.

Input u is presented in cycle u mod q and in no other, and no multiplier is ever idle, whatever the step: all
phases run at once. (One phase after the other would take s·q cycles, in each of which w − ⌈(w − v)/s⌉ of w weights
idle.) At step 1 these cycles are the document's groups of equal reuse, [0053], packed so that the array stays
busy. Over more axes everything is the product: q^D cycles, w^D multipliers, p^D reads, in row-major order.
"""

from dataclasses import dataclass
from itertools import product
from math import ceil, prod

import numpy as np

from .errors import CrosstileError
from .geometry import Axes, ConvolutionGeometry
from .numbers import Integers


def outputs_of(inputs: int, window: int, step: int = 1) -> int:
    """Return q = ⌊(p − w)/s⌋ + 1, the outputs along an axis of p `inputs` under a `window` of w with `step` s.

    Raises `CrosstileError` unless 1 ≤ w ≤ p and s ≥ 1.
    """
    if window < 1 or step < 1:
        raise CrosstileError(f"window and step must be 1 or more, not {window} and {step}")
    if inputs < window:
        raise CrosstileError(f"a macro window of {inputs} must be at least its window of {window}; enlarge it")
    return (inputs - window) // step + 1


def reuse_counts(inputs: Axes, window: Axes, step: Axes) -> Integers:
    """Return in how many positions of the sliding window each input lies ([0048]-[0051]); shape `inputs`."""
    counts = np.ones((), np.int64)
    for size, taps, stride in zip(inputs, window, step, strict=True):
        starts = stride * np.arange(outputs_of(size, taps, stride))[:, None]
        position = np.arange(size)
        counts = np.multiply.outer(counts, ((position >= starts) & (position < starts + taps)).sum(axis=0))
    return counts


def reuse_groups(inputs: Axes, window: Axes, step: Axes) -> dict[int, list[Axes]]:
    """Return the inputs of each times of reuse, most often reused first ([0052]-[0053]); 0: never used."""
    counts = reuse_counts(inputs, window, step)
    groups: dict[int, list[Axes]] = {int(times): [] for times in np.unique(counts)[::-1]}
    for position in product(*map(range, inputs)):
        groups[int(counts[position])].append(position)
    return groups


@dataclass(frozen=True, eq=False)
class Schedule:
    """What each multiplier does in each cycle of a macro window.

    inputs   int64, shape (cycles, weights): flat index of the input that the weight takes
    outputs  int64, shape (cycles, weights): flat index of the output that its product goes to
    """

    inputs: Integers
    outputs: Integers

    @property
    def cycles(self) -> int:
        """Cycles of a macro window: q^D."""
        return len(self.inputs)

    @property
    def multipliers(self) -> int:
        """Multipliers, each busy in every cycle: w^D."""
        return self.inputs.shape[1]

    def run(self, activations: Integers, weights: Integers) -> Integers:
        """Return the outputs, flat, of one macro window: `activations` and `weights` of one channel, any shape."""
        outputs = np.zeros(self.cycles, np.int64)
        np.add.at(outputs, self.outputs, activations.ravel()[self.inputs] * weights.ravel())
        return outputs


def schedule(inputs: Axes, window: Axes, step: Axes) -> Schedule:
    """Return the schedule of a macro window: the product of its axes' (see above).

    Raises `CrosstileError` where no window fits.
    """
    read, written = np.zeros((1, 1), np.int64), np.zeros((1, 1), np.int64)
    for size, taps, stride in zip(inputs, window, step, strict=True):
        axis = _axis(size, taps, stride)
        read = _outer(read * size, axis.inputs)
        written = _outer(written * axis.cycles, axis.outputs)
    return Schedule(read, written)


def _axis(inputs: int, window: int, step: int) -> Schedule:
    """Return the schedule along one axis."""
    cycles = outputs_of(inputs, window, step)
    reach, phase = np.divmod(np.arange(window), step)
    outputs = (np.arange(cycles)[:, None] - reach) % cycles
    return Schedule(step * (outputs + reach) + phase, outputs)


def _outer(high: Integers, low: Integers) -> Integers:
    """Return high + low for every pair of cycles and of weights, high first."""
    pairs = high[:, None, :, None] + low[None, :, None, :]
    return pairs.reshape(len(high) * len(low), -1)


def reads_grouped(inputs: Axes, window: Axes, step: Axes) -> int:
    """Return the reads of a macro window where each input that is used is read once; p^D at step 1 ([0059])."""
    return int((reuse_counts(inputs, window, step) > 0).sum())


def reads_sliding(inputs: Axes, window: Axes, step: Axes) -> int:
    """Return the reads of a macro window where the sliding window reads all it covers: w^D·q^D ([0031])."""
    return prod(window) * prod(map(outputs_of, inputs, window, step))


def components(inputs: Axes, window: Axes, step: Axes, channels: int, filters: int) -> int:
    """Return the crosspoints that the groups take together: m·n for each time an input is reused ([0071]).

    The sum over all inputs is w^D·q^D·m·n, as many as the related art takes: grouping costs no array area ([0072]).
    """
    return int(reuse_counts(inputs, window, step).sum()) * channels * filters


def layer_reads(geometry: ConvolutionGeometry, outputs: Axes, halo: bool) -> int:
    """Return the pixel reads of a whole layer, cut into macro windows of `outputs` q along each axis.

    halo   what neighbouring windows share (the window less the step, along an axis) is kept: each activation that
           any output uses is read exactly once. Without, each macro window reads all of its own
    A pixel counts once for all its channels; padding is never read. Raises `CrosstileError` for q below 1.
    """
    return prod(_axis_reads(geometry, axis, length, halo) for axis, length in enumerate(outputs))


def layer_reads_sliding(geometry: ConvolutionGeometry) -> int:
    """Return the pixel reads of a whole layer where every output reads its window anew, padding left out."""
    return prod(_axis_reads(geometry, axis, 1, False) for axis in range(geometry.dimensions))


def _axis_reads(geometry: ConvolutionGeometry, axis: int, length: int, halo: bool) -> int:
    """Return the reads along one axis, in macro windows of `length` outputs, the last one perhaps of fewer."""
    if length < 1:
        raise CrosstileError(f"a macro window must have 1 output or more on every axis, not {length}")
    size, outputs = geometry.input_size[axis], geometry.output_size[axis]
    taps = np.arange(geometry.kernel[axis]) * geometry.dilation[axis] - geometry.padding_begin[axis]
    used = geometry.stride[axis] * np.arange(outputs)[:, None] + taps
    count = 1 if halo else ceil(outputs / length)
    windows = (used[start * length : (start + 1) * length if not halo else None] for start in range(count))
    return sum(len(np.unique(part[(part >= 0) & (part < size)])) for part in windows)
