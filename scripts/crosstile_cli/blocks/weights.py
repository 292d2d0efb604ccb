"""What a convolution computes with: weights, bias and shift, from a file or at random, and its activation."""

import zipfile
import zlib
from collections.abc import Sequence
from math import ceil, log2, prod, sqrt
from pathlib import Path

import numpy as np
from crosstile_golden.activation import SLOPE_SHIFTS, Activation
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes
from crosstile_golden.numbers import Integers, NumberFormat

from .parameters import Kind, Parameter, whole

RANDOM, LOADABLE = "random", "loadable"
SEED = Parameter("seed", whole(0, 2**31 - 1), "of random numbers", "0")


def _activation(text: str) -> Activation:
    kind, colon, slope = text.partition(":")
    if kind == "leaky" and slope.isdecimal() and int(slope) in SLOPE_SHIFTS:
        return Activation(kind, int(slope))
    if colon or kind not in ("none", "relu"):
        raise ValueError(text)
    return Activation(kind)


ACTIVATION = Parameter(
    "activation",
    Kind("activation", "none, relu or leaky:N with N from 1 to 15, the slope being 2^-N", _activation),
    "what follows the rounding shift", "relu",
)


def weights_kind() -> Kind:
    """Return the kind of the weights' source."""
    return Kind("file or word", f"{RANDOM}, {LOADABLE} or a file .npz with weight, bias and shift", _source)


def fixed_weights_kind() -> Kind:
    """Return the kind of the weights' source where they cannot be loaded."""
    return Kind("file or word", f"{RANDOM} or a file .npz with weight, bias and shift", _fixed_source)


def constants_kind() -> Kind:
    """Return the kind of the source of bias and shift."""
    return Kind("file or word", f"{RANDOM} or a file .npz with bias and shift", _fixed_source)


def _source(text: str) -> str | Path:
    if text in (RANDOM, LOADABLE):
        return text
    if not text.endswith(".npz"):
        raise ValueError(text)
    return Path(text)


def _fixed_source(text: str) -> str | Path:
    if text == LOADABLE:
        raise ValueError(text)
    return _source(text)


def read_arrays(what: str, path: Path, names: Sequence[str]) -> list[Integers]:
    """Return the arrays of these names in an .npz file, as int64.

    Raises `CrosstileError` that names the parameter `what` and the file: there is none, it is damaged, an array
    is missing, or holds something else than whole numbers.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            missing = [name for name in names if name not in content.files]
            if missing:
                held = ", ".join(content.files) or "none"
                raise CrosstileError(f"--set {what}={path}: has no array {missing[0]}; it holds {held}")
            arrays = [content[name] for name in names]
    except FileNotFoundError as error:
        raise CrosstileError(f"--set {what}={path}: no such file") from error
    except OSError as error:
        raise CrosstileError(f"--set {what}={path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise CrosstileError(f"--set {what}={path}: not an .npz file of numbers") from error
    for name, array in zip(names, arrays, strict=True):
        if array.dtype.kind not in "iu" or array.dtype == np.uint64:
            raise CrosstileError(f"--set {what}={path}: {name} must be whole numbers, int64 or less, not {array.dtype}")
    return [array.astype(np.int64) for array in arrays]


def read_constants(
    source: str | Path, filters: int, total_format: NumberFormat, output_format: NumberFormat, seed: int
) -> tuple[Integers, Integers]:
    """Return bias and shift, each of shape (filters,); at random such that totals spread over the outputs.

    Raises `CrosstileError` as `read_arrays` does.
    """
    if isinstance(source, Path):
        bias, shift = read_arrays("constants", source, ("bias", "shift"))
        return bias, shift
    random = np.random.default_rng(seed)
    typical = max(0, total_format.maximum.bit_length() - output_format.maximum.bit_length())
    bias = random.integers(-total_format.maximum // 4, total_format.maximum // 4 + 1, filters)
    return bias, np.maximum(0, random.integers(typical - 1, typical + 1, filters))


def random_layer(
    shape: Axes, weight_bits: int, input_format: NumberFormat, output_format: NumberFormat, seed: int
) -> tuple[Integers, Integers, Integers]:
    """Return random weight of a shape (filters, channels, *kernel), bias and shift: outputs spread over their format.

    Weights are uniform over their whole range; the sums' standard deviation is estimated from uniform activations.
    """
    random = np.random.default_rng(seed)
    legal = NumberFormat(weight_bits, signed=True)
    spread = legal.reach * input_format.reach * sqrt(prod(shape[1:])) / 3
    typical = ceil(log2(max(1.0, 2 * spread / output_format.maximum)))
    weight = random.integers(legal.minimum, legal.maximum + 1, shape)
    bias = random.integers(-int(spread) // 2 - 1, int(spread) // 2 + 2, shape[0])
    return weight, bias, np.maximum(0, random.integers(typical - 1, typical + 2, shape[0]))
