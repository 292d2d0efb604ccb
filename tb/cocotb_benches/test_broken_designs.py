"""A bench that passes on a broken design proves nothing: each fault here must be found, and by its own name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from cocotb_runs import Verdict, require_simulator, run_benches
from crosstile_golden.errors import CrosstileError
from designs import TOP, Case, write_sources
from mutations import add, flip_constant, module, replace, rewire
from networks import one_layer

Edit = Callable[[str, str], str]
OUTPUT_BITS = 16


@dataclass(frozen=True)
class Fault:
    """An edit of a design's Verilog (text, top module), the bench that must fail on it, and what it must say."""

    edit: Edit
    bench: str
    message: str


def output(port: str, lines: str, bits: int = 1) -> Edit:
    """Return the edit that drives an output port by `lines`, from `inner`, what would have driven it."""
    return lambda text, top: rewire(text, top, port, bits, lines)


def in_top(pattern: str, replacement: str) -> Edit:
    return lambda text, top: replace(text, top, pattern, replacement)


def late(text: str, top: str) -> str:
    """Take nothing in the first cycle after reset."""
    slow = rewire(text, top, "s_axis_tready", 1, "  assign s_axis_tready = inner & awake;")
    slow = replace(slow, top, r"(  reg odd)", r"  reg awake = 1'b0;\n\1")
    return add(slow, top, "  always @(posedge clk) awake <= ~rst;")


def wrong_constant(block: str) -> Edit:
    return lambda text, top: flip_constant(text, f"{top}.stage_0.{block}", 1)


WITHOUT_STALLS, SINK, PATIENT = (f"equals_golden/case={{}}/stall={stall}" for stall in ("none", "sink", "patient"))
LAST = r"(  always @\(posedge clk\)\s+m_axis_tlast <= )[^;]*;"
FAULTS = {
    "valid_stuck": Fault(
        output("m_axis_tvalid", "  assign m_axis_tvalid = 1'b0;"), WITHOUT_STALLS,
        r"no beat moved for \d+ cycles: \d+ of 96 beats went in, 0 of 96 came out",
    ),
    "wrong_shift": Fault(
        wrong_constant("requantise"), WITHOUT_STALLS, r"stage_0: beat \d+ is 0x\w+, golden says 0x\w+"
    ),
    "wrong_weight": Fault(
        wrong_constant("array"), WITHOUT_STALLS, r"stage_0: beat \d+ is 0x\w+, golden says 0x\w+"
    ),
    "dropped_row": Fault(
        in_top(r"\.push\(arrived\)", ".push(arrived & (input_beat[4:3] != 2'd1))"), WITHOUT_STALLS,
        r"no beat moved for \d+ cycles: 96 of 96 beats went in, \d+ of 96 came out",
    ),
    "repeated_beat": Fault(
        in_top(r"\.output__ready\(m_axis_tready\)", ".output__ready(m_axis_tready & output_beat[0])"),
        WITHOUT_STALLS, r"beat 96 came at cycle \d+, but 96 were expected",
    ),
    "stale_beat": Fault(
        output(
            "m_axis_tdata",
            f"  reg [{OUTPUT_BITS - 1}:0] previous = 0;\n"
            "  always @(posedge clk) if (m_axis_tvalid & m_axis_tready) previous <= inner;\n"
            "  assign m_axis_tdata = output_beat == 9 ? previous : inner;",
            OUTPUT_BITS,
        ),
        WITHOUT_STALLS, r"output: beat 9 is 0x\w+, golden says 0x\w+",
    ),
    "last_never": Fault(in_top(LAST, r"\g<1>1'b0;"), WITHOUT_STALLS, "m_axis_tlast of beat 31 is 0, not 1"),
    "last_always": Fault(in_top(LAST, r"\g<1>1'b1;"), WITHOUT_STALLS, "m_axis_tlast of beat 0 is 1, not 0"),
    "undefined": Fault(
        output("m_axis_tdata", "  assign m_axis_tdata = {inner[15:1], 1'bx};", OUTPUT_BITS), WITHOUT_STALLS,
        r"m_axis_tdata of beat 0 is undefined: [01]{15}X",
    ),
    "restless": Fault(
        output("m_axis_tdata", "  assign m_axis_tdata = inner ^ odd;", OUTPUT_BITS), SINK,
        r"m_axis_tdata or m_axis_tlast of beat \d+ changed at cycle \d+, before it was taken",
    ),
    "fickle": Fault(
        output("m_axis_tvalid", "  assign m_axis_tvalid = inner & (odd | m_axis_tready);"), SINK,
        r"m_axis_tvalid of beat \d+ fell at cycle \d+, before it was taken",
    ),
    "waits_for_ready": Fault(
        output("m_axis_tvalid", "  assign m_axis_tvalid = inner & m_axis_tready;"), PATIENT,
        r"no beat moved for \d+ cycles: \d+ of 96 beats went in, 0 of 96 came out",
    ),
    "late": Fault(late, WITHOUT_STALLS, r"(\d+) cycles, but (\d+) were predicted"),
    "no_reset": Fault(
        lambda text, top: replace(
            text, f"{top}.stage_0", r"(  sequencer \([^;]*)\.rst\(rst\)", r"\1.rst(1'b0)"
        ),
        "recovers_from_reset/case={}", r"beat 96 came at cycle \d+, but 96 were expected",
    ),
    "error_stuck": Fault(
        in_top(r"(  always @\(posedge clk\)\s+frame_error <= )[^;]*;", r"\g<1>1'b0;"),
        "tells_a_misplaced_last/case={}", "frame_error stayed low for a misplaced s_axis_tlast",
    ),
    "error_always": Fault(
        in_top(r"(  always @\(posedge clk\)\s+frame_error <= )[^;]*;", r"\g<1>1'b1;"),
        WITHOUT_STALLS, r"frame_error rose, but every s_axis_tlast was right",
    ),
}  # fmt: skip

