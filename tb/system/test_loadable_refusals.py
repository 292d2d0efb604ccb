"""What cannot be loaded is refused before anything runs, and a load that goes wrong is told."""

from __future__ import annotations

import io
import re
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from commands import Crosstile, contents, model
from crosstile_cli.build_folder import BuildFolder
from crosstile_cli.main import main
from crosstile_cli.simulators import StallPattern, icarus
from crosstile_golden.errors import CrosstileError
from models import convolution, node

Builds = dict[str, Path]


def compile_square(folder: Path, pool: str, added: str, *options: object) -> Path:
    """Compile a network that is the same along rows and columns, with this pool, and with this tensor added."""
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        convolution("x", "first", **same), node("Relu", ["first"], "a"),
        convolution("a", "second", **same), node("Relu", ["second"], "b"),
        convolution("b", "third", **same), node("Add", ["third", added], "sum"), node("Relu", ["sum"], "c"),
        node(pool, ["c"], "y", kernel_shape=[2, 2], strides=[2, 2]),
    ]
    dice = np.random.default_rng(5)
    shapes = {"first": (3, 2, 3, 3), "second": (3, 3, 3, 3), "third": (3, 3, 3, 3)}
    weights = {f"{name}_w": dice.normal(0, 0.5, shape) for name, shape in shapes.items()}
    weights |= {f"{name}_b": dice.normal(0, 0.1, 3) for name in shapes}
    folder.mkdir()
    (folder / "square.onnx").write_bytes(model(nodes, weights, ["frames", 2, 6, 6]).SerializeToString())
    np.save(folder / "square_frames.npy", dice.normal(0, 1, (6, 2, 6, 6)))
    calibration = folder / "square_frames.npy"
    quietly("compile", folder / "square.onnx", "--calibrate", calibration, "-o", folder / "build", *options)
    return folder / "build"


def quietly(*arguments: object) -> None:
    """Run a command that must succeed, where there is no test whose output could be captured."""
    with redirect_stdout(io.StringIO()), pytest.raises(SystemExit, match="0"):
        main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Builds:
    """Builds of one network that fit each other in part; no test may change them."""
    folder, loadable = tmp_path_factory.mktemp("shelf"), ("--weights", "loadable")
    variants: dict[str, tuple[object, ...]] = {
        "fixed": ("MaxPool", "a"), "rows": ("MaxPool", "a", *loadable),
        "columns": ("MaxPool", "a", *loadable, "--orientation", "columns"),
        "wider": ("MaxPool", "a", *loadable, "--multipliers", 60),
        "average": ("AveragePool", "a", *loadable), "other source": ("MaxPool", "b", *loadable),
    }  # fmt: skip
    return {name: compile_square(folder / name, *map(str, options)) for name, options in variants.items()}


def refused(crosstile: Crosstile, build: Path, other: Path) -> str:
    """Try to load what must be refused, which changes nothing; return the one line, without the program's name."""
    before, given = contents(build), ("--input", build.parent / "square_frames.npy", "--simulator", "icarus")
    answer = crosstile("simulate", build, *given, "--weights", other)
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert contents(build) == before
    return answer.err.removeprefix("crosstile: ").removesuffix("\n")


