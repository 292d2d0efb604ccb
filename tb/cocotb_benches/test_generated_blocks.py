"""Generated blocks do what their headers say, in Icarus: golden's values, and the cycles that are promised."""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import blocks
import pytest
import transforms
import winograd_arrays
from blocks import Case, engine, image, layer_of, mode_program, mode_source, pulses
from cocotb_runs import Verdict, run_benches
from crosstile_cli.blocks import BLOCKS
from crosstile_golden.activation import NONE, Activation
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import NumberFormat

TOP = "bundle"
STALLS = ("none", "source", "sink", "both", "patient")
IMAGE = layer_of(2, 2, (5, 6), (3, 3), begin=1, end=1)
Maker = Callable[[str, Path], Case]


def engines() -> dict[str, Maker]:
    line = layer_of(2, 4, (12,), (3,), stride=2, activation=Activation("leaky", 3), writes=NumberFormat(8, signed=True))
    padded = layer_of(2, 4, (9,), (4,), begin=2, end=1)
    volume = layer_of(2, 2, (3, 4, 4), (2, 2, 2), activation=NONE, writes=NumberFormat(8, signed=True))
    external = "ports=stream steering=external fold=3x3x2x2"
    return {
        "engine_1d": lambda name, at: engine(name, at, padded, "multipliers=4"),
        "engine_2d": lambda name, at: engine(name, at, IMAGE, "fold=3x3x1x1"),
        "engine_2d_buffered": lambda name, at: engine(name, at, IMAGE, "architecture=buffered multipliers=9"),
        "engine_3d": lambda name, at: engine(
            name, at, volume, "activation=none signed_output=yes multipliers=8"
        ),
        "stream_1d": lambda name, at: engine(
            name, at, line, "ports=stream fold=1x3x2x4 activation=leaky:3 signed_output=yes", completes=2
        ),
        "stream_2d": lambda name, at: engine(name, at, IMAGE, "ports=stream fold=3x3x2x2", completes=7),
        "stream_shallow": lambda name, at: engine(name, at, IMAGE, "ports=stream fold=3x3x2x2 depth=2", completes=7),
        "stored": lambda name, at: engine(name, at, IMAGE, "steering=stored fold=3x3x1x2"),
        "computed": lambda name, at: engine(name, at, IMAGE, "steering=computed multipliers=18"),
        "external": lambda name, at: engine(
            name, at, IMAGE, external, completes=7, mode=lambda case: mode_program(case, (0, 1, 2))
        ),
        "external_other": lambda name, at: engine(
            name, at, IMAGE, external, completes=7, mode=lambda case: mode_program(case, (2, 0, 1))
        ),
        "loaded": lambda name, at: engine(
            name, at, IMAGE, "ports=stream weights=loadable fold=1x3x2x2", load=lambda case: image(case, IMAGE)
        ),
    }  # fmt: skip


def winograd(layer: ConvolutionLayer, settings: str) -> Maker:
    return lambda name, at: engine(name, at, layer, settings, block="winograd-engine")


def winograds() -> dict[str, Maker]:
    signed = NumberFormat(8, signed=True)
    line = layer_of(2, 4, (13,), (5,), stride=2, begin=2, end=1, activation=Activation("leaky", 3), writes=signed)
    spaced = layer_of(2, 2, (8, 7), (3, 2), begin=2, end=1, dilation=2)
    volume = layer_of(1, 2, (4, 4, 5), (3, 3, 2), activation=NONE, writes=signed)
    return {
        "winograd_1d": winograd(line, "multipliers=8 stored=raw activation=leaky:3 signed_output=yes"),
        "winograd_2d": winograd(IMAGE, "multipliers=16"),
        "winograd_shallow": winograd(IMAGE, "fold=2x1x1x2 depth=2"),
        "winograd_spaced": winograd(spaced, "fold=1x2"),
        "winograd_depthwise": winograd(layer_of(4, 4, (5, 6), (3, 3), begin=1, groups=4), "fold=1x1x2x2 stored=raw"),
        "winograd_3d": winograd(volume, "activation=none signed_output=yes"),
    }


def reuses() -> dict[str, Maker]:
    signed = NumberFormat(8, signed=True)
    line = layer_of(2, 4, (12,), (3,), stride=2, begin=1, activation=Activation("leaky", 3), writes=signed)
    volume = layer_of(1, 2, (3, 4, 4), (2, 2, 2), activation=NONE, writes=signed)

    def reuse(layer: ConvolutionLayer, settings: str) -> Maker:
        return lambda name, at: engine(name, at, layer, settings, block="reuse-engine")

    return {
        "reuse_1d": reuse(line, "window=5 frames=1 latency=1 activation=leaky:3 signed_output=yes"),
        "reuse_2d": reuse(IMAGE, "fold=2x1"),
        "reuse_window": reuse(IMAGE, "window=5 halo=no depth=3"),
        "reuse_3d": reuse(volume, "activation=none signed_output=yes latency=3"),
    }


