"""What a user must know to load weights at run time: addresses, and where each weight and constant lies."""

from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.layer_plan import ConvolutionPlan
from crosstile.line_buffer_plan import LineBufferPlan
from crosstile.load_bus import WORD_BITS, Contents
from crosstile.load_map import WORD_BYTES, LoadMap
from crosstile.multiplier_array import weight_contents
from crosstile.requantise import constant_contents
from crosstile_golden.errors import CrosstileError

MEMORIES = ("weights", "constants")

AXIL = {
    "awaddr": "AXI4-Lite write address, bytes", "awvalid": "AXI4-Lite AWVALID", "awready": "AXI4-Lite AWREADY",
    "wdata": "AXI4-Lite write data", "wstrb": "AXI4-Lite strobes: all high, else nothing is written",
    "wvalid": "AXI4-Lite WVALID", "wready": "AXI4-Lite WREADY",
    "bresp": "AXI4-Lite response: 0, or 2 where nothing was written", "bvalid": "AXI4-Lite BVALID",
    "bready": "AXI4-Lite BREADY",
    "araddr": "AXI4-Lite read address, bytes: 0 the identification, 4 the fingerprint of the layout",
    "arvalid": "AXI4-Lite ARVALID", "arready": "AXI4-Lite ARREADY", "rdata": "AXI4-Lite read data",
    "rresp": "AXI4-Lite response: 0, or 2 where there is nothing to read", "rvalid": "AXI4-Lite RVALID",
    "rready": "AXI4-Lite RREADY",
}  # fmt: skip


def bus_meanings() -> dict[str, str]:
    """Return the meanings of the ports that load the bare engine."""
    return {
        f"load_{memory}__{name}": meaning
        for memory in MEMORIES
        for name, meaning in {
            "write": f"data goes to word address of the {memory}; never waits",
            "address": "word address (row << part bits) + part, see Loading",
            "data": f"{WORD_BITS} bits to write",
        }.items()
    }


def axil_meanings() -> dict[str, str]:
    """Return the meanings of the AXI4-Lite port that loads the peripheral."""
    return {f"s_axil_{name}": meaning for name, meaning in AXIL.items()}


def loading(plan: ConvolutionPlan, axis: bool) -> list[str]:
    """Return the sentences on loading: regions, rows and words, and what each word holds.

    Raises `CrosstileError` for a plan with line buffers, whose engine sees other channels than the layer's.
    """
    if any(isinstance(stage, LineBufferPlan) for stage in plan.stages):
        raise CrosstileError(
            f"--set weights=loadable needs architecture=steered and 1 or 2 axes, not {plan.architecture} and "
            f"{plan.layer.geometry.dimensions}"
        )
    engine = plan.engine
    contents = dict(zip(MEMORIES, (weight_contents(engine), constant_contents(engine)), strict=True))
    bases = {region.kind: region.base for region in LoadMap((plan,)).regions} if axis else {}
    return [
        "Loading: everything starts as zeros, and reset leaves what was loaded. Load between frames; results of a "
        "frame under way are undefined.",
        *(_memory(memory, entry, bases.get(memory)) for memory, entry in contents.items()),
        _weights(engine), _constants(engine),
    ]


def _memory(memory: str, contents: Contents, base: int | None) -> str:
    rows, parts = len(contents.rows), len(contents.widths)
    where = f"(row << {contents.part_bits}) + part"
    address = f"word address {where}" if base is None else f"byte address {base} + {WORD_BYTES} * ({where})"
    return f"{memory}: {rows} rows of {parts} words, each at {address}; a row's words are its parts 0 to {parts - 1}."


def _weights(engine: CrosspointPlan) -> str:
    plane, fold, bits = engine.plane, engine.fold, engine.layer.weight_bits
    turns = (
        plane.kernel_height // fold.kernel_rows, engine.filter_groups, engine.column_groups, engine.channel_groups
    )
    return (
        "The weight of filter f, channel c of its group, kernel row i and kernel column j is in row "
        f"((i / {fold.kernel_rows} * {turns[1]} + f / {fold.lanes_out}) * {turns[2]} + j / {fold.kernel_columns}) * "
        f"{turns[3]} + c / {fold.channels}, and there number (((i mod {fold.kernel_rows}) * {fold.lanes_out} + f mod "
        f"{fold.lanes_out}) * {fold.kernel_columns} + j mod {fold.kernel_columns}) * {fold.channels} + c mod "
        f"{fold.channels}: {WORD_BITS // bits} weights of {bits} bits a word, the first in the least significant bits. "
        "(Divisions drop the rest; one axis is kernel columns with kernel row 0; where the kernel covers the whole "
        "unpadded input, its positions are kernel rows with kernel column 0.)"
    )


def _constants(engine: CrosspointPlan) -> str:
    part, lanes = engine.requantise, engine.lanes_out
    words = -(-part.constant_bits // WORD_BITS)
    most = f"-2^{part.summed_bits - 1} to 2^{part.summed_bits - 1} - 1"
    return (
        f"The constants of filter f are in row f / {lanes}, parts {words} * (f mod {lanes}) on, least significant word "
        f"first: bits {part.offset_bits - 1} to 0 the offset bias + 2^(shift - 1), or bias where shift is 0; above "
        f"them {part.shift_bits} bits of shift, 0 to {part.summed_bits - 1}. Every sum with its offset must be {most}."
    )
