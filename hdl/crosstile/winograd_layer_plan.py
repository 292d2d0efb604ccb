"""A convolution by Winograd's tiles: the stages that compute it, in order, and where its multipliers' cycles go."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import prod

from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.winograd import TILE
from crosstile_golden.winograd_split import AxisSplit

from .fold import useful_macs
from .line_buffer_plan import LineBufferPlan
from .tile_integrators_plan import TileIntegratorPlan
from .winograd_fold import TileFold, legal_tile_folds
from .winograd_plan import WinogradPlan


@dataclass(frozen=True)
class WinogradLayerPlan:
    """A convolution: a line buffer along each axis gives tiles, an engine multiplies them, integrators join them.

    Each line buffer sends, under each position, the TILE activations along its axis of every tile, in the order in
    which the last of them arrives. Behind the last axis', which is part of the engine, a beat holds whole tiles.

    fold          of the engine, see `TileFold`; `weights`: how they are kept, see `WinogradPlan`
    rows_at_once  output rows that leave together, see `TileIntegratorPlan`
    Raises `CrosstileError` for a layer or a fold that is not legal.
    """

    layer: ConvolutionLayer
    fold: TileFold
    weights: str = "transformed"
    rows_at_once: int = 1

    loadable = False

    def __post_init__(self) -> None:
        assert self.stages

    @cached_property
    def engine(self) -> WinogradPlan:
        """The stage that multiplies."""
        return WinogradPlan(self.layer, self.fold, self.weights)

    @cached_property
    def integrators(self) -> TileIntegratorPlan:
        """The stage in which tiles meet."""
        engine = self.engine
        return TileIntegratorPlan(
            self.layer, engine.programs, self.fold.filter_lanes, engine.numbers.axis_links, engine.numbers.tile_bits,
            engine.numbers.total_range, rows_at_once=self.rows_at_once,
        )

    @cached_property
    def stages(self) -> tuple[LineBufferPlan | WinogradPlan | TileIntegratorPlan, ...]:
        """The line buffers, the engine, which holds the last of them, and the integrators."""
        return (*self.engine.buffers[:-1], self.engine, self.integrators)

    @property
    def buffer_bits(self) -> int:
        """Bits of activations that the line buffers keep."""
        return sum(buffer.memory_bits for buffer in self.engine.buffers)

    @property
    def parts(self) -> list[tuple[int, ...]]:
        """Sizes of the parts of the kernel along each axis: [(3, 2), (3, 2)] for 5×5."""
        return [tuple(part.size for part in program.split.parts) for program in self.engine.programs]

    @property
    def memory_bits(self) -> int:
        """Bits of activations and partial sums that all stages keep, weights and queues left out."""
        return self.buffer_bits + self.engine.store_memory_bits + self.integrators.memory_bits

    @property
    def multipliers(self) -> int:
        """Multipliers in the array."""
        return self.engine.multipliers

    @property
    def cycles_per_frame(self) -> int:
        """Cycles per frame of the slowest stage, never kept waiting."""
        return max(stage.cycles_per_frame for stage in self.stages)

    @property
    def useful_macs(self) -> int:
        """Multiply-accumulates per frame of the direct convolution whose tap is an activation, not padding."""
        return useful_macs(self.layer.geometry)

    @property
    def utilisation(self) -> float:
        """Multiply-accumulates of the direct convolution, padding counted as work, per multiplier and cycle."""
        return self.layer.geometry.macs / (self.multipliers * self.cycles_per_frame)

    @property
    def limit(self) -> float:
        """What `utilisation` would be if every multiplier made a product that counts in every cycle.

        27/8 for 3×3×3, 9/4 for 3×3, 3/2 for 3 taps; less where parts of the kernel have one tap.
        """
        return float(prod((self._of_axis(axis) for axis in self._whole_splits), start=Fraction(1)))

    @property
    def _whole_splits(self) -> list[AxisSplit]:
        return [program.split for program in self.engine.programs]

    @staticmethod
    def _of_axis(axis: AxisSplit) -> Fraction:
        per_output = sum((Fraction(TILE, TILE - part.size + 1) for part in axis.parts), Fraction())
        return Fraction(axis.kernel) / per_output

    def losses(self, cycles: int) -> dict[str, float]:
        """Return where the array's multiplier-cycles go, frames `cycles` apart, as shares that add up to 1.

        work      products that the outputs need, if all tiles were full
        edges     tiles that are not full; less than 0 where tiles of nothing but padding are left out
        arrival   tiles that take longer to arrive than to multiply
        waiting   for input, for another stage, or for room behind
        """
        engine = self.engine
        total = self.multipliers * cycles
        needed = self.layer.geometry.macs / self.limit
        made = engine.tiles * engine.pass_operations * self.multipliers
        slots = engine.tiles * engine.slot_cycles * self.multipliers
        parts = {
            "work": needed, "edges": made - needed, "arrival": slots - made, "waiting": total - slots,
        }
        return {name: part / total for name, part in parts.items()}


def winograd_plans(layer: ConvolutionLayer, weights: str = "transformed") -> list[WinogradLayerPlan]:
    """Return every plan of a layer; none where the engine does not run it."""
    return [WinogradLayerPlan(layer, fold, weights) for fold in legal_tile_folds(layer.geometry)]
