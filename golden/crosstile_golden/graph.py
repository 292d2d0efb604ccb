"""The float network as a graph of layers: what an import gives and a quantiser takes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import prod

from .errors import CrosstileError
from .float_layers import Add, Convolution, FloatLayer, Pool, output_shape
from .geometry import Axes


@dataclass(frozen=True)
class FloatGraph:
    """Float layers and what each of them reads: a chain, or branches that meet in Adds.

    input_shape, output_shape  the model's shapes without the frame axis: (channels, *spatial) or (features,)
    layers   in topological order; each has a name of its own, the last gives the output
    notices  one line each: what the import left out, for the user to know
    sources  per layer the names of the layers it reads, "" for the input: two for an Add, one for any other;
             left out, each layer reads the one before

    Raises `CrosstileError` where no layer is a convolution, two layers share a name, a layer but the last is
    read by none, or one reads what is not before it or has another shape.
    """

    name: str
    input_shape: Axes
    layers: tuple[FloatLayer, ...]
    output_shape: Axes
    notices: list[str] = field(default_factory=list)
    sources: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if not any(isinstance(layer, Convolution) for layer in self.layers):
            raise CrosstileError(f"model '{self.name}' has no convolution and no fully connected layer")
        name, uses = Counter(layer.name for layer in self.layers).most_common(1)[0]
        if uses > 1:
            raise CrosstileError(f"model '{self.name}' has {uses} layers named '{name}'; names must differ")
        if not self.sources:
            names = ["", *(layer.name for layer in self.layers)]
            object.__setattr__(self, "sources", tuple((name,) for name in names[:-1]))
        if prod(self.frame_shape) != prod(self.input_shape):
            raise CrosstileError(
                f"model '{self.name}': input_shape {self.input_shape} does not hold {self.frame_shape}"
            )
        self._check_sources()

    def _check_sources(self) -> None:
        """Raise `CrosstileError` unless each layer reads earlier tensors of the shape it needs, and all are read."""
        if len(self.sources) != len(self.layers):
            raise CrosstileError(f"sources must have an entry for each of {len(self.layers)} layers")
        shapes = {"": self.frame_shape}
        for layer, sources in zip(self.layers, self.sources, strict=True):
            if len(sources) != (2 if isinstance(layer, Add) else 1):
                raise CrosstileError(f"layer '{layer.name}' reads {len(sources)} tensors; an Add reads 2, others 1")
            for source in sources:
                if source not in shapes:
                    raise CrosstileError(f"layer '{layer.name}' reads '{source}', which is no layer before it")
                needed = _reads(layer, shapes[sources[0]])
                if shapes[source] != needed:
                    given = f"{repr(source) if source else 'the input'} gives {shapes[source]}"
                    raise CrosstileError(f"layer '{layer.name}' reads {needed}, but {given}")
            shapes[layer.name] = output_shape(layer, shapes[sources[0]])
        readers = self.readers
        unread = [layer.name for layer in self.layers[:-1] if not readers[layer.name]]
        if unread:
            raise CrosstileError(f"layers {unread} of model '{self.name}' are not read; only the last may be")

    @property
    def readers(self) -> Counter[str]:
        """How many times each layer's output is read, by name, "" for the input; by the model's output, too."""
        counts = Counter(source for sources in self.sources for source in sources)
        counts[self.layers[-1].name] += 1
        return counts

    @property
    def frame_shape(self) -> Axes:
        """Shape of one frame of the input as the layers read it: (channels, *spatial)."""
        # Layers before the first convolution or pool keep the input's shape.
        geometry = next(layer.geometry for layer in self.layers if isinstance(layer, Convolution | Pool))
        return (geometry.in_channels, *geometry.input_size)


def _reads(layer: FloatLayer, first: Axes) -> Axes:
    """Return the shape that each source of a layer must have, where `first` is the first one's."""
    if isinstance(layer, Convolution | Pool):
        return (layer.geometry.in_channels, *layer.geometry.input_size)
    return first
