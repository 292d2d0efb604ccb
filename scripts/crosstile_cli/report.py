"""The report page: one HTML file that draws a compiled network and tabulates the figures of its report.json.

The page needs no script, no network and no other file; equal reports give equal bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any

from crosstile_golden.errors import CrosstileError
from jinja2 import Environment, FileSystemLoader, Undefined

Record = Mapping[str, Any]

REQUIRED = ("crosstile", "name", "scheme", "weight_bits", "activation_bits", "input", "output", "stages")
REQUIRED_OF_STAGE = ("name", "kind", "input", "output")
ABSENT = "–"

# The drawing, in SVG user units: boxes in rows, joined by arrows that carry the shape of what flows.
BOX_WIDTH, BOX_HEIGHT = 176, 128
GAP_WIDTH, GAP_HEIGHT = 92, 56
BOXES_PER_ROW = 4
END_HEIGHT = 52  # of the input and the output, which stand in the middle of a box's place
MARGIN = 11
LABEL_SIZE = 12.0
CHARACTER_WIDTH = 0.61  # of the font size, in a monospaced font


def write_report(report: Record, path: Path) -> None:
    """Write the page of a report, a mapping as report.json holds it, to `path` as UTF-8.

    "simulation", "synthesis" and "accuracy" are optional; a figure that is absent is shown as a dash.
    Raises `CrosstileError` where the report lacks a key without which there is nothing to draw.
    """
    check(report)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= FILTERS
    page = environment.get_template("report.html.j2").render(
        report=report,
        cards=cards(report),
        drawing=draw(report),
        signal_to_noise=signal_to_noise(report),
        slowest=slowest(report),
        macs=macs(report),
        box_width=BOX_WIDTH,
        box_height=BOX_HEIGHT,
        end_height=END_HEIGHT,
    )
    path.write_text(page, encoding="utf-8", newline="\n")


def check(report: Record) -> None:
    """Raise `CrosstileError` that names the first required key that the report or a stage of it lacks."""
    parts: list[tuple[str, Record, tuple[str, ...]]] = [("report", report, REQUIRED)]
    parts += [
        (f"stage {number} of the report", stage, REQUIRED_OF_STAGE)
        for number, stage in enumerate(report.get("stages", []), start=1)
    ]
    for where, part, required in parts:
        for key in required:
            if key not in part:
                raise CrosstileError(f"{where} has no {key!r}; run crosstile compile again to write it anew")


# Formats of figures: each takes a value that is there; FILTERS adds the dash for one that is not.


def count(value: float) -> str:
    """Return a whole number with thousands separators, a real one with at most six significant digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def compact(value: float) -> str:
    """Return a number as `count` does, or from ten million up in millions "M" or thousands of them "G"."""
    if value < 1e7:
        return count(value)
    return f"{value / 1e6:.1f} M" if value < 1e9 else f"{value / 1e9:,.1f} G"


def shape(values: Sequence[int]) -> str:
    """Return a shape as "16×4×4"."""
    return "×".join(str(value) for value in values)


def percent(value: float) -> str:
    """Return a share of 1 as "97.0 %"."""
    return f"{100 * value:.1f} %"


def decibels(value: float) -> str:
    """Return a ratio in dB as "41.2 dB"; an infinite one is "exact"."""
    return "exact" if value == inf else f"{value:.1f} dB" if isfinite(value) else ABSENT


def padding(values: Sequence[int]) -> str:
    """Return padding [begins..., ends...] as "1", "1, 0", or "0, 0 | 1, 1" where begins and ends differ."""
    half = len(values) // 2
    begin, end = (", ".join(str(value) for value in part) for part in (values[:half], values[half:]))
    if len(set(values)) == 1:
        return str(values[0])
    return begin if begin == end else f"{begin} | {end}"


def fold(value: Mapping[str, int]) -> str:
    """Return what one cycle computes, as the product kernel rows × kernel columns × channels × filters."""
    return shape([value.get(key, 1) for key in ("kernel_rows", "kernel_columns", "channels", "filters")])


