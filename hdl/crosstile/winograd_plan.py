"""Everything about a Winograd engine that is known before a gate exists: programs, widths, cycles, memory."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod

import numpy as np
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import NumberFormat
from crosstile_golden.winograd import TILE

from .fold import weights_in_blocks
from .line_buffer_plan import LineBufferPlan
from .timing import FREE_CYCLES, Input, Node, Operations, Queue
from .winograd_fold import TileFold, check_winograd, legal_tile_folds
from .winograd_numbers import WEIGHT_STORES, WinogradNumbers
from .winograd_program import AxisProgram, axis_programs, tile_buffers

OPERAND_CYCLES = 4  # issue -> tile store -> operand -> multiplier's input -> product
SUM_CYCLES = 1      # the last products of a pass -> partial sums
LEAST_SLOT = 2      # cycles in which the next tile's step is fetched
TOKEN_CYCLES = 1    # a tile is there -> its first operation


@dataclass(frozen=True)
class WinogradPlan:
    """The tiles of a layer, folded onto one array of multipliers: 4^D of them per product of tiles.

        sums = Aᵀ [ Σ_channel (G w) ⊙ (Bᵀ x) ]      tile by tile, part by part of the kernel, filter by filter

    What arrives are the TILE activations along every axis but the last, for `fold.lanes` channels. A line buffer along
    the last axis makes them tiles, in the order of `programs` (outermost axis first), then channels. Each is
    transformed once and kept while all filters see it; the next tiles arrive meanwhile. Channels add up between the
    transforms. What leaves are partial sums of outputs, exact: the 2^D that divides them is gone
    (the Winograd method compatible with multi-dimensional networks, claims 1 to 6).

    weights   kept "transformed", or "raw" and transformed on their way to the multipliers
    Cycles are those of the engine alone, never kept waiting. Raises `CrosstileError` for a fold or a layer that is
    not legal.
    """

    layer: ConvolutionLayer
    fold: TileFold
    weights: str = "transformed"

    loadable = False

    def __post_init__(self) -> None:
        check_winograd(self.layer.geometry, self.layer.name)
        if self.weights not in WEIGHT_STORES:
            raise CrosstileError(
                f"layer {self.layer.name}: weights must be one of {', '.join(WEIGHT_STORES)}, not {self.weights!r}"
            )
        if self.fold not in legal_tile_folds(self.layer.geometry):
            geometry, groups = self.layer.geometry, self.layer.geometry.groups
            raise CrosstileError(
                f"layer {self.layer.name}: fold {self.fold} is not legal; channels must divide "
                f"{geometry.in_channels // groups}, filters {geometry.out_channels // groups}, groups {groups} with "
                "all channels and filters of a group, lanes the channels · groups"
            )

    # Tiles

    @cached_property
    def programs(self) -> tuple[AxisProgram, ...]:
        """The tiles along each axis, outermost first."""
        return axis_programs(self.layer.geometry)

    @cached_property
    def numbers(self) -> WinogradNumbers:
        """Weights, transforms and widths."""
        return WinogradNumbers(self.layer, self.fold, self.programs, self.weights)

    @property
    def tiles(self) -> int:
        """Tiles of a frame, all parts of the kernel together."""
        return prod(len(program.steps) for program in self.programs)

    # What enters and leaves

    @cached_property
    def buffers(self) -> tuple[LineBufferPlan, ...]:
        """The line buffers that make tiles, outermost axis first: all but the last are stages before the engine."""
        return tile_buffers(self.layer, self.programs, self.fold.lanes)

    @property
    def lanes_in(self) -> int:
        """Activations per beat taken: (channel, place in the tile along every axis but the last)."""
        return self.buffers[-1].lanes_in

    @property
    def tile_lanes(self) -> int:
        """Activations per beat of a tile: (channel, place in the tile)."""
        return self.buffers[-1].lanes_out

    @property
    def lanes_out(self) -> int:
        """Partial sums per beat sent: (link of each axis, filter)."""
        return prod(self.links) * self.fold.filter_lanes

    @property
    def links(self) -> Axes:
        """Links of a tile along each axis: the outputs of the smallest kernel."""
        return tuple(TILE - min(sizes) + 1 for sizes in self.numbers.kernel)

    @property
    def input_format(self) -> NumberFormat:
        """Format of the activations taken."""
        return self.layer.input_format

    @property
    def output_format(self) -> NumberFormat:
        """Format of the partial sums sent."""
        return NumberFormat(self.numbers.tile_bits, signed=True)

    # How the layer is cut

    @property
    def channel_groups(self) -> int:
        """Cycles of a pass: the channels of a group, `fold.channels` at a time."""
        return self.numbers.channel_groups

    @property
    def group_turns(self) -> int:
        """Turns over the groups of the layer."""
        return self.layer.geometry.groups // self.fold.groups

    @property
    def filter_passes(self) -> int:
        """Passes of one turn, for all filters of its groups."""
        geometry = self.layer.geometry
        return geometry.out_channels // geometry.groups // self.fold.filters

    @property
    def filter_groups(self) -> int:
        """Passes of a tile, and beats that send it."""
        return self.numbers.filter_groups

    @property
    def words(self) -> int:
        """Words of the tile store that hold a tile's channels."""
        return self.group_turns * self.channel_groups

    @property
    def beats_per_tile(self) -> int:
        """Beats of a tile, one after the other."""
        return self.layer.geometry.in_channels // self.fold.lanes

    # Time

    @property
    def weight_cycles(self) -> int:
        """Cycles that weights take from their memory's register on: transformed, or a long way from block RAM."""
        return self.numbers.weight_transform.latency if self.weights == "raw" else int(self.weights_in_blocks)

    @property
    def weights_in_blocks(self) -> bool:
        """Whether the weights are in block RAM, and not in tables."""
        words = len(self.numbers.weight_words)
        return weights_in_blocks(words, self.weight_memory_bits // words)

    @property
    def gather_cycles(self) -> int:
        """Cycles from the sums over the channels of a cycle, beside their multipliers, to where they are added up."""
        return int(self.channel_groups > 1)

    @property
    def write_cycles(self) -> int:
        """Cycles from a beat of a tile to its being written, transformed."""
        return max(self.numbers.activation_transform.latency, self.weight_cycles)

    @property
    def settle_cycles(self) -> int:
        """Cycles by which a tile is written later than its weights are read."""
        return self.write_cycles - self.weight_cycles

    @property
    def pass_operations(self) -> int:
        """Operations that multiply a tile: all passes."""
        return self.filter_groups * self.channel_groups

    @property
    def slot_cycles(self) -> int:
        """Operations per tile: its passes, or as many as the beats of a tile; 2 at least."""
        return max(self.pass_operations, self.beats_per_tile, LEAST_SLOT)

    @property
    def arrival_pipeline_cycles(self) -> int:
        """Cycles from the operation of the line buffer that ends a tile to word of it."""
        return self.buffers[-1].pipeline_cycles + self.settle_cycles

    @property
    def store_tiles(self) -> int:
        """Tiles that are kept, a power of two: the one multiplied, and so many that it need not wait for the next.

        A place is free from a tile's first operation on; then its next tile arrives, perhaps the first of a row, for
        which TILE positions must come, and is written.
        """
        turn = TILE * self.beats_per_tile + self.arrival_pipeline_cycles + TOKEN_CYCLES + FREE_CYCLES - 1
        return 1 << ceil(turn / self.slot_cycles).bit_length()

    @cached_property
    def arrival_operations(self) -> Operations:
        """One frame of the line buffer: a tile's first beat needs its place, and its last completes it."""
        operations = self.buffers[-1].operations
        beats = np.flatnonzero(operations.sends).reshape(-1, self.beats_per_tile)
        first, last = np.zeros_like(operations.sends), np.zeros_like(operations.sends)
        first[beats[:, 0]] = last[beats[:, -1]] = True
        return Operations(operations.takes, first, last, operations.first)

    @cached_property
    def operations(self) -> Operations:
        """One frame of what is multiplied: a tile's first operation takes it, and each pass sends a beat."""
        takes, sends = np.zeros(self.slot_cycles, np.bool_), np.zeros(self.slot_cycles, np.bool_)
        takes[0] = True
        sends[self.channel_groups - 1 : self.pass_operations : self.channel_groups] = True
        return Operations(takes, sends).repeated(self.tiles)

    @property
    def cycles_per_frame(self) -> int:
        """Cycles per frame of the array or of the line buffer, whichever is slower, when never kept waiting."""
        return max(self.slot_cycles * self.tiles, self.buffers[-1].cycles_per_frame)

    @property
    def tree_levels(self) -> int:
        """Registers in the adder tree over the channels of a cycle."""
        return (self.fold.channels - 1).bit_length()

    @property
    def lead_cycles(self) -> int:
        """Cycles from an operation to its products, added up over the channels of a cycle, being added to the sums."""
        return self.weight_cycles + OPERAND_CYCLES + self.tree_levels + self.gather_cycles

    @property
    def pipeline_cycles(self) -> int:
        """Cycles from the operation that ends a pass to its partial sums entering the queue."""
        return self.lead_cycles + SUM_CYCLES + self.numbers.partial_sum_transform.latency

    # Cost

    @property
    def multipliers(self) -> int:
        """Multipliers in the array."""
        return self.numbers.positions * self.fold.products

    @property
    def weight_memory_bits(self) -> int:
        """Bits of weights as they are kept."""
        if self.weights == "raw":
            return self.numbers.raw_words.size * self.layer.weight_bits
        return len(self.numbers.weight_words) * self.fold.products * sum(self.numbers.weight_bits)

    @property
    def store_memory_bits(self) -> int:
        """Bits of transformed activations kept: all channels of `store_tiles`."""
        bits = sum(term.bits for term in self.numbers.activation_transform.outputs)
        return self.store_tiles * self.layer.geometry.in_channels * bits


def winograd_nodes(plan: WinogradPlan, inputs: list[Input], outputs: list[Queue]) -> list[Node]:
    """Return the timing model: the line buffer and the array, between them the tiles that wait."""
    tiles = Queue(plan.store_tiles - 1, TOKEN_CYCLES)
    return [
        Node(plan.arrival_operations, plan.arrival_pipeline_cycles, [tiles], inputs),
        Node(plan.operations, plan.pipeline_cycles, outputs, [Input(tiles)]),
    ]
