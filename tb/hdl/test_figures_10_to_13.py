"""The worked example of US 2020/0117986, figures 10 to 13, step by step, from all three mode sources.

How the text is read, where it leaves that open:

- The text names six columns but four integrators, and calls its sizes "just examples" ([0060]). With kernels of
  three rows, three output rows are open at once; four integrators do for two filter banks where there are only
  two output rows. So: an image of four rows, 908 and 910 for bank A, 912 and 914 for bank B.
- Columns 808, 810, 812 hold kernel rows 1, 2, 3 of filter bank A, over all planes; 814, 816, 818 those of bank B.
- [0067] uses A and B for kernels, [0071] for "the first two entries" of the first output row: read as the first
  pixel of that row in output planes A and B, integrated by 908 and 912. C and D, "other output rows" at 910 and
  914, are read as the same pixel of the second row, one column behind; the text does not name their columns.
- The row's other pixels are for "other portions of the crosspoint array" ([0071]): here the same columns again.
- [0061] presents "one image-row" to the fixed columns, yet every integral there is a whole output, which needs
  k rows: read as the k·k·D activations under the window.
"""

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from crosstile.crosspoint_plan import CrosspointPlan
from crosstile.fold import Fold
from crosstile.mode_source import ComputedRotation, ExternalMode, ModeSource, StoredProgram, mode_layout
from crosstile.output_controller import OutputController
from crosstile_golden.activation import NONE
from crosstile_golden.convolution import convolution as convolve
from crosstile_golden.geometry import ConvolutionGeometry
from crosstile_golden.network import ConvolutionLayer
from crosstile_golden.numbers import Integers, NumberFormat

from .bench import UINT8, pack, prove_engine, unpack

PLANES, FILTERS, KERNEL, HEIGHT, WIDTH = 3, 2, 3, 4, 5
OUT_HEIGHT, OUT_WIDTH = HEIGHT - KERNEL + 1, WIDTH - KERNEL + 1
TIME_STEPS = OUT_HEIGHT + KERNEL - 1
SUM_BITS, INTEGRAL_BITS = 20, 24
COLUMNS = {808: (0, 0), 810: (0, 1), 812: (0, 2), 814: (1, 0), 816: (1, 1), 818: (1, 2)}  # filter bank, kernel row
INTEGRATORS = [908, 910, 912, 914]

GEOMETRY = ConvolutionGeometry(
    PLANES, (HEIGHT, WIDTH), (KERNEL, KERNEL), (1, 1), (1, 1), (0, 0), (0, 0), FILTERS, 1
)  # fmt: skip


def image_and_weights() -> tuple[Integers, Integers]:
    generator = np.random.default_rng(10)
    image = generator.integers(0, 256, (PLANES, HEIGHT, WIDTH))
    return image, generator.integers(-128, 128, (FILTERS, PLANES, KERNEL, KERNEL))


def layer_of(geometry: ConvolutionGeometry, weight: Integers) -> ConvolutionLayer:
    """Return the layer with its whole sums as outputs."""
    zero = np.zeros(len(weight), np.int64)
    return ConvolutionLayer("figure", geometry, weight, zero, zero, 8, UINT8, NumberFormat(INTEGRAL_BITS, True), NONE)


def plan_with(steering: str) -> CrosspointPlan:
    return CrosspointPlan(layer_of(GEOMETRY, image_and_weights()[1]), Fold(KERNEL, KERNEL, PLANES, FILTERS), steering)


def source_of(name: str) -> ModeSource:
    """Return a source of the words of one filter bank: three columns, two integrators."""
    if name == "computed":
        return ComputedRotation(kernel_rows=KERNEL, integrators=2, outputs=OUT_HEIGHT, padding=0)
    if name == "stored":
        return StoredProgram(KERNEL, 2, plan_with("stored").mode_words)
    return ExternalMode(KERNEL, 2)


