"""The command line as a contract: what each command does, prints, writes, and ends with."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import OUTPUTS, Crosstile, Inputs, contents, frames
from crosstile import __version__
from crosstile_cli.toolchain import TOOLS
from crosstile_golden.network import IntegerNetwork

COMMANDS = ("compile", "run", "simulate", "synthesize", "generate", "doctor")
SIMULATORS = ("icarus", "verilator", "amaranth")
FILES = {"network.npz", "mapping.json", "report.json", "report.html", "verilog/tiny.v"}


def golden(build: Path, path: Path) -> np.ndarray:
    network = IntegerNetwork.load(build / "network.npz")
    return network.run(network.quantise_input(np.load(path)))


def outside(arguments: list[object], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "crosstile_cli.main", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_of_the_command(command: str, crosstile: Crosstile) -> None:
    answer = crosstile(command, "--help")
    text = re.sub(r"\s+", " ", answer.out)
    assert (answer.code, answer.err) == (0, "")
    assert f"Example: crosstile {command}" in text
    assert "--json" in text


def test_bare_crosstile_shows_the_commands(crosstile: Crosstile) -> None:
    bare, asked = crosstile(), crosstile("--help")
    assert (bare.code, asked.code) == (2, 0)
    for answer in (bare, asked):
        assert all(command in answer.out + answer.err for command in COMMANDS)


def test_the_version_is_told(crosstile: Crosstile) -> None:
    answer = crosstile("--version")
    assert (answer.code, answer.out, answer.err) == (0, f"crosstile {__version__}\n", "")


def test_compile_writes_the_build_and_nothing_else(crosstile: Crosstile, inputs: Inputs, tmp_path: Path) -> None:
    answer = crosstile(*inputs.compile(tmp_path / "deep" / "build", "--multipliers", 12, "--json"))
    assert (answer.code, answer.err) == (0, "")
    assert answer.json == json.loads((tmp_path / "deep" / "build" / "report.json").read_text())
    assert answer.json["multipliers"] <= 12
    assert set(contents(tmp_path)) == {f"deep/build/{name}" for name in FILES}


def test_compile_prints_a_table(crosstile: Crosstile, inputs: Inputs, tmp_path: Path) -> None:
    answer = crosstile(*inputs.compile(tmp_path / "build", "--weight-bits", 6, "--activation-bits", 7))
    assert (answer.code, answer.err) == (0, "")
    table = {line[:30].strip(): line[30:].strip() for line in answer.out.splitlines()}
    assert table["weight bits"].endswith("6")
    assert table["activation bits"].endswith("7")
    assert "cycles per frame" in table


def test_the_build_says_what_it_holds(compiled: Path) -> None:
    mapping = json.loads((compiled / "mapping.json").read_text())
    assert (mapping["crosstile"], mapping["name"], mapping["clock"]) == (__version__, "tiny", "clk")
    assert (mapping["input"]["shape"], mapping["output"]["shape"]) == ([1, 6, 6], [OUTPUTS])
    assert [layer["engine"] for layer in mapping["layers"]] == ["crosspoint", "pool", "crosspoint"]
    text = (compiled / "verilog" / "tiny.v").read_text()
    assert re.search(r"^module tiny\(", text, re.MULTILINE)
    assert str(compiled) not in text


def test_two_compiles_give_the_same_bytes(inputs: Inputs, compiled: Path, tmp_path: Path) -> None:
    """From another process, working directory and folder name."""
    arguments = inputs.compile(Path("again"), "--multipliers", 12)
    answer = outside(arguments, tmp_path)
    assert (answer.returncode, answer.stderr) == (0, "")
    built = {name: content for name, content in contents(compiled).items() if name in FILES}
    assert contents(tmp_path / "again") == built


def test_a_frame_rate_is_met_with_the_fewest_multipliers(
    crosstile: Crosstile, inputs: Inputs, tmp_path: Path
) -> None:
    def pace(rate: float) -> dict[str, int]:
        target = tmp_path / f"{rate:g}"
        options = ("--frames-per-second", rate, "--clock", 1, "--json")
        return dict(crosstile(*inputs.compile(target, *options)).json)

    slow, fast = pace(1000), pace(8000)
    assert slow["cycles_per_frame"] <= 1000
    assert fast["cycles_per_frame"] <= 125
    assert slow["multipliers"] < fast["multipliers"]


def test_notices_go_to_stderr_and_json_stays_json(crosstile: Crosstile, inputs: Inputs, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(inputs.model)
    model.graph.node[-1].output[0] = "scores"
    model.graph.node.append(onnx.helper.make_node("Softmax", ["scores"], ["y"], name="soft", axis=1))
    onnx.save(model, tmp_path / "net.onnx")
    answer = crosstile(
        "compile", tmp_path / "net.onnx", "--calibrate", inputs.calibration, "-o", tmp_path / "b", "--json"
    )
    assert answer.code == 0
    assert answer.err == "".join(f"notice: {notice}\n" for notice in answer.json["notices"])
    assert "soft" in answer.err


def test_run_gives_the_golden_outputs(crosstile: Crosstile, inputs: Inputs, compiled: Path, tmp_path: Path) -> None:
    output = tmp_path / "y.npy"
    answer = crosstile("run", compiled, "--input", inputs.frames, "--output", output, "--json")
    assert (answer.code, answer.err) == (0, "")
    assert answer.json["frames"] == 3
    assert np.array_equal(np.load(output), golden(compiled, inputs.frames))
    assert [path.name for path in tmp_path.iterdir()] == ["y.npy"]


def test_run_takes_an_archive_and_needs_no_output(crosstile: Crosstile, compiled: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=frames(2))
    answer = crosstile("run", compiled, "--input", tmp_path / "x.npz")
    assert (answer.code, answer.err) == (0, "")
    assert re.search(r"frames\s+2\b", answer.out)


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_simulate_finds_no_mismatch_and_the_predicted_cycles(
    simulator: str, crosstile: Crosstile, inputs: Inputs, build: Path
) -> None:
    output = build.parent / "y.npy"
    answer = crosstile(
        "simulate", build, "--input", inputs.frames, "--output", output, "--simulator", simulator, "--json"
    )
    assert (answer.code, answer.err) == (0, "")
    record = answer.json
    assert record == json.loads((build / "simulation.json").read_text())
    assert (record["simulator"], record["frames"], record["mismatches"]) == (simulator, 3, 0)
    assert record["outputs_compared"] == 3 * OUTPUTS
    assert record["cycles"] == record["predicted_cycles"] > 0
    assert np.array_equal(np.load(output), golden(build, inputs.frames))
    assert json.loads((build / "report.json").read_text())["simulation"] == record
    assert {path.name for path in build.iterdir()} - {"work"} == {
        *(name for name in FILES if "/" not in name), "verilog", "simulation.json",
    }  # fmt: skip


def test_stalls_and_seeds_are_the_users(crosstile: Crosstile, inputs: Inputs, build: Path) -> None:
    def cycles(seed: int) -> int:
        options = ("--simulator", "icarus", "--stall", 0.4, "--seed", seed, "--json")
        answer = crosstile("simulate", build, "--input", inputs.frames, *options)
        assert (answer.code, answer.json["mismatches"], answer.json["predicted_cycles"]) == (0, 0, None)
        return int(answer.json["cycles"])

    first, again, other = cycles(1), cycles(1), cycles(3)
    assert first == again != other


def test_waves_are_written(crosstile: Crosstile, inputs: Inputs, build: Path) -> None:
    waves = build.parent / "waves.vcd"
    arguments = ["simulate", build, "--input", inputs.frames, "--simulator", "icarus", "--waves", waves]
    assert crosstile(*arguments).code == 0
    assert "m_axis_tvalid" in waves.read_text()


def corrupt(build: Path) -> None:
    """Flip a bit of the last filter's constant: every output of that filter changes, or nearly."""
    verilog = build / "verilog" / "tiny.v"
    text = verilog.read_text()
    ((line, bits, digits),) = re.findall(rf"( constants\[{OUTPUTS - 1}\] = )(\d+)'h([0-9a-f]+);", text)
    wrong = int(digits, 16) ^ 1 << (int(bits) - 3)
    verilog.write_text(text.replace(f"{line}{bits}'h{digits};", f"{line}{bits}'h{wrong:x};"))
    assert verilog.read_text() != text


