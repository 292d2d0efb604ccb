"""The order in which a Winograd engine takes the tiles along one axis, and the outputs that they add to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod

from crosstile_golden.geometry import ConvolutionGeometry
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.winograd import TILE, outputs_along
from crosstile_golden.winograd_split import AxisSplit, Part, split

from .line_buffer_plan import LineBufferPlan


@dataclass(frozen=True)
class TileStep:
    """A tile along an axis: TILE activations, of which a part of the kernel makes outputs.

    start     index of its first activation; below 0 or beyond the last one is padding
    part      index of the part in `AxisSplit.parts`
    size      taps of that part: 3, 2 or 1
    outputs   those that it adds to, ascending, `AxisProgram.output_spacing` apart: 5 − size, or fewer at the end
    fresh     per output: no earlier step adds to it
    """

    start: int
    part: int
    size: int
    outputs: tuple[int, ...]
    fresh: tuple[bool, ...]


@dataclass(frozen=True)
class AxisProgram:
    """One axis of a convolution as tiles, in the order in which the last activation of each arrives.

    Parts of the kernel have tiles of their own, on grids of their own; all meet in the integrators of their outputs
    (US 2020/0117986 [0062]). Tiles that see nothing but padding are left out.

    split     the axis' parts
    inputs    activations along the axis; `padding`: before the first; `outputs`: along the axis
    """

    split: AxisSplit
    inputs: int
    padding: int
    outputs: int

    @property
    def input_spacing(self) -> int:
        """Distance of a tile's activations: stride·dilation / gcd(stride, dilation)."""
        return self.split.spacing * self.split.stride

    @property
    def output_spacing(self) -> int:
        """Distance of a tile's outputs: dilation / gcd(stride, dilation)."""
        return self.split.spacing

    @property
    def reach(self) -> int:
        """Distance from a tile's first activation to its last."""
        return (TILE - 1) * self.input_spacing

    @property
    def sizes(self) -> tuple[int, ...]:
        """The different sizes of the parts, the largest first."""
        return tuple(sorted({part.size for part in self.split.parts}, reverse=True))

    @property
    def banks(self) -> int:
        """Outputs of the widest tile: output o is in bank (o div output_spacing) mod banks."""
        return max(map(outputs_along, self.sizes))

    @cached_property
    def steps(self) -> tuple[TileStep, ...]:
        """The tiles, in order."""
        met: set[int] = set()
        steps = []
        for start, part, outputs in sorted(self._tiles()):
            fresh = tuple(output not in met for output in outputs)
            met |= set(outputs)
            steps.append(TileStep(start, part, self.split.parts[part].size, outputs, fresh))
        return tuple(steps)

    def _tiles(self) -> Iterator[tuple[int, int, tuple[int, ...]]]:
        """Yield start, part and outputs of every tile that sees an activation."""
        spacing = self.output_spacing
        for index, part in enumerate(self.split.parts):
            step = outputs_along(part.size) * spacing
            for first in range(spacing):
                for output in range(first, self.outputs, step):
                    start = self._start(part, output)
                    seen = range(start, start + self.reach + 1, self.input_spacing)
                    if any(0 <= place < self.inputs for place in seen):
                        yield start, index, tuple(range(output, min(output + step, self.outputs), spacing))

    def _start(self, part: Part, output: int) -> int:
        return (output + part.offset) * self.split.stride + part.phase - self.padding

    # How outputs open and close

    @cached_property
    def opened(self) -> tuple[int, ...]:
        """After each step, outputs up to the last that was added to."""
        opened, most = [], 0
        for step in self.steps:
            most = max(most, step.outputs[-1] + 1)
            opened.append(most)
        return tuple(opened)

    @cached_property
    def closed(self) -> tuple[int, ...]:
        """After each step, outputs that are complete, and all before them."""
        last = {output: index for index, step in enumerate(self.steps) for output in step.outputs}
        closed, done = [], 0
        for index in range(len(self.steps)):
            while done < self.outputs and last[done] <= index:
                done += 1
            closed.append(done)
        return tuple(closed)


@lru_cache(maxsize=256)
def axis_programs(geometry: ConvolutionGeometry) -> tuple[AxisProgram, ...]:
    """Return the program of every axis, outermost first; plans of one layer share them."""
    axes = zip(
        split(geometry), geometry.input_size, geometry.padding_begin, geometry.output_size, strict=True
    )
    return tuple(AxisProgram(*axis) for axis in axes)


def tile_buffers(
    layer: ConvolutionLayer, programs: Sequence[AxisProgram], lanes: int
) -> tuple[LineBufferPlan, ...]:
    """Return the line buffers that make tiles of `lanes` channels at once, outermost axis first.

    Behind that of axis n, a beat holds (channel, place in the tile along axes 0 to n).
    """
    geometry = layer.geometry
    return tuple(
        LineBufferPlan(
            layer.name, layer.input_format, rows=program.inputs, positions=prod(geometry.input_size[axis + 1 :]),
            kernel=TILE, dilation=program.input_spacing, starts=tuple(step.start for step in program.steps),
            channels=geometry.in_channels * TILE**axis, lanes=lanes * TILE**axis, run=1,
            frames=prod(len(outer.steps) for outer in programs[:axis]),
        )
        for axis, program in enumerate(programs)
    )
