"""Requests for blocks that cannot be met: one line that says what is legal, exit 2, and nothing written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from commands import Crosstile, refusal
from crosstile_cli.blocks import BLOCKS
from generated import REQUESTS, arguments

IMAGE = "channels=2 filters=2 size=5x6 kernel=3"
ENGINE = f"crosspoint-engine {IMAGE}"
POOL = "pool kind=max channels=4 size=6x7 window=2"
BUFFER = "line-buffer channels=4 size=5x3 kernel=3"
NAMES = ", ".join(BLOCKS)
SIZES = "1 to 3 whole numbers joined by x, each 1 to 65535, like"
REFUSALS = {
    # How a request is written
    "moon": f"BLOCK must be one of {NAMES}, not 'moon'",
    "multiplier a_bits": "--set must be key=value, not 'a_bits'",
    "multiplier =3": "--set must be key=value, not '=3'",
    "multiplier a_bits=": "--set a_bits= has no value; a_bits must be a whole number, 1 to 36",
    "multiplier a_bits=3 a_bits=4": "--set a_bits is given twice; give it once",
    "multiplier c_bits=3": "--set c_bits: block multiplier has no such parameter; it has a_bits, b_bits",
    "multiplier a_bits=3": "block multiplier needs --set b_bits=...; b_bits must be a whole number, 1 to 36",
    # Values, each by its kind
    "multiplier a_bits=37 b_bits=3": "--set a_bits must be a whole number, 1 to 36, not '37'",
    "multiplier a_bits=-1 b_bits=3": "--set a_bits must be a whole number, 1 to 36, not '-1'",
    "multiplier a_bits=3.0 b_bits=3": "--set a_bits must be a whole number, 1 to 36, not '3.0'",
    "multiplier a_bits=٣ b_bits=3": "--set a_bits must be a whole number, 1 to 36, not '٣'",
    f"multiplier a_bits={'9' * 5000} b_bits=3": f"--set a_bits must be a whole number, 1 to 36, not '{'9' * 5000}'",
    f"{POOL} signed=maybe": "--set signed must be yes or no, not 'maybe'",
    "pool kind=median channels=4 size=6x7 window=2": "--set kind must be max, average or sum, not 'median'",
    "crosspoint-engine channels=2 filters=2 size=5,6 kernel=3":
        f"--set size must be {SIZES} 128, 32x32 or 16x16x16, not '5,6'",
    "crosspoint-engine channels=2 filters=2 size=5x kernel=3":
        f"--set size must be {SIZES} 128, 32x32 or 16x16x16, not '5x'",
    "crosspoint-engine channels=2 filters=2 size=1x2x3x4 kernel=3":
        f"--set size must be {SIZES} 128, 32x32 or 16x16x16, not '1x2x3x4'",
    "crosspoint-engine channels=2 filters=2 size=5x0 kernel=3":
        f"--set size must be {SIZES} 128, 32x32 or 16x16x16, not '5x0'",
    f"{ENGINE} padding=1:1:1":
        "--set padding must be entries joined by x for both ends, or begin:end, each 0 to 65535, like 1x1 or "
        "1x1:0x0, not '1:1:1'",
    f"{ENGINE} activation=leaky:16":
        "--set activation must be none, relu or leaky:N with N from 1 to 15, the slope being 2^-N, not 'leaky:16'",
    f"{ENGINE} activation=relu:1":
        "--set activation must be none, relu or leaky:N with N from 1 to 15, the slope being 2^-N, not 'relu:1'",
    f"{ENGINE} weights=zeros":
        "--set weights must be random, loadable or a file .npz with weight, bias and shift, not 'zeros'",
    f"{ENGINE} fold=3x3x1":
        "--set fold must be kernel rows x kernel columns x channels x filters, or these x groups, like 3x3x1x2, each "
        "1 or more, or auto, not '3x3x1'",
    f"{ENGINE} depth=0": "--set depth must be a whole number, 1 to 65535, or auto, not '0'",
    # Values that do not fit each other
    "crosspoint-engine channels=2 filters=2 size=5x6 kernel=3x3x3":
        "--set kernel must have one entry, or 2 as size 5x6 has, not 3x3x3",
    "crosspoint-engine channels=2 filters=2 size=5x6 kernel=7":
        "the window (7, 7) (dilation (1, 1)) does not fit the input (5, 6) with padding (0, 0) and (0, 0)",
    f"{ENGINE} groups=3": "groups must divide 2 input and 2 output channels, not 3",
    f"{ENGINE} multipliers=37": "--set multipliers must be a whole number, 1 to 18 for this layer, not 37",
    f"{ENGINE} multipliers=4 fold=3x3x1x1":
        "--set multipliers=4 and fold=3x3x1x1x1, which has 9, do not agree; leave one out",
    f"{ENGINE} architecture=steered fold=2x3x1x1":
        "layer crosspoint-engine: fold Fold(kernel_rows=2, kernel_columns=3, channels=1, filters=1, groups=1) is not "
        "legal; kernel_rows must be 1 or (stride and dilation 1) 3, kernel_columns 1 or 3, channels a divisor of 2, "
        "filters a divisor of 2, groups a divisor of 1 with all channels and filters of a group",
    f"{ENGINE} steering=external": "--set steering=external needs ports=stream, which have the mode word's ports",
    f"{ENGINE} steering=stored stride=2":
        "--set steering=stored needs more than one kernel row together: kernel 2 or more, stride and dilation 1 along "
        "the rows, 2 or more output rows, architecture steered; use steering=chain",
    f"{ENGINE} ports=stream architecture=buffered":
        "--set ports=stream is the engine alone, without line buffers: architecture buffered and size 5x6 need "
        "ports=axis",
    "crosspoint-engine channels=1 filters=1 size=4x4x4 kernel=2 ports=stream":
        "--set ports=stream is the engine alone, without line buffers: architecture auto and size 4x4x4 need "
        "ports=axis",
    f"{ENGINE} weights=loadable architecture=buffered":
        "--set weights=loadable needs architecture=steered and 1 or 2 axes, not buffered and 2",
    "crosspoint-engine channels=1 filters=1 size=4x4x4 kernel=2 weights=loadable":
        "--set weights=loadable needs architecture=steered and 1 or 2 axes, not steered and 3",
    "crosspoint-engine channels=60000 filters=2 size=60000 kernel=3":
        "channels 60000 and size 60000 make 3600000000 activations a frame; legal are 16777216 at most",
    "crosspoint-engine channels=60000 filters=60000 size=3 kernel=3":
        "channels 60000, filters 60000 and kernel 3 make 10800000000 weights; legal are 16777216 at most",
    f"{POOL} lanes=3": "lanes must divide 4, not 3",
    f"{POOL} shift=1": "layer 'pool': shift of a max pool must be 0, not 1",
    f"{POOL} padding=2":
        "layer 'pool': padding of a max pool must leave every window an input; window 0 of axis 0 has none",
    "pool kind=average channels=4 size=6x7 window=2 padding=2":
        "pool pool: padding (2, 2) before the first position; it must be less than the kernel (2, 2) on every axis",
    f"{BUFFER} lanes=3": "layer line-buffer: lanes must divide 4 channels and run must divide the lanes, not 3 and 3",
    f"{BUFFER} lanes=4 run=3":
        "layer line-buffer: lanes must divide 4 channels and run must divide the lanes, not 4 and 3",
    "line-buffer channels=4 size=5x3 kernel=7":
        "--set kernel 7 (dilation 1) does not fit the 5 rows of size 5x3 with padding 0:0",
    f"{BUFFER} padding=3":
        "layer line-buffer: padding 3 leaves the first output without any activation; at most (kernel - 1) * dilation "
        "= 2 is supported",
    "mode-source kind=stored rows=5 kernel=3 padding=3":
        "--set padding must begin with 0 to kernel - 1 = 2 rows, not 3:3",
    "mode-source kind=computed rows=5 kernel=3 integrators=2":
        "--set integrators must be 3 or more, the output rows open at once, not 2",
    "mode-source kind=stored rows=5 kernel=3 integrators=2":
        "--set integrators must be 3 or more, the output rows open at once, not 2",
    "requantise filters=6 lanes=4 total_bits=14": "--set lanes must divide filters 6, not 4",
    "requantise filters=6 total_bits=14 constants=loadable":
        "--set constants must be random or a file .npz with bias and shift, not 'loadable'",
}  # fmt: skip


@pytest.mark.filterwarnings("error::amaranth.hdl.UnusedElaboratable")  # users would see it beside the line
@pytest.mark.parametrize("request_", REFUSALS, ids=lambda text: text[:70])
def test_a_request_that_cannot_be_met_is_refused_in_one_line(
    request_: str, crosstile: Crosstile, tmp_path: Path
) -> None:
    assert refusal(crosstile, tmp_path, *arguments(request_, tmp_path / "out.v")) == REFUSALS[request_]


def test_a_block_and_a_file_must_be_given(crosstile: Crosstile, tmp_path: Path) -> None:
    listed = "name a BLOCK; see the blocks and their parameters with: crosstile generate --list"
    assert refusal(crosstile, tmp_path, "generate") == listed
    assert refusal(crosstile, tmp_path, "generate", "multiplier") == "give a file to write: -o FILE.v"


@pytest.mark.parametrize("name", ["9lives", "module", "a b", ""])
def test_a_name_must_be_one(name: str, crosstile: Crosstile, tmp_path: Path) -> None:
    said = refusal(crosstile, tmp_path, *arguments(REQUESTS["multiplier"], tmp_path / "m.v", "--name", name))
    assert said.startswith("--name ")


# The file to write


def refused_output(crosstile: Crosstile, folder: Path, output: Path) -> str:
    return refusal(crosstile, folder, *arguments(REQUESTS["multiplier"], output))


def test_a_file_that_was_not_generated_is_not_replaced(crosstile: Crosstile, tmp_path: Path) -> None:
    mine = tmp_path / "mine.v"
    mine.write_text("module mine; endmodule\n")
    said = f"-o {mine}: exists and was not generated by Crosstile; give another -o or remove it"
    assert refused_output(crosstile, tmp_path, mine) == said


def test_an_empty_file_is_replaced(crosstile: Crosstile, tmp_path: Path) -> None:
    (tmp_path / "empty.v").touch()
    assert crosstile(*arguments(REQUESTS["multiplier"], tmp_path / "empty.v")).code == 0


def test_a_folder_is_no_file(crosstile: Crosstile, tmp_path: Path) -> None:
    assert refused_output(crosstile, tmp_path, tmp_path) == f"-o {tmp_path}: is a folder; name a file in it"


def test_the_folder_must_exist(crosstile: Crosstile, tmp_path: Path) -> None:
    output = tmp_path / "none" / "m.v"
    assert refused_output(crosstile, tmp_path, output) == f"-o {output}: its folder does not exist; make it first"


def test_a_device_is_no_file(crosstile: Crosstile, tmp_path: Path) -> None:
    said = "-o /dev/null: is no plain file; give another -o"
    assert refused_output(crosstile, tmp_path, Path("/dev/null")) == said


def test_a_folder_that_cannot_be_written_is_told(
    crosstile: Crosstile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, _target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "replace", refuse)
    output = tmp_path / "m.v"
    assert refused_output(crosstile, tmp_path, output) == (
        f"-o {output}: cannot be written: Permission denied; give another -o"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_told(crosstile: Crosstile, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    said = refused_output(crosstile, tmp_path, locked / "m.v")
    assert said == f"-o {locked / 'm.v'}: cannot be written: Permission denied; give another -o"


def test_a_write_that_breaks_off_leaves_nothing(
    crosstile: Crosstile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path.write_text

    def half(path: Path, text: str, encoding: str | None = None) -> int:
        if not path.name.endswith(".part"):
            return whole(path, text, encoding)
        whole(path, text[:100], encoding)
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", half)
    output = tmp_path / "m.v"
    assert refused_output(crosstile, tmp_path, output) == (
        f"-o {output}: cannot be written: No space left on device; give another -o"
    )


# Files of weights


def weights(path: Path, **changes: np.ndarray | None) -> str:
    """Write an .npz file of an engine's arrays, some changed or left out; return the request that reads it."""
    good = {"weight": np.zeros((2, 2, 3, 3), np.int64), "bias": np.zeros(2, np.int64), "shift": np.zeros(2, np.int64)}
    np.savez(path, **{name: array for name, array in {**good, **changes}.items() if array is not None})
    return f"{ENGINE} weights={path}"


