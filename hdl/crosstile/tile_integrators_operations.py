"""What writer and reader of the integrators of tiles do, cycle by cycle."""

from collections.abc import Sequence
from math import prod

import numpy as np

from .tile_integrators_axis import AxisBanks
from .tile_integrators_rows import RowQueue
from .timing import Operations
from .winograd_program import AxisProgram

TURNAROUND = 5  # least distance of two operations on the same integrators: read, add, written


def settling_gaps(axes: Sequence[AxisBanks], filter_groups: int) -> tuple[int, ...]:
    """Return the idle operations after each step of the innermost axis.

    Two steps that add to an output lie `TURNAROUND` operations apart, one behind the other or, where an outer axis'
    steps add to the same rows, around the end of the axis. The gap is as late as it can be.
    """
    steps = axes[-1].program.steps
    count, gaps = len(steps), [0] * len(steps)
    again = any(axis.adds for axis in axes[:-1])
    for following in range(1, count * (1 + TURNAROUND) if again else count):
        for first in range(max(0, following - TURNAROUND), following):
            shared = set(steps[first % count].outputs) & set(steps[following % count].outputs)
            between = sum(filter_groups + gaps[step % count] for step in range(first, following))
            if shared and between < TURNAROUND:
                gaps[(following - 1) % count] += TURNAROUND - between
    return tuple(gaps)


def writer_operations(
    programs: Sequence[AxisProgram], filter_groups: int, gaps: Sequence[int], step_cycles: Sequence[int], rows: RowQueue
) -> Operations:
    """Return the writer's: per tile a beat for each filter group, then its gap.

    The first operation of a step of the outermost axis reserves places for the rows that end with it, the last one
    shows those that are complete. `step_cycles` are those of these steps.
    """
    pattern = [[1] * filter_groups + [0] * gap for gap in gaps]
    inner = np.array([take for step in pattern for take in step], np.int64)
    takes = np.tile(inner, prod(len(program.steps) for program in programs[:-1]))
    sends, shows = np.zeros_like(takes), np.zeros_like(takes)
    ends = np.cumsum(step_cycles)
    sends[ends - step_cycles] = rows.reserves
    shows[ends - 1 - np.array(gaps if len(programs) == 1 else gaps[-1:])] = rows.shows
    return Operations(takes, sends, shows)


def reader_operations(rows: RowQueue, row_operations: int) -> Operations:
    """Return the reader's: a beat each. A beat of rows is taken in two parts, with its first and its last operation.

    The frame's last operation takes what the queue holds beyond its rows as well.
    """
    takes = np.zeros((rows.units, row_operations), np.int64)
    takes[:, 0] += 1
    takes[:, -1] += 1
    takes[-1, -1] += 2 * rows.beyond
    return Operations(takes.ravel(), np.ones(takes.size, np.bool_))
