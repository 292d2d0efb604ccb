"""Write the handwritten digits that scikit-learn carries as the arrays that Crosstile's commands read.

    python examples/digits/data.py OUTPUT_FOLDER

    calibration.npy      float32 (256, 1, 8, 8)   256 of the training images
    heldout_images.npy   float32 (500, 1, 8, 8)   images that neither training nor calibration has seen
    heldout_labels.npy   int64   (500,)           their digits, 0 to 9

Images are NCHW; a pixel is 0 (paper) to 1 (ink). Needs NumPy and scikit-learn. Every run writes equal bytes.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HELDOUT_IMAGES = 500
CALIBRATION_IMAGES = 256
SPLIT_SEED = 8
PIXEL_MAXIMUM = 16  # each pixel counts the ink in a 4×4 block of the scanned bitmap


@dataclass(frozen=True)
class Digits:
    """The split data: images are float32 (frames, 1, 8, 8) from 0 to 1, labels int64 (frames,) from 0 to 9.

    `calibration` is a part of `training_images`; the held-out images are in neither.
    """

    training_images: NDArray[np.float32]
    training_labels: NDArray[np.int64]
    calibration: NDArray[np.float32]
    heldout_images: NDArray[np.float32]
    heldout_labels: NDArray[np.int64]


def stratified_choice(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Return `count` sorted indices into `labels`, each label as often as its share of `labels` asks.

    A label with n of N images gets ⌊n·count/N⌋; the rest goes to the largest remainders, least label first.
    The stream of `RandomState` is frozen, so that the choice is the same with every NumPy.
    Raises `ValueError` for a count below 0 or above N.
    """
    if not 0 <= count <= len(labels):
        raise ValueError(f"count must be from 0 to {len(labels)}, not {count}")
    values, sizes = np.unique(labels, return_counts=True)
    quota, remainder = np.divmod(sizes * count, len(labels))
    quota[np.argsort(-remainder, kind="stable")[: count - quota.sum()]] += 1
    random = np.random.RandomState(seed)
    chosen = [
        random.permutation(np.flatnonzero(labels == value))[:wanted]
        for value, wanted in zip(values, quota, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def load() -> Digits:
    """Return the 1,797 images, split into 1,297 for training and 500 held out, every digit in proportion."""
    from sklearn.datasets import load_digits

    source = load_digits()
    images = (source.images / PIXEL_MAXIMUM).astype(np.float32)[:, np.newaxis]
    labels = source.target.astype(np.int64)
    heldout = stratified_choice(labels, HELDOUT_IMAGES, SPLIT_SEED)
    training = np.setdiff1d(np.arange(len(labels)), heldout)
    calibration = stratified_choice(labels[training], CALIBRATION_IMAGES, SPLIT_SEED)
    return Digits(
        training_images=images[training],
        training_labels=labels[training],
        calibration=images[training][calibration],
        heldout_images=images[heldout],
        heldout_labels=labels[heldout],
    )


def write(folder: Path) -> list[Path]:
    """Write the three arrays into `folder`, which is made where it does not exist; return their paths."""
    digits = load()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in ("calibration", "heldout_images", "heldout_labels"):
        paths.append(folder / f"{name}.npy")
        np.save(paths[-1], getattr(digits, name))
    return paths


def main() -> int:
    """Write the arrays into the folder that the command line names; exit 2 where that is impossible."""
    parser = argparse.ArgumentParser(description="Write the digits' calibration and held-out arrays.")
    parser.add_argument("folder", type=Path, metavar="OUTPUT_FOLDER", help="where the three .npy files go")
    folder = parser.parse_args().folder
    try:
        paths = write(folder)
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is missing; run: pip install 'crosstile[examples]'", file=sys.stderr)
        return 2
    except OSError as error:
        message = f"error: cannot write into {folder} ({error.strerror}); name a folder that can be written"
        print(message, file=sys.stderr)
        return 2
    for path in paths:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
