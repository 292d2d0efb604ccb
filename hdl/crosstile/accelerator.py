"""The top level: a network's stages between two AXI4-Stream ports."""

from collections.abc import Iterator
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from crosstile_golden.errors import CrosstileError
from crosstile_golden.numbers import NumberFormat

from .counters import counter
from .crosspoint import CrosspointEngine
from .crosspoint_plan import CrosspointPlan
from .joints import Fork, Join, Split
from .line_buffer import LineBuffer
from .line_buffer_plan import LineBufferPlan
from .network_plan import NetworkPlan
from .pool import Pool
from .pool_plan import PoolPlan
from .pulse import PulseLink
from .pulse_plan import PulsePlan
from .reuse_stage import ReuseStage
from .reuse_stage_plan import ReuseStagePlan
from .stages import INPUT, BlockPlan, Source, StreamPlan
from .streams import CreditQueue, Late, beat_layout, delay
from .tile_integrators import TileIntegrators
from .tile_integrators_plan import TileIntegratorPlan
from .timing import FREE_CYCLES, QUEUE_CYCLES
from .weight_port import WeightPort
from .winograd import WinogradEngine
from .winograd_plan import WinogradPlan

LANE_BITS = (8, 16, 32)
INPUT_DEPTH = QUEUE_CYCLES + FREE_CYCLES  # the least that passes a beat per cycle
READS_BITS = 48  # of the count of activations read: no simulation fills it


def lane_bits(number_format: NumberFormat) -> int:
    """Return the bits of one channel in TDATA, 8, 16 or 32, so that a beat is an array of integers in memory.

    Raises `CrosstileError` for a wider format.
    """
    fitting = [bits for bits in LANE_BITS if number_format.bits <= bits]
    if not fitting:
        raise CrosstileError(f"a port's activations may have {LANE_BITS[-1]} bits, not {number_format.bits}")
    return fitting[0]


