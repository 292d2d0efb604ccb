"""How the tiles along one axis meet the banks that keep its outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from .winograd_program import AxisProgram, TileStep

Links = Mapping[int, tuple[int, ...]]
"""Per size of a part, the links on which a tile's outputs come, in order."""


@dataclass(frozen=True, eq=False)
class AxisBanks:
    """One axis' outputs in banks: n = output div spacing is in bank n mod banks, at round n div banks.

    A tile's outputs follow each other in n, so each is in a bank of its own (US 2020/0117986 [0064]: steering). Tiles
    of a single size begin at bank 0: their links are wired. Where sizes mix, a bank hears several links in turn.

    program   the axis' tiles; `links`: where their outputs come, for every size of the program
    """

    program: AxisProgram
    links: Links

    @property
    def banks(self) -> int:
        """Banks along the axis."""
        return self.program.banks

    @property
    def interleaved(self) -> int:
        """Runs of outputs that do not share a tile: output mod `interleaved` is the run's index."""
        return self.program.output_spacing

    @property
    def round_outputs(self) -> int:
        """Outputs of a round: each bank's one of each run."""
        return self.banks * self.interleaved

    @property
    def rounds(self) -> int:
        """Rounds that hold all outputs."""
        return -(-self.program.outputs // self.round_outputs)

    @property
    def link_count(self) -> int:
        """Links along the axis."""
        return max(max(places) for places in self.links.values()) + 1

    @property
    def adds(self) -> bool:
        """Several parts of the kernel add to an output."""
        return len(self.program.split.parts) > 1

    @property
    def covered(self) -> bool:
        """Some tile adds to each output: none sees nothing but padding."""
        return len({output for step in self.program.steps for output in step.outputs}) == self.program.outputs

    def by_bank(self, step: TileStep) -> dict[int, int]:
        """Return which of a step's outputs each bank takes; banks that take none are left out."""
        return {output // self.interleaved % self.banks: index for index, output in enumerate(step.outputs)}

    @cached_property
    def heard(self) -> tuple[tuple[int, ...], ...]:
        """Per bank the links that it ever takes, ascending."""
        found: list[set[int]] = [set() for _ in range(self.banks)]
        for step in self.program.steps:
            for bank, index in self.by_bank(step).items():
                found[bank].add(self.links[step.size][index])
        return tuple(tuple(sorted(links)) for links in found)

    @property
    def rotates(self) -> bool:
        """Some bank takes different links in turn."""
        return any(len(links) > 1 for links in self.heard)

    def position(self, output: int) -> tuple[int, int, int]:
        """Return run, bank and round of an output."""
        place, run = divmod(output, self.interleaved)
        return run, place % self.banks, place // self.banks

    # What is stored of each step

    def choices(self, step: TileStep) -> list[int]:
        """Return per bank which of the links it hears it takes."""
        taken = {bank: self.links[step.size][index] for bank, index in self.by_bank(step).items()}
        return [links.index(taken[bank]) if bank in taken else 0 for bank, links in enumerate(self.heard)]

    def valid(self, step: TileStep) -> list[int]:
        """Return per bank 1 where it takes an output."""
        return [int(bank in self.by_bank(step)) for bank in range(self.banks)]

    def fresh(self, step: TileStep) -> list[int]:
        """Return per bank 1 where its output starts from zero; 1 where it takes none."""
        taken = self.by_bank(step)
        return [int(bank not in taken or step.fresh[taken[bank]]) for bank in range(self.banks)]

    def taken_rounds(self, step: TileStep) -> list[int]:
        """Return per bank the round of its output."""
        taken = self.by_bank(step)
        outputs = [step.outputs[taken.get(bank, 0)] for bank in range(self.banks)]
        return [self.position(output)[2] for output in outputs]

    @cached_property
    def last_step(self) -> dict[int, int]:
        """Per output the index of the last step that adds to it."""
        return {output: index for index, step in enumerate(self.program.steps) for output in step.outputs}


@dataclass(frozen=True)
class Places:
    """A memory's address, made of fields side by side: no adder, and nothing is multiplied.

    Fields are padded to whole bits, but for the uppermost: the one that would waste most.
    sizes   values of each field
    """

    sizes: tuple[int, ...]

    @property
    def order(self) -> list[int]:
        """The fields from the least significant bits up."""
        waste = [(1 << self.bits(index)) / size for index, size in enumerate(self.sizes)]
        top = waste.index(max(waste))
        return [index for index in range(len(self.sizes)) if index != top] + [top]

    def bits(self, index: int) -> int:
        """Return the bits of a field."""
        return (self.sizes[index] - 1).bit_length()

    @property
    def words(self) -> int:
        """Words up to the highest address."""
        highest, low = 0, 0
        for index in self.order:
            highest += self.sizes[index] - 1 << low
            low += self.bits(index)
        return highest + 1