def test_a_wrong_constant_in_the_verilog_is_counted_and_ends_with_1(
    crosstile: Crosstile, inputs: Inputs, build: Path
) -> None:
    corrupt(build)
    output = build.parent / "y.npy"
    arguments = ["simulate", build, "--input", inputs.frames, "--simulator", "icarus", "--output", output, "--json"]
    answer = crosstile(*arguments)
    wrong = int((np.load(output) != golden(build, inputs.frames)).sum())
    message = f"{wrong} of {3 * OUTPUTS} outputs differ from golden"
    assert 1 <= wrong <= 3
    assert (answer.code, answer.err) == (1, f"crosstile: {message}\n")
    assert (answer.json["mismatches"], answer.json["problems"]) == (wrong, [message])
    assert json.loads((build / "simulation.json").read_text())["mismatches"] == wrong


def test_doctor_tells_of_every_tool(crosstile: Crosstile) -> None:
    answer = crosstile("doctor", "--json")
    assert (answer.code, answer.err) == (0, "")
    assert [tool["name"] for tool in answer.json] == list(TOOLS)
    assert crosstile("doctor").code == 0


def test_an_unforeseen_system_error_is_one_line_too(
    crosstile: Crosstile, inputs: Inputs, build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied", str(build / "work"))

    monkeypatch.setattr(Path, "mkdir", fail)
    answer = crosstile("simulate", build, "--input", inputs.frames, "--simulator", "verilator")
    assert (answer.code, answer.err) == (2, f"crosstile: {build / 'work'}: Permission denied\n")


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--version"], 0), (["run", "nowhere", "--input", "x.npy"], 2), (["--nonsense"], 2)]
)
def test_the_process_ends_with_the_code(arguments: list[object], code: int, tmp_path: Path) -> None:
    answer = outside(arguments, tmp_path)
    assert answer.returncode == code
    assert answer.stderr.count("\n") == (code != 0)
    assert list(tmp_path.iterdir()) == []
