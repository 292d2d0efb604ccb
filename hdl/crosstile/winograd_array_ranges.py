"""How wide the partial sums of the Winograd array are: exactly, from the weights and activations of a tile."""

import itertools
from collections.abc import Sequence
from functools import cache

from crosstile_golden.geometry import Axes
from crosstile_golden.numbers import Integers
from crosstile_golden.winograd import ACTIVATION_MATRIX, WEIGHT_MATRIX

from .winograd_network import Ends

Ranges = tuple[Ends, ...]
Word = int | str
"""What a sum of products is along an axis: of a position, 0 to 3, or a word on the way to the outputs."""

MIDDLE = "middle"
"""Half the sum, or half the difference, of positions 1 and 2."""

OUTPUTS = FIRST, SECOND, SPARE, LAST = "first", "second", "spare", "last"
"""The places of outputs; SPARE only where the axis may be passed by."""

Signs = tuple[int, int]


def product_ends(kernel: Axes, words: Sequence[Word], weights: Ends, activations: Ends) -> Ends:
    """Return the least and greatest value of a word of one channel, given what it is along each axis.

    A word is a sum over pairs of a linear form of weights and one of activations, and no two pairs have a weight or
    an activation in common: so both ends are attained. (0, 0) where a kernel does not have the word.
    """
    low = high = 0
    for pairs in itertools.product(*(_pairs(size, word) for size, word in zip(kernel, words, strict=True))):
        ends = [
            left * right
            for left in _form_ends([pair[0] for pair in pairs], weights)
            for right in _form_ends([pair[1] for pair in pairs], activations)
        ]
        low, high = low + min(ends), high + max(ends)
    return low, high


@cache
def _pairs(size: int, word: Word) -> tuple[tuple[Signs, Signs], ...]:
    """Return the pairs that a word adds up along an axis: the sums of the positive and of the negative factors."""
    one = (1, 0), (1, 0)
    if size == 1:
        return (one,)
    if isinstance(word, int):
        return ((_signs(WEIGHT_MATRIX[size][word]), _signs(ACTIVATION_MATRIX[size][word])),)
    if word == MIDDLE:  # (w0 + w2)·x2 + w1·x1, and (w0 + w2)·x1 + w1·x2
        return (((size - 1, 0), (1, 0)), one)
    return (one,) * size if word in (FIRST, LAST) or (word == SECOND and size == 2) else ()


def _signs(row: Integers) -> Signs:
    return int(row.clip(min=0).sum()), int(-row.clip(max=0).sum())


def _form_ends(signs: Sequence[Signs], ends: Ends) -> Ends:
    """Return the least and greatest value of the product of forms along the axes, over values between `ends`."""
    positive, negative = 1, 0
    for up, down in signs:
        positive, negative = positive * up + negative * down, positive * down + negative * up
    low, high = ends
    return positive * low - negative * high, positive * high - negative * low
