"""The crosspoint engine: a convolution whose weights stay in place while activations stream by."""

from dataclasses import replace

from amaranth.hdl import Cat, Module, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .crosspoint_plan import OPERAND_CYCLES, CrosspointPlan
from .crosspoint_sequencer import CrosspointSequencer
from .integrators import Integrators
from .load_bus import load_bus
from .mode_source import ExternalMode, mode_layout, mode_source
from .multiplier_array import MultiplierArray, weight_contents
from .requantise import Requantise, constant_contents
from .row_window import RowWindow
from .steered_integrators import SteeredIntegrators
from .storage import LongDelay
from .streams import CreditQueue, beat_layout, delay


class CrosspointEngine(wiring.Component):
    """Convolves, requantises and activates a stream of rows (US 2020/0117986 [0064]-[0072]).

        sequencer ─ operation ─┬───────────┬──────────────┬───────────────┐
            │                  ▼           ▼              ▼               ▼
        input ──────────▶ row window ▶ multipliers ▶ integrators ▶ requantise ▶ queue ─▶ output
            │                  taps        sums           totals
            └ time-step ▶ mode source ─ word ─────────────▲  (but for the chain, which steers by addresses)

    Activations are taken in once, in the order row, column, channel group; outputs leave row by row, each as
    soon as its last kernel row is in. No frame is stored.

    Parameters: `plan`, the layer and its fold; `depth`, places of the output queue, 1 or more.
    Members: `input` and `output`, streams of beats. Where `plan.steering` is "external" also `mode`, `time_step`,
    see `ExternalMode`, and `conflict`: the word steers two kernel rows to one integrator, which is not legal.
    Timing: see `CrosspointPlan.operations`; a result enters the queue `CrosspointPlan.pipeline_cycles` after
    the operation that completes it. `time_step` follows the last operation of a row so late that the next word
    arrives with the next row's column sums.
    """

    input: stream.Interface
    output: stream.Interface
    residual: stream.Interface
    load_weights: wiring.PureInterface
    load_constants: wiring.PureInterface

    def __init__(self, plan: CrosspointPlan, depth: int):
        self.plan = plan
        self.depth = depth
        self.output_layout = beat_layout(plan.layer.output_format, plan.lanes_out)
        super().__init__({
            "input": In(stream.Signature(beat_layout(plan.layer.input_format, plan.fold.lanes_in))),
            "output": Out(stream.Signature(self.output_layout)),
            **(self._mode_ports() if plan.steering == "external" else {}),
            **(self._residual_port() if plan.layer.residual is not None else {}),
            **(self._load_ports() if plan.loadable else {}),
        })

    def _residual_port(self) -> dict[str, wiring.Member]:
        residual = self.plan.layer.residual
        assert residual is not None
        return {"residual": In(stream.Signature(beat_layout(residual.number_format, self.plan.lanes_out)))}

    def _load_ports(self) -> dict[str, wiring.Member]:
        weights, constants = weight_contents(self.plan), constant_contents(self.plan)
        return {
            "load_weights": In(load_bus(weights.address_bits)), "load_constants": In(load_bus(constants.address_bits)),
        }

    def _mode_ports(self) -> dict[str, wiring.Member]:
        layout = mode_layout(self.plan.fold.kernel_rows, self.plan.banks)
        return {"mode": In(layout), "time_step": Out(1), "conflict": Out(1)}

    def elaborate(self, _platform: object) -> Module:
        """Return the blocks, joined by delays that match their pipelines."""
        m = Module()
        plan = self.plan
        m.submodules.sequencer = sequencer = CrosspointSequencer(plan)
        m.submodules.window = window = RowWindow(plan)
        m.submodules.array = array = MultiplierArray(plan)
        requantise = [Requantise(replace(plan, rows_at_once=1)) for _ in range(plan.rows_at_once)]
        for index, row in enumerate(requantise):
            m.submodules[f"requantise_{index}" if index else "requantise"] = row
        m.submodules.queue = queue = CreditQueue(self.output_layout, self.depth)
        wiring.connect(m, queue.output, wiring.flipped(self.output))
        operation = sequencer.operation
        integrators = self._integrators(m, operation, array.sum_bits, sequencer.time_step)
        m.d.comb += [
            sequencer.input_valid.eq(self.input.valid),
            self.input.ready.eq(sequencer.take),
            queue.reserve.eq(sequencer.reserve),
            window.operation.eq(operation),
            window.beat.eq(self.input.p),
            array.address.eq(operation.weight),
            array.operands.eq(window.operands),
            integrators.sums.eq(array.sums),
            Cat(row.totals for row in requantise).eq(integrators.totals),
            queue.beat.eq(Cat(row.beat for row in requantise)),
        ]
        credit = queue.credit
        totals_lead = OPERAND_CYCLES + plan.tree_levels + plan.integrate_cycles
        if plan.layer.residual is not None:
            credit = credit & self.residual.valid
            m.d.comb += self.residual.ready.eq(sequencer.reserve)
            m.submodules.residual_delay = wait = LongDelay(len(self.residual.p.as_value()), totals_lead)
            m.d.comb += [wait.value.eq(self.residual.p), requantise[0].residual.eq(wait.late)]
        m.d.comb += sequencer.credit.eq(credit)
        if plan.loadable:
            wiring.connect(m, array.load, wiring.flipped(self.load_weights))
            for row in requantise:
                bus = self.load_constants
                m.d.comb += [row.load.write.eq(bus.write), row.load.address.eq(bus.address), row.load.data.eq(bus.data)]
        filters = delay(m, operation.filter, totals_lead - 1, "filter")
        m.d.comb += [
            *(row.filter.eq(filters) for row in requantise),
            queue.push.eq(delay(m, sequencer.reserve, plan.pipeline_cycles, "push", resets=True)),
        ]
        return m

    def _integrators(
        self, m: Module, operation: data.View, sum_bits: int, time_step: Value
    ) -> Integrators | SteeredIntegrators:
        """Return the integrators of the plan's steering, with the operation that each sum belongs to."""
        plan = self.plan
        integrators = SteeredIntegrators(plan, sum_bits) if plan.steered else Integrators(plan, sum_bits)
        m.submodules.integrators = integrators
        members = ("issue", "first", "last", "position") + (() if plan.steered else ("fresh", "bank"))
        for name in members:
            lead = OPERAND_CYCLES + plan.tree_levels - integrators.LEAD
            m.d.comb += getattr(integrators, name).eq(delay(m, operation[name], lead, name, resets=name == "issue"))
        if isinstance(integrators, SteeredIntegrators):
            self._mode(m, integrators, time_step)
        return integrators

    def _mode(self, m: Module, integrators: SteeredIntegrators, time_step: Value) -> None:
        """Step the mode source as rows reach the integrators: so a flag is delayed, and no words are."""
        plan = self.plan
        m.submodules.mode_source = source = mode_source(plan)
        lead = OPERAND_CYCLES + plan.tree_levels - integrators.MODE_LEAD
        # Every source is ready before the first sums: that is not waited for.
        m.d.comb += [
            source.advance.eq(delay(m, time_step, lead, "time_step", resets=True)),
            integrators.mode.eq(source.word),
        ]
        if isinstance(source, ExternalMode):
            m.d.comb += [
                source.mode.eq(self.mode),
                self.time_step.eq(source.time_step),
                self.conflict.eq(integrators.conflict),
            ]
