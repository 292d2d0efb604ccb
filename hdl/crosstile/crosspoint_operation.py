"""What the crosspoint engine's sequencer tells the datapath: an operation."""

from amaranth.hdl import Signal
from amaranth.lib import data

from .crosspoint_plan import CrosspointPlan


def operation_layout(plan: CrosspointPlan) -> data.StructLayout:
    """Return what an operation tells the datapath in the cycle it is issued.

    issue      an operation is issued
    arrive     an activation beat arrives
    ends       it is the last of a time-step
    new        the operation's last tap is the arriving activation
    taps       per kernel column in parallel: the tap lies within the row (else it is zero)
    group      beat of the pixel: its channel group
    pixel      slot of the arriving pixel in the window's ring
    slots      per kernel column in parallel: slot of its pixel
    weight     address of the weights
    first      first of a pass: integrators are loaded
    last       last of a pass: integrators are stored
    fresh      integrators start from zero
    filter     filter group
    bank, position   address of the integrators
    """
    lanes = plan.fold.kernel_columns
    slot = range(plan.window_pixels)
    return data.StructLayout({
        "issue": 1, "arrive": 1, "ends": 1, "new": 1, "taps": lanes, "group": range(plan.beats_per_pixel),
        "pixel": slot, "slots": data.ArrayLayout(Signal(slot).shape(), lanes),
        "weight": range(len(plan.weight_words)), "first": 1, "last": 1, "fresh": 1,
        "filter": range(plan.filter_groups), "bank": range(max(plan.banks, 1)),
        "position": range(plan.integrator_positions),
    })
