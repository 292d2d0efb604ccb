"""The registry of building blocks that `crosstile generate` writes; a new block is an entry here."""

from crosstile_golden.errors import CrosstileError

from .arithmetic import MULTIPLIER, REQUANTISE
from .block import Block
from .crosspoint import CROSSPOINT_ENGINE
from .links import PULSE_RECEIVER, PULSE_SENDER
from .reuse import REUSE_ENGINE
from .steering import MODE_SOURCE, OUTPUT_CONTROLLER
from .transforms import TRANSFORMS
from .windows import LINE_BUFFER, POOL
from .winograd import WINOGRAD_ENGINE
from .winograd_array import WINOGRAD_ARRAY

BLOCKS: dict[str, Block] = {
    block.name: block
    for block in (
        CROSSPOINT_ENGINE, WINOGRAD_ENGINE, REUSE_ENGINE, OUTPUT_CONTROLLER, MODE_SOURCE, LINE_BUFFER, POOL,
        PULSE_SENDER, PULSE_RECEIVER, MULTIPLIER, REQUANTISE, *TRANSFORMS, WINOGRAD_ARRAY,
    )
}  # fmt: skip


def block_of(name: str) -> Block:
    """Return a block of the registry; raises `CrosstileError` for a name that is none."""
    if name not in BLOCKS:
        raise CrosstileError(f"BLOCK must be one of {', '.join(BLOCKS)}, not {name!r}")
    return BLOCKS[name]
