"""Block winograd-engine: a convolution layer by Winograd's tiles, between AXI4-Stream ports."""

from dataclasses import dataclass, replace
from typing import Any

from crosstile.mapper import spread
from crosstile.network_plan import NetworkPlan
from crosstile.winograd_fold import TileFold
from crosstile.winograd_layer_plan import WinogradLayerPlan, winograd_plans
from crosstile.winograd_numbers import WEIGHT_STORES
from crosstile_golden.winograd import TILE

from .block import DEPTH, Block, Built
from .layer import PARAMETERS_OF_LAYER, LayerRequest, fold_parameter, multipliers_parameter, weights_parameter
from .parameters import Parameter, choice, show
from .peripheral import chosen_axes, peripheral
from .weights import SEED, fixed_weights_kind

NAME = "winograd-engine"


@dataclass(frozen=True)
class WinogradRequest(LayerRequest):
    """The parameters of block winograd-engine, as read: see `WINOGRAD_ENGINE`."""

    block = NAME

    stored: str
    fold: TileFold | None

    def plan(self) -> WinogradLayerPlan:
        """Return the plan: of the fold that was given, or the fastest within the multipliers.

        Raises `CrosstileError` for a layer without tiles, and what else is not legal.
        """
        layer = self.layer()
        if self.fold is None:
            plans = winograd_plans(layer, self.stored)
            return spread([plans], self.budget(plans, usual=1))[0]
        plan = WinogradLayerPlan(layer, self.fold, self.stored)
        self.check_fold(plan.multipliers, show_fold(self.fold))
        return plan


def show_fold(fold: TileFold) -> str:
    """Return a fold as --set takes it: channels x filters x groups x lanes."""
    return show((fold.channels, fold.filters, fold.groups, fold.lanes))


def _winograd_engine(**values: Any) -> Built:
    request = WinogradRequest(**values)
    plan = request.plan()
    network = request.network(plan)
    chosen = {"multipliers": plan.multipliers, "fold": show_fold(plan.fold)}
    built = peripheral(network, plan, _cost(plan, network), _method(plan))
    return replace(built, chosen=chosen_axes(plan.layer.geometry) | chosen)


def _cost(plan: WinogradLayerPlan, network: NetworkPlan) -> dict[str, int | float]:
    engine = plan.engine
    return {
        "multipliers": plan.multipliers,
        "effective_macs": round(plan.layer.geometry.macs / (plan.multipliers * network.cycles_per_frame), 4),
        "accumulator_bits": max(engine.numbers.sum_bits), "weight_memory_bits": engine.weight_memory_bits,
        "integrator_memory_bits": plan.integrators.memory_bits, "window_memory_bits": engine.store_memory_bits,
        "line_buffer_bits": plan.buffer_bits,
    }  # fmt: skip


def _method(plan: WinogradLayerPlan) -> list[str]:
    parts = " by ".join("+".join(map(str, sizes)) for sizes in plan.parts)
    return [
        f"Computed in tiles of {TILE} activations along each axis, the kernel in parts of {parts} taps; what leaves is "
        "exactly the sum above, bit for bit.",
        "effective_macs counts the multiply-accumulates of the sum above, padding included, per multiplier and cycle; "
        f"it would be {plan.limit:.4g} if every tile were full and no cycle idle.",
    ]


WINOGRAD_ENGINE = Block(
    NAME,
    "a convolution layer of 1, 2 or 3 spatial axes by Winograd's tiles: more than a product per multiplier and cycle.",
    (
        *PARAMETERS_OF_LAYER,
        weights_parameter(fixed_weights_kind()),
        SEED,
        Parameter("stored", choice(*WEIGHT_STORES), "how weights are kept; raw ones are transformed on their way",
                  "transformed"),
        multipliers_parameter(f"the fewest, one product of tiles: {TILE} per axis"),
        fold_parameter(
            "channels x filters, or these x groups, or these x groups x lanes, like 2x4", (2, 3, 4), TileFold
        ),
        DEPTH,
    ),
    _winograd_engine,
)