class Figure(wiring.Component):
    """Output controller 1110 before integrators 908, 910, 912, 914; both filter banks follow one mode source.

    `sums`, of the six columns, stand from one `advance` to the next, which ends their time-step.
    """

    def __init__(self, source: ModeSource):
        self.source = source
        self.controller = OutputController(len(COLUMNS), len(INTEGRATORS), SUM_BITS)
        super().__init__({
            "advance": In(1), "external": In(mode_layout(KERNEL, 2)),
            "sums": In(data.ArrayLayout(signed(SUM_BITS), len(COLUMNS))),
            "integrals": Out(data.ArrayLayout(signed(INTEGRAL_BITS), len(INTEGRATORS))),
        })

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.source, m.submodules.controller = self.source, self.controller
        controller, word = self.controller, self.source.word
        m.d.comb += [self.source.advance.eq(self.advance), controller.sums.eq(self.sums)]
        if isinstance(self.source, ExternalMode):
            m.d.comb += self.source.mode.eq(self.external)
        for index, (bank, row) in enumerate(COLUMNS.values()):
            m.d.comb += [
                controller.mode[index].integrator.eq(2 * bank + word.steering[row].integrator),
                controller.mode[index].steered.eq(word.steering[row].steered),
            ]
        arrives, fresh = Signal(), Signal(2)  # with the contributions
        m.d.sync += [arrives.eq(self.advance), fresh.eq(word.fresh)]
        for index in range(len(INTEGRATORS)):
            integral = Signal(signed(INTEGRAL_BITS), name=f"integral_{index}")
            before = Value.cast(integral) & ~fresh[index % 2].replicate(INTEGRAL_BITS)
            with m.If(arrives):
                m.d.sync += integral.eq(before.as_signed() + controller.contributions[index])
            m.d.comb += self.integrals[index].eq(integral)
        return m


def column_sums(row: int, pixel: int) -> list[int]:
    """Return what the six columns sum while row `row` of all planes is at the array ([0061], [0067])."""
    image, weights = image_and_weights()
    window = image[:, row, pixel : pixel + KERNEL]
    return [int((weights[bank, :, kernel_row] * window).sum()) for bank, kernel_row in COLUMNS.values()]


def run(name: str, pixel: int) -> tuple[list[dict[int, int]], list[dict[int, int]]]:
    """Return, per time-step, the integrator of each column that is steered, and the integrals after it."""
    dut: Any = Figure(source_of(name))
    words = plan_with("stored").mode_words
    steered: list[dict[int, int]] = []
    integrals: list[dict[int, int]] = []

    async def process(context: Any) -> None:
        await context.tick()
        for step in range(TIME_STEPS):
            context.set(Value.cast(dut.external), mode_layout(KERNEL, 2).const(words[step].fields()).as_value().value)
            context.set(Value.cast(dut.sums), pack(column_sums(step, pixel), SUM_BITS))
            await context.tick()
            steered.append({
                column: INTEGRATORS[context.get(dut.controller.mode[index].integrator)]
                for index, column in enumerate(COLUMNS)
                if context.get(dut.controller.mode[index].steered)
            })
            context.set(dut.advance, 1)
            await context.tick()
            context.set(dut.advance, 0)
            await context.tick()
            held = unpack(context.get(Value.cast(dut.integrals)), len(INTEGRATORS), INTEGRAL_BITS, signed=True)
            integrals.append(dict(zip(INTEGRATORS, held, strict=True)))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()
    return steered, integrals


SOURCES = ["computed", "stored", "external"]


@pytest.mark.parametrize("name", SOURCES)
def test_the_columns_of_each_time_step_reach_the_integrators_of_the_figures(name: str) -> None:
    """Figures 11 to 13 ([0069]-[0071]): 808 and 814, then 810 and 816, then 812 and 818 go to 908 and 912."""
    steered, _ = run(name, 0)
    assert steered == [
        {808: 908, 814: 912},
        {810: 908, 816: 912, 808: 910, 814: 914},
        {812: 908, 818: 912, 810: 910, 816: 914},
        {812: 910, 818: 914},
    ]


@pytest.mark.parametrize("name", SOURCES)
def test_an_integrator_takes_columns_that_it_is_not_beside(name: str) -> None:
    """908 lies beside 808 and takes 810's current too; 910 lies beside 810 and takes 808's ([0059], claims 3, 4)."""
    steered, _ = run(name, 0)
    assert {column for step in steered for column, integrator in step.items() if integrator == 908} == {808, 810, 812}
    assert steered[1][808] == 910 and steered[1][810] == 908


@pytest.mark.parametrize("pixel", range(OUT_WIDTH))
@pytest.mark.parametrize("name", SOURCES)
def test_integrals_equal_the_golden_convolution_after_each_rows_last_time_step(name: str, pixel: int) -> None:
    """After k time-steps an integrator contains all k·k·D terms, not before ([0066])."""
    image, weights = image_and_weights()
    golden = convolve(image[np.newaxis], weights, GEOMETRY)[0, :, :, pixel]
    _, integrals = run(name, pixel)
    first_row, second_row = integrals[KERNEL - 1], integrals[KERNEL]
    assert [first_row[908], first_row[912]] == golden[:, 0].tolist()
    assert [second_row[910], second_row[914]] == golden[:, 1].tolist()
    for integrator, (bank, row) in {908: (0, 0), 910: (0, 1), 912: (1, 0), 914: (1, 1)}.items():
        window = weights[bank] * image[:, row : row + KERNEL, pixel : pixel + KERNEL]
        terms = window.sum(axis=(0, 2)).cumsum().tolist()
        assert [integrals[step][integrator] for step in range(row, row + KERNEL)] == terms


