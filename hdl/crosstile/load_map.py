"""Where a training's weights and constants lie in an accelerator's address space, and what to write there."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

from crosstile_golden.activation import Activation
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer, IntegerNetwork

from .crosspoint_plan import CrosspointPlan
from .layer_plan import ConvolutionPlan
from .load_bus import WORD_BITS, Contents
from .multiplier_array import weight_contents
from .requantise import constant_contents

IDENTIFICATION = 0x43545731  # "CTW1": weights of Crosstile, first layout
IDENTIFICATION_ADDRESS, FINGERPRINT_ADDRESS = 0, 4
WORD_BYTES = WORD_BITS // 8

LoadablePlan = ConvolutionPlan | CrosspointPlan


@dataclass(frozen=True)
class Region:
    """The addresses of one loadable memory: its size, a power of two, divides `base`. Both count bytes.

    Word `part` of row `row` is at base + 4·((row << part_bits) + part).
    """

    layer: str
    kind: str
    base: int
    contents: Contents

    @property
    def size(self) -> int:
        """Bytes from `base` on that belong to the region, whether they hold a word or not."""
        return WORD_BYTES << self.contents.address_bits

    @property
    def record(self) -> dict[str, int]:
        """The region for mapping.json."""
        contents = self.contents
        return {
            "address": self.base, "bytes": self.size, "rows": len(contents.rows),
            "row_bytes": WORD_BYTES << contents.part_bits, "words_per_row": len(contents.widths),
        }  # fmt: skip

    @property
    def image(self) -> list[tuple[int, int]]:
        """What the region starts with, as (byte address, word)."""
        return [(self.base + WORD_BYTES * address, word) for address, word in self.contents.words]


@dataclass(frozen=True)
class LoadMap:
    """The address space that loads a training: byte addresses, words of 32 bits, least significant bit first.

        0, 4                 identification word and fingerprint of the layout: to be read
        per layer a region   weights: a row per address of the array, see `weight_contents`
        per layer a region   constants: a row per filter group, see `constant_contents`

    Parameter: `plans`, the loadable layers in order, each a `ConvolutionPlan` or its engine's plan.
    Two trainings of one geometry, fold and formats have equal maps, with equal fingerprints.
    Raises `CrosstileError` for a plan that is not loadable.
    """

    plans: tuple[LoadablePlan, ...]

    def __post_init__(self) -> None:
        for plan in self.plans:
            if not plan.loadable:
                raise CrosstileError(f"layer {plan.layer.name} is not loadable; plan it with loadable=True")

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """Weights and constants of each layer in turn, each region as low as its alignment lets it."""
        regions: list[Region] = []
        free = FINGERPRINT_ADDRESS + WORD_BYTES
        for plan in self.plans:
            kinds = {"weights": weight_contents(engine(plan)), "constants": constant_contents(engine(plan))}
            for kind, contents in kinds.items():
                size = WORD_BYTES << contents.address_bits
                region = Region(plan.layer.name, kind, -(-free // size) * size, contents)
                regions.append(region)
                free = region.base + size
        return tuple(regions)

    @property
    def address_bits(self) -> int:
        """Bits of a byte address, the least that reach every region."""
        return max([FINGERPRINT_ADDRESS, *(region.base + region.size - 1 for region in self.regions)]).bit_length()

    @cached_property
    def fingerprint(self) -> int:
        """The first 32 bits of SHA-256 over all that an image depends on, names and values left out."""
        layers = [[_fields(plan.layer), _fields(engine(plan).layer), asdict(engine(plan).fold)] for plan in self.plans]
        regions = [region.record for region in self.regions]
        return int(_digest([IDENTIFICATION, layers, regions])[: 2 * WORD_BYTES], 16)

    def _regions_by_layer(self) -> Iterator[tuple[Region, Region]]:
        return zip(self.regions[::2], self.regions[1::2], strict=True)

    @property
    def record(self) -> dict[str, Any]:
        """The map for mapping.json: numbers, names and lists only."""
        layers = zip(self.plans, self._regions_by_layer(), strict=True)
        return {
            "address_bits": self.address_bits,
            "identification": {"address": IDENTIFICATION_ADDRESS, "value": IDENTIFICATION},
            "fingerprint": {"address": FINGERPRINT_ADDRESS, "value": self.fingerprint},
            "layers": [
                {
                    "name": plan.layer.name,
                    "weights": {**weights.record, **_weight_fields(engine(plan))},
                    "constants": {**constants.record, **_constant_fields(engine(plan))},
                }
                for plan, (weights, constants) in layers
            ],
        }


def engine(plan: LoadablePlan) -> CrosspointPlan:
    """Return the plan of a layer's engine."""
    return plan.engine if isinstance(plan, ConvolutionPlan) else plan


def image(plans: Sequence[LoadablePlan], network: IntegerNetwork) -> list[tuple[int, int]]:
    """Return what to write to load a training: (byte address, word), in ascending addresses.

    plans    of the loadable layers that the hardware was made from, in order
    network  the training: its convolutions take the layers' places in turn, whatever their names

    Raises `CrosstileError` that names layer and field where a convolution does not fit its place.
    """
    layers = [layer for layer in network.layers if isinstance(layer, ConvolutionLayer)]
    if len(layers) != len(plans):
        raise CrosstileError(
            f"network '{network.name}' has {len(layers)} convolutions, but the load map has {len(plans)} layers; "
            "load a training of the network that was compiled"
        )
    trained = [_trained(plan, layer) for plan, layer in zip(plans, layers, strict=True)]
    return [word for region in LoadMap(tuple(trained)).regions for word in region.image]


def _trained(plan: LoadablePlan, layer: ConvolutionLayer) -> LoadablePlan:
    """Return the plan with another training's layer in place of its own."""
    own, other = _fields(plan.layer), _fields(layer)
    for field, value in own.items():
        if other[field] != value:
            raise CrosstileError(
                f"layer {layer.name}: {field} {other[field]} does not fit the load map, which was made for "
                f"{value}; compile this network anew"
            )
    return replace(plan, layer=layer)


def _fields(layer: ConvolutionLayer) -> dict[str, Any]:
    """Return what two trainings of a layer must have in common, as numbers, text and lists."""
    residual = None if layer.residual is None else str(layer.residual.number_format)
    return {
        **asdict(layer.geometry), "weight_bits": layer.weight_bits, "input_format": str(layer.input_format),
        "output_format": str(layer.output_format), "activation": _activation(layer.activation), "residual": residual,
    }  # fmt: skip


def _activation(activation: Activation) -> str:
    """Return an activation in a few words; equal words for equal activations only."""
    if activation.kind == "table":
        return f"table of {len(activation.table)} values ({_digest(activation.table)[:16]})"
    return f"leaky by {activation.slope_shift}" if activation.kind == "leaky" else activation.kind


def _digest(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _weight_fields(plan: CrosspointPlan) -> dict[str, int]:
    bits = plan.layer.weight_bits
    return {"weight_bits": bits, "weights_per_word": WORD_BITS // bits, "weights_per_row": plan.fold.multipliers}


def _constant_fields(plan: CrosspointPlan) -> dict[str, int]:
    """Return the fields of a filter's constants, from the least significant bit on."""
    part = plan.requantise
    return {
        "words_per_filter": -(-part.constant_bits // WORD_BITS), "offset_bits": part.offset_bits,
        "shift_bits": part.shift_bits, "align_bits": part.align_bits,
    }  # fmt: skip
