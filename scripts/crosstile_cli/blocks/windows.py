"""Blocks that see a window of rows: the line buffer, and the pool."""

from math import prod

from crosstile.line_buffer import LineBuffer
from crosstile.line_buffer_plan import LineBufferPlan, strided_starts
from crosstile.pool import Pool
from crosstile.pool_plan import PoolPlan
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes, PoolGeometry, windows_along_axis
from crosstile_golden.network import PoolLayer
from crosstile_golden.numbers import NumberFormat

from .block import DEPTH, Block, Built, check_frame, depth_of, stream_figures, stream_meanings, stream_timing
from .parameters import YES_NO, Parameter, axes, choice, or_auto, padding, per_axis, show, whole

CHANNELS = Parameter("channels", whole(1, 65535), "channels of a pixel")
FORMAT = (
    Parameter("activation_bits", whole(1, 16), "width of an activation", "8"),
    Parameter("signed", YES_NO, "activations are two's complement", "no"),
)
LANES = Parameter("lanes", whole(1, 1024), "channels per beat; a divisor of the channels", "1")
ORDER = "Beats come row by row, in a row position by position, in a position channel group by channel group."


def _line_buffer(
    channels: int, size: Axes, kernel: int, stride: int, dilation: int, padding: tuple[Axes, Axes],
    lanes: int, run: int | None, activation_bits: int, signed: bool, depth: int | None,
) -> Built:
    check_frame(channels, size)
    rows, (begin,), (end,) = size[0], *padding
    outputs = windows_along_axis(rows, kernel, stride, dilation, begin + end)
    if outputs < 1:
        raise CrosstileError(
            f"--set kernel {kernel} (dilation {dilation}) does not fit the {rows} rows of size {show(size)} with "
            f"padding {show(padding)}"
        )
    plan = LineBufferPlan(
        "line-buffer", NumberFormat(activation_bits, signed), rows, prod(size[1:]), kernel, dilation,
        strided_starts(outputs, stride, begin), channels, lanes, lanes if run is None else run,
    )
    places = depth_of(plan, depth)
    order = f"(channel / {plan.run}, kernel row, channel mod {plan.run})"
    taps = f"{kernel} kernel rows of {lanes} channels of a position in the order {order}"
    return Built(
        LineBuffer(plan, places),
        stream_meanings("input", plan.number_format, plan.lanes_in, f"{lanes} channels of a position", sends=False)
        | stream_meanings("output", plan.number_format, plan.lanes_out, taps, sends=True),
        [
            f"Output row o, kernel row i holds input row o*{stride} - {begin} + i*{dilation}; zeros where none is.",
            f"A frame is {channels} channels of {show(size)}; {outputs} rows leave. {ORDER}",
            *stream_timing(plan, places),
        ],
        stream_figures(plan, places) | {"memory_bits": plan.memory_bits, "kept_rows": plan.kept_rows},
        {"run": plan.run, "depth": places},
    )  # fmt: skip


def _pool(
    kind: str, channels: int, size: Axes, window: Axes, stride: Axes | None, padding: tuple[Axes, Axes], lanes: int,
    rows_per_beat: int, shift: int | None, activation_bits: int, signed: bool, depth: int | None,
) -> Built:
    check_frame(channels, size)
    kernel = per_axis("window", window, size)
    steps = kernel if stride is None else per_axis("stride", stride, size)
    begin, end = (per_axis("padding", ends, size) for ends in padding)
    geometry = PoolGeometry(channels, size, kernel, steps, (1,) * len(size), begin, end, kind)
    least = (prod(kernel) - 1).bit_length() if kind == "average" else 0
    layer = PoolLayer("pool", geometry, least if shift is None else shift, NumberFormat(activation_bits, signed))
    plan = PoolPlan(layer, lanes, rows_per_beat)
    places = depth_of(plan, depth)
    rows = f"{rows_per_beat} rows of " if rows_per_beat > 1 else ""
    return Built(
        Pool(plan, places),
        stream_meanings("input", plan.input_format, plan.lanes_in, f"{rows}{lanes} channels of a pixel", sends=False)
        | stream_meanings("output", plan.output_format, plan.lanes_out, f"{lanes} channels of a pixel", sends=True),
        [
            _pooled(layer),
            f"A frame is {channels} channels of {show(size)}; {show(geometry.output_size)} leave. {ORDER}",
            *stream_timing(plan, places),
        ],
        stream_figures(plan, places) | {"memory_bits": plan.memory_bits},
        {"window": kernel, "stride": steps, "padding": (begin, end), "shift": layer.shift, "depth": places},
    )  # fmt: skip


def _pooled(layer: PoolLayer) -> str:
    if layer.geometry.kind == "max":
        return "A result is the greatest activation of its window; padding is none of them."
    return (
        f"A result is the sum of its window, padding being zeros, divided by 2^{layer.shift} and rounded to nearest, "
        "halves up."
    )


LINE_BUFFER = Block(
    "line-buffer",
    "keeps rows of activations and gives under each position the kernel's rows together.",
    (
        CHANNELS,
        Parameter("size", axes(1, 3, "32x32"), "of a frame; the first entry counts the rows"),
        Parameter("kernel", whole(1, 64), "kernel rows"),
        Parameter("stride", whole(1, 64), "along the rows", "1"),
        Parameter("dilation", whole(1, 64), "along the rows", "1"),
        Parameter("padding", padding(1, "1 or 1:0"), "rows of zeros above and below", "0"),
        LANES,
        Parameter("run", or_auto(whole(1, 1024)), "channels that stay together; a divisor of the lanes", "auto"),
        *FORMAT,
        DEPTH,
    ),
    _line_buffer,
)

POOL = Block(
    "pool",
    "maximum, average or sum over windows of a stream of rows; only open windows are kept.",
    (
        Parameter("kind", choice("max", "average", "sum"), "what becomes of a window"),
        CHANNELS,
        Parameter("size", axes(1, 2, "128 or 32x32"), "of a frame"),
        Parameter("window", axes(1, 2, "2 or 3x2"), "of the pool; one entry stands for all axes"),
        Parameter("stride", or_auto(axes(1, 2, "2 or 2x1")), "from window to window; auto is the window", "auto"),
        Parameter("padding", padding(2, "1x1 or 1x1:0x0"), "before and behind each axis", "0"),
        LANES,
        Parameter("rows_per_beat", whole(1, 64), "1, or the rows of a window, which then meet within a beat", "1"),
        Parameter("shift", or_auto(whole(0, 31)), "right shift of a sum; auto is the least: whole averages, plain sums",
                  "auto"),
        *FORMAT,
        DEPTH,
    ),
    _pool,
)  # fmt: skip
