"""Compiled runs see what a design does, cycle by cycle, and see through designs that are wrong."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from crosstile_cli import toolchain
from crosstile_cli.simulators import IDLE_CYCLES, SimulationResult, StallPattern, icarus, verilator
from crosstile_golden.errors import CrosstileError
from stream_designs import NARROWER, WIRE, WIRE_BYTES, Defect

SIMULATORS = {"verilator": verilator.simulate, "icarus": icarus.simulate}
STALLS = {
    "no stalls": StallPattern(),
    "source stalls": StallPattern(source=0.4, seed=1),
    "sink stalls": StallPattern(sink=0.6, seed=2),
    "both stall": StallPattern(0.5, 0.5, seed=3),
}
FRAMES, BEATS = 3, 8
HANDSHAKES = ("input_cycles", "output_cycles", "output_beats", "output_last")

Run = Callable[..., SimulationResult]


def beats_of(defect: Defect, beats: int = FRAMES * BEATS) -> np.ndarray:
    data = np.random.default_rng(7).integers(0, 256, (beats, 2), dtype=np.uint8)
    data[0, 0] = data[0, 0] & 0xF0 | defect
    return data


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose path holds spaces, with the designs in it."""
    path = tmp_path_factory.mktemp("a project folder")
    (path / "narrower.v").write_text(NARROWER)
    (path / "wide_wire.v").write_text(WIRE)
    return path


@pytest.fixture(params=SIMULATORS)
def narrower(request: pytest.FixtureRequest, folder: Path) -> Run:
    def run(
        defect: Defect = Defect.NONE, stall: StallPattern = STALLS["no stalls"], **changes: object
    ) -> SimulationResult:
        given = beats_of(defect)
        call = {
            "verilog": folder / "narrower.v", "top": "narrower", "input_beats": given, "frames": FRAMES,
            "output_beats_expected": 2 * len(given), "stall": stall, "waves": None,
            "work": folder / "narrower work", "watchdog_cycles": 100,
        }  # fmt: skip
        return SIMULATORS[request.param](**call | changes)

    return run


@pytest.mark.parametrize("stall", STALLS.values(), ids=STALLS)
def test_every_beat_arrives_once_and_nothing_is_left_over(narrower: Run, stall: StallPattern) -> None:
    result = narrower(stall=stall)
    assert result.problems() == ()
    assert np.array_equal(result.output_beats.ravel(), beats_of(Defect.NONE).ravel())
    assert len(result.input_cycles) == FRAMES * BEATS
    assert result.extra_beats == 0
    assert not result.timed_out
    assert np.flatnonzero(result.output_last).tolist() == [15, 31, 47]


def test_cycles_count_from_the_first_edge_after_reset(narrower: Run) -> None:
    result = narrower()
    assert result.input_cycles.tolist() == list(range(0, 48, 2))
    assert result.output_cycles.tolist() == list(range(1, 49))
    assert (result.first_input_cycle, result.last_output_cycle) == (0, 48)
    assert result.cycles_run == 49 + IDLE_CYCLES


@pytest.mark.parametrize("stall", STALLS.values(), ids=STALLS)
@pytest.mark.parametrize("defect", Defect)
def test_both_simulators_agree_cycle_for_cycle(folder: Path, defect: Defect, stall: StallPattern) -> None:
    given = beats_of(defect)
    ours, theirs = (
        simulate(
            folder / "narrower.v", "narrower", given, FRAMES, 2 * len(given), stall, None,
            folder / "narrower work", 100,
        )
        for simulate in SIMULATORS.values()
    )  # fmt: skip
    for name in HANDSHAKES:
        assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
    assert ours.problems() == theirs.problems()
    assert ours.cycles_run == theirs.cycles_run


def test_a_dead_design_times_out(narrower: Run) -> None:
    result = narrower(Defect.DEAD)
    assert result.timed_out
    assert result.cycles_run == 101
    assert result.last_output_cycle is None
    assert result.problems() == (
        "timed out: no beat moved for 100 cycles",
        "0 of 48 output beats came",
        "1 of 24 input beats were taken",
    )


def test_a_dropped_beat_is_missed(narrower: Run) -> None:
    result = narrower(Defect.DROPS_A_BEAT)
    assert result.timed_out
    assert result.problems()[:2] == ("timed out: no beat moved for 100 cycles", "47 of 48 output beats came")


