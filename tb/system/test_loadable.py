"""A build with loadable weights takes on another training through its port, and is that training from then on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Crosstile
from crosstile.load_map import image
from crosstile_cli.build_folder import BuildFolder
from models import Trial

SEEDS = {"own": 0, "other": 7}
Builds = dict[str, Path]


def compile_trial(crosstile: Crosstile, folder: Path, name: str, seed: int, *options: object) -> Path:
    """Compile one training of a model with loadable weights; return the build."""
    folder.mkdir()
    answer = crosstile(*Trial.write(folder, name, seed=seed).compile(folder / "build", *options))
    assert (answer.code, answer.err) == (0, "")
    return folder / "build"


@pytest.fixture
def builds(crosstile: Crosstile, tmp_path: Path) -> Callable[..., Builds]:
    def make(name: str, *options: object) -> Builds:
        return {
            key: compile_trial(crosstile, tmp_path / key, name, seed, "--weights", "loadable", *options)
            for key, seed in SEEDS.items()
        }

    return make


@pytest.fixture
def pair(builds: Callable[..., Builds]) -> Builds:
    """Both trainings of a small network."""
    return builds("image", "--multipliers", 40)


def frames_of(build: Path) -> Path:
    return build.parent / f"{BuildFolder.open(build).name}_frames.npy"


def simulated(crosstile: Crosstile, build: Path, other: Path, *options: object) -> Any:
    """Load `other` into `build`, and run the frames of `other`; return the record of a good run."""
    given = ("--input", frames_of(other), "--weights", other, "--json", *options)
    answer = crosstile("simulate", build, *given)
    assert (answer.code, answer.err) == (0, "")
    assert answer.json == json.loads((build / "simulation.json").read_text())
    return answer.json


def golden(build: Path, frames: Path) -> np.ndarray:
    network = BuildFolder.open(build).network()
    return network.run(network.quantise_input(np.load(frames)))


def test_a_loadable_build_tells_what_to_write_and_where(pair: Builds) -> None:
    for path in pair.values():
        build = BuildFolder.open(path)
        plan, words = build.plan(), np.load(path / "weights.npy")
        assert plan.load_map is not None
        assert build.mapping["weights"] == plan.load_map.record
        assert (words.dtype, words.shape[1]) == (np.uint32, 2)
        assert [tuple(pair) for pair in words.tolist()] == image(plan.load_map.plans, plan.network)
    maps = [json.loads((path / "mapping.json").read_text())["weights"] for path in pair.values()]
    assert maps[0] == maps[1]
    assert (maps[0]["identification"]["value"], maps[0]["layers"][0]["name"]) == (0x43545731, "first")


def test_a_fixed_build_has_neither_map_nor_words(compiled: Path) -> None:
    assert "weights" not in json.loads((compiled / "mapping.json").read_text())
    assert not (compiled / "weights.npy").exists()


def test_two_trainings_differ_in_initial_contents_and_in_nothing_else(pair: Builds) -> None:
    one, other = (BuildFolder.open(path).verilog.read_text() for path in pair.values())
    assert one != other
    assert masked(one) == masked(other)


def masked(text: str) -> str:
    """Return Verilog without the values that memories and registers start with."""
    starts = r"^(\s+(?:reg [^=;]+|\S+\[\d+\]) = )\d+'(?:h[0-9a-f]+|d\d+);$"
    return re.sub(starts, r"\1initial;", text, flags=re.MULTILINE)


def test_every_simulator_loads_alike(pair: Builds, crosstile: Crosstile, tmp_path: Path) -> None:
    own, other = pair["own"], pair["other"]
    records = {}
    for simulator in ("icarus", "verilator", "amaranth"):
        output = tmp_path / f"{simulator}.npy"
        records[simulator] = simulated(crosstile, own, other, "--simulator", simulator, "--output", output)
        found = np.load(output)
        assert np.array_equal(found, golden(other, frames_of(other)))
        assert not np.array_equal(found, golden(own, frames_of(other)))
    for record in records.values():
        assert (record["mismatches"], record["cycles"]) == (0, record["predicted_cycles"])
        assert record["weights"] == str(other)
        assert record["load_cycles"] == 4 * len(np.load(other / "weights.npy"))
    times = {(record["cycles"], record["load_cycles"]) for record in records.values()}
    assert len(times) == 1


def test_a_build_may_be_loaded_with_its_own_training(pair: Builds, crosstile: Crosstile) -> None:
    assert simulated(crosstile, pair["own"], pair["own"], "--simulator", "icarus")["mismatches"] == 0


def test_nothing_is_loaded_unless_asked_for(pair: Builds, crosstile: Crosstile) -> None:
    own = pair["own"]
    record = crosstile("simulate", own, "--input", frames_of(own), "--simulator", "icarus", "--json").json
    assert (record["mismatches"], record["weights"], record["load_cycles"]) == (0, None, None)


LAYOUTS = {
    "residuals and a pool": ("residuals", "--multipliers", 40),
    "buffered": ("image", "--architecture", "buffered"),
    "columns first": ("image", "--multipliers", 13, "--orientation", "columns"),
    "durations": ("image", "--multipliers", 40, "--links", "durations", "--activation-bits", 4),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_loaded_network_equals_golden_in_the_predicted_cycles(
    name: str, builds: Callable[..., Builds], crosstile: Crosstile
) -> None:
    pair = builds(*LAYOUTS[name])
    record = simulated(crosstile, pair["own"], pair["other"], "--simulator", "icarus")
    assert (record["mismatches"], record["cycles"]) == (0, record["predicted_cycles"])


def test_what_an_engine_does_while_it_is_loaded_is_predicted(
    builds: Callable[..., Builds], crosstile: Crosstile
) -> None:
    """Padding on the left needs no input: a steered engine is two cycles ahead once the first beat comes."""
    pair = builds("image", "--multipliers", 13, "--architecture", "steered")
    own = pair["own"]
    loaded = simulated(crosstile, own, pair["other"], "--simulator", "icarus")
    fresh = crosstile("simulate", own, "--input", frames_of(own), "--simulator", "icarus", "--json").json
    assert loaded["cycles"] == loaded["predicted_cycles"] == fresh["cycles"] - 2


def test_stalls_change_no_result(pair: Builds, crosstile: Crosstile) -> None:
    stalled = ("--simulator", "icarus", "--stall", 0.4, "--seed", 3)
    assert simulated(crosstile, pair["own"], pair["other"], *stalled)["mismatches"] == 0


def test_a_word_that_does_not_arrive_is_a_mismatch(pair: Builds, crosstile: Crosstile) -> None:
    own, other = pair["own"], pair["other"]
    verilog = BuildFolder.open(own).verilog
    broken, places = re.subn(r"(assign enable_0 = )[^;]*;", r"\g<1>1'b0;", verilog.read_text())
    assert places
    verilog.write_text(broken)
    given = ("--input", frames_of(other), "--simulator", "icarus", "--json", "--weights", other)
    answer = crosstile("simulate", own, *given)
    assert answer.code == 1
    assert answer.json["mismatches"] > 0
    assert re.fullmatch(r"crosstile: \d+ of \d+ outputs differ from golden\n", answer.err)
