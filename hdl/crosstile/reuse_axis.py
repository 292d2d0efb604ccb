"""One axis of the reuse-grouped engine: macro windows, slots for activations, and what each step does."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil

from crosstile_golden.geometry import ConvolutionGeometry


@dataclass(frozen=True)
class AxisStep:
    """One class of one macro window along an axis.

    reads    (slot, coordinate) of each activation that memory gives, in the order of the reads
    halos    per slot: it takes what the macro window before has kept
    zeros    per slot: it lies in the padding
    visit    the halo store hands on one class, and keeps one
    further  per tap: it takes its phase's input of the next q, and not of these (j > a)
    live     per tap: false where its input is padding and must count as zero, though its slot holds an activation
    """

    reads: tuple[tuple[int, int], ...]
    halos: tuple[bool, ...]
    zeros: tuple[bool, ...]
    visit: bool
    further: tuple[bool, ...]
    live: tuple[bool, ...]


@dataclass(frozen=True)
class ReuseAxis:
    """A spatial axis cut into macro windows of `length` outputs q (US 2023/0162007 [0048], [0067]).

    Tap i has phase v = i·dilation mod stride and reach j = ⌊i·dilation / stride⌋: output o takes input u = o + j of
    phase v, at coordinate stride·u + v − begin. In class a of macro window k the tap takes u = k·q + a where j ≤ a,
    else the one q further; so with q > J = max j, a phase presents at most two inputs in a class. The further one
    is the nearer one of the next macro window's same class: that is all that a halo store keeps.

    Classes go round from `first`: where there is one macro window only, those whose nearer inputs are all padding
    come last, and the first outputs are complete that much sooner.

    Fields: size, kernel, stride, dilation, begin (padding), outputs and length in pixels; `halo`, see `ReusePlan`.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    begin: int
    outputs: int
    length: int
    halo: bool

    @staticmethod
    def of(geometry: ConvolutionGeometry, axis: int, length: int, halo: bool) -> "ReuseAxis":
        """Return an axis of a layer, in macro windows of `length` outputs."""
        return ReuseAxis(
            geometry.input_size[axis], geometry.kernel[axis], geometry.stride[axis], geometry.dilation[axis],
            geometry.padding_begin[axis], geometry.output_size[axis], length, halo,
        )

    @cached_property
    def taps(self) -> tuple[tuple[int, int], ...]:
        """(phase, reach) of each tap."""
        return tuple((i * self.dilation % self.stride, i * self.dilation // self.stride) for i in range(self.kernel))

    @property
    def reach(self) -> int:
        """J, the greatest reach: positions that a sum passes behind its first."""
        return self.taps[-1][1]

    @cached_property
    def reaches(self) -> tuple[int, ...]:
        """The distinct reaches of taps, ascending."""
        return tuple(sorted({reach for _, reach in self.taps}))

    @property
    def windows(self) -> int:
        """Macro windows; the outputs of the last one beyond the layer's are dropped."""
        return ceil(self.outputs / self.length)

    @property
    def positions(self) -> int:
        """Outputs, those dropped included, and steps of a frame: macro windows times q."""
        return self.windows * self.length

    @property
    def keeps_halo(self) -> bool:
        """A halo store keeps J classes of one macro window for the next."""
        return self.halo and self.windows > 1 and self.reach > 0

    @cached_property
    def _phases(self) -> dict[int, int]:
        """The greatest reach in each phase that has a tap."""
        return dict(sorted(self.taps))

    def coordinate(self, window: int, index: int, phase: int) -> int:
        """Return where input u = window·q + index of a phase lies, negative or too large in the padding."""
        return self.stride * (window * self.length + index) + phase - self.begin

    def real(self, window: int, index: int, phase: int) -> bool:
        """Tell whether an input, 0 ≤ index < 2q, is an activation that some output of the macro window takes."""
        valid = min(self.length, self.outputs - window * self.length)
        used = any(own == phase and 0 <= index - reach < valid for own, reach in self.taps)
        return used and 0 <= self.coordinate(window, index, phase) < self.size

    @cached_property
    def _order(self) -> tuple[tuple[int, int], ...]:
        """(macro window, class) of each step."""
        q = self.length
        return tuple((window, (self.first + step) % q) for window in range(self.windows) for step in range(q))

    @cached_property
    def first(self) -> int:
        """The class that comes first."""
        if self.windows > 1:
            return 0
        real = (any(self.real(0, a, phase) for phase in self._phases) for a in range(self.reach))
        return next((a for a, some in enumerate(real) if some), self.reach)

    # Slots: what holds the activations of a class

    @cached_property
    def slots(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """(phase, which inputs it holds): 0 the nearer, 1 the further.

        One slot holds both where never both are real, and none comes from the halo store.
        """
        slots: list[tuple[int, tuple[int, ...]]] = []
        for phase, reach in self._phases.items():
            both = any(
                self.real(window, a, phase)
                and (self.real(window, a + self.length, phase) or (window > 0 and self.keeps_halo))
                for window, a in self._order if a < reach
            )  # fmt: skip
            slots += [(phase, (0,)), (phase, (1,))] if both else [(phase, (0, 1))]
        # Those that a halo store keeps come last: they are the last to be read, too.
        return tuple(sorted(slots, key=lambda slot: slot[1] == (1,)))

    @cached_property
    def kept(self) -> tuple[int, ...]:
        """The slots that a halo store keeps, in the order of `restored`, the slots it fills."""
        return tuple(n for n, (_, holds) in enumerate(self.slots) if holds == (1,)) if self.keeps_halo else ()

    @cached_property
    def restored(self) -> tuple[int, ...]:
        """The slots that a halo store fills: the nearer ones of the same phases."""
        return tuple(self.slots.index((self.slots[kept][0], (0,))) for kept in self.kept)

    def slot_of(self, tap: int, further: bool) -> int:
        """Return the slot that a tap takes its nearer or further input from."""
        phase, reach = self.taps[tap]
        wanted = int(further and reach > 0)
        return next(n for n, (own, holds) in enumerate(self.slots) if own == phase and wanted in holds)

    @cached_property
    def steps(self) -> tuple[AxisStep, ...]:
        """A frame's steps: macro window by macro window, class by class."""
        return tuple(self._step(window, a) for window, a in self._order)

    def _step(self, window: int, a: int) -> AxisStep:
        reads, halos, zeros = [], [], []
        for slot, (phase, holds) in enumerate(self.slots):
            indices = [a + self.length * further for further in holds if not further or a < self._phases[phase]]
            real = [index for index in indices if self.real(window, index, phase)]
            halo = bool(real) and slot in self.restored and window > 0 and a < self._phases[phase]
            reads += [(slot, self.coordinate(window, index, phase)) for index in real if not halo]
            halos.append(halo)
            zeros.append(not real)
        further = tuple(reach > a for _, reach in self.taps)
        live = tuple(
            self.real(window, a + self.length * beyond, phase) or self.separate(phase) or self._dropped(a, beyond)
            for (phase, _), beyond in zip(self.taps, further, strict=True)
        )
        return AxisStep(
            tuple(reads), tuple(halos), tuple(zeros), self.keeps_halo and a < self.reach, further, live
        )

    def _dropped(self, a: int, beyond: bool) -> bool:
        """Tell whether a tap's sum goes to an output that has left already, or is one that does not come back."""
        ended = not beyond if a < self.first else beyond and not self.wraps
        return ended and self.windows == 1

    def separate(self, phase: int) -> bool:
        """Tell whether a phase has a slot for each of its inputs: then the slots are zero in the padding."""
        return sum(own == phase for own, _ in self.slots) > 1

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
            self.real(window, a + self.length, phase)
            for window, a in self._order if self.first <= a < self.reach
            for phase, reach in self._phases.items() if a < reach
        )  # fmt: skip

    @property
    def waiting(self) -> tuple[int, ...]:
        """Lanes, from 1 to J, in which sums wait: those that come back, and those that drain."""
        return tuple(range(1 if self.wraps else self.first + 2, self.reach + 1))
