"""Tensors that meet share a mantissa, keep their limits, and lose as little as any mantissa lets them."""

from math import frexp

import numpy as np
import pytest
from crosstile_golden.scales import Rule, Scale, Tensor, choose_scales
from hypothesis import given, settings
from hypothesis import strategies as st

LIMITS = st.floats(1e-6, 1e6)


def outputs(count: int) -> list[Tensor]:
    return [("output", str(index)) for index in range(count)]


@given(st.lists(LIMITS, min_size=1, max_size=6))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_chain_of_residuals_shares_the_best_mantissa(limits: list[float]) -> None:
    names = outputs(len(limits))
    rules = {name: Rule(limit, names[index - 1] if index else None)
             for index, (name, limit) in enumerate(zip(names, limits, strict=True))}
    scales = choose_scales(rules)
    assert len({scale.q for scale in scales.values()}) == 1
    for name, limit in zip(names, limits, strict=True):
        assert limit / 2 < scales[name].value <= limit

    def noise(q: float) -> float:
        return sum((limit / Scale.below(limit, q).value) ** 2 for limit in limits)

    found = sum((limit / scales[name].value) ** 2 for name, limit in zip(names, limits, strict=True))
    assert found <= min(noise(q) for q in np.linspace(1, 2, 500, endpoint=False)) * (1 + 1e-9)


@given(LIMITS)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_free_tensor_has_its_limit(limit: float) -> None:
    tensor = ("output", "a")
    assert choose_scales({tensor: Rule(limit)})[tensor].value == limit


@pytest.mark.parametrize("factor", [9 / 16, 49 / 64, 1.0, 2.0**-4])
@given(first=LIMITS, second=LIMITS)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_a_pool_between_two_that_meet_stays_exact(factor: float, first: float, second: float) -> None:
    start, pooled, joined = outputs(3)
    rules = {start: Rule(first), pooled: Rule(None, start, factor), joined: Rule(second, pooled)}
    scales = choose_scales(rules)
    assert scales[pooled].value == scales[start].value * factor
    assert scales[joined].q == scales[pooled].q
    assert first / 2 < scales[start].value <= first * (1 + 1e-9)
    assert second / 2 < scales[joined].value <= second * (1 + 1e-9)
    assert scales[start].value > first * (1 - 1e-9) or scales[joined].value > second * (1 - 1e-9)


def test_two_groups_do_not_disturb_each_other() -> None:
    a, b, c, d = outputs(4)
    alone = {a: Rule(3.0), c: Rule(5.0, a)}
    both = {a: Rule(3.0), b: Rule(0.7), c: Rule(5.0, a), d: Rule(11.0, b)}
    assert {name: choose_scales(both)[name] for name in alone} == choose_scales(alone)


@pytest.mark.parametrize("limit", [1.0, 1.999, 2.0**-30, 3e7])
@pytest.mark.parametrize("q", [1.0, 1.25, 1.999])
def test_below_is_the_greatest_of_its_mantissa(limit: float, q: float) -> None:
    scale = Scale.below(limit, q)
    assert scale.q == q == 2 * frexp(scale.value)[0]
    assert scale.value <= limit < 2 * scale.value
