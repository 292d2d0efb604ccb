"""The output controller steers each column's sum to the integrator that the mode names, whichever column it is."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from amaranth.hdl import Value
from crosstile.output_controller import OutputController, steering_layout
from crosstile_golden.errors import CrosstileError

from .bench import clocked, pack, unpack

Mode = list[int | None]  # per column: an integrator, or nowhere
SIZES = [(1, 1), (1, 4), (3, 3), (6, 4), (4, 7), (5, 2)]
SUM_BITS = 9


def pattern(mode: Mode, integrators: int) -> int:
    """Return the mode as the one bit pattern of [0068]; the number of a column steered nowhere is arbitrary."""
    layout = steering_layout(len(mode), integrators)
    noise = random.Random(str(mode)).randrange(integrators)
    fields = [{"integrator": noise if goes is None else goes, "steered": goes is not None} for goes in mode]
    return layout.const(fields).as_value().value


def expected(mode: Mode, sums: list[int], integrators: int) -> list[int]:
    """Return each integrator's contribution, by the document's words; the bitwise OR where the mode is not legal."""
    contributions = [0] * integrators
    for goes, total in zip(mode, sums, strict=True):
        if goes is not None:
            contributions[goes] |= total
    return contributions


def legal(mode: Mode) -> bool:
    steered = [goes for goes in mode if goes is not None]
    return len(set(steered)) == len(steered)


def run(integrators: int, modes: list[Mode], sums: list[list[int]]) -> tuple[list[list[int]], list[bool]]:
    """Return contributions and conflicts, for a mode and sums in every cycle."""
    columns = len(modes[0])
    dut: Any = OutputController(columns, integrators, SUM_BITS)
    contributions: list[list[int]] = []
    conflicts: list[bool] = []

    async def process(context: Any) -> None:
        for cycle in range(len(modes) + 2):
            context.set(Value.cast(dut.mode), pattern(modes[cycle], integrators) if cycle < len(modes) else 0)
            context.set(Value.cast(dut.sums), pack(sums[cycle - 1], SUM_BITS) if 0 < cycle <= len(sums) else 0)
            if 1 <= cycle <= len(modes):
                conflicts.append(bool(context.get(dut.conflict)))
            if cycle >= 2:
                word = context.get(Value.cast(dut.contributions))
                contributions.append(unpack(word, integrators, SUM_BITS, signed=True))
            await context.tick()

    clocked(dut, process)
    return contributions, conflicts


def random_modes(columns: int, integrators: int, keep_legal: bool) -> Iterator[Mode]:
    generator = random.Random(columns * integrators)
    while True:
        mode: Mode = [generator.choice([None, *range(integrators)]) for _ in range(columns)]
        if legal(mode) or not keep_legal:
            yield mode


def check(columns: int, integrators: int, keep_legal: bool) -> list[bool]:
    modes = [mode for mode, _ in zip(random_modes(columns, integrators, keep_legal), range(200), strict=False)]
    generator, half = random.Random(1), 1 << (SUM_BITS - 1)
    sums = [[generator.choice([-half, half - 1, generator.randrange(-half, half)]) for _ in mode] for mode in modes]
    contributions, conflicts = run(integrators, modes, sums)
    assert contributions == [expected(mode, now, integrators) for mode, now in zip(modes, sums, strict=True)]
    assert conflicts == [not legal(mode) for mode in modes]
    return conflicts


@pytest.mark.parametrize(("columns", "integrators"), SIZES)
def test_each_sum_goes_where_the_mode_says_and_nowhere_else(columns: int, integrators: int) -> None:
    """A mode signal maps each column's output to the selected integrator, anew in every cycle ([0068], claim 14)."""
    assert not any(check(columns, integrators, keep_legal=True))


@pytest.mark.parametrize(("columns", "integrators"), [size for size in SIZES if size[0] > 1])
def test_two_columns_for_one_integrator_are_flagged(columns: int, integrators: int) -> None:
    """An integrator aggregates one wire in an integration step ([0006]): else `conflict` rises, the sums are ORed."""
    assert any(check(columns, integrators, keep_legal=False))


@pytest.mark.parametrize(("columns", "integrators"), SIZES)
def test_any_column_reaches_any_integrator(columns: int, integrators: int) -> None:
    """The integrator may lie beside a second column and be coupled to the first (claim 3)."""
    pairs = [(column, integrator) for column in range(columns) for integrator in range(integrators)]
    modes: list[Mode] = [[goes if c == column else None for c in range(columns)] for column, goes in pairs]
    sums = [[3 * column - 100 for column in range(columns)]] * len(pairs)
    contributions, _ = run(integrators, modes, sums)
    for (column, goes), found in zip(pairs, contributions, strict=True):
        assert found == [3 * column - 100 if integrator == goes else 0 for integrator in range(integrators)]


def test_a_selected_integrator_takes_its_own_column_and_then_another() -> None:
    """The integrator beside column 0 takes column 0's sum, and column 1's in another time-step (claim 4)."""
    contributions, _ = run(2, [[0, None], [None, 0]], [[11, 22], [33, 44]])
    assert contributions == [[11, 0], [44, 0]]


def test_currents_may_all_change_places() -> None:
    """I1 might now be steered to C2, I2 to C3, and I3 to C1 ([0064])."""
    contributions, _ = run(3, [[0, 1, 2], [1, 2, 0]], [[1, 2, 3], [4, 5, 6]])
    assert contributions == [[1, 2, 3], [6, 4, 5]]


def test_the_mode_is_one_bit_pattern() -> None:
    """The mode signal is a bit pattern ([0068]): number and flag of column 0 lowest."""
    assert steering_layout(6, 4).size == 6 * (2 + 1)
    word = steering_layout(2, 3).const([{"integrator": 2, "steered": 1}, {"integrator": 1}])
    assert word.as_value().value == 0b001110


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ((0, 1, 8), "output controller: columns must be 1 or more, not 0"),
        ((3, 0, 8), "output controller: integrators must be 1 or more, not 0"),
        ((3, 3, -1), "output controller: sum_bits must be 1 or more, not -1"),
    ],
)
def test_errors(parameters: tuple[int, int, int], text: str) -> None:
    with pytest.raises(CrosstileError, match=f"^{text}$"):
        OutputController(*parameters)


def test_a_controller_that_forgets_the_steered_flag_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: OutputController, column: int, integrator: int) -> Value:
        return self.mode[column].integrator == integrator

    monkeypatch.setattr(OutputController, "_selects", broken)
    with pytest.raises(AssertionError):
        check(3, 3, keep_legal=True)
