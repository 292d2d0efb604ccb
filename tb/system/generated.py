"""Requests of every building block, small, and the Verilog that `crosstile generate` makes of them."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from crosstile_cli.main import main

IMAGE = "channels=2 filters=2 size=5x6 kernel=3"
REQUESTS = {
    "engine_1d": "crosspoint-engine channels=2 filters=4 size=12 kernel=3 stride=2 padding=1:0 multipliers=4",
    "engine_2d": f"crosspoint-engine {IMAGE} padding=1 fold=3x3x1x1",
    "engine_3d": "crosspoint-engine channels=2 filters=2 size=3x4x4 kernel=2 signed_output=yes activation=none",
    "engine_buffered": f"crosspoint-engine {IMAGE} dilation=2x1 architecture=buffered depth=3",
    "engine_depthwise": "crosspoint-engine channels=4 filters=4 groups=4 size=4x4 kernel=3 activation=leaky:3",
    "engine_stream": f"crosspoint-engine {IMAGE} padding=1x1:0x1 ports=stream fold=3x3x2x2x1 weight_bits=4",
    "engine_stored": f"crosspoint-engine {IMAGE} ports=stream steering=stored multipliers=9",
    "engine_external": f"crosspoint-engine {IMAGE} padding=1 ports=stream steering=external fold=3x3x1x1",
    "engine_loadable": f"crosspoint-engine {IMAGE} weights=loadable fold=3x3x1x1",
    "engine_loadable_stream": f"crosspoint-engine {IMAGE} weights=loadable fold=1x3x2x1 ports=stream weight_bits=5",
    "winograd_1d": "winograd-engine channels=2 filters=4 size=12 kernel=4 padding=2:1 stored=raw multipliers=8",
    "winograd_2d": f"winograd-engine {IMAGE} padding=1 signed_input=yes weight_bits=5",
    "winograd_3d": "winograd-engine channels=1 filters=2 size=4x4x5 kernel=3x3x2 signed_output=yes activation=none",
    "winograd_depthwise": "winograd-engine channels=4 filters=4 groups=4 size=6x6 kernel=3 stride=2 fold=1x1x2x2",
    "reuse_1d": "reuse-engine channels=2 filters=4 size=12 kernel=3 stride=2 padding=1:0 window=5 frames=1 latency=1",
    "reuse_2d": f"reuse-engine {IMAGE} padding=1 signed_input=yes weight_bits=5 fold=2x1",
    "reuse_window": f"reuse-engine {IMAGE} padding=1 window=5 multipliers=18 depth=3",
    "reuse_levels": f"reuse-engine {IMAGE} padding=1 window=4x3 multipliers=18 latency=1",
    "reuse_3d": "reuse-engine channels=1 filters=2 size=3x4x4 kernel=2 signed_output=yes activation=none",
    "reuse_memory": f"reuse-engine {IMAGE} padding=1 ports=memory window=5x6 halo=no",
    "output_controller": "output-controller columns=3 integrators=4 sum_bits=9",
    "mode_computed": "mode-source kind=computed rows=5 kernel=3 padding=1",
    "mode_stored": "mode-source kind=stored rows=5 kernel=3 padding=1:0 integrators=4",
    "line_buffer": "line-buffer channels=4 lanes=4 run=2 size=5x3 kernel=3 dilation=1 stride=2 padding=1",
    "max_pool": "pool kind=max channels=4 lanes=2 size=6x7 window=3x2 stride=2 padding=1 signed=yes",
    "average_pool": "pool kind=average channels=2 lanes=2 size=4x6 window=2 rows_per_beat=2",
    "sum_pool": "pool kind=sum channels=1 size=9 window=3 stride=1 activation_bits=5",
    "pulse_sender": "pulse-sender activation_bits=4 signed=yes lanes=3",
    "pulse_receiver": "pulse-receiver activation_bits=4 signed=yes lanes=3 depth=2",
    "multiplier": "multiplier a_bits=7 b_bits=5",
    "requantise": "requantise filters=6 lanes=3 total_bits=14 activation=leaky:2 signed_output=yes output_bits=6",
    "weight_transform": "weight-transform kernel=3/2x3",
    "weight_transform_3d": "weight-transform kernel=3/2/1 dimensions=3 weight_bits=4 symmetric=yes pipeline=adder",
    "activation_transform": "activation-transform kernel=2/1x3",
    "activation_transform_gates": "activation-transform kernel=3 activation_bits=4 signed=yes pipeline=none",
    "partial_sum_transform": "partial-sum-transform kernel=3/2/1x3 sum_bits=12 output_bits=13",
    "winograd_array": "winograd-array activation_bits=4 weight_bits=4 channels=3",
    "winograd_array_1d": "winograd-array dimensions=1 activation_bits=2 signed=yes weight_bits=2 channels=2",
    "winograd_array_fixed": "winograd-array dimensions=3 activation_bits=3 weight_bits=3 channels=1 output_bits=7",
    "partial_sum_transform_3d": "partial-sum-transform kernel=3x2x1 sum_bits=9 pipeline=adder",
}


@dataclass(frozen=True)
class Generated:
    """A generated file, and what the command said of it."""

    path: Path
    record: dict[str, Any]

    @property
    def text(self) -> str:
        return self.path.read_text()


def arguments(request: str, output: Path, *more: object) -> list[object]:
    """Return the command's arguments for a request: the block's name, then key=value."""
    block, *settings = request.split()
    return ["generate", block, *(part for setting in settings for part in ("--set", setting)), "-o", output, *more]


def generate(request: str, output: Path, *more: object) -> Generated:
    """Run the command, where there is no test whose output could be captured."""
    out = io.StringIO()
    with redirect_stdout(out), pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments(request, output, "--json", *more)])
    assert end.value.code == 0, out.getvalue()
    return Generated(output, json.loads(out.getvalue()))
