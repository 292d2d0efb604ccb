"""What plans have in common whose stage hands activations on as they are."""

from typing import Any

from crosstile_golden.numbers import NumberFormat

from .timing import Operations


class SameFormat:
    """A plan of `lanes` lanes of `number_format`, the same in and out unless it says otherwise."""

    number_format: NumberFormat
    lanes: int
    operations: Any

    @property
    def lanes_in(self) -> int:
        """Channels per beat taken."""
        return self.lanes

    @property
    def lanes_out(self) -> int:
        """Channels per beat sent."""
        return self.lanes

    @property
    def input_format(self) -> NumberFormat:
        """Format of the activations taken."""
        return self.number_format

    @property
    def output_format(self) -> NumberFormat:
        """Format of the activations sent."""
        return self.number_format

    @property
    def cycles_per_frame(self) -> int:
        """Cycles per frame when never kept waiting."""
        operations: Operations = self.operations
        return operations.cycles
