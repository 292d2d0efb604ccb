"""Runs Yosys passes in a process of their own: `python -P yosys_process.py SCRIPT`, one pass per line.

Yosys ends its process on an error; here it is not the user's.
"""

import sys
from pathlib import Path

from pyosys import libyosys


def main(script: Path) -> None:
    """Run every line of the script as one Yosys pass on one design."""
    design = libyosys.Design()
    for line in script.read_text().splitlines():
        libyosys.run_pass(line, design)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
