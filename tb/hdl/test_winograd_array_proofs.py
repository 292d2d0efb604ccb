# amaranth: UnusedElaboratable=no
"""The whole Winograd array is a convolution in every mode, for all inputs, by proof; what is broken is not proved."""

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from crosstile.verilog import emit
from crosstile.winograd_array import WinogradArray
from crosstile.winograd_array_plan import WinogradArrayPlan
from crosstile.winograd_network import Term
from crosstile.winograd_transform import tile_layout
from crosstile_golden.geometry import Axes
from crosstile_golden.numbers import Integers, NumberFormat
from crosstile_golden.winograd_array import steps_along

from .bilinear_netlist import BilinearNetlist, Form, downstream
from .linear_netlist import Lane, NotProvedError, fits, netlist_of, with_cell

INT8, UINT8 = NumberFormat(8, True), NumberFormat(8, False)
ALONE = (0,)


def lanes(terms: Sequence[Term]) -> list[Lane]:
    layout = tile_layout(terms)
    return [Lane(layout[index].offset, term.bits, term.low, term.high) for index, term in enumerate(terms)]


def controls(plan: WinogradArrayPlan, kernel: Axes, ages: Sequence[int]) -> dict[tuple[str, int], dict[int, int]]:
    """Return what a sum of tiles gives that came so many cycles before the last: flags, and mode and sizes before.

    Between the first tile and the last nothing is told but that cycles are not valid, in which `first` is high.
    """
    dimension, latency = sum(size > 1 for size in kernel), plan.latency
    cycles = range(latency, latency + max(ages) + 1)
    given: dict[tuple[str, int], dict[int, int]] = {("rst", 0): dict.fromkeys(range(64), 0)}
    given[("valid", 0)] = {age: int(age - latency in ages) for age in cycles}
    given[("first", 0)] = {age: int(age - latency not in ages or age - latency == max(ages)) for age in cycles}
    given[("last", 0)] = {latency: 1}
    given |= {("mode", bit): {latency + age + 1: dimension >> bit & 1 for age in ages} for bit in (0, 1)}
    for bit, axis in enumerate(plan.axes):
        given[("size_two", bit)] = {latency + age + 1: int(kernel[axis] == 2) for age in ages}
    return given


def zeros(plan: WinogradArrayPlan, kernel: Axes) -> set[int]:
    """Return the weights that must be 0: the last along an axis of size 2."""
    last = [(axis, plan.shape[axis] - 1) for axis, size in enumerate(kernel) if size == 2]
    return {
        index for index, place in enumerate(np.ndindex(*plan.shape)) if any(place[axis] == at for axis, at in last)
    }


def convolution(plan: WinogradArrayPlan, kernel: Axes) -> Mapping[int, Integers]:
    """Return per output its factors (weight, activation)."""
    outputs: dict[int, Integers] = {}
    for steps in itertools.product(*map(steps_along, kernel, plan.shape)):
        output, weight, position = zip(*steps, strict=True)
        link = int(np.ravel_multi_index(output, plan.shape))
        factors = outputs.setdefault(link, np.zeros((len(plan.weights()), 64), np.int64))
        factors[np.ravel_multi_index(weight, plan.shape), np.ravel_multi_index(position, (4, 4, 4))] += 1
    return outputs


Words = dict[tuple[str, int], Form]


def prove(
    plan: WinogradArrayPlan, module: dict[str, Any], kernel: Axes, ages: Sequence[int] = ALONE,
    known: Words | None = None,
) -> Words:
    """Prove every output of a sum of tiles that came so many cycles before its last; return all words.

    `known` are words that need not be read again.
    """
    given = {"activations": lanes(plan.activations()), "weights": lanes(plan.weights())}
    switches = controls(plan, kernel, ages)
    netlist = BilinearNetlist(module, given, switches, plan.channels, zeros(plan, kernel), known=known or {})
    outputs, wanted = lanes(plan.outputs), convolution(plan, kernel)
    assert sorted(wanted) == plan.links(kernel)
    for link, factors in wanted.items():
        form, lane = netlist.output(outputs[link]), outputs[link]
        right = form.factors.keys() == {plan.latency + age for age in ages}
        if not right or any((found != factors).any() for found in form.factors.values()) or form.half:
            raise NotProvedError(f"output {link} of kernel {kernel} is not the convolution")
        if form.right < lane.bits:
            raise NotProvedError(f"output {link} of kernel {kernel} is right in {form.right} of {lane.bits} bits")
        if plan.output_bits is None and not fits(*netlist.bounds(form), lane.bits, lane.low < 0):
            raise NotProvedError(f"output {link} of kernel {kernel} does not fit its {lane.bits} bits")
    if not netlist.flag("outputs_valid"):
        raise NotProvedError("the outputs of a sum are not valid")
    return netlist.known


@cache
def module_of(plan: WinogradArrayPlan) -> dict[str, Any]:
    passes = ("flatten", "delete t:$scopeinfo", "wreduce", "opt_clean", "wreduce")
    return netlist_of(emit(WinogradArray(plan), "dut"), "dut", *passes)


WHOLE = WinogradArrayPlan(UINT8, 8, channels=16)


