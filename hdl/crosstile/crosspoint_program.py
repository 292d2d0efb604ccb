"""The mode program of the crosspoint engine: what each activation row and column does (US 2020/0117986 [0068])."""

from dataclasses import dataclass
from math import gcd
from typing import Any

from .fold import PlaneGeometry


@dataclass(frozen=True)
class RowStep:
    """The mode word of one activation row: which integrators its sums are steered to (001 [0064], [0068]).

    intake       the row is a real one, whose activations arrive; else it only completes padded outputs
    passes       kernel rows run in turn (1 when they run together, 0 when none applies)
    kernel_row   the first kernel row in turn
    bank         its integrator bank, (row + padding − kernel row) / stride mod banks
    fresh        no row before this one contributed: integrators start from zero
    emit         the last pass completes an output row, which leaves
    """

    intake: bool
    passes: int
    kernel_row: int
    bank: int
    fresh: bool
    emit: bool


@dataclass(frozen=True)
class ColumnStep:
    """What one activation column does: arrive, complete an output column, and which kernel columns see data."""

    intake: bool
    output: bool
    taps: tuple[bool, ...]


def output_row(plane: PlaneGeometry, row: int, kernel_row: int) -> int | None:
    """Return the output row that a kernel row adds to at an activation row, if there is one.

    o = (row + padding − kernel row · dilation) / stride, where that is a whole number in range.
    """
    position = row + plane.padding_top - kernel_row * plane.row_dilation
    output, rest = divmod(position, plane.row_stride)
    return output if rest == 0 and 0 <= output < plane.out_height else None


def row_steps(plane: PlaneGeometry, rows_together: bool, banks: int, rows_at_once: int = 1) -> tuple[RowStep, ...]:
    """Return one word per activation row, then per row of padding that completes outputs.

    Of every `rows_at_once` output rows the last lets all of them leave (US 2020/0117986 [0073]).
    """
    last = (plane.out_height - 1) * plane.row_stride - plane.padding_top
    last += (plane.kernel_height - 1) * plane.row_dilation
    steps = range(max(plane.height, last + 1))
    return tuple(_row_step(plane, row, rows_together, banks, rows_at_once) for row in steps)


def _row_step(plane: PlaneGeometry, row: int, rows_together: bool, banks: int, rows_at_once: int) -> RowStep:
    rows = [i for i in range(plane.kernel_height) if output_row(plane, row, i) is not None]
    final = plane.kernel_height - 1
    emit = final in rows and ((output_row(plane, row, final) or 0) + 1) % rows_at_once == 0
    if row >= plane.height:
        rows = [final] if emit else []
    passes = min(len(rows), 1) if rows_together else len(rows)
    first = rows[0] if rows else 0
    bank = (output_row(plane, row, first) or 0) % max(banks, 1)
    return RowStep(row < plane.height, passes, first, bank, row < plane.row_dilation, emit)


@dataclass(frozen=True)
class ModeWord:
    """The output controller's mode signal of one time-step, for kernel rows together (001 [0064], [0068]).

    integrators  per kernel row: the integrator that its sums are steered to
    steered      per kernel row: whether they are steered at all
    fresh        per integrator: it starts from zero
    complete     the integrator whose last kernel row comes in this time-step, and which then leaves
    """

    integrators: tuple[int, ...]
    steered: tuple[bool, ...]
    fresh: tuple[bool, ...]
    complete: int

    def fields(self) -> dict[str, Any]:
        """Return the word as `mode_layout` has it."""
        return {
            "steering": [
                {"integrator": integrator, "steered": steered}
                for integrator, steered in zip(self.integrators, self.steered, strict=True)
            ],
            "fresh": sum(fresh << index for index, fresh in enumerate(self.fresh)),
            "complete": self.complete,
        }

    def contest(self) -> int | None:
        """Return an integrator to which two kernel rows are steered, if there is one: that is not legal."""
        taken = [integrator for integrator, steered in zip(self.integrators, self.steered, strict=True) if steered]
        return next((integrator for integrator in taken if taken.count(integrator) > 1), None)


def mode_words(plane: PlaneGeometry, integrators: int) -> tuple[ModeWord, ...]:
    """Return a word per activation row, then per row of padding that completes outputs; stride and dilation 1.

    Kernel row i at row y goes to integrator (y + padding − i) mod integrators, if output row y + padding − i
    exists. An integrator starts from zero with kernel row 0; in time-step 0, where the frame's first output
    rows may have lost their first kernel rows to the padding, all do. Kernel row k − 1 completes.
    """
    steps = max(plane.height, plane.out_height - plane.padding_top + plane.kernel_height - 1)
    return tuple(_mode_word(plane, row, integrators) for row in range(steps))


def _mode_word(plane: PlaneGeometry, row: int, integrators: int) -> ModeWord:
    kernel_rows = range(plane.kernel_height)
    rotation = tuple((row + plane.padding_top - i) % integrators for i in kernel_rows)
    steered = tuple(output_row(plane, row, i) is not None for i in kernel_rows)
    first = rotation[0] if steered[0] else None
    fresh = tuple(row == 0 or integrator == first for integrator in range(integrators))
    return ModeWord(rotation, steered, fresh, rotation[-1])


def kernel_row_step(plane: PlaneGeometry) -> int:
    """Return the distance between the kernel rows that one activation row meets in turn."""
    return plane.row_stride // gcd(plane.row_stride, plane.row_dilation)


def bank_step(plane: PlaneGeometry) -> int:
    """Return the output rows between kernel rows taken in turn."""
    return kernel_row_step(plane) * plane.row_dilation // plane.row_stride


def column_steps(plane: PlaneGeometry) -> tuple[ColumnStep, ...]:
    """Return one word per activation column, then per column of padding that completes outputs."""
    first = (plane.kernel_width - 1) * plane.column_dilation - plane.padding_left
    last = first + (plane.out_width - 1) * plane.column_stride
    steps = []
    for column in range(max(plane.width, last + 1)):
        output = first <= column <= last and (column - first) % plane.column_stride == 0
        start = column - (plane.kernel_width - 1) * plane.column_dilation
        taps = (start + j * plane.column_dilation for j in range(plane.kernel_width))
        steps.append(ColumnStep(column < plane.width, output, tuple(0 <= tap < plane.width for tap in taps)))
    return tuple(steps)
