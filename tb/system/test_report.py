"""The report page: well-formed, complete, escaped, self-contained and reproducible."""

import copy
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from crosstile_cli.report import (
    REQUIRED,
    REQUIRED_OF_STAGE,
    compact,
    decibels,
    fold,
    operation,
    padding,
    write_report,
)
from crosstile_golden.errors import CrosstileError

VOID = {"meta", "br", "link", "img", "hr", "input"}


def stage(name: str, channels: int, filters: int, size: int, **changes: Any) -> dict[str, Any]:
    values = {
        "name": name, "kind": "convolution", "engine": "crosspoint",
        "input": [channels, size, size], "output": [filters, size // 2, size // 2],
        "kernel": [3, 3], "stride": [1, 1], "padding": [1, 1, 1, 1],
        "macs": 9 * channels * filters * size * size, "multipliers": 18,
        "fold": {"kernel_rows": 3, "kernel_columns": 3, "channels": 1, "filters": 2},
        "cycles_per_frame": channels * filters * size * size // 2, "utilisation": 0.97,
        "accumulator_bits": 21, "weight_memory_bits": 72 * channels * filters, "integrator_memory_bits": 4096,
        "window_memory_bits": 256, "queue_depth": 4, "activation_format": "uint8", "sqnr_db": 41.25,
        "pool": {"kind": "max", "kernel": [2, 2]},
    }  # fmt: skip
    return values | changes


def full_report() -> dict[str, Any]:
    dense = {"kernel": [2, 2], "padding": [0, 0, 0, 0], "output": [10, 1, 1], "pool": None}
    return {
        "crosstile": "0.1.0", "name": "digits", "scheme": "shift", "weight_bits": 8, "activation_bits": 8,
        "input": {"shape": [1, 8, 8], "format": "uint8", "scale": 255.0},
        "output": {"shape": [10], "format": "int8", "scale": 12.3},
        "notices": ["final Softmax dropped: it does not change which logit is greatest"],
        "multipliers": 72, "cycles_per_frame": 4096, "latency_cycles": 4400,
        "stages": [
            stage("conv1", 1, 8, 8, pool=None, output=[8, 8, 8]),
            stage("conv2", 8, 16, 8),
            stage("conv3", 16, 16, 4, pool={"kind": "average", "kernel": [2, 2]}),
            stage("dense", 16, 10, 2, activation_format="int8", sqnr_db=None, **dense),
        ],
        "accuracy": {"calibration_sqnr_db": {"dense": 38.5}, "float": 0.988},
        "simulation": {
            "simulator": "verilator", "frames": 64,
            "mismatches": 0, "cycles": 262549, "predicted_cycles": 262549,
        },
        "synthesis": {
            "target": "ecp5", "luts": 3120, "ffs": 2890, "dsps": 54, "brams": 9, "fmax_mhz": 151.24
        },
    }  # fmt: skip


def smallest_report() -> dict[str, Any]:
    return {
        "crosstile": "0.1.0", "name": "small", "scheme": "shift", "weight_bits": 4, "activation_bits": 4,
        "input": {"shape": [1, 4]}, "output": {"shape": [2]},
        "stages": [{"name": "pool", "kind": "pool", "input": [1, 4], "output": [1, 2]}],
    }  # fmt: skip


def many_stages() -> dict[str, Any]:
    names = [f"layer_with_a_long_name_{number}" for number in range(19)]
    stages = [stage(name, 64, 128, 112, output=[512, 16, 112, 112]) for name in names]
    return full_report() | {"stages": stages}


REPORTS = {"full": full_report, "smallest": smallest_report, "many": many_stages}


class BalanceChecker(HTMLParser):
    """Fails on a tag that closes nothing or the wrong element; collects ids, references and text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attributes:
            if key == "id":
                self.ids.append(value or "")
            elif key == "aria-labelledby":
                self.references += (value or "").split()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, text: str) -> None:
        self.text.append(text)


def render(report: dict[str, Any], folder: Path) -> str:
    write_report(report, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


def parse(page: str) -> BalanceChecker:
    checker = BalanceChecker()
    checker.feed(page)
    checker.close()
    assert checker.open == [], "elements left open"
    return checker


@pytest.mark.parametrize("kind", REPORTS)
def test_the_page_is_well_formed_and_its_labels_resolve(kind: str, tmp_path: Path) -> None:
    checker = parse(render(REPORTS[kind](), tmp_path))
    assert checker.tags.count("svg") == 1
    assert len(set(checker.ids)) == len(checker.ids)
    assert set(checker.references) <= set(checker.ids)


@pytest.mark.parametrize("kind", REPORTS)
def test_the_page_fetches_nothing_and_runs_nothing(kind: str, tmp_path: Path) -> None:
    page = render(REPORTS[kind](), tmp_path)
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(parse(page).tags)
    assert re.findall(r"https?://|@import|\bsrc=|\bhref=|url\((?!#)", page) == []


@pytest.mark.parametrize("kind", REPORTS)
def test_equal_reports_give_equal_bytes_and_stay_unchanged(kind: str, tmp_path: Path) -> None:
    report = REPORTS[kind]()
    before = copy.deepcopy(report)
    write_report(report, tmp_path / "first.html")
    write_report(copy.deepcopy(report), tmp_path / "second.html")
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()
    assert report == before
    assert str(tmp_path) not in (tmp_path / "first.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", REPORTS)
def test_every_stage_is_drawn_and_tabulated(kind: str, tmp_path: Path) -> None:
    report = REPORTS[kind]()
    page = render(report, tmp_path)
    assert page.count('<rect class="box') == len(report["stages"])
    for name in (entry["name"] for entry in report["stages"]):
        assert f"<title>{name}</title>" in page
        assert page.count(f'<th scope="row" class="left">{name}</th>') == 3, "stages, memory, quantisation"


def test_the_drawing_lies_within_its_view_box(tmp_path: Path) -> None:
    page = render(many_stages(), tmp_path)
    [(width, height)] = re.findall(r'viewBox="0 0 (\d+) (\d+)" role', page)
    corners = re.findall(r"translate\((\d+) (\d+)\)", page)
    assert len(corners) == 21
    assert all(int(x) + 176 <= int(width) and int(y) + 128 <= int(height) for x, y in corners)


@pytest.mark.parametrize("figure", [
    "digits", "Crosstile 0.1.0", "4,096", "4,400", "16×4×4", "3×3 convolution", "+ average pool 2×2",
    "fully connected", "3×3×1×2", "97.0 %", "21 bits", "41.2 dB", "38.5 dB", "0.988", "262,549", "3,120",
    "151.2 MHz", "36,924", "final Softmax dropped: it does not change which logit is greatest", "slowest",
])  # fmt: skip
def test_a_figure_of_the_report_is_on_the_page(figure: str, tmp_path: Path) -> None:
    assert figure in "\n".join(parse(render(full_report(), tmp_path)).text)


@pytest.mark.parametrize("mark", ["<b>", "\"'><script>alert(1)</script>", "</title></svg>", "&amp;{{ 7*7 }}"])
def test_names_and_notices_are_escaped(mark: str, tmp_path: Path) -> None:
    report = full_report() | {"name": mark, "notices": [mark], "scheme": mark, "crosstile": mark}
    report["stages"][1] |= {"name": mark, "engine": mark, "activation_format": mark}
    checker = parse(render(report, tmp_path))
    assert checker.tags == parse(render(full_report(), tmp_path)).tags
    assert mark in checker.text


@pytest.mark.parametrize("absent, command", [
    ("simulation", "crosstile simulate BUILD --input X.npy --output Y.npy"),
    ("synthesis", "crosstile synthesize BUILD --target ecp5 --place"),
])  # fmt: skip
@pytest.mark.parametrize("how", ["missing", "null"])
def test_what_has_not_run_is_named_by_its_command(
    absent: str, command: str, how: str, tmp_path: Path
) -> None:
    report = full_report()
    assert command not in render(report, tmp_path)
    report[absent] = None
    if how == "missing":
        del report[absent]
    assert command in render(report, tmp_path)


@pytest.mark.parametrize("mismatches, tone", [(0, "good"), (3, "bad")])
def test_mismatches_show_their_colour(mismatches: int, tone: str, tmp_path: Path) -> None:
    report = full_report()
    report["simulation"]["mismatches"] = mismatches
    page = render(report, tmp_path)
    assert f'<div class="card {tone}"><dt>Mismatches</dt><dd class="value">{mismatches}</dd>' in page
    assert f'<td class="{tone}-text">{mismatches}</td>' in page


@pytest.mark.parametrize("key", sorted(set(full_report()["stages"][0]) - set(REQUIRED_OF_STAGE)))
@pytest.mark.parametrize("how", ["missing", "null"])
def test_any_optional_key_of_a_stage_may_be_absent(key: str, how: str, tmp_path: Path) -> None:
    report = full_report()
    for entry in report["stages"]:
        if how == "null":
            entry[key] = None
        else:
            del entry[key]
    assert "None" not in "".join(parse(render(report, tmp_path)).text)


@pytest.mark.parametrize("key", REQUIRED)
def test_a_report_without_a_required_key_is_refused(key: str, tmp_path: Path) -> None:
    report = full_report()
    del report[key]
    with pytest.raises(CrosstileError) as raised:
        write_report(report, tmp_path / "report.html")
    assert str(raised.value) == f"report has no '{key}'; run crosstile compile again to write it anew"
    assert not (tmp_path / "report.html").exists()


def test_a_stage_without_a_required_key_is_refused(tmp_path: Path) -> None:
    report = full_report()
    del report["stages"][1]["output"]
    with pytest.raises(CrosstileError) as raised:
        write_report(report, tmp_path / "report.html")
    expected = "stage 2 of the report has no 'output'; run crosstile compile again to write it anew"
    assert str(raised.value) == expected


@pytest.mark.parametrize("values, text", [
    ([1, 1, 1, 1], "1"), ([0, 0], "0"), ([1, 0, 1, 0], "1, 0"), ([0, 0, 1, 1], "0, 0 | 1, 1"), ([], ""),
])  # fmt: skip
def test_padding_tells_both_ends_apart(values: list[int], text: str) -> None:
    assert padding(values) == text


def test_figures_have_one_form() -> None:
    assert [decibels(value) for value in (41.25, float("inf"), float("nan"))] == ["41.2 dB", "exact", "–"]
    assert [compact(value) for value in (9_999_999, 51_380_224, 17_572_036_608)] == [
        "9,999,999", "51.4 M", "17.6 G"
    ]  # fmt: skip
    assert fold({"kernel_rows": 3, "kernel_columns": 1, "channels": 4, "filters": 8}) == "3×1×4×8"


@pytest.mark.parametrize("changes, text", [
    ({}, "3×3 convolution"),
    ({"kernel": [8, 8], "padding": [0, 0, 0, 0]}, "fully connected"),
    ({"input": [64], "kernel": []}, "fully connected"),
    ({"kind": "pool"}, "max pool 2×2"),
    ({"kind": "pool", "pool": None}, "pool"),
])  # fmt: skip
def test_a_stage_says_what_it_computes(changes: dict[str, Any], text: str) -> None:
    assert operation(stage("layer", 8, 16, 8) | {"padding": [0, 0, 0, 0]} | changes) == text
