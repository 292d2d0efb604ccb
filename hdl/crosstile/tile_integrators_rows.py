"""The rows of an outermost axis on their way through integrators and row store."""

from dataclasses import dataclass
from functools import cached_property
from itertools import count
from math import inf

from .tile_integrators_axis import AxisBanks

FRAMES = 6  # after which the row store has settled
SPARE = 64  # frames may come one part in so many later than they could, for a smaller row store


@dataclass(frozen=True, eq=False)
class RowQueue:
    """Rows (slices of a volume, outputs along a single axis) that the writer completes and the reader sends.

    Row o lies at round o div (banks · runs) of its memory, modulo the rounds there are. The integrators are the
    writer's own: rows are open from the first step that adds to them to the last. With that one they go to the row
    store, whose places the writer reserves as the step begins, and shows to the reader when all before them are
    complete; the reader frees them. Frames begin with a new round: places beyond a frame's last row are reserved,
    shown and freed with it.

    unit            rows that leave together, and that a beat of the queue stands for: 1, or the banks
    step_cycles     the writer's of each step, at the pace of its beats; `unit_cycles`: the reader's per unit
    handover_cycles from a step's last operation to its rows showing
    """

    axis: AxisBanks
    unit: int
    step_cycles: tuple[int, ...]
    unit_cycles: int
    handover_cycles: int

    @property
    def units(self) -> int:
        """Beats of the queue that leave per frame."""
        return self.axis.program.outputs // self.unit

    @property
    def _kept(self) -> int:
        return self.units * self.unit

    @property
    def rounds(self) -> int:
        """Rounds of the row store that a frame takes."""
        return -(-self._kept // self.axis.round_outputs)

    @property
    def beyond(self) -> int:
        """Beats of the queue that stand for the places beyond a frame's last row."""
        return self.rounds * self.axis.round_outputs // self.unit - self.units

    @cached_property
    def _reserved(self) -> list[int]:
        """After each step, rows up to the last that has gone to the row store."""
        return self._whole([
            max((output + 1 for output, last in self.axis.last_step.items() if last <= index), default=0)
            for index in range(len(self.axis.program.steps))
        ])

    @cached_property
    def _shown(self) -> list[int]:
        """After each step, rows that are complete, and all before them."""
        return self._whole(list(self.axis.program.closed))

    def _whole(self, rows: list[int]) -> list[int]:
        """Return numbers of rows with what is beyond the last, when that is reached."""
        return [
            self.rounds * self.axis.round_outputs if count >= self._kept else count // self.unit * self.unit
            for count in rows
        ]

    @property
    def reserves(self) -> list[int]:
        """Places that each step reserves."""
        return self._changes(self._reserved)

    @property
    def shows(self) -> list[int]:
        """Beats that each step shows."""
        return self._changes(self._shown)

    def _changes(self, rows: list[int]) -> list[int]:
        return [(after - before) // self.unit for before, after in zip([0, *rows], rows, strict=False)]

    def ends(self, index: int) -> list[int]:
        """Return per bank 1 where a step's row goes to the row store."""
        step = self.axis.program.steps[index]
        taken = {
            bank: step.outputs[place] for bank, place in self.axis.by_bank(step).items()
            if self.axis.last_step[step.outputs[place]] == index and step.outputs[place] < self._kept
        }
        return [int(bank in taken) for bank in range(self.axis.banks)]

    # Memory

    @property
    def open_rounds(self) -> int:
        """Rounds of integrators: those of all rows that are open at once."""
        program = self.axis.program
        most = max(after - before for after, before in zip(program.opened, (0, *program.closed), strict=False))
        return -(-most // self.axis.round_outputs)

    @cached_property
    def store_rounds(self) -> int:
        """Rounds of the row store: the fewest with which writer and reader keep their pace, but for a 64th."""
        best = max(sum(self.step_cycles), self.units * self.unit_cycles)
        return next(rounds for rounds in count(1) if self._interval(rounds) <= best + best // SPARE)

    def _interval(self, rounds: int) -> float:
        """Return the cycles between frames with so many rounds, steps and units taken as a whole."""
        depth, places, cycle, sent = rounds * self.axis.round_outputs // self.unit, 0, 0, 0
        shown: list[int] = []
        freed = [0] * depth
        ends = []
        for _ in range(FRAMES):
            for reserves, shows, cycles in zip(self.reserves, self.shows, self.step_cycles, strict=True):
                places += reserves
                if places > len(freed):
                    return inf
                cycle = max(cycle, freed[places - 1]) + cycles
                for _ in range(shows):
                    real = len(shown) % (self.units + self.beyond) < self.units
                    shown.append(cycle + self.handover_cycles)
                    sent = max(sent, shown[-1]) + self.unit_cycles if real else sent
                    freed.append(sent)
            ends.append(sent)
        return ends[-1] - ends[-2]

    @property
    def depth(self) -> int:
        """Places of the queue."""
        return self.store_rounds * self.axis.round_outputs // self.unit
