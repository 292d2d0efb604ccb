"""Generated Winograd arrays as cases for `block_bench`: random tiles of all modes, placed as the header says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from blocks import Case, made, pack
from crosstile_golden.geometry import Axes
from crosstile_golden.winograd_array import array_convolution, array_kernels

CYCLES, BITS = 250, 5
AXES = ("depth", "row", "column")


def array(name: str, folder: Path, dimensions: Axes, channels: int) -> Case:
    """Sums of tiles, the kernel of each drawn anew, with idle cycles between, and where their outputs are due."""
    request = f"winograd-array dimensions={'+'.join(map(str, dimensions))} channels={channels}"
    case = made(name, f"{request} activation_bits={BITS} weight_bits={BITS}", folder)
    generator, latency = np.random.default_rng(11), case.record["figures"]["latency_cycles"]
    whole = CYCLES + latency
    ports = [port["name"] for port in case.record["ports"] if port["direction"] == "input"][2:]
    case.bench = {
        "kind": "vectors", "inputs": {port: [0] * whole for port in ports},
        "outputs": {"outputs": [(0, 0)] * whole, "outputs_valid": [(0, 1)] * whole},
    }  # fmt: skip
    kernels, cycle = array_kernels(dimensions), 1
    while cycle < CYCLES - 2 * channels:
        kernel, count = kernels[generator.integers(len(kernels))], int(generator.integers(1, channels + 1))
        cycles = (cycle + np.arange(count) + np.cumsum(generator.random(count) < 0.2)).tolist()
        _add_sum(case, generator, kernel, cycles)
        cycle = cycles[-1] + 1
    return case


def _add_sum(case: Case, generator: np.random.Generator, kernel: Axes, cycles: list[int]) -> None:
    """Give a tile in each of these cycles, and expect what they add up to, `latency` cycles after the last."""
    shape = _shape(case)
    activations = generator.integers(0, 1 << BITS, (len(cycles), 4, 4, 4))
    weights = generator.integers(-(1 << BITS - 1), 1 << BITS - 1, (len(cycles), *shape))
    for axis, size in enumerate(kernel):
        if size == 2:
            np.moveaxis(weights, 1 + axis, 0)[-1] = 0
    for index, cycle in enumerate(cycles):
        _give(case, cycle - 1, mode=sum(size > 1 for size in kernel), size_two=_sizes(case, kernel))
        _give(case, cycle, valid=1, first=int(index == 0), last=int(cycle == cycles[-1]))
        _give(case, cycle, activations=pack(activations[index].ravel(), BITS))
        _give(case, cycle, weights=pack(weights[index].ravel(), BITS))
    due = cycles[-1] + case.record["figures"]["latency_cycles"]
    results = array_convolution(activations, weights, kernel).ravel().tolist()
    case.bench["outputs"]["outputs"][due] = _placed(case, results, _valid(case, kernel, shape))
    case.bench["outputs"]["outputs_valid"][due] = (1, 1)


def _give(case: Case, cycle: int, **values: int) -> None:
    """Give values to those ports that there are."""
    for port in values.keys() & case.bench["inputs"].keys():
        case.bench["inputs"][port][cycle] = values[port]


def _shape(case: Case) -> Axes:
    """Return the places of weights and outputs."""
    (line,) = (line for line in case.record["timing"] if line.startswith("Places"))
    (places,) = re.findall(r"activations, (\d)x(\d)x(\d) weights", line)
    return tuple(map(int, places))


def _sizes(case: Case, kernel: Axes) -> int:
    (meaning,) = (port["meaning"] for port in case.record["ports"] if port["name"] == "size_two")
    return sum(int(kernel[AXES.index(axis)] == 2) << int(bit) for bit, axis in re.findall(r"bit (\d) (\w+)", meaning))


def _valid(case: Case, kernel: Axes, shape: Axes) -> list[int]:
    """Return the places of the outputs that are valid, by the header's sentences on each axis."""
    along = []
    for axis, size in enumerate(kernel):
        places = list(range(shape[axis]))
        if size > 1:
            (line,) = (line for line in case.record["timing"] if line.startswith(f"Along {AXES[axis]}: "))
            (found,) = re.findall(rf"size {size}, taps at [^;]*, outputs at ([\d, ]+)", line)
            places = [int(place) for place in found.split(", ")]
        along.append(places)
    return np.ravel_multi_index(np.ix_(*along), shape).ravel().tolist()


def _placed(case: Case, results: list[int], valid: list[int]) -> tuple[int, int]:
    """Return the word of the outputs, and the mask of those that are valid."""
    fields = {int(path.split()[1]): place for path, place in case.fields("outputs").items()}
    word = mask = 0
    for place in valid:
        low, bits = fields[place]
        word, mask = word | (results[place] & (1 << bits) - 1) << low, mask | (1 << bits) - 1 << low
    return word, mask
