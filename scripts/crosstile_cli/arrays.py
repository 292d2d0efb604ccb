"""Arrays in files: read with errors that a user can act on."""

import zipfile
import zlib
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
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CrosstileError(f"{what} {path}: not an .npy or .npz array file") from error
    if isinstance(content, np.ndarray):
        return content
    with content:
        if len(content.files) != 1:
            names = ", ".join(content.files) or "none"
            raise CrosstileError(f"{what} {path}: must hold one array, not {len(content.files)} ({names})")
        try:
            return np.asarray(content[content.files[0]])
        except ValueError as error:
            raise CrosstileError(f"{what} {path}: holds Python objects, not numbers") from error
        except (EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise CrosstileError(f"{what} {path}: damaged archive") from error


def check_writable(path: Path | None) -> None:
    """Raise `CrosstileError`, before any work is done, where `write_array` could not write."""
    if path is None:
        return
    if path.is_dir():
        raise CrosstileError(f"--output {path}: is a folder; name a file in it")
    if not path.parent.is_dir():
        raise CrosstileError(f"--output {path}: its folder does not exist; make it first")


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
        partial.unlink(missing_ok=True)
        raise CrosstileError(f"--output {path}: cannot be written: {error.strerror}") from error
