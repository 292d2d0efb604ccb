"""Control pins of ECP5's multiplier blocks that must be 0: a pass over Yosys's JSON netlist."""

from typing import Any

RESETS = ("RST0", "RST1", "RST2", "RST3")
GROUNDED = ("SOURCEA", "SOURCEB", "SIGNEDA", "SIGNEDB")
ENABLES = ("CE0", "CE1", "CE2", "CE3")
GROUND = "multiplier_ground"

Pins = dict[str, list[Any]]


def drive_multiplier_controls(module: dict[str, Any]) -> int:
    """Drive every control pin at 0 of a netlist module's MULT18X18D by a net of its own; return how many pins.

    What nothing drives is read as 1, so a 0 is a routed wire. nextpnr takes it from the ground net of the whole
    design, and its router then extends and rips up this net for 10 minutes and more. So
    - resets of a block whose registers load in every cycle go to the module's input `rst`, which a device spreads by
      a global wire: from the third cycle after it on nothing is changed by it, and the engines issue nothing before;
    - the others, and resets where there is no such input, are grounded by one look-up table.
    No pin at 0: the netlist stays as it is.
    """
    blocks = [cell["connections"] for cell in module["cells"].values() if cell["type"] == "MULT18X18D"]
    reset = module["ports"].get("rst", {}).get("bits")
    zeros = [(block, pin) for block in blocks for pin in (*RESETS, *GROUNDED) if block.get(pin) == ["0"]]
    grounded = []
    for block, pin in zeros:
        if reset and pin in RESETS and _always_loads(block):
            block[pin] = list(reset)
        else:
            grounded.append((block, pin))
    if grounded:
        net = _ground(module)
        for block, pin in grounded:
            block[pin] = [net]
    return len(zeros)


def _always_loads(block: Pins) -> bool:
    return all(block.get(pin, ["1"]) == ["1"] for pin in ENABLES)


def _ground(module: dict[str, Any]) -> int:
    """Add a look-up table of zeros to a module, and return the net that it drives."""
    net = 1 + max(bit for net in module["netnames"].values() for bit in net["bits"] if isinstance(bit, int))
    module["netnames"][GROUND] = {"hide_name": 0, "bits": [net], "attributes": {}}
    module["cells"][GROUND] = {
        "hide_name": 0, "type": "LUT4", "parameters": {"INIT": "0" * 16}, "attributes": {},
        "port_directions": dict.fromkeys("ABCD", "input") | {"Z": "output"},
        "connections": {pin: ["1"] for pin in "ABCD"} | {"Z": [net]},
    }  # fmt: skip
    return net
