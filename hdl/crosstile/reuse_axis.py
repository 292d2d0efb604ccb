"""One axis of the reuse-grouped engine: slots for the activations of a class, and what each step does."""

from dataclasses import dataclass
from functools import cached_property

from .reuse_windows import MacroWindows


@dataclass(frozen=True)
class AxisStep:
    """One class of one macro window along an axis.

    reads    (slot, coordinate) of each activation that memory gives, in the order of the reads
    halos    per slot: it takes what the macro window before has kept
    zeros    per slot: it lies in the padding
    visit    the halo store hands on one class, and keeps one
    further  per tap: it takes its phase's input one level on (j mod q > a)
    live     per tap: false where its input is padding and must count as zero, though its slot holds an activation
    """

    reads: tuple[tuple[int, int], ...]
    halos: tuple[bool, ...]
    zeros: tuple[bool, ...]
    visit: bool
    further: tuple[bool, ...]
    live: tuple[bool, ...]


@dataclass(frozen=True)
class ReuseAxis(MacroWindows):
    """What an engine does along a spatial axis: see `MacroWindows`."""

    # Slots: what holds the activations of a class

    @cached_property
    def slots(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """(phase, the levels it holds).

        One slot holds all levels where never two are activations in one class, and none comes from the halo store.
        """
        slots: list[tuple[int, tuple[int, ...]]] = []
        for phase in self.phases:
            levels, one = self._levels(phase), not self._several(phase)
            slots += [(phase, levels)] if one else [(phase, (level,)) for level in levels]
        # Higher levels come last: they are the last to be read, too.
        return tuple(sorted(slots, key=lambda slot: slot[1][0]))

    def _levels(self, phase: int) -> tuple[int, ...]:
        """Return the levels that taps of a phase take; with a halo store all from 0 on, which hand on to each other."""
        q = self.length
        taken = {last // q for own, reach in self.taps if own == phase for last in (reach, reach + q - 1)}
        return tuple(range(max(taken) + 1) if self.keeps_halo else sorted(taken))

    def _several(self, phase: int) -> bool:
        """Tell whether levels of a phase need a slot each."""
        for window, a in self.order:
            present = self.present(window, a, phase)
            if len(present) > 1 or any(self.from_before(window, a, phase, level) for level in present):
                return True
        return False

    @cached_property
    def kept(self) -> tuple[int, ...]:
        """The slots that a halo store keeps, all but level 0, in the order of `restored`, the slots it fills."""
        if not self.keeps_halo:
            return ()
        return tuple(n for n, (_, levels) in enumerate(self.slots) if levels[0])

    @cached_property
    def restored(self) -> tuple[int, ...]:
        """The slots that a halo store fills: those of the level before, of the same phases."""
        kept = [self.slots[slot] for slot in self.kept]
        return tuple(self.slots.index((phase, (level - 1,))) for phase, (level,) in kept)

    def slot_of(self, tap: int, further: bool) -> int:
        """Return the slot that a tap takes its nearer or further input from."""
        phase, reach = self.taps[tap]
        wanted = reach // self.length + (further and self.links[tap] > 0)
        return next(n for n, (own, levels) in enumerate(self.slots) if own == phase and wanted in levels)

    def separate(self, phase: int) -> bool:
        """Tell whether a phase has a slot for each of its levels: then the slots are zero in the padding."""
        return sum(own == phase for own, _ in self.slots) > 1

    @cached_property
    def steps(self) -> tuple[AxisStep, ...]:
        """A frame's steps: macro window by macro window, class by class."""
        return tuple(self._step(window, a) for window, a in self.order)

    def _step(self, window: int, a: int) -> AxisStep:
        reads, halos, zeros = [], [], []
        for slot, (phase, levels) in enumerate(self.slots):
            present = [level for level in self.present(window, a, phase) if level in levels]
            kept = [self.from_before(window, a, phase, level) for level in present]
            reads += [
                (slot, self.coordinate(window, a + level * self.length, phase))
                for level, before in zip(present, kept, strict=True) if not before
            ]  # fmt: skip
            halos.append(any(kept))
            zeros.append(not present)
        further = tuple(link > a for link in self.links)
        live = tuple(
            self.separate(phase)
            or self.real(window, a + self.length * (reach // self.length + beyond), phase)
            or self._dropped(a, beyond)
            for (phase, reach), beyond in zip(self.taps, further, strict=True)
        )
        visit = self.keeps_halo and a < self.halo_classes
        return AxisStep(tuple(reads), tuple(halos), tuple(zeros), visit, further, live)

    def _dropped(self, a: int, beyond: bool) -> bool:
        """Tell whether a tap's sum goes to an output that has left already, or is one that does not come back."""
        ended = not beyond if a < self.first else beyond and not self.wraps
        return ended and self.windows == 1

    @property
    def most_reads(self) -> int:
        """Greatest number of reads of a step, 1 or more."""
        return max(1, *(len(step.reads) for step in self.steps))

    @property
    def reads(self) -> int:
        """Reads along the axis in a frame."""
        return sum(len(step.reads) for step in self.steps)

    @property
    def turns(self) -> int:
        """Cycles along the axis in a frame: one for each read, and one where a step reads nothing."""
        return sum(max(1, len(step.reads)) for step in self.steps)

    # Sums: how they circulate (see `CyclicChain`)

    @property
    def drain(self) -> int:
        """Outputs that are complete only after the last step of their macro window."""
        return self.reach - self.first

    @cached_property
    def wraps(self) -> bool:
        """Some output takes an activation before its first tap's turn: its sum waits, and comes back."""
        return any(
            self.real(window, a + (reach // self.length + 1) * self.length, phase)
            for window, a in self.order
            for (phase, reach), link in zip(self.taps, self.links, strict=True) if self.first <= a < link
        )  # fmt: skip

    @property
    def waiting(self) -> tuple[int, ...]:
        """Lanes, from 1 to J mod q, in which sums wait: those that come back, and those that drain."""
        return tuple(range(1 if self.wraps else self.first + 2, self.reach + 1))
