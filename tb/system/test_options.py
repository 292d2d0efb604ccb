"""Every way to build a network gives Verilog that equals golden, in the predicted cycles (US 2020/0117986)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import Crosstile
from crosstile_golden.network import IntegerNetwork
from models import MODELS, Trial

OPTIONS: dict[str, tuple[str, ...]] = {
    "as it comes": (),
    "steered, [0064]": ("--architecture", "steered"),
    "buffered": ("--architecture", "buffered"),
    "columns first, [0076], claims 8 and 17": ("--orientation", "columns"),
    "durations, [0077], claims 19 and 24": ("--links", "durations", "--activation-bits", "4"),
    "pooled after sending, [0065]": ("--pooling", "after"),
    "loadable weights": ("--weights", "loadable"),
    "a computed mode word, [0068]": ("--steering", "computed", "--architecture", "steered"),
    "a stored mode program, [0068]": ("--steering", "stored", "--architecture", "steered"),
    "rows at once, [0073]": ("--rows-at-once", "--architecture", "steered"),
}
RUNS = [
    *(("verilator", "image", options) for options in OPTIONS),
    *(("icarus", name, "as it comes") for name in MODELS),
    pytest.param("verilator", "residuals", "columns first, [0076], claims 8 and 17", marks=pytest.mark.slow),
    pytest.param("verilator", "residuals", "durations, [0077], claims 19 and 24", marks=pytest.mark.slow),
    ("icarus", "residuals", "loadable weights"), ("icarus", "residuals", "buffered"),
    ("icarus", "volume", "columns first, [0076], claims 8 and 17"), ("icarus", "volume", "steered, [0064]"),
    ("icarus", "signal", "columns first, [0076], claims 8 and 17"),
    ("verilator", "signal", "durations, [0077], claims 19 and 24"),
    ("icarus", "signal", "pooled after sending, [0065]"),
]


@pytest.mark.parametrize(("simulator", "name", "options"), RUNS)
def test_the_emitted_verilog_equals_golden_in_the_predicted_cycles(
    simulator: str, name: str, options: str, crosstile: Crosstile, tmp_path: Path
) -> None:
    trial, build = Trial.write(tmp_path, name), tmp_path / "build"
    compiled = crosstile(*trial.compile(build, "--multipliers", 40, *OPTIONS[options]))
    assert (compiled.code, compiled.err) == (0, "")
    run = crosstile("simulate", build, "--input", trial.frames, "--simulator", simulator, "--json")
    assert run.code == 0, run.out + run.err
    assert (run.json["mismatches"], run.json["cycles"]) == (0, run.json["predicted_cycles"])
    network = IntegerNetwork.load(build / "network.npz")
    outputs = network.run(network.quantise_input(np.load(trial.frames)))
    assert run.json["outputs_compared"] == outputs.size
    assert len(np.unique(outputs)) > 2


@pytest.mark.parametrize("name", MODELS)
def test_stalls_on_both_sides_lose_and_repeat_nothing(name: str, crosstile: Crosstile, tmp_path: Path) -> None:
    trial, build = Trial.write(tmp_path, name), tmp_path / "build"
    assert crosstile(*trial.compile(build, "--multipliers", 40)).code == 0
    stalled = ("--simulator", "icarus", "--stall", 0.4, "--seed", 5, "--json")
    run = crosstile("simulate", build, "--input", trial.frames, *stalled)
    assert (run.code, run.json["mismatches"]) == (0, 0)


def test_a_pool_of_rows_at_once_stores_no_row(crosstile: Crosstile, tmp_path: Path) -> None:
    """[0073]: two output rows leave together, and the 2×2 pool behind them keeps what one pixel needs."""
    trial = Trial.write(tmp_path, "image")
    reports = {}
    for options in (("--rows-at-once",), ()):
        build = tmp_path / f"build{len(options)}"
        assert crosstile(*trial.compile(build, "--multipliers", 40, "--architecture", "steered", *options)).code == 0
        stages = json.loads((build / "report.json").read_text())["stages"]
        reports[options] = {stage["name"]: stage for stage in stages}
    together, apart = reports[("--rows-at-once",)]["p"], reports[()]["p"]
    channels, _, columns = together["output"]
    assert together["window_memory_bits"] == channels * 8
    assert apart["window_memory_bits"] == channels * 8 + channels * columns * 8


@pytest.mark.parametrize(
    ("option", "value", "legal"),
    [
        ("--architecture", "both", "auto or steered or buffered"), ("--weights", "none", "fixed or loadable"),
        ("--orientation", "up", "rows or columns"), ("--links", "light", "digits or durations"),
        ("--pooling", "never", "local or after"), ("--steering", "external", "chain or computed or stored"),
    ],
)
def test_other_values_are_refused(
    option: str, value: str, legal: str, crosstile: Crosstile, tmp_path: Path
) -> None:
    trial = Trial.write(tmp_path, "image")
    answer = crosstile(*trial.compile(tmp_path / "build", option, value))
    assert (answer.code, answer.err) == (2, f"crosstile: {option} must be {legal}, not {value!r}\n")
    assert not (tmp_path / "build").exists()
