"""The output controller: steers column sums to integrators, as a mode signal says."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from crosstile_golden.errors import CrosstileError


def steering_layout(columns: int, integrators: int) -> data.ArrayLayout:
    """Return the bit pattern that selects an integrator for each column (US 2020/0117986 [0068]).

    Per column, the first in the least significant bits: `integrator`, its number in ⌈log2(integrators)⌉ bits,
    and `steered`, 0 where the column's sum goes nowhere.
    """
    return data.ArrayLayout(data.StructLayout({"integrator": range(integrators), "steered": 1}), columns)


class OutputController(wiring.Component):
    """Steers each of `columns` sums to one of `integrators`, or nowhere (US 2020/0117986 [0064], [0068], claim 14).

        contributions[m] = sums[n] where mode[n] = (integrator m, steered), else 0

    Any column reaches any integrator: its own, or one that lies beside another column (claims 3 and 4). An
    integrator takes one column in an integration step ([0006]); a mode that steers two columns to one of them is
    not legal: its contribution is then the bitwise OR of their sums, and `conflict` is high.

    Parameters: `columns` and `integrators`, 1 or more; `sum_bits`, width of a sum, two's complement, 1 or more.
    Raises `CrosstileError` for others.
    Members: `mode`, see `steering_layout`, one cycle before its `sums`; `contributions`, one signed value per
    integrator, one cycle after them; `conflict`, in the cycle of the sums.
    Timing: registered selections, one AND-OR of `columns` terms, a register; new sums every cycle.
    """

    LATENCY = 1

    def __init__(self, columns: int, integrators: int, sum_bits: int):
        for name, value in (("columns", columns), ("integrators", integrators), ("sum_bits", sum_bits)):
            if value < 1:
                raise CrosstileError(f"output controller: {name} must be 1 or more, not {value}")
        self.columns, self.integrators, self.sum_bits = columns, integrators, sum_bits
        super().__init__({
            "mode": In(steering_layout(columns, integrators)),
            "sums": In(data.ArrayLayout(signed(sum_bits), columns)),
            "contributions": Out(data.ArrayLayout(signed(sum_bits), integrators)),
            "conflict": Out(1),
        })

    def elaborate(self, _platform: object) -> Module:
        """Return the switch: a selection per pair of column and integrator."""
        m = Module()
        contested = []
        for integrator in range(self.integrators):
            selections = Signal(self.columns, name=f"selections_{integrator}", reset_less=True)
            contribution = Signal(signed(self.sum_bits), name=f"contribution_{integrator}", reset_less=True)
            m.d.sync += [
                selections.eq(Cat(self._selects(column, integrator) for column in range(self.columns))),
                contribution.eq(chosen(list(self.sums), selections)),
            ]
            m.d.comb += self.contributions[integrator].eq(contribution)
            contested.append((selections & (selections - 1)).any())
        m.d.comb += self.conflict.eq(Cat(contested).any())
        return m

    def _selects(self, column: int, integrator: int) -> Value:
        steering = self.mode[column]
        return steering.steered & equals(steering.integrator, integrator)


def equals(number: Value, constant: int) -> Value:
    """Return whether an unsigned number is this one, compared at its own width."""
    return number == Const(constant, len(number))


def chosen(values: list[Value], selections: Value) -> Value:
    """Return the one value whose selection is high, 0 where none is; values all of one width, signed."""
    masked = (Value.cast(value) & selection.replicate(len(value))
              for value, selection in zip(values, selections, strict=True))
    return reduce(or_, masked).as_signed()
