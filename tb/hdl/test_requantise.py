"""Requantisation equals `crosstile_golden.requantise` for whole sums of every size, half-way ones included."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from crosstile import activation as activation_module
from crosstile import requantise as requantise_module
from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.fold import Fold
from crosstile.requantise import Requantise
from crosstile_golden.activation import NONE, RELU, Activation
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer, Residual
from crosstile_golden.numbers import Integers, NumberFormat
from crosstile_golden.requantise import requantise

from .bench import INT8, UINT8, clocked, convolution, pack, unpack
from .loading import write

FILTERS = 6
SHIFTS = {
    "one shift": [5] * FILTERS,
    "none": [0] * FILTERS,
    "unlike": [0, 1, 4, 7, 9, 3],
    "to the left": [-1, -3, -2, -1, -1, -2],
    "both ways": [-2, 6, 0, 8, -1, 1],
    "all out": [15, 20, 24, 30, 17, 40],
}
RIGHT = ("one shift", "none", "unlike")
ALIGNS = {
    "one align": [3] * FILTERS,
    "as it is": [0] * FILTERS,
    "up": [0, 5, 2, 7, 1, 4],
    "down": [-2, -2, -1, -5, -3, -1],
    "up and down": [4, -3, 0, 6, -1, 2],
}
FORMATS = [NumberFormat(bits, signed) for bits in (4, 9, 16) for signed in (False, True)]


def table(bits: int, number_format: NumberFormat) -> Activation:
    """Return a table of 2^bits random values, the format's two ends among them."""
    generator = np.random.default_rng(bits)
    values = generator.integers(number_format.minimum, number_format.maximum + 1, 1 << bits)
    values[1], values[-1] = number_format.minimum, number_format.maximum
    return Activation("table", table=tuple(values.tolist()))


def activations(writes: NumberFormat) -> dict[str, Activation]:
    return {
        "none": NONE, "relu": RELU, "leaky by 1": Activation("leaky", 1), "leaky by 7": Activation("leaky", 7),
        "leaky by 15": Activation("leaky", 15), "table of 4": table(2, writes), "table of 256": table(8, writes),
    }  # fmt: skip


KINDS = tuple(activations(INT8))


def layer_of(
    shift: list[int], writes: NumberFormat, activation: Activation = NONE, residual: Residual | None = None
) -> ConvolutionLayer:
    """Return a 1×1 layer with a filter of positive weights, one of negative ones and one of zeros."""
    layer = convolution(5, FILTERS, (2, 2), (1, 1), weight_bits=7, reads=INT8, writes=writes, seed=11)
    weight = layer.weight.copy()
    weight[0], weight[1], weight[2] = abs(weight[0]), -abs(weight[1]), 0
    bias = np.array([-301, 250, 77, 0, -1, 4096])
    return replace(
        layer, weight=weight, bias=bias, shift=np.array(shift), activation=activation, residual=residual
    )


def totals_of(layer: ConvolutionLayer, low: int, high: int, index: int) -> list[int]:
    """Return sums of one filter within its proved range: the ends, about zero, about every edge of rounding."""
    shift, bias = int(layer.shift[index]), int(layer.bias[index])
    generator = np.random.default_rng(index)
    edges = [0, low, high, -bias]
    activation = layer.activation
    results = {layer.output_format.minimum, layer.output_format.maximum, -2, -1, 0, 1, 2}
    if activation.kind == "leaky":
        results |= {(2 * half + 1) << activation.slope_shift - 1 for half in range(-6, 3)}
    elif activation.kind == "table":
        results |= {activation.address_format.minimum, activation.address_format.maximum}
    for result in sorted(results):
        whole = result << shift if shift >= 0 else result >> -shift
        edges += [whole - bias, whole - bias + ((1 << shift) >> 1 if shift > 0 else 0)]
    near = [edge + step for edge in edges for step in (-1, 0, 1)]
    values = [value for value in near if low <= value <= high] + generator.integers(low, high + 1, 40).tolist()
    return generator.choice(values, 40).tolist() + values


def stimulus(layer: ConvolutionLayer, plan: CrosspointPlan) -> tuple[Integers, Integers | None]:
    """Return totals, and the residuals that go with them, (operation, filter)."""
    low, high = CrosspointPlan(layer, plan.fold).total_range
    columns = [totals_of(layer, int(low[f]), int(high[f]), f) for f in range(FILTERS)]
    totals = np.array([np.resize(column, max(map(len, columns))) for column in columns]).T
    if layer.residual is None:
        return totals, None
    legal, generator = layer.residual.number_format, np.random.default_rng(5)
    residuals = generator.integers(legal.minimum, legal.maximum + 1, totals.shape)
    extreme = generator.choice([legal.minimum, legal.maximum, 0], totals.shape)
    return totals, np.where(generator.random(totals.shape) < 0.5, extreme, residuals)


