"""Networks that read every activation once: commands map them, count their reads, and fail where the count is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import Crosstile
from crosstile.accelerator import READS_BITS
from crosstile.network_plan import NetworkPlan
from crosstile_cli.build_folder import BuildFolder
from crosstile_golden.geometry import ConvolutionGeometry
from crosstile_golden.reuse import layer_reads, layer_reads_sliding
from models import Trial

SIMULATORS = ("verilator", "icarus", "amaranth")
FRAMES = 2


def geometries(build: Path) -> list[ConvolutionGeometry]:
    """Return those of the layers whose engine reads a memory."""
    return [layer.layer.geometry for layer in BuildFolder.open(build).plan().reuse_layers]


def compiled(crosstile: Crosstile, folder: Path, name: str, *options: object) -> tuple[Trial, Path, Any]:
    trial, build = Trial.write(folder, name), folder / "build"
    answer = crosstile(*trial.compile(build, "--engine", "reuse", "--json", *options))
    assert answer.code == 0, answer.err
    return trial, build, answer


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize("stall", [0, 0.3])
def test_every_simulator_counts_as_many_reads_as_predicted(
    simulator: str, stall: float, crosstile: Crosstile, tmp_path: Path
) -> None:
    trial, build, _ = compiled(crosstile, tmp_path, "image")
    run = crosstile("simulate", build, "--input", trial.frames, "--simulator", simulator, "--stall", stall, "--json")
    assert run.code == 0, run.out + run.err
    once = sum(each.in_channels * layer_reads(each, each.output_size, True) for each in geometries(build))
    sliding = sum(each.in_channels * layer_reads_sliding(each) for each in geometries(build))
    record = run.json
    assert record["activation_reads"] == record["predicted_activation_reads"] == FRAMES * once
    assert record["sliding_window_reads"] == FRAMES * sliding
    assert record["read_share"] == round(once / sliding, 4) < 1
    assert record == json.loads((build / "simulation.json").read_text())
    page = (build / "report.html").read_text()
    assert f"Reads predicted</th><td>{FRAMES * once:,}<" in page
    assert "frames are stored before reuse engines only" in page
    assert (record["mismatches"], record["predicted_cycles"]) == (0, None if stall else record["cycles"])


@pytest.mark.parametrize(
    ("name", "options"),
    [("volume", ("--orientation", "columns")), ("residuals", ()), ("signal", ("--links", "durations")),
     ("image", ("--pooling", "after"))],
)  # fmt: skip
def test_it_goes_with_every_other_option(
    name: str, options: tuple[str, ...], crosstile: Crosstile, tmp_path: Path
) -> None:
    trial, build, _ = compiled(crosstile, tmp_path, name, *options)
    run = crosstile("simulate", build, "--input", trial.frames, "--simulator", "icarus", "--json")
    assert run.code == 0, run.out + run.err
    assert (run.json["mismatches"], run.json["cycles"]) == (0, run.json["predicted_cycles"])


def test_what_is_written_says_which_engine_and_what_each_would_read(crosstile: Crosstile, tmp_path: Path) -> None:
    _, build, answer = compiled(crosstile, tmp_path, "signal")
    mapping = json.loads((build / "mapping.json").read_text())
    engines = {layer["layer"]: layer["engine"] for layer in mapping["layers"]}
    assert engines["first"] == "reuse" != engines["depth"] == "crosspoint"
    assert mapping["activation_reads"].startswith(f"output of {READS_BITS} bits")
    assert "frame memory and reuse engine" in [stage["block"] for stage in mapping["stages"]]
    (notice,) = answer.err.splitlines()
    assert notice == "notice: --engine reuse: depth run on crosspoint engines: it takes no groups"
    stages = {stage["name"]: stage for stage in answer.json["stages"]}
    once, taps = 2 * 24, 2 * (24 + 2 * 22)
    assert stages["first"]["activation_reads"] == {
        "crosspoint": once, "winograd": once, "reuse": once, "sliding_window": taps
    }
    assert stages["first"]["line_buffer_bits"] == 2 * 24 * 2 * 8
    assert stages["depth"]["activation_reads"]["reuse"] is None
    assert stages["last"]["activation_reads"]["winograd"] is None
    assert sum(stages["first"]["multiplier_cycles"].values()) == pytest.approx(1)


def test_auto_does_not_take_it_and_nothing_is_counted(crosstile: Crosstile, tmp_path: Path) -> None:
    trial, build = Trial.write(tmp_path, "image"), tmp_path / "build"
    assert crosstile(*trial.compile(build)).code == 0
    mapping = json.loads((build / "mapping.json").read_text())
    assert "reuse" not in [layer["engine"] for layer in mapping["layers"]]
    run = crosstile("simulate", build, "--input", trial.frames, "--simulator", "icarus", "--json")
    assert (run.code, [key for key in run.json if "read" in key]) == (0, [])


@pytest.mark.parametrize("simulator", ["icarus", "amaranth"])
def test_a_count_that_is_wrong_is_a_problem(
    simulator: str, crosstile: Crosstile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, build, _ = compiled(crosstile, tmp_path, "image")
    right = BuildFolder.open(build).plan().activation_reads
    monkeypatch.setattr(NetworkPlan, "activation_reads", right + 1)
    run = crosstile("simulate", build, "--input", trial.frames, "--simulator", simulator, "--json")
    assert run.code == 1
    assert run.json["problems"] == [f"{FRAMES * right} activations read, but {FRAMES * (right + 1)} were predicted"]


def test_a_counter_that_misses_reads_is_found(crosstile: Crosstile, tmp_path: Path) -> None:
    trial, build, _ = compiled(crosstile, tmp_path, "image")
    verilog = BuildFolder.open(build).verilog
    text = verilog.read_text()
    assert text.count("activation_reads <= ") >= 1
    broken = "".join(
        line.replace("activation_reads <= ", "activation_reads <= 2 + ") if "rst" not in line else line
        for line in text.splitlines(keepends=True)
    )
    verilog.write_text(broken)
    run = crosstile("simulate", build, "--input", trial.frames, "--simulator", "icarus", "--json")
    assert run.code == 1
    assert [problem for problem in run.json["problems"] if "were predicted" in problem] == run.json["problems"]


@pytest.mark.parametrize("option", ["--architecture steered", "--weights loadable", "--steering computed"])
def test_options_of_crosspoint_engines_are_refused(option: str, crosstile: Crosstile, tmp_path: Path) -> None:
    trial = Trial.write(tmp_path, "image")
    answer = crosstile(*trial.compile(tmp_path / "build", "--engine", "reuse", *option.split()))
    assert answer.code == 2
    assert answer.err == (
        f"crosstile: {option.split()[0]} is an option of crosspoint engines; leave it out, or give --engine auto\n"
    )
