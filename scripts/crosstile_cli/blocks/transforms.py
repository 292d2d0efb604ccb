"""The three Winograd transforms: adders, selectors and registers between a tile of inputs and a tile of outputs."""

from collections.abc import Mapping

from crosstile.winograd_nested_plan import AXIS_SIZES, LARGEST_BITS, PIPELINES, NestedPlan
from crosstile.winograd_network import Kernel
from crosstile.winograd_transform import tile_layout, transform_of
from crosstile.winograd_transform_plan import ActivationTransformPlan, PartialSumTransformPlan, WeightTransformPlan
from crosstile_golden.errors import CrosstileError
from crosstile_golden.geometry import Axes
from crosstile_golden.numbers import NumberFormat

from .block import Block, Built, Port, lanes_text
from .parameters import YES_NO, Kind, Parameter, choice, or_auto, show, whole

BY_TEXT = {"/".join(map(str, sizes)): sizes for sizes in AXIS_SIZES}
SIZES = f"{', '.join(list(BY_TEXT)[:-1])} or {list(BY_TEXT)[-1]}"

WEIGHTS = {
    3: "g0, g0 + g1 + g2, g0 - g1 + g2, g2 from taps g0 g1 g2",
    2: "g0, g0 + g1, g0 - g1, g1 from taps g0 g1",
    1: "g0, g0, g0, g0 from tap g0",
}
ACTIVATIONS = {3: "x0 - x2, x1 + x2, x2 - x1, x1 - x3", 2: "the same as size 3", 1: "x0, x1, x2, x3"}
PARTIAL_SUMS = {
    3: "2*m0 + m1 + m2, m1 - m2 - 2*m3", 2: "2*m0 + m1 + m2, m1 - m2, m1 + m2 - 2*m3", 1: "m0, m1, m2, m3",
}  # fmt: skip


def _kernel(text: str) -> Kernel:
    entries = text.split("x")
    if len(entries) > 3 or any(entry not in BY_TEXT for entry in entries):
        raise ValueError(text)
    return tuple(BY_TEXT[entry] for entry in entries)


def _kernel_text(kernel: Kernel) -> str:
    return "x".join("/".join(map(str, sizes)) for sizes in kernel)


KERNEL = (
    Parameter(
        "kernel",
        Kind("sizes", f"1 to 3 entries joined by x, each {SIZES}, like 3, 3x3 or 3/2x3", _kernel),
        "sizes per axis, outermost first; of several, switch_word says which; one entry stands for all axes",
    ),
    Parameter("dimensions", or_auto(whole(1, 3)), "axes; auto is one per entry of the kernel", "auto"),
)
PIPELINE = Parameter(
    "pipeline", choice(*PIPELINES), "registers: none, behind each axis that has adders, or behind each adder", "axis"
)


class _WithoutClock(Built):
    """A block of gates alone."""

    @property
    def ports(self) -> list[Port]:
        """Every port; there is no clock and no reset."""
        return super().ports[2:]


def _axes(kernel: Kernel, dimensions: int | None) -> Kernel:
    """Return the sizes of every axis: one entry stands for all.

    Raises `CrosstileError` for another number of entries, and where nothing but 1 is served.
    """
    if dimensions is not None and len(kernel) not in (1, dimensions):
        raise CrosstileError(
            f"--set kernel must have one entry, or {dimensions} as dimensions={dimensions} has, not "
            f"{_kernel_text(kernel)}"
        )
    whole_kernel = kernel * dimensions if dimensions is not None and len(kernel) == 1 else kernel
    if all(sizes == (1,) for sizes in whole_kernel):
        raise CrosstileError(
            f"--set kernel must serve 3 or 2 along an axis, not {_kernel_text(whole_kernel)}: there would be "
            "nothing to transform"
        )
    return whole_kernel


def _built(
    plan: NestedPlan, inputs: str, outputs: str, sentences: list[str], formulas: Mapping[int, str], **figures: int
) -> Built:
    """Return the block of a plan; `sentences` say what it computes, `formulas` the same along an axis."""
    kernel = plan.kernel
    sizes = sorted({size for sizes in kernel for size in sizes}, reverse=True)
    shapes = f"Inputs are {show(plan.input_shape)}, outputs"
    switch = {"switch_word": _switch(plan)} if plan.switched else {}
    later = f"{plan.latency} cycles later" if plan.latency else "at once"
    kind = Built if plan.latency or plan.switched else _WithoutClock
    return kind(
        transform_of(plan),
        {"inputs": inputs, "outputs": f"{outputs}, {later}: {_layout('outputs', plan)}"} | switch,
        [
            *sentences,
            *(f"Along an axis, size {size}: {formulas[size]}." for size in sizes),
            f"{shapes} {show(_output_shape(plan))}, numbered row-major, the last axis fastest.",
            f"A new tile every cycle{', of any sizes' if plan.switched else ''}. Latency: {plan.latency} cycles.",
        ],
        {
            "latency_cycles": plan.latency, "adders": plan.adders, "selectors": plan.selectors,
            "register_bits": plan.data_register_bits, "multipliers": 0, **figures,
        },
        {"kernel": _kernel_text(kernel), "dimensions": len(kernel)}, resets=False,
    )  # fmt: skip


def _output_shape(plan: NestedPlan) -> Axes:
    return plan.link_shape if isinstance(plan, PartialSumTransformPlan) else (4,) * len(plan.kernel)


