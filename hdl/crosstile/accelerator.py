"""The top level: a network's stages between two AXI4-Stream ports."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out
from crosstile_golden.numbers import NumberFormat

from .crosspoint import CrosspointEngine
from .crosspoint_plan import CrosspointPlan
from .network_plan import JOIN_DEPTH, Link, NetworkPlan, StagePlan, input_format, lanes_in, lanes_out, output_format
from .pool import Pool
from .streams import Join, Split, beat_layout

INPUT_DEPTH = 3  # the least that passes a beat per cycle


def lane_bits(number_format: NumberFormat) -> int:
    """Return the bits of one channel in TDATA: whole bytes, so that a beat is an array of integers in memory."""
    return -(-number_format.bits // 8) * 8


class Accelerator(wiring.Component):
    """A network as an AXI4-Stream peripheral: a frame in, its result out, frame after frame.

    Each channel takes 8 or 16 bits of TDATA, sign- or zero-extended, the first channel in the least
    significant bits; beats come in the order row, column, channel group. `m_axis_tlast` marks the last beat
    of a result. `frame_error` rises, and stays until reset, where `s_axis_tlast` is not on the last beat of
    a frame; the data are not affected. `rst` is synchronous and active high; it may come at any time.

    Timing: see `NetworkPlan.timing`.
    """

    def __init__(self, plan: NetworkPlan):
        self.plan = plan
        first, last = plan.stages[0], plan.stages[-1]
        self.input_bits = lanes_in(first) * lane_bits(input_format(first))
        self.output_bits = lanes_out(last) * lane_bits(output_format(last))
        super().__init__({
            "s_axis_tdata": In(self.input_bits), "s_axis_tvalid": In(1), "s_axis_tlast": In(1),
            "s_axis_tready": Out(1),
            "m_axis_tdata": Out(self.output_bits), "m_axis_tvalid": Out(1), "m_axis_tlast": Out(1),
            "m_axis_tready": In(1),
            "frame_error": Out(1),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the stages, joined."""
        m = Module()
        plan = self.plan
        source = self._input(m)
        for index, (stage, depth) in enumerate(zip(plan.stages, plan.depths, strict=True)):
            block = _stage(stage, depth)
            m.submodules[f"stage_{index}"] = block
            wiring.connect(m, source, block.input)
            source = block.output
            if index < len(plan.links):
                source = _adapt(m, index, source, plan.links[index], output_format(stage))
        self._output(m, source)
        return m

    def _input(self, m: Module) -> stream.Interface:
        """Return the input as a stream of beats, behind registers."""
        first = self.plan.stages[0]
        number_format, lanes = input_format(first), lanes_in(first)
        beats = stream.Signature(beat_layout(number_format, lanes)).create(path=("source",))
        m.submodules.input = queue = fifo.SyncFIFOBuffered(width=number_format.bits * lanes, depth=INPUT_DEPTH)
        step = lane_bits(number_format)
        data: Value = self.s_axis_tdata
        m.d.comb += [
            queue.w_data.eq(Cat(data[lane * step :][: number_format.bits] for lane in range(lanes))),
            queue.w_en.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(queue.w_rdy),
            beats.p.as_value().eq(queue.r_data),
            beats.valid.eq(queue.r_rdy),
            queue.r_en.eq(beats.ready),
        ]
        arrived = Signal()
        m.d.comb += arrived.eq(self.s_axis_tvalid & self.s_axis_tready)
        last = _last_of(m, self.plan.beats_in, arrived, "input_beat")
        with m.If(arrived & (last != self.s_axis_tlast)):
            m.d.sync += self.frame_error.eq(1)
        return beats

    def _output(self, m: Module, source: stream.Interface) -> None:
        """Drive the output port from the last stage's queue."""
        last = self.plan.stages[-1]
        number_format, step = output_format(last), lane_bits(output_format(last))
        lanes = [
            Cat(Value.cast(source.p[lane]), (source.p[lane][-1] & number_format.signed).replicate(step))[:step]
            for lane in range(lanes_out(last))
        ]
        m.d.comb += [
            self.m_axis_tdata.eq(Cat(*lanes)),
            self.m_axis_tvalid.eq(source.valid),
            source.ready.eq(self.m_axis_tready),
        ]
        left = source.valid & source.ready
        m.d.comb += self.m_axis_tlast.eq(_last_of(m, self.plan.beats_out, left, "output_beat"))


def _stage(plan: StagePlan, depth: int) -> CrosspointEngine | Pool:
    """Return the block that runs a stage."""
    return CrosspointEngine(plan, depth) if isinstance(plan, CrosspointPlan) else Pool(plan, depth)


def _adapt(
    m: Module, index: int, source: stream.Interface, link: Link, number_format: NumberFormat
) -> stream.Interface:
    """Return the stream with the lanes that the next stage takes."""
    if link.split > 1:
        split = Split(number_format, link.before, link.between)
        m.submodules[f"split_{index}"] = split
        wiring.connect(m, source, split.input)
        source = split.output
    if link.join > 1:
        join = Join(number_format, link.between, link.after, JOIN_DEPTH)
        m.submodules[f"join_{index}"] = join
        wiring.connect(m, source, join.input)
        source = join.output
    return source


def _last_of(m: Module, beats: int, step: Value, name: str) -> Value:
    """Return a flag that the present beat is the last of `beats`; `step` counts them."""
    counter = Signal(range(beats), name=name)
    last = Signal(name=f"{name}_last")
    m.d.comb += last.eq(counter == beats - 1)
    with m.If(step):
        m.d.sync += counter.eq(Mux(last, 0, counter + 1))
    return last
