"""Random window geometry for the golden tests."""

from collections.abc import Callable
from typing import Any

from crosstile_golden.geometry import ConvolutionGeometry, PoolGeometry
from hypothesis import strategies as st

SETTINGS: dict[str, Any] = {"max_examples": 120, "deadline": None, "derandomize": True}


def axes(dimensions: int, low: int, high: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[st.integers(low, high)] * dimensions)


@st.composite
def window_fields(draw: Callable[..., Any], most_dilation: int = 3) -> dict[str, Any]:
    """Fields of a legal `WindowGeometry`: axes just large enough or larger, padding unlike at each end."""
    dimensions = draw(st.integers(1, 3))
    kernel = draw(axes(dimensions, 1, 4 if dimensions < 3 else 3))
    dilation = draw(axes(dimensions, 1, most_dilation))
    stride = draw(axes(dimensions, 1, 5))
    span = [(taps - 1) * step + 1 for taps, step in zip(kernel, dilation, strict=True)]
    begin = tuple(draw(st.integers(0, width - 1)) for width in span)
    end = tuple(draw(st.integers(0, width - 1)) for width in span)
    spare = draw(axes(dimensions, 0, 4))
    size = tuple(
        max(1, width - first - last) + extra
        for width, first, last, extra in zip(span, begin, end, spare, strict=True)
    )
    return {
        "input_size": size,
        "kernel": kernel,
        "stride": stride,
        "dilation": dilation,
        "padding_begin": begin,
        "padding_end": end,
    }


@st.composite
def convolution_geometries(draw: Callable[..., Any]) -> ConvolutionGeometry:
    groups = draw(st.integers(1, 3))
    channels, filters = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    return ConvolutionGeometry(
        in_channels=channels, **draw(window_fields()), out_channels=filters, groups=groups
    )


@st.composite
def pool_geometries(draw: Callable[..., Any]) -> PoolGeometry:
    kind = draw(st.sampled_from(["max", "average", "sum"]))
    return PoolGeometry(
        in_channels=draw(st.integers(1, 3)), **draw(window_fields(most_dilation=2)), kind=kind
    )
