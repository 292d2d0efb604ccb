"""Parameters of blocks: what may be said after --set, how it is read, and what is legal, in words."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crosstile_golden.activation import Activation
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes

AUTO = "auto"
LARGEST_SIZE = 65535


@dataclass(frozen=True)
class Kind:
    """What a parameter's text means.

    type   one or two words for a table
    legal  the legal set, in words that follow "must be"
    read   the value of a text; raises `ValueError` for one that is not legal
    """

    type: str
    legal: str
    read: Callable[[str], Any]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a block; without a `default` it must be given.

    `default` is a text as after --set. `meaning` is one sentence.
    """

    name: str
    kind: Kind
    meaning: str
    default: str | None = None

    def read(self, text: str) -> Any:
        """Return the value of a text; raises `CrosstileError` that says what is legal."""
        try:
            return self.kind.read(text)
        except ValueError as error:
            raise CrosstileError(f"--set {self.name} must be {self.kind.legal}, not {text!r}") from error


def show(value: object) -> str:
    """Return a value as the text that gives it: the inverse of reading, but for the folder of a file."""
    if value is None:
        return AUTO
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Path):
        return value.name
    if isinstance(value, Activation):
        return f"{value.kind}:{value.slope_shift}" if value.slope_shift else value.kind
    if isinstance(value, tuple):
        nested = value and isinstance(value[0], tuple)
        return (":" if nested else "x").join(show(entry) for entry in value)
    return str(value)


def read_settings(block: str, parameters: Sequence[Parameter], settings: Sequence[str]) -> dict[str, Any]:
    """Return every parameter's value, in order, from texts key=value and the defaults.

    Raises `CrosstileError` for a text of another form, an unknown key, one given twice, a value that is not
    legal, and a parameter that must be given and is not.
    """
    known = {parameter.name: parameter for parameter in parameters}
    texts = {name: parameter.default for name, parameter in known.items()}
    given: set[str] = set()
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise CrosstileError(f"--set must be key=value, not {setting!r}")
        if name not in known:
            raise CrosstileError(f"--set {name}: block {block} has no such parameter; it has {', '.join(known)}")
        if name in given:
            raise CrosstileError(f"--set {name} is given twice; give it once")
        if not text:
            raise CrosstileError(f"--set {name}= has no value; {name} must be {known[name].kind.legal}")
        given.add(name)
        texts[name] = text
    return {name: _value(block, known[name], text) for name, text in texts.items()}


def _value(block: str, parameter: Parameter, text: str | None) -> Any:
    if text is None:
        name = parameter.name
        raise CrosstileError(f"block {block} needs --set {name}=...; {name} must be {parameter.kind.legal}")
    return parameter.read(text)


def _whole(text: str, least: int, greatest: int) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text) or not least <= int(text) <= greatest:
        raise ValueError(text)
    return int(text)


def whole(least: int, greatest: int) -> Kind:
    """Return the kind of whole numbers from `least` to `greatest`."""
    return Kind("number", f"a whole number, {least} to {greatest}", lambda text: _whole(text, least, greatest))


def choice(*options: str) -> Kind:
    """Return the kind of one word of several."""

    def read(text: str) -> str:
        if text not in options:
            raise ValueError(text)
        return text

    return Kind("word", " or ".join([", ".join(options[:-1]), options[-1]]), read)


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError(text)
    return text == "yes"


YES_NO = Kind("yes or no", "yes or no", _yes_or_no)


def _axes(text: str, least: int, most_axes: int) -> Axes:
    entries = text.split("x")
    if len(entries) > most_axes:
        raise ValueError(text)
    return tuple(_whole(entry, least, LARGEST_SIZE) for entry in entries)


def axes(least: int, most_axes: int, like: str) -> Kind:
    """Return the kind of one entry per spatial axis, outermost first, joined by x."""
    count = "1 to 3 whole numbers" if most_axes == 3 else f"1 to {most_axes} whole numbers"
    legal = f"{count} joined by x, each {least} to {LARGEST_SIZE}, like {like}"
    return Kind("sizes", legal, lambda text: _axes(text, least, most_axes))


def padding(most_axes: int, like: str) -> Kind:
    """Return the kind of padding before and behind each axis: begin:end, or one text for both."""

    def read(text: str) -> tuple[Axes, Axes]:
        begin, colon, end = text.partition(":")
        return _axes(begin, 0, most_axes), _axes(end if colon else begin, 0, most_axes)

    return Kind("begin:end", f"entries joined by x for both ends, or begin:end, each 0 to {LARGEST_SIZE}, "
                f"like {like}", read)


def or_auto(kind: Kind) -> Kind:
    """Return a kind that may also be "auto", which reads as None."""
    return Kind(kind.type, f"{kind.legal}, or {AUTO}", lambda text: None if text == AUTO else kind.read(text))


def per_axis(name: str, value: Axes, size: Axes) -> Axes:
    """Return an entry for every axis of `size`: one entry stands for all.

    Raises `CrosstileError` for another number of entries.
    """
    if len(value) not in (1, len(size)):
        raise CrosstileError(
            f"--set {name} must have one entry, or {len(size)} as size {show(size)} has, not {show(value)}"
        )
    return value * len(size) if len(value) == 1 else value


def rows_of(parameters: Sequence[Parameter]) -> list[Mapping[str, str | None]]:
    """Return parameters as records of plain text."""
    return [
        {"name": entry.name, "type": entry.kind.type, "default": entry.default, "legal": entry.kind.legal,
         "meaning": entry.meaning}
        for entry in parameters
    ]  # fmt: skip
