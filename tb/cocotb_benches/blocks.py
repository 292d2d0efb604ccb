"""Generated blocks as cases for `block_bench`: requests, beats, and what golden or NumPy says comes out."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from crosstile_cli.generate_command import generate_block
from crosstile_golden.activation import RELU, Activation
from crosstile_golden.geometry import Axes, ConvolutionGeometry, PoolGeometry
from crosstile_golden.network import ConvolutionLayer, PoolLayer
from crosstile_golden.numbers import Integers, NumberFormat
from crosstile_golden.requantise import requantise

FRAMES = 4
UINT8, INT8 = NumberFormat(8, signed=False), NumberFormat(8, signed=True)


@dataclass
class Case:
    """A generated design: the command's record, its Verilog, and the case as `block_bench` reads it."""

    name: str
    record: dict[str, Any]
    verilog: str
    bench: dict[str, Any] = field(default_factory=dict)

    def bits(self, port: str) -> int:
        return next(entry["bits"] for entry in self.record["ports"] if entry["name"] == port)

    def fields(self, port: str) -> dict[str, tuple[int, int]]:
        """Return where each field of a structure lies, least bit and width, as the header tells it."""
        (meaning,) = (entry["meaning"] for entry in self.record["ports"] if entry["name"] == port)
        found = re.findall(rf"{port}\[(\d+)(?::(\d+))?\] ([^;]+)", meaning)
        return {path: (int(low or high), int(high) - int(low or high) + 1) for high, low, path in found}


def made(name: str, request: str, folder: Path) -> Case:
    """Generate a block, its top called {name}_design."""
    block, *settings = request.split()
    path = folder / f"{name}.v"
    record = generate_block(block, settings, path, f"{name}_design")
    return Case(name, record, path.read_text())


def pack(values: Sequence[int], bits: int) -> int:
    return sum((int(value) & (1 << bits) - 1) << bits * index for index, value in enumerate(values))


def beats(tensor: Integers, lanes: int, bits: int) -> list[int]:
    """Return (frames, channels, *spatial) as beats, in the order of the header."""
    pixels = np.moveaxis(tensor.reshape(*tensor.shape[:2], -1), 1, 2)
    return [pack(beat, bits) for beat in pixels.reshape(-1, lanes).tolist()]


def random_tensor(number_format: NumberFormat, shape: Axes, seed: int) -> Integers:
    return np.random.default_rng(seed).integers(number_format.minimum, number_format.maximum + 1, shape)


def streamed(
    case: Case, frames: list[int], golden: list[int], completes: int | None, kind: str = "stream", **more: Any
) -> Case:
    """Return a case of beats; `completes` is the input beat that completes the first result, if that is so."""
    figures = case.record["figures"]
    assert (figures["beats_in_per_frame"], figures["beats_out_per_frame"]) == (
        len(frames) // FRAMES, len(golden) // FRAMES
    )
    case.bench = {
        "kind": kind, "input": frames, "output": golden, "beats_in": len(frames) // FRAMES,
        "beats_out": len(golden) // FRAMES, "cycles_per_frame": figures["cycles_per_frame"],
        "latency": figures["latency_cycles"] if kind == "axis" or completes is not None else None,
        "completes": completes, **more,
    }  # fmt: skip
    return case


# Convolutions


def layer_of(
    channels: int, filters: int, size: Axes, kernel: Axes, stride: int = 1, begin: int = 0, end: int = 0,
    activation: Activation = RELU, writes: NumberFormat = UINT8, dilation: int = 1, groups: int = 1,
) -> ConvolutionLayer:
    """Return a layer with weights of its own, whose outputs spread over their format."""
    axes = len(size)
    geometry = ConvolutionGeometry(
        channels, size, kernel, (stride,) * axes, (dilation,) * axes, (begin,) * axes, (end,) * axes, filters, groups
    )
    random = np.random.default_rng(sum(size))
    weight = random.integers(-128, 128, geometry.weight_shape)
    shift = np.full(filters, int(np.log2(np.sqrt(weight[0].size) * 128 * 148 / writes.maximum)))
    bias = random.integers(-5000, 5000, filters)
    return ConvolutionLayer("golden", geometry, weight, bias, shift, 8, UINT8, writes, activation)


