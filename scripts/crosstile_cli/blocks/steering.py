"""The output controller and the sources of its mode word (US 2020/0117986 [0064], [0068])."""

from crosstile.crosspoint_program import mode_words
from crosstile.fold import PlaneGeometry, banks_needed
from crosstile.mode_source import ComputedRotation, StoredProgram, mode_layout
from crosstile.output_controller import OutputController, steering_layout
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes, ConvolutionGeometry
from crosstile_golden.numbers import NumberFormat

from .block import Block, Built, lanes_text, layout_text
from .parameters import Parameter, choice, or_auto, padding, show, whole

LATENCY = 2  # from a mode word to the contributions that it steers


def _output_controller(columns: int, integrators: int, sum_bits: int) -> Built:
    top = OutputController(columns, integrators, sum_bits)
    mode = layout_text("mode", steering_layout(columns, integrators))
    return Built(
        top,
        {
            "mode": "where each column's sum goes, one cycle before the sums: per column the number of its "
            f"integrator, and steered, 0 where the sum goes nowhere: {mode}",
            "sums": _values(sum_bits, columns, "one sum per column") + ", one cycle after their mode",
            "contributions": _values(sum_bits, integrators, "one contribution per integrator")
            + ", one cycle after the sums: the sum of the column that is steered to it, 0 where none is",
            "conflict": "the mode steers two columns to one integrator, in the cycle of their sums; that is not "
            "legal, and its contribution is the bitwise OR of their sums",
        },
        [f"New sums every cycle. Latency: contributions come {LATENCY} cycles after the mode, 1 cycle after the sums."],
        {"latency_cycles": LATENCY, "selections": columns * integrators},
        resets=False,
    )  # fmt: skip


def _values(bits: int, count: int, what: str) -> str:
    if bits <= 32:
        return lanes_text(NumberFormat(bits, signed=True), count, what)
    return f"{what}, int{bits} each, entry n in bits {bits}*n + {bits - 1} to {bits}*n"


def _mode_source(kind: str, rows: int, kernel: int, padding: tuple[Axes, Axes], integrators: int | None) -> Built:
    plane = _plane(rows, kernel, padding)
    open_rows = banks_needed(plane)
    banks = open_rows if integrators is None else integrators
    if banks < open_rows:
        raise CrosstileError(
            f"--set integrators must be {open_rows} or more, the output rows open at once, not {banks}"
        )
    words = mode_words(plane, banks)
    if kind == "computed":
        top: ComputedRotation | StoredProgram = ComputedRotation(kernel, banks, plane.out_height, plane.padding_top)
    else:
        top = StoredProgram(kernel, banks, words)
    layout = mode_layout(kernel, banks)
    starts = "at once" if kind == "computed" else "1 cycle"
    return Built(
        top,
        {
            "advance": "brings the word of the next time-step; after a frame's last, the first; only while ready",
            "ready": "the word is there" + (": always" if kind == "computed" else ", from 1 cycle after reset on"),
            "word": "the mode word of the time-step. steering: per kernel row the integrator that its sums go to, "
            "and whether they go to one at all; fresh: per integrator, it starts from zero; complete: the "
            f"integrator that leaves after this time-step. {layout_text('word', layout)}",
        },
        [
            f"A frame is {len(words)} time-steps: one per row of activations, then one per row of padding that "
            "completes an output row.",
            "Kernel row i at time-step y is steered to integrator (y + padding - i) mod integrators, where output "
            "row y + padding - i exists.",
            f"The first word shows {starts} after reset, and each next one in the cycle after advance.",
        ],
        {"time_steps_per_frame": len(words), "word_bits": layout.size,
         "memory_bits": 0 if kind == "computed" else len(words) * layout.size},
        {"integrators": banks},
    )  # fmt: skip


def _plane(rows: int, kernel: int, padding: tuple[Axes, Axes]) -> PlaneGeometry:
    """Return the geometry of a layer of these rows; two columns and no kernel along them stand for any."""
    (begin,), (end,) = padding
    if begin >= kernel:
        raise CrosstileError(f"--set padding must begin with 0 to kernel - 1 = {kernel - 1} rows, not {show(padding)}")
    geometry = ConvolutionGeometry(1, (rows, 2), (kernel, 1), (1, 1), (1, 1), (begin, 0), (end, 0), 1)
    return PlaneGeometry.of(geometry, "mode-source")


OUTPUT_CONTROLLER = Block(
    "output-controller",
    "steers each column's sum to the integrator that a mode word selects, or nowhere.",
    (
        Parameter("columns", whole(1, 256), "sums that come at once"),
        Parameter("integrators", whole(1, 256), "destinations"),
        Parameter("sum_bits", whole(1, 64), "width of a sum, two's complement", "16"),
    ),
    _output_controller,
)

MODE_SOURCE = Block(
    "mode-source",
    "gives the output controller's mode word of each time-step of a layer, stride and dilation 1.",
    (
        Parameter("kind", choice("computed", "stored"), "from a counter, or from a memory of one word per time-step"),
        Parameter("rows", whole(1, 65535), "rows of activations in a frame"),
        Parameter("kernel", whole(1, 64), "kernel rows"),
        Parameter("padding", padding(1, "1 or 1:0"), "rows of zeros above and below", "0"),
        Parameter("integrators", or_auto(whole(1, 64)), "auto is the output rows open at once", "auto"),
    ),
    _mode_source,
)