DIFFERENT = "is another pool than in {build}, or reads other layers; load a training of the same network"
REFUSALS = {
    "a build that cannot be loaded": (
        "fixed", "rows", "{build}: its weights are fixed; compile it with --weights loadable"
    ),
    "a training that has no words": (
        "rows", "fixed", "--weights {other}: its weights are fixed; compile it with --weights loadable"
    ),
    "other multipliers": (
        "rows", "wider",
        "--weights {other}: fingerprint {theirs}, but {build} has {own}: geometry, formats, activation tables, "
        "options or multipliers differ; compile both alike",
    ),
    "another orientation": (
        "rows", "columns", "--weights {other}: orientation columns, but {build} has rows; compile both alike"
    ),
    "another pool": ("rows", "average", f"--weights {{other}}: layer y {DIFFERENT}"),
    "another source": ("rows", "other source", f"--weights {{other}}: layer third {DIFFERENT}"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_does_not_fit_is_refused(name: str, shelf: Builds, crosstile: Crosstile) -> None:
    build, other, message = REFUSALS[name]
    fingerprints = [
        f"{mapping['weights']['fingerprint']['value']:#010x}" if "weights" in mapping else ""
        for mapping in (BuildFolder.open(shelf[key]).mapping for key in (build, other))
    ]
    expected = message.format(build=shelf[build], other=shelf[other], own=fingerprints[0], theirs=fingerprints[1])
    assert refused(crosstile, shelf[build], shelf[other]) == expected


def test_a_build_without_its_words_is_refused(shelf: Builds, crosstile: Crosstile, tmp_path: Path) -> None:
    other = Path(shutil.copytree(shelf["rows"], tmp_path / "other"))
    again = "run crosstile compile again"
    for words in (np.zeros((4, 2), np.int64), np.zeros((4, 3), np.uint32), np.zeros((0, 2), np.uint32)):
        np.save(other / "weights.npy", words)
        assert refused(crosstile, shelf["rows"], other) == f"{other}/weights.npy: damaged; {again}"
    (other / "weights.npy").write_bytes(b"\x93NUMPY")
    assert refused(crosstile, shelf["rows"], other) == f"{other}/weights.npy: damaged; {again}"
    (other / "weights.npy").unlink()
    assert refused(crosstile, shelf["rows"], other) == f"{other}: not a whole build, weights.npy is missing; {again}"
    absent = tmp_path / "absent"
    made = f"make one with: crosstile compile MODEL.onnx -o {absent}"
    assert refused(crosstile, shelf["rows"], absent) == f"{absent}: no such build; {made}"


FAULTS = {
    "an error": (r"(s_axil_bresp <= )[^;]*;", r"\g<1>2'h2;", "met SLVERR"),
    "silence": (r"(s_axil_bvalid <= )[^;]*;", r"\g<1>1'h0;", "met nothing for 100 cycles"),
}


@pytest.mark.parametrize(
    ("name", "simulator"), [("an error", "icarus"), ("silence", "icarus"), ("silence", "verilator")]
)
def test_a_write_that_goes_wrong_is_told(
    name: str, simulator: str, shelf: Builds, crosstile: Crosstile, tmp_path: Path
) -> None:
    build = Path(shutil.copytree(shelf["rows"], tmp_path / "build"))
    pattern, replacement, met = FAULTS[name]
    verilog = BuildFolder.open(build).verilog
    broken = re.sub(pattern, replacement, verilog.read_text())
    assert broken != verilog.read_text()
    verilog.write_text(broken)
    words = np.load(build / "weights.npy")
    message = f"loading stopped at word 0 of {len(words)}: the write to {words[0, 0]:#x} {met}"
    given = ("--input", shelf["rows"].parent / "square_frames.npy", "--simulator", simulator, "--json")
    answer = crosstile("simulate", build, *given, "--weights", build)
    assert (answer.code, answer.err) == (1, f"crosstile: {message}\n")
    assert answer.json["problems"][0] == message
    assert not any("timed out" in problem for problem in answer.json["problems"])


def test_the_design_itself_may_refuse_a_word_too(
    shelf: Builds, crosstile: Crosstile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Amaranth's simulator there is no Verilog to break."""
    monkeypatch.setattr("crosstile.weight_port.OKAY", 3)
    build = Path(shutil.copytree(shelf["rows"], tmp_path / "build"))
    given = ("--input", shelf["rows"].parent / "square_frames.npy", "--simulator", "amaranth", "--weights", build)
    answer = crosstile("simulate", build, *given)
    assert answer.code == 1
    assert re.fullmatch(r"crosstile: loading stopped at word 0 of \d+: the write to 0x\w+ met DECERR\n", answer.err)


WRONG_WORDS = {
    "signed": (np.zeros((1, 2), np.int64), r"weights must be uint32 \(words, 2\), not int64 \(1, 2\)"),
    "a column too many": (np.zeros((1, 3), np.uint32), r"weights must be uint32 \(words, 2\), not uint32 \(1, 3\)"),
    "too high": (
        np.array([[0x80000000, 0]], np.uint32), "addresses of weights must be below 0x[1248]0*, not 0x80000000"
    ),
}


@pytest.mark.parametrize("name", WRONG_WORDS)
def test_words_that_no_port_takes_are_refused(name: str, shelf: Builds, tmp_path: Path) -> None:
    words, message = WRONG_WORDS[name]
    with pytest.raises(CrosstileError, match=f"^{message}$"):
        load_into(shelf["rows"], words, tmp_path)


def test_words_for_a_design_without_a_port_are_refused(shelf: Builds, tmp_path: Path) -> None:
    with pytest.raises(CrosstileError, match=r"has no s_axil_awaddr; its weights are fixed$"):
        load_into(shelf["fixed"], np.zeros((1, 2), np.uint32), tmp_path)


def load_into(path: Path, words: np.ndarray, work: Path) -> None:
    build = BuildFolder.open(path)
    plan = build.plan()
    beats = np.zeros((plan.beats_in, build.mapping["input"]["channels_per_beat"]), np.uint8)
    icarus.simulate(build.verilog, build.name, beats, 1, plan.beats_out, StallPattern(), None, work, 99, words)


def test_a_shift_to_the_left_is_refused_with_what_to_do(crosstile: Crosstile, tmp_path: Path) -> None:
    """A filter whose products cancel needs more bits than its weights have: no port could load that."""
    weights = {"first_w": np.array([[[[1.0]], [[-0.95]]]]), "first_b": np.zeros(1)}
    nodes = [convolution("x", "first"), node("Relu", ["first"], "y")]
    (tmp_path / "cancel.onnx").write_bytes(model(nodes, weights, ["frames", 2, 4, 4]).SerializeToString())
    channel = np.random.default_rng(1).random((4, 1, 4, 4))
    np.save(tmp_path / "frames.npy", np.concatenate([channel, channel], axis=1))
    given = ("--calibrate", tmp_path / "frames.npy", "-o", tmp_path / "build", "--weight-bits", 3)
    answer = crosstile("compile", tmp_path / "cancel.onnx", *given, "--weights", "loadable")
    assert (answer.code, answer.out) == (2, "")
    assert re.fullmatch(
        r"crosstile: layer first: shift -\d of filter 0 must be 0 or more to be loadable; use more --weight-bits, or "
        r"compile with fixed weights\n",
        answer.err,
    )
    assert not (tmp_path / "build").exists()
    assert crosstile("compile", tmp_path / "cancel.onnx", *given).code == 0