FILES = {
    "bias": (None, "--set weights={}: has no array bias; it holds weight, shift"),
    "shift": (np.array([1.5, 2]), "--set weights={}: shift must be whole numbers, int64 or less, not float64"),
    "weight": (
        np.full((2, 2, 3, 3), 128), "layer 'crosspoint-engine': weights 128..128 do not fit int8"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_arrays_that_are_missing_or_wrong_are_named(name: str, crosstile: Crosstile, tmp_path: Path) -> None:
    array, message = FILES[name]
    path = tmp_path / "w.npz"
    request = weights(path, **{name: array})
    assert refusal(crosstile, tmp_path, *arguments(request, tmp_path / "e.v")) == message.format(path)


def test_arrays_of_another_shape_are_named(crosstile: Crosstile, tmp_path: Path) -> None:
    request = weights(tmp_path / "w.npz", weight=np.zeros((2, 2, 3), np.int64))
    assert refusal(crosstile, tmp_path, *arguments(request, tmp_path / "e.v")) == (
        "layer 'crosspoint-engine': weight must be int64 of shape (2, 2, 3, 3), not int64 of (2, 2, 3)"
    )


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half of one"])
def test_a_file_that_is_no_archive_is_named(content: bytes, crosstile: Crosstile, tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    path.write_bytes(content)
    said = refusal(crosstile, tmp_path, *arguments(f"{ENGINE} weights={path}", tmp_path / "e.v"))
    assert said == f"--set weights={path}: not an .npz file of numbers"


def test_a_file_that_is_not_there_is_named(crosstile: Crosstile, tmp_path: Path) -> None:
    path = tmp_path / "none.npz"
    said = refusal(crosstile, tmp_path, *arguments(f"{ENGINE} weights={path}", tmp_path / "e.v"))
    assert said == f"--set weights={path}: no such file"
