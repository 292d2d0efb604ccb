# amaranth: UnusedElaboratable=no
"""A whole network with a pool and a residual takes on another training, in Icarus and in Verilator."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cocotb_runs import SIMULATORS, Verdict, run_benches
from crosstile.accelerator import Accelerator, lane_bits
from crosstile.load_map import image
from crosstile.mapper import Options, map_network
from crosstile.network_plan import NetworkPlan
from crosstile.verilog import emit
from crosstile_golden.numbers import Integers
from designs import pack
from mutations import replace
from trainings import pooled

TOP, FRAMES = "loaded", 2
SEEDS = {"first": 1, "second": 50}
TESTS = [
    "starts_with_its_own_training", "keeps_its_training_over_a_reset_in_mid_frame", "tells_what_it_is",
    "forgets_a_load_that_went_wrong", *(f"loads_another_training_and_back/stall={stall}" for stall in ("none", "both")),
]  # fmt: skip


def plan(seed: int) -> NetworkPlan:
    return map_network(pooled(seed), 30, None, Options(loadable=True))


def frames(seed: int) -> Integers:
    return np.random.default_rng(seed).integers(0, 256, (FRAMES, 2, 6, 6))


def record() -> dict[str, object]:
    """Return the case that the bench reads: both trainings' frames are the same, their results are not."""
    built = plan(SEEDS["first"])
    load_map = built.load_map
    assert load_map is not None
    given = frames(3)
    beats = pack(given, built.lanes_in, lane_bits(built.input_format))
    trainings = {
        name: {
            "image": image(load_map.plans, pooled(seed)), "input": beats,
            "output": pack(pooled(seed).run(given), built.lanes_out, lane_bits(built.output_format)),
        }
        for name, seed in SEEDS.items()
    }
    return {
        "map": load_map.record, "trainings": trainings, "beats_in": built.beats_in, "beats_out": built.beats_out,
        "watchdog": 4 * built.timing(FRAMES).cycles + 200,
    }


def verilog() -> str:
    return emit(Accelerator(plan(SEEDS["first"])), TOP)


def run(simulator: str, folder: Path, text: str, only: str | None = None) -> dict[str, Verdict]:
    """Run the benches on a design; the case is that of the intact one."""
    (folder / "cases.json").write_text(json.dumps(record()))
    (folder / "loaded.v").write_text(text)
    cases = folder / "cases.json"
    return run_benches(simulator, [folder / "loaded.v"], TOP, cases, "loaded_network_bench", only)


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_a_loaded_network_equals_golden(simulator: str, tmp_path: Path) -> None:
    verdicts = run(simulator, tmp_path, verilog())
    assert {name: verdict.failure for name, verdict in verdicts.items()} == dict.fromkeys(TESTS)


def test_the_two_trainings_differ_in_every_frame() -> None:
    one, other = (pooled(seed).run(frames(3)) for seed in SEEDS.values())
    assert (one != other).mean() > 0.9
    assert len(np.unique(one)) > 20
    assert len(np.unique(other)) > 20


def within(module: str, pattern: str, replacement: str) -> Callable[[str], str]:
    """Return an edit of the one module of that name, a regular expression."""

    def edit(text: str) -> str:
        (name,) = re.findall(rf"^module \\({TOP}\.{module}) \(", text, re.MULTILINE)
        return replace(text, name, pattern, replacement)

    return edit


FAULTS = {
    "weights of one layer that are never written": (
        within(r"stage_1\.array\.weights", r"assign enable_0 = [^;]*;", "assign enable_0 = 1'b0;"),
        r"second: beat \d+ is 0x\w+, golden says 0x\w+",
    ),
    "constants behind the residual that are never written": (
        within(r"stage_6\.\S+\.constants", r"assign enable_0 = [^;]*;", "assign enable_0 = 1'b0;"),
        r"second: beat \d+ is 0x\w+, golden says 0x\w+",
    ),
    "a port that never answers": (
        within("weight_port", r"(s_axil_bvalid <= )[^;]*;", r"\g<1>1'h0;"),
        r"write to 0x\w+ was not answered within \d+ cycles",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_named(name: str, tmp_path: Path) -> None:
    edit, message = FAULTS[name]
    bench = "loads_another_training_and_back/stall=none"
    failure = run("icarus", tmp_path, edit(verilog()), f"{re.escape(bench)}$")[bench].failure
    assert failure is not None, "the bench passed on a broken design"
    assert re.fullmatch(message, failure)