def golden(layer: ConvolutionLayer, totals: Integers, residuals: Integers | None = None) -> Integers:
    added = None if layer.residual is None or residuals is None else (residuals, layer.residual.align)
    return requantise(totals, layer.bias, layer.shift, layer.output_format, layer.activation, added)


def hardware(
    plan: CrosspointPlan, totals: Integers, residuals: Integers | None = None, load: CrosspointPlan | None = None
) -> Integers:
    """Return the beats' lanes for totals (operation, filter): filter groups in turn, one per cycle.

    `load` is the plan whose constants are written first.
    """
    dut: Any = Requantise(plan)
    lanes, bits, legal = plan.lanes_out, plan.integrator_bits[-1], plan.output_format
    words = [pack(word, bits) for word in totals.reshape(-1, lanes).tolist()]
    added: list[int] = []
    if residuals is not None and plan.layer.residual is not None:
        step = plan.layer.residual.number_format.bits
        added = [pack(word, step) for word in residuals.reshape(-1, lanes).tolist()]
    found: list[list[int]] = []

    async def process(context: Any) -> None:
        if load is not None:
            await write(context, dut.load, requantise_module.constant_contents(load).words)
        for cycle in range(len(words) + 1 + plan.requantise_cycles):
            context.set(dut.filter, cycle % plan.filter_groups)
            if 1 <= cycle <= len(words):
                context.set(dut.totals.as_value(), words[cycle - 1])
                if added:
                    context.set(dut.residual.as_value(), added[cycle - 1])
            if cycle > plan.requantise_cycles:
                found.append(unpack(context.get(dut.beat.as_value()), lanes, legal.bits, legal.signed))
            await context.tick()

    clocked(dut, process)
    return np.array(found).reshape(totals.shape)


def check(layer: ConvolutionLayer, filters: int, loadable: bool = False) -> None:
    plan = CrosspointPlan(layer, Fold(1, 1, 1, filters), loadable=loadable)
    totals, residuals = stimulus(layer, plan)
    np.testing.assert_array_equal(hardware(plan, totals, residuals), golden(layer, totals, residuals))


@pytest.mark.parametrize("filters", [2, 6], ids=lambda n: f"{FILTERS // n} groups")
@pytest.mark.parametrize("activation", [NONE, RELU], ids=["plain", "relu"])
@pytest.mark.parametrize("writes", FORMATS, ids=str)
@pytest.mark.parametrize("shift", SHIFTS)
def test_requantise_equals_golden(shift: str, writes: NumberFormat, activation: Activation, filters: int) -> None:
    check(layer_of(SHIFTS[shift], writes, activation), filters)


@pytest.mark.parametrize("loadable", [False, True], ids=["fixed", "loadable"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("none", "relu")])
@pytest.mark.parametrize("writes", FORMATS, ids=str)
def test_every_activation_equals_golden(writes: NumberFormat, kind: str, loadable: bool) -> None:
    check(layer_of(SHIFTS["unlike"], writes, activations(writes)[kind]), 3, loadable)


@pytest.mark.parametrize(
    ("number_format", "kind"),
    [(NumberFormat(4, True), "none"), (UINT8, "relu"), (NumberFormat(16, True), "table of 256"), (INT8, "leaky by 7")],
    ids=str,
)
@pytest.mark.parametrize("align", ALIGNS)
@pytest.mark.parametrize("shift", SHIFTS)
def test_a_residual_is_added_without_loss(shift: str, align: str, kind: str, number_format: NumberFormat) -> None:
    residual = Residual(number_format, np.array(ALIGNS[align]))
    check(layer_of(SHIFTS[shift], INT8, activations(INT8)[kind], residual), 2 if kind == "none" else 6)


@pytest.mark.parametrize("writes", FORMATS, ids=str)
@pytest.mark.parametrize("align", [None, "one align", "as it is", "up"])
@pytest.mark.parametrize("shift", RIGHT)
def test_loadable_constants_start_as_the_layer_s_own(shift: str, align: str | None, writes: NumberFormat) -> None:
    residual = Residual(UINT8, np.array(ALIGNS[align])) if align else None
    check(layer_of(SHIFTS[shift], writes, RELU, residual), 2, loadable=True)