def _layout(port: str, plan: NestedPlan) -> str:
    """Return where each output lies, and what number it is."""
    texts = []
    for (index, place), term in zip(tile_layout(plan.outputs), plan.outputs, strict=True):
        name = "int" if term.low < 0 else "uint"
        texts.append(f"{port}[{place.offset + place.width - 1}:{place.offset}] number {index} {name}{term.bits}")
    return "; ".join(texts)


def _switch(plan: NestedPlan) -> str:
    """Return the meaning of the switch."""
    fields, offset = [], 0
    for axis, bits in enumerate(plan.switch_bits):
        if bits:
            sizes = ", ".join(f"{index} for size {size}" for index, size in enumerate(plan.kernel[axis]))
            span = f"bits {offset + bits - 1} to {offset}" if bits > 1 else f"bit {offset}"
            fields.append(f"{span} axis {axis}, {sizes}")
        offset += bits
    return f"sizes of a tile, in the cycle before it: {'; '.join(fields)}; the same for all three transforms"


def _weight_transform(
    kernel: Kernel, dimensions: int | None, weight_bits: int, symmetric: bool, pipeline: str
) -> Built:
    plan = WeightTransformPlan(_axes(kernel, dimensions), weight_bits, symmetric, pipeline)
    taps = "taps of a kernel"
    if plan.switched:
        taps += ", those of a smaller size first along each axis and the others 0"
    return _built(
        plan, lanes_text(NumberFormat(weight_bits, signed=True), len(plan.input_ranges), taps),
        "a transformed weight for each multiplier", ["outputs = G * inputs along every axis."], WEIGHTS,
    )  # fmt: skip


def _activation_transform(
    kernel: Kernel, dimensions: int | None, activation_bits: int, signed: bool, pipeline: str
) -> Built:
    number_format = NumberFormat(activation_bits, signed)
    plan = ActivationTransformPlan(_axes(kernel, dimensions), number_format, pipeline)
    return _built(
        plan, lanes_text(number_format, len(plan.input_ranges), "activations of a tile"),
        "a transformed activation for each multiplier", ["outputs = B^T * inputs along every axis."], ACTIVATIONS,
    )  # fmt: skip


def _partial_sum_transform(
    kernel: Kernel, dimensions: int | None, sum_bits: int, output_bits: int | None, pipeline: str
) -> Built:
    own = _axes(kernel, dimensions)
    scale = sum(sizes != (1,) for sizes in own)
    if output_bits is None and sum_bits > LARGEST_BITS - 2 * scale:
        raise CrosstileError(
            f"--set sum_bits must be 2 to {LARGEST_BITS - 2 * scale} for kernel {_kernel_text(own)} with "
            f"output_bits={show(None)}, not {sum_bits}"
        )
    if output_bits is not None and output_bits <= scale:
        raise CrosstileError(
            f"--set output_bits must be {scale + 1} to {LARGEST_BITS} for kernel {_kernel_text(own)}, or "
            f"{show(None)}, not {output_bits}"
        )
    plan = PartialSumTransformPlan.of_bits(own, sum_bits, output_bits, pipeline)
    modulo = "" if output_bits is None else f", modulo 2^{output_bits}"
    where = f"entry n in bits {sum_bits}*n + {sum_bits - 1} to {sum_bits}*n"
    sums = f"partial sums of a tile, channels added up, int{sum_bits} each, {where}"
    return _built(
        plan, sums, f"{1 << scale} times the outputs of the convolution{modulo}",
        ["outputs = A^T * inputs along every axis.", *_links(plan)], PARTIAL_SUMS, scale_bits=scale,
    )  # fmt: skip


def _links(plan: PartialSumTransformPlan) -> list[str]:
    """Return the sentences on which outputs are valid, and their scale."""
    sentences = []
    for axis, sizes in enumerate(plan.kernel):
        links = (f"for size {size} on {', '.join(map(str, plan.axis_links(axis, size)))}" for size in sizes)
        sentences.append(f"Valid links along axis {axis}, in order: {'; '.join(links)}.")
        if 1 in sizes and len(sizes) > 1:
            sentences.append(f"Along axis {axis} size 1 is doubled, as the other sizes are.")
    return sentences


WEIGHT_TRANSFORM = Block(
    "weight-transform",
    "turns raw weights into a Winograd tile of 4 per axis, by adders and selectors alone.",
    (
        *KERNEL, Parameter("weight_bits", whole(2, 32), "width of a weight, two's complement", "8"),
        Parameter("symmetric", YES_NO, "the most negative weight does not occur", "no"), PIPELINE,
    ),
    _weight_transform,
)  # fmt: skip

ACTIVATION_TRANSFORM = Block(
    "activation-transform",
    "turns a tile of 4 activations per axis into as many Winograd positions, by adders and selectors alone.",
    (
        *KERNEL, Parameter("activation_bits", whole(1, 32), "width of an activation", "8"),
        Parameter("signed", YES_NO, "activations are two's complement", "no"), PIPELINE,
    ),
    _activation_transform,
)  # fmt: skip

PARTIAL_SUM_TRANSFORM = Block(
    "partial-sum-transform",
    "turns a tile of 4 sums of products per axis into outputs, by adders and selectors alone.",
    (
        *KERNEL, Parameter("sum_bits", whole(2, LARGEST_BITS), "width of a partial sum, two's complement", "20"),
        Parameter(
            "output_bits", or_auto(whole(1, LARGEST_BITS)),
            "bits that all results are known to fit; auto is as many as any sums can need", "auto",
        ),
        PIPELINE,
    ),
    _partial_sum_transform,
)  # fmt: skip

TRANSFORMS = (WEIGHT_TRANSFORM, ACTIVATION_TRANSFORM, PARTIAL_SUM_TRANSFORM)
