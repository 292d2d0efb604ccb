"""The crosspoint engine: a convolution whose weights stay in place while activations stream by."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .crosspoint_plan import OPERAND_CYCLES, CrosspointPlan
from .crosspoint_sequencer import CrosspointSequencer
from .integrators import Integrators
from .multiplier_array import MultiplierArray
from .requantise import Requantise
from .row_window import RowWindow
from .streams import CreditQueue, beat_layout, delay


class CrosspointEngine(wiring.Component):
    """Convolves, requantises and activates a stream of rows (US 2020/0117986 [0064]-[0072]).

        sequencer ─ operation ─┬───────────┬──────────────┬───────────────┐
                               ▼           ▼              ▼               ▼
        input ──────────▶ row window ▶ multipliers ▶ integrators ▶ requantise ▶ queue ─▶ output
                               taps        sums           totals

    Activations are taken in once, in the order row, column, channel group; outputs leave row by row, each as
    soon as its last kernel row is in. No frame is stored.

    Parameters: `plan`, the layer and its fold; `depth`, places of the output queue, 1 or more.
    Timing: see `CrosspointPlan.operations`; a result enters the queue `CrosspointPlan.pipeline_cycles` after
    the operation that completes it.
    """

    input: stream.Interface
    output: stream.Interface

    def __init__(self, plan: CrosspointPlan, depth: int):
        self.plan = plan
        self.depth = depth
        self.output_layout = beat_layout(plan.layer.output_format, plan.fold.lanes_out)
        super().__init__({
            "input": In(stream.Signature(beat_layout(plan.layer.input_format, plan.fold.lanes_in))),
            "output": Out(stream.Signature(self.output_layout)),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the five blocks, joined by delays that match their pipelines."""
        m = Module()
        plan = self.plan
        m.submodules.sequencer = sequencer = CrosspointSequencer(plan)
        m.submodules.window = window = RowWindow(plan)
        m.submodules.array = array = MultiplierArray(plan)
        m.submodules.integrators = integrators = Integrators(plan, array.sum_bits)
        m.submodules.requantise = requantise = Requantise(plan)
        m.submodules.queue = queue = CreditQueue(self.output_layout, self.depth)
        wiring.connect(m, queue.output, wiring.flipped(self.output))
        operation = sequencer.operation
        m.d.comb += [
            sequencer.input_valid.eq(self.input.valid),
            self.input.ready.eq(sequencer.take),
            sequencer.credit.eq(queue.credit),
            queue.reserve.eq(sequencer.reserve),
            window.operation.eq(operation),
            window.beat.eq(self.input.p),
            array.address.eq(operation.weight),
            array.operands.eq(window.operands),
            integrators.sums.eq(array.sums),
            requantise.totals.eq(integrators.totals),
            queue.beat.eq(requantise.beat),
        ]
        lead = OPERAND_CYCLES + plan.tree_levels - Integrators.LEAD
        for name in ("issue", "first", "last", "fresh", "bank", "position"):
            member = delay(m, operation[name], lead, name, resets=name == "issue")
            m.d.comb += getattr(integrators, name).eq(member)
        m.d.comb += [
            requantise.filter.eq(delay(m, operation.filter, lead + Integrators.LEAD, "filter")),
            queue.push.eq(delay(m, sequencer.reserve, plan.pipeline_cycles, "push", resets=True)),
        ]
        return m
