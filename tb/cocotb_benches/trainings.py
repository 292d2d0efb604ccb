# amaranth: UnusedElaboratable=no
"""Layers that share a weight port, and trainings of them: the same layers with other weights and constants."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from crosstile.crosspoint_plan import OPERAND_CYCLES, CrosspointPlan
from crosstile.fold import Fold
from crosstile.load_map import LoadMap
from crosstile.multiplier_array import MultiplierArray
from crosstile.requantise import Requantise
from crosstile.row_window import RowWindow
from crosstile.streams import delay
from crosstile.weight_port import WeightPort
from crosstile_golden.activation import NONE, RELU, Activation
from crosstile_golden.geometry import ConvolutionGeometry, PoolGeometry
from crosstile_golden.network import ConvolutionLayer, IntegerNetwork, PoolLayer, Residual, Sources
from crosstile_golden.numbers import Integers, NumberFormat

INT6, UINT8, INT8, INT16 = (NumberFormat(bits, bits != 8 or low) for bits, low in ((6, 1), (8, 0), (8, 1), (16, 1)))
FOLDS = {"first": Fold(1, 1, 5, 2), "side": Fold(1, 1, 5, 4), "second": Fold(1, 1, 6, 1), "third": Fold(1, 1, 4, 2)}
SOURCES = (Sources(""), Sources(""), Sources("first", "side"), Sources("second"))


def _layer(
    name: str, channels: int, filters: int, seed: int, weight_bits: int, formats: tuple[NumberFormat, NumberFormat],
    activation: Activation = RELU, residual: NumberFormat | None = None, size: int = 2, kernel: int = 1,
) -> ConvolutionLayer:  # fmt: skip
    """Return a random layer, square and as large as its input, whose shifts spread its sums over the output's range."""
    generator = np.random.default_rng(seed)
    sizes, kernels, padding, ones = ((value, value) for value in (size, kernel, kernel // 2, 1))
    geometry = ConvolutionGeometry(channels, sizes, kernels, ones, ones, padding, padding, filters)
    largest = 1 << weight_bits - 1
    weight = generator.integers(-largest, largest, geometry.weight_shape)
    shift = generator.integers(weight_bits - 3, weight_bits + 2, filters) + kernel // 2
    bias = generator.integers(-largest * 64, largest * 64, filters)
    added = None if residual is None else Residual(residual, generator.integers(0, weight_bits, filters))
    return ConvolutionLayer(name, geometry, weight, bias, shift, weight_bits, *formats, activation, added)


def training(seed: int) -> IntegerNetwork:
    """Return a network whose filters run in turns, all at once, and one by one, with and without a residual."""
    layers = (
        _layer("first", 5, 6, seed, 8, (UINT8, INT8), Activation("leaky", 3)),
        _layer("side", 5, 4, seed + 1, 8, (UINT8, INT6), NONE),
        _layer("second", 6, 4, seed + 2, 5, (INT8, UINT8), residual=INT6),
        _layer("third", 4, 2, seed + 3, 11, (UINT8, INT16), NONE),
    )
    return IntegerNetwork("trained", (5, 2, 2), UINT8, 1.0, layers, 1.0, (2, 2, 2), "shift", SOURCES)


def pooled(seed: int) -> IntegerNetwork:
    """Return a network of 3×3 convolutions on 6×6 pixels, with a pool whose output one of them adds again."""
    layers = (
        _layer("edges", 2, 4, seed, 8, (UINT8, UINT8), size=6, kernel=3),
        PoolLayer("largest", PoolGeometry(4, (6, 6), (2, 2), (2, 2), (1, 1), (0, 0), (0, 0), "max"), 0, UINT8),
        _layer("shapes", 4, 4, seed + 1, 6, (UINT8, INT8), Activation("leaky", 2), UINT8, size=3, kernel=3),
        _layer("scores", 4, 3, seed + 2, 8, (INT8, INT16), NONE, size=3),
    )
    sources = (Sources(""), Sources("edges"), Sources("largest", "largest"), Sources("shapes"))
    return IntegerNetwork("pooled", (2, 6, 6), UINT8, 1.0, layers, 1.0, (3, 3, 3), "shift", sources)


def plans(network: IntegerNetwork) -> tuple[CrosspointPlan, ...]:
    layers = [layer for layer in network.layers if isinstance(layer, ConvolutionLayer)]
    return tuple(CrosspointPlan(layer, FOLDS[layer.name], loadable=True) for layer in layers)


class LoadedLayers(wiring.Component):
    """Array and requantisation of each plan behind one weight port; every layer's height is 1, so sums are totals.

    Members: `s_axil_*`; per layer n `group_{n}`, the filter group, `operands_{n}` and, where it has one,
    `residual_{n}`; `beat_{n}` shows what they give once they stood still for long enough.
    """

    def __init__(self, layer_plans: tuple[CrosspointPlan, ...]):
        self.plans, self.port = layer_plans, WeightPort(LoadMap(layer_plans))
        members: dict[str, Any] = {
            name: member for name, member in self.port.signature.members.items() if name.startswith("s_axil")
        }
        for index, plan in enumerate(layer_plans):
            residual = plan.layer.residual
            members |= {
                f"group_{index}": In(range(plan.filter_groups)),
                f"operands_{index}": In(plan.products_per_column * plan.input_format.bits),
                f"beat_{index}": Out(plan.lanes_out * plan.output_format.bits),
                **({f"residual_{index}": In(plan.lanes_out * residual.number_format.bits)} if residual else {}),
            }
        super().__init__(members)

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.port = self.port
        for name, member in self.port.signature.members.items():
            if name.startswith("s_axil"):
                inner, outer = getattr(self.port, name), getattr(self, name)
                m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
        for index, plan in enumerate(self.plans):
            self._layer(m, index, plan)
        return m

    def _layer(self, m: Module, index: int, plan: CrosspointPlan) -> None:
        array, requantise = MultiplierArray(plan), Requantise(plan)
        m.submodules[f"array_{index}"], m.submodules[f"requantise_{index}"] = array, requantise
        wiring.connect(m, getattr(self.port, f"load_{2 * index}"), array.load)
        wiring.connect(m, getattr(self.port, f"load_{2 * index + 1}"), requantise.load)
        group, lead = getattr(self, f"group_{index}"), OPERAND_CYCLES + plan.tree_levels
        operands = delay(m, getattr(self, f"operands_{index}"), RowWindow.LATENCY, f"operands_{index}")
        m.d.comb += [
            array.address.eq(group), array.operands.as_value().eq(operands),
            requantise.filter.eq(delay(m, group, lead - 1, f"group_{index}")),
            getattr(self, f"beat_{index}").eq(requantise.beat),
        ]
        m.d.comb += [requantise.totals[lane].eq(array.sums[lane]) for lane in range(plan.lanes_out)]
        if plan.layer.residual is not None:
            added = delay(m, getattr(self, f"residual_{index}"), lead, f"residual_{index}")
            m.d.comb += requantise.residual.as_value().eq(added)


def pack(values: list[int], bits: int) -> int:
    return sum((value & (1 << bits) - 1) << bits * index for index, value in enumerate(values))


def vectors(network: IntegerNetwork, seed: int) -> list[dict[str, int]]:
    """Return what to drive and to expect, golden's answer: per layer, filter group and pixel of two frames."""
    legal = network.input_format
    frames = np.random.default_rng(seed).integers(legal.minimum, legal.maximum + 1, (2, 5, 2, 2))
    tensors = {"": frames, **network.tensors(frames)}
    found = []
    for index, (plan, source) in enumerate(zip(plans(network), network.sources, strict=True)):
        lanes, name = plan.lanes_out, plan.layer.name
        for pixel, group in np.ndindex(8, plan.filter_groups):
            here = slice(group * lanes, group * lanes + lanes)
            drive = {"layer": index, "group": group}
            drive["operands"] = pack(_pixel(tensors[source.main], pixel), plan.input_format.bits)
            drive["beat"] = pack(_pixel(tensors[name], pixel)[here], plan.output_format.bits)
            if source.residual is not None and plan.layer.residual is not None:
                bits = plan.layer.residual.number_format.bits
                drive["residual"] = pack(_pixel(tensors[source.residual], pixel)[here], bits)
            found.append(drive)
    return found


def _pixel(tensor: Integers, pixel: int) -> list[int]:
    return tensor.transpose(0, 2, 3, 1).reshape(8, -1)[pixel].tolist()
