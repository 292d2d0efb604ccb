"""A rough count of logic cells, to choose between plans of nearly equal speed."""

from math import ceil

from .crosspoint_plan import CrosspointPlan
from .layer_plan import EnginePlan
from .line_buffer_plan import LineBufferPlan
from .reuse_layer_plan import ReuseLayerPlan
from .winograd_layer_plan import WinogradLayerPlan

BLOCK_WIDTH, BLOCK_DEPTH = 36, 512  # of a common block RAM
BLOCK_CELLS = 100  # what a block RAM counts for: it is as scarce as so many cells
SMALL_WIDTH, SMALL_DEPTH, SMALL_CELLS = 4, 16, 3  # of memory made of logic cells
STAGE_CELLS = 150  # a stage's sequencer and queue


def storage_cells(width: int, depth: int) -> int:
    """Return the cells of a memory of `depth` words of `width` bits, in logic cells or block RAM."""
    small = SMALL_CELLS * ceil(width / SMALL_WIDTH) * ceil(depth / SMALL_DEPTH)
    block = BLOCK_CELLS * ceil(width / BLOCK_WIDTH) * ceil(depth / BLOCK_DEPTH)
    return min(small, block)


def engine_cells(engine: CrosspointPlan) -> int:
    """Return the cells of a crosspoint engine, multipliers and weights left out.

    An adder per product at the width of a sum, an accumulator with its multiplexer per column, an adder,
    a shifter and a clamp per filter, the operands' registers and rings, and the integrators' memory.
    """
    layer, fold = engine.layer, engine.fold
    sum_bits = layer.weight_bits + layer.input_format.bits + engine.tree_levels
    adders = engine.columns * (engine.products_per_column - 1) * sum_bits
    accumulators = engine.columns * engine.accumulator_bits * (1 if engine.pass_cycles == 1 else 2)
    lanes = engine.lanes_out * 4 * engine.accumulator_bits
    beat = fold.lanes_in * layer.input_format.bits
    ring = storage_cells(beat, engine.window_pixels * engine.beats_per_pixel) + 2 * beat
    return STAGE_CELLS + adders + accumulators + lanes + fold.kernel_columns * ring + _integrator_cells(engine)


def _integrator_cells(engine: CrosspointPlan) -> int:
    """Return the cells of the integrators' memory: banks side by side, or one after another where rows run in turn."""
    if not engine.banks:
        return 0
    kept = engine.integrator_memory_bits // (engine.integrator_positions * engine.banks)
    if engine.rows_together:
        return storage_cells(kept * engine.banks, engine.integrator_positions)
    return storage_cells(kept, engine.banks * engine.integrator_positions)


def buffer_cells(plan: LineBufferPlan) -> int:
    """Return the cells of a line buffer: its memory, and the registers of the beats that it takes and sends."""
    beats = (plan.lanes_in + 2 * plan.lanes_out) * plan.number_format.bits
    kept = plan.kept_rows * plan.lanes * plan.number_format.bits
    return STAGE_CELLS + beats + storage_cells(kept, plan.words)


def estimated_cells(plan: EnginePlan) -> int:
    """Return the cells of a layer's stages together."""
    if isinstance(plan, WinogradLayerPlan):
        return sum(map(buffer_cells, plan.engine.buffers)) + winograd_cells(plan)
    if isinstance(plan, ReuseLayerPlan):
        return reuse_cells(plan)
    buffers = sum(buffer_cells(stage) for stage in plan.stages if isinstance(stage, LineBufferPlan))
    return buffers + engine_cells(plan.engine)


# Adders of the transforms over 1, 2 and 3 axes.
ACTIVATION_ADDERS, PARTIAL_SUM_ADDERS = (4, 32, 192), (4, 26, 130)


def winograd_cells(plan: WinogradLayerPlan) -> int:
    """Return the cells of a Winograd engine and its integrators, multipliers and weights left out.

    The transforms' adders, an adder per product of a position at the width of a sum, the tile store; per filter in
    parallel an adder, a shifter and a clamp, and the integrators' memory with an adder per link where parts meet.
    """
    engine, fold, geometry = plan.engine, plan.fold, plan.layer.geometry
    axis, positions = geometry.dimensions - 1, engine.numbers.positions
    operand_bits = plan.layer.input_format.bits + geometry.dimensions
    sum_bits = engine.numbers.tile_bits
    activations = fold.lanes * (ACTIVATION_ADDERS[axis] * operand_bits)
    adders = fold.products * positions * sum_bits
    partial_sums = fold.filter_lanes * PARTIAL_SUM_ADDERS[axis] * sum_bits
    parts = fold.operands // fold.lanes
    store = parts * storage_cells(fold.lanes * positions * operand_bits, engine.store_tiles * engine.words)
    links = engine.lanes_out * sum_bits
    meet = 3 * links if len(engine.numbers.combinations) > 1 else 0
    lanes = plan.integrators.lanes_out * 4 * sum_bits
    kept = storage_cells(links, max(1, plan.integrators.memory_bits // links))
    return 2 * STAGE_CELLS + activations + adders + partial_sums + store + meet + lanes + kept


def reuse_cells(plan: ReuseLayerPlan) -> int:
    """Return the cells of a reuse-grouped engine and its frame memory, multipliers and weights left out.

    A multiplexer per tap and slot, an adder per product, and per link of a chain; the memories; per filter an adder, a
    shifter and a clamp.
    """
    engine, fold = plan.engine, plan.fold
    word, total_bits = engine.lanes_in * engine.input_format.bits, engine.total_bits
    taps = len(engine.taps) * word * len(engine.gathers)
    adders = engine.multipliers * engine.sum_bits(len(engine.axes))
    links = sum(len(engine.axes[index].reaches) for index in engine.chains) * fold.filters * total_bits
    kept = storage_cells(word, plan.frames * engine.frame_words)
    depth = max((engine.unit(index) for index in engine.chains), default=1)
    sums = storage_cells(max(1, plan.integrator_memory_bits // depth), depth)
    return 2 * STAGE_CELLS + taps + adders + links + kept + sums + fold.filters * 4 * total_bits
