"""Activations sent as durations: one wire per lane, high for as many cycles as the value."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .pulse_plan import PulsePlan
from .streams import CreditQueue, beat_layout


def pulse_signature(plan: PulsePlan) -> wiring.Signature:
    """Return the wires from sender to receiver, as the sender has them.

    start  high in the first cycle of every slot
    high   a wire per lane, high from the slot's first cycle on for as many cycles as the magnitude
    sign   only of signed formats: a wire per lane, high for a negative value, steady over the slot
    ready  back from the receiver: it has a place for another beat
    """
    members = {"start": Out(1), "high": Out(plan.lanes), "ready": In(1)}
    return wiring.Signature(members | ({"sign": Out(plan.lanes)} if plan.number_format.signed else {}))


def value_at(plan: PulsePlan, sign: Value | None, position: Value, negative: Value) -> Value:
    """Return what a wire that is high for `position` cycles means, as a number of the format."""
    value = position if sign is None else Mux(sign, negative, position)
    return value[: plan.number_format.bits]


class PulseSender(wiring.Component):
    """Turns beats into durations (US 2020/0117986 [0006], [0077]).

    All lanes share one count of the slot's cycles, and its negative; a wire falls where that equals its value, and
    does not rise where the value is zero. So no lane negates, counts, or compares for more and less.

    Members: `input`; `pulses`, the wires: see `pulse_signature`.
    Timing: a beat is taken where a slot may begin and `ready` is high; `start` is high two cycles later. A slot
    takes `PulsePlan.slot_cycles`, and the next may follow at once. `ready` must have fallen before the next beat
    may be taken, so `start` and `ready` may together have `slot_cycles` − 3 registers on their way (the other
    wires as many as `start`). Reset ends the slot; it must reach sender and receiver alike.
    """

    input: stream.Interface

    def __init__(self, plan: PulsePlan):
        self.plan = plan
        super().__init__({
            "input": In(stream.Signature(beat_layout(plan.number_format, plan.lanes))),
            "pulses": Out(pulse_signature(plan)),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the count of cycles, and per lane a value held and its wire."""
        m = Module()
        plan, pulses = self.plan, self.pulses
        go, begin, idle = Signal(), Signal(), Signal(init=1)
        over = Signal(init=1)  # a wire that was high for a whole slot
        position = Signal(range(plan.slot_cycles), reset_less=True)  # cycles of the slot that the wires have shown
        negative = Signal(plan.number_format.bits, reset_less=True)
        m.d.comb += [go.eq(idle & self.input.valid & pulses.ready), self.input.ready.eq(idle & pulses.ready)]
        m.d.sync += [
            begin.eq(go),
            pulses.start.eq(begin),
            idle.eq(Mux(idle, ~go, position == plan.slot_cycles - 2)),
            over.eq(idle),
            position.eq(Mux(go, 0, position + 1)),
        ]
        if plan.number_format.signed:
            m.d.sync += negative.eq(Mux(go, 0, negative - 1))
        for lane in range(plan.lanes):
            held = Signal(plan.number_format.bits, name=f"held_{lane}", reset_less=True)
            with m.If(idle):  # whatever shows is held: only a slot's beginning tells whether it counts
                m.d.sync += held.eq(self.input.p[lane])
            sign = held[-1] if plan.number_format.signed else None
            ends = Signal(name=f"ends_{lane}")
            m.d.comb += ends.eq(held == value_at(plan, sign, position, negative))
            m.d.sync += pulses.high[lane].eq((begin | (pulses.high[lane] & ~over)) & ~ends)
            if sign is not None:
                m.d.sync += pulses.sign[lane].eq(sign)
        return m


class PulseReceiver(wiring.Component):
    """Turns durations back into beats (US 2020/0117986 [0006], [0077]).

    All lanes share one count of the slot's cycles, and its negative; a lane keeps the count of the last cycle in
    which its wire was high, so no lane has an adder.

    Parameters: `plan`; `depth`, places of the output queue.
    Members: `pulses`, the wires: see `pulse_signature`; `output`.
    Timing: `start` takes a place of the queue, and `ready` falls one cycle later where it was the last; the beat
    enters the queue `PulsePlan.slot_cycles` after `start`. Reset forgets the slot.
    """

    output: stream.Interface

    def __init__(self, plan: PulsePlan, depth: int):
        self.plan = plan
        self.depth = depth
        self.layout = beat_layout(plan.number_format, plan.lanes)
        super().__init__({"pulses": In(pulse_signature(plan)), "output": Out(stream.Signature(self.layout))})

    def elaborate(self, _platform: object) -> Module:
        """Return the count of cycles, the value per lane, and the queue."""
        m = Module()
        plan, pulses = self.plan, self.pulses
        m.submodules.queue = queue = CreditQueue(self.layout, self.depth)
        wiring.connect(m, queue.output, wiring.flipped(self.output))
        position = Signal(range(plan.slot_cycles + 1), init=1)
        negative = Signal(signed(plan.number_format.bits), init=-1)
        busy, within, last = Signal(), Signal(), Signal()
        m.d.comb += [
            pulses.ready.eq(queue.credit),
            queue.reserve.eq(pulses.start),
            last.eq(position == plan.slot_cycles),
            within.eq((pulses.start | busy) & ~last),
        ]
        m.d.sync += [busy.eq(within), queue.push.eq(last), position.eq(Mux(within, position + 1, 1))]
        if plan.number_format.signed:
            m.d.sync += negative.eq(Mux(within, negative - 1, -1))
        for lane in range(plan.lanes):
            sign = pulses.sign[lane] if plan.number_format.signed else None
            value = Signal(plan.number_format.bits, name=f"value_{lane}", reset_less=True)
            with m.If(pulses.high[lane]):
                m.d.sync += value.eq(value_at(plan, sign, position, negative))
            with m.Elif(pulses.start):
                m.d.sync += value.eq(0)
            m.d.comb += queue.beat[lane].eq(value)
        return m


class PulseLink(wiring.Component):
    """Sender, wires and receiver: a stream in, the same stream out, as durations between (US 2020/0117986 [0006]).

        input ─▶ sender ─ start, high, sign ─▶ receiver ─▶ queue ─▶ output
                    ◀──────── ready ────────────┘

    `ready` is the `credit` of the receiver's queue: no slot begins that would find no place at its end.

    Parameters: `plan`; `depth`, places of the output queue; 2 keep slots back to back while the output is taken.
    Timing: `PulsePlan.operations` and `PulsePlan.pipeline_cycles`; independent of the values.
    """

    input: stream.Interface
    output: stream.Interface

    def __init__(self, plan: PulsePlan, depth: int):
        self.plan = plan
        self.depth = depth
        self.layout = beat_layout(plan.number_format, plan.lanes)
        super().__init__({"input": In(stream.Signature(self.layout)), "output": Out(stream.Signature(self.layout))})

    def elaborate(self, _platform: object) -> Module:
        """Return the two ends, joined."""
        m = Module()
        m.submodules.sender = sender = PulseSender(self.plan)
        m.submodules.receiver = receiver = PulseReceiver(self.plan, self.depth)
        wiring.connect(m, wiring.flipped(self.input), sender.input)
        wiring.connect(m, sender.pulses, receiver.pulses)
        wiring.connect(m, receiver.output, wiring.flipped(self.output))
        return m
