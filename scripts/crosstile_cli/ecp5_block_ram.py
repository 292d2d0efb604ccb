"""Output registers of ECP5's block RAMs, which Yosys leaves unused: a pass over its JSON netlist."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

Cells = dict[str, dict[str, Any]]
Loads = Mapping[Any, list[tuple[str, str]]]


def absorb_output_registers(module: dict[str, Any]) -> int:
    """Move flip-flops behind block RAMs into them, in a netlist module as Yosys writes it; return how many moved.

    A DP16KD drives its outputs 5.8 ns after the clock, with its own output register in 0.6 ns. The register does
    what a plain flip-flop behind it does: so a block RAM whose every output that is used drives one flip-flop
    and nothing else, with the same clock and neither enable nor reset, takes them all in.
    """
    cells: Cells = module["cells"]
    loads = _loads(module)
    moved = 0
    for cell in [cell for cell in cells.values() if cell["type"] == "DP16KD"]:
        behind = _registers(cell, cells, loads)
        for pin, register in behind.items():
            cell["connections"][pin] = cells.pop(register)["connections"]["Q"]
        if behind:
            cell["parameters"] |= {"REGMODE_A": "OUTREG", "REGMODE_B": "OUTREG"}
            moved += len(behind)
    return moved


def _loads(module: Mapping[str, Any]) -> Loads:
    """Return for each net bit the cell inputs and module ports that it drives."""
    loads: dict[Any, list[tuple[str, str]]] = defaultdict(list)
    for name, cell in module["cells"].items():
        for pin, bits in cell["connections"].items():
            if cell["port_directions"][pin] != "output":
                for bit in bits:
                    loads[bit].append((name, pin))
    for name, port in module["ports"].items():
        for bit in port["bits"]:
            loads[bit].append(("", name))
    return loads


def _registers(cell: Mapping[str, Any], cells: Cells, loads: Loads) -> dict[str, str]:
    """Return the flip-flop behind each output pin in use, or nothing where one of them cannot move."""
    clocks = {bit for port in ("CLKA", "CLKB") for bit in cell["connections"].get(port, []) if not isinstance(bit, str)}
    found = {}
    for pin, bits in cell["connections"].items():
        driven = loads.get(bits[0], []) if pin.startswith("DO") else []
        if not driven:
            continue
        name, load_pin = driven[0]
        if len(driven) > 1 or load_pin != "DI" or not _is_plain(cells[name], clocks):
            return {}
        found[pin] = name
    return found


def _is_plain(cell: Mapping[str, Any], clocks: set[Any]) -> bool:
    """Tell whether a cell is a flip-flop on the only clock given, always enabled, never reset, starting at 0."""
    parameters, connections = cell["parameters"], cell["connections"]
    return (
        cell["type"] == "TRELLIS_FF"
        and set(connections["CLK"]) == clocks
        and parameters.get("CLKMUX", "CLK") == "CLK"
        and parameters.get("CEMUX", "CE").strip() == "1"
        and connections.get("LSR", ["0"]) == ["0"]
        and parameters.get("REGSET") == "RESET"
    )
