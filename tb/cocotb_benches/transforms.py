"""Generated Winograd transforms as cases for `block_bench`: random tiles, and what golden says comes out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from blocks import Case, made, pack
from crosstile_golden.geometry import Axes
from crosstile_golden.numbers import Integers
from crosstile_golden.winograd import transform_activations, transform_partial_sums, transform_weights

TRANSFORMS = {"weight": transform_weights, "activation": transform_activations, "partial-sum": transform_partial_sums}


def transform(name: str, folder: Path, role: str, kernel: str, settings: str) -> Case:
    """The golden transform on random tiles of 6 bits, the sizes of each chosen anew and told a cycle before it."""
    case = made(name, f"{role}-transform kernel={kernel} {settings}", folder)
    sizes = [tuple(map(int, entry.split("/"))) for entry in kernel.split("x")]
    generator, latency = np.random.default_rng(7), case.record["figures"]["latency_cycles"]
    shape = [own[0] for own in sizes] if role == "weight" else [4] * len(sizes)
    words, tiles, outputs = [], [], []
    for _ in range(200):
        index = [int(generator.integers(len(own))) for own in sizes]
        chosen = tuple(own[place] for own, place in zip(sizes, index, strict=True))
        tile = generator.choice([-32, 31, *generator.integers(-32, 32, 4)], shape)
        own_taps = tuple(map(slice, chosen if role == "weight" else shape))
        mask = np.zeros(shape, np.int64)
        mask[own_taps] = 1  # the taps that a smaller size does not have are 0
        tile *= mask
        doubled = sum(size == 1 and own != (1,) for size, own in zip(chosen, sizes, strict=True))
        result = TRANSFORMS[role](tile[own_taps], chosen) << (doubled if role == "partial-sum" else 0)
        words.append(sum(place << bits for place, bits in zip(index, _offsets(sizes), strict=True)))
        tiles.append(pack(tile.ravel(), 6))
        outputs.append(_numbered(case, result, _links(role, sizes, chosen)))
    inputs = {"inputs": [0, *tiles, *[0] * latency]}
    if any(entry["name"] == "switch_word" for entry in case.record["ports"]):
        inputs["switch_word"] = [*words, *[0] * (latency + 1)]
    case.bench = {"kind": "vectors", "inputs": inputs, "outputs": {"outputs": [(0, 0)] * (latency + 1) + outputs}}
    return case


def _offsets(sizes: Sequence[Axes]) -> list[int]:
    """Return where each axis' field of the switch word begins."""
    bits = [(len(own) - 1).bit_length() for own in sizes]
    return [sum(bits[:axis]) for axis in range(len(bits))]


def _links(role: str, sizes: Sequence[Axes], chosen: Axes) -> list[int]:
    """Return the numbers of the outputs that are valid, as the header tells them."""
    if role != "partial-sum":
        return list(range(4 ** len(sizes)))
    axes = zip(chosen, sizes, strict=True)
    along = [[0, 2] if size == 3 and 2 in own else list(range(5 - size)) for size, own in axes]
    return np.ravel_multi_index(np.ix_(*along), [5 - own[-1] for own in sizes]).ravel().tolist()


def _numbered(case: Case, result: Integers, links: list[int]) -> tuple[int, int]:
    """Return the word of the outputs, and the mask of those that are valid."""
    places = {int(path.split()[1]): place for path, place in case.fields("outputs").items()}
    due = mask = 0
    for value, link in zip(result.ravel().tolist(), links, strict=True):
        low, bits = places[link]
        due, mask = due | (value & (1 << bits) - 1) << low, mask | (1 << bits) - 1 << low
    return due, mask