def pool(value: Record) -> str:
    """Return a pool as "max pool 2×2"."""
    return f"{value['kind']} pool {shape(value.get('kernel') or [])}".rstrip()


def operation(stage: Record) -> str:
    """Return what a stage computes first: "3×3 convolution", "fully connected" or "max pool 2×2"."""
    if stage["kind"] != "convolution":
        return pool(stage["pool"]) if stage.get("pool") else str(stage["kind"])
    kernel = list(stage.get("kernel") or [])
    if kernel == list(stage["input"][1:]) and not any(stage.get("padding") or []):
        return "fully connected"
    return f"{shape(kernel)} convolution".lstrip()


def joined_pool(stage: Record) -> str:
    """Return the pool that follows a stage's convolution, or nothing."""
    return pool(stage["pool"]) if stage["kind"] == "convolution" and stage.get("pool") else ""


def words(key: object) -> str:
    """Return a key as words: "float_accuracy" becomes "float accuracy"."""
    return str(key).replace("_", " ")


def shortened(text: object, limit: int) -> str:
    """Return the text, cut to `limit` characters, the last an ellipsis, where it is longer."""
    return str(text) if len(str(text)) <= limit else f"{str(text)[: limit - 1]}…"


def length(share: float, whole: float) -> str:
    """Return the length of a bar, `share` of `whole`, kept within 0 and `whole`."""
    return f"{whole * min(max(share, 0.0), 1.0):.1f}"


def or_absent(formatter: Callable[..., str]) -> Callable[..., str]:
    """Return the formatter, extended to show a value that the report does not hold as a dash."""

    def extended(value: Any, *arguments: Any) -> str:
        return ABSENT if value is None or isinstance(value, Undefined) else formatter(value, *arguments)

    return extended


FILTERS: dict[str, Callable[..., str]] = {
    **{each.__name__: or_absent(each) for each in (count, compact, shape, percent, decibels, padding, fold)},
    **{each.__name__: each for each in (operation, joined_pool, words, shortened, length)},
}


# Figures that follow from the report's own.


def macs(report: Record, key: str = "macs") -> int | None:
    """Return the multiply-accumulates per frame, or None where no stage states its own.

    With the key "useful_macs" those of activations alone, without padding, where a stage states them.
    """
    stated = [stage.get(key, stage["macs"]) for stage in report["stages"] if stage.get("macs") is not None]
    return sum(stated) if stated else None


def slowest(report: Record) -> int | None:
    """Return the cycles per frame of the stage that sets the pace, or None where no stage states its own."""
    return max((stage.get("cycles_per_frame") or 0 for stage in report["stages"]), default=0) or None


def signal_to_noise(report: Record) -> list[float | None]:
    """Return each stage's signal-to-quantisation-noise ratio in dB, None where unknown.

    A stage's own "sqnr_db" goes first; "calibration_sqnr_db" of "accuracy" (by name or in order) fills in.
    """
    measured = (report.get("accuracy") or {}).get("calibration_sqnr_db")
    names = [stage["name"] for stage in report["stages"]]
    by_name = measured if isinstance(measured, Mapping) else dict(zip(names, measured or [], strict=False))
    own = [stage.get("sqnr_db") for stage in report["stages"]]
    return [by_name.get(name) if value is None else value for name, value in zip(names, own, strict=True)]


@dataclass(frozen=True)
class Card:
    """A key figure: its label, its value, a remark, and a tone: "", "good" or "bad"."""

    label: str
    value: str
    remark: str
    tone: str = ""


def cards(report: Record) -> list[Card]:
    """Return the key figures that the report holds, the proof first."""
    found = proof_cards(report.get("simulation"))
    cycles, multipliers, work = report.get("cycles_per_frame"), report.get("multipliers"), macs(report)
    if cycles:
        found.append(Card("Cycles per frame", compact(cycles), "frames back to back"))
    if report.get("latency_cycles") is not None:
        found.append(Card("Latency", compact(report["latency_cycles"]), "cycles to the first output"))
    if multipliers:
        found.append(Card("Multipliers", count(multipliers), f"in {len(report['stages'])} stages"))
    if work:
        found.append(Card("Multiply-accumulates", compact(work), "per frame"))
    if work and multipliers and cycles:
        use = percent((macs(report, "useful_macs") or 0) / multipliers / cycles)
        found.append(Card("Array use", use, "of multiplier-cycles, padding not counted"))
    return found + area_cards(report.get("synthesis"), cycles)


