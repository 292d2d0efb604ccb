"""Control pins at 0 of ECP5's multiplier blocks get nets of their own, and nothing else changes."""

import copy
from typing import Any

from crosstile_cli.ecp5_controls import drive_multiplier_controls

CLOCK, OPERAND, RESULT, RESET = 2, 7, 8, 9


def multiplier(**controls: Any) -> dict[str, Any]:
    connections = {"A0": [OPERAND], "A1": ["0"], "CLK0": [CLOCK], "CE0": ["1"]}
    connections |= {"RST0": ["0"], "SIGNEDA": ["1"], "SIGNEDB": ["1"], "SOURCEA": ["0"], "SOURCEB": ["0"]} | controls
    return {"type": "MULT18X18D", "connections": connections}


def module(*multipliers: dict[str, Any], reset: bool = True) -> dict[str, Any]:
    cells = {f"multiplier_{index}": cell for index, cell in enumerate(multipliers)}
    lut = {"type": "LUT4", "connections": {"A": ["0"], "B": [OPERAND], "Z": [RESULT]}}
    nets = {"clk": {"bits": [CLOCK]}, "a": {"bits": [OPERAND, "0"]}, "y": {"bits": [RESULT]}}
    ports = {"clk": {"direction": "input", "bits": [CLOCK]}}
    if reset:
        ports["rst"] = {"direction": "input", "bits": [RESET]}
        nets["rst"] = {"bits": [RESET]}
    return {"cells": cells | {"lut": lut}, "ports": ports, "netnames": nets}


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the pins of both netlists' common cells that differ, with what drives them now."""
    return {
        f"{name} {pin}": after["cells"][name]["connections"][pin]
        for name, cell in before["cells"].items() for pin, bits in cell["connections"].items()
        if bits != after["cells"][name]["connections"][pin]
    }  # fmt: skip


def test_resets_come_from_the_reset_and_the_others_from_one_table_of_zeros() -> None:
    netlist = module(multiplier(), multiplier())
    before = copy.deepcopy(netlist)
    assert drive_multiplier_controls(netlist) == 6
    (name,) = set(netlist["cells"]) - set(before["cells"])
    ground = netlist["cells"][name]
    assert (ground["type"], ground["parameters"]) == ("LUT4", {"INIT": "0" * 16})
    (net,) = ground["connections"]["Z"]
    assert net not in (CLOCK, OPERAND, RESULT, RESET)
    driven = {"RST0": [RESET], "SOURCEA": [net], "SOURCEB": [net]}
    assert changes(before, netlist) == {f"multiplier_{i} {pin}": bits for i in (0, 1) for pin, bits in driven.items()}


def test_without_a_reset_all_come_from_the_table_of_zeros() -> None:
    netlist = module(multiplier(), reset=False)
    before = copy.deepcopy(netlist)
    assert drive_multiplier_controls(netlist) == 3
    assert len({tuple(bits) for bits in changes(before, netlist).values()}) == 1


def test_a_block_that_does_not_load_in_every_cycle_is_not_reset() -> None:
    netlist = module(multiplier(CE0=[OPERAND]), multiplier())
    before = copy.deepcopy(netlist)
    assert drive_multiplier_controls(netlist) == 6
    driven = changes(before, netlist)
    assert driven["multiplier_0 RST0"] == driven["multiplier_0 SOURCEA"] == driven["multiplier_1 SOURCEA"]
    assert driven["multiplier_1 RST0"] == [RESET]


def test_a_control_that_is_driven_or_at_1_stays() -> None:
    netlist = module(multiplier(RST0=[OPERAND], SOURCEA=["1"]))
    before = copy.deepcopy(netlist)
    assert drive_multiplier_controls(netlist) == 1
    assert set(changes(before, netlist)) == {"multiplier_0 SOURCEB"}


def test_a_netlist_without_such_zeros_stays_as_it_is() -> None:
    for netlist in (module(), module(multiplier(RST0=[RESET], SOURCEA=["1"], SOURCEB=["1"]))):
        before = copy.deepcopy(netlist)
        assert drive_multiplier_controls(netlist) == 0
        assert netlist == before
