# amaranth: UnusedElaboratable=no
"""A training loaded through the weight port gives that training's golden results, in Icarus and in Verilator."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cocotb_runs import SIMULATORS, Verdict, run_benches
from crosstile.load_map import LoadMap, image
from crosstile.verilog import emit
from mutations import replace
from trainings import LoadedLayers, plans, training, vectors

TOP = "loaded"
STALLS = ("none", "address_late", "data_late", "responses_late", "all")
TESTS = [
    "starts_with_its_own_training", "keeps_its_training_over_a_reset", "refuses_every_address_that_holds_nothing",
    "refuses_to_read_memories", "refuses_parts_of_words", "writes_and_reads_at_once",
    *(f"loads_another_training/stall={stall}" for stall in STALLS),
    *(f"tells_what_it_is/stall={stall}" for stall in STALLS),
]  # fmt: skip
Verdicts = dict[str, Verdict]


def verilog() -> str:
    return emit(LoadedLayers(plans(training(1))), TOP)


def run(simulator: str, folder: Path, text: str, only: str | None = None) -> Verdicts:
    """Run the benches on a design; the cases are those of the intact one."""
    networks = {"first": training(1), "second": training(50)}
    layers = LoadedLayers(plans(networks["first"]))
    names = [name for name, member in layers.signature.members.items() if member.flow.name == "In"]
    case = {
        "map": LoadMap(layers.plans).record,
        "inputs": names,
        "images": {name: image(layers.plans, network) for name, network in networks.items()},
        "vectors": {name: vectors(network, 3) for name, network in networks.items()},
    }
    (folder / "cases.json").write_text(json.dumps(case))
    (folder / "loaded.v").write_text(text)
    return run_benches(simulator, [folder / "loaded.v"], TOP, folder / "cases.json", "weight_port_bench", only)


@pytest.fixture(scope="module", params=SIMULATORS)
def verdicts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    return run(request.param, tmp_path_factory.mktemp(f"loaded_{request.param}"), verilog())


def test_every_bench_of_the_weight_port_passes(verdicts: Verdicts) -> None:
    assert {name: verdict.failure for name, verdict in verdicts.items()} == dict.fromkeys(TESTS)


def test_two_trainings_differ_in_what_memories_start_with_and_in_nothing_else() -> None:
    one, other = (emit(LoadedLayers(plans(training(seed))), TOP) for seed in (1, 50))
    assert one != other
    assert masked(one) == masked(other)


def masked(text: str) -> str:
    """Return Verilog without the values that memories and registers start with."""
    starts = r"^(\s+(?:reg [^=;]+|\S+\[\d+\]) = )\d+'(?:h[0-9a-f]+|d\d+);$"
    return re.sub(starts, r"\1initial;", text, flags=re.MULTILINE)


def within(module: str, pattern: str, replacement: str) -> Callable[[str], str]:
    return lambda text: replace(text, f"{TOP}.{module}", pattern, replacement)


FAULTS = {
    "a word that is never written": (
        within("array_0.weights", r"assign enable_1 = [^;]*;", "assign enable_1 = 1'b0;"),
        "loads_another_training/stall=none", r"second: layer 0 group \d gives 0x\w+, golden says 0x\w+",
    ),
    "constants that are never written": (
        within("requantise_1.constants", r"assign enable_0 = [^;]*;", "assign enable_0 = 1'b0;"),
        "loads_another_training/stall=none", r"second: layer 1 group \d gives 0x\w+, golden says 0x\w+",
    ),
    "strobes that nobody looks at": (
        within("port", r"& s_axil_wstrb;", "| s_axil_wstrb;"),
        "refuses_parts_of_words", r"write of 1 bytes to 0x\w+ was answered by OKAY, not SLVERR",
    ),
    "a response that is always good": (
        within("port", r"(s_axil_bresp <= )[^;]*;", r"\g<1>2'h0;"),
        "refuses_every_address_that_holds_nothing", r"write to 0x0 was answered by OKAY, not SLVERR",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_named(name: str, tmp_path: Path) -> None:
    edit, bench, message = FAULTS[name]
    intact = verilog()
    broken = edit(intact)
    assert broken != intact
    failure = run("icarus", tmp_path, broken, f"{re.escape(bench)}$")[bench].failure
    assert failure is not None, "the bench passed on a broken design"
    assert re.fullmatch(message, failure)