def engine(
    name: str, folder: Path, layer: ConvolutionLayer, settings: str, completes: int | None = None,
    block: str = "crosspoint-engine", **more: Callable[[Case], Any],
) -> Case:
    """Return a generated engine on random frames, held to the golden layer; `more` goes to the bench."""
    np.savez(folder / f"{name}.npz", weight=layer.weight, bias=layer.bias, shift=layer.shift)
    geometry = layer.geometry
    size, kernel = ("x".join(map(str, axes)) for axes in (geometry.input_size, geometry.kernel))
    case = made(
        name, f"{block} channels={geometry.in_channels} filters={geometry.out_channels} size={size} "
        f"kernel={kernel} stride={geometry.stride[0]} dilation={geometry.dilation[0]} groups={geometry.groups} "
        f"padding={geometry.padding_begin[0]}:{geometry.padding_end[0]} "
        f"{settings if 'weights=' in settings else f'weights={folder / name}.npz {settings}'}", folder,
    )  # fmt: skip
    axis = "ports=stream" not in settings
    ports = ("s_axis_tdata", "m_axis_tdata") if axis else ("input__payload", "output__payload")
    lanes_in, lanes_out = (case.bits(port) // 8 for port in ports)
    frames = random_tensor(UINT8, (FRAMES, geometry.in_channels, *geometry.input_size), 5)
    golden = layer.run(frames)
    assert len(np.unique(golden)) > 20
    return streamed(
        case, beats(frames, lanes_in, 8), beats(golden, lanes_out, 8), completes, "axis" if axis else "stream",
        **{key: make(case) for key, make in more.items()},
    )


def mode_program(case: Case, order: Sequence[int]) -> list[int]:
    """Return the mode words of a 5-row image, kernel 3, padding 1, by the header's words; integrators reordered."""
    words = []
    for step in range(6):
        word = {f"steering[{row}].integrator": order[(step + 1 - row) % 3] for row in range(3)}
        steered = {row: 0 <= step + 1 - row < 5 for row in range(3)}
        word |= {f"steering[{row}].steered": int(on) for row, on in steered.items()}
        word["fresh"] = 7 if step == 0 else int(steered[0]) << order[(step + 1) % 3]
        word["complete"] = order[(step - 1) % 3]
        words.append(word_of(case, "mode", word))
    return words


def image(case: Case, layer: ConvolutionLayer) -> dict[str, list[tuple[int, int]]]:
    """Return what loads a layer of 2 channels, 2 filters, kernel 3 on fold 1x3x2x2, by the header's words."""
    rows = [[0] * 12 for _ in range(3)]
    for f, c, i, j in np.ndindex(2, 2, 3, 3):
        rows[i][(f * 3 + j) * 2 + c] = int(layer.weight[f, c, i, j])
    (constants,) = (line for line in case.record["timing"] if line.startswith("The constants of filter f"))
    offset_bits = int(re.search(r"bits (\d+) to 0 the offset", constants)[1]) + 1  # type: ignore[index]
    words = [
        (int(bias) + (1 << int(shift) - 1)) % (1 << offset_bits) | int(shift) << offset_bits
        for bias, shift in zip(layer.bias, layer.shift, strict=True)
    ]
    return {
        "weights": [(4 * i + part, pack(rows[i][4 * part :][:4], 8)) for i in range(3) for part in range(3)],
        "constants": list(enumerate(words)),
    }


def word_of(case: Case, port: str, values: dict[str, int]) -> int:
    places = case.fields(port)
    assert set(places) == set(values)
    return sum(value << places[path][0] for path, value in values.items())


# Windows


def max_pool(name: str, folder: Path) -> Case:
    layer = PoolLayer("golden", PoolGeometry(4, (6, 7), (3, 2), (2, 2), (1, 1), (1, 1), (1, 1), kind="max"), 0, INT8)
    case = made(name, "pool kind=max channels=4 lanes=2 size=6x7 window=3x2 stride=2 padding=1 signed=yes", folder)
    frames = random_tensor(INT8, (FRAMES, 4, 6, 7), 6)
    return streamed(case, beats(frames, 2, 8), beats(layer.run(frames), 2, 8), completes=14)


def average_pool(name: str, folder: Path) -> Case:
    """Both rows of a window come in one beat, in the order (row, channel)."""
    geometry = PoolGeometry(2, (4, 6), (2, 2), (2, 2), (1, 1), (0, 0), (0, 0), kind="average")
    layer = PoolLayer("golden", geometry, 2, UINT8)
    case = made(name, "pool kind=average channels=2 lanes=2 size=4x6 window=2 rows_per_beat=2", folder)
    frames = random_tensor(UINT8, (FRAMES, 2, 4, 6), 7)
    paired = frames.reshape(FRAMES, 2, 2, 2, 6).transpose(0, 2, 4, 3, 1)  # frame, row of windows, column, row, channel
    offered = [pack(beat, 8) for beat in paired.reshape(-1, 4).tolist()]
    return streamed(case, offered, beats(layer.run(frames), 2, 8), completes=1)


def sum_pool(name: str, folder: Path) -> Case:
    case = made(name, "pool kind=sum channels=1 size=9 window=3 stride=1 activation_bits=5", folder)
    frames = random_tensor(NumberFormat(5, signed=False), (FRAMES, 1, 9), 8)
    sums = frames[..., :-2] + frames[..., 1:-1] + frames[..., 2:]
    return streamed(case, beats(frames, 1, 5), beats(sums, 1, case.bits("output__payload")), completes=2)


def line_buffer(name: str, folder: Path) -> Case:
    """Two channels stay together; a beat is ordered (channel / 2, kernel row, channel mod 2)."""
    case = made(name, "line-buffer channels=4 lanes=4 run=2 size=5x3 kernel=3 stride=2 padding=1", folder)
    frames = random_tensor(UINT8, (FRAMES, 4, 5, 3), 9)
    padded = np.pad(frames, ((0, 0), (0, 0), (1, 1), (0, 0)))
    rows = np.stack([padded[:, :, row : row + 5 : 2] for row in range(3)], axis=1)  # frame, kernel row, channel, o, x
    split = rows.reshape(FRAMES, 3, 2, 2, 3, 3).transpose(0, 4, 5, 2, 1, 3)
    return streamed(case, beats(frames, 4, 8), [pack(b, 8) for b in split.reshape(-1, 12).tolist()], completes=3)


# Cycle by cycle


def output_controller(name: str, folder: Path) -> Case:
    columns, integrators, bits, cycles = 3, 4, 9, 300
    case = made(name, f"output-controller columns={columns} integrators={integrators} sum_bits={bits}", folder)
    generator = random.Random(3)
    goes = [[generator.choice([None, *range(integrators)]) for _ in range(columns)] for _ in range(cycles)]
    sums = [[generator.randrange(-256, 256) for _ in range(columns)] for _ in range(cycles)]
    modes, contributions, conflicts = [], [], []
    for mode, values in zip(goes, sums, strict=True):
        word = {f"[{column}].integrator": to or 0 for column, to in enumerate(mode)}
        word |= {f"[{column}].steered": int(to is not None) for column, to in enumerate(mode)}
        modes.append(word_of(case, "mode", word))
        steered = [to for to in mode if to is not None]
        conflicts.append(int(len(set(steered)) < len(steered)))
        found = [0] * integrators
        for to, value in zip(mode, values, strict=True):
            if to is not None:
                found[to] |= value
        contributions.append(pack(found, bits))
    case.bench = {
        "kind": "vectors",
        "inputs": {"mode": [*modes, 0, 0], "sums": [0, *(pack(values, bits) for values in sums), 0]},
        "outputs": {
            "contributions": [(0, 0), (0, 0), *((value, -1) for value in contributions)],
            "conflict": [(0, 0), *((flag, 1) for flag in conflicts), (0, 0)],
        },
    }  # fmt: skip
    return case


def mode_source(name: str, folder: Path, kind: str) -> Case:
    """Five rows, kernel 3, a row of padding above: the header's formula, step by step, as advance comes and goes."""
    case = made(name, f"mode-source kind={kind} rows=5 kernel=3 padding=1:0 integrators=4", folder)
    generator, places = random.Random(4), case.fields("word")
    advances, words, step = [], [], 0
    for cycle in range(120):
        due, mask = 0, 0
        values = {"complete": (step + 1 - 2) % 4, "fresh": 15 if step == 0 else 0}
        for row in range(3):
            steered = 0 <= step + 1 - row < 4
            values[f"steering[{row}].steered"] = int(steered)
            if steered:
                values[f"steering[{row}].integrator"] = (step + 1 - row) % 4
                values["fresh"] |= int(row == 0) << (step + 1) % 4
        for path, value in values.items():
            low, bits = places[path]
            due, mask = due | value << low, mask | (1 << bits) - 1 << low
        advance = int(cycle > 1 and generator.random() < 0.6)
        advances.append(advance)
        words.append((due, mask if cycle > 1 else 0))
        step = (step + advance) % case.record["figures"]["time_steps_per_frame"]
    ready = [(0, 0), (0, 0), *[(1, 1)] * 118]
    case.bench = {"kind": "vectors", "inputs": {"advance": advances}, "outputs": {"word": words, "ready": ready}}
    return case


def multiplier(name: str, folder: Path) -> Case:
    case = made(name, "multiplier a_bits=7 b_bits=5", folder)
    generator = random.Random(5)
    a = [generator.choice([-64, 63, generator.randrange(-64, 64)]) for _ in range(200)]
    b = [generator.choice([-16, 15, generator.randrange(-16, 16)]) for _ in range(200)]
    products = [(x * y & 0xFFF, 0xFFF) for x, y in zip(a, b, strict=True)]
    case.bench = {
        "kind": "vectors",
        "inputs": {"a": [*(x & 0x7F for x in a), 0, 0], "b": [*(y & 0x1F for y in b), 0, 0]},
        "outputs": {"y": [(0, 0), (0, 0), *products]},
    }  # fmt: skip
    return case


def requantiser(name: str, folder: Path) -> Case:
    """Six filters, three at once: bias, rounding shift, a leaky rectifier and saturation."""
    bias, shift = np.array([5, -900, 77, 0, 1200, -3]), np.array([6, 7, 8, 5, 9, 6])
    np.savez(folder / "constants.npz", bias=bias, shift=shift)
    case = made(
        name, "requantise filters=6 lanes=3 total_bits=14 activation=leaky:2 signed_output=yes output_bits=6 "
        f"constants={folder}/constants.npz", folder,
    )  # fmt: skip
    latency = case.record["figures"]["latency_cycles"]
    totals = random_tensor(NumberFormat(14, signed=True), (200, 6, 1), 10)
    golden = requantise(totals, bias, shift, NumberFormat(6, signed=True), Activation("leaky", 2))
    groups = [0, 1] * 200
    sums, results = beats(totals, 3, 14), beats(golden, 3, 6)
    none = [(0, 0)] * latency
    case.bench = {
        "kind": "vectors",
        "inputs": {"filter": [*groups, *[0] * (latency + 1)], "totals": [0, *sums, *[0] * latency]},
        "outputs": {"beat": [(0, 0), *none, *((value, -1) for value in results)]},
    }  # fmt: skip
    return case


def pulses(name: str, folder: Path, kind: str, signed: bool) -> Case:
    case = made(name, f"pulse-{kind} activation_bits=4 signed={'yes' if signed else 'no'} lanes=3", folder)
    number_format, figures = NumberFormat(4, signed), case.record["figures"]
    values = np.stack([
        np.random.default_rng(lane).permutation(np.arange(number_format.minimum, number_format.maximum + 1))
        for lane in range(3)
    ])
    case.bench = {
        "kind": kind, "input": beats(values[None], 3, 4), "lanes": 3, "bits": 4, "signed": signed,
        "slot_cycles": figures["cycles_per_beat"], "latency": figures["latency_cycles"],
    }  # fmt: skip
    return case
