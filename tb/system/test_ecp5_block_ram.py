"""Flip-flops behind an ECP5 block RAM move into it exactly where that changes nothing."""

import copy
from typing import Any

import pytest
from crosstile_cli.ecp5_block_ram import absorb_output_registers

CLOCK, ENABLE, OUT0, OUT1, Q0, Q1 = 2, 3, 10, 11, 20, 21


def flip_flop(source: int, result: int) -> dict[str, Any]:
    return {
        "type": "TRELLIS_FF",
        "parameters": {"CEMUX": "1 ", "CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET"},
        "port_directions": {"CLK": "input", "DI": "input", "LSR": "input", "Q": "output"},
        "connections": {"CLK": [CLOCK], "DI": [source], "LSR": ["0"], "Q": [result]},
    }


def module() -> dict[str, Any]:
    ram = {
        "type": "DP16KD",
        "parameters": {"REGMODE_A": "NOREG", "REGMODE_B": "NOREG"},
        "port_directions": {"CLKA": "input", "CLKB": "input", "DOA0": "output", "DOB0": "output", "DOB1": "output"},
        "connections": {"CLKA": ["0"], "CLKB": [CLOCK], "DOA0": [12], "DOB0": [OUT0], "DOB1": [OUT1]},
    }
    return {
        "cells": {"ram": ram, "first": flip_flop(OUT0, Q0), "second": flip_flop(OUT1, Q1)},
        "ports": {"y": {"direction": "output", "bits": [Q0, Q1]}},
    }


def test_registers_on_every_used_output_move_in_and_drive_what_they_drove() -> None:
    netlist = module()
    assert absorb_output_registers(netlist) == 2
    assert list(netlist["cells"]) == ["ram"]
    ram = netlist["cells"]["ram"]
    assert (ram["connections"]["DOB0"], ram["connections"]["DOB1"]) == ([Q0], [Q1])
    assert ram["parameters"] == {"REGMODE_A": "OUTREG", "REGMODE_B": "OUTREG"}


def enabled(netlist: dict[str, Any]) -> None:
    netlist["cells"]["second"]["parameters"]["CEMUX"] = "CE"
    netlist["cells"]["second"]["connections"]["CE"] = [ENABLE]
    netlist["cells"]["second"]["port_directions"]["CE"] = "input"


def reset(netlist: dict[str, Any]) -> None:
    netlist["cells"]["second"]["connections"]["LSR"] = [ENABLE]


def set_at_start(netlist: dict[str, Any]) -> None:
    netlist["cells"]["second"]["parameters"]["REGSET"] = "SET"


def other_clock(netlist: dict[str, Any]) -> None:
    netlist["cells"]["second"]["connections"]["CLK"] = [ENABLE]


def falling_edge(netlist: dict[str, Any]) -> None:
    netlist["cells"]["second"]["parameters"]["CLKMUX"] = "INV"


def read_twice(netlist: dict[str, Any]) -> None:
    netlist["cells"]["third"] = flip_flop(OUT1, 22)


def leaves_the_module(netlist: dict[str, Any]) -> None:
    netlist["ports"]["raw"] = {"direction": "output", "bits": [OUT1]}


def logic_behind(netlist: dict[str, Any]) -> None:
    lut = {"type": "LUT4", "parameters": {}, "port_directions": {"A": "input"}, "connections": {"A": [OUT1]}}
    netlist["cells"]["second"] = lut


OBSTACLES = (
    enabled, reset, set_at_start, other_clock, falling_edge, read_twice, leaves_the_module, logic_behind,
)  # fmt: skip


@pytest.mark.parametrize("obstacle", OBSTACLES, ids=lambda obstacle: obstacle.__name__)
def test_nothing_moves_where_one_output_must_stay_as_it_is(obstacle: Any) -> None:
    netlist = module()
    obstacle(netlist)
    before = copy.deepcopy(netlist)
    assert absorb_output_registers(netlist) == 0
    assert netlist == before
