"""Everything about activations sent as durations that is known before a gate exists: slots, wires, cycles."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from crosstile_golden.errors import CrosstileError
from crosstile_golden.numbers import NumberFormat

from .same_format import SameFormat
from .timing import Operations

SHORTEST_SLOT = 4  # `ready` knows of a beat 3 cycles after it was taken; a register on the way between chips makes 4
LONGEST_BITS = 16


@dataclass(frozen=True)
class PulsePlan(SameFormat):
    """A link that sends activations as durations (US 2020/0117986 [0006], [0077], claim 19).

    Each beat takes a slot of `slot_cycles`, whatever its values; each lane's wire is high for as many cycles from
    the slot's first one on as its value, or for signed formats its magnitude, tells:

        slot_cycles = max(4, greatest magnitude)    2^bits − 1 unsigned, 2^(bits−1) signed

    So the greatest magnitude is high for the whole slot: 255 cycles for 255, and 128 for −128, whose sign wire
    tells it from what +128 would be, a value that int8 does not have. Zero is never high, its sign wire low.

    number_format    of the activations; 1 to 16 bits, as every further bit doubles the time
    lanes            activations per beat, each with a wire of its own
    beats_per_frame  beats in a frame of the network

    Sender, wires and receiver are one node to the timing model. Raises `CrosstileError` for a value out of range.
    """

    number_format: NumberFormat
    lanes: int
    beats_per_frame: int

    def __post_init__(self) -> None:
        if self.number_format.bits > LONGEST_BITS:
            raise CrosstileError(
                f"number_format of a pulse link must have 1 to {LONGEST_BITS} bits, not {self.number_format.bits}; "
                f"every bit doubles the time of a beat"
            )
        for name in ("lanes", "beats_per_frame"):
            if getattr(self, name) < 1:
                raise CrosstileError(f"{name} of a pulse link must be 1 or more, not {getattr(self, name)}")

    @property
    def slot_cycles(self) -> int:
        """Cycles of a slot: the greatest magnitude, and no less than `ready` takes to fall."""
        return max(SHORTEST_SLOT, self.number_format.maximum, -self.number_format.minimum)

    @property
    def wires(self) -> int:
        """Wires from chip to chip: one per lane, its sign where there is one, `start`, and `ready` back."""
        return self.lanes * (1 + self.number_format.signed) + 2

    @cached_property
    def operations(self) -> Operations:
        """One frame, cycle by cycle. A slot's first cycle takes the beat and holds its place in the queue."""
        first = np.arange(self.beats_per_frame * self.slot_cycles) % self.slot_cycles == 0
        return Operations(first, first)

    @property
    def pipeline_cycles(self) -> int:
        """Cycles from taking a beat to its entering the queue: two to the wires, then the slot."""
        return self.slot_cycles + 2

    @property
    def cycles_per_frame(self) -> int:
        """Cycles per frame when never kept waiting."""
        return self.operations.cycles

    @property
    def memory_bits(self) -> int:
        """Bits of activations held: a beat in the sender, a beat in the receiver."""
        return 2 * self.lanes * self.number_format.bits
