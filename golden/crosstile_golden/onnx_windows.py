"""The attributes of ONNX nodes: known names only, and what they say about a sliding window."""

from __future__ import annotations

from typing import Any

from .errors import CrosstileError
from .geometry import Axes, PoolGeometry
from .onnx_model import Node
from .pool import check_pool

AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
WINDOW_LISTS = ("dilations", "pads", "strides")
KINDS = {
    "MaxPool": "max", "AveragePool": "average", "GlobalAveragePool": "average", "LpPool": "sum", "GlobalLpPool": "sum",
}


def read_attributes(node: Node, **defaults: Any) -> dict[str, Any]:
    """Return the node's attributes over the defaults.

    Raises `CrosstileError` for an attribute that has no default here, or a value of another type than the
    default's.
    """
    for name, value in node.attributes.items():
        if name not in defaults:
            listed = ", ".join(sorted(defaults)) or "none"
            raise node.error(f"attribute {name} = {value!r} is not known; supported: {listed}")
        kind = list if defaults[name] is None else type(defaults[name])
        if not isinstance(value, kind):
            raise node.error(f"attribute {name} is {value!r}; supported: a value of type {kind.__name__}")
    return {**defaults, **node.attributes}


def check_value(node: Node, attributes: dict[str, Any], name: str, *legal: Any) -> None:
    """Raise `CrosstileError` unless the attribute has one of the legal values."""
    if attributes[name] not in legal:
        supported = " or ".join(map(str, legal))
        raise node.error(f"attribute {name} is {attributes[name]!r}; supported: {supported}")


def window_fields(node: Node, attributes: dict[str, Any], kernel: Axes, map_shape: Axes) -> dict[str, Any]:
    """Return a `WindowGeometry`'s fields from the attributes auto_pad, dilations, pads and strides.

    ONNX `pads` is [begin of every axis..., end of every axis...]. SAME_UPPER and SAME_LOWER pad so that the
    output has ⌈size / stride⌉ elements, the odd one at the end or at the beginning.

    Raises `CrosstileError` for lists of another length, another auto_pad, or pads together with auto_pad.
    """
    channels, *spatial = map_shape
    axes = len(spatial)
    check_value(node, attributes, "auto_pad", *AUTO_PADS)
    stride = _entries(node, attributes, "strides", axes, 1)
    dilation = _entries(node, attributes, "dilations", axes, 1)
    pads = _entries(node, attributes, "pads", 2 * axes, 0)
    begin, end = pads[:axes], pads[axes:]
    mode = attributes["auto_pad"]
    if mode != "NOTSET" and any(pads):
        raise node.error(f"attribute pads is {list(pads)} with auto_pad {mode}; supported: one of the two")
    if mode.startswith("SAME"):
        begin, end = _same(tuple(spatial), kernel, stride, dilation, upper=mode == "SAME_UPPER")
    return {
        "in_channels": channels,
        "input_size": tuple(spatial),
        "kernel": tuple(kernel),
        "stride": stride,
        "dilation": dilation,
        "padding_begin": begin,
        "padding_end": end,
    }


def _entries(node: Node, attributes: dict[str, Any], name: str, count: int, default: int) -> Axes:
    values = [default] * count if attributes[name] is None else attributes[name]
    if len(values) != count:
        raise node.error(f"attribute {name} is {values}; its input needs {count} entries")
    if min(values) < default:
        raise node.error(f"attribute {name} is {values}; supported: {default} or more in every entry")
    return tuple(values)


def _same(size: Axes, kernel: Axes, stride: Axes, dilation: Axes, upper: bool) -> tuple[Axes, Axes]:
    """Return padding at the beginning and at the end for ⌈size / stride⌉ outputs per axis."""
    least, most = [], []
    for length, taps, step, spread in zip(size, kernel, stride, dilation, strict=True):
        total = max(((length - 1) // step) * step + (taps - 1) * spread + 1 - length, 0)
        least.append(total // 2)
        most.append(total - total // 2)
    return (tuple(least), tuple(most)) if upper else (tuple(most), tuple(least))


def pool_geometry(node: Node, map_shape: Axes) -> PoolGeometry:
    """Return the geometry of a pool, one of `KINDS`, over a (channels, *spatial) map.

    Raises `CrosstileError` for attributes without counterpart: ceil_mode, storage_order, dilations, a norm
    but the first, indices as a second output, padding that an average does not count, or windows of padding
    alone.
    """
    if node.op.startswith("Global"):
        own = {"p": 2} if node.op == "GlobalLpPool" else {}
        known = read_attributes(node, **own) | {"auto_pad": "NOTSET", **dict.fromkeys(WINDOW_LISTS)}
        kernel = map_shape[1:]
    else:
        known = _pool_attributes(node)
        kernel = _entries(node, known, "kernel_shape", len(map_shape) - 1, 1)
    if KINDS[node.op] == "sum":
        check_value(node, known, "p", 1)
    fields = window_fields(node, known, kernel, map_shape)
    if set(fields["dilation"]) != {1}:
        raise node.error(f"attribute dilations is {list(fields['dilation'])}; supported: 1 in every entry")
    padded = any((*fields["padding_begin"], *fields["padding_end"]))
    if node.op == "AveragePool" and padded:
        check_value(node, known, "count_include_pad", 1)
    try:
        geometry = PoolGeometry(**fields, kind=KINDS[node.op])
        check_pool(geometry, 0)
    except CrosstileError as error:
        raise node.error(str(error)) from error
    return geometry


def _pool_attributes(node: Node) -> dict[str, Any]:
    own = {"max": {"storage_order": 0}, "average": {"count_include_pad": 0}, "sum": {"p": 2}}[KINDS[node.op]]
    lists = dict.fromkeys((*WINDOW_LISTS, "kernel_shape"))
    known = read_attributes(node, auto_pad="NOTSET", ceil_mode=0, **lists, **own)
    check_value(node, known, "ceil_mode", 0)
    if node.op == "MaxPool":
        check_value(node, known, "storage_order", 0)
    if node.op == "AveragePool":
        check_value(node, known, "count_include_pad", 0, 1)
    if known["kernel_shape"] is None:
        raise node.error("attribute kernel_shape is missing; supported: one entry per spatial axis")
    if any(node.outputs[1:]):
        raise node.error(f"second output '{node.outputs[1]}' (indices) is not supported; export without it")
    return known
