"""A crosspoint engine's layer, planned: from a request's parameters to the plan of its stages."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.fold import Fold
from crosstile.layer_plan import ARCHITECTURES, ConvolutionPlan, convolution_plans
from crosstile.mapper import spread
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import ConvolutionGeometry
from crosstile_golden.network import ConvolutionLayer

from .layer import LayerRequest
from .parameters import show

NAME = "crosspoint-engine"


@dataclass(frozen=True)
class Convolution(LayerRequest):
    """The parameters of block crosspoint-engine, as read: see `crosspoint.CROSSPOINT_ENGINE`."""

    block = NAME

    architecture: str
    steering: str
    fold: Fold | None
    ports: str

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
        return spread([plans], self.budget(plans, usual=layer.geometry.kernel[-1]))[0]

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
        self.check_fold(fold.multipliers, show_fold(fold))
        refusals = []
        for architecture in architectures:
            try:
                return ConvolutionPlan(layer, architecture, fold, self.steering, self.loadable)
            except CrosstileError as error:
                refusals.append(error)
        raise refusals[0]


def engine_of(plan: ConvolutionPlan) -> CrosspointPlan:
    """Return the plan of the engine where it is all there is."""
    (engine,) = plan.stages
    assert isinstance(engine, CrosspointPlan)
    return engine


def show_fold(fold: Fold) -> str:
    """Return a fold as --set takes it: kernel rows x kernel columns x channels x filters x groups."""
    return show((fold.kernel_rows, fold.kernel_columns, fold.channels, fold.filters, fold.groups))
