"""The address map holds every word once, and the image of a training is that training and nothing else."""

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.fold import Fold
from crosstile.layer_plan import ConvolutionPlan, architecture_folds
from crosstile.load_map import LoadMap, Region, image
from crosstile.multiplier_array import weight_contents
from crosstile.requantise import constant_contents
from crosstile_golden.activation import Activation
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer, Residual
from crosstile_golden.numbers import NumberFormat

from .bench import INT8, UINT8, convolution, folds_of, network, pool, widest


def right(layer: ConvolutionLayer) -> ConvolutionLayer:
    """Return the layer with no shift to the left, which is not loadable."""
    return replace(layer, shift=abs(layer.shift))


def layers(seed: int, **first: Any) -> list[ConvolutionLayer]:
    """Return three layers that fit each other; `first` are other settings of the first."""
    settings = {"weight_bits": 8, **first}
    return [
        right(convolution(2, 4, (5, 5), (3, 3), seed=seed, name="a", **settings)),
        right(convolution(4, 6, (3, 3), (1, 1), weight_bits=5, seed=seed + 1, name="b")),
        right(convolution(6, 2, (3, 3), (3, 3), weight_bits=13, seed=seed + 2, name="c")),
    ]


def plans(trained: list[ConvolutionLayer], fewest: bool = False) -> tuple[CrosspointPlan, ...]:
    pick = (lambda layer: folds_of(layer)[0]) if fewest else widest
    return tuple(CrosspointPlan(layer, pick(layer), loadable=True) for layer in trained)


@pytest.mark.parametrize("fewest", [False, True], ids=["in registers", "in memories"])
def test_regions_are_aligned_powers_of_two_that_do_not_meet(fewest: bool) -> None:
    load_map = LoadMap(plans(layers(1), fewest))
    end = 8
    for region in load_map.regions:
        assert region.size & (region.size - 1) == 0
        assert region.base % region.size == 0
        assert region.base >= end
        end = region.base + region.size
    assert [(region.layer, region.kind) for region in load_map.regions] == [
        (layer, kind) for layer in "abc" for kind in ("weights", "constants")
    ]
    assert end - 1 < 1 << load_map.address_bits < 2 * end


@pytest.mark.parametrize("fewest", [False, True], ids=["in registers", "in memories"])
def test_an_image_holds_every_word_of_every_region_once(fewest: bool) -> None:
    trained = layers(1)
    words = image(plans(trained, fewest), network(trained))
    addresses = [address for address, _ in words]
    assert addresses == sorted(set(addresses))
    expected = [
        (region.base + row * region.record["row_bytes"] + 4 * part, word)
        for region in LoadMap(plans(trained, fewest)).regions
        for row, row_words in enumerate(region.contents.rows) for part, word in enumerate(row_words)
    ]
    assert words == expected
    assert all(0 <= word < 1 << 32 for _, word in words)


def test_weights_and_constants_can_be_read_back_from_an_image_with_the_record_alone() -> None:
    """What mapping.json tells is enough to find every weight, offset and shift."""
    trained = layers(3)
    of = plans(trained, fewest=True)
    memory = dict(image(of, network(trained)))
    for plan, record in zip(of, LoadMap(of).record["layers"], strict=True):
        weights, constants = record["weights"], record["constants"]
        for row, stored in enumerate(plan.weight_words.reshape(weights["rows"], -1).tolist()):
            for index, weight in enumerate(stored):
                part, place = divmod(index, weights["weights_per_word"])
                word = memory[weights["address"] + row * weights["row_bytes"] + 4 * part]
                bits = weights["weight_bits"]
                assert word >> place * bits & (1 << bits) - 1 == weight & (1 << bits) - 1
        words = constants["words_per_filter"]
        for index in range(plan.layer.geometry.out_channels):
            row, lane = divmod(index, plan.lanes_out)
            start = constants["address"] + row * constants["row_bytes"] + 4 * words * lane
            value = sum(memory[start + 4 * part] << 32 * part for part in range(words))
            shift = value >> constants["offset_bits"]
            half = 1 << shift - 1 if shift else 0
            assert shift == plan.layer.shift[index]
            assert value & (1 << constants["offset_bits"]) - 1 == (int(plan.layer.bias[index]) + half) % (
                1 << constants["offset_bits"]
            )


def test_the_record_is_what_json_holds() -> None:
    record = LoadMap(plans(layers(1))).record
    assert json.loads(json.dumps(record)) == record
    assert record["identification"] == {"address": 0, "value": 0x43545731}
    assert record["fingerprint"]["address"] == 4


