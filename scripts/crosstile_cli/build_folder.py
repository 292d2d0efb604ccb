"""The BUILD directory: what compile leaves, whole or not at all, and what the other commands read."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from crosstile import __version__
from crosstile.fold import Fold
from crosstile.layer_plan import ConvolutionPlan, LayerPlan, PoolingPlan
from crosstile.network_plan import NetworkPlan
from crosstile.reuse_fold import ReuseFold
from crosstile.reuse_layer_plan import ReuseLayerPlan
from crosstile.winograd_fold import TileFold
from crosstile.winograd_layer_plan import WinogradLayerPlan
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import ConvolutionLayer, IntegerNetwork, Layer
from crosstile_golden.orientation import oriented

from .records import Words

FILES = ("network.npz", "mapping.json", "report.json", "report.html")


def write_json(content: object, path: Path) -> None:
    """Write JSON that reads well and is the same for the same content."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """Give an empty folder that becomes `target` at the end, and vanishes where something fails.

    Raises `CrosstileError` where `target` is not replaceable, or cannot be written.
    """
    check_replaceable(target)
    target = target.absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise CrosstileError(f"-o {target}: cannot be written: {error.strerror}; give another -o") from error
    try:
        yield partial
        partial.chmod(0o755)
        _replace(target, partial)
    except OSError as error:
        raise CrosstileError(f"-o {target}: cannot be written: {error.strerror}; give another -o") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_replaceable(target: Path) -> None:
    """Raise `CrosstileError` where `target` exists and is neither an earlier build nor an empty folder."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    try:
        earlier = "crosstile" in json.loads((target / "mapping.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        earlier = False
    if not earlier:
        raise CrosstileError(f"-o {target}: exists and is not a Crosstile build; give another -o or remove it")


def _replace(target: Path, partial: Path) -> None:
    """Put `partial` in the place of `target`, which stays whole until then."""
    earlier = partial.with_name(f"{partial.name}-earlier")
    if target.exists():
        target.rename(earlier)
    partial.rename(target)
    shutil.rmtree(earlier, ignore_errors=True)


@dataclass(frozen=True)
class BuildFolder:
    """A whole build of this version of Crosstile."""

    path: Path
    mapping: dict[str, Any]

    @staticmethod
    def open(path: Path) -> "BuildFolder":
        """Open a build.

        Raises `CrosstileError` that names what is missing, damaged, or made by another version.
        """
        if not path.is_dir():
            raise CrosstileError(f"{path}: no such build; make one with: crosstile compile MODEL.onnx -o {path}")
        missing = [name for name in FILES if not (path / name).is_file()]
        if missing:
            raise CrosstileError(f"{path}: not a whole build, {missing[0]} is missing; run crosstile compile again")
        try:
            mapping = json.loads((path / "mapping.json").read_text(encoding="utf-8"))
            version = mapping["crosstile"]
        except (ValueError, KeyError, TypeError) as error:
            raise CrosstileError(f"{path / 'mapping.json'}: damaged; run crosstile compile again") from error
        if version != __version__:
            raise CrosstileError(
                f"{path}: built by Crosstile {version}, this is {__version__}; run crosstile compile again"
            )
        build = BuildFolder(path, mapping)
        for file in [build.verilog, *([build.weights] if "weights" in mapping else [])]:
            if not file.is_file():
                name = file.relative_to(path).as_posix()
                raise CrosstileError(f"{path}: not a whole build, {name} is missing; run crosstile compile again")
        return build

    @property
    def name(self) -> str:
        """Name of the top module."""
        return str(self.mapping["name"])

    @property
    def verilog(self) -> Path:
        """The emitted design."""
        return self.path / "verilog" / f"{self.name}.v"

    @property
    def weights(self) -> Path:
        """What to write to load this training, see `weight_words`; there only where weights are loadable."""
        return self.path / "weights.npy"

    @property
    def work(self) -> Path:
        """Folder for logs and compiled simulations."""
        return self.path / "work"

    def weight_words(self) -> Words:
        """Return weights.npy: uint32, shape (words, 2), byte address and word.

        Raises `CrosstileError` where it is damaged.
        """
        try:
            words = np.load(self.weights, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise CrosstileError(f"{self.weights}: damaged; run crosstile compile again") from error
        whole = isinstance(words, np.ndarray) and words.dtype == np.uint32 and words.ndim == 2
        if not whole or words.shape[1] != 2 or not len(words):
            raise CrosstileError(f"{self.weights}: damaged; run crosstile compile again")
        return cast(Words, words)

    def network(self) -> IntegerNetwork:
        """Return the integer network."""
        return IntegerNetwork.load(self.path / "network.npz")

    def plan(self) -> NetworkPlan:
        """Return the network as it was mapped.

        Raises `CrosstileError` where mapping.json does not fit the network.
        """
        try:
            network = oriented(self.network(), self.mapping["orientation"])
            chosen = zip(network.layers, self.mapping["layers"], strict=True)
            plans = tuple(_layer(layer, choice) for layer, choice in chosen)
            depths = tuple(tuple(stage["queue_depths"]) for stage in self.mapping["stages"])
            if not depths:
                raise ValueError("no stages")
            return NetworkPlan(network, plans, self.mapping["links"], depths)
        except (KeyError, TypeError, ValueError) as error:
            raise CrosstileError(f"{self.path / 'mapping.json'}: damaged; run crosstile compile again") from error

    def add_to_report(self, section: str, content: dict[str, Any]) -> None:
        """Write a section's own JSON file, and put it into report.json and report.html.

        Raises `CrosstileError` where report.json is damaged.
        """
        from .report import write_report

        try:
            report = json.loads((self.path / "report.json").read_text(encoding="utf-8"))
            report[section] = content
        except (ValueError, TypeError) as error:
            raise CrosstileError(f"{self.path / 'report.json'}: damaged; run crosstile compile again") from error
        write_json(content, self.path / f"{section}.json")
        write_json(report, self.path / "report.json")
        write_report(report, self.path / "report.html")


def _layer(layer: Layer, choice: dict[str, Any]) -> LayerPlan:
    if isinstance(layer, ConvolutionLayer) and choice["engine"] == "winograd":
        return WinogradLayerPlan(layer, TileFold(**choice["fold"]), choice["weights"], choice["rows_at_once"])
    if isinstance(layer, ConvolutionLayer) and choice["engine"] == "reuse":
        fields = choice["fold"] | {"window": tuple(choice["fold"]["window"])}
        return ReuseLayerPlan(layer, ReuseFold(**fields), choice["halo"], choice["latency"], choice["frames"])
    if isinstance(layer, ConvolutionLayer):
        fold = Fold(**choice["fold"])
        engine = choice["steering"], choice["loadable"], choice["rows_at_once"]
        return ConvolutionPlan(layer, choice["architecture"], fold, *engine)
    return PoolingPlan(layer, choice["lanes"], choice["rows_per_beat"], choice["local"])
