"""The tile store: a tile's transformed activations, kept while all filters see them."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .storage import Storage
from .streams import beat_layout, delay
from .winograd_plan import WinogradPlan
from .winograd_transform import ActivationTransform


class TileStore(wiring.Component):
    """Transforms each beat once and keeps `store_tiles` tiles: one is read, word by word, while others are written.

    Members: `take` and `beat` as a beat arrives, `last` of its tile, `switch` its sizes; `word` and `tile`, the
    address; `operands`, two cycles later, the positions of `fold.operands` tiles side by side, each as wide as it
    needs.
    Timing: a beat per cycle; it can be read `WinogradPlan.write_cycles` + 1 after it was taken.
    """

    READ_CYCLES = 2

    def __init__(self, plan: WinogradPlan):
        self.plan = plan
        self.tile_bits = sum(term.bits for term in plan.numbers.activation_transform.outputs)
        super().__init__({
            "take": In(1), "last": In(1), "beat": In(beat_layout(plan.input_format, plan.tile_lanes)),
            "switch": In(sum(plan.numbers.activation_transform.switch_bits)),
            "word": In(range(plan.words)), "tile": In(range(plan.store_tiles)),
            "operands": Out(self.tile_bits * plan.fold.operands),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the transforms, a memory per beat of a word, and the operands' registers."""
        m = Module()
        plan = self.plan
        tiles = self._transformed(m)
        parts = plan.fold.operands // plan.fold.lanes
        word, part, tile = self._written(m, parts)
        cycles = plan.write_cycles
        word_bits = (plan.words - 1).bit_length()
        words = (plan.store_tiles - 1 << word_bits) + plan.words
        address = Cat(delay(m, word, cycles, "word"), delay(m, tile, cycles, "tile"))
        write, at = delay(m, self.take, cycles, "write", resets=True), delay(m, part, cycles, "part")
        operands = Signal(len(self.operands), reset_less=True)
        for index in range(parts):
            m.submodules[f"memory_{index}"] = memory = Storage(len(tiles), words)
            m.d.comb += [
                memory.read_address.eq(Cat(self.word[:word_bits], self.tile)),
                memory.write_address.eq(address),
                memory.write_data.eq(tiles),
                memory.write.eq(write & (at == index)),
            ]
            m.d.sync += operands[index * len(tiles) :][: len(tiles)].eq(memory.read_data)
        m.d.comb += self.operands.eq(operands)
        return m

    def _transformed(self, m: Module) -> Cat:
        """Return the transformed tiles of a beat, `write_cycles` after it."""
        plan = self.plan
        transform = plan.numbers.activation_transform
        tiles = []
        bits = plan.numbers.positions * plan.input_format.bits
        for lane in range(plan.fold.lanes):
            m.submodules[f"transform_{lane}"] = block = ActivationTransform(transform)
            m.d.comb += block.inputs.as_value().eq(self.beat.as_value()[lane * bits :][:bits])
            if "switch_word" in block.signature.members:
                m.d.comb += block.switch_word.eq(self.switch)
            tiles.append(block.outputs.as_value())
        late = plan.write_cycles - transform.latency
        return delay(m, Cat(*tiles), late, "transformed")

    def _written(self, m: Module, parts: int) -> tuple[Signal, Signal, Signal]:
        """Return word, part of the word, and tile of the beat that arrives."""
        word, part = Signal(range(self.plan.words), name="arriving_word"), Signal(range(parts), name="arriving_part")
        tile = Signal(range(self.plan.store_tiles), name="arriving_tile")
        with m.If(self.take):
            m.d.sync += [part.eq(Mux(part == parts - 1, 0, part + 1)), tile.eq(tile + self.last)]
            with m.If(part == parts - 1):
                m.d.sync += word.eq(Mux(self.last, 0, word + 1))
        return word, part, tile
