"""Mode sources: where the output controller's word of each time-step comes from."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from crosstile_golden.errors import CrosstileError

from .crosspoint_plan import CrosspointPlan
from .crosspoint_program import ModeWord
from .output_controller import equals, steering_layout
from .program import Program


def mode_layout(kernel_rows: int, integrators: int) -> data.StructLayout:
    """Return the mode word of a time-step (US 2020/0117986 [0068]).

    steering   per kernel row: the integrator that its column sums are steered to, and whether they are
    fresh      a bit per integrator: it starts from zero
    complete   the integrator that leaves after the time-step
    """
    return data.StructLayout({
        "steering": steering_layout(kernel_rows, integrators), "fresh": integrators, "complete": range(integrators),
    })


class ComputedRotation(wiring.Component):
    """Works the mode word out: kernel row i at time-step y goes to integrator (y + padding − i) mod integrators.

    Kernel row i + 1 goes where kernel row i went a time-step before, so the rotation is a shift register behind
    one counter. A kernel row whose output row y + padding − i is none of 0..outputs−1 is steered nowhere.

    Parameters: `kernel_rows`; `integrators`, no fewer than the output rows open at once; `outputs`, the output
    rows of a frame; `padding`, rows above the first, 0 to kernel_rows − 1. Raises `CrosstileError` for others.
    Members: `word`, see `mode_layout`; `advance` brings the next, after a frame's last the first; `ready`.
    Timing: `word` stands from reset, and changes in the cycle after `advance`; it comes from registers.
    Cost on ECP5, measured for 3 kernel rows and 16 output rows: 22 LUTs and 15 flip-flops.
    """

    advance: Signal
    ready: Signal

    def __init__(self, kernel_rows: int, integrators: int, outputs: int, padding: int):
        least = min(kernel_rows, outputs)
        if kernel_rows < 1 or outputs < 1:
            raise CrosstileError(f"rotation: kernel_rows and outputs must be 1 or more, not {kernel_rows}, {outputs}")
        if not 0 <= padding < kernel_rows:
            raise CrosstileError(f"rotation: padding must be 0 to {kernel_rows - 1}, not {padding}")
        if integrators < least:
            raise CrosstileError(
                f"rotation: integrators must be {least} or more, the output rows open at once, not {integrators}"
            )
        self.kernel_rows, self.integrators = kernel_rows, integrators
        self.outputs, self.padding = outputs, padding
        super().__init__({"advance": In(1), "ready": Out(1), "word": Out(mode_layout(kernel_rows, integrators))})

    @property
    def steps(self) -> int:
        """Time-steps of a frame, those that only complete padded output rows included."""
        return self.outputs - self.padding + self.kernel_rows - 1

    def elaborate(self, _platform: object) -> Module:
        """Return the time-step's counter and the shift register of steerings."""
        m = Module()
        step = Signal(range(self.steps))
        start = Signal(init=1)
        last = Signal()
        steering = [self._start(row) for row in range(self.kernel_rows)]
        m.d.comb += [last.eq(equals(step, self.steps - 1)), self.ready.eq(1)]
        with m.If(self.advance):
            m.d.sync += [step.eq(Mux(last, 0, step + 1)), start.eq(last)]
            following: tuple[Value, Value] = self._following(steering[0][0], step)
            for integrator, steered in steering:
                m.d.sync += [
                    integrator.eq(Mux(last, integrator.init, following[0])),
                    steered.eq(Mux(last, steered.init, following[1])),
                ]
                following = integrator, steered
        self._drive(m, steering, start)
        return m

    def _start(self, row: int) -> tuple[Signal, Signal]:
        """Return a kernel row's steering, as it is in time-step 0."""
        integrator = Signal(
            range(self.integrators), name=f"integrator_{row}", init=(self.padding - row) % self.integrators
        )
        return integrator, Signal(name=f"steered_{row}", init=0 <= self.padding - row < self.outputs)

    def _following(self, integrator: Signal, step: Signal) -> tuple[Value, Value]:
        """Return kernel row 0's steering in the time-step after this one."""
        number = Mux(equals(integrator, self.integrators - 1), 0, integrator + 1)
        return number, step < self.outputs - self.padding - 1

    def _drive(self, m: Module, steering: list[tuple[Signal, Signal]], start: Signal) -> None:
        integrator, steered = steering[0]
        fresh = (start | (steered & equals(integrator, index)) for index in range(self.integrators))
        m.d.comb += [self.word.fresh.eq(Cat(fresh)), self.word.complete.eq(steering[-1][0])]
        for row, (integrator, steered) in enumerate(steering):
            m.d.comb += [
                self.word.steering[row].integrator.eq(integrator),
                self.word.steering[row].steered.eq(steered),
            ]


class StoredProgram(Program):
    """Keeps one mode word per time-step of the whole layer in a memory, and presents them in turn ([0068]).

    Parameters: `kernel_rows`, `integrators`; `words`, one per time-step of a frame, 1 or more. Raises
    `CrosstileError` for a word that steers two kernel rows to one integrator, or any to none there is.
    Members and timing: as `Program`; `word` as `mode_layout` has it.
    Cost on ECP5, measured for 3 kernel rows and 16 output rows (17 words of 14 bits): 21 LUTs and 14 flip-flops.
    """

    def __init__(self, kernel_rows: int, integrators: int, words: Sequence[ModeWord]):
        for step, word in enumerate(words):
            _check(step, word, integrators)
        super().__init__(mode_layout(kernel_rows, integrators), [word.fields() for word in words])


def _check(step: int, word: ModeWord, integrators: int) -> None:
    beyond = [number for number in (*word.integrators, word.complete) if not 0 <= number < integrators]
    if beyond:
        raise CrosstileError(
            f"mode program: time-step {step} names integrator {beyond[0]}; legal are 0 to {integrators - 1}"
        )
    contest = word.contest()
    if contest is not None:
        raise CrosstileError(
            f"mode program: time-step {step} steers two kernel rows to integrator {contest}; steer one at most"
        )


class ExternalMode(wiring.Component):
    """Hands on a mode word that comes from outside, and tells outside when the next one is due ([0068]).

    Members: `word`, `advance` and `ready` as of every source; `mode`, the word of the present time-step, from
    the cycle after `time_step` (from reset, for a frame's first) to the next; `time_step`, as `advance`.
    """

    advance: Signal
    ready: Signal
    time_step: Signal

    def __init__(self, kernel_rows: int, integrators: int):
        layout = mode_layout(kernel_rows, integrators)
        super().__init__({
            "advance": In(1), "ready": Out(1), "word": Out(layout), "mode": In(layout), "time_step": Out(1),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return plain connections."""
        m = Module()
        m.d.comb += [
            self.word.eq(self.mode),
            self.time_step.eq(self.advance),
            self.ready.eq(1),
        ]
        return m


ModeSource = ComputedRotation | StoredProgram | ExternalMode


def mode_source(plan: CrosspointPlan) -> ModeSource:
    """Return the source that a plan's steering names, for its layer."""
    plane = plan.plane
    if plan.steering == "computed":
        return ComputedRotation(plane.kernel_height, plan.banks, plane.out_height, plane.padding_top)
    if plan.steering == "stored":
        return StoredProgram(plane.kernel_height, plan.banks, plan.mode_words)
    return ExternalMode(plane.kernel_height, plan.banks)
