"""Blocks: a component and what a user must know of it, so that it can be instantiated without reading its source."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from textwrap import wrap
from typing import Any

from amaranth.hdl import Shape, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In
from crosstile.network_plan import least_depth
from crosstile.reuse_plan import ReusePlan
from crosstile.stages import BlockPlan
from crosstile.timing import FRAMES_TO_SETTLE, Input, Node, Queue, predict, queue_cycles
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes
from crosstile_golden.numbers import NumberFormat

from .parameters import Parameter, or_auto, show, whole

LINE = 112
LARGEST_FRAME = 1 << 24

CLOCK = "clock; everything happens at its rising edge"
RESET = "reset: synchronous, active high, for one cycle or more, at any time; what was on its way is forgotten"
NO_RESET = "not used: nothing here needs a reset"
DEPTH = Parameter(
    "depth", or_auto(whole(1, 65535)),
    "places of the output queue; auto is the least that keeps the full rate", "auto",
)


@dataclass(frozen=True)
class Port:
    """A port of the emitted module; `direction` is "input" or "output"."""

    name: str
    direction: str
    bits: int
    meaning: str


@dataclass(frozen=True)
class Built:
    """A block with its parameters chosen.

    top       the component; its members are the ports
    meanings  per port, as the Verilog names it: what it is for, its layout and its timing
    timing    sentences on latency and throughput
    figures   predicted, exactly: cycles, bits of memory, multipliers, and what follows from them
    chosen    values of parameters that were left to the block
    resets    the block has registers that reset
    """

    top: wiring.Component
    meanings: Mapping[str, str]
    timing: Sequence[str]
    figures: Mapping[str, int | float]
    chosen: Mapping[str, Any] = field(default_factory=dict)
    resets: bool = True

    @property
    def ports(self) -> list[Port]:
        """Every port, `clk` and `rst` first, then in the order of the members.

        Raises `KeyError` for a port without a meaning.
        """
        return [Port("clk", "input", 1, CLOCK), Port("rst", "input", 1, RESET if self.resets else NO_RESET)] + [
            Port(name, direction, bits, self.meanings[name]) for name, direction, bits in _members(self.top)
        ]


def _members(top: wiring.Component) -> Iterator[tuple[str, str, int]]:
    """Give name, direction and width of every port, as `crosstile.verilog.emit` names them; none without bits."""
    for path, member, value in top.signature.flatten(top):
        bits = len(Value.cast(value))
        if bits:
            yield "__".join(map(str, path)), "input" if member.flow == In else "output", bits


@dataclass(frozen=True)
class Block:
    """An entry of the registry: `build` makes the block from its parameters' values, given by name.

    `build` raises `CrosstileError` for values that are legal each, but not together.
    """

    name: str
    summary: str
    parameters: Sequence[Parameter]
    build: Callable[..., Built]


def description(block: Block, built: Built, values: Mapping[str, Any]) -> list[str]:
    """Return the lines at the head of the Verilog: parameters, ports, timing and figures."""
    lines = [*_hanging("", f"Block {block.name}: {block.summary}"), "", "Parameters"]
    lines += [f"  {name} = {show(value)}" for name, value in values.items()]
    lines += ["", "Ports: name, direction, bits, meaning"]
    ports = built.ports
    width = max(len(port.name) for port in ports)
    for port in ports:
        start = f"  {port.name:{width}}  {port.direction:6}  {port.bits:4}  "
        lines += _hanging(start, port.meaning)
    lines += ["", "Timing"]
    for sentence in built.timing:
        lines += _hanging("  ", sentence)
    lines += ["", "Predicted figures"]
    return lines + [f"  {name} = {value}" for name, value in built.figures.items()]


def _hanging(start: str, text: str) -> list[str]:
    """Return a text broken into lines, those after the first below where it starts."""
    return wrap(text, LINE, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False)


# What many blocks have in common


def depth_of(plan: BlockPlan | ReusePlan, depth: int | None) -> int:
    """Return the places of the output queue: as given, or the least that keeps the full rate."""
    return least_depth(plan) if depth is None else depth


def cycles_per_frame(plan: BlockPlan | ReusePlan, depth: int) -> int:
    """Return the cycles between frames while input and output never wait, the queue having `depth` places."""
    if depth >= least_depth(plan):
        return plan.cycles_per_frame
    node = Node(plan.operations, plan.pipeline_cycles, [Queue(depth, queue_cycles(depth))], [Input(None)])
    return predict([node], FRAMES_TO_SETTLE).interval


def check_frame(channels: int, size: Axes) -> None:
    """Raise `CrosstileError` for a frame of more activations than can be planned in reasonable time."""
    if channels * prod(size) > LARGEST_FRAME:
        raise CrosstileError(
            f"channels {channels} and size {show(size)} make {channels * prod(size)} activations a frame; "
            f"legal are {LARGEST_FRAME} at most"
        )


def lanes_text(number_format: NumberFormat, lanes: int, what: str) -> str:
    """Return the words for `lanes` values side by side, each of `what`."""
    step = number_format.bits
    where = f"bits {step - 1} to 0" if lanes == 1 else f"entry n in bits {step}*n + {step - 1} to {step}*n"
    return f"{what}, {number_format} each, {where}" if lanes > 1 else f"{what}, {number_format}, in {where}"


def channels_text(lanes: int) -> str:
    """Return the words for the channels of a beat."""
    return "1 channel of a pixel" if lanes == 1 else f"{lanes} channels of a pixel"


def stream_meanings(prefix: str, number_format: NumberFormat, lanes: int, what: str, sends: bool) -> dict[str, str]:
    """Return the meanings of a stream's three ports; `sends` tells an output from an input."""
    if sends:
        valid, ready = "a beat is offered; it stays until it is taken", "the beat is taken where valid is high too"
    else:
        valid = "a beat is offered; it must stay until it is taken"
        ready = "the beat is taken where valid is high too; does not depend on valid"
    return {
        f"{prefix}__payload": f"a beat: {lanes_text(number_format, lanes, what)}",
        f"{prefix}__valid": valid, f"{prefix}__ready": ready,
    }  # fmt: skip


