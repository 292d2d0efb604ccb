# amaranth: UnusedElaboratable=no
"""The weight port's handshakes, cycle by cycle, and the memories behind it in emitted Verilog.

What an AXI4-Lite master that is not ours sees is in tb/cocotb_benches/test_loaded_trainings.py.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.fold import Fold
from crosstile.load_bus import Contents, LoadedMemory
from crosstile.load_map import LoadMap
from crosstile.multiplier_array import MultiplierArray
from crosstile.requantise import Requantise
from crosstile.verilog import emit
from crosstile.weight_port import OKAY, SLVERR, WeightPort
from crosstile_cli.synthesis import synthesize
from crosstile_golden.network import ConvolutionLayer

from .bench import clocked, convolution, folds_of


def layer(seed: int = 1) -> ConvolutionLayer:
    made = convolution(2, 4, (5, 5), (3, 3), seed=seed)
    return replace(made, shift=abs(made.shift))


PLAN = CrosspointPlan(layer(), Fold(1, 1, 2, 2), loadable=True)
LOAD_MAP = LoadMap((PLAN,))
WEIGHTS, CONSTANTS = LOAD_MAP.regions


def written(addresses: list[int], address_at: int, data_at: int, ready_at: int) -> tuple[list[Any], list[int]]:
    """Write address after address, its number as data, each channel so many cycles late.

    Returns what comes out of the load buses, as (region, word address, data), and the responses.
    """
    dut: Any = WeightPort(LOAD_MAP)
    seen: list[Any] = []
    responses: list[int] = []

    async def process(context: Any) -> None:
        async def step() -> None:
            for region in range(2):
                bus = getattr(dut, f"load_{region}")
                if context.get(bus.write):
                    seen.append((region, context.get(bus.address), context.get(bus.data)))
            await context.tick()

        for number, address in enumerate(addresses):
            left = {"aw": address_at, "w": data_at}
            context.set(dut.s_axil_awaddr, address)
            context.set(dut.s_axil_wdata, number)
            context.set(dut.s_axil_wstrb, 15)
            while left:
                for name, wait in list(left.items()):
                    context.set(getattr(dut, f"s_axil_{name}valid"), wait <= 0)
                    taken = wait <= 0 and context.get(getattr(dut, f"s_axil_{name}ready"))
                    left[name] = wait - 1
                    if taken:
                        del left[name]
                await step()
                for name in ("aw", "w"):
                    if name not in left:
                        context.set(getattr(dut, f"s_axil_{name}valid"), 0)
            for _ in range(10):
                if context.get(dut.s_axil_bvalid):
                    break
                await step()
            for _ in range(ready_at):
                assert context.get(dut.s_axil_bvalid)
                await step()
            context.set(dut.s_axil_bready, 1)
            responses.append(context.get(dut.s_axil_bresp))
            await step()
            context.set(dut.s_axil_bready, 0)
            assert not context.get(dut.s_axil_bvalid)

    clocked(dut, process)
    return seen, responses


@pytest.mark.parametrize("ready_at", [0, 5])
@pytest.mark.parametrize(("address_at", "data_at"), [(0, 0), (3, 0), (0, 3), (1, 2)])
def test_each_write_reaches_its_word_once_and_is_answered_once(address_at: int, data_at: int, ready_at: int) -> None:
    words = [(0, WEIGHTS, 0), (0, WEIGHTS, 5), (1, CONSTANTS, 1), (0, WEIGHTS, len(WEIGHTS.contents.words) - 1)]
    addresses = [region.base + 4 * word for _, region, word in words]
    seen, responses = written(addresses, address_at, data_at, ready_at)
    assert seen == [(index, word, number) for number, (index, _, word) in enumerate(words)]
    assert responses == [OKAY] * len(words)


def test_a_write_beside_every_word_reaches_nothing() -> None:
    held = {address for region in LOAD_MAP.regions for address, _ in region.image}
    holes = [address for address in range(0, 1 << LOAD_MAP.address_bits, 4) if address not in held]
    seen, responses = written(holes, 0, 0, 0)
    assert seen == []
    assert responses == [SLVERR] * len(holes)
    assert len(holes) > 3


@pytest.mark.parametrize("rows", [1, 2, 5, 16])
@pytest.mark.parametrize("widths", [(32,), (7,), (32, 32, 3)], ids=str)
def test_a_loaded_memory_gives_its_contents_and_then_what_was_written(rows: int, widths: tuple[int, ...]) -> None:
    generator = np.random.default_rng(rows)
    before, after = (
        Contents(widths, tuple(tuple(int(generator.integers(1 << w)) for w in widths) for _ in range(rows)))
        for _ in range(2)
    )
    dut: Any = LoadedMemory(before)

    async def expect(context: Any, contents: Contents) -> None:
        for address, words in enumerate(contents.rows):
            context.set(dut.address, address)
            await context.tick()
            found = context.get(dut.data)
            assert [found >> sum(widths[:n]) & (1 << w) - 1 for n, w in enumerate(widths)] == list(words)

    async def process(context: Any) -> None:
        await expect(context, before)
        for address, word in after.words:
            context.set(dut.load.write, 1)
            context.set(dut.load.address, address)
            context.set(dut.load.data, word)
            await context.tick()
        context.set(dut.load.write, 0)
        await context.tick()
        await expect(context, after)  # its first address is given 2 cycles after the last write
        context.set(dut.load.data, 0)
        await expect(context, after)

    clocked(dut, process)


def masked(text: str) -> str:
    """Return Verilog without the values that memories and registers start with."""
    starts = r"^(\s+(?:reg [^=;]+|\S+\[\d+\]) = )\d+'(?:h[0-9a-f]+|d\d+);$"
    return re.sub(starts, r"\1initial;", text, flags=re.MULTILINE)


@pytest.mark.parametrize("block", [MultiplierArray, Requantise])
@pytest.mark.parametrize("fold", folds_of(layer()), ids=str)
def test_two_trainings_give_the_same_verilog_but_for_what_memories_start_with(block: Any, fold: Fold) -> None:
    blank = replace(layer(), weight=layer().weight * 0, bias=np.zeros(4, np.int64), shift=np.zeros(4, np.int64))
    texts = [emit(block(CrosspointPlan(made, fold, loadable=True)), "block") for made in (layer(1), layer(2), blank)]
    assert len(set(texts)) == 3
    assert len({masked(text) for text in texts}) == 1
    fixed = {masked(emit(block(CrosspointPlan(made, fold)), "block")) for made in (layer(1), blank)}
    assert len(fixed) == 2


@pytest.mark.parametrize("target", ["ecp5", "xilinx", "ice40", "gowin", "intel"])
def test_loaded_memories_become_block_ram_with_no_logic_around_them(target: str, tmp_path: Path) -> None:
    rows = tuple((row * 77, row * 5, row) for row in range(256))
    (tmp_path / "memory.v").write_text(emit(LoadedMemory(Contents((32, 32, 10), rows), block=True), "memory"))
    found = synthesize(tmp_path / "memory.v", "memory", target, tmp_path)
    assert found.brams >= 3
    assert found.lutrams == 0
    assert found.ffs == 32 + 10 + 1  # the bus's registers alone
    assert found.luts < 20
