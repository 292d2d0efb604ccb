"""Emitted Verilog equals golden, in Icarus and in Verilator: random networks, and one with every kind of stage.

Each simulator compiles all designs once and runs all cocotb tests at once; the tests here read its verdicts.
CROSSTILE_SEED=N replays the random network of seed N alone.
"""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest
from cocotb_runs import SIMULATORS, Verdict, run_benches
from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.line_buffer_plan import LineBufferPlan
from crosstile.pool_plan import PoolPlan
from crosstile.stages import StreamPlan
from designs import TOP, Case, write_sources
from networks import every_stage, random_plan, seeds

RANDOM = {f"seed_{seed}": seed for seed in seeds()}
CASES = ("every_stage", *RANDOM)
STALLS = ("none", "source", "sink", "both", "patient")
Verdicts = dict[str, Verdict]


def cases() -> list[Case]:
    return [Case("every_stage", every_stage())] + [
        Case(name, random_plan(seed), seed) for name, seed in RANDOM.items()
    ]


@pytest.fixture(scope="session", params=SIMULATORS)
def verdicts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """Run everything in one simulator; processes that share the tests share the run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / f"networks_{request.param}"
    folder.mkdir(exist_ok=True)
    record = folder / "verdicts.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record.is_file():
            sources = write_sources(cases(), folder)
            found = run_benches(request.param, sources, TOP, folder / "cases.json")
            record.write_text(json.dumps({name: verdict.failure for name, verdict in found.items()}))
    return {name: Verdict(failure) for name, failure in json.loads(record.read_text()).items()}


def expect_pass(verdicts: Verdicts, test: str, case: str) -> None:
    replay = f"; replay with CROSSTILE_SEED={RANDOM[case]}" if case in RANDOM else ""
    failure = verdicts[test].failure
    assert failure is None, f"{test}: {failure}{replay}"


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("case", CASES)
def test_every_tensor_equals_golden_and_cycles_equal_the_prediction(
    verdicts: Verdicts, case: str, stall: str
) -> None:
    expect_pass(verdicts, f"equals_golden/case={case}/stall={stall}", case)


@pytest.mark.parametrize("case", CASES)
def test_a_reset_in_mid_frame_leaves_no_trace(verdicts: Verdicts, case: str) -> None:
    expect_pass(verdicts, f"recovers_from_reset/case={case}", case)


@pytest.mark.parametrize("case", CASES)
def test_frames_may_come_apart(verdicts: Verdicts, case: str) -> None:
    expect_pass(verdicts, f"frames_may_come_apart/case={case}", case)


@pytest.mark.parametrize("case", CASES)
def test_a_misplaced_last_is_told(verdicts: Verdicts, case: str) -> None:
    expect_pass(verdicts, f"tells_a_misplaced_last/case={case}", case)


def test_no_bench_went_without_a_verdict_here(verdicts: Verdicts) -> None:
    each = len(STALLS) + 3
    assert len(verdicts) == each * len(CASES)


def test_the_network_with_every_stage_has_every_kind_of_link() -> None:
    plan = every_stage()
    assert {type(stage.plan) for stage in plan.stages} >= {CrosspointPlan, LineBufferPlan, PoolPlan, StreamPlan}
    assert any(plan.split_of(stage.main, stage.plan.lanes_in) > 1 for stage in plan.stages)
    assert any(stage.plan.join > 1 for stage in plan.stages if isinstance(stage.plan, StreamPlan))


def test_a_seed_gives_the_same_network_again() -> None:
    seed = next(iter(RANDOM.values()))
    assert Case("case", random_plan(seed), seed).record() == Case("case", random_plan(seed), seed).record()


def test_a_case_is_what_golden_says_it_is(tmp_path: Path) -> None:
    case = Case("every_stage", every_stage())
    write_sources([case], tmp_path)
    (record,) = json.loads((tmp_path / "cases.json").read_text())
    assert len(record["input"]) == 3 * record["beats_in"]
    assert len(record["output"]) == 3 * record["beats_out"]
    layers = [index for index, stage in enumerate(every_stage().stages) if stage.layer is not None]
    assert list(record["stages"]) == [f"stage_{index}" for index in layers]
    assert len(layers) == 5
    assert len(set(record["output"])) > 5
