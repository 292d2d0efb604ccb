"""One convolution layer, planned: from a request's parameters to a network plan, or the engine's alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.fold import Fold
from crosstile.layer_plan import ARCHITECTURES, ConvolutionPlan, convolution_plans
from crosstile.mapper import deepen, most_multipliers, spread
from crosstile.network_plan import NetworkPlan
from crosstile_golden.activation import Activation
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes, ConvolutionGeometry
from crosstile_golden.network import ConvolutionLayer, IntegerNetwork
from crosstile_golden.numbers import NumberFormat

from .block import check_frame
from .parameters import per_axis, show
from .weights import LOADABLE, random_layer, read_arrays

NAME = "crosspoint-engine"
LARGEST_LAYER = 1 << 24


@dataclass(frozen=True)
class Convolution:
    """The parameters of block crosspoint-engine, as read: see `crosspoint.CROSSPOINT_ENGINE`."""

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
    architecture: str
    steering: str
    multipliers: int | None
    fold: Fold | None
    ports: str
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
            NAME, geometry, weight, bias, shift, self.weight_bits, reads, writes, self.activation
        )

    def plan(self) -> ConvolutionPlan:
        """Return the plan: of the fold that was given, or the fastest within the multipliers."""
        layer = self.layer()
        architectures = self._architectures(layer.geometry)
        if self.fold is not None:
            return self._given(layer, architectures, self.fold)
        plans = [
            replace(plan, steering=self.steering, loadable=self.loadable)
            for plan in convolution_plans(layer, architectures)
            if self.steering == "chain" or plan.engine.rows_together
        ]
        if not plans:
            raise CrosstileError(
                f"--set steering={self.steering} needs more than one kernel row together: kernel 2 or more, stride and "
                "dilation 1 along the rows, 2 or more output rows, architecture steered; use steering=chain"
            )
        return spread([plans], self._budget(plans))[0]

    def _architectures(self, geometry: ConvolutionGeometry) -> tuple[str, ...]:
        if self.ports == "axis":
            if self.steering == "external":
                raise CrosstileError("--set steering=external needs ports=stream, which have the mode word's ports")
            every = ARCHITECTURES[:1] if self.loadable else ARCHITECTURES
            return every if self.architecture == "auto" else (self.architecture,)
        if self.architecture == "buffered" or geometry.dimensions == 3:
            raise CrosstileError(
                f"--set ports=stream is the engine alone, without line buffers: architecture {self.architecture} and "
                f"size {show(self.size)} need ports=axis"
            )
        return ("steered",)

    def _given(self, layer: ConvolutionLayer, architectures: Sequence[str], fold: Fold) -> ConvolutionPlan:
        if self.multipliers not in (None, fold.multipliers):
            raise CrosstileError(
                f"--set multipliers={self.multipliers} and fold={show_fold(fold)}, which has {fold.multipliers}, do "
                "not agree; leave one out"
            )
        refusals = []
        for architecture in architectures:
            try:
                return ConvolutionPlan(layer, architecture, fold, self.steering, self.loadable)
            except CrosstileError as error:
                refusals.append(error)
        raise refusals[0]

    def _budget(self, plans: list[ConvolutionPlan]) -> int:
        least, most = min(plan.multipliers for plan in plans), most_multipliers([plans])
        if self.multipliers is None:
            return min(max(least, plans[0].layer.geometry.kernel[-1]), most)
        if not least <= self.multipliers <= most:
            raise CrosstileError(
                f"--set multipliers must be a whole number, {least} to {most} for this layer, not {self.multipliers}"
            )
        return self.multipliers

    def network(self, plan: ConvolutionPlan) -> NetworkPlan:
        """Return the layer as a network of its own, its queues as deep as it was asked, or as full rate needs."""
        layer = plan.layer
        shape = (layer.geometry.in_channels, *layer.geometry.input_size)
        network = IntegerNetwork(
            NAME, shape, layer.input_format, 1.0, (layer,), 1.0, layer.output_shape, "shift"
        )
        whole = NetworkPlan(network, (plan,))
        if self.depth is None:
            return deepen(whole)
        return replace(whole, depths=tuple((self.depth,) * stage.queues for stage in whole.stages))


def engine_of(plan: ConvolutionPlan) -> CrosspointPlan:
    """Return the plan of the engine where it is all there is."""
    (engine,) = plan.stages
    assert isinstance(engine, CrosspointPlan)
    return engine


def show_fold(fold: Fold) -> str:
    """Return a fold as --set takes it: kernel rows x kernel columns x channels x filters x groups."""
    return show((fold.kernel_rows, fold.kernel_columns, fold.channels, fold.filters, fold.groups))