# Figure 10: fixed columns


def fixed_columns(image: Integers, weights: Integers) -> tuple[Integers, int]:
    """Run figure 10's arrangement: I1 to C1, I2 to C2, …, each integral an output; return outputs and time-steps.

    The k·k·D activations under a window are the array's inputs, a column is a filter. Each of the integrated
    charges is "treated as the output of the multiply-accumulate operation" ([0061]), so none is kept.
    """
    dut: Any = OutputController(FILTERS, FILTERS, INTEGRAL_BITS)
    outputs: list[list[int]] = []

    async def process(context: Any) -> None:
        for index in range(FILTERS):
            context.set(dut.mode[index].integrator, index)
            context.set(dut.mode[index].steered, 1)
        await context.tick()
        for row, pixel in np.ndindex(OUT_HEIGHT, OUT_WIDTH):
            window = image[:, row : row + KERNEL, pixel : pixel + KERNEL]
            context.set(Value.cast(dut.sums), pack((weights * window).sum(axis=(1, 2, 3)).tolist(), INTEGRAL_BITS))
            await context.tick()
            outputs.append(unpack(context.get(Value.cast(dut.contributions)), FILTERS, INTEGRAL_BITS, signed=True))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()
    return np.array(outputs).T.reshape(FILTERS, OUT_HEIGHT, OUT_WIDTH), len(outputs)


@pytest.mark.parametrize("name", SOURCES)
def test_fixed_columns_need_a_time_step_per_pixel_and_steered_ones_a_time_step_per_row(name: str) -> None:
    """One output pixel per time-step ([0062]) against one output row from the kth time-step on ([0070], [0072]).

    Results are the same; H'·W' time-steps against H' + k − 1. The steered array has "other portions" for the
    other pixels of the row, W' times the columns: that is where its time-steps go.
    """
    image, weights = image_and_weights()
    fixed, fixed_steps = fixed_columns(image, weights)
    steered = np.zeros_like(fixed)
    for pixel in range(OUT_WIDTH):
        _, integrals = run(name, pixel)
        for row in range(OUT_HEIGHT):
            held = integrals[row + KERNEL - 1]
            steered[:, row, pixel] = [held[INTEGRATORS[row]], held[INTEGRATORS[2 + row]]]
    np.testing.assert_array_equal(steered, fixed)
    np.testing.assert_array_equal(steered, convolve(image[np.newaxis], weights, GEOMETRY)[0])
    assert (fixed_steps, len(integrals)) == (OUT_HEIGHT * OUT_WIDTH, OUT_HEIGHT + KERNEL - 1)


# The same layer on the real engine


@pytest.mark.parametrize("steering", ["chain", "computed", "stored"])
def test_the_engine_runs_the_example_in_as_many_time_steps(steering: str) -> None:
    """The engine has one portion of the array, whose columns take the row's pixels in turn: W cycles a time-step.

    (Rows as short as these wait for their integrators besides.)
    """
    plan = plan_with(steering)
    image, _ = image_and_weights()
    prove_engine(plan, image[np.newaxis])
    assert plan.banks == len(INTEGRATORS) // FILTERS
    assert len(plan.row_steps) == TIME_STEPS
    assert plan.cycles_per_frame == TIME_STEPS * WIDTH + sum(plan.gap_after(row) for row in range(TIME_STEPS))


def test_the_engine_runs_fixed_columns_in_a_time_step_per_pixel() -> None:
    """Figure 10 on the same engine: windows unrolled outside of it, every sum complete at once ([0061], [0062])."""
    image, weights = image_and_weights()
    windows = [
        image[:, row : row + OUT_HEIGHT, pixel : pixel + OUT_WIDTH]
        for row in range(KERNEL) for pixel in range(KERNEL)
    ]
    unrolled = np.stack(windows, axis=1).reshape(1, -1, OUT_HEIGHT, OUT_WIDTH)
    inputs = PLANES * KERNEL**2
    geometry = ConvolutionGeometry(
        inputs, (OUT_HEIGHT, OUT_WIDTH), (1, 1), (1, 1), (1, 1), (0, 0), (0, 0), FILTERS, 1
    )  # fmt: skip
    layer = layer_of(geometry, weights.reshape(FILTERS, inputs, 1, 1))
    plan = CrosspointPlan(layer, Fold(1, 1, inputs, FILTERS))
    prove_engine(plan, unrolled)
    np.testing.assert_array_equal(layer.run(unrolled), plan_with("chain").layer.run(image[np.newaxis]))
    assert plan.cycles_per_frame == OUT_HEIGHT * OUT_WIDTH