Verdicts = dict[str, Verdict]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """Run in Icarus, which knows undefined bits: each faulty design on its bench, an intact one on all."""
    folder = tmp_path_factory.mktemp("broken")
    cases = [Case(name, one_layer()) for name in ("intact", *FAULTS)]
    broken = {case.name: FAULTS[case.name].edit(case.verilog, f"{case.name}_design") for case in cases[1:]}
    for case in cases[1:]:
        assert broken[case.name] != case.verilog
    benches = [fault.bench.format(name) for name, fault in FAULTS.items()]
    wanted = "|".join(["case=intact.*", *map(re.escape, benches)])
    sources = write_sources(cases, folder, broken)
    return run_benches("icarus", sources, TOP, folder / "cases.json", only=f"({wanted})$")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_named(verdicts: Verdicts, name: str) -> None:
    fault = FAULTS[name]
    failure = verdicts[fault.bench.format(name)].failure
    assert failure is not None, "the bench passed on a broken design"
    assert re.fullmatch(fault.message, failure)


def test_the_intact_design_passes_every_bench(verdicts: Verdicts) -> None:
    intact = {test: verdict.failure for test, verdict in verdicts.items() if "case=intact" in test}
    assert set(intact.values()) == {None}
    assert {fault.bench.format("intact") for fault in FAULTS.values()} <= set(intact)


def test_a_mutation_that_changes_nothing_is_refused() -> None:
    case = Case("plain", one_layer())
    with pytest.raises(AssertionError, match=re.escape("no_such_port matches 0 places of plain_design")):
        replace(case.verilog, "plain_design", "no_such_port", "x")
    with pytest.raises(AssertionError, match="no module other"):
        module(case.verilog, "other")


@pytest.mark.parametrize(
    ("simulator", "tool", "command"),
    [
        ("icarus", "iverilog", "sudo apt-get install -y iverilog"),
        ("verilator", "g++", "sudo apt-get install -y g++"),
    ],
)
def test_a_missing_simulator_fails_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, simulator: str, tool: str, command: str
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CrosstileError, match=re.escape(f"install it with: {command}")) as error:
        require_simulator(simulator)
    assert str(error.value).startswith(f"{tool} is missing")
