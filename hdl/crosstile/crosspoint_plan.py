"""Everything about a crosspoint engine that is known before a gate exists: programs, widths, cycles, memory."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import Integers, NumberFormat, signed_bits_for
from numpy.typing import NDArray

from .crosspoint_program import ColumnStep, ModeWord, RowStep, column_steps, mode_words, row_steps
from .fold import Fold, PlaneGeometry, banks_needed, legal_folds
from .requantise_plan import RequantisePlan, requantise_cycles
from .timing import DECIDED_CYCLE, Operations

OPERAND_CYCLES = 4   # issue -> window memory -> operand -> multiplier's input -> product
ACCUMULATE_CYCLES = 1
STEERING_CYCLES = 2  # the output controller before the integrators, and the choice of those complete behind them
TURNAROUND = 5       # least distance from a pass's last operation to the next read of the same integrator
STEERINGS = ("chain", "computed", "stored", "external")


@dataclass(frozen=True)
class CrosspointPlan:
    """A layer, folded onto a crosspoint engine (US 2020/0117986 [0064]-[0072]).

    Activations arrive once, row by row. Each pixel's window along the row meets every weight; sums of kernel
    row i at activation row y belong to output row o = (y + padding − i·dilation) / stride. With kernel rows in
    turn, o's integrators are bank o mod banks of a memory. With kernel rows together, position i of a chain
    holds the sum of kernel rows 0..i and hands it to position i+1 one row later: position i is bank (y − i)
    mod kernel rows seen from the sums, so the steering costs addresses and no multiplexer.

    Cycles are those of the engine alone, never kept waiting. Raises `CrosstileError` for a fold that does not
    divide the layer.

    Groups (depthwise is as many groups as channels) run whole, several at once, or one after the other in parts;
    every multiplier stays busy either way.

    steering  how sums of kernel rows together meet their integrators: "chain", or through an output controller
              whose mode word is "computed", "stored" or "external" (US 2020/0117986 [0068])
    loadable  weights, bias and shifts are written at run time: every width allows for any of them
    frames    frames of the layer in a frame of the network: the slices of a volume
    rows_at_once  output rows that leave together, in beats of (row, filter): those complete wait in integrators for
              the last (001 [0073]). More than 1 needs a chain; rows that do not fill a beat never leave
    """

    layer: ConvolutionLayer
    fold: Fold
    steering: str = "chain"
    loadable: bool = False
    frames: int = 1
    rows_at_once: int = 1

    def __post_init__(self) -> None:
        if self.fold not in legal_folds(self.plane):
            raise CrosstileError(
                f"layer {self.layer.name}: fold {self.fold} is not legal; kernel_rows must be 1 or (stride and "
                f"dilation 1) {self.plane.kernel_height}, kernel_columns 1 or {self.plane.kernel_width}, channels "
                f"a divisor of {self.plane.group_channels}, filters a divisor of {self.plane.group_filters}, groups "
                f"a divisor of {self.plane.groups} with all channels and filters of a group"
            )
        self._check_steering()
        self._check_rows_at_once()
        if self.loadable:
            assert self.requantise  # raises for constants that are not legal

    def _check_rows_at_once(self) -> None:
        chained = self.rows_together and self.steering == "chain" and self.layer.residual is None
        if not 1 <= self.rows_at_once <= (self.plane.out_height if chained else 1):
            raise CrosstileError(
                f"layer {self.layer.name}: rows_at_once must be 1, or up to {self.plane.out_height} with kernel rows "
                f"together in a chain and no residual, not {self.rows_at_once}"
            )

    def _check_steering(self) -> None:
        name, steering = f"layer {self.layer.name}: steering", self.steering
        if steering not in STEERINGS:
            raise CrosstileError(f"{name} must be one of {', '.join(STEERINGS)}, not {steering!r}")
        if steering != "chain" and not self.rows_together:
            raise CrosstileError(
                f"{name} {steering!r} needs more than one kernel row together (stride and dilation 1), not fold "
                f"{self.fold}; use 'chain'"
            )

    @cached_property
    def plane(self) -> PlaneGeometry:
        """The layer's geometry on two axes."""
        return PlaneGeometry.of(self.layer.geometry, self.layer.name)

    # What enters and leaves

    @property
    def lanes_in(self) -> int:
        """Channels per beat taken."""
        return self.fold.lanes_in

    @property
    def lanes_out(self) -> int:
        """Channels per beat sent, of each row at once."""
        return self.fold.lanes_out * self.rows_at_once

    @property
    def filter_lanes(self) -> int:
        """Filters per beat sent."""
        return self.fold.lanes_out

    @property
    def input_format(self) -> NumberFormat:
        """Format of the activations taken."""
        return self.layer.input_format

    @property
    def output_format(self) -> NumberFormat:
        """Format of the activations sent."""
        return self.layer.output_format

    # How the layer is cut

    @property
    def rows_together(self) -> bool:
        """All kernel rows are computed at once, and their sums steered to as many output rows."""
        return self.fold.kernel_rows > 1

    @property
    def channel_groups(self) -> int:
        """Cycles that one tap of one pixel takes within a pass."""
        return self.plane.group_channels // self.fold.channels

    @property
    def group_turns(self) -> int:
        """Turns over the groups of the layer."""
        return self.plane.groups // self.fold.groups

    @property
    def beats_per_pixel(self) -> int:
        """Beats that bring one pixel."""
        return self.group_turns * self.channel_groups

    @property
    def column_groups(self) -> int:
        """Kernel columns taken in turn."""
        return self.plane.kernel_width // self.fold.kernel_columns

    @property
    def filter_passes(self) -> int:
        """Passes over the window of one turn over the groups, for all their filters."""
        return self.plane.group_filters // self.fold.filters

    @property
    def filter_groups(self) -> int:
        """Passes over the window for all filters, and beats that send one pixel."""
        return self.group_turns * self.filter_passes

    @property
    def pass_cycles(self) -> int:
        """Cycles of one pass: the column groups times the channel groups."""
        return self.column_groups * self.channel_groups

    @property
    def banks(self) -> int:
        """Integrator banks, or 0 where every sum is complete at once."""
        return 0 if self.plane.kernel_height == 1 else banks_needed(self.plane)

    @property
    def integrator_positions(self) -> int:
        """Words of integrators per bank: output columns times filter groups."""
        return self.plane.out_width * self.filter_groups

    @property
    def window_pixels(self) -> int:
        """Pixels of a row that the window spans."""
        return (self.plane.kernel_width - 1) * self.plane.column_dilation + 1

    # Programs

    @cached_property
    def row_steps(self) -> tuple[RowStep, ...]:
        """The stored mode program: one word per activation row, then per row of padding that completes outputs."""
        return row_steps(self.plane, self.rows_together, self.banks, self.rows_at_once)

    @cached_property
    def mode_words(self) -> tuple[ModeWord, ...]:
        """The output controller's word for each time-step, which is a row of `row_steps`; kernel rows together."""
        return mode_words(self.plane, self.banks)

    @property
    def steered(self) -> bool:
        """Sums reach their integrators through an output controller."""
        return self.steering != "chain"

    @cached_property
    def column_steps(self) -> tuple[ColumnStep, ...]:
        """One word per activation column, then per column of padding that completes outputs."""
        return column_steps(self.plane)

    def gap_after(self, row: int) -> int:
        """Return the idle cycles after a row, where it is too short for its integrators to settle.

        The same integrator is next read when the next row that adds to it (or completes it) reaches its column.
        """
        touching = [step for step in self.row_steps[row:] if step.passes or not step.intake]
        if not self.banks or len(touching) < 2 or touching[0] is not self.row_steps[row]:
            return 0
        pace = min(self.pass_cycles if step.intake else 1 for step in touching[:2])
        return max(0, TURNAROUND - 1 - (self.integrator_positions - 1) * pace)

    # Time

    @cached_property
    def operations(self) -> Operations:
        """A frame of the network, cycle by cycle: which operations take a beat in, and which send one out."""
        return self.frame_operations.repeated(self.frames)

    @cached_property
    def frame_operations(self) -> Operations:
        """The operations of one frame of the layer."""
        takes: list[NDArray[np.bool_]] = []
        sends: list[NDArray[np.bool_]] = []
        cache: dict[tuple[bool, int, bool], tuple[NDArray[np.bool_], NDArray[np.bool_]]] = {}
        for row, step in enumerate(self.row_steps):
            key = (step.intake, step.passes, step.emit)
            if key not in cache:
                cache[key] = self._row_operations(step) if step.intake else self._flush_operations(step)
            gap = np.zeros(self.gap_after(row), np.bool_)
            takes += [cache[key][0], gap]
            sends += [cache[key][1], gap]
        return Operations(np.concatenate(takes), np.concatenate(sends), first=DECIDED_CYCLE)

    def _row_operations(self, row: RowStep) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        takes, sends = [], []
        first_passes = np.zeros((self.group_turns, self.filter_passes, self.pass_cycles), np.bool_)
        first_passes[:, 0, self.pass_cycles - self.channel_groups :] = True
        for column in self.column_steps:
            computes = column.output and row.passes > 0
            length = row.passes * self.filter_groups * self.pass_cycles if computes else self.beats_per_pixel
            take, send = np.zeros(length, np.bool_), np.zeros(length, np.bool_)
            if column.intake:
                take[: first_passes.size if computes else length] = first_passes.ravel() if computes else True
            if computes and row.emit:
                send[length - 1 - self.pass_cycles * (self.filter_groups - 1) :: self.pass_cycles] = True
            takes.append(take)
            sends.append(send)
        return np.concatenate(takes), np.concatenate(sends)

    def _flush_operations(self, row: RowStep) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        length = self.integrator_positions
        return np.zeros(length, np.bool_), np.full(length, row.emit)

    @property
    def cycles_per_frame(self) -> int:
        """Cycles from a frame's first operation to the next frame's, when never kept waiting."""
        return self.frames * self.frame_operations.cycles

    @property
    def tree_levels(self) -> int:
        """Registers in the adder tree of a column: ⌈log2(products per column)⌉."""
        return (self.products_per_column - 1).bit_length()

    @property
    def pipeline_cycles(self) -> int:
        """Cycles from the operation that completes an output to its beat entering the queue."""
        return OPERAND_CYCLES + self.tree_levels + self.integrate_cycles + self.requantise_cycles

    @property
    def integrate_cycles(self) -> int:
        """Cycles from a pass's last column sums to its totals."""
        return ACCUMULATE_CYCLES + (STEERING_CYCLES if self.steered else 0)

    @property
    def requantise_cycles(self) -> int:
        """Cycles from totals to their beat: 3; a residual, a leaky activation, loading take 1 more, a table 2."""
        return requantise_cycles(self.layer, self.loadable)

    @property
    def utilisation(self) -> float:
        """Share of multiplier-cycles that are multiply-accumulates of the layer, padding counted as work."""
        return self.frames * self.plane.macs / (self.fold.multipliers * self.cycles_per_frame)

    # Weights and widths

    @property
    def products_per_column(self) -> int:
        """Products that one column sums in a cycle."""
        return self.fold.kernel_columns * self.fold.channels

    @property
    def columns(self) -> int:
        """Columns of the array: kernel rows times filters in parallel."""
        return self.fold.kernel_rows * self.fold.lanes_out

    @cached_property
    def weight_fcij(self) -> Integers:
        """Weights as (filter, channel of its group, kernel row, kernel column) of the plane."""
        plane = self.plane
        shape = (plane.out_channels, plane.group_channels, plane.kernel_height, plane.kernel_width)
        return self.layer.weight.reshape(shape)

    @cached_property
    def weight_words(self) -> Integers:
        """Weights as the array reads them: (address, column, product); column = kernel row · lanes out + lane."""
        fold, plane = self.fold, self.plane
        split = self.weight_fcij.reshape(
            self.filter_groups, fold.lanes_out, self.channel_groups, fold.channels,
            plane.kernel_height // fold.kernel_rows, fold.kernel_rows, self.column_groups, fold.kernel_columns,
        )
        order = (4, 0, 6, 2, 5, 1, 7, 3)  # turn i, filter group, turn j, channel group | i, lane | j, channel
        return split.transpose(order).reshape(-1, self.columns, self.products_per_column)

    @cached_property
    def product_range(self) -> tuple[Integers, Integers]:
        """Least and greatest value of every product, a masked tap (zero) included; shapes as `weight_words`."""
        return self._bounds(self.weight_words)

    def _bounds(self, weight: Integers) -> tuple[Integers, Integers]:
        legal, reads = NumberFormat(self.layer.weight_bits, signed=True), self.layer.input_format
        any_weight = [np.full_like(weight, legal.minimum), np.full_like(weight, legal.maximum)]
        some = any_weight if self.loadable else [weight]
        extremes = [weight * 0, *(w * x for w in some for x in (reads.minimum, reads.maximum))]
        return np.minimum.reduce(extremes), np.maximum.reduce(extremes)

    @cached_property
    def integrator_bits(self) -> tuple[int, ...]:
        """Width of the integrator of each kernel row computed together (one entry if rows run in turn).

        Entry i holds Σ over kernel rows 0..i; the last entry is the whole sum. Proved from the weights:
        Σ min(w·x) to Σ max(w·x), the worst filter's. Behind an output controller there is an entry per bank,
        and each holds the whole sum in its turn.
        """
        low, high = (bound.sum(axis=(1, 3)) for bound in self._bounds(self.weight_fcij))
        if not self.rows_together:
            low, high = low.sum(axis=1, keepdims=True), high.sum(axis=1, keepdims=True)
        prefix_low, prefix_high = low.cumsum(axis=1).min(axis=0), high.cumsum(axis=1).max(axis=0)
        bits = tuple(signed_bits_for(int(a), int(b)) for a, b in zip(prefix_low, prefix_high, strict=True))
        return bits[-1:] * self.banks if self.steered else bits

    @property
    def total_bits(self) -> int:
        """Width of a whole sum, bias left out."""
        return self.integrator_bits[-1]

    @property
    def total_range(self) -> tuple[Integers, Integers]:
        """Least and greatest whole sum of each filter, without the bias."""
        low, high = self._bounds(self.weight_fcij)
        return low.sum(axis=(1, 2, 3)), high.sum(axis=(1, 2, 3))

    @cached_property
    def requantise(self) -> RequantisePlan:
        """Constants and widths from whole sums to activations."""
        return RequantisePlan(self.layer, self.total_range, self.loadable)

    @property
    def accumulator_bits(self) -> int:
        """Width of the widest accumulator, bias included."""
        if self.loadable:
            return self.requantise.summed_bits
        low, high = self.total_range
        low, high = low + self.layer.bias, high + self.layer.bias
        return max(self.integrator_bits[-1], signed_bits_for(int(low.min()), int(high.max())))

    # Memory, in bits

    @property
    def weight_memory_bits(self) -> int:
        """Bits of weights, each held once."""
        return prod(self.weight_fcij.shape) * self.layer.weight_bits

    @property
    def integrator_memory_bits(self) -> int:
        """Bits of integrators: all banks, or a chain's k − 1 and the rows that wait, × output columns × filters."""
        if not self.banks:
            return 0
        chain = self.rows_together and not self.steered
        waiting = (self.rows_at_once - 1) * self.integrator_bits[-1]
        kept = sum(self.integrator_bits[:-1]) + waiting if chain else self.banks * self.integrator_bits[0]
        return kept * self.plane.out_width * self.plane.out_channels

    @property
    def window_memory_bits(self) -> int:
        """Bits of activations held: the pixels that the window spans, once per kernel column in parallel."""
        pixels = self.window_pixels * self.fold.kernel_columns
        return pixels * self.plane.in_channels * self.layer.input_format.bits
