"""Mapped networks as cases for `network_bench`: their Verilog, their beats, and golden's answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from crosstile.accelerator import Accelerator, lane_bits
from crosstile.network_plan import NetworkPlan
from crosstile.verilog import emit
from crosstile_golden.numbers import Integers

FRAMES = 3
TOP = "bundle"
PORTS = (
    ("input", "clk"), ("input", "rst"),
    ("input", "s_axis_tvalid"), ("input", "s_axis_tlast"), ("output", "s_axis_tready"),
    ("output", "m_axis_tvalid"), ("output", "m_axis_tlast"), ("input", "m_axis_tready"),
    ("output", "frame_error"),
)  # fmt: skip


def pack(tensor: Integers, lanes: int, bits: int) -> list[int]:
    """Return (frames, channels, *spatial) as beats of `lanes` channels, `bits` each, the first one lowest.

    The order is frame, row, column, channel group.
    """
    pixels = np.moveaxis(tensor.reshape(*tensor.shape[:2], -1), 1, 2)
    mask = (1 << bits) - 1
    beats = pixels.reshape(-1, lanes).tolist()
    return [sum((value & mask) << (lane * bits) for lane, value in enumerate(beat)) for beat in beats]


@dataclass(frozen=True)
class Case:
    """A network as mapped, and the seed of its random frames; `name` is an identifier."""

    name: str
    plan: NetworkPlan
    seed: int = 0

    @cached_property
    def accelerator(self) -> Accelerator:
        return Accelerator(self.plan)

    @cached_property
    def frames(self) -> Integers:
        legal = self.plan.network.input_format
        shape = (FRAMES, *self.plan.network.frame_shape)
        return np.random.default_rng(self.seed).integers(legal.minimum, legal.maximum + 1, shape)

    @cached_property
    def verilog(self) -> str:
        return emit(self.accelerator, f"{self.name}_design")

    def record(self) -> dict[str, Any]:
        """Return the case as `network_bench` reads it."""
        plan, tensors = self.plan, self.plan.network.tensors(self.frames)
        names = [layer.name for layer in plan.network.layers]
        timing = plan.timing(FRAMES)
        return {
            "name": self.name,
            "input": pack(self.frames, plan.lanes_in, lane_bits(plan.input_format)),
            "beats_in": plan.beats_in,
            "output": pack(tensors[names[-1]], plan.lanes_out, lane_bits(plan.output_format)),
            "beats_out": plan.beats_out,
            "stages": {
                f"stage_{index}": pack(
                    tensors[names[stage.layer]], stage.plan.lanes_out, stage.plan.output_format.bits
                )
                for index, stage in enumerate(plan.stages) if stage.layer is not None
            },
            "predicted_cycles": timing.cycles,
            "watchdog": 4 * timing.cycles + 200,
        }

    def ports(self) -> dict[str, tuple[str, int]]:
        """Return the direction and the width of each port."""
        wide = {
            "s_axis_tdata": ("input", self.accelerator.input_bits),
            "m_axis_tdata": ("output", self.accelerator.output_bits),
        }
        return {name: (direction, 1) for direction, name in PORTS} | wide


def wrapper(cases: list[Case]) -> str:
    """Return a top level that holds every design side by side, so that one build serves them all.

    Each has a clock of its own: a design whose turn it is not costs no time.
    """
    declared, instances = [], []
    for case in cases:
        ports = case.ports()
        declared += [
            f"{way} [{bits - 1}:0] {case.name}_{port}" if bits > 1 else f"{way} {case.name}_{port}"
            for port, (way, bits) in ports.items()
        ]
        joined = ", ".join(f".{port}({case.name}_{port})" for port in ports)
        instances.append(f"  {case.name}_design {case.name} ({joined});")
    return "\n".join([f"module {TOP}(", "  " + ",\n  ".join(declared) + ");", *instances, "endmodule", ""])


def write_sources(cases: list[Case], folder: Path, verilog: dict[str, str] | None = None) -> list[Path]:
    """Write the Verilog of all cases, the wrapper and cases.json; return the Verilog files.

    verilog   text to use instead of a case's own, by its name
    """
    texts = {case.name: case.verilog for case in cases} | (verilog or {})
    sources = [folder / f"{name}.v" for name in (*texts, TOP)]
    for source, text in zip(sources, (*texts.values(), wrapper(cases)), strict=True):
        source.write_text(text)
    (folder / "cases.json").write_text(json.dumps([case.record() for case in cases]))
    return sources
