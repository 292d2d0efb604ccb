"""What every engine's block is asked: one convolution layer, and how much may compute it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from crosstile.layer_plan import EnginePlan
from crosstile.mapper import deepen, most_multipliers
from crosstile.network_plan import NetworkPlan
from crosstile_golden.activation import Activation
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes, ConvolutionGeometry
from crosstile_golden.network import ConvolutionLayer, IntegerNetwork
from crosstile_golden.numbers import NumberFormat

from .block import check_frame
from .parameters import YES_NO, Kind, Parameter, axes, or_auto, padding, per_axis, show, whole
from .weights import ACTIVATION, LOADABLE, random_layer, read_arrays

LARGEST_LAYER = 1 << 24
LARGEST_FOLD = 1 << 20

PARAMETERS_OF_LAYER = (
    Parameter("channels", whole(1, 65535), "input channels"),
    Parameter("filters", whole(1, 65535), "output channels"),
    Parameter("size", axes(1, 3, "128, 32x32 or 16x16x16"), "of a frame; as many entries as spatial axes"),
    Parameter("kernel", axes(1, 3, "3 or 3x3"), "one entry stands for all axes"),
    Parameter("stride", axes(1, 3, "1 or 2x2"), "one entry stands for all axes", "1"),
    Parameter("dilation", axes(1, 3, "1 or 2x2"), "one entry stands for all axes", "1"),
    Parameter("padding", padding(3, "1x1 or 1x1:0x0"), "zeros before and behind each axis", "0"),
    Parameter("groups", whole(1, 65535), "a divisor of channels and filters; depthwise is groups = channels", "1"),
    Parameter("weight_bits", whole(2, 16), "width of a weight, two's complement", "8"),
    Parameter("activation_bits", whole(2, 16), "width of an activation, in and out", "8"),
    Parameter("signed_input", YES_NO, "input activations are two's complement", "no"),
    Parameter("signed_output", YES_NO, "output activations are two's complement", "no"),
    ACTIVATION,
)


def weights_parameter(kind: Kind) -> Parameter:
    """Return the parameter for the weights' source."""
    return Parameter(
        "weights", kind, "where weight (filters, channels / groups, kernel), bias and shift come from", "random"
    )


def multipliers_parameter(auto: str) -> Parameter:
    """Return the parameter for the multipliers; `auto` says in words what "auto" is."""
    return Parameter("multipliers", or_auto(whole(1, LARGEST_FOLD)), f"at most so many; auto is {auto}", "auto")


def fold_parameter(names: str, counts: Sequence[int], fold: Callable[..., Any]) -> Parameter:
    """Return the parameter for a fold, joined by x.

    names   in words, what the numbers are; `counts`: how many there may be
    fold    makes the fold of the numbers
    """

    def read(text: str) -> Any:
        entries = [int(entry) for entry in text.split("x") if entry.isascii() and entry.isdecimal()]
        complete = len(entries) in counts and len(entries) == len(text.split("x"))
        if not complete or not all(0 < entry < LARGEST_FOLD for entry in entries):
            raise ValueError(text)
        return fold(*entries)

    kind = Kind("sizes", f"{names}, each 1 or more", read)
    return Parameter("fold", or_auto(kind), "what one cycle computes; auto is the fastest with the multipliers", "auto")


@dataclass(frozen=True)
class LayerRequest:
    """The parameters of `PARAMETERS_OF_LAYER`, as read, and what every engine has besides.

    weights      "random" (of `seed`), "loadable", or a file
    multipliers  at most so many, or None: the engine's own choice
    depth        places of every queue, or None: the least that keep the full rate
    A block that computes a layer adds its own fields, and names itself in `block`.
    """

    block: ClassVar[str]

    channels: int
    filters: int
    size: Axes
    kernel: Axes
    stride: Axes
    dilation: Axes
    padding: tuple[Axes, Axes]
    groups: int
    weight_bits: int
    activation_bits: int
    signed_input: bool
    signed_output: bool
    activation: Activation
    weights: str | Path
    seed: int
    multipliers: int | None
    depth: int | None

    @property
    def loadable(self) -> bool:
        """Weights are written at run time."""
        return self.weights == LOADABLE

    def geometry(self) -> ConvolutionGeometry:
        """Return the layer's geometry; raises `CrosstileError` for parameters that do not fit each other."""
        check_frame(self.channels, self.size)
        axes = {name: per_axis(name, getattr(self, name), self.size) for name in ("kernel", "stride", "dilation")}
        begin, end = (per_axis("padding", ends, self.size) for ends in self.padding)
        geometry = ConvolutionGeometry(
            self.channels, self.size, axes["kernel"], axes["stride"], axes["dilation"], begin, end, self.filters,
            self.groups,
        )
        if prod(geometry.weight_shape) > LARGEST_LAYER:
            raise CrosstileError(
                f"channels {self.channels}, filters {self.filters} and kernel {show(geometry.kernel)} make "
                f"{prod(geometry.weight_shape)} weights; legal are {LARGEST_LAYER} at most"
            )
        return geometry

    def layer(self) -> ConvolutionLayer:
        """Return the layer, its weights read, made, or zeros where they are loaded."""
        geometry = self.geometry()
        reads = NumberFormat(self.activation_bits, self.signed_input)
        writes = NumberFormat(self.activation_bits, self.signed_output)
        if isinstance(self.weights, Path):
            weight, bias, shift = read_arrays("weights", self.weights, ("weight", "bias", "shift"))
        elif self.loadable:
            weight, (bias, shift) = np.zeros(geometry.weight_shape, np.int64), np.zeros((2, self.filters), np.int64)
        else:
            weight, bias, shift = random_layer(geometry.weight_shape, self.weight_bits, reads, writes, self.seed)
        return ConvolutionLayer(
            self.block, geometry, weight, bias, shift, self.weight_bits, reads, writes, self.activation
        )

    def check_fold(self, multipliers: int, fold: str) -> None:
        """Raise `CrosstileError` where a fold, given as text, has other multipliers than were asked for."""
        if self.multipliers not in (None, multipliers):
            raise CrosstileError(
                f"--set multipliers={self.multipliers} and fold={fold}, which has {multipliers}, do not agree; leave "
                "one out"
            )

    def budget(self, plans: Sequence[EnginePlan], usual: int) -> int:
        """Return the multipliers asked for, or `usual` of what the plans can use.

        Raises `CrosstileError` for fewer than the smallest plan has, or more than the fastest.
        """
        least, most = min(plan.multipliers for plan in plans), most_multipliers([plans])
        if self.multipliers is None:
            return min(max(least, usual), most)
        if not least <= self.multipliers <= most:
            raise CrosstileError(
                f"--set multipliers must be a whole number, {least} to {most} for this layer, not {self.multipliers}"
            )
        return self.multipliers

    def network(self, plan: EnginePlan) -> NetworkPlan:
        """Return the layer as a network of its own, its queues as deep as it was asked, or as full rate needs."""
        layer = plan.layer
        shape = (layer.geometry.in_channels, *layer.geometry.input_size)
        network = IntegerNetwork(
            self.block, shape, layer.input_format, 1.0, (layer,), 1.0, layer.output_shape, "shift"
        )
        whole = NetworkPlan(network, (plan,))
        if self.depth is None:
            return deepen(whole)
        return replace(whole, depths=tuple((self.depth,) * stage.queues for stage in whole.stages))
