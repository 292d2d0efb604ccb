"""The line buffer: rows of activations, kept until the kernel's height is there."""

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from crosstile_golden.errors import CrosstileError

from .counters import counter
from .line_buffer_plan import LineBufferPlan
from .operation_register import OperationRegister
from .program import PrefetchedProgram, Program
from .storage import Storage
from .streams import PROMPT, CreditQueue, Late, arrived, beat_layout, delay


class LineBuffer(wiring.Component):
    """Collects under each position the activations of the last rows, and queues them: see `LineWindows`.

    Parameters: `plan`; `depth`, places of the output queue; `late`, which streams are.
    Timing: a beat per cycle, rows of padding included; `LineBufferPlan.pipeline_cycles` from a beat to what it
    completes entering the queue.
    """

    input: stream.Interface
    output: stream.Interface

    def __init__(self, plan: LineBufferPlan, depth: int, late: Late = PROMPT):
        self.plan, self.depth, self.late = plan, depth, late
        self.output_layout = beat_layout(plan.number_format, plan.lanes_out)
        super().__init__({
            "input": In(stream.Signature(beat_layout(plan.number_format, plan.lanes_in))),
            "output": Out(stream.Signature(self.output_layout)),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the windows before a queue."""
        m = Module()
        m.submodules.windows = windows = LineWindows(self.plan, self.late.input)
        m.submodules.queue = queue = CreditQueue(self.output_layout, self.depth, self.late.output)
        wiring.connect(m, wiring.flipped(self.input), windows.input)
        wiring.connect(m, queue.output, wiring.flipped(self.output))
        m.d.comb += [
            windows.credit.eq(queue.credit),
            queue.reserve.eq(windows.reserve),
            queue.beat.as_value().eq(windows.beat),
            queue.push.eq(delay(m, windows.reserve, self.plan.pipeline_cycles, "push", resets=True)),
        ]
        return m


class LineWindows(wiring.Component):
    """Collects under each position the activations of the last rows, see `LineBufferPlan`, for whoever has room.

    A word of the memory holds one position of all kept rows. Each beat that arrives reads its word, joins it at
    the lower end, and the word moves up by a row: no row is ever searched for. A window that is sent again is
    read from the words as they are: nothing arrives, and nothing moves.

    Parameters: `plan`; `late`, the input is, see `Late`; `burst`, beats that share a place, a divisor of a position's.
    Members: `input`; `credit`, there is a place, and `reserve`, it is taken, with the first beat of a burst; `emits`,
    a beat comes, and `ends`, the last of a burst; `beat`.
    Timing: an operation per cycle, see `LineBufferPlan.operations`, each decided a cycle before; `beat` comes
    `LineBufferPlan.pipeline_cycles` after `emits`.
    Raises `CrosstileError` for a burst that does not divide.
    """

    input: stream.Interface
    credit: Signal
    reserve: Signal
    emits: Signal
    ends: Signal

    def __init__(self, plan: LineBufferPlan, late: bool = False, burst: int = 1):
        beats = plan.channels // plan.lanes
        if burst < 1 or beats % burst:
            raise CrosstileError(f"layer {plan.name}: burst must divide the {beats} beats of a position, not {burst}")
        self.plan, self.late, self.burst = plan, late, burst
        super().__init__({
            "input": In(stream.Signature(beat_layout(plan.number_format, plan.lanes_in))),
            "credit": In(1), "reserve": Out(1), "emits": Out(1), "ends": Out(1),
            "beat": Out(plan.lanes_out * plan.number_format.bits),
        })

    def _steps(self, m: Module, advance: Value) -> tuple[data.View, Value]:
        """Return the present row's step, and whether it is there; `advance` brings the next."""
        plan = self.plan
        fields = {"intake": 1, "emit": 1, "taps": plan.kernel} | ({"again": 1} if plan.repeats else {})
        words = []
        for step in plan.row_steps:
            taps = sum(tap << index for index, tap in enumerate(step.taps))
            word = {"intake": step.intake, "emit": step.emit, "taps": taps, "again": step.again}
            words.append({field: word[field] for field in fields})
        kind = PrefetchedProgram if plan.steps_fetched else Program
        m.submodules.rows = rows = kind(data.StructLayout(fields), words)
        m.d.comb += rows.advance.eq(advance)
        return rows.word, Const(1) if plan.steps_fetched else rows.ready

    def elaborate(self, _platform: object) -> Module:
        """Return the sequencer, the memory and the beat of taps."""
        m = Module()
        plan = self.plan
        operation = self._operation(m)
        cycles = plan.read_cycles
        beat = delay(m, arrived(m, self.input, self.late), cycles - 1, "beat")
        kept = self._kept(m, operation.address, delay(m, operation.keep, cycles, "keep", resets=True), beat)
        window = self._window(m, operation, [*kept, beat])
        taps = delay(m, operation.taps, cycles, "taps")
        m.d.comb += self.beat.eq(self._beat(m, window, taps))
        return m

    def _operation(self, m: Module) -> data.View:
        """Return the operation issued: `keep`, the word at `address` moves up; `taps` and `again` are a `RowStep`'s."""
        plan = self.plan
        layout = {"arrive": 1, "keep": 1, "emits": 1, "ends": 1, "address": range(plan.words), "taps": plan.kernel}
        layout |= {"again": 1} if plan.repeats else {}
        m.submodules.register = register = OperationRegister(data.StructLayout(layout), ("keep", "emits", "ends"))
        go, following = Signal(), register.following
        word, word_last = counter(m, plan.words, go, "word")
        step, ready = self._steps(m, go & word_last)
        first, last = self._burst(m, go & step.emit)
        m.d.comb += [
            go.eq(ready & ~register.held),
            register.sends.eq(ready & step.emit & first),
            following.arrive.eq(ready & step.intake),
            following.keep.eq(ready & (~step.again if plan.repeats else 1)),
            following.emits.eq(ready & step.emit), following.ends.eq(ready & step.emit & last),
            following.address.eq(word), following.taps.eq(step.taps),
            register.input_valid.eq(self.input.valid), self.input.ready.eq(register.take),
            register.credit.eq(self.credit), self.reserve.eq(register.reserve),
            self.emits.eq(register.operation.emits), self.ends.eq(register.operation.ends),
        ]
        if plan.repeats:
            m.d.comb += following.again.eq(step.again)
        return register.operation

    def _burst(self, m: Module, step: Value) -> tuple[Value, Value]:
        """Return whether the beat is the first of its burst, and whether it is the last."""
        if self.burst == 1:
            return Const(1, 1), Const(1, 1)
        _, last = counter(m, self.burst, step, "beat")
        first = Signal(init=1)
        with m.If(step):
            m.d.sync += first.eq(last)
        return first, last

    def _kept(self, m: Module, address: Value, keep: Value, beat: Value) -> list[Value]:
        """Return the rows above the beat that arrived at its position, oldest first; move them up by one."""
        plan, bits = self.plan, len(beat)
        if not plan.kept_rows:
            return []
        size = bits * plan.kept_rows
        if plan.words == 1:
            word = Signal(size, name="kept", reset_less=True)
            with m.If(keep):
                m.d.sync += word.eq(Cat(word, beat)[bits:])
        else:
            m.submodules.storage = storage = Storage(size, plan.words)
            word = delay(m, storage.read_data, plan.read_cycles - 1, "kept")
            m.d.comb += [
                storage.read_address.eq(address),
                storage.write_address.eq(delay(m, address, plan.read_cycles, "address")),
                storage.write_data.eq(Cat(word, beat)[bits:]),
                storage.write.eq(keep),
            ]
        return [word[row * bits :][:bits] for row in range(plan.kept_rows)]

    def _window(self, m: Module, step: data.View, rows: list[Value]) -> list[Value]:
        """Return the window's rows out of those kept and the one arrived; of a window sent again all are kept."""
        plan, window = self.plan, rows[:: self.plan.dilation]
        if plan.repeats:
            again = delay(m, step.again, plan.read_cycles, "again")
            pairs = list(pairwise(rows))[:: plan.dilation]
            window = [Signal(len(rows[0]), name=f"window_{tap}") for tap in range(plan.kernel)]
            m.d.comb += [row.eq(Mux(again, kept, moved)) for row, (kept, moved) in zip(window, pairs, strict=True)]
        return window

    def _beat(self, m: Module, window: list[Value], taps: Value) -> Value:
        """Return the beat of taps, one cycle later, those outside of the rows as zero."""
        plan = self.plan
        step = plan.run * plan.number_format.bits
        beat = []
        for run in range(plan.lanes // plan.run):
            for tap in range(plan.kernel):
                part = Signal(step, name=f"part_{run}_{tap}", reset_less=True)
                m.d.sync += part.eq(Mux(taps[tap], window[tap][run * step :][:step], 0))
                beat.append(part)
        return Cat(*beat)
