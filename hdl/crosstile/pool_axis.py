"""A pool along one axis: when windows open and when they close."""

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True)
class PoolAxis:
    """A pool along one axis: windows open at `start + n·stride`, each `kernel` positions long.

    Window n runs in slot n mod `slots`; `slots` windows are open at once. Positions below 0 do not exist;
    positions from `size` on are padding that only completes windows. `padding` must be less than `kernel`.
    """

    size: int
    kernel: int
    stride: int
    padding: int
    outputs: int

    @property
    def slots(self) -> int:
        """Windows open at once: ⌈kernel / stride⌉, or all there are."""
        return min(self.outputs, ceil(self.kernel / self.stride))

    @property
    def folds(self) -> bool:
        """Windows hold more than one position, so that open ones must be kept."""
        return self.kernel > 1

    @property
    def positions(self) -> int:
        """Positions to visit: the real ones, then padding up to the last window's end."""
        return max(self.size, (self.outputs - 1) * self.stride - self.padding + self.kernel)

    def opens(self, position: int) -> list[bool]:
        """Tell per slot whether its window starts here (or started in the padding before the first position)."""
        starts = [False] * self.slots
        for window in range(self.outputs):
            if max(window * self.stride - self.padding, 0) == position:
                starts[window % self.slots] = True
        return starts

    def closes(self, position: int) -> int | None:
        """Return the slot whose window ends here, if one does."""
        window, rest = divmod(position + self.padding - self.kernel + 1, self.stride)
        return window % self.slots if rest == 0 and 0 <= window < self.outputs else None


SINGLE = PoolAxis(size=1, kernel=1, stride=1, padding=0, outputs=1)
"""An axis with one position and nothing to pool."""
