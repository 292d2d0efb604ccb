"""Everything about a reuse-grouped engine that is known before a gate exists: its cycles, reads and pipeline."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from crosstile_golden.numbers import Integers
from numpy.typing import NDArray

from .requantise_plan import requantise_cycles
from .reuse_layout import AXES, ReuseLayout
from .timing import Operations

ADDRESS_CYCLES = 1  # from an operation to its address at the memory port
PRODUCT_CYCLES = 2  # from operands to products


@dataclass(frozen=True)
class ReusePlan(ReuseLayout):
    """A layer on the reuse-grouped engine, which reads a feature map from a random-access memory, each word once.

    The macro windows of a row are run class by class, row after row, so that outputs leave in the order row,
    column, filter group, and no store turns them round: rows of partial sums are kept as wide as the layer.
    Along an axis whose padding is at least J, the greatest reach, one macro window over all of it reads each
    activation once without any halo store, in as many cycles as there are outputs.

    fold      see `ReuseFold`
    halo      what neighbouring macro windows share is kept, and each activation read once; else it is read again
    latency   cycles from an address at the memory port to its word, 1 or more

    Raises `CrosstileError` for groups, a fold or a macro window that is not legal, or a latency below 1.
    """

    # Time and reads

    @property
    def activation_reads(self) -> int:
        """Words read per frame; each holds `fold.channels` activations."""
        return prod(axis.reads for axis in self.axes) * self.channel_groups

    @property
    def pixel_cycles(self) -> int:
        """Cycles of a pixel's filter groups after the first, in which nothing is read."""
        return (self.filter_groups - 1) * self.channel_groups

    @property
    def compute_cycles(self) -> int:
        """Cycles of a frame's classes: those of reads (1 where there is none), then those of further filters."""
        reading = prod(axis.turns for axis in self.axes) * self.channel_groups
        return reading + prod(axis.positions for axis in self.axes) * self.pixel_cycles

    def unit(self, axis: int) -> int:
        """Return the steps from a class to the next along an axis: those of all axes within, and of the filters."""
        return self.filter_groups * prod(within.positions for within in self.axes[axis + 1 :])

    def halo_visits(self, axis: int) -> int:
        """Return the visits to the halo store of an axis per class; 1 where all reads are of padding, never made."""
        return max(1, self.channel_groups * prod(outer.reads for outer in self.axes[axis + 1 :]))

    @property
    def drain_steps(self) -> int:
        """Steps after a frame's last class, of a cycle each, in which its last outputs leave."""
        return sum(axis.drain * self.unit(index) for index, axis in enumerate(self.axes))

    @property
    def drain_cycles(self) -> int:
        """Cycles after a frame's last class: `drain_steps`, or 1 so that the memory may answer to `frame_done`."""
        return max(self.drain_steps, int(self.filter_groups == 1))

    @property
    def cycles_per_frame(self) -> int:
        """Cycles from a frame's first operation to the next frame's, when never kept waiting."""
        return self.compute_cycles + self.drain_cycles

    @cached_property
    def operations(self) -> Operations:
        """A frame, cycle by cycle: which operations send a beat. None takes one: activations are in memory."""
        sends = np.zeros(self.cycles_per_frame, np.bool_)
        steps = np.concatenate([self._step_cycles, self.compute_cycles + np.arange(self.drain_steps)])
        sends[steps[self.drain_steps :][self._kept]] = True
        return Operations(np.zeros_like(sends), sends)

    @property
    def _step_cycles(self) -> Integers:
        """The cycle of each step: of the last operation of a filter group of a class."""
        turns = [np.array([max(1, len(step.reads)) for step in axis.steps]) for axis in self.axes]
        reading = np.multiply.outer(np.multiply.outer(turns[0], turns[1]), turns[2]).ravel() * self.channel_groups
        cycles = np.full((len(reading), self.filter_groups), self.channel_groups)
        cycles[:, 0] = reading
        return cycles.cumsum() - 1

    @property
    def _kept(self) -> NDArray[np.bool_]:
        """Per output of all macro windows and filter group: it is one of the layer's."""
        inside = [np.arange(axis.positions) < axis.outputs for axis in self.axes]
        whole = np.logical_and.outer(np.logical_and.outer(inside[0], inside[1]), inside[2]).ravel()
        return np.repeat(whole, self.filter_groups)

    @property
    def utilisation(self) -> float:
        """Share of multiplier-cycles that are multiply-accumulates of the layer, padding counted as work."""
        return self.layer.geometry.macs / (self.multipliers * self.cycles_per_frame)

    # The pipeline

    @property
    def gathers(self) -> tuple[int, ...]:
        """Axes with more than one slot: each costs a cycle."""
        return tuple(index for index, axis in enumerate(self.axes) if len(axis.slots) > 1)

    @property
    def chains(self) -> tuple[int, ...]:
        """Axes along which sums circulate, innermost first: each costs a cycle."""
        return tuple(index for index in reversed(range(AXES)) if self.axes[index].reach)

    @property
    def operand_cycles(self) -> int:
        """Cycles from an operation to its operands."""
        return ADDRESS_CYCLES + self.latency + len(self.gathers)

    @property
    def tree_levels(self) -> int:
        """Registers in the adder tree of a column."""
        return (max(map(len, self.columns)) * self.fold.channels - 1).bit_length()

    @property
    def sum_cycles(self) -> int:
        """Cycles from an operation to the sums of its taps, all channels added up."""
        return self.operand_cycles + PRODUCT_CYCLES + self.tree_levels + (self.channel_groups > 1)

    @property
    def total_cycles(self) -> int:
        """Cycles from the operation that sends an output to its totals."""
        return self.sum_cycles + len(self.chains)

    @property
    def pipeline_cycles(self) -> int:
        """Cycles from the operation that sends an output to its beat entering the queue."""
        return self.total_cycles + requantise_cycles(self.layer, self.loadable)