@pytest.mark.parametrize("kernel", WHOLE.kernels, ids=str)
def test_every_output_of_every_mode_and_size_is_the_convolution(kernel: Axes) -> None:
    """Of any tile, after and before any other: nothing else than the tile and what is said of it is ever read."""
    prove(WHOLE, module_of(WHOLE), kernel)


@pytest.mark.parametrize("ages", [(0, 1), (0, 3), (0, 2, 5)], ids=str)
def test_tiles_of_a_sum_are_added_up_whenever_they_come(ages: tuple[int, ...]) -> None:
    prove(WHOLE, module_of(WHOLE), (1, 3, 2), ages)


PLANS = {
    "signed": WinogradArrayPlan(INT8, 5, channels=7),
    "16 bits": WinogradArrayPlan(NumberFormat(16, True), 16, channels=3),
    "results known": WinogradArrayPlan(UINT8, 8, channels=16, output_bits=18),
    "one channel": WinogradArrayPlan(INT8, 8, channels=1),
    "no registers": WinogradArrayPlan(UINT8, 6, channels=4, pipeline="none"),
    "every adder": WinogradArrayPlan(UINT8, 6, channels=4, pipeline="adder"),
    **{
        f"dimensions {dimensions}": WinogradArrayPlan(UINT8, 4, channels=4, dimensions=dimensions)
        for dimensions in ((1,), (2,), (1, 3))
    },
}


@pytest.mark.parametrize("name", PLANS)
def test_every_plan_is_proved(name: str) -> None:
    plan = PLANS[name]
    for kernel in plan.kernels[:: 2 if len(plan.dimensions) == 1 else 5]:
        prove(plan, module_of(plan), kernel)


# What is broken

KINDS = {"sign": {"$add", "$sub"}, "exchange": {"$mux"}, "narrower": {"$add", "$sub", "$mux", "$dff"}}
BREAKABLE = {
    "all dimensions": WinogradArrayPlan(UINT8, 3, channels=3),
    "results known": WinogradArrayPlan(INT8, 8, channels=16, dimensions=(1, 2), output_bits=18),
    "every adder": WinogradArrayPlan(UINT8, 3, channels=2, dimensions=(2,), pipeline="adder"),
}


def breakable(module: dict[str, Any], change: str) -> list[str]:
    """Return the cells of words that can be broken so: those of a multiplier have the width of any product."""
    cells = []
    for name, cell in module["cells"].items():
        bits = cell["connections"].get("Y") or cell["connections"]["Q"]
        if cell["type"] in KINDS[change] and len(bits) > 1 and "multiplier" not in name:
            cells.append(name)
    return cells


@cache
def intact(plan: WinogradArrayPlan, kernel: Axes) -> Words:
    return prove(plan, module_of(plan), kernel, (0, 2))


def survives(plan: WinogradArrayPlan, cell: str, change: str) -> bool:
    """Return whether every kernel is proved, unlike ones first."""
    module = with_cell(module_of(plan), cell, change)
    changed = downstream(module_of(plan), cell)
    try:
        for kernel in sorted(plan.kernels, key=lambda sizes: (sizes[0] == sizes[1], -sum(sizes))):
            known = {word: form for word, form in intact(plan, kernel).items() if word[0] not in changed}
            prove(plan, module, kernel, (0, 2), known)
    except NotProvedError:
        return False
    return True


def survivors(name: str, change: str, most: int | None) -> list[str]:
    plan = BREAKABLE[name]
    cells = breakable(module_of(plan), change)
    random.Random(change).shuffle(cells)
    return [cell for cell in cells[:most] if survives(plan, cell, change)]


@pytest.mark.parametrize("change", KINDS)
@pytest.mark.parametrize("name", BREAKABLE)
def test_no_cell_can_be_broken_or_be_narrower(name: str, change: str) -> None:
    """A sign turned, a selector's inputs exchanged, a word one bit narrower: some of the cells each time."""
    assert survivors(name, change, 8) == []


@pytest.mark.slow
@pytest.mark.parametrize("change", KINDS)
@pytest.mark.parametrize("name", BREAKABLE)
def test_no_cell_at_all_can_be_broken_or_be_narrower(name: str, change: str) -> None:
    assert survivors(name, change, None) == []


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_size_that_is_not_the_tiles_is_told(axis: int) -> None:
    kernel = (3, 3, 3)
    other = tuple(2 if index == axis else 3 for index in range(3))
    module = module_of(WHOLE)
    given = {"activations": lanes(WHOLE.activations()), "weights": lanes(WHOLE.weights())}
    netlist = BilinearNetlist(module, given, controls(WHOLE, other, ALONE), WHOLE.channels, zeros(WHOLE, kernel))
    found = netlist.output(lanes(WHOLE.outputs)[WHOLE.links(kernel)[-1]])
    assert (found.factors[WHOLE.latency] != convolution(WHOLE, kernel)[WHOLE.links(kernel)[-1]]).any()


def test_more_channels_than_were_planned_do_not_fit() -> None:
    plan = WinogradArrayPlan(UINT8, 8, channels=16)
    with pytest.raises(NotProvedError) as error:
        prove(replace(plan, channels=2**9), module_of(plan), (3, 3, 3))
    assert "are not a word" in str(error.value) or "bits" in str(error.value)
