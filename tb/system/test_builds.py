"""A build is whole or not there: half-written, foreign and older ones are refused, and a failure leaves no trace."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from commands import Crosstile, Inputs, contents, refusal
from crosstile import __version__
from crosstile_cli import compile_command
from crosstile_golden.errors import CrosstileError

AGAIN = "run crosstile compile again"
FILES = ("network.npz", "mapping.json", "report.json", "report.html", "verilog/tiny.v")


def commands(build: Path, inputs: Inputs) -> dict[str, list[object]]:
    """Return every command that reads a build."""
    return {
        "run": ["run", build, "--input", inputs.frames],
        "simulate": ["simulate", build, "--input", inputs.frames, "--simulator", "icarus"],
        "synthesize": ["synthesize", build],
    }


def change_mapping(build: Path, **changes: Any) -> None:
    path = build / "mapping.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("command", ["run", "simulate", "synthesize"])
def test_a_build_that_lacks_a_file(
    command: str, name: str, crosstile: Crosstile, inputs: Inputs, build: Path
) -> None:
    (build / name).unlink()
    message = f"{build}: not a whole build, {name} is missing; {AGAIN}"
    assert refusal(crosstile, build, *commands(build, inputs)[command]) == message


@pytest.mark.parametrize("command", ["run", "simulate", "synthesize"])
def test_a_build_of_another_version(command: str, crosstile: Crosstile, inputs: Inputs, build: Path) -> None:
    change_mapping(build, crosstile="0.0.9")
    message = f"{build}: built by Crosstile 0.0.9, this is {__version__}; {AGAIN}"
    assert refusal(crosstile, build, *commands(build, inputs)[command]) == message


@pytest.mark.parametrize("command", ["run", "simulate", "synthesize"])
@pytest.mark.parametrize("kind", ["nothing", "a file"])
def test_a_build_that_is_no_folder(
    kind: str, command: str, crosstile: Crosstile, inputs: Inputs, tmp_path: Path
) -> None:
    build = tmp_path / "none"
    if kind == "a file":
        build.write_text("text")
    message = f"{build}: no such build; make one with: crosstile compile MODEL.onnx -o {build}"
    assert refusal(crosstile, tmp_path, *commands(build, inputs)[command]) == message


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"text", b"\xff\xfe"])
def test_a_damaged_mapping(content: bytes, crosstile: Crosstile, inputs: Inputs, build: Path) -> None:
    (build / "mapping.json").write_bytes(content)
    message = f"{build / 'mapping.json'}: damaged; {AGAIN}"
    assert refusal(crosstile, build, *commands(build, inputs)["run"]) == message


def test_a_mapping_of_another_network(crosstile: Crosstile, inputs: Inputs, build: Path) -> None:
    change_mapping(build, stages=[])
    message = f"{build / 'mapping.json'}: damaged; {AGAIN}"
    assert refusal(crosstile, build, *commands(build, inputs)["simulate"]) == message


def test_a_damaged_network(crosstile: Crosstile, inputs: Inputs, build: Path) -> None:
    (build / "network.npz").write_bytes(b"text")
    message = f"{build / 'network.npz'}: not a Crosstile network"
    assert refusal(crosstile, build, *commands(build, inputs)["run"]) == message


def test_a_damaged_report_is_told_and_no_record_written(
    crosstile: Crosstile, inputs: Inputs, build: Path
) -> None:
    (build / "report.json").write_text("text")
    answer = crosstile(*commands(build, inputs)["simulate"])
    assert (answer.code, answer.err) == (2, f"crosstile: {build / 'report.json'}: damaged; {AGAIN}\n")
    assert not (build / "simulation.json").exists()


@pytest.mark.parametrize("there", ["a file within", "a file", "a mapping of something else"])
def test_an_output_folder_that_is_no_build_stays_untouched(
    there: str, crosstile: Crosstile, inputs: Inputs, tmp_path: Path
) -> None:
    target = tmp_path / "thesis"
    if there == "a file":
        target.write_text("years of work")
    else:
        target.mkdir()
        (target / ("mapping.json" if "mapping" in there else "chapter.tex")).write_text('{"years": "of work"}')
    message = f"-o {target}: exists and is not a Crosstile build; give another -o or remove it"
    assert refusal(crosstile, tmp_path, *inputs.compile(target)) == message


def test_an_output_below_a_file(crosstile: Crosstile, inputs: Inputs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    target = tmp_path / "file" / "build"
    message = f"-o {target}: cannot be written: File exists; give another -o"
    assert refusal(crosstile, tmp_path, *inputs.compile(target)) == message


def fail_with(error: BaseException) -> Any:
    def fail(*_arguments: object) -> None:
        raise error

    return fail


FAILURES = {
    "a refusal": (CrosstileError("no such thing"), "no such thing"),
    "a full disk": (
        OSError(errno.ENOSPC, "No space left on device"),
        "-o {target}: cannot be written: No space left on device; give another -o",
    ),
}


@pytest.mark.parametrize("step", ["emit", "write_report"])
@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("earlier", [False, True], ids=["new", "over an earlier build"])
def test_a_compile_that_fails_midway_leaves_everything_as_it_was(
    earlier: bool, kind: str, step: str, crosstile: Crosstile, inputs: Inputs, build: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = build if earlier else build.parent / "new"
    error, message = FAILURES[kind]
    monkeypatch.setattr(compile_command, step, fail_with(error))
    assert refusal(crosstile, build.parent, *inputs.compile(target)) == message.format(target=target)
    assert [path.name for path in build.parent.iterdir()] == ["build"]


def test_an_interrupt_leaves_everything_as_it_was(
    crosstile: Crosstile, inputs: Inputs, build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(build.parent)
    monkeypatch.setattr(compile_command, "write_report", fail_with(KeyboardInterrupt()))
    answer = crosstile(*inputs.compile(build))
    assert (answer.code, answer.out, answer.err) == (130, "", "crosstile: stopped\n")
    assert contents(build.parent) == before
    assert [path.name for path in build.parent.iterdir()] == ["build"]


def test_an_earlier_build_is_replaced_as_a_whole(crosstile: Crosstile, inputs: Inputs, build: Path) -> None:
    (build / "simulation.json").write_text("{}")
    assert crosstile(*inputs.compile(build, "--name", "other")).code == 0
    assert [path.name for path in build.parent.iterdir()] == ["build"]
    assert set(contents(build)) == {*FILES[:4], "verilog/other.v"}


def test_an_empty_folder_may_be_the_output(crosstile: Crosstile, inputs: Inputs, tmp_path: Path) -> None:
    target = tmp_path / "empty"
    target.mkdir()
    assert crosstile(*inputs.compile(target)).code == 0
    assert set(contents(target)) == set(FILES)
