"""The float network, run in float64: what calibration measures and accuracy is compared with."""

from .float_layers import Reals
from .frames import check_frames
from .graph import FloatGraph


def float_tensors(graph: FloatGraph, frames: Reals) -> dict[str, Reals]:
    """Run real frames through every layer; return every layer's output by layer name, in order.

    frames   shape (frames, *graph.input_shape)
    returns  float64, each (frames, channels, *spatial); US 12014273, step S102

    Raises `CrosstileError` for frames of another shape or type, none at all, or values that are not finite.
    """
    tensor = check_frames(frames, graph.input_shape, "input array")
    outputs = {"": tensor.reshape(len(tensor), *graph.frame_shape)}
    for layer, sources in zip(graph.layers, graph.sources, strict=True):
        outputs[layer.name] = layer.run(*(outputs[source] for source in sources))
    del outputs[""]
    return outputs


def run_float(graph: FloatGraph, frames: Reals) -> Reals:
    """Run real frames; return the last layer's output, float64, shape (frames, *graph.output_shape)."""
    tensors = float_tensors(graph, frames)
    return tensors[graph.layers[-1].name].reshape(len(frames), *graph.output_shape)
