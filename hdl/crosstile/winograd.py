"""The Winograd engine: tiles of activations in, partial sums of outputs out."""

from amaranth.hdl import Cat, Const, Module, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .line_buffer import LineWindows
from .streams import PROMPT, CreditQueue, Late, beat_layout, delay
from .tile_arrival import TileArrival
from .tile_store import TileStore
from .winograd_plan import WinogradPlan
from .winograd_products import WinogradProducts
from .winograd_sequencer import WinogradSequencer
from .winograd_transform import PartialSumTransform


class WinogradEngine(wiring.Component):
    """Multiplies tiles between Winograd's transforms, for kernels of 3, 2 and 1 along each axis.

        input ─▶ line buffer ─▶ Bᵀ ─▶ tile store ─▶ multipliers ─▶ Σ channels ─▶ Aᵀ ─▶ queue ─▶ output
                      ▲         ▲         ▲             ▲                         ▲
        arrival ──────┴─────────┘         │             │                         │
        sequencer ────────────────────────┴── weights ──┴──────── sizes ──────────┘

    One array serves every part of the kernel, whatever its sizes (the Winograd method compatible with
    multi-dimensional networks): only the transforms are switched, tile by tile.

    Parameters: `plan`, the layer and its fold; `depth`, places of the output queue, 1 or more; `late`, which streams
    are.
    Members: `input`, beats of (channel, place in the tile along every axis but the last); `output`, beats of (link of
    each axis, filter), where `WinogradNumbers.partial_sum_transform` says which links are valid for a size.
    Timing: see `WinogradPlan.arrival_operations` and `operations`; partial sums enter the queue
    `WinogradPlan.pipeline_cycles` after the operation that ends their pass.
    """

    input: stream.Interface
    output: stream.Interface

    def __init__(self, plan: WinogradPlan, depth: int, late: Late = PROMPT):
        self.plan, self.depth, self.late = plan, depth, late
        self.output_layout = data.ArrayLayout(signed(plan.numbers.tile_bits), plan.lanes_out)
        super().__init__({
            "input": In(stream.Signature(beat_layout(plan.input_format, plan.lanes_in))),
            "output": Out(stream.Signature(self.output_layout)),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the blocks, joined by delays that match their pipelines."""
        m = Module()
        plan = self.plan
        m.submodules.sequencer = sequencer = WinogradSequencer(plan)
        m.submodules.windows = windows = LineWindows(plan.buffers[-1], self.late.input, plan.beats_per_tile)
        m.submodules.arrival = arrival = TileArrival(plan)
        m.submodules.store = store = TileStore(plan)
        m.submodules.products = products = WinogradProducts(plan)
        m.submodules.queue = queue = CreditQueue(self.output_layout, self.depth, self.late.output)
        wiring.connect(m, wiring.flipped(self.input), windows.input)
        wiring.connect(m, queue.output, wiring.flipped(self.output))
        operation, late, lead = sequencer.operation, plan.weight_cycles, plan.lead_cycles
        m.d.comb += [
            windows.credit.eq(arrival.credit),
            arrival.reserve.eq(windows.reserve),
            arrival.emits.eq(windows.emits),
            arrival.ends.eq(windows.ends),
            arrival.taken.eq(operation.arrive),
            sequencer.complete.eq(arrival.complete),
            sequencer.credit.eq(queue.credit),
            queue.reserve.eq(sequencer.reserve),
            store.take.eq(arrival.take),
            store.beat.eq(windows.beat),
            store.last.eq(arrival.last),
            store.switch.eq(arrival.switch),
            store.word.eq(delay(m, operation.word, late, "word")),
            store.tile.eq(delay(m, operation.tile, late, "tile")),
            products.address.eq(operation.weight),
            products.switch.eq(operation.switch),
            products.operands.eq(store.operands),
            products.issue.eq(delay(m, operation.issue, lead, "issue", resets=True)),
            products.last.eq(delay(m, operation.last, lead, "last")),
            queue.beat.as_value().eq(self._results(m, products.sums, delay(m, operation.switch, lead, "switch"))),
            queue.push.eq(delay(m, sequencer.reserve, plan.pipeline_cycles, "push", resets=True)),
        ]
        return m

    def _results(self, m: Module, sums: Value, switch: Value) -> Value:
        """Return the beat: every lane's tile, transformed, without the bits that are always 0."""
        plan = self.plan
        transform, size = plan.numbers.partial_sum_transform, sum(plan.numbers.sum_bits)
        lanes = []
        for lane in range(plan.fold.filter_lanes):
            m.submodules[f"transform_{lane}"] = block = PartialSumTransform(transform)
            offset = lane * size
            for position, bits in enumerate(plan.numbers.sum_bits):  # an input that is never negative has no sign
                m.d.comb += block.inputs[position].eq(sums[offset : offset + bits])
                offset += bits
            if "switch_word" in block.signature.members:
                m.d.comb += block.switch_word.eq(switch)
            links = plan.lanes_out // plan.fold.filter_lanes
            lanes.append([Value.cast(block.outputs[link]) for link in range(links)])
        kept = [[_whole(value, plan.numbers.scale_bits, plan.numbers.tile_bits) for value in links] for links in lanes]
        return Cat(*(kept[lane][link] for link in range(len(kept[0])) for lane in range(len(kept))))


def _whole(value: Value, scale_bits: int, bits: int) -> Value:
    """Return value / 2^scale_bits, sign-extended to `bits`."""
    divided = value[scale_bits:]
    top = divided[-1] if value.shape().signed else Const(0, 1)
    return Cat(divided, top.replicate(max(0, bits - len(divided))))[:bits]
