"""The output controller of tiles: results are steered from the links to the banks of their outputs."""

import itertools
from collections.abc import Mapping, Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .tile_integrators_plan import TileIntegratorPlan
from .tile_integrators_steps import step_layout

Index = tuple[int, ...]
"""A link or a bank along each axis."""


class TileRotation(wiring.Component):
    """Steers a tile's results from its links to the banks of their outputs, one axis after the other.

        links ─▶ outermost axis' choices ─▶ ... ─▶ innermost axis' choices ─▶ banks

    The choices are the mode word, stored with each step (US 2020/0117986 [0064], [0068]): per bank, which of the links
    that it ever hears it takes. Axes whose tiles are of one size are wires.

    Members: `tile`, the links' results of all filters, row-major; `choices_...` of each axis, as many cycles later as
    axes before it rotate; `results`, the banks', row-major, as many cycles later as axes rotate.
    """

    def __init__(self, plan: TileIntegratorPlan):
        self.plan = plan
        self.result_bits = min(plan.tile_bits, plan.total_bits)
        self.word_bits = self.result_bits * plan.filter_lanes
        self.banks: list[Index] = list(itertools.product(*map(range, plan.bank_shape)))
        super().__init__({
            "tile": In(plan.tile_bits * plan.lanes_in),
            "results": Out(data.ArrayLayout(self.word_bits, len(self.banks))),
            **{
                f"choices_{axis}": In(step_layout(plan, axis).members["choices"]) for axis in range(len(plan.axes))
            },
        })

    def elaborate(self, _platform: object) -> Module:
        """Return multiplexers with a register for each axis that needs them."""
        m = Module()
        results = self._heard()
        for axis, banks in enumerate(self.plan.axes):
            if banks.rotates:
                results = self._rotated(m, axis, results)
            else:
                results = {
                    (*index[:axis], bank, *index[axis + 1 :]): value
                    for index, value in results.items()
                    for bank, heard in enumerate(banks.heard) if index[axis] in heard
                }
        for place, index in enumerate(self.banks):
            if index in results:  # else nothing is ever stored there
                m.d.comb += self.results[place].eq(results[index])
        return m

    def _heard(self) -> dict[Index, Value]:
        """Return the results of each link that some bank hears, of all filters."""
        lanes, bits, found = self.plan.filter_lanes, self.plan.tile_bits, {}
        heard = [set(itertools.chain(*banks.heard)) for banks in self.plan.axes]
        for place, index in enumerate(itertools.product(*map(range, self.plan.link_counts))):
            if all(link in links for link, links in zip(index, heard, strict=True)):
                starts = [(place * lanes + lane) * bits for lane in range(lanes)]
                found[index] = Cat(*(self.tile[start : start + self.result_bits] for start in starts))
        return found

    def _rotated(self, m: Module, axis: int, results: Mapping[Index, Value]) -> dict[Index, Value]:
        """Return results by bank along one more axis, a cycle later."""
        choices, found = getattr(self, f"choices_{axis}"), {}
        others = sorted({(index[:axis], index[axis + 1 :]) for index in results})
        for (before, after), (bank, heard) in itertools.product(others, enumerate(self.plan.axes[axis].heard)):
            if heard:
                links = [results[(*before, link, *after)] for link in heard]
                index = (*before, bank, *after)
                register = Signal(self.word_bits, name=f"steered_{axis}_" + "_".join(map(str, index)), reset_less=True)
                m.d.sync += register.eq(chosen(links, choices[bank]))
                found[index] = register
        return found


def chosen(values: Sequence[Value], index: Value) -> Value:
    """Return one of several values by its index; beyond the last, the last."""
    result = values[-1]
    for place in reversed(range(len(values) - 1)):
        result = Mux(index == place, values[place], result)
    return result