def stream_timing(plan: BlockPlan, depth: int) -> list[str]:
    """Return the sentences on a stage between two streams."""
    full = least_depth(plan)
    rate = f"A frame every {cycles_per_frame(plan, depth)} cycles while input and output never wait"
    if depth < full:
        rate += f"; a queue of {full} places would make that {plan.cycles_per_frame}"
    return [
        f"A frame is {plan.operations.beats_in} beats in and {plan.operations.beats_out} beats out; frames may follow "
        "each other at once.",
        f"{rate}.",
        f"Latency: a result is offered {plan.pipeline_cycles + queue_cycles(depth)} cycles after the operation that "
        "completes it. An operation is a cycle: that in which the last beat is taken which the result needs, or a "
        "later one, where a fold or padding needs more.",
        "Any waiting on either side loses and repeats nothing.",
    ]


def stream_figures(plan: BlockPlan, depth: int) -> dict[str, int]:
    """Return the figures of a stage between two streams; `memory_bits` are added by whoever knows them."""
    return {
        "cycles_per_frame": cycles_per_frame(plan, depth), "pipeline_cycles": plan.pipeline_cycles,
        "latency_cycles": plan.pipeline_cycles + queue_cycles(depth),
        "beats_in_per_frame": plan.operations.beats_in, "beats_out_per_frame": plan.operations.beats_out,
        "queue_bits": depth * plan.lanes_out * plan.output_format.bits,
    }  # fmt: skip


def layout_text(name: str, layout: data.Layout) -> str:
    """Return where the fields of a structure lie, least significant first."""
    return "; ".join(f"{name}[{_span(low, bits)}] {path}" for path, low, bits in _fields(layout, "", 0))


def _span(low: int, bits: int) -> str:
    return str(low) if bits == 1 else f"{low + bits - 1}:{low}"


def _fields(layout: data.Layout, path: str, offset: int) -> Iterator[tuple[str, int, int]]:
    for key, entry in layout:
        name = f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}".lstrip(".")
        bits = Shape.cast(entry.shape).width
        if isinstance(entry.shape, data.Layout):
            yield from _fields(entry.shape, name, offset + entry.offset)
        elif bits:
            yield name, offset + entry.offset, bits