def test_two_trainings_have_one_map_and_other_layouts_another_fingerprint() -> None:
    first, second = layers(1), [replace(layer, name=f"{layer.name}2") for layer in layers(50)]
    one, other = LoadMap(plans(first)), LoadMap(plans(second))
    assert one.fingerprint == other.fingerprint
    assert [region.record for region in one.regions] == [region.record for region in other.regions]
    assert image(one.plans, network(first)) != image(one.plans, network(second))
    unlike = [
        LoadMap(plans(first, fewest=True)),
        LoadMap(plans(layers(1, weight_bits=7))),
        LoadMap(plans(layers(1, reads=INT8))),
        LoadMap(plans([*first[:2], replace(first[2], activation=Activation("leaky", 2))])),
        LoadMap(plans(first)[:2]),
    ]
    assert len({load_map.fingerprint for load_map in (one, *unlike)}) == 1 + len(unlike)


@pytest.mark.parametrize("architecture", ["steered", "buffered"])
def test_a_layer_is_loaded_as_its_engine_sees_it(architecture: str) -> None:
    own, other = (right(convolution(2, 4, (5, 5), (3, 3), begin=(1, 1), end=(1, 1), seed=seed)) for seed in (1, 2))
    fold = max(architecture_folds(own, architecture), key=lambda fold: fold.multipliers)
    plan = ConvolutionPlan(own, architecture, fold, loadable=True)
    trained = ConvolutionPlan(other, architecture, fold, loadable=True).engine
    regions = LoadMap((plan,)).regions
    expected = [
        (region.base + 4 * address, word)
        for region, contents in zip(regions, (weight_contents(trained), constant_contents(trained)), strict=True)
        for address, word in contents.words
    ]
    assert image((plan,), network([other])) == expected


OTHERS = {
    "geometry": (
        {"geometry": replace(layers(1)[0].geometry, stride=(2, 2))}, r"stride \(2, 2\) .* made for \(1, 1\)"
    ),
    "weight_bits": ({"weight_bits": 9}, "weight_bits 9 does not fit the load map, which was made for 8"),
    "input_format": ({"input_format": INT8}, "input_format int8 does not fit the load map, which was made for uint8"),
    "output_format": ({"output_format": NumberFormat(7, False)}, "output_format uint7 .* made for uint8"),
    "activation": ({"activation": Activation("leaky", 3)}, "activation leaky by 3 .* made for relu"),
    "table": (
        {"activation": Activation("table", table=(1, 2, 3, 4))}, r"activation table of 4 values \(\w{16}\) .* for relu"
    ),
    "residual": ({"residual": Residual(UINT8, np.zeros(4, np.int64))}, "residual uint8 .* made for None"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_layer_does_not_fit(name: str) -> None:
    own = layers(1)[0]
    changes, message = OTHERS[name]
    other = replace(own, name="conv_1", **changes)
    if other.residual is not None:
        trained: Any = type("Trained", (), {"layers": (other,), "name": "other"})()
    else:
        trained = network([other])
    with pytest.raises(CrosstileError, match=f"layer conv_1: {message}.*; compile this network anew"):
        image(plans([own]), trained)


def test_another_number_of_layers_does_not_fit() -> None:
    message = (
        "network 'chain' has 2 convolutions, but the load map has 3 layers; load a training of the network that "
        "was compiled"
    )
    with pytest.raises(CrosstileError, match=re.escape(message)):
        image(plans(layers(1)), network(layers(2)[:2]))


def test_pools_take_no_place() -> None:
    own = [right(convolution(1, 2, (4, 4), (1, 1), name="a")), right(convolution(2, 2, (2, 2), (2, 2), name="b"))]
    pooled = network([own[0], pool(2, (4, 4), (2, 2), "max"), own[1]])
    assert len(image(plans(own), pooled)) == sum(len(region.image) for region in LoadMap(plans(own)).regions)


def test_a_training_with_a_shift_to_the_left_is_refused() -> None:
    own = layers(1)
    shift = own[1].shift.copy()
    shift[2] = -1
    with pytest.raises(CrosstileError, match="layer b: shift -1 of filter 2 must be 0 or more to be loadable"):
        image(plans(own), network([own[0], replace(own[1], shift=shift), own[2]]))


def test_a_fixed_layer_has_no_place() -> None:
    plan = CrosspointPlan(layers(1)[0], Fold(1, 1, 1, 1))
    with pytest.raises(CrosstileError, match="layer a is not loadable; plan it with loadable=True"):
        LoadMap((plan,))


def test_regions_that_are_not_where_the_record_says_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = property(lambda region: [(region.base + address, word) for address, word in region.contents.words])
    monkeypatch.setattr(Region, "image", dense)
    with pytest.raises((AssertionError, KeyError)):
        test_weights_and_constants_can_be_read_back_from_an_image_with_the_record_alone()


def test_rows_that_leave_at_once_share_their_constants() -> None:
    made = right(convolution(2, 4, (6, 6), (3, 3), name="a"))
    one = CrosspointPlan(made, widest(made), loadable=True)
    together = replace(one, rows_at_once=2)
    assert [r.record for r in LoadMap((one,)).regions] == [r.record for r in LoadMap((together,)).regions]
    assert image((together,), network([made])) == image((one,), network([made]))
