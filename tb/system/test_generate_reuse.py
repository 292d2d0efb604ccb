"""The reuse engine as generated: its Verilog is golden between streams and before a memory, its figures its plan's."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pytest
from commands import Crosstile, refusal
from crosstile.reuse_layer_plan import ReuseLayerPlan
from crosstile_cli.blocks import BLOCKS
from crosstile_cli.blocks.layer import PARAMETERS_OF_LAYER
from crosstile_cli.blocks.parameters import read_settings
from crosstile_cli.blocks.reuse import ReuseRequest
from crosstile_cli.simulate_command import from_beats, to_beats, watchdog
from crosstile_cli.simulators import StallPattern, icarus
from crosstile_cli.toolchain import require
from crosstile_golden.numbers import Integers
from generated import IMAGE, REQUESTS, Generated, arguments, generate

FRAMES = 3
STREAMS = [name for name in REQUESTS if name.startswith("reuse") and "memory" not in name]
MEMORIES = {
    "as it comes": f"{IMAGE} padding=1",
    "a beat of two channels, read again": f"{IMAGE} padding=1 window=5x6 halo=no fold=2x1 latency=1",
    "the sliding window, read once": f"{IMAGE} padding=1 window=3 fold=1x2",
    "late words, one place": f"{IMAGE} stride=2 latency=4 depth=1",
}


def request_of(request: str) -> ReuseRequest:
    block, *settings = request.split()
    return ReuseRequest(**read_settings(block, BLOCKS[block].parameters, settings))


def frames_of(plan: ReuseLayerPlan) -> Integers:
    legal, geometry = plan.layer.input_format, plan.layer.geometry
    shape = FRAMES, geometry.in_channels, *geometry.input_size
    return np.random.default_rng(5).integers(legal.minimum, legal.maximum + 1, shape)


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("name", STREAMS)
def test_between_streams_it_is_golden_reads_and_cycles_as_its_header_says(
    name: str, stall: float, tmp_path: Path
) -> None:
    made, request = generate(REQUESTS[name], tmp_path / "r.v", "--name", "top"), request_of(REQUESTS[name])
    plan, figures = request.plan(), made.record["figures"]
    network, frames = request.network(plan), frames_of(plan)
    beats = to_beats(frames, network.lanes_in, 8)
    pattern = StallPattern(stall, stall, 1)
    result = icarus.simulate(made.path, "top", beats, FRAMES, FRAMES * network.beats_out, pattern, None, tmp_path,
                             watchdog(network, stall))  # fmt: skip
    assert result.problems() == ()
    np.testing.assert_array_equal(from_beats(result.output_beats, network), plan.layer.run(frames))
    assert result.activation_reads == FRAMES * figures["activation_reads_per_frame"]
    assert figures["cycles_per_frame"] == network.cycles_per_frame
    if not stall:
        assert result.last_output_cycle == network.timing(FRAMES).cycles - 1


BENCH = Template("""
module bench;
  reg clk = 0, rst = 1;
  reg [31:0] frame = 0, cycle = 0, given = 0, reads = 0, file;
  reg [$word:0] memory [0:$words * $frames - 1];
  reg [$word:0] late [0:$latency - 1];
  integer n;
  wire done, read, valid;
  wire [$address:0] address;
  wire [$payload:0] payload;
  top dut (.clk(clk), .rst(rst), .frame_ready(frame != $frames), .frame_done(done), .read(read), .address(address),
           .word(late[$latency - 1]), .reads(), .output__payload(payload), .output__valid(valid),
           .output__ready(1'b1));
  always @(posedge clk) begin
    for (n = 1; n < $latency; n = n + 1) late[n] <= late[n - 1];
    late[0] <= read ? memory[frame * $words + address] : 'bx;
    if (!rst) frame <= frame + done;
    if (!rst && read) reads <= reads + 1;
  end
  initial begin
    $$readmemh("memory.hex", memory);
    file = $$fopen("out.txt", "w");
    repeat (2) begin #5 clk = 1; #5 clk = 0; end
    rst = 0;
    while (given < $beats && cycle < $limit) begin
      #4;
      if (valid) begin $$fwrite(file, "%0d %h\\n", cycle, payload); given = given + 1; end
      #1 clk = 1; cycle = cycle + 1; #5 clk = 0;
    end
    $$fwrite(file, "reads %0d\\n", reads);
    $$fclose(file);
    $$finish;
  end
endmodule
""")


@pytest.mark.parametrize("name", MEMORIES)
def test_before_a_memory_it_is_golden_reads_and_cycles_as_its_header_says(name: str, tmp_path: Path) -> None:
    request = f"reuse-engine {MEMORIES[name]} ports=memory"
    made = generate(request, tmp_path / "r.v", "--name", "top")
    plan, figures = request_of(request).plan(), made.record["figures"]
    frames, bits = frames_of(plan), {port["name"]: port["bits"] for port in made.record["ports"]}
    words = to_beats(frames, plan.fold.channels, 8)
    (tmp_path / "memory.hex").write_text("\n".join(word[::-1].tobytes().hex() for word in words))
    beats = FRAMES * figures["beats_out_per_frame"]
    text = BENCH.substitute(
        word=bits["word"] - 1, words=figures["words_per_frame"], frames=FRAMES, latency=plan.latency,
        address=bits["address"] - 1, payload=bits["output__payload"] - 1, beats=beats,
        limit=(FRAMES + 2) * figures["cycles_per_frame"] + 100,
    )  # fmt: skip
    (tmp_path / "bench.v").write_text(text)
    compiler = [require("iverilog"), "-g2005", "-s", "bench", "-o", "bench.vvp", "bench.v", "r.v"]
    for command in (compiler, [require("vvp"), "-n", "bench.vvp"]):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    *rows, (_, reads) = [line.split() for line in (tmp_path / "out.txt").read_text().splitlines()]
    network = request_of(request).network(plan)
    given = np.array([list(bytes.fromhex(payload)[::-1]) for _, payload in rows], np.uint8)
    np.testing.assert_array_equal(from_beats(given, network), plan.layer.run(frames))
    assert int(reads) == FRAMES * plan.engine.activation_reads
    assert figures["activation_reads_per_frame"] == plan.engine.activation_reads * plan.fold.channels
    ends = [int(row[0]) for row in rows[figures["beats_out_per_frame"] - 1 :: figures["beats_out_per_frame"]]]
    assert np.diff(ends).tolist() == [figures["cycles_per_frame"]] * (FRAMES - 1)


def test_it_is_asked_for_a_layer_in_the_words_of_every_engine() -> None:
    assert BLOCKS["reuse-engine"].parameters[: len(PARAMETERS_OF_LAYER)] == PARAMETERS_OF_LAYER


@pytest.mark.parametrize("multipliers", [9, 35, 72])
def test_no_more_multipliers_are_taken_than_allowed(multipliers: int) -> None:
    plan = request_of(f"reuse-engine channels=4 filters=4 size=9x9 kernel=3 multipliers={multipliers}").plan()
    assert plan.multipliers == {9: 9, 35: 18, 72: 72}[multipliers]


def test_its_memory_is_its_plan_s_and_one_frame_takes_half(tmp_path: Path) -> None:
    figures: dict[int, Any] = {}
    for frames in (1, 2):
        request = f"reuse-engine {IMAGE} padding=1 frames={frames}"
        made: Generated = generate(request, tmp_path / f"{frames}.v")
        plan, figures[frames] = request_of(request).plan(), made.record["figures"]
        memory = ("frame_memory_bits", "integrator_memory_bits", "window_memory_bits")
        assert sum(figures[frames][name] for name in memory) == plan.memory_bits
        assert replace(plan, frames=3 - frames).memory_bits != plan.memory_bits
    assert figures[2]["frame_memory_bits"] == 2 * figures[1]["frame_memory_bits"] == 2 * 2 * 5 * 6 * 8


REFUSALS = {
    f"{IMAGE} window=2": "layer reuse-engine: window on spatial axis 0 must be from 3 to 5, not 2",
    f"{IMAGE} padding=1 window=3x2": "layer reuse-engine: window on spatial axis 1 must be from 3 to 8, not 2",
    f"{IMAGE} window=4x4x4": "--set window must have one entry, or 2 as size 5x6 has, not 4x4x4",
    f"{IMAGE} groups=2":
        "layer reuse-engine: groups must be 1 for the reuse engine, not 2; use the crosspoint engine",
    f"{IMAGE} fold=3x1": "layer reuse-engine: fold's channels must divide 2, not 3",
    f"{IMAGE} fold=2x1 multipliers=9":
        "--set multipliers=9 and fold=2x1, which has 18, do not agree; leave one out",
    f"{IMAGE} multipliers=8": "--set multipliers must be a whole number, 9 to 36 for this layer, not 8",
    f"{IMAGE} latency=0": "--set latency must be a whole number, 1 to 16, not '0'",
    f"{IMAGE} frames=3": "--set frames must be a whole number, 1 to 2, not '3'",
    f"{IMAGE} ports=stream": "--set ports must be axis or memory, not 'stream'",
    f"{IMAGE} weights=loadable":
        "--set weights must be random or a file .npz with weight, bias and shift, not 'loadable'",
}  # fmt: skip


@pytest.mark.parametrize("request_", REFUSALS)
def test_what_is_not_legal_is_refused_in_one_line(request_: str, crosstile: Crosstile, tmp_path: Path) -> None:
    told = refusal(crosstile, tmp_path, *arguments(f"reuse-engine {request_}", tmp_path / "r.v"))
    assert told == REFUSALS[request_]