class Accelerator(wiring.Component):
    """A network as an AXI4-Stream peripheral: a frame in, its result out, frame after frame.

    Each channel takes 8, 16 or 32 bits of TDATA, sign- or zero-extended, the first channel in the least
    significant bits; beats come in the order row, column, channel group. `m_axis_tlast` marks the last beat
    of a result. `frame_error` rises, and stays until reset, where `s_axis_tlast` is not on the last beat of
    a frame; the data are not affected. Where weights are loadable, `s_axil_*` is an AXI4-Lite port to write
    them through, see `WeightPort`. Where engines read frames from memories, `activation_reads` counts all the
    activations that they have read since reset. `rst` is synchronous and active high; it may come at any time.

    Timing: see `NetworkPlan.timing`.
    """

    def __init__(self, plan: NetworkPlan):
        self.plan = plan
        self._weight_port = WeightPort(plan.load_map) if plan.load_map is not None else None
        self.input_bits = plan.lanes_in * lane_bits(plan.input_format)
        self.output_bits = plan.lanes_out * lane_bits(plan.output_format)
        super().__init__({
            "s_axis_tdata": In(self.input_bits), "s_axis_tvalid": In(1), "s_axis_tlast": In(1),
            "s_axis_tready": Out(1),
            "m_axis_tdata": Out(self.output_bits), "m_axis_tvalid": Out(1), "m_axis_tlast": Out(1),
            "m_axis_tready": In(1),
            "frame_error": Out(1), **self._weight_ports(),
            **({"activation_reads": Out(READS_BITS)} if plan.reuse_layers else {}),
        })

    def _weight_ports(self) -> dict[str, Any]:
        members = self._weight_port.signature.members if self._weight_port else {}
        return {name: members[name] for name in members if name.startswith("s_axil")}

    def elaborate(self, _platform: object) -> Module:
        """Return the stages, joined."""
        m = Module()
        queues = {Source(INPUT): self._input(m)}
        loads = self._loads(m)
        reads: list[Value] = []
        for index, (stage, depths) in enumerate(zip(self.plan.stages, self.plan.depths, strict=True)):
            block = _block(stage.plan, depths, Late(stage.main in self.plan.late, Source(index) in self.plan.late))
            m.submodules[f"stage_{index}"] = block
            if isinstance(stage.plan, CrosspointPlan) and stage.plan.loadable:
                wiring.connect(m, next(loads), block.load_weights)
                wiring.connect(m, next(loads), block.load_constants)
            self._feed(m, f"split_{index}", queues[stage.main], block.input, stage.main, stage.plan.lanes_in)
            if stage.residual is not None:
                source = queues[stage.residual]
                self._feed(m, f"split_residual_{index}", source, block.residual, stage.residual, stage.plan.lanes_out)
            if isinstance(stage.plan, ReuseStagePlan):
                reads.append(Mux(block.read, stage.plan.lanes_in, 0))
            outputs = block.outputs if isinstance(block, Fork) else [block.output]
            queues |= {Source(index, queue): output for queue, output in enumerate(outputs)}
        self._output(m, queues[Source(len(self.plan.stages) - 1)])
        if reads:
            self._count(m, reads)
        return m

    def _count(self, m: Module, reads: list[Value]) -> None:
        """Count the activations read: the present ones in a register first, since the counter's carry is long."""
        total: Value = sum(reads[1:], reads[0])
        m.d.sync += self.activation_reads.eq(self.activation_reads + delay(m, total, 1, "read", resets=True))

    def _loads(self, m: Module) -> Iterator[Any]:
        """Return the load buses of weights and constants, engine by engine, from the weight port."""
        port = self._weight_port
        if port is None:
            return iter(())
        m.submodules.weight_port = port
        for name, member in self._weight_ports().items():
            inner, outer = getattr(port, name), getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        return (getattr(port, f"load_{index}") for index in range(len(port.load_map.regions)))

    def _feed(
        self, m: Module, name: str, queue: stream.Interface, target: stream.Interface, source: Source, lanes: int
    ) -> None:
        """Join a queue to an input, beat by beat or in parts."""
        if self.plan.split_of(source, lanes) > 1:
            number_format = self.plan.format_of(source)
            split = Split(number_format, self.plan.lanes_of(source), lanes)
            m.submodules[name] = split
            wiring.connect(m, queue, split.input)
            queue = split.output
        wiring.connect(m, queue, target)

    def _input(self, m: Module) -> stream.Interface:
        """Return the input as a stream of beats, behind a queue whose credit, a register, is TREADY."""
        number_format, lanes = self.plan.input_format, self.plan.lanes_in
        m.submodules.input = queue = CreditQueue(
            beat_layout(number_format, lanes), INPUT_DEPTH, Source(INPUT) in self.plan.late
        )
        step = lane_bits(number_format)
        data: Value = self.s_axis_tdata
        arrived = Signal()
        m.d.comb += [
            self.s_axis_tready.eq(queue.credit),
            arrived.eq(self.s_axis_tvalid & queue.credit),
            queue.beat.as_value().eq(Cat(data[lane * step :][: number_format.bits] for lane in range(lanes))),
            queue.reserve.eq(arrived), queue.push.eq(arrived),
        ]
        _, last = counter(m, self.plan.beats_in, arrived, "input_beat")
        with m.If(arrived & (last != self.s_axis_tlast)):
            m.d.sync += self.frame_error.eq(1)
        return queue.output

    def _output(self, m: Module, source: stream.Interface) -> None:
        """Drive the output port from the last stage's queue."""
        number_format, step = self.plan.output_format, lane_bits(self.plan.output_format)
        lanes = [
            Cat(Value.cast(source.p[lane]), (source.p[lane][-1] & number_format.signed).replicate(step))[:step]
            for lane in range(self.plan.lanes_out)
        ]
        m.d.comb += [
            self.m_axis_tdata.eq(Cat(*lanes)),
            self.m_axis_tvalid.eq(source.valid),
            source.ready.eq(self.m_axis_tready),
        ]
        left = source.valid & source.ready
        m.d.comb += self.m_axis_tlast.eq(counter(m, self.plan.beats_out, left, "output_beat")[1])


def _block(plan: BlockPlan, depths: tuple[int, ...], late: Late) -> Any:
    """Return the block that runs a stage, with queues of these depths; some streams are late."""
    if isinstance(plan, StreamPlan):
        if len(depths) > 1:
            return Fork(beat_layout(plan.number_format, plan.lanes), depths)
        return Join(plan.number_format, plan.lanes_in, plan.lanes_out, depths[0])
    if isinstance(plan, LineBufferPlan):
        return LineBuffer(plan, depths[0], late)
    if isinstance(plan, WinogradPlan):
        return WinogradEngine(plan, depths[0], late)
    if isinstance(plan, TileIntegratorPlan):
        return TileIntegrators(plan, depths[0], late.input)
    blocks: dict[type, Any] = {
        CrosspointPlan: CrosspointEngine, PoolPlan: Pool, PulsePlan: PulseLink, ReuseStagePlan: ReuseStage,
    }
    return blocks[type(plan)](plan, depths[0])
