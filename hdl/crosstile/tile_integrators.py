"""The integrators of tiles: results of a Winograd engine in, activations in order out."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .load_bus import load_bus
from .requantise import Requantise, constant_contents
from .storage import LongDelay
from .streams import CreditQueue, arrived, beat_layout, delay
from .tile_integrators_banks import TileBanks, every, name_of
from .tile_integrators_plan import DRAIN_CYCLES, TileIntegratorPlan
from .tile_integrators_reader import TileReader
from .tile_integrators_writer import TileWriter


class TileIntegrators(wiring.Component):
    """Adds the results of tiles to the integrators of their outputs, requantises and activates what is complete.

        input ─▶ rotation ─▶ integrators ─▶ row store ─▶ bank chosen ─▶ requantise ─▶ queue ─▶ output
                    ▲           ▲    ▲          ▲ ▲            ▲
                    └── writer ─┴────┴──────────┘ └── reader ──┘
                          └──────── rows ────────────────┘

    Each tile is the mode word's choice of integrators (US 2020/0117986 [0062], [0064], [0068]): its results are
    steered to banks where sizes of tiles mix along an axis, and else only the addresses are.

    Parameters: `plan`; `depth`, places of the output queue, 1 or more; `late`, the input is, see `Late`.
    Members: `input` and `output`, streams of beats; where the layer has a residual also `residual`, of which each beat
    sent takes a beat; where the plan is loadable `load_constants`, see `constant_contents`.
    Timing: see `TileIntegratorPlan.writer_operations` and `operations`; `pipeline_cycles` from an operation of the
    reader to its beat entering the queue.
    """

    input: stream.Interface
    output: stream.Interface
    residual: stream.Interface
    load_constants: wiring.PureInterface

    def __init__(self, plan: TileIntegratorPlan, depth: int, late: bool = False):
        self.plan, self.depth, self.late = plan, depth, late
        self.output_layout = beat_layout(plan.output_format, plan.lanes_out)
        members = {
            "input": In(stream.Signature(beat_layout(plan.input_format, plan.lanes_in))),
            "output": Out(stream.Signature(self.output_layout)),
        }
        residual = plan.layer.residual
        if residual is not None:
            members["residual"] = In(stream.Signature(beat_layout(residual.number_format, plan.lanes_out)))
        if plan.loadable:
            members["load_constants"] = In(load_bus(constant_contents(plan).address_bits))
        super().__init__(members)

    def elaborate(self, _platform: object) -> Module:
        """Return both sequencers, what joins them, and the banks between them."""
        m = Module()
        plan = self.plan
        m.submodules.writer = writer = TileWriter(plan)
        m.submodules.reader = reader = TileReader(plan)
        m.submodules.queue = queue = CreditQueue(self.output_layout, self.depth)
        wiring.connect(m, queue.output, wiring.flipped(self.output))
        credit = queue.credit & self.residual.valid if plan.layer.residual is not None else queue.credit
        m.d.comb += [
            writer.input_valid.eq(self.input.valid),
            self.input.ready.eq(writer.take),
            writer.freed.eq(reader.row_end),
            writer.freed_last.eq(reader.last_row),
            reader.available.eq(self._available(m, writer, reader)),
            reader.credit.eq(credit),
            queue.reserve.eq(reader.go),
            queue.push.eq(delay(m, reader.go, plan.pipeline_cycles, "push", resets=True)),
        ]
        banks = self._banks(m, writer, reader)
        m.d.comb += queue.beat.eq(self._requantised(m, reader, self._totals(m, reader, banks)))
        return m

    def _banks(self, m: Module, writer: TileWriter, reader: TileReader) -> TileBanks:
        """Return the banks, told by the writer what arrives and by the reader what leaves."""
        m.submodules.banks = banks = TileBanks(self.plan)
        m.d.comb += [
            banks.tile.eq(arrived(m, self.input, self.late)),
            banks.issue.eq(writer.issue), banks.group.eq(writer.group), banks.read_group.eq(reader.group),
        ]
        for axis, step in enumerate(writer.steps):
            m.d.comb += getattr(banks, f"step_{axis}").eq(step)
            for name in (f"run_{axis}", f"round_{axis}"):
                m.d.comb += getattr(banks, name).eq(getattr(reader, name))
        return banks

    def _available(self, m: Module, writer: TileWriter, reader: TileReader) -> Value:
        """Return that a row is complete that the reader has not yet sent."""
        complete = Signal(range(self.plan.ring + 1), name="complete_rows")
        shown = delay(m, writer.shows, self.plan.writer_pipeline_cycles + 1, "shown_rows", resets=True)
        # Worked out beforehand either way: that a row ends is known late in the cycle.
        frees = Mux(reader.last_row, 1 + self.plan.rows.beyond, 1)
        m.d.sync += complete.eq(Mux(reader.row_end, complete + shown - frees, complete + shown))
        return complete != 0

    def _totals(self, m: Module, reader: TileReader, banks: TileBanks) -> list[Value]:
        """Return the whole sums of the output in turn, of each row at once: all other banks' words are cleared."""
        plan = self.plan
        rows_axis = len(plan.axes) - 2 if plan.rows_at_once > 1 else -1
        rows: list[list[Value]] = [[] for _ in range(plan.rows_at_once)]
        for place, bank in enumerate(banks.banks):
            word = Signal(banks.word_bits, name="word" + name_of(bank), reset_less=True)
            m.d.sync += word.eq(banks.words[place])
            meant = [
                getattr(reader, f"bank_{axis}") == index for axis, index in enumerate(bank)
                if plan.bank_shape[axis] > 1 and axis != rows_axis
            ]
            if meant:
                with m.If(delay(m, ~every(meant), 2, "other" + name_of(bank))):
                    m.d.sync += word.eq(0)
            rows[bank[rows_axis] if rows_axis >= 0 else 0].append(word)
        return [delay(m, _either(of_row), 1, f"totals_{row}") for row, of_row in enumerate(rows)]

    def _requantised(self, m: Module, reader: TileReader, totals: list[Value]) -> Value:
        """Return the beat of activations, `requantise_cycles` later."""
        plan = self.plan
        filters = delay(m, reader.group, DRAIN_CYCLES - 1, "filter")
        blocks = [Requantise(plan) for _ in totals]
        for row, (block, sums) in enumerate(zip(blocks, totals, strict=True)):
            m.submodules[f"requantise_{row}" if row else "requantise"] = block
            m.d.comb += [block.filter.eq(filters), block.totals.eq(sums)]
            if plan.loadable:
                bus = self.load_constants
                m.d.comb += [
                    block.load.write.eq(bus.write), block.load.address.eq(bus.address), block.load.data.eq(bus.data),
                ]
        if plan.layer.residual is not None:
            m.submodules.residual_delay = wait = LongDelay(len(self.residual.p.as_value()), DRAIN_CYCLES)
            m.d.comb += [
                self.residual.ready.eq(reader.go),
                wait.value.eq(self.residual.p),
                blocks[0].residual.eq(wait.late),
            ]
        return Cat(block.beat for block in blocks)


def _either(words: Sequence[Value]) -> Value:
    """Return the one word that is not cleared, by a balanced tree."""
    if len(words) == 1:
        return words[0]
    half = len(words) // 2
    return _either(words[:half]) | _either(words[half:])