@pytest.mark.parametrize("filters", [2, 6], ids=lambda n: f"{FILTERS // n} groups")
@pytest.mark.parametrize("kind", ["none", "table of 4"])
@pytest.mark.parametrize("align", [None, "up"])
@pytest.mark.parametrize("shift", [*RIGHT, "all out"])
def test_loaded_constants_take_the_place_of_the_first(shift: str, align: str | None, kind: str, filters: int) -> None:
    before, after = (None if align is None else Residual(INT8, np.array(ALIGNS[a])) for a in ("as it is", align))
    first = layer_of(SHIFTS["one shift"], INT8, activations(INT8)[kind], before)
    second = replace(first, bias=np.array([0, -900, 3, 77, 2000, -1]), shift=np.array(SHIFTS[shift]), residual=after)
    fold = Fold(1, 1, 1, filters)
    plan, trained = CrosspointPlan(first, fold, loadable=True), CrosspointPlan(second, fold, loadable=True)
    totals, residuals = stimulus(second, trained)
    found = hardware(plan, totals, residuals, load=trained)
    np.testing.assert_array_equal(found, golden(second, totals, residuals))
    assert (golden(first, totals, residuals) != found).any()


@pytest.mark.parametrize("activation", [NONE, RELU], ids=["plain", "relu"])
@pytest.mark.parametrize("half", range(-11, 12, 2))
def test_half_way_sums_go_up_whatever_their_sign(half: int, activation: Activation) -> None:
    layer = replace(layer_of([1] * FILTERS, INT8, activation), bias=np.zeros(FILTERS, np.int64))
    plan = CrosspointPlan(layer, Fold(1, 1, 5, 3))
    rounded = (half + 1) // 2
    totals = np.array([[half, half, 0, half, half, half]])
    totals = np.clip(totals, plan.total_range[0], plan.total_range[1])
    found = hardware(plan, totals)
    assert found[0, 3] == max(rounded, 0 if activation == RELU else rounded)


@pytest.mark.parametrize(
    ("value", "slope_shift", "expected"),
    [(-1, 1, 0), (-2, 1, -1), (-3, 1, -1), (-4, 3, 0), (-12, 3, -1), (-13, 3, -2), (-20, 3, -2), (3, 3, 3)],
)
def test_half_way_slopes_go_up(value: int, slope_shift: int, expected: int) -> None:
    layer = layer_of([0] * FILTERS, INT8, Activation("leaky", slope_shift))
    layer = replace(layer, bias=np.zeros(FILTERS, np.int64))
    assert hardware(CrosspointPlan(layer, Fold(1, 1, 5, 6)), np.full((1, FILTERS), value))[0, 3] == expected


@pytest.mark.parametrize("align", [None, *ALIGNS])
@pytest.mark.parametrize("shift", SHIFTS)
def test_offsets_hold_bias_and_half(shift: str, align: str | None) -> None:
    residual = None if align is None else Residual(INT8, np.array(ALIGNS[align]))
    plan = CrosspointPlan(layer_of(SHIFTS[shift], INT8, NONE, residual), Fold(1, 1, 1, 2)).requantise
    left = max(0, -min(SHIFTS[shift] + (ALIGNS[align] if align else [])))
    assert plan.left == left
    expected = [
        (bias << left) + (1 << (right + left - 1) if right + left > 0 else 0)
        for bias, right in zip(plan.layer.bias.tolist(), SHIFTS[shift], strict=True)
    ]
    assert plan.offset.tolist() == expected


def reached(values: Integers) -> int:
    return max((~value if value < 0 else value).bit_length() for value in values.ravel().tolist()) + 1


@pytest.mark.parametrize("align", [None, *ALIGNS])
@pytest.mark.parametrize("shift", SHIFTS)
def test_no_narrower_register_would_do(shift: str, align: str | None) -> None:
    residual = None if align is None else Residual(UINT8, np.array(ALIGNS[align]))
    layer = layer_of(SHIFTS[shift], INT8, NONE, residual)
    plan = CrosspointPlan(layer, Fold(1, 1, 1, 2))
    part = plan.requantise
    biased = np.stack(plan.total_range) * 2**part.left + part.offset
    added = np.stack([np.left_shift(bound, part.align) for bound in part.residual_range])
    assert part.biased_bits == reached(biased)
    assert part.summed_bits == reached(biased + added)
    assert part.shifted_bits == reached((biased + added) >> part.shift.astype(object))
    assert part.shift_bits == (max(SHIFTS[shift]) - min(SHIFTS[shift])).bit_length()
    assert align is None or part.align_bits == (max(ALIGNS[align]) - min(ALIGNS[align])).bit_length()


