"""From float layers to the layers of the integer network: activations and residuals merge into convolutions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .errors import CrosstileError
from .float_layers import Add, Convolution, FloatActivation, LeakyRelu, Pool, Reals, Relu, Sigmoid
from .frames import check_frames
from .graph import FloatGraph


@dataclass(frozen=True)
class Stage:
    """A layer of the integer network to be: a pool, or a convolution with all that it takes in.

        activations(convolution(main) [+ residual])

    A Relu's maximum needs nothing more in integers: the scale comes from values that it holds down already,
    and what exceeds the scale's range saturates.

    main      name of the stage it reads, "" for the network's input
    residual  the same for what an Add adds to the convolution, None without Add
    output    the float layer last taken in: what the stage gives, but for activations that move before max pools
    """

    layer: Convolution | Pool
    main: str
    output: str
    residual: str | None = None
    activations: tuple[FloatActivation, ...] = ()

    def total(self, tensors: dict[str, Reals]) -> Reals:
        """Return what the activations read, given the stages' outputs by name."""
        result = self.layer.run(tensors[self.main])
        return result if self.residual is None else result + tensors[self.residual]

    def activate(self, total: Reals) -> Reals:
        """Return the stage's output, given what the activations read."""
        for activation in self.activations:
            total = activation.run(total)
        return total

    @property
    def negative(self) -> bool:
        """Whether a convolution's output may be below zero."""
        return not any(isinstance(activation, Relu | Sigmoid) for activation in self.activations)

    @property
    def reads(self) -> list[str]:
        """The names of what it reads."""
        return [self.main] if self.residual is None else [self.main, self.residual]


def merge(graph: FloatGraph, input_negative: bool) -> list[Stage]:
    """Return the integer network's layers to be, each after all that it reads.

    An activation joins the convolution or Add that it follows, also where max pools are between: it grows
    with x, and so moves before them. A Relu that reads nothing negative is dropped. Of an Add's two
    operands, the farther from the input, and later where both are as far, carries the other as its residual
    (so that less waits for it); it must be a convolution that only this Add reads, without an activation.

    input_negative  whether the network's input may be below zero

    Raises `CrosstileError` for an activation or Add that joins no convolution.
    """
    merger = _Merger(graph, input_negative)
    for layer, sources in zip(graph.layers, graph.sources, strict=True):
        if isinstance(layer, Add):
            merger.add(layer, sources)
        elif isinstance(layer, Convolution | Pool):
            merger.append(layer, sources[0])
        else:
            merger.activate(layer, sources[0])
    return merger.ordered()


def reference_tensors(graph: FloatGraph, frames: Reals, input_negative: bool) -> dict[str, Reals]:
    """Run real frames; return by name what each layer of the integer network stands for, float64.

    frames          shape (frames, *graph.input_shape)
    input_negative  as in `merge`: the integer network's `input_format.signed`

    Raises what `merge` and `check_frames` raise.
    """
    tensor = check_frames(frames, graph.input_shape, "input array")
    tensors = {"": tensor.reshape(len(tensor), *graph.frame_shape)}
    for stage in merge(graph, input_negative):
        tensors[stage.layer.name] = stage.activate(stage.total(tensors))
    del tensors[""]
    return tensors


class _Merger:
    """The stages so far, by name, and which of them each float layer's output has become (`places`)."""

    def __init__(self, graph: FloatGraph, input_negative: bool) -> None:
        self.readers = graph.readers
        self.input_negative = input_negative
        self.stages: dict[str, Stage] = {}
        self.places = {"": ""}
        self.depths = {"": 0}

    def append(self, layer: Convolution | Pool, source: str) -> None:
        self.stages[layer.name] = Stage(layer, self.places[source], layer.name)
        self.places[layer.name] = layer.name
        self.depths[layer.name] = self.depths[self.places[source]] + 1

    def add(self, layer: Add, sources: tuple[str, ...]) -> None:
        carriers = [name for name in reversed(sources) if self._can_carry(name)]
        if not carriers:
            named = " and ".join(f"'{name}'" if name else "the model's input" for name in sources)
            raise CrosstileError(
                f"node '{layer.name}' (Add): adds {named}; supported: one of the two is a convolution or fully "
                "connected layer that only this Add reads, without an activation between"
            )
        order = list(self.stages)
        carrier = max(carriers, key=lambda name: (self.depths[name], order.index(name)))
        other = self.places[sources[0] if sources[1] == carrier else sources[1]]
        self.stages[carrier] = replace(self.stages[carrier], residual=other, output=layer.name)
        self.places[layer.name] = carrier
        self.depths[carrier] = max(self.depths[carrier], self.depths[other] + 1)

    def _can_carry(self, name: str) -> bool:
        """Whether the float layer is a convolution that one Add alone reads."""
        return name in self.stages and isinstance(self.stages[name].layer, Convolution) and self.readers[name] == 1

    def activate(self, layer: FloatActivation, source: str) -> None:
        place = self.places[layer.name] = self.places[source]
        if self._changes_nothing(layer, place):
            # The next one looks at `output` for readers: it stays where there are several already.
            if place and self.readers[source] == 1:
                self.stages[place] = replace(self.stages[place], output=layer.name)
            return
        target = self._convolution_before(layer, place)
        taken = self.stages[target].activations
        if taken and not all(isinstance(entry, Relu) for entry in (*taken, layer)):
            raise _refused(layer, f"follows '{taken[-1].name}'; supported: one activation after a convolution")
        self.stages[target] = replace(self.stages[target], activations=(*taken, layer))
        self.stages[place] = replace(self.stages[place], output=layer.name)

    def _changes_nothing(self, layer: FloatActivation, place: str) -> bool:
        """Whether it is a rectifier, without a maximum, of nothing negative."""
        rectifier = isinstance(layer, LeakyRelu) or (isinstance(layer, Relu) and layer.maximum is None)
        return rectifier and not self._negative(place)

    def _negative(self, place: str) -> bool:
        """Whether a stage's output may be below zero."""
        while place and isinstance(self.stages[place].layer, Pool):
            place = self.stages[place].main
        return self.stages[place].negative if place else self.input_negative

    def _convolution_before(self, layer: FloatActivation, place: str) -> str:
        """Return the stage that an activation joins; raises `CrosstileError` where there is none."""
        source = "the model's input"
        while place:
            stage = self.stages[place]
            if self.readers[stage.output] != 1:
                text = f"reads what '{stage.output}' gives, as others do; supported: where it is the only one"
                raise _refused(layer, text)
            if isinstance(stage.layer, Convolution):
                return place
            kind = stage.layer.geometry.kind
            if kind != "max":
                source = f"the {kind} pool '{place}'"
                break
            place = stage.main
        why = ", which may be negative" if isinstance(layer, Relu) and layer.maximum is None else ""
        text = "supported: after a convolution, a fully connected layer or an Add, also with max pools between"
        raise _refused(layer, f"reads {source}{why}; {text}")

    def ordered(self) -> list[Stage]:
        """Return the stages in the model's order, but for residuals, which come before what they join."""
        done: dict[str, Stage] = {}

        def visit(name: str) -> None:
            if name and name not in done:
                for source in self.stages[name].reads:
                    visit(source)
                done[name] = self.stages[name]

        for name in self.stages:
            visit(name)
        return list(done.values())


def _refused(layer: FloatActivation, text: str) -> CrosstileError:
    operator = "Clip" if isinstance(layer, Relu) and layer.maximum is not None else type(layer).__name__
    return CrosstileError(f"node '{layer.name}' ({operator}): {text}")
