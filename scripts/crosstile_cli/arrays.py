"""Arrays in files: read with errors that a user can act on."""

from pathlib import Path
from typing import Any

import numpy as np
from crosstile_golden.errors import CrosstileError
from numpy.typing import NDArray


def read_array(path: Path, what: str) -> NDArray[Any]:
    """Return the array of an .npy file, or the only array of an .npz file.

    Raises `CrosstileError` that names the file where there is none, it is another kind of file, or it holds
    several arrays or Python objects.
    """
    try:
        content = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise CrosstileError(f"{what} {path}: no such file") from error
    except OSError as error:
        raise CrosstileError(f"{what} {path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise CrosstileError(f"{what} {path}: not an .npy or .npz array file") from error
    if isinstance(content, np.ndarray):
        return content
    with content:
        if len(content.files) != 1:
            names = ", ".join(content.files) or "none"
            raise CrosstileError(f"{what} {path}: must hold one array, not {len(content.files)} ({names})")
        try:
            return np.asarray(content[content.files[0]])
        except (ValueError, EOFError) as error:
            raise CrosstileError(f"{what} {path}: holds Python objects, not numbers") from error


def write_array(array: NDArray[Any], path: Path) -> None:
    """Write an .npy file; it appears whole or not at all.

    Raises `CrosstileError` where it cannot be written.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("wb") as file:
            np.save(file, array)
        partial.replace(path)
    except OSError as error:
        raise CrosstileError(f"output {path}: cannot be written: {error.strerror}") from error
