"""Everything about the integrators of tiles that is known before a gate exists: rows, programs, cycles, memory."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import Integers, NumberFormat, signed_bits_for

from .requantise_plan import RequantisePlan, requantise_cycles
from .tile_integrators_axis import AxisBanks, Links, Places
from .tile_integrators_operations import reader_operations, settling_gaps, writer_operations
from .tile_integrators_rows import RowQueue
from .timing import QUEUE_CYCLES, Input, Node, Operations, Queue
from .winograd_program import AxisProgram

READ_CYCLES = 3   # address -> word -> the memory's register -> that or zero
DRAIN_CYCLES = 4  # address -> word -> the memory's register -> that or zero -> the bank of the output chosen


@dataclass(frozen=True, eq=False)
class TileIntegratorPlan:
    """The output controller and integrators of a layer computed in tiles (US 2020/0117986 [0062]-[0073]).

        output[o] = activation((Σ over the tiles that reach o of their results + bias) >> shift)

    A writer takes the beats: per tile (outermost axis' steps, ..., innermost axis' steps) a beat per filter group. It
    adds each output's result to that output's integrator; the result of the last row of tiles goes to the row store.
    A reader sends what is complete, row after row, and frees it. Where each output has one tile there is no
    integrator, and nothing to add: tiles are stored and sent. Where parts of the kernel mix, sums wait twice, since
    adding and sending at once are two reads and one write per cycle and bank, more than a block RAM does.

    programs      per spatial axis its tiles, outermost first
    filter_lanes  filters per beat; a divisor of the filters
    links         per axis and size the links on which a tile's outputs come. A beat holds (link of each axis, filter)
                  row-major, two's complement of `tile_bits`; links that a tile does not fill are ignored
    total_range   least and greatest whole sum of each filter, bias left out; sums are kept modulo 2^total_bits
    loadable      bias and shifts are written at run time, see `RequantisePlan`
    rows_at_once  output rows that leave together, in beats of (row, filter): 1, or the banks along the axis of rows, if
                  its tiles are of one size and touch, and no residual joins; rows that do not fill a beat never leave
    beat_cycles   from one beat to the next, as they come: the row store is made as large as that needs

    Raises `CrosstileError` for what is not legal, and for padding that leaves outputs without any activation.
    """

    layer: ConvolutionLayer
    programs: tuple[AxisProgram, ...]
    filter_lanes: int
    links: tuple[Links, ...]
    tile_bits: int
    total_range: tuple[Integers, Integers]
    loadable: bool = False
    rows_at_once: int = 1
    beat_cycles: int = 1

    def __post_init__(self) -> None:
        name, geometry = f"layer {self.layer.name}:", self.layer.geometry
        if not 1 <= self.filter_lanes <= geometry.out_channels or geometry.out_channels % self.filter_lanes:
            raise CrosstileError(f"{name} filter_lanes must divide {geometry.out_channels}, not {self.filter_lanes}")
        if (len(self.links), self._outputs) != (geometry.dimensions, geometry.output_size):
            raise CrosstileError(
                f"{name} programs and links must be those of outputs {geometry.output_size}, not {self._outputs} and "
                f"{len(self.links)}"
            )
        for axis, banks in enumerate(self.axes):
            self._check_axis(f"{name} axis {axis}", banks)
        self._check_rows_at_once()
        if self.loadable:
            assert self.requantise  # raises for constants that are not legal

    def _check_axis(self, name: str, axis: AxisBanks) -> None:
        for size in axis.program.sizes:
            places = axis.links.get(size, ())
            if len(set(places)) != 5 - size or min(places) < 0:
                raise CrosstileError(f"{name}: links of size {size} must be {5 - size} different ones, not {places}")
        if not axis.covered:
            raise CrosstileError(
                f"{name}: padding leaves outputs without any activation; use less padding, or another engine"
            )

    def _check_rows_at_once(self) -> None:
        legal = [1]
        if len(self.axes) > 1 and self.layer.residual is None:
            rows = self.axes[-2]
            if len(rows.program.sizes) == rows.interleaved == 1 and rows.program.outputs >= rows.banks:
                legal.append(rows.banks)
        if self.rows_at_once not in legal:
            raise CrosstileError(
                f"layer {self.layer.name}: rows_at_once must be {' or '.join(map(str, legal))}, not {self.rows_at_once}"
            )

    @property
    def _outputs(self) -> Axes:
        return tuple(program.outputs for program in self.programs)

    @cached_property
    def axes(self) -> tuple[AxisBanks, ...]:
        """The axes, outermost first."""
        return tuple(AxisBanks(*axis) for axis in zip(self.programs, self.links, strict=True))

    # What enters and leaves

    @property
    def link_counts(self) -> Axes:
        """Links along each axis."""
        return tuple(axis.link_count for axis in self.axes)

    @property
    def lanes_in(self) -> int:
        """Tile results per beat taken: (link of each axis, filter)."""
        return prod(self.link_counts) * self.filter_lanes

    @property
    def lanes_out(self) -> int:
        """Activations per beat sent: (row at once, filter)."""
        return self.filter_lanes * self.rows_at_once

    @property
    def input_format(self) -> NumberFormat:
        """Format of a tile result."""
        return NumberFormat(self.tile_bits, signed=True)

    @property
    def output_format(self) -> NumberFormat:
        """Format of the activations sent."""
        return self.layer.output_format

    @property
    def filter_groups(self) -> int:
        """Beats that bring a tile, and that send an output."""
        return self.layer.geometry.out_channels // self.filter_lanes

    # Numbers

    @property
    def total_bits(self) -> int:
        """Width of a whole sum, bias left out."""
        low, high = self.total_range
        return signed_bits_for(int(low.min()), int(high.max()))

    @cached_property
    def requantise(self) -> RequantisePlan:
        """Constants and widths from whole sums to activations."""
        return RequantisePlan(self.layer, self.total_range, self.loadable)

    # Banks and memory

    @property
    def adds(self) -> bool:
        """Several tiles add to an output: there are integrators."""
        return any(axis.adds for axis in self.axes)

    @property
    def bank_shape(self) -> Axes:
        """Banks along each axis."""
        return tuple(axis.banks for axis in self.axes)

    @cached_property
    def rows(self) -> RowQueue:
        """The outermost axis: its rows in the integrators, in the row store, and between writer and reader."""
        at_once = self.rows_at_once if len(self.axes) == 2 else 1
        pace = tuple(cycles * self.beat_cycles for cycles in self.step_cycles)
        return RowQueue(self.axes[0], at_once, pace, self.row_operations, self.writer_pipeline_cycles + QUEUE_CYCLES)

    def _places(self, rounds: int) -> Places:
        fields = [self.filter_groups]
        for axis in reversed(self.axes[1:]):
            fields += [axis.interleaved, axis.rounds]
        return Places((*fields, self.axes[0].interleaved, rounds))

    @cached_property
    def integrator_places(self) -> Places:
        """Address of an integrator: filter group, then per axis, innermost first, run and round."""
        return self._places(self.rows.open_rounds)

    @cached_property
    def store_places(self) -> Places:
        """Address in the row store, of the same fields."""
        return self._places(self.rows.store_rounds)

    @property
    def memory_bits(self) -> int:
        """Bits of integrators and of the row store, as they are built."""
        words = self.store_places.words + (self.integrator_places.words if self.adds else 0)
        return words * prod(self.bank_shape) * self.filter_lanes * self.total_bits

    # Time

    @property
    def rotations(self) -> int:
        """Axes along which results are steered to banks, a cycle each."""
        return sum(axis.rotates for axis in self.axes)

    @property
    def data_cycles(self) -> int:
        """Cycles from a beat being taken to its results meeting what they add to, or being stored."""
        return 1 + max(READ_CYCLES, self.rotations) if self.adds else 1

    @property
    def store_cycles(self) -> int:
        """Cycles from a beat being taken to its sums being written."""
        return self.data_cycles + self.adds

    @cached_property
    def gaps(self) -> tuple[int, ...]:
        """Idle operations after each step of the innermost axis, until what the next steps read is written."""
        return settling_gaps(self.axes, self.filter_groups)

    @property
    def step_cycles(self) -> tuple[int, ...]:
        """Operations of the writer per step of the outermost axis, the gap behind the last included."""
        inner = tuple(self.filter_groups + gap for gap in self.gaps)
        if len(self.axes) == 1:
            return inner
        tiles = prod(len(program.steps) for program in self.programs[1:-1])
        return (sum(inner) * tiles,) * len(self.programs[0].steps)

    @cached_property
    def writer_operations(self) -> Operations:
        """The writer: a beat per operation, and gaps; rows are reserved as their last step begins, shown after it."""
        return writer_operations(self.programs, self.filter_groups, self.gaps, self.step_cycles, self.rows)

    @property
    def writer_pipeline_cycles(self) -> int:
        """Cycles from a step's last operation to its complete rows entering the queue of rows."""
        return self.store_cycles - 1

    @property
    def ring(self) -> int:
        """Places of the queue of rows between writer and reader: the beats of it are `rows.unit` output rows each."""
        return self.rows.depth

    @property
    def row_operations(self) -> int:
        """Operations of the reader per beat of the queue of rows."""
        inner = [program.outputs for program in self.programs[1:]]
        if len(inner) == 2:
            inner[0] //= self.rows_at_once
        return prod(inner) * self.filter_groups

    @cached_property
    def operations(self) -> Operations:
        """The reader: a beat per operation."""
        return reader_operations(self.rows, self.row_operations)

    @property
    def requantise_cycles(self) -> int:
        """Cycles from totals to their beat."""
        return requantise_cycles(self.layer, self.loadable)

    @property
    def pipeline_cycles(self) -> int:
        """Cycles from an operation of the reader to its beat entering the output queue."""
        return DRAIN_CYCLES + self.requantise_cycles

    @property
    def cycles_per_frame(self) -> int:
        """Cycles per frame when never kept waiting: those of the writer or of the reader, which takes longer."""
        return max(self.writer_operations.cycles, self.operations.cycles)


def tile_integrator_nodes(plan: TileIntegratorPlan, inputs: list[Input], outputs: list[Queue]) -> list[Node]:
    """Return the timing model: writer and reader, joined by the queue of rows.

    inputs   the tile results, then the residual where the layer has one
    """
    rows = Queue(plan.ring, frees=1)
    return [
        Node(plan.writer_operations, plan.writer_pipeline_cycles, [rows], inputs[:1]),
        Node(plan.operations, plan.pipeline_cycles, outputs, [Input(rows, 2), *inputs[1:]]),
    ]
