"""Both ends of a link that sends activations as durations (US 2020/0117986 [0006], [0077])."""

from crosstile.pulse import PulseReceiver, PulseSender
from crosstile.pulse_plan import PulsePlan
from crosstile.timing import queue_cycles
from crosstile_golden.numbers import NumberFormat

from .block import DEPTH, Block, Built, depth_of, stream_meanings
from .parameters import YES_NO, Parameter, whole

FORMAT = (
    Parameter("activation_bits", whole(1, 16), "every bit more doubles the time of a beat"),
    Parameter("signed", YES_NO, "activations are two's complement", "no"),
)
LANES = Parameter("lanes", whole(1, 1024), "activations per beat, each with a wire of its own")


def _wires(plan: PulsePlan, sends: bool) -> dict[str, str]:
    """Return the meanings of the wires between the two ends."""
    ready = (
        "from the receiver: it has a place for another beat; a slot begins only where this is high" if sends else
        "to the sender: a place for another beat is free; falls 1 cycle after the start that takes the last one"
    )
    meanings = {
        "pulses__start": "high in the first cycle of every slot",
        "pulses__high": "a wire per lane, lane n in bit n: high from the slot's first cycle on for as many cycles as "
        "the magnitude of its value",
        "pulses__ready": ready,
    }
    sign = {"pulses__sign": "a wire per lane, lane n in bit n: high for a negative value, steady over the slot"}
    return meanings | (sign if plan.number_format.signed else {})


def _timing(plan: PulsePlan) -> list[str]:
    spare = plan.slot_cycles - 3
    return [
        f"A slot takes {plan.slot_cycles} cycles, whatever the values; the next may follow at once.",
        f"start and ready may together have {spare} registers on their way between sender and "
        "receiver, high and sign as many as start. Reset must reach both ends alike.",
    ]


def _figures(plan: PulsePlan, **more: int) -> dict[str, int]:
    return {"cycles_per_beat": plan.slot_cycles, "wires": plan.wires, **more}


def _pulse_sender(activation_bits: int, signed: bool, lanes: int) -> Built:
    plan = PulsePlan(NumberFormat(activation_bits, signed), lanes, 1)
    meanings = stream_meanings("input", plan.number_format, lanes, _beat(lanes), sends=False)
    latency = plan.pipeline_cycles - plan.slot_cycles
    return Built(
        PulseSender(plan), meanings | _wires(plan, sends=True),
        [*_timing(plan), f"Latency: start is high {latency} cycles after the cycle in which the beat is taken."],
        _figures(plan, latency_cycles=latency, memory_bits=lanes * activation_bits),
    )


def _pulse_receiver(activation_bits: int, signed: bool, lanes: int, depth: int | None) -> Built:
    plan = PulsePlan(NumberFormat(activation_bits, signed), lanes, 1)
    places = depth_of(plan, depth)
    latency = plan.slot_cycles + queue_cycles(places)
    meanings = stream_meanings("output", plan.number_format, lanes, _beat(lanes), sends=True)
    return Built(
        PulseReceiver(plan, places), meanings | _wires(plan, sends=False),
        [*_timing(plan), f"Latency: the beat is offered {latency} cycles after the cycle in which start is high."],
        _figures(
            plan, latency_cycles=latency, memory_bits=lanes * activation_bits,
            queue_bits=places * lanes * activation_bits,
        ),
        {"depth": places},
    )


def _beat(lanes: int) -> str:
    return "1 activation" if lanes == 1 else f"{lanes} activations"


PULSE_SENDER = Block(
    "pulse-sender",
    "turns beats into durations: one wire per activation, high for as many cycles as its value.",
    (*FORMAT, LANES),
    _pulse_sender,
)

PULSE_RECEIVER = Block(
    "pulse-receiver",
    "turns durations back into beats: the other end of pulse-sender.",
    (*FORMAT, LANES, DEPTH),
    _pulse_receiver,
)
