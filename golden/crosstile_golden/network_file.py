"""The file that holds an integer network: an .npz of arrays with a JSON record; no pickles."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from dataclasses import asdict, fields
from operator import index
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .activation import Activation
from .errors import CrosstileError
from .geometry import ConvolutionGeometry, PoolGeometry
from .layers import ConvolutionLayer, Layer, PoolLayer, Residual
from .network import IntegerNetwork, Sources
from .numbers import NumberFormat

FORMAT = "crosstile integer network"
VERSION = 2
ARRAYS = ("weight", "bias", "shift")
Geometry = TypeVar("Geometry", ConvolutionGeometry, PoolGeometry)


def save_network(network: IntegerNetwork, path: Path) -> None:
    """Write the network: `record` is JSON text; `{layer}.weight`, `.bias`, `.shift`, `.align` are int64 arrays.

    `{layer}` is the layer's position, from 0; `.align` is there where the layer has a residual.

    The same network gives the same bytes. The file appears whole or not at all.
    """
    path = Path(path)
    arrays: dict[str, Any] = {}
    for position, layer in enumerate(network.layers):
        if isinstance(layer, ConvolutionLayer):
            arrays |= {f"{position}.{field}": getattr(layer, field) for field in ARRAYS}
            if layer.residual is not None:
                arrays[f"{position}.align"] = layer.residual.align
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as file:
        np.savez_compressed(file, record=np.array(json.dumps(_record(network), default=index)), **arrays)
    os.replace(partial, path)


def load_network(path: Path) -> IntegerNetwork:
    """Read the network that `save_network` wrote.

    Raises `CrosstileError` that names the file: not found, another kind of file, another version, or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as members:
            content = {name: members[name] for name in members.files}
        record = json.loads(str(content["record"]))
        format_name, version = record["format"], record["version"]
    except OSError as error:
        raise CrosstileError(f"{path}: {error.strerror or 'not a Crosstile network'}") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise CrosstileError(f"{path}: damaged archive; compile the model again") from error
    except (AttributeError, EOFError, IndexError, KeyError, TypeError, ValueError) as error:
        raise CrosstileError(f"{path}: not a Crosstile network") from error
    if format_name != FORMAT:
        raise CrosstileError(f"{path}: not a Crosstile network")
    if version != VERSION:
        raise CrosstileError(
            f"{path}: network format version {version}; this Crosstile reads version {VERSION}: "
            "compile the model again"
        )
    try:
        return _network(record, content)
    except (CrosstileError, AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"no field {error}" if isinstance(error, KeyError) else error
        text = f"{path}: damaged Crosstile network ({reason}); compile the model again"
        raise CrosstileError(text) from error


def _record(network: IntegerNetwork) -> dict[str, Any]:
    plain = ("name", "input_shape", "input_scale", "output_scale", "output_shape", "scheme")
    return {
        "format": FORMAT,
        "version": VERSION,
        **{field: getattr(network, field) for field in plain},
        "input_format": asdict(network.input_format),
        "layers": [_layer_record(layer) for layer in network.layers],
        "sources": [asdict(source) for source in network.sources],
    }


def _layer_record(layer: Layer) -> dict[str, Any]:
    record: dict[str, Any] = {"name": layer.name, "geometry": asdict(layer.geometry)}
    if isinstance(layer, PoolLayer):
        return record | {"kind": "pool", "shift": layer.shift, "number_format": asdict(layer.number_format)}
    return record | {
        "kind": "convolution",
        "weight_bits": layer.weight_bits,
        "input_format": asdict(layer.input_format),
        "output_format": asdict(layer.output_format),
        "activation": asdict(layer.activation),
        "residual": layer.residual and asdict(layer.residual.number_format),
    }


def _network(record: dict[str, Any], arrays: dict[str, np.ndarray]) -> IntegerNetwork:
    return IntegerNetwork(
        name=record["name"],
        input_shape=tuple(record["input_shape"]),
        input_format=NumberFormat(**record["input_format"]),
        input_scale=float(record["input_scale"]),
        layers=tuple(_layer(position, layer, arrays) for position, layer in enumerate(record["layers"])),
        output_scale=float(record["output_scale"]),
        output_shape=tuple(record["output_shape"]),
        scheme=record["scheme"],
        sources=tuple(Sources(**source) for source in record["sources"]),
    )


def _layer(position: int, record: dict[str, Any], arrays: dict[str, np.ndarray]) -> Layer:
    if record["kind"] == "pool":
        return PoolLayer(
            record["name"], _geometry(PoolGeometry, record["geometry"]), record["shift"],
            NumberFormat(**record["number_format"]),
        )
    if record["kind"] != "convolution":
        raise ValueError(f"kind of layer {position} is {record['kind']!r}")
    arriving = record["residual"]
    return ConvolutionLayer(
        name=record["name"],
        geometry=_geometry(ConvolutionGeometry, record["geometry"]),
        weight=arrays[f"{position}.weight"],
        bias=arrays[f"{position}.bias"],
        shift=arrays[f"{position}.shift"],
        weight_bits=record["weight_bits"],
        input_format=NumberFormat(**record["input_format"]),
        output_format=NumberFormat(**record["output_format"]),
        activation=Activation(**record["activation"] | {"table": tuple(record["activation"]["table"])}),
        residual=arriving and Residual(NumberFormat(**arriving), arrays[f"{position}.align"]),
    )


def _geometry(kind: type[Geometry], record: dict[str, Any]) -> Geometry:
    """Build the geometry from its record: JSON's lists become tuples again."""
    values: dict[str, Any] = {field.name: record[field.name] for field in fields(kind)}
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
    return kind(**values)