def test_a_repeated_beat_is_extra(narrower: Run) -> None:
    result = narrower(Defect.REPEATS_A_BEAT)
    assert not result.timed_out
    assert result.extra_beats == 1
    assert result.problems()[0] == "1 output beats came after the expected 48"


def test_a_missing_last_is_named(narrower: Run) -> None:
    assert narrower(Defect.NO_LAST).problems() == ("m_axis_tlast is wrong at output beat 15",)


def test_inputs_left_behind_are_counted(narrower: Run) -> None:
    problems = narrower(Defect.STOPS_TAKING).problems()
    assert "3 of 24 input beats were taken" in problems
    assert f"{IDLE_CYCLES} output beats came after the expected 48" in problems


@pytest.mark.parametrize(
    "defect, complaint",
    [
        (Defect.DATA_CHANGES_UNDER_STALL, "m_axis_tdata changed before m_axis_tready took the beat"),
        (Defect.VALID_FALLS_UNDER_STALL, "m_axis_tvalid fell before m_axis_tready took the beat"),
        (Defect.LAST_CHANGES_UNDER_STALL, "m_axis_tlast changed before m_axis_tready took the beat"),
    ],
)
def test_an_offer_that_changes_is_a_protocol_error(narrower: Run, defect: Defect, complaint: str) -> None:
    assert narrower(defect).protocol_errors == ()
    errors = narrower(defect, STALLS["sink stalls"]).protocol_errors
    assert errors
    assert all(re.fullmatch(rf"cycle \d+: {complaint}", error) for error in errors)


def test_undefined_outputs_are_reported(folder: Path) -> None:
    design = NARROWER.replace("data <= s_axis_tdata;", "")
    (folder / "undefined.v").write_text(design)
    result = icarus.simulate(
        folder / "undefined.v", "narrower", beats_of(Defect.NONE), FRAMES, 48, StallPattern(), None,
        folder / "undefined work", 100,
    )  # fmt: skip
    assert len(result.protocol_errors) == 48
    assert result.protocol_errors[0] == "cycle 1: m_axis_tdata or m_axis_tlast of a beat holds undefined bits"


def xorshift(state: int, count: int) -> list[int]:
    words = []
    for _ in range(count):
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        words.append(state)
    return words


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize("stall", STALLS.values(), ids=STALLS)
def test_stalls_fall_where_the_generators_say(folder: Path, simulator: str, stall: StallPattern) -> None:
    given = np.random.default_rng(9).integers(0, 256, (40, WIRE_BYTES), dtype=np.uint8)
    result = SIMULATORS[simulator](
        folder / "wide_wire.v", "wide_wire", given, 2, 40, stall, None, folder / "wire work", 100
    )
    offering, moved = False, []
    words = zip(*(xorshift(state, 1000) for state in stall.states), strict=True)
    for cycle, (source, sink) in enumerate(words):
        offering = offering or source >= int(stall.source * 2**32)
        if offering and sink >= int(stall.sink * 2**32):
            moved.append(cycle)
            offering = False
    assert result.problems() == ()
    assert result.input_cycles.tolist() == result.output_cycles.tolist() == moved[:40]
    assert np.array_equal(result.output_beats, given)


@pytest.mark.parametrize("simulator, suffix", [("verilator", "vcd"), ("icarus", "vcd"), ("icarus", "fst")])
def test_waves_hold_the_design(folder: Path, tmp_path: Path, simulator: str, suffix: str) -> None:
    given = np.zeros((4, WIRE_BYTES), dtype=np.uint8)
    waves = tmp_path / f"some waves.{suffix}"
    SIMULATORS[simulator](
        folder / "wide_wire.v", "wide_wire", given, 1, 4, StallPattern(), waves, tmp_path / "work", 100
    )
    assert waves.stat().st_size > 500
    if suffix == "vcd":
        assert re.search(r"\$var wire\s+1 \S+ m_axis_tready \$end", waves.read_text())


