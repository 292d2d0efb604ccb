"""The banks of tiles' outputs: their integrators, and the row store."""

import itertools
from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .storage import Storage
from .streams import delay
from .tile_integrators_axis import Places
from .tile_integrators_plan import READ_CYCLES, TileIntegratorPlan
from .tile_integrators_rotation import Index, TileRotation
from .tile_integrators_steps import step_layout


class TileBanks(wiring.Component):
    """Adds a tile's results to the integrators of their outputs, all at once; the row store keeps what is complete.

    An output's sum is read, added to and written by every tile that reaches it; with its row's last step it goes to
    the row store as well, over and over where tiles along inner axes still add to it.

    Members: `issue`, `group` and `step_...`, see `TileWriter`; `tile`, the beat taken, a cycle later. `read_group`,
    `run_...` and `round_...`, the output that leaves, see `TileReader`; two cycles later `words`, every bank's sums of
    all filters at that address.
    Timing: a tile per cycle; it is stored `TileIntegratorPlan.store_cycles` after it was taken. The same integrators
    may be read again by the `TURNAROUND`-th operation after.
    """

    def __init__(self, plan: TileIntegratorPlan):
        self.plan = plan
        self.banks: list[Index] = list(itertools.product(*map(range, plan.bank_shape)))
        self.word_bits = plan.total_bits * plan.filter_lanes
        members = {
            "tile": In(plan.tile_bits * plan.lanes_in), "issue": In(1), "group": In(range(plan.filter_groups)),
            "read_group": In(range(plan.filter_groups)),
            "words": Out(data.ArrayLayout(self.word_bits, len(self.banks))),
        }
        for axis, along in enumerate(plan.axes):
            members |= {
                f"step_{axis}": In(step_layout(plan, axis)), f"run_{axis}": In(range(along.interleaved)),
                f"round_{axis}": In(range(along.rounds if axis else plan.rows.store_rounds)),
            }
        super().__init__(members)

    def elaborate(self, _platform: object) -> Module:
        """Return the rotation, and per bank its integrators and its part of the row store."""
        m = Module()
        plan, count = self.plan, self.plan.store_cycles
        steps = self._delayed(m)
        issue = delay(m, self.issue, count - 1, "issue", resets=True)
        fields: list[Value] = [self.read_group]
        for axis in reversed(range(len(plan.axes))):
            fields += [getattr(self, f"run_{axis}"), getattr(self, f"round_{axis}")]
        for place, (bank, result) in enumerate(zip(self.banks, self._results(m, steps), strict=True)):
            write = issue & every([step.valid[index] for step, index in zip(steps[count - 1][1:], bank, strict=True)])
            sums = self._integrated(m, bank, result, steps, write) if plan.adds else result
            m.submodules["store" + name_of(bank)] = store = Storage(self.word_bits, plan.store_places.words)
            ends = steps[count - 1][1].ends[bank[0]]
            m.d.comb += [
                store.write_address.eq(_address(plan.store_places, steps[count], bank, "sent")),
                store.write_data.eq(sums),
                store.write.eq(delay(m, write & ends, 1, "store_write" + name_of(bank), resets=True)),
                store.read_address.eq(_join(plan.store_places, fields)),
                self.words[place].eq(delay(m, store.read_data, 1, "stored" + name_of(bank))),
            ]
        return m

    def _delayed(self, m: Module) -> list[list[data.View]]:
        """Return the writer's filter group and steps, 0 cycles late, 1, ... up to `store_cycles`."""
        group = data.View(data.StructLayout({"group": self.group.shape()}), self.group)
        late = [[group, *(getattr(self, f"step_{axis}") for axis in range(len(self.plan.axes)))]]
        for cycle in range(self.plan.store_cycles):
            late.append([
                data.View(view.shape(), delay(m, view, 1, f"step_{index}_{cycle + 1}"))
                for index, view in enumerate(late[-1])
            ])
        return late

    def _results(self, m: Module, steps: list[list[data.View]]) -> list[Value]:
        """Return each bank's results of a tile, as they meet what they add to, or are stored."""
        plan = self.plan
        m.submodules.rotation = rotation = TileRotation(plan)
        m.d.comb += rotation.tile.eq(self.tile)
        cycle = 1
        for axis, banks in enumerate(plan.axes):
            m.d.comb += getattr(rotation, f"choices_{axis}").eq(steps[cycle][1 + axis].choices)
            cycle += banks.rotates
        wait = plan.data_cycles - 1 - plan.rotations
        results = []
        for place, bank in enumerate(self.banks):
            late = delay(m, rotation.results[place], wait, "result" + name_of(bank))
            size = rotation.result_bits
            lanes = (late[lane * size :][:size].as_signed() for lane in range(plan.filter_lanes))
            results.append(Cat(*(_extended(lane, plan.total_bits) for lane in lanes)))
        return results

    def _integrated(
        self, m: Module, bank: Index, result: Value, steps: list[list[data.View]], write: Value
    ) -> Value:
        """Return a bank's results added to what earlier tiles left for their outputs, a cycle later; keep the sums."""
        plan, name = self.plan, name_of(bank)
        bits = plan.total_bits
        m.submodules["integrators" + name] = memory = Storage(self.word_bits, plan.integrator_places.words)
        read = plan.data_cycles - READ_CYCLES
        now = steps[plan.data_cycles - 2][1:]
        fresh = every([step.fresh[index] for step, index in zip(now, bank, strict=True)])
        start = Signal(self.word_bits, name="start" + name, reset_less=True)
        total = Signal(self.word_bits, name="sum" + name, reset_less=True)
        m.d.sync += start.eq(delay(m, memory.read_data, 1, "integrated" + name))
        with m.If(delay(m, fresh, 1, "fresh" + name)):
            m.d.sync += start.eq(0)
        for lane in range(plan.filter_lanes):
            part = slice(lane * bits, (lane + 1) * bits)
            m.d.sync += total[part].eq(start[part] + result[part])
        m.d.comb += [
            memory.read_address.eq(_address(plan.integrator_places, steps[read], bank, "open")),
            memory.write_address.eq(_address(plan.integrator_places, steps[-1], bank, "open")),
            memory.write_data.eq(total),
            memory.write.eq(delay(m, write, 1, "write" + name, resets=True)),
        ]
        return total


def _address(places: Places, steps: Sequence[data.View], bank: Index, outer: str) -> Value:
    """Return the address of a bank's output; `outer` names the round of the outermost axis."""
    fields = [steps[0].group]
    for axis in reversed(range(len(bank))):
        step = steps[1 + axis]
        fields += [step.run, step[outer if axis == 0 else "rounds"][bank[axis]]]
    return _join(places, fields)


def _join(places: Places, fields: Sequence[Value]) -> Value:
    """Return an address from its fields."""
    return Cat(*(Value.cast(fields[index])[: places.bits(index)] for index in places.order))


def _extended(value: Value, bits: int) -> Value:
    """Return a signed value, no wider than `bits`, in so many."""
    return Cat(value, *[value[-1]] * (bits - len(value)))


def name_of(bank: Index) -> str:
    """Return the end of the names of what belongs to a bank."""
    return "".join(f"_{index}" for index in bank)


def every(flags: Sequence[Value]) -> Value:
    """Return that all flags are set."""
    return Cat(*flags).all()
