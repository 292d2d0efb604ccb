"""Runs cocotb tests in Icarus or Verilator, and reads what became of each."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

from cocotb_tools import config, runner
from crosstile_cli.toolchain import build_folder, require, tool_environment

SIMULATORS = ("icarus", "verilator")
TOOLS = {"icarus": ("iverilog", "vvp"), "verilator": ("verilator", "g++", "make")}
BENCHES = Path(__file__).parent
# The package's verilated.mk leaves the flag that includes a precompiled header empty.
MAKE_FLAGS = "CFG_CXXFLAGS_PCH_I=-include CXX=g++ LINK=g++ AR=ar OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O0"


# Every signal public, as the runner asks for, makes Verilator's C++ several times as large.
VISIBLE = """\
`verilator_config
public_flat_rw -module "{top}" -var "*"
public_flat_rd -module "*.stage_*" -var "output__*"
"""


class Verilator(runner.Verilator):
    """Builds with only those signals public that the benches use: ports, and streams between stages."""

    def _build_command(self) -> list[list[str]]:
        commands = super()._build_command()
        assert "--public-flat-rw" in commands[0]
        return [[part for part in command if part != "--public-flat-rw"] for command in commands]


RUNNERS: dict[str, type[runner.Runner]] = {"icarus": runner.Icarus, "verilator": Verilator}


@dataclass(frozen=True)
class Verdict:
    """What became of one cocotb test: `failure` is what it said, or None where it passed."""

    failure: str | None


def require_simulator(simulator: str) -> None:
    """Raise `CrosstileError`, with the one command that installs it, where the simulator is missing."""
    for tool in TOOLS[simulator]:
        require(tool)


@contextmanager
def _environment(simulator: str, folder: Path) -> Iterator[None]:
    """Give the runner the tools, none of them through a path with a space in it."""
    variables = tool_environment()
    if simulator == "verilator":
        (folder / "verilator").symlink_to(require("verilator").parents[1])
        (folder / "python").symlink_to(sys.executable)
        variables |= {
            "PATH": f"{folder / 'verilator/bin'}{os.pathsep}{variables['PATH']}",
            "VERILATOR_ROOT": str(folder / "verilator"),
            "MAKEFLAGS": f"{MAKE_FLAGS} PYTHON3={folder / 'python'}",
        }
    for name in ("libs", "share"):
        (folder / name).symlink_to(getattr(config, f"{name}_dir"))
    with (
        mock.patch.dict(os.environ, variables, clear=True),
        mock.patch.object(config, "libs_dir", folder / "libs"),
        mock.patch.object(config, "share_dir", folder / "share"),
    ):
        yield


@contextmanager
def built(simulator: str, sources: Sequence[Path], top: str) -> Iterator[tuple[runner.Runner, Path]]:
    """Compile Verilog in a folder of its own; give the runner and that folder.

    Raises `CrosstileError` where a tool is missing.
    """
    require_simulator(simulator)
    with build_folder() as folder, _environment(simulator, folder):
        copies = [Path(shutil.copy(source, folder)) for source in sources]
        options = ["-Wno-fatal", "-Wno-lint", "-Wno-style"] if simulator == "verilator" else []
        if simulator == "verilator":
            copies.append(folder / "visible.vlt")
            copies[-1].write_text(VISIBLE.format(top=top))
        tool = RUNNERS[simulator]()
        try:
            tool.build(
                sources=copies, hdl_toplevel=top, build_dir=folder / "build", build_args=options,
                timescale=("1ns", "1ps"), log_file=folder / "build.log",
            )  # fmt: skip
        except RuntimeError as error:
            log = (folder / "build.log").read_text()
            raise RuntimeError(f"{simulator} did not compile the design: {log[-2000:]}") from error
        yield tool, folder


def run_benches(
    simulator: str, sources: Sequence[Path], top: str, cases: Path, module: str = "network_bench",
    only: str | None = None,
) -> dict[str, Verdict]:
    """Build, run the cocotb tests of a module, and return their verdicts by name.

    only   regular expression: the tests to run
    """
    with built(simulator, sources, top) as (tool, folder):
        results = folder / "results.xml"
        with suppress(SystemExit):  # how the runner tells of a failed test, under pytest only
            tool.test(
                test_module=module, hdl_toplevel=top, hdl_toplevel_lang="verilog",
                build_dir=folder / "build", test_dir=folder,
                results_xml=str(results), test_filter=only, log_file=folder / "test.log",
                extra_env={"CROSSTILE_CASES": str(cases), "COCOTB_ANSI_OUTPUT": "0"},
            )  # fmt: skip
        if not results.is_file():
            raise RuntimeError(f"{simulator} ended early: {(folder / 'test.log').read_text()[-2000:]}")
        return _read(results)


def _read(results: Path) -> dict[str, Verdict]:
    verdicts = {}
    for test in ElementTree.parse(results).iter("testcase"):
        bad = test.find("failure") if test.find("failure") is not None else test.find("error")
        skipped = test.find("skipped") is not None
        failure = None if bad is None else bad.get("message") or bad.text or "failed"
        verdicts[str(test.get("name"))] = Verdict("skipped" if skipped else failure)
    return verdicts