def proof_cards(simulation: Record | None) -> list[Card]:
    """Return the card that says whether the simulated Verilog equalled the golden model."""
    if not simulation or simulation.get("mismatches") is None:
        return []
    mismatches = simulation["mismatches"]
    remark = f"in {simulation.get('frames') or ABSENT} simulated frames, against the golden model"
    return [Card("Mismatches", count(mismatches), remark, "bad" if mismatches else "good")]


def area_cards(synthesis: Record | None, cycles: int | None) -> list[Card]:
    """Return the cards of the synthesised area, the clock, and the frame rate at that clock."""
    if not synthesis:
        return []
    found = []
    if synthesis.get("luts") is not None:
        found.append(Card("LUTs", count(synthesis["luts"]), f"on {synthesis.get('target', 'the target')}"))
    if synthesis.get("fmax_mhz") is not None:
        found.append(Card("Clock", f"{synthesis['fmax_mhz']:.1f} MHz", "placed and routed"))
    if synthesis.get("fmax_mhz") is not None and cycles:
        rate = round(1e6 * synthesis["fmax_mhz"] / cycles)
        found.append(Card("Frames per second", count(rate), "at that clock"))
    return found


# The drawing.


@dataclass(frozen=True)
class Box:
    """A box of the drawing: its top left corner, and its stage or None at the network's two ends."""

    left: int
    top: int
    stage: Record | None
    title: str
    number_format: str


@dataclass(frozen=True)
class Arrow:
    """An arrow of the drawing: its SVG path, and the tensor that it carries, written around (x, y)."""

    path: str
    x: float
    y: float
    shape: str
    number_format: str
    size: float


def draw(report: Record) -> dict[str, Any]:
    """Return the drawing: "boxes", "arrows", and its "width" and "height" in user units."""
    stages = report["stages"]
    contents = [
        (None, "input", report["input"].get("format")),
        *((stage, stage["name"], stage.get("activation_format")) for stage in stages),
        (None, "output", report["output"].get("format")),
    ]
    boxes = [
        Box(
            MARGIN + index % BOXES_PER_ROW * (BOX_WIDTH + GAP_WIDTH),
            MARGIN + index // BOXES_PER_ROW * (BOX_HEIGHT + GAP_HEIGHT),
            stage, title, number_format or "",
        )
        for index, (stage, title, number_format) in enumerate(contents)
    ]  # fmt: skip
    shapes = [report["input"].get("shape", []), *(stage["output"] for stage in stages)]
    joints = zip(boxes[:-1], boxes[1:], shapes, strict=True)
    return {
        "boxes": boxes,
        "arrows": [arrow(source, target, shape(values)) for source, target, values in joints],
        "width": max(box.left for box in boxes) + BOX_WIDTH + MARGIN,
        "height": boxes[-1].top + BOX_HEIGHT + MARGIN,
    }


def arrow(source: Box, target: Box, label: str) -> Arrow:
    """Return the arrow between two boxes: straight within a row, else through the gap below the row."""
    if source.top == target.top:
        left, right = source.left + BOX_WIDTH, target.left
        y = source.top + BOX_HEIGHT / 2
        path, room = f"M{left + 5} {y:g}H{right - 6}", right - left - 10.0
    else:
        left, right = target.left + BOX_WIDTH // 2, source.left + BOX_WIDTH // 2
        y = source.top + BOX_HEIGHT + GAP_HEIGHT / 2
        top = target.top + (0 if target.stage else (BOX_HEIGHT - END_HEIGHT) // 2)
        path, room = f"M{right} {y - GAP_HEIGHT / 2 + 5:g}V{y:g}H{left}V{top - 6}", float(right - left)
    size = min(LABEL_SIZE, room / (CHARACTER_WIDTH * max(len(label), 1)))
    return Arrow(path, (left + right) / 2, y, label, source.number_format, round(size, 1))