def test_the_build_is_used_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = (folder / "wide_wire.v", "wide_wire", np.zeros((4, WIRE_BYTES), dtype=np.uint8), 1, 4)
    verilator.simulate(*call, StallPattern(), None, folder / "wire work", 100)
    monkeypatch.setattr(verilator, "_compile", None)
    again = verilator.simulate(*call, StallPattern(0.5, 0.5, 4), None, folder / "wire work", 100)
    assert again.problems() == ()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"frames": 5}, "input beats must be a multiple of the frames, 5, both 1 or more, not 24"),
        ({"output_beats_expected": 0}, "output beats must be a multiple of the frames, 3, both 1 or more, not 0"),
        ({"input_beats": np.zeros((24, 3), np.uint8)}, "input_beats must be uint8 (beats, 2), not uint8 (24, 3)"),
        ({"input_beats": np.zeros((24, 2), np.int8)}, "input_beats must be uint8 (beats, 2), not int8 (24, 2)"),
        ({"watchdog_cycles": 0}, "watchdog_cycles must be 1 or more, not 0"),
        ({"waves": Path("absent/x.vcd")}, "absent, the folder for the waves, is missing; make it first"),
        ({"waves": Path("x.lxt")}, "waves must end in .vcd or .fst, not 'x.lxt'"),
    ],
)
def test_a_wrong_request_is_refused(narrower: Run, changes: dict[str, object], message: str) -> None:
    with pytest.raises(CrosstileError, match=f"^{re.escape(message)}$"):
        narrower(**changes)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("module narrower(", "module wider(", "{file} has no module narrower; compile the design again"),
        ("[7:0] m_axis_tdata", "[8:0] m_axis_tdata",
         "m_axis_tdata of module narrower in {file} must be a multiple of 8 bits, not 9"),
        ("input rst", "input [1:0] rst", "rst of module narrower in {file} must be 1 bit, not 2"),
        ("output s_axis_tready", "input s_axis_tready",
         "module narrower in {file} has no output s_axis_tready; it needs clk, rst, s_axis_tdata, s_axis_tvalid, "
         "s_axis_tlast, s_axis_tready, m_axis_tdata, m_axis_tvalid, m_axis_tlast, m_axis_tready"),
    ],
)  # fmt: skip
def test_a_design_with_other_ports_is_refused(
    narrower: Run, tmp_path: Path, old: str, new: str, message: str
) -> None:
    other = tmp_path / "other.v"
    other.write_text(NARROWER.replace(old, new))
    with pytest.raises(CrosstileError, match=f"^{re.escape(message.format(file=other))}$"):
        narrower(verilog=other)


def test_broken_verilog_is_refused_with_the_line_and_the_log(narrower: Run, tmp_path: Path) -> None:
    broken = tmp_path / "broken.v"
    broken.write_text(NARROWER.replace("reg [1:0] left;", "reg [1:0] left"))
    with pytest.raises(CrosstileError, match=r"^(verilator|iverilog) failed: .*; its log is .*\.log$"):
        narrower(verilog=broken, work=tmp_path / "work")


@pytest.mark.parametrize("probability", [-0.1, 1.0])
def test_a_stall_that_never_or_less_than_never_ends_is_refused(probability: float) -> None:
    legal = f"stall probability must be from 0 to below 1, not {probability}"
    with pytest.raises(CrosstileError, match=f"^the sink's {re.escape(legal)}$"):
        StallPattern(0, probability)
    with pytest.raises(CrosstileError, match=r"^the stall seed must be 0 or more, not -1$"):
        StallPattern(seed=-1)


def test_a_missing_simulator_is_named_with_its_command(
    narrower: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = r"^(g\+\+|iverilog) is missing \(it is for .*\); install it with: sudo apt-get install -y \1$"
    with pytest.raises(CrosstileError, match=message):
        narrower(work=tmp_path)


def test_fst_waves_from_verilator_need_headers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = replace(toolchain._RECIPES["fst-headers"], locate=lambda: None)
    monkeypatch.setitem(toolchain._RECIPES, "fst-headers", hidden)
    given = np.zeros((4, WIRE_BYTES), dtype=np.uint8)
    message = (
        "fst-headers is missing (it is for waves in .fst from a compiled simulation; .vcd needs nothing); "
        "install it with: sudo apt-get install -y liblz4-dev zlib1g-dev"
    )
    with pytest.raises(CrosstileError, match=f"^{re.escape(message)}$"):
        verilator.simulate(
            folder / "wide_wire.v", "wide_wire", given, 1, 4, StallPattern(), tmp_path / "x.fst", tmp_path, 100
        )
