"""What the sequencer of the reuse-grouped engine tells its datapath."""

from amaranth.lib import data

from .reuse_axis import ReuseAxis
from .reuse_plan import ReusePlan


def gather_layout(axis: ReuseAxis) -> data.StructLayout:
    """Return what an operation tells the slots of an axis.

    arrive         a vector comes from the axes within
    slot           where it goes
    final          it is the class's last: slots not read are filled
    visit          the halo store hands on, and keeps
    halos, zeros   slots filled by it; slots in the padding
    """
    slots = len(axis.slots)
    return data.StructLayout(
        {"arrive": 1, "slot": range(max(slots, 2)), "final": 1, "visit": 1, "halos": slots, "zeros": slots}
    )


def operation_layout(plan: ReusePlan) -> data.StructLayout:
    """Return what an operation tells the datapath in the cycle it is issued.

    read, address   a word is read
    gather_0..2     see `gather_layout`: depth, row, column
    further_0..2    per tap: it takes the input one level on
    live_0..2       per tap: its input is no padding
    multiply        operands meet the weights
    replay          they are those of the first filter group again
    weight          address of the weights
    first           first channel group: sums start anew
    step, last      a class's filter group is complete: sums move on; the frame's last
    filter          filter group of the output that is sent
    """
    axes = plan.axes
    return data.StructLayout({
        "read": 1, "address": range(max(plan.frame_words, 2)), "multiply": 1, "replay": 1,
        **{f"gather_{n}": gather_layout(axis) for n, axis in enumerate(axes)},
        **{f"{what}_{n}": axis.kernel for what in ("further", "live") for n, axis in enumerate(axes)},
        "weight": range(len(plan.weight_words)), "first": 1, "step": 1, "last": 1,
        "filter": range(plan.filter_groups),
    })