@pytest.mark.parametrize(
    ("kind", "residual", "cycles"), [
        ("none", False, 3), ("relu", False, 3), ("leaky by 1", False, 4), ("table of 4", False, 5),
        ("none", True, 4), ("relu", True, 4), ("leaky by 1", True, 5), ("table of 4", True, 6),
    ],
)  # fmt: skip
def test_cycles_are_what_the_steps_take(kind: str, residual: bool, cycles: int) -> None:
    added = Residual(INT8, np.zeros(FILTERS, np.int64)) if residual else None
    plain = CrosspointPlan(layer_of([3] * FILTERS, INT8), Fold(1, 1, 1, 2))
    plan = CrosspointPlan(layer_of([3] * FILTERS, INT8, activations(INT8)[kind], added), Fold(1, 1, 1, 2))
    assert plan.requantise_cycles == cycles
    assert plan.pipeline_cycles - plain.pipeline_cycles == cycles - 3
    assert replace(plan, loadable=True).requantise_cycles == cycles + 1


# What is not legal


def test_a_negative_shift_is_not_loadable() -> None:
    message = (
        "layer convolution: shift -3 of filter 1 must be 0 or more to be loadable; use more --weight-bits, or "
        "compile with fixed weights"
    )
    with pytest.raises(CrosstileError, match=re.escape(message)):
        CrosspointPlan(layer_of(SHIFTS["to the left"], INT8), Fold(1, 1, 1, 2), loadable=True)


def test_a_negative_align_is_not_loadable() -> None:
    layer = layer_of(SHIFTS["one shift"], INT8, NONE, Residual(INT8, np.array(ALIGNS["down"])))
    with pytest.raises(CrosstileError, match="layer convolution: align -5 of filter 3 must be 0 or more"):
        CrosspointPlan(layer, Fold(1, 1, 1, 2), loadable=True)


def test_loadable_sums_have_two_bits_more_than_any_weights_give_and_no_more() -> None:
    layer = layer_of([2] * FILTERS, INT8)
    plan = CrosspointPlan(layer, Fold(1, 1, 1, 2), loadable=True)
    assert plan.requantise.summed_bits == (5 * 64 * 128).bit_length() + 1 + 2
    limit = 1 << plan.requantise.summed_bits - 1
    greatest = int(CrosspointPlan(layer, plan.fold).total_range[1][3])
    fits, over = ([0, 0, 0, limit - 1 - 2 - greatest + more, 0, 0] for more in (0, 1))
    fitting = replace(layer, bias=np.array(fits))
    totals, _ = stimulus(fitting, plan)
    found = hardware(plan, totals, load=CrosspointPlan(fitting, plan.fold, loadable=True))
    np.testing.assert_array_equal(found, golden(fitting, totals))
    message = rf"filter 3 \(bias {over[3]}, shift 2\) sums to \d+\.\.{limit}, legal .*: {-limit}\.\.{limit - 1}; lower"
    with pytest.raises(CrosstileError, match=message):
        CrosspointPlan(replace(layer, bias=np.array(over)), plan.fold, loadable=True)


def test_a_table_s_values_must_fit_the_output() -> None:
    layer = layer_of([3] * FILTERS, UINT8, Activation("table", table=(0, 3, 256, 7)))
    message = "layer convolution: value 256 of its activation's table must fit the output's uint8"
    with pytest.raises(CrosstileError, match=re.escape(message)):
        _ = CrosspointPlan(layer, Fold(1, 1, 1, 2)).requantise


# A bench that cannot fail proves nothing


@pytest.mark.parametrize("kind", ["none", "relu", "leaky by 1", "table of 4"])
def test_a_clamp_that_lets_everything_through_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation_module, "clamp", lambda value, *_: value)
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        check(layer_of(SHIFTS["unlike"], INT8, activations(INT8)[kind]), 2)


def test_a_slope_that_rounds_down_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def floor(self: Any, m: Any, lane: int, value: Any) -> Any:
        sloped = activation_module.Signal.like(value, name=f"sloped_{lane}")
        m.d.sync += sloped.eq(activation_module.Mux(value[-1], value >> self.activation.slope_shift, value))
        return sloped

    monkeypatch.setattr(activation_module.Activate, "_leaky", floor)
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        check(layer_of(SHIFTS["unlike"], INT8, Activation("leaky", 3)), 2)


@pytest.mark.parametrize("align", [align for align in ALIGNS if align not in ("as it is", "one align")])
def test_a_residual_that_is_not_aligned_is_found(align: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requantise_module, "_moved_left", lambda value, _: value)
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        check(layer_of(SHIFTS["unlike"], INT8, NONE, Residual(INT8, np.array(ALIGNS[align]))), 2)
