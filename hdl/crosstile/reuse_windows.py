"""An axis of the reuse-grouped engine in macro windows: which activations a class needs, and where they come from."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Self

from crosstile_golden.geometry import ConvolutionGeometry


@dataclass(frozen=True)
class MacroWindows:
    """A spatial axis cut into macro windows of `length` outputs q (US 2023/0162007 [0048], [0067]).

    Tap i has phase v = i·dilation mod stride and reach j = ⌊i·dilation / stride⌋: output o takes input u = o + j of
    phase v, at coordinate stride·u + v − begin. In class a, 0 ≤ a < q, macro window k presents inputs
    u = k·q + a + l·q, at levels l = 0, 1 and on. The tap takes that of level ⌊j / q⌋ where j mod q ≤ a, else of the
    level above; its product goes to output (a − j) mod q. So taps of equal j mod q add to one output, a column, and
    behind the columns all is as if J = max j were below q.

    Level l is level l − 1 of the next macro window's same class: that is all that a halo store keeps.

    Classes go round from `first`: where there is one macro window only, and q > J, those whose nearest inputs are all
    padding come last, and the first outputs are complete that much sooner.

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

    @classmethod
    def of(cls, geometry: ConvolutionGeometry, axis: int, length: int, halo: bool) -> Self:
        """Return an axis of a layer, in macro windows of `length` outputs."""
        return cls(
            geometry.input_size[axis], geometry.kernel[axis], geometry.stride[axis], geometry.dilation[axis],
            geometry.padding_begin[axis], geometry.output_size[axis], length, halo,
        )

    @cached_property
    def taps(self) -> tuple[tuple[int, int], ...]:
        """(phase, reach) of each tap."""
        return tuple((i * self.dilation % self.stride, i * self.dilation // self.stride) for i in range(self.kernel))

    @cached_property
    def links(self) -> tuple[int, ...]:
        """j mod q of each tap: where its products enter a chain of sums."""
        return tuple(reach % self.length for _, reach in self.taps)

    @cached_property
    def reaches(self) -> tuple[int, ...]:
        """The distinct reaches modulo q, ascending: of a column each."""
        return tuple(sorted(set(self.links)))

    @property
    def reach(self) -> int:
        """Return the greatest of `reaches`, below q: positions that a sum passes behind its first."""
        return self.reaches[-1]

    @property
    def windows(self) -> int:
        """Macro windows; the outputs of the last one beyond the layer's are dropped."""
        return ceil(self.outputs / self.length)

    @property
    def positions(self) -> int:
        """Outputs, those dropped included, and steps of a frame: macro windows times q."""
        return self.windows * self.length

    @cached_property
    def phases(self) -> dict[int, int]:
        """The greatest reach in each phase that has a tap."""
        return dict(sorted(self.taps))

    def coordinate(self, window: int, index: int, phase: int) -> int:
        """Return where input u = window·q + index of a phase lies, negative or too large in the padding."""
        return self.stride * (window * self.length + index) + phase - self.begin

    def real(self, window: int, index: int, phase: int) -> bool:
        """Tell whether an input, index = a + l·q, is an activation that some output of the macro window takes."""
        valid = min(self.length, self.outputs - window * self.length)
        used = any(own == phase and 0 <= index - reach < valid for own, reach in self.taps)
        return used and 0 <= self.coordinate(window, index, phase) < self.size

    @cached_property
    def order(self) -> tuple[tuple[int, int], ...]:
        """(macro window, class) of each step."""
        q = self.length
        return tuple((window, (self.first + step) % q) for window in range(self.windows) for step in range(q))

    @cached_property
    def first(self) -> int:
        """The class that comes first."""
        if self.windows > 1 or self.length <= self.taps[-1][1]:
            return 0
        real = (any(self.real(0, a, phase) for phase in self.phases) for a in range(self.reach))
        return next((a for a, some in enumerate(real) if some), self.reach)

    # Halo: what a macro window keeps for the next

    @property
    def halo_classes(self) -> int:
        """Classes of a macro window that visit the halo store, min(J, q): those with more than one level."""
        return min(self.taps[-1][1], self.length)

    @property
    def keeps_halo(self) -> bool:
        """A halo store keeps `halo_classes` of one macro window for the next."""
        return self.halo and self.windows > 1 and self.halo_classes > 0

    def highest(self, a: int, phase: int) -> int:
        """Return the greatest level that a tap of a phase takes in class a: what a halo store cannot give."""
        level, link = divmod(self.phases[phase], self.length)
        return level + (link > a)

    def _needed(self, window: int, index: int, phase: int) -> bool:
        """Tell whether an input is an activation for this macro window, or for one that a halo store hands it on to."""
        if self.real(window, index, phase):
            return True
        onward = self.keeps_halo and index >= self.length and window + 1 < self.windows
        return onward and self._needed(window + 1, index - self.length, phase)

    def present(self, window: int, a: int, phase: int) -> list[int]:
        """Return the levels of which a class must hold an activation."""
        levels = range(self.highest(a, phase) + 1)
        return [level for level in levels if self._needed(window, a + level * self.length, phase)]

    def from_before(self, window: int, a: int, phase: int, level: int) -> bool:
        """Tell whether a level comes from the halo store: all do but the highest, which is read."""
        return self.keeps_halo and window > 0 and level < self.highest(a, phase)
