"""Engines as blocks: asked for a layer in the same words, refused in one line, and their figures are their plans'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Crosstile, refusal
from crosstile.winograd_fold import TileFold
from crosstile.winograd_layer_plan import WinogradLayerPlan
from crosstile_cli.blocks import BLOCKS
from crosstile_cli.blocks.layer import PARAMETERS_OF_LAYER
from crosstile_cli.blocks.parameters import read_settings
from crosstile_cli.blocks.winograd import WinogradRequest
from generated import IMAGE, Generated, arguments, generate

WINOGRAD = f"winograd-engine {IMAGE}"
ENGINES = ("crosspoint-engine", "winograd-engine")


def request_of(request: str) -> WinogradRequest:
    block, *settings = request.split()
    return WinogradRequest(**read_settings(block, BLOCKS[block].parameters, settings))


def plan_of(made: Generated) -> WinogradLayerPlan:
    """Return the plan of what a record says was chosen."""
    settings = [f"{key}={value}" for key, value in made.record["parameters"].items()]
    return request_of(" ".join([made.record["block"], *settings])).plan()


def sentence(made: Generated, start: str) -> str:
    (found,) = (entry for entry in made.record["timing"] if entry.startswith(start))
    return str(found)


# One layer, whichever engine


@pytest.mark.parametrize("block", ENGINES)
def test_every_engine_is_asked_for_a_layer_in_the_same_words(block: str) -> None:
    assert BLOCKS[block].parameters[: len(PARAMETERS_OF_LAYER)] == PARAMETERS_OF_LAYER
    names = [parameter.name for parameter in BLOCKS[block].parameters[len(PARAMETERS_OF_LAYER) :]]
    assert {"weights", "seed", "multipliers", "fold", "depth"} <= set(names)


def test_another_engine_has_the_same_ports_and_says_the_same_of_them(tmp_path: Path) -> None:
    one, other = (
        generate(f"{block} {IMAGE} padding=1 multipliers=16", tmp_path / f"{block}.v") for block in ENGINES
    )
    ports = [{port["name"]: port for port in made.record["ports"]} for made in (one, other)]
    assert ports[0].keys() == ports[1].keys()
    for name, port in ports[0].items():
        if not name.endswith("tdata"):
            assert port == ports[1][name]
    assert one.record["timing"][:2] == other.record["timing"][:2]


# The Winograd engine


@pytest.mark.parametrize(
    ("request_", "multipliers"),
    [("channels=4 filters=4 size=9 kernel=3", 4), ("channels=4 filters=4 size=9x9 kernel=3", 16),
     ("channels=2 filters=2 size=4x5x4 kernel=2", 64), ("channels=4 filters=8 size=6x6 kernel=5 groups=2", 16)],
)  # fmt: skip
def test_left_alone_it_is_one_product_of_tiles(request_: str, multipliers: int) -> None:
    assert request_of(f"winograd-engine {request_}").plan().multipliers == multipliers


@pytest.mark.parametrize("multipliers", [16, 33, 64])
def test_no_more_multipliers_are_taken_than_allowed(multipliers: int) -> None:
    plan = request_of(f"winograd-engine channels=8 filters=8 size=9x9 kernel=3 multipliers={multipliers}").plan()
    assert plan.multipliers == multipliers // 16 * 16


@pytest.mark.parametrize(
    ("text", "fold"),
    [("1x2", TileFold(1, 2)), ("2x1x1", TileFold(2, 1)), ("2x2x2", TileFold(2, 2, 2)),
     ("2x2x2x4", TileFold(2, 2, 2, 4))],
)  # fmt: skip
def test_a_fold_is_channels_filters_groups_and_lanes(text: str, fold: TileFold) -> None:
    plan = request_of(f"winograd-engine channels=4 filters=4 groups=2 size=6x6 kernel=3 fold={text}").plan()
    assert plan.fold == fold


@pytest.mark.parametrize("settings", ["", "stored=raw fold=2x1x1x2 padding=1", "kernel=4 stride=2 multipliers=16"])
def test_its_figures_are_those_of_its_plan(settings: str, tmp_path: Path) -> None:
    image = IMAGE.replace(" kernel=3", "") if "kernel" in settings else IMAGE
    made = generate(f"winograd-engine {image} {settings}", tmp_path / "w.v")
    plan, figures = plan_of(made), made.record["figures"]
    cycles = request_of(f"winograd-engine {image} {settings}").network(plan).cycles_per_frame
    assert cycles >= plan.cycles_per_frame
    assert figures["cycles_per_frame"] == cycles
    assert figures["multipliers"] == plan.multipliers
    assert figures["effective_macs"] == round(plan.layer.geometry.macs / plan.multipliers / cycles, 4)
    memory = ("weight_memory_bits", "integrator_memory_bits", "window_memory_bits", "line_buffer_bits")
    engine = plan.engine
    assert [figures[name] for name in memory] == [
        engine.weight_memory_bits, plan.integrators.memory_bits, engine.store_memory_bits, plan.buffer_bits
    ]
    assert sum(figures[name] for name in memory[1:]) == plan.memory_bits
    assert figures["queue_bits"] > 0


def test_raw_weights_take_fewer_bits_and_their_header_says_how_they_are_kept(tmp_path: Path) -> None:
    bits = {}
    for stored in ("transformed", "raw"):
        made = generate(f"{WINOGRAD} stored={stored}", tmp_path / f"{stored}.v")
        assert f"\n *   stored = {stored}\n" in made.text
        bits[stored] = made.record["figures"]["weight_memory_bits"]
    assert bits["raw"] == 2 * 2 * 9 * 8 < bits["transformed"]


@pytest.mark.parametrize(
    ("request_", "parts", "limit"),
    [("size=9 kernel=3", "3", "1.5"), ("size=9x9 kernel=5x3", "3+2 by 3", "2.25"),
     ("size=9x9 kernel=3 stride=2", "2+1 by 2+1", "1.653"), ("size=4x4x4 kernel=3", "3 by 3 by 3", "3.375")],
)  # fmt: skip
def test_it_tells_the_parts_of_its_kernel_and_what_tiles_can_save(
    request_: str, parts: str, limit: str, tmp_path: Path
) -> None:
    made = generate(f"winograd-engine channels=1 filters=1 {request_}", tmp_path / "w.v")
    assert f"the kernel in parts of {parts} taps;" in sentence(made, "Computed in tiles of 4")
    assert f"it would be {limit} if every tile were full" in sentence(made, "effective_macs")


def test_its_weights_come_from_a_file(tmp_path: Path) -> None:
    weight = np.arange(36).reshape(2, 2, 3, 3) - 18
    texts = []
    for name, bias in (("one", 5), ("other", 5), ("third", 6)):
        np.savez(tmp_path / f"{name}.npz", weight=weight, bias=np.array([bias, -9]), shift=np.array([2, 3]))
        made = generate(f"{WINOGRAD} weights={tmp_path / name}.npz", tmp_path / f"{name}.v")
        assert made.record["parameters"]["weights"] == f"{name}.npz"
        texts.append(made.text.split("*/", 1)[1])
    assert texts[0] == texts[1] != texts[2]


# Requests that cannot be met

LAYER = "winograd-engine channels=2 filters=2"
REFUSALS: dict[str, Any] = {
    f"{LAYER} size=5x6 kernel=1":
        "layer winograd-engine: kernel (1, 1); a Winograd engine needs 2 taps or more along some axis, use crosspoint",
    f"{LAYER} size=5x6 kernel=5x6":
        "layer winograd-engine: kernel (5, 6) covers its whole input; a Winograd engine needs tiles of 4, use "
        "crosspoint",
    f"{LAYER} size=5x6 kernel=7":
        "the window (7, 7) (dilation (1, 1)) does not fit the input (5, 6) with padding (0, 0) and (0, 0)",
    f"{WINOGRAD} weights=loadable":
        "--set weights must be random or a file .npz with weight, bias and shift, not 'loadable'",
    f"{WINOGRAD} weights=none.npz": "--set weights=none.npz: no such file",
    f"{WINOGRAD} stored=packed": "--set stored must be transformed or raw, not 'packed'",
    f"{WINOGRAD} steering=chain":
        "--set steering: block winograd-engine has no such parameter; it has channels, filters, size, kernel, stride, "
        "dilation, padding, groups, weight_bits, activation_bits, signed_input, signed_output, activation, weights, "
        "seed, stored, multipliers, fold, depth",
    f"{WINOGRAD} multipliers=15": "--set multipliers must be a whole number, 16 to 32 for this layer, not 15",
    f"{WINOGRAD} multipliers=33": "--set multipliers must be a whole number, 16 to 32 for this layer, not 33",
    f"{WINOGRAD} multipliers=0": "--set multipliers must be a whole number, 1 to 1048576, or auto, not '0'",
    f"{WINOGRAD} fold=2":
        "--set fold must be channels x filters, or these x groups, or these x groups x lanes, like 2x4, each 1 or "
        "more, or auto, not '2'",
    f"{WINOGRAD} fold=2x0":
        "--set fold must be channels x filters, or these x groups, or these x groups x lanes, like 2x4, each 1 or "
        "more, or auto, not '2x0'",
    f"{WINOGRAD} fold=3x1":
        "layer winograd-engine: fold TileFold(channels=3, filters=1, groups=1, lanes=1) is not legal; channels must "
        "divide 2, filters 2, groups 1 with all channels and filters of a group, lanes the channels · groups",
    f"{WINOGRAD} fold=2x1 multipliers=16":
        "--set multipliers=16 and fold=2x1x1x1, which has 32, do not agree; leave one out",
    f"{WINOGRAD} padding=3":
        "layer winograd-engine: padding 3 and 3 on spatial axis 0 leaves output 0 without any activation; every output "
        "must see at least one of the 5",
    f"{WINOGRAD} depth=0": "--set depth must be a whole number, 1 to 65535, or auto, not '0'",
    "winograd-engine channels=60000 filters=60000 size=3 kernel=2":
        "channels 60000, filters 60000 and kernel 2 make 7200000000 weights; legal are 16777216 at most",
}  # fmt: skip


@pytest.mark.filterwarnings("error::amaranth.hdl.UnusedElaboratable")  # users would see it beside the line
@pytest.mark.parametrize("request_", REFUSALS, ids=lambda text: text.replace("winograd-engine ", ""))
def test_a_layer_or_fold_that_is_not_legal_is_refused_in_one_line(
    request_: str, crosstile: Crosstile, tmp_path: Path
) -> None:
    assert refusal(crosstile, tmp_path, *arguments(request_, tmp_path / "out.v")) == REFUSALS[request_]
