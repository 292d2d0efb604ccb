"""Counters of sequencers: each comes with the flag that it is at its end."""

from amaranth.hdl import Const, Module, Mux, Signal, Value


def counter(m: Module, size: int, step: Value, name: str) -> tuple[Value, Value]:
    """Return a counter 0..size−1 that goes on with `step`, and a register that is high while it is at its end."""
    value = Signal(range(size), name=name)
    return value, count_up(m, value, size, step)


def count_up(m: Module, value: Signal, size: int, step: Value, restart: Value | None = None) -> Value:
    """Count 0..size−1 with `step`, and from 0 again after `restart`; return a register: it is at its end."""
    if size == 1:
        return Const(1, 1)
    end = Signal(name=f"{value.name}_end")
    with m.If(step):
        m.d.sync += [value.eq(Mux(end, 0, value + 1)), end.eq(value == size - 2)]
    if restart is not None:
        with m.If(restart):
            m.d.sync += [value.eq(0), end.eq(0)]
    return end


def compared_counter(
    m: Module, size: int, step: Value, name: str, single: Value | None = None
) -> tuple[Value, Value]:
    """Return a counter 0..size−1, and whether it is at its end: fewer gates than `counter`, but known later.

    While `single` it does not count, and always is at its end.
    """
    if size == 1:
        return Const(0, 1), Const(1, 1)
    value, last = Signal(range(size), name=name), Signal(name=f"{name}_last")
    at_end = value == size - 1
    m.d.comb += last.eq(at_end if single is None else at_end | single)
    with m.If(step):
        m.d.sync += value.eq(Mux(last, 0, value + 1))
    return value, last


def tally(m: Module, count: Signal, some: Signal, more: Value, fewer: Value) -> None:
    """Keep a count that goes up with `more` and down with `fewer`, and a register that is high while it is above 0.

    What `fewer` means for the flag is worked out beside it: it may come late in its cycle.
    """
    m.d.sync += [count.eq(count + more - fewer), some.eq(more | Mux(fewer, several(count), some))]


def several(count: Value) -> Value:
    """Return whether a count is above 1."""
    return count[1:].any() if len(count) > 1 else Const(0, 1)