def transform(role: str, kernel: str, settings: str) -> Maker:
    return lambda name, at: transforms.transform(name, at, role, kernel, settings)


STREAMS: dict[str, Maker] = engines() | winograds() | reuses() | {
    "max_pool": blocks.max_pool, "average_pool": blocks.average_pool, "sum_pool": blocks.sum_pool,
    "line_buffer": blocks.line_buffer,
}
VECTORS: dict[str, Maker] = {
    "output_controller": blocks.output_controller,
    "mode_computed": lambda name, at: mode_source(name, at, "computed"),
    "mode_stored": lambda name, at: mode_source(name, at, "stored"),
    "multiplier": blocks.multiplier, "requantiser": blocks.requantiser,
    "weight_transform": transform("weight", "3/2x3/2/1", "weight_bits=6"),
    "activation_transform": transform("activation", "2x3/1", "activation_bits=6 signed=yes pipeline=adder"),
    "partial_sum_transform": transform("partial-sum", "3/2/1x3/2", "sum_bits=6"),
    "partial_sum_transform_fixed": transform("partial-sum", "3x2x1", "sum_bits=6 output_bits=11 pipeline=adder"),
}
VECTORS |= {
    "array_3d_2d_1d": lambda name, at: winograd_arrays.array(name, at, (1, 2, 3), 3),
    "array_2d_1d": lambda name, at: winograd_arrays.array(name, at, (1, 2), 1),
    "array_3d": lambda name, at: winograd_arrays.array(name, at, (3,), 2),
}
LINKS: dict[str, Maker] = {
    "sender": lambda name, at: pulses(name, at, "sender", signed=False),
    "sender_signed": lambda name, at: pulses(name, at, "sender", signed=True),
    "receiver": lambda name, at: pulses(name, at, "receiver", signed=False),
    "receiver_signed": lambda name, at: pulses(name, at, "receiver", signed=True),
}


@dataclass(frozen=True)
class Fault:
    """A case whose ports are joined wrongly, or of whom too much is asked; a bench must fail, and say why."""

    case: str
    bench: str
    message: str
    joins: dict[str, str] = field(default_factory=dict)
    asks: Callable[[dict[str, Any]], dict[str, Any]] = lambda _bench: {}


def alone(bench: str, stall: str = "none") -> str:
    return f"{bench}/case={{}}/stall={stall}" if stall else f"{bench}/case={{}}"


GOLDEN = r"output: beat \d+ is 0x\w+, golden says 0x\w+"
FAULTS = {
    "wrong_bit": Fault("sum_pool", alone("equals_golden"), GOLDEN, {"input__payload": "{} ^ 5'd1"}),
    "always_ready": Fault("stream_2d", alone("equals_golden", "sink"), r".*", {"output__ready": "1'b1"}),
    "deaf_to_reset": Fault("max_pool", alone("recovers_from_reset", ""), r".*", {"rst": "1'b0"}),
    "late": Fault(
        "line_buffer", alone("equals_golden"), r"a latency of \d+ cycles, not \d+",
        asks=lambda bench: {"latency": bench["latency"] - 1},
    ),
    "slow": Fault(
        "engine_2d", alone("equals_golden"), r"a frame every \[\d+\] cycles, not \d+",
        asks=lambda bench: {"cycles_per_frame": bench["cycles_per_frame"] - 1},
    ),
    "winograd_wrong_bit": Fault(
        "winograd_2d", alone("equals_golden"), GOLDEN, {"s_axis_tdata": "{} ^ 8'd1"}
    ),
    "winograd_slow": Fault(
        "winograd_3d", alone("equals_golden"), r"a frame every \[\d+\] cycles, not \d+",
        asks=lambda bench: {"cycles_per_frame": bench["cycles_per_frame"] - 1},
    ),
    "reuse_wrong_bit": Fault("reuse_window", alone("equals_golden"), GOLDEN, {"s_axis_tdata": "{} ^ 8'd1"}),
    "reuse_slow": Fault(
        "reuse_3d", alone("equals_golden"), r"a frame every \[\d+\] cycles, not \d+",
        asks=lambda bench: {"cycles_per_frame": bench["cycles_per_frame"] - 1},
    ),
    "wrong_program": Fault(
        "external", alone("equals_golden"), GOLDEN, asks=lambda bench: {"mode": [*bench["mode"][1:], bench["mode"][0]]}
    ),
    "contested": Fault(
        "external", alone("equals_golden"), r"conflict rose at cycle \d+, but every mode word is legal",
        joins={"mode": "{} & ~14'h0db | 14'h124"},
    ),
    "wrong_sum": Fault(
        "output_controller", alone("follows_its_vectors", ""), r"contributions is 0x\w+ in cycle \d+, not 0x\w+",
        {"sums": "{} ^ 27'd1"},
    ),
    "wrong_switch": Fault(
        "partial_sum_transform", alone("follows_its_vectors", ""), r"outputs is 0x\w+ in cycle \d+, not 0x\w+",
        {"switch_word": "{} ^ 3'd1"},
    ),
    "wrong_mode": Fault(
        "array_3d_2d_1d", alone("follows_its_vectors", ""), r"outputs is 0x\w+ in cycle \d+, not 0x\w+",
        {"mode": "{} ^ 2'd1"},
    ),
    "hasty_sender": Fault(
        "sender", alone("sends_durations", "0.4"), r"a beat is taken in cycle \d+, in which ready is low",
        {"pulses__ready": "1'b1"},
    ),
    "wire_held": Fault("receiver", alone("receives_durations", "0.0"), GOLDEN, {"pulses__high": "{} | 3'd4"}),
}  # fmt: skip


