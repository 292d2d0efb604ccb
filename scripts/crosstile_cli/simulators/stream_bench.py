"""The bench that every simulator shares: checks the request, knows the ports, and reads what a run left."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from crosstile_golden.errors import CrosstileError
from numpy.typing import NDArray

from . import (
    ANSWER_CYCLES,
    ANSWERS,
    IDLE_CYCLES,
    NO_ANSWER,
    RESET_CYCLES,
    UNDEFINED_ANSWER,
    Bytes,
    Cycles,
    SimulationResult,
    StallPattern,
    Words,
)

ERROR_LIMIT = 100
WAVE_SUFFIXES = (".vcd", ".fst")

_WIDE_INPUT, _WIDE_OUTPUT = "s_axis_tdata", "m_axis_tdata"
_PORTS = {
    "clk": "input", "rst": "input",
    "s_axis_tdata": "input", "s_axis_tvalid": "input", "s_axis_tlast": "input", "s_axis_tready": "output",
    "m_axis_tdata": "output", "m_axis_tvalid": "output", "m_axis_tlast": "output", "m_axis_tready": "input",
}  # fmt: skip
_PROTOCOL = {
    "dropped": "m_axis_tvalid fell before m_axis_tready took the beat",
    "data": "m_axis_tdata changed before m_axis_tready took the beat",
    "last": "m_axis_tlast changed before m_axis_tready took the beat",
    "unknown": "m_axis_tvalid or s_axis_tready is neither 0 nor 1",
    "undefined": "m_axis_tdata or m_axis_tlast of a beat holds undefined bits",
}
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parents[1] / "templates"),
    undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    autoescape=False,
)  # fmt: skip


def _module_text(verilog: Path, top: str) -> str:
    try:
        text = verilog.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CrosstileError(f"{verilog} cannot be read as Verilog: {error}") from error
    pattern = rf"^\s*module\s+{re.escape(top)}\b(.*?)\bendmodule\b"
    module = re.search(pattern, text, re.DOTALL | re.MULTILINE)
    if module is None:
        raise CrosstileError(f"{verilog} has no module {top}; compile the design again")
    return module.group(1)


def stream_bytes(verilog: Path, top: str) -> tuple[int, int]:
    """Return the bytes per beat of `s_axis_tdata` and of `m_axis_tdata` in module `top` of a Verilog file.

    Raises `CrosstileError` where the file or module is missing, a port of the AXI4-Stream pair is missing or
    has the wrong direction, or a width is not a whole number of bytes (1 bit for every other port).
    """
    text = _module_text(verilog, top)
    widths = {}
    for port, direction in _PORTS.items():
        declared = re.search(rf"\b{direction}\s+(?:wire\s+|reg\s+)?(?:\[(\d+):0\]\s*)?{port}\b", text)
        if declared is None:
            wanted = ", ".join(_PORTS)
            raise CrosstileError(f"module {top} in {verilog} has no {direction} {port}; it needs {wanted}")
        widths[port] = int(declared.group(1) or 0) + 1
        wide = port in (_WIDE_INPUT, _WIDE_OUTPUT)
        if widths[port] % 8 if wide else widths[port] != 1:
            legal = "a multiple of 8 bits" if wide else "1 bit"
            raise CrosstileError(f"{port} of module {top} in {verilog} must be {legal}, not {widths[port]}")
    return widths[_WIDE_INPUT] // 8, widths[_WIDE_OUTPUT] // 8


def load_address_bits(verilog: Path, top: str) -> int:
    """Return the bits of `s_axil_awaddr`, a byte address; 0 where the module has no port to load weights through."""
    declared = re.search(r"\binput\s+(?:wire\s+)?\[(\d+):0\]\s*s_axil_awaddr\b", _module_text(verilog, top))
    return int(declared.group(1)) + 1 if declared else 0


def reads_bits(verilog: Path, top: str) -> int:
    """Return the bits of `activation_reads`; 0 where the module does not count any."""
    pattern = r"\boutput\s+(?:wire\s+|reg\s+)?\[(\d+):0\]\s*activation_reads\b"
    declared = re.search(pattern, _module_text(verilog, top))
    return int(declared.group(1)) + 1 if declared else 0


def load_problem(weights: Words, written: int, answer: int) -> str | None:
    """Return what went wrong with word `written` of what was to be loaded, None where all words were written."""
    if written == len(weights):
        return None
    address = int(weights[written, 0])
    return f"loading stopped at word {written} of {len(weights)}: the write to {address:#x} met {ANSWERS[answer]}"


@dataclass(frozen=True)
class StreamBench:
    """A checked request for one run.

    input_beats    uint8, shape (beats, input bytes), least significant byte first
    frames         divides both the input beats and `output_expected`
    weights        uint32, shape (words, 2), byte address and word: what to load first; None for nothing
    Raises `CrosstileError` for anything else, or for a design whose ports do not fit.
    """

    verilog: Path
    top: str
    input_beats: Bytes
    frames: int
    output_expected: int
    stall: StallPattern
    waves: Path | None
    watchdog_cycles: int
    weights: Words | None = None

    def __post_init__(self) -> None:
        input_bytes, _ = stream_bytes(self.verilog, self.top)
        if self.input_beats.dtype != np.uint8 or self.input_beats.shape[1:] != (input_bytes,):
            given = f"{self.input_beats.dtype} {self.input_beats.shape}"
            raise CrosstileError(f"input_beats must be uint8 (beats, {input_bytes}), not {given}")
        for what, count in (("input", len(self.input_beats)), ("output", self.output_expected)):
            if self.frames < 1 or count < 1 or count % self.frames:
                legal = f"a multiple of the frames, {self.frames}, both 1 or more"
                raise CrosstileError(f"{what} beats must be {legal}, not {count}")
        if self.watchdog_cycles < 1:
            raise CrosstileError(f"watchdog_cycles must be 1 or more, not {self.watchdog_cycles}")
        if self.waves is not None:
            self._check_waves(self.waves)
        if self.weights is not None:
            self._check_weights(self.weights)

    def _check_weights(self, weights: Words) -> None:
        bits = load_address_bits(self.verilog, self.top)
        if not bits:
            raise CrosstileError(f"module {self.top} in {self.verilog} has no s_axil_awaddr; its weights are fixed")
        if weights.dtype != np.uint32 or weights.shape[1:] != (2,):
            raise CrosstileError(f"weights must be uint32 (words, 2), not {weights.dtype} {weights.shape}")
        if int(weights[:, 0].max(initial=0)) >> bits:
            highest = int(weights[:, 0].max())
            raise CrosstileError(f"addresses of weights must be below {1 << bits:#x}, not {highest:#x}")

    @staticmethod
    def _check_waves(waves: Path) -> None:
        if waves.suffix not in WAVE_SUFFIXES:
            raise CrosstileError(f"waves must end in {' or '.join(WAVE_SUFFIXES)}, not {waves.name!r}")
        if not waves.parent.is_dir():
            raise CrosstileError(f"{waves.parent}, the folder for the waves, is missing; make it first")

    @property
    def output_bytes(self) -> int:
        """Bytes per output beat."""
        return stream_bytes(self.verilog, self.top)[1]

    @property
    def wave_format(self) -> str:
        """'vcd', 'fst', or '' where no waves are wanted."""
        return self.waves.suffix[1:] if self.waves else ""

    def numbers(self) -> dict[str, int]:
        """Return what a run is told, by name: counts, limits, thresholds, first states."""
        source_threshold, sink_threshold = self.stall.thresholds
        source_state, sink_state = self.stall.states
        return {
            "input_beats": len(self.input_beats), "beats_per_frame": len(self.input_beats) // self.frames,
            "output_beats": self.output_expected, "watchdog_cycles": self.watchdog_cycles,
            "source_threshold": source_threshold, "sink_threshold": sink_threshold,
            "source_state": source_state, "sink_state": sink_state, "load_words": len(self.words),
        }  # fmt: skip

    @property
    def words(self) -> Words:
        """What to load first; no rows for nothing."""
        return np.zeros((0, 2), np.uint32) if self.weights is None else self.weights

    def render(self, template: str, **values: object) -> str:
        """Return a harness from `templates/`, for this design's widths."""
        shape = {"input_bytes": self.input_beats.shape[1], "output_bytes": self.output_bytes, "top": self.top}
        shape |= {"address_bits": load_address_bits(self.verilog, self.top)}
        shape |= {"reads_bits": reads_bits(self.verilog, self.top)}
        limits = {"reset_cycles": RESET_CYCLES, "idle_cycles": IDLE_CYCLES, "error_limit": ERROR_LIMIT}
        limits |= {"answer_cycles": ANSWER_CYCLES, "no_answer": NO_ANSWER, "undefined_answer": UNDEFINED_ANSWER}
        return _TEMPLATES.get_template(template).render(**shape, **limits, **values)

    def result(
        self,
        summary: str,
        beats: Bytes,
        last: NDArray[Any],
        input_cycles: Cycles,
        output_cycles: Cycles,
        seconds: float,
    ) -> SimulationResult:
        """Join a run's files to its result; `summary` holds lines "name value" and "error cycle kind"."""
        words = [line.split() for line in summary.splitlines()]
        told = {line[0]: int(line[1]) for line in words if len(line) == 2}
        problem = load_problem(self.words, told["loaded"], told["load_answer"])
        errors = tuple(f"cycle {line[1]}: {_PROTOCOL[line[2]]}" for line in words if line[0] == "error")
        return SimulationResult(
            output_beats=beats, output_last=last.astype(np.bool_), input_cycles=input_cycles,
            output_cycles=output_cycles, frames=self.frames, input_expected=len(self.input_beats),
            output_expected=self.output_expected, extra_beats=told["extra_beats"],
            cycles_run=told["cycles_run"], timed_out=bool(told["timed_out"]) and problem is None,
            watchdog_cycles=self.watchdog_cycles, protocol_errors=errors, seconds=seconds,
            load_cycles=told["load_cycles"], load_problem=problem, activation_reads=told.get("activation_reads"),
        )  # fmt: skip
