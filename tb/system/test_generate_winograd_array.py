"""The Winograd array as generated: its figures, what it is made of, and requests that cannot be met."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from commands import Crosstile, refusal
from crosstile_cli.blocks import BLOCKS
from crosstile_cli.synthesis import synthesize
from generated import arguments, generate

SMALL = "activation_bits=3 weight_bits=2 channels=2"
MODES = {"1": [1], "2": [2], "3": [3], "1+2": [1, 2], "1+3": [1, 3], "2+3": [2, 3], "1+2+3": [1, 2, 3]}


@pytest.mark.parametrize("dimensions", MODES)
def test_figures_and_ports_follow_the_dimensions(dimensions: str, tmp_path: Path) -> None:
    record = generate(f"winograd-array dimensions={dimensions} {SMALL}", tmp_path / "a.v").record
    figures, ports = record["figures"], {port["name"]: port["bits"] for port in record["ports"]}
    assert figures["multipliers"] == 64
    work = {key[-2]: value for key, value in figures.items() if key.startswith("multiply_accumulates")}
    assert work == {str(mode): {1: 96, 2: 144, 3: 216}[mode] for mode in MODES[dimensions]}
    assert figures["latency_cycles"] == 2 * max(MODES[dimensions]) + 3
    assert ("mode" in ports) == (len(MODES[dimensions]) > 1)
    assert ports["size_two"] == max(MODES[dimensions])
    places = {1: 4 * 4 * 3, 2: 4 * 3 * 3, 3: 27}[min(MODES[dimensions])]
    assert (ports["activations"], ports["weights"]) == (64 * 3, places * 2)


def test_one_channel_has_neither_first_nor_last(tmp_path: Path) -> None:
    record = generate("winograd-array dimensions=1 channels=1", tmp_path / "a.v").record
    assert [port["name"] for port in record["ports"]] == [
        "clk", "rst", "size_two", "valid", "activations", "weights", "outputs", "outputs_valid",
    ]  # fmt: skip
    assert record["figures"]["latency_cycles"] == 4


def test_defaults_serve_all_dimensions_of_eight_bits(tmp_path: Path) -> None:
    made = generate("winograd-array", tmp_path / "a.v")
    assert made.record["parameters"] == {
        "dimensions": "1+2+3", "activation_bits": "8", "signed": "no", "weight_bits": "8", "channels": "16",
        "output_bits": "auto", "pipeline": "axis",
    }  # fmt: skip
    assert len(re.findall(r"^  winograd_array_multiplier_\d+x\d+ ", made.text, re.MULTILINE)) == 64


def test_the_same_request_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = (generate(f"winograd-array {SMALL}", tmp_path / f"{name}.v", "--name", "dut") for name in "ab")
    assert one.path.read_bytes() == other.path.read_bytes()


def test_an_ecp5_takes_a_multiplier_block_per_multiplier_and_no_memory(tmp_path: Path) -> None:
    made = generate(f"winograd-array {SMALL}", tmp_path / "dut.v", "--name", "dut")
    result = synthesize(made.path, "dut", "ecp5", tmp_path)
    assert (result.dsps, result.brams, result.lutrams, result.other) == (64, 0, 0, {})
    assert result.ffs <= made.record["figures"]["register_bits"] + 2 * made.record["figures"]["sum_bits"] + 120


NAMES = ", ".join(parameter.name for parameter in BLOCKS["winograd-array"].parameters)
REFUSALS = {
    "winograd-array dimensions=2+1": "--set dimensions must be 1, 2, 3, 1+2, 1+3, 2+3 or 1+2+3, not '2+1'",
    "winograd-array dimensions=4": "--set dimensions must be 1, 2, 3, 1+2, 1+3, 2+3 or 1+2+3, not '4'",
    "winograd-array activation_bits=17": "--set activation_bits must be a whole number, 1 to 16, not '17'",
    "winograd-array weight_bits=1": "--set weight_bits must be a whole number, 2 to 16, not '1'",
    "winograd-array channels=0": "--set channels must be a whole number, 1 to 65536, not '0'",
    "winograd-array output_bits=65": "--set output_bits must be a whole number, 2 to 64, or auto, not '65'",
    "winograd-array pipeline=deep": "--set pipeline must be none, axis or adder, not 'deep'",
    "winograd-array kernel=3": f"--set kernel: block winograd-array has no such parameter; it has {NAMES}",
}


@pytest.mark.parametrize("request_", REFUSALS)
def test_a_request_that_cannot_be_met_is_refused_in_one_line(
    request_: str, crosstile: Crosstile, tmp_path: Path
) -> None:
    assert refusal(crosstile, tmp_path, *arguments(request_, tmp_path / "out.v")) == REFUSALS[request_]