def wrapper(cases: list[Case], joins: dict[str, tuple[str, dict[str, str]]]) -> str:
    """Return a top level that holds every design side by side; `joins` names for a case its design and its faults."""
    declared, instances = [], []
    for case in cases:
        design, wrong = joins.get(case.name, (f"{case.name}_design", {}))
        joined = []
        for port in case.record["ports"]:
            own = f"{case.name}_{port['name']}"
            declared.append(f"{port['direction']} [{port['bits'] - 1}:0] {own}")
            joined.append(f".{port['name']}({wrong.get(port['name'], '{}').format(own)})")
        instances.append(f"  {design} {case.name} ({', '.join(joined)});")
    return "\n".join([f"module {TOP}(", "  " + ",\n  ".join(declared) + ");", *instances, "endmodule", ""])


def write_sources(folder: Path) -> list[Path]:
    """Generate every case and its faulty kin; write Verilog, wrapper and cases.json."""
    cases = {name: make(name, folder) for name, make in (STREAMS | VECTORS | LINKS).items()}
    texts = {name: case.verilog for name, case in cases.items()}
    joins = {}
    for name, fault in FAULTS.items():
        kin = cases[fault.case]
        cases[name] = Case(name, kin.record, "", kin.bench | fault.asks(kin.bench))
        joins[name] = (f"{fault.case}_design", fault.joins)
    sources = [folder / f"{name}_source.v" for name in (*texts, TOP)]
    for source, text in zip(sources, (*texts.values(), wrapper(list(cases.values()), joins)), strict=True):
        source.write_text(text)
    records = [{"name": case.name, **case.bench} for case in cases.values()]
    (folder / "cases.json").write_text(json.dumps(records))
    return sources


@pytest.fixture(scope="session")
def verdicts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    """Run everything once in Icarus; processes that share the tests share the run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "generated_blocks"
    folder.mkdir(exist_ok=True)
    record = folder / "verdicts.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record.is_file():
            sound = [alone(bench, stall).format(name) for bench, stall, name in benches()]
            wanted = [*sound, *(fault.bench.format(name) for name, fault in FAULTS.items())]
            only = f"({'|'.join(map(re.escape, wanted))})$"
            found = run_benches(
                "icarus", write_sources(folder), TOP, folder / "cases.json", "block_bench", only
            )
            record.write_text(json.dumps({name: verdict.failure for name, verdict in found.items()}))
    return {name: Verdict(failure) for name, failure in json.loads(record.read_text()).items()}


def benches() -> list[tuple[str, str, str]]:
    """Return every bench, its stalls and its case, for what is sound."""
    streams = [("equals_golden", stall, name) for name in STREAMS for stall in STALLS]
    resets = [("recovers_from_reset", "", name) for name in STREAMS]
    vectors = [("follows_its_vectors", "", name) for name in VECTORS]
    senders = [("sends_durations", stall, name) for name in LINKS if "send" in name for stall in ("0.0", "0.4")]
    receivers = [("receives_durations", stall, name) for name in LINKS if "rece" in name for stall in ("0.0", "0.5")]
    return streams + resets + vectors + senders + receivers


@pytest.mark.parametrize(("bench", "stall", "case"), benches())
def test_a_block_does_what_its_header_says(verdicts: dict[str, Verdict], bench: str, stall: str, case: str) -> None:
    assert verdicts[alone(bench, stall).format(case)].failure is None


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_named(verdicts: dict[str, Verdict], name: str) -> None:
    failure = verdicts[FAULTS[name].bench.format(name)].failure
    assert failure is not None, "the bench passed on a broken design"
    assert re.fullmatch(FAULTS[name].message, failure)


def test_every_block_is_proved() -> None:
    assert set(BLOCKS) == {
        "crosspoint-engine", "winograd-engine", "reuse-engine", "output-controller", "mode-source", "line-buffer",
        "pool", "pulse-sender", "pulse-receiver", "multiplier", "requantise", "weight-transform",
        "activation-transform", "partial-sum-transform", "winograd-array",
    }  # fmt: skip
