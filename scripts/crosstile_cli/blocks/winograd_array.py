"""The Winograd array: 64 multipliers for tiles of one, two or three dimensions, switched from cycle to cycle."""

from crosstile.winograd_array import WinogradArray
from crosstile.winograd_array_plan import LARGEST_CHANNELS, LARGEST_OPERAND, POSITIONS, WinogradArrayPlan
from crosstile.winograd_nested_plan import LARGEST_BITS, PIPELINES
from crosstile.winograd_transform import tile_layout
from crosstile_golden.numbers import NumberFormat
from crosstile_golden.winograd import TILE
from crosstile_golden.winograd_array import links_along, multiply_accumulates, taps_along

from .block import Block, Built, lanes_text
from .parameters import YES_NO, Parameter, choice, or_auto, show, whole

AXES = ("depth", "row", "column")
DIMENSIONS = ("1", "2", "3", "1+2", "1+3", "2+3", "1+2+3")
TILES = {
    1: "sixteen tiles of one dimension; tile 4*t + u at depth t, row u",
    2: "four tiles of two dimensions; tile t at depth t",
    3: "one tile of three dimensions",
}


def _winograd_array(
    dimensions: str, activation_bits: int, signed: bool, weight_bits: int, channels: int, output_bits: int | None,
    pipeline: str,
) -> Built:
    modes = tuple(map(int, dimensions.split("+")))
    input_format = NumberFormat(activation_bits, signed)
    plan = WinogradArrayPlan(input_format, weight_bits, channels, output_bits, modes, pipeline)
    counted = plan.counted
    work = {
        f"multiply_accumulates_per_cycle_{mode}d": multiply_accumulates((1,) * (3 - mode) + (3,) * mode)
        for mode in modes
    }
    return Built(
        WinogradArray(plan), _meanings(plan),
        [
            "y[o] = sum over channels and taps t of w[t] * x[o + t], of every tile.",
            *(f"Mode {mode}: {TILES[mode]}." for mode in modes),
            f"Places are numbered row-major, depth, row, column: {show((TILE,) * 3)} activations, {show(plan.shape)} "
            "weights and outputs.",
            *_places(plan),
            "Weights at other places are not used, and may be anything; outputs at other places are not valid.",
            f"A new tile every cycle, of any mode and sizes; nothing ever waits. Latency: {plan.latency} cycles from "
            f"{'a tile' if channels == 1 else 'the last tile of a sum'} to its outputs.",
        ],
        {
            "latency_cycles": plan.latency, "multipliers": POSITIONS,
            **work,
            "adders": counted.adders, "selectors": counted.selectors, "register_bits": counted.register_bits,
            "sum_bits": sum(term.bits for term in plan.sums),
        },
    )  # fmt: skip


def _meanings(plan: WinogradArrayPlan) -> dict[str, str]:
    """Return what each port is for."""
    sizes = "; ".join(f"bit {bit} {AXES[axis]}" for bit, axis in enumerate(plan.axes))
    sums = "" if plan.channels == 1 else f" of up to {plan.channels} tiles"
    weight_format, count = NumberFormat(plan.weight_bits, signed=True), len(plan.weights())
    modulo = "" if plan.output_bits is None else f", modulo 2^{plan.output_bits}"
    layout = tile_layout(plan.outputs)
    fields = (
        f"outputs[{layout[index].offset + term.bits - 1}:{layout[index].offset}] place {index} int{term.bits}"
        for index, term in enumerate(plan.outputs)
    )
    return {
        "mode": f"dimensions of a tile, {' or '.join(map(str, plan.dimensions))}, in the cycle before it",
        "size_two": "sizes of a tile's kernel, in the cycle before it: high for size 2, low for size 3, without effect "
        f"along an axis that the mode does not have: {sizes}",
        "valid": "a tile is here",
        "first": "the tile is the first of a sum, which has one mode and one size",
        "last": "the tile is the last of a sum",
        "activations": lanes_text(plan.input_format, POSITIONS, "activations, one per place"),
        "weights": lanes_text(weight_format, count, "weights, one per place"),
        "outputs": f"outputs of the convolution, sums{sums}{modulo}: {'; '.join(fields)}",
        "outputs_valid": f"outputs are those of the tile that came {plan.latency} cycles ago"
        + ("" if plan.channels == 1 else ", the last of a sum"),
    }


def _places(plan: WinogradArrayPlan) -> list[str]:
    """Return the sentences on the places along each axis, which are the valid links for the outputs."""
    sentences = []
    for axis in plan.axes:
        texts = []
        for size in plan.sizes(axis):
            taps, links = (
                ", ".join(map(str, along(size, plan.shape[axis]))) for along in (taps_along, links_along)
            )
            zero = f" and 0 at {plan.shape[axis] - 1}" if size == 2 else ""
            texts.append(f"size {size}, taps at {taps}{zero}, outputs at {links}")
        past = "; other modes have a tile at each place" if 1 in plan.sizes(axis) else ""
        used = [text for text in texts if not text.startswith("size 1")]
        sentences.append(f"Along {AXES[axis]}: {'; '.join(used)}{past}.")
    return sentences


WINOGRAD_ARRAY = Block(
    "winograd-array",
    "convolves one 3D tile, four 2D tiles or sixteen 1D tiles per cycle on 64 multipliers, kernel 3 or 2 per axis.",
    (
        Parameter("dimensions", choice(*DIMENSIONS), "that it switches between from cycle to cycle", "1+2+3"),
        Parameter("activation_bits", whole(1, LARGEST_OPERAND), "width of an activation", "8"),
        Parameter("signed", YES_NO, "activations are two's complement", "no"),
        Parameter("weight_bits", whole(2, LARGEST_OPERAND), "width of a weight, two's complement", "8"),
        Parameter("channels", whole(1, LARGEST_CHANNELS), "most tiles of a sum; 1: each has its own result", "16"),
        Parameter(
            "output_bits", or_auto(whole(2, LARGEST_BITS)),
            "bits that all results are known to fit; auto is as many as any can need", "auto",
        ),
        Parameter("pipeline", choice(*PIPELINES), "registers: none, behind each axis, or behind each adder", "axis"),
    ),
    _winograd_array,
)  # fmt: skip
