"""A small network, compiled once; tests that change a build get a copy of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from commands import Crosstile, Inputs, compile_quietly, runner


@pytest.fixture
def crosstile(capsys: pytest.CaptureFixture[str]) -> Crosstile:
    return runner(capsys)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return Inputs.write(tmp_path_factory.mktemp("inputs with a space"))


@pytest.fixture(scope="session")
def compiled(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build that no test may change."""
    return compile_quietly(inputs, tmp_path_factory.mktemp("compiled") / "tiny", multipliers=12)


@pytest.fixture
def build(compiled: Path, tmp_path: Path) -> Path:
    """A build of the test's own, in an else empty folder."""
    return Path(shutil.copytree(compiled, tmp_path / "build"))
