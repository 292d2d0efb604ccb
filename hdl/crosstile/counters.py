"""Counters of sequencers: each comes with the flag that it is at its end."""

from amaranth.hdl import Const, Module, Mux, Signal, Value


def counter(m: Module, size: int, step: Value, name: str, single: Value | None = None) -> tuple[Value, Value]:
    """Return a counter 0..size−1 that goes on with `step`, and whether it is at its end: see `count_up`."""
    value = Signal(range(size), name=name)
    return value, count_up(m, value, size, step, single=single)


def count_up(
    m: Module, value: Signal, size: int, step: Value, restart: Value | None = None, single: Value | None = None
) -> Value:
    """Count 0..size−1 with `step`, and from 0 again after `restart`; return whether it is at its end: a register.

    While `single`, which the register knows nothing of, it does not count, and always is at its end.
    """
    if size == 1:
        return Const(1, 1)
    end = Signal(name=f"{value.name}_end")
    last = end if single is None else end | single
    following, nearly = (value + 1)[: len(value)], value == size - 2
    if single is not None or size < 1 << len(value):
        # A mask and no choice: of a choice synthesis makes a reset, one more wire that waits for `step`.
        following &= ~last.replicate(len(value))
    with m.If(step):
        m.d.sync += [value.eq(following), end.eq(nearly if single is None else nearly & ~single)]
    if restart is not None:
        with m.If(restart):
            m.d.sync += [value.eq(0), end.eq(0)]
    return last


def tally(m: Module, count: Signal, some: Signal, more: Value, fewer: Value) -> None:
    """Keep a count that goes up with `more` and down with `fewer`, and a register that is high while it is above 0.

    What `fewer` means for the flag is worked out beside it: it may come late in its cycle.
    """
    with m.If(more ^ fewer):
        m.d.sync += [count.eq(Mux(more, count + 1, count - 1)), some.eq(more | _several(count))]


def _several(count: Value) -> Value:
    """Return whether a count is above 1."""
    return count[1:].any() if len(count) > 1 else Const(0, 1)
