"""Tiles for the Winograd blocks: what the line buffers send, and what each tile gives, from plain convolutions."""

import itertools
from typing import Any

import numpy as np
from crosstile.timing import QUEUE_CYCLES, Input, Queue, predict
from crosstile.winograd import WinogradEngine
from crosstile.winograd_plan import WinogradPlan, winograd_nodes
from crosstile.winograd_program import AxisProgram, TileStep
from crosstile_golden.numbers import Integers
from crosstile_golden.winograd import TILE

from .bench import Port, Run, StreamBench, pack


def steps_of(plan: WinogradPlan) -> list[tuple[TileStep, ...]]:
    """Return the tiles of a frame in the order they come: one step per axis."""
    return list(itertools.product(*(program.steps for program in plan.programs)))


def places_of(program: AxisProgram, step: TileStep, frame: Integers, axis: int) -> Integers:
    """Return a frame (channel, *spatial) with the 4 activations of a tile along an axis, zeros in the padding."""
    places = step.start + program.input_spacing * np.arange(TILE)
    inside = ((places >= 0) & (places < program.inputs)).reshape(-1, *[1] * (frame.ndim - 2 - axis))
    return np.take(frame, places.clip(0, program.inputs - 1), axis=1 + axis) * inside


def tile_of(plan: WinogradPlan, frame: Integers, steps: tuple[TileStep, ...]) -> Integers:
    """Return a tile's activations (channel, 4, ...), zeros in the padding."""
    return places_of(plan.programs[-1], steps[-1], lines_of(plan, frame, steps[:-1]), len(steps) - 1)


def partial_sums(plan: WinogradPlan, tile: Integers, steps: tuple[TileStep, ...]) -> Integers:
    """Return what a tile's part of the kernel gives, (filter, *outputs), by the definition: tap after tap."""
    parts = tuple(step.part for step in steps)
    weight = plan.numbers.raw_weights[plan.numbers.combinations.index(parts)]
    outputs = [TILE - step.size + 1 for step in steps]
    geometry = plan.layer.geometry
    made = np.zeros((geometry.out_channels, *outputs), np.int64)
    for group in range(geometry.groups):
        channels = slice(group * weight.shape[1], (group + 1) * weight.shape[1])
        filters = slice(group * len(weight) // geometry.groups, (group + 1) * len(weight) // geometry.groups)
        for taps in itertools.product(*(range(step.size) for step in steps)):
            window = tile[(channels, *(slice(t, t + n) for t, n in zip(taps, outputs, strict=True)))]
            made[filters] += np.tensordot(weight[(filters, slice(None), *taps)], window, axes=1)
    return made


def lines_of(plan: WinogradPlan, frame: Integers, steps: tuple[TileStep, ...]) -> Integers:
    """Return what a tile along every axis but the last holds, (channel, 4, ..., activations along the last axis)."""
    for axis, (program, step) in enumerate(zip(plan.programs, steps, strict=False)):
        frame = places_of(program, step, frame, axis)
    return frame


def tile_beats(plan: WinogradPlan, frames: Integers) -> list[int]:
    """Return the beats from which the engine makes the tiles of frames (frames, channels, *spatial)."""
    bits, beats = plan.input_format.bits, []
    outer = list(itertools.product(*(program.steps for program in plan.programs[:-1])))
    for frame, steps in itertools.product(frames, outer):
        lines = np.moveaxis(lines_of(plan, frame, steps), -1, 0)
        beats += [pack(beat, bits) for beat in lines.reshape(-1, plan.lanes_in).tolist()]
    return beats


def expected_links(plan: WinogradPlan, frames: Integers) -> list[dict[int, int]]:
    """Return per beat of partial sums the lanes that are valid, and what they hold, modulo 2^tile_bits."""
    found = []
    lanes, mask = plan.fold.filter_lanes, (1 << plan.numbers.tile_bits) - 1
    for frame, steps in itertools.product(frames, steps_of(plan)):
        sums = partial_sums(plan, tile_of(plan, frame, steps), steps)
        places = [plan.numbers.partial_sum_transform.axis_links(axis, step.size) for axis, step in enumerate(steps)]
        for first in range(0, len(sums), lanes):
            beat = {}
            for outputs in itertools.product(*(range(len(along)) for along in places)):
                link = np.ravel_multi_index([along[o] for along, o in zip(places, outputs, strict=True)], plan.links)
                for lane in range(lanes):
                    beat[int(link) * lanes + lane] = int(sums[(first + lane, *outputs)]) & mask
            found.append(beat)
    return found


def prove_tiles(plan: WinogradPlan, count: int = 2, dut: Any = None, **settings: Any) -> Run:
    """Hold a Winograd engine equal to plain convolutions of its tiles, and, unstalled, to its predicted cycles."""
    legal, geometry = plan.input_format, plan.layer.geometry
    generator = np.random.default_rng(settings.get("seed", 1))
    frames = generator.integers(legal.minimum, legal.maximum + 1, (count, geometry.in_channels, *geometry.input_size))
    frames = np.where(generator.random(frames.shape) < 0.2, generator.choice([legal.minimum, legal.maximum]), frames)
    engine = dut or WinogradEngine(plan, plan.pipeline_cycles + 4)
    wanted = expected_links(plan, frames)
    bench = StreamBench(
        engine, Port.of(engine.input), Port.of(engine.output), tile_beats(plan, frames), len(wanted), **settings
    )
    run = bench.run()
    for index, (beat, links) in enumerate(zip(run.beats, wanted, strict=True)):
        found = {lane: beat >> lane * plan.numbers.tile_bits & (1 << plan.numbers.tile_bits) - 1 for lane in links}
        assert found == links, f"beat {index}"
    if settings.get("stall", "none") == "none":
        queue = Queue(plan.pipeline_cycles + 4)
        predict(winograd_nodes(plan, [Input(None, start=1 - QUEUE_CYCLES)], [queue]), count)
        assert run.cycles == queue.shows
        assert run.taken[0] == plan.arrival_operations.first
    return run
